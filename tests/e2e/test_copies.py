"""Copies of the ledger: every record, in order, once, to rsyslog and journald as they are; and what
becomes of it when those are slow, away, or worse."""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from harness import net
from harness.copies import (JOURNALD, Datagrams, Journald, Rsyslog, Stream, ledger_lines, seq_of)
from harness.storm import Storm
from harness.wait import PATIENCE, until


def _made(kind):
    @pytest.fixture
    def factory(public):
        made = []

        def make(*args, **kwargs):
            if kind in (Rsyslog, Journald):
                args = (tempfile.mkdtemp(dir=public),)
                os.chmod(args[0], 0o755)
            made.append(kind(*args, **kwargs))
            return made[-1]
        yield make
        for thing in made:
            thing.close()
    return factory


@pytest.fixture
def public():
    """A folder that the server's user can reach."""
    path = tempfile.mkdtemp(prefix="sallyport-e2e-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


rsyslogs = _made(Rsyslog)
streams = _made(Stream)
journalds = _made(Journald)
sockets = _made(Datagrams)


@pytest.fixture
def copied(control):
    """copied(siem="tcp:...", near={"to": ...}) starts a server with these copies."""
    def make(start=True, settings=None, **copies):
        audit = {"copies": {n: {"to": c} if isinstance(c, str) else c for n, c in copies.items()}}
        settings = dict(settings or {})
        audit.update(settings.pop("audit", {}))
        server = control(settings={"audit": audit, **settings})
        server.copies = lambda: {c["name"]: c for c in server.json("status")[0]["copies"]}
        server.copy = lambda name: server.copies()[name]
        server.forwarder = lambda: next((p for p in server.daemon.processes()
                                         if "forward" in server.daemon.role(p)), None)
        return server
    return make


def caught_up(server, *names):
    """All copies have all that stands in the ledger by now."""
    head = max(seq_of(line) for line in ledger_lines(server.daemon) if line.startswith(b"{"))

    def now():
        copies = server.copies()
        return all(copies[n]["seq"] >= head and copies[n]["state"] == "ok"
                   for n in names or copies)
    return until(now, lambda: f"copies to catch up: {server.copies()}", 3 * PATIENCE, every=0.1)


def sessions(server, port, count=1):
    for _ in range(count):
        with server.daemon.client() as client:
            assert client.connect5("127.0.0.1", port).code == 0
            source = client.port
        until(lambda s=source: any(f'"port":{s}'.encode() in line and b"session-end" in line
                                   for line in ledger_lines(server.daemon)), "the session's end")


def settled(server, *names):
    """Nothing more will be written for a while, and what was acknowledged counts as taken."""
    until(lambda: b'"action":"checkpoint"' in ledger_lines(server.daemon)[-1], "a checkpoint")
    caught_up(server, *names)
    time.sleep(0.8)


def load(server, port, count, clients=20):
    storm = Storm(server.daemon.at, port, clients)
    storm.wait(count, 6 * PATIENCE)
    storm.stop()


def rotate(server):
    before = len(server.daemon.audit_files())
    server.daemon.signal(signal.SIGUSR1)
    until(lambda: len(server.daemon.audit_files()) == before + 1, "another file")


def check_same(daemon, messages):
    """Each record once, in order, as it stands in the ledger."""
    until(lambda: len(messages()) >= len(ledger_lines(daemon)),
          lambda: f"{len(ledger_lines(daemon))} records, there are {len(messages())}", every=0.1)
    lines, got = ledger_lines(daemon), [m.line for m in messages()]
    if got != lines:
        assert [seq_of(line) for line in got] == [seq_of(line) for line in lines]
    assert got == lines


def check_at_least_once(daemon, messages):
    """None is missing and none is another; those that came again came in order."""
    lines = {seq_of(line): line for line in ledger_lines(daemon)}
    until(lambda: {m.seq for m in messages()} == lines.keys(),
          lambda: f"missing: {sorted(lines.keys() - {m.seq for m in messages()})[:10]}", every=0.2)
    got = messages()
    assert all(lines[m.seq] == m.line for m in got)
    first = list(dict.fromkeys(m.seq for m in got))
    assert first == sorted(first)
    return len(got) - len(lines)


# -- every record once, in order ---------------------------------------------------------------

@pytest.mark.parametrize("kind", ["tcp", "udp", "unix"])
def test_rsyslog_has_every_record(copied, rsyslogs, crowds, build, tmp_path, kind):
    """Under load, over new files, a reload, and the end of the server."""
    rsyslog, crowd = rsyslogs(), crowds()
    server = copied(siem=rsyslog.to(kind))
    for i in range(3):
        load(server, crowd.port, 150)
        if i == 0:
            server.daemon.reload()
        rotate(server)
    load(server, crowd.port, 100)
    server.daemon.crash_expected = True
    server.daemon.stop()
    check_same(server.daemon, lambda: rsyslog.messages(kind))
    assert ledger_lines(server.daemon)[-1].count(b"audit-stop") == 1
    # what arrived is a ledger that can be proven
    copy = tmp_path / "copy.ndjson"
    copy.write_bytes(b"".join(m.line + b"\n" for m in rsyslog.messages(kind)))
    done = subprocess.run([os.path.join(build, "sallyctl"), "verify", "--json", str(copy)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["verdict"] == "whole", done.stdout


def test_the_header(copied, rsyslogs, echo):
    rsyslog = rsyslogs()
    server = copied(siem={"to": rsyslog.to("tcp"), "facility": "authpriv"})
    sessions(server, echo.port)
    with server.daemon.client() as client:
        client.connect5(*server.daemon.at)
    server.daemon.ledger.wait(lambda r: r["event"]["action"] == "session-deny", "the denial")
    caught_up(server)
    wanted = {"audit-start": 5, "policy-load": 5, "session-start": 6, "session-end": 6,
              "session-deny": 4}
    seen = {}
    until(lambda: {m.event for m in rsyslog.messages()} >= wanted.keys(), "all events")
    for m in rsyslog.messages():
        record = json.loads(m.line)
        seen[m.event] = m.pri - 8 * 10
        assert m.event == record["event"]["action"] and m.time == record["@timestamp"]
        assert m.host == record["observer"]["hostname"] and m.app == "sallyportd"
        assert m.procid == str(server.daemon.process.pid)
        assert m.data == f'[meta sequenceId="{record["audit"]["seq"]}"]'
    assert {event: seen[event] for event in wanted} == wanted


@pytest.mark.parametrize("newline", [False, True])
def test_streams_at_a_path(copied, streams, echo, public, newline):
    """A socket like that of libc: datagrams, or a stream where its owner takes no other."""
    stream = streams(path=os.path.join(public, "log"), newline=newline)
    server = copied(near={"to": stream.to, **({"framing": "newline"} if newline else {})})
    sessions(server, echo.port, 5)
    server.daemon.stop()
    check_same(server.daemon, stream.messages)


def test_ipv6(copied, ipv6, echo):
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        server = copied(six=f"tcp:[::1]:{listener.getsockname()[1]}")
        sock, _ = listener.accept()
        sock.settimeout(PATIENCE)
        assert b"audit-start" in sock.recv(65536)
        sock.close()
    assert server.daemon.process.poll() is None


# -- restarts ----------------------------------------------------------------------------------

def test_a_restart_of_the_server(copied, rsyslogs, echo):
    """It goes on where it was: nothing twice, nothing left out."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"), near=rsyslog.to("unix"), u=rsyslog.to("udp"))
    server.daemon.crash_expected = True
    for _ in range(3):
        sessions(server, echo.port, 3)
        server.daemon.stop()
        server.daemon.start()
    server.daemon.stop()
    for kind in rsyslog.out:
        check_same(server.daemon, lambda k=kind: rsyslog.messages(k))
    assert "is damaged" not in server.daemon.log()


def test_what_waits_over_restarts(copied, rsyslogs, echo):
    """Nobody is there when the server stops, nor in its next life, which begins new files; then all comes."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"), near=rsyslog.to("unix"))
    server.daemon.crash_expected = True
    sessions(server, echo.port, 3)
    settled(server)
    rsyslog.stop()
    for _ in range(2):
        sessions(server, echo.port, 3)
        rotate(server)
        sessions(server, echo.port, 2)
        server.daemon.stop()
        server.daemon.start()
    rsyslog.start()
    caught_up(server)
    assert server.copy("siem")["dropped"] == 0
    server.daemon.stop()
    for kind in ("tcp", "unix"):
        check_same(server.daemon, lambda k=kind: rsyslog.messages(k))


def test_a_ledger_that_is_moved_away(copied, rsyslogs, echo):
    """While the server was stopped: another ledger begins, and its numbers with it."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"))
    sessions(server, echo.port, 3)
    server.daemon.stop()
    first = ledger_lines(server.daemon)
    os.rename(server.daemon.audit, server.daemon.folder + "/elsewhere")
    server.daemon.start()
    sessions(server, echo.port, 1)
    caught_up(server)
    server.daemon.stop(checks=False)
    lines = first + ledger_lines(server.daemon)
    until(lambda: [m.line for m in rsyslog.messages()] == lines, "both of them")


def test_without_a_folder_for_places(copied, rsyslogs, echo):
    """It begins with the records of this start."""
    rsyslog = rsyslogs()
    server = copied(settings={"state": {"directory": "/proc/nowhere"}}, siem=rsyslog.to("tcp"))
    assert "is not kept over a restart" in server.daemon.log()
    server.daemon.crash_expected = True
    sessions(server, echo.port)
    server.daemon.stop()
    check_same(server.daemon, rsyslog.messages)
    server.daemon.start()
    server.daemon.stop()
    check_same(server.daemon, rsyslog.messages)


def test_a_forwarder_that_is_killed(copied, rsyslogs, crowds):
    """Under load, again and again: what was on its way may come twice, nothing is missing."""
    rsyslog, crowd = rsyslogs(), crowds()
    server = copied(siem=rsyslog.to("tcp"), near=rsyslog.to("unix"))
    storm = Storm(server.daemon.at, crowd.port, 20)
    for i in range(4):
        storm.wait(100, 6 * PATIENCE)
        pid = until(server.forwarder, "a forwarder", 2 * PATIENCE)
        os.kill(pid, signal.SIGKILL)
        if i == 2:
            rotate(server)
        until(lambda p=pid: server.forwarder() not in (None, p), "another forwarder", 2 * PATIENCE)
    storm.wait(100, 6 * PATIENCE)
    storm.stop()
    caught_up(server)
    process = next(p for p in server.json("status")[0]["processes"] if p["role"] == "forwarder")
    assert process["restarts"] == 4
    server.daemon.crash_expected = True
    server.daemon.stop()
    for kind in ("tcp", "unix"):
        check_at_least_once(server.daemon, lambda k=kind: rsyslog.messages(k))


def test_hand_overs(copied, rsyslogs, crowds):
    """Another forwarder goes on, with the files that wait; one that the new settings do not want goes."""
    rsyslog, crowd = rsyslogs(), crowds()
    server = copied(siem=rsyslog.to("tcp"), near=rsyslog.to("unix"))
    for _ in range(3):
        old = server.forwarder()
        load(server, crowd.port, 100)
        server.daemon.hand_over()
        until(lambda o=old: server.forwarder() not in (None, o), "another forwarder")
        load(server, crowd.port, 100)
        rotate(server)
    caught_up(server)
    copies = server.daemon.settings["audit"].pop("copies")
    server.daemon.hand_over()
    until(lambda: server.forwarder() is None, "no forwarder")
    server.daemon.settings["audit"]["copies"] = copies
    server.daemon.hand_over()
    until(server.forwarder, "a forwarder")
    load(server, crowd.port, 100)
    caught_up(server)
    server.daemon.stop()
    for kind in ("tcp", "unix"):
        check_at_least_once(server.daemon, lambda k=kind: rsyslog.messages(k))


def test_a_ledger_that_is_killed(copied, rsyslogs, crowds):
    """The copy is the ledger's file, whoever writes it."""
    rsyslog, crowd = rsyslogs(), crowds()
    server = copied(siem=rsyslog.to("tcp"))
    storm = Storm(server.daemon.at, crowd.port, 20)
    for _ in range(2):
        storm.wait(100, 6 * PATIENCE)
        os.kill(server.daemon.ledger_pid(), signal.SIGKILL)
        until(lambda: any("ledger" in server.daemon.role(p) for p in server.daemon.processes()),
              "another ledger", 60)
        rotate(server)
    storm.wait(100, 6 * PATIENCE)
    storm.stop()
    server.daemon.crash_expected = True
    server.daemon.stop()
    check_same(server.daemon, rsyslog.messages)


def test_a_parent_that_is_killed(copied, streams, echo):
    """What the ledger writes as an orphan is copied as well; then the forwarder ends, too."""
    stream = streams()
    server = copied(siem=stream.to)
    daemon = server.daemon
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", echo.port).code == 0
        pids = daemon.processes()
        daemon.process.kill()
        daemon.process.wait()
        until(lambda: not any(net.alive(p) for p in pids), "all processes to end", 3 * PATIENCE)
    assert b"audit-stop" in ledger_lines(daemon)[-1]
    check_same(daemon, stream.messages)
    daemon.stop()


# -- receivers that are away -------------------------------------------------------------------

def test_a_receiver_that_restarts(copied, rsyslogs, echo):
    """It is told once, by log and status; then the copy catches up, each record once."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"), near=rsyslog.to("unix"))
    for count in (1, 2):
        sessions(server, echo.port, 3)
        settled(server)
        rsyslog.stop()
        sessions(server, echo.port, 5)
        until(lambda: server.copy("siem")["state"] == "down"
              and server.copy("near")["state"] == "down"
              and server.copy("siem")["lag"]["records"] >= 10, "it to be missed")
        down = server.copy("siem")
        assert down["lag"]["bytes"] > 5000
        assert down["lag"]["oldest"] and 0 < down["lag"]["seconds"] < PATIENCE
        assert down["error"] in ("Connection refused", "Connection reset by peer"), down
        text = server.run("status")
        assert re.search(r"^copy      siem: down, tcp:\S+: Connection re\S+.*; .* sent, \d+ records "
                         r"\([^)]*\) behind, the oldest .* old$", text, re.M), text
        rsyslog.start()
        caught_up(server)
        for name in ("siem", "near"):
            assert server.daemon.log().count(f"copy '{name}' cannot be reached") == count
            assert server.daemon.log().count(f"copy '{name}' is reached again after") == count
    server.daemon.stop()
    for kind in ("tcp", "unix"):
        check_same(server.daemon, lambda k=kind: rsyslog.messages(k))


@pytest.mark.parametrize("reset", [False, True])
def test_connections_that_break_under_load(copied, streams, crowds, reset):
    """Nothing is missing; what was not settled comes again, and a frame that was cut is whole then."""
    stream, crowd = streams(), crowds()
    server = copied(siem=stream.to)
    storm = Storm(server.daemon.at, crowd.port, 20)
    for _ in range(3):
        storm.wait(150, 6 * PATIENCE)
        count = stream.connections
        stream.hang_up(reset)
        stream.listen()
        until(lambda n=count: stream.connections > n, "another connection")
    storm.wait(150, 6 * PATIENCE)
    storm.stop()
    caught_up(server)
    server.daemon.crash_expected = True
    server.daemon.stop()
    check_at_least_once(server.daemon, stream.messages)
    assert stream.connections >= 3


def test_udp_that_nobody_takes(copied, sockets, echo):
    """A port that is closed: the copy waits, and when somebody comes he gets every record, once."""
    address = net.fresh_address()
    server = copied(siem=f"udp:{address}:1514")
    sessions(server, echo.port, 5)
    until(lambda: server.copy("siem")["state"] == "down"
          and server.copy("siem")["lag"]["records"] >= 10, "it to be refused")
    assert server.copy("siem")["error"] == "Connection refused"
    receiver = sockets(address=address)
    caught_up(server)
    sessions(server, echo.port, 5)
    caught_up(server)
    receiver.messages()
    receiver.sock.close()
    sessions(server, echo.port, 3)
    until(lambda: server.copy("siem")["state"] == "down", "it to be refused again")
    again = sockets(address=address)
    caught_up(server)
    server.daemon.stop()
    receiver.raw, receiver.sock = receiver.raw, again.sock
    check_same(server.daemon, receiver.messages)


def test_nobody_at_the_start(copied, rsyslogs, echo):
    """A server starts and ends whatever becomes of its copies; what they missed they get later."""
    rsyslog = rsyslogs()
    rsyslog.stop()
    begun = time.monotonic()
    server = copied(siem=rsyslog.to("tcp"), near=rsyslog.to("unix"), gone="unix:/nowhere/log")
    sessions(server, echo.port, 3)
    until(lambda: server.copy("gone").get("error") == "No such file or directory", "the reason")
    server.daemon.crash_expected = True
    server.daemon.stop()
    assert time.monotonic() - begun < PATIENCE
    rsyslog.start()
    server.daemon.start()
    caught_up(server, "siem", "near")
    server.daemon.stop()
    for kind in ("tcp", "unix"):
        check_same(server.daemon, lambda k=kind: rsyslog.messages(k))


@pytest.mark.slow
def test_one_that_never_reads(copied, streams, rsyslogs, crowds):
    """Its lag grows; nothing else does, and nobody else notices. When it reads, it gets all."""
    stuck, rsyslog, crowd = streams(hold=True), rsyslogs(), crowds()
    server = copied(stuck=stuck.to, siem=rsyslog.to("tcp"))
    load(server, crowd.port, 200)
    caught_up(server, "siem")
    memory = net.memory_kib(server.forwarder())
    lags = []
    for _ in range(3):
        load(server, crowd.port, 1500, 50)
        caught_up(server, "siem")
        lags.append(server.copy("stuck")["lag"]["records"])
    assert 0 < lags[0] < lags[1] < lags[2], lags
    until(lambda: server.copy("stuck")["state"] == "stalled", "it to be noticed", 3 * PATIENCE)
    assert "copy 'stuck' takes no records" in server.daemon.log()
    # what the kernel holds is not ours; a batch is
    assert net.memory_kib(server.forwarder()) < memory + 2048
    stuck.go_on()
    caught_up(server)
    assert "copy 'stuck' takes records again" in server.daemon.log()
    server.daemon.crash_expected = True
    server.daemon.stop()
    check_same(server.daemon, stuck.messages)
    check_same(server.daemon, rsyslog.messages)


@pytest.mark.slow
def test_a_datagram_socket_that_never_reads(copied, sockets, crowds, public):
    """Its queue is full: the copy waits, with a few wake-ups a second."""
    stuck, crowd = sockets(path=f"{public}/log"), crowds()
    server = copied(near=f"unix:{public}/log")
    load(server, crowd.port, 500)
    until(lambda: server.copy("near")["state"] == "stalled", "it to be noticed", 3 * PATIENCE)
    assert server.copy("near")["lag"]["records"] > 100

    def read_on():
        stuck.messages()
        return server.copy("near")["lag"]["records"] == 0
    until(read_on, "it to catch up", 3 * PATIENCE, every=0.02)
    server.daemon.crash_expected = True
    server.daemon.terminate()
    check_same(server.daemon, stuck.messages)


# -- files that wait ---------------------------------------------------------------------------

def test_files_wait_for_a_copy(copied, streams, echo):
    """Also those that the admin's program has removed already; but only so many, then records are
    given up, counted and told."""
    stream = streams()
    stream.hang_up()
    server = copied(siem=stream.to)
    daemon = server.daemon
    lines = {}

    def keep():
        for line in ledger_lines(daemon):
            lines[seq_of(line)] = line
    for _ in range(14):
        sessions(server, echo.port)
        keep()
        rotate(server)
        until(lambda: os.path.getsize(daemon.audit), "a first record")
        keep()
        for name in glob.glob(daemon.audit + ".*"):
            os.unlink(name)
    keep()
    held = [path for path in net.descriptors(server.forwarder()) if "audit.ndjson" in path]
    parent = [path for path in net.descriptors(daemon.process.pid) if "audit.ndjson" in path]
    assert len(held) == 9 and len(parent) <= 9 + 2, (held, parent)
    stream.listen()
    caught_up(server)
    keep()
    got = [m.seq for m in stream.messages()]
    assert got == list(range(got[0], max(lines) + 1))
    assert all(m.line == lines[m.seq] for m in stream.messages())
    assert got[0] > 1 and server.copy("siem")["dropped"] == got[0] - 1
    assert "left out, their file is gone" in daemon.log()
    until(lambda: len([p for p in net.descriptors(server.forwarder()) if "audit.ndjson" in p]) == 1,
          "the files to be let go")
    daemon.stop(checks=False)


def test_more_files_than_are_looked_for(copied, streams, echo):
    """The server was restarted: eight rotated files are found again, and what stood before them is counted."""
    stream = streams()
    server = copied(siem=stream.to)
    daemon = server.daemon
    daemon.crash_expected = True
    sessions(server, echo.port)
    settled(server)
    stream.hang_up()
    for _ in range(11):
        sessions(server, echo.port)
        rotate(server)
        until(lambda: os.path.getsize(daemon.audit), "a first record")
    daemon.stop()
    rotated = daemon.audit_files()[:-1]
    assert len(rotated) == 11
    with open(rotated[3], "rb") as file:
        first = seq_of(file.readline())
    had = len(stream.messages())
    daemon.start()
    stream.listen()
    caught_up(server)
    daemon.stop()
    seqs = [m.seq for m in stream.messages()]
    assert seqs[:had] == list(range(1, had + 1)) and seqs[had] == first
    assert seqs[had:] == list(range(first, seq_of(ledger_lines(daemon)[-1]) + 1))
    assert re.search(rf"copy 'siem': {first - had - 1} records were left out", daemon.log())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a namespace of its own")
def test_without_inotify(daemons, build, streams, echo):
    """The kernel gives none: the file is looked at once a second, and the log says so."""
    stream = streams()
    daemon = daemons(start=False)
    daemon.settings.pop("user")  # it is an ordinary user there
    daemon.settings["audit"]["copies"] = {"siem": {"to": stream.to}}
    limit = "echo 0 > /proc/sys/user/max_inotify_instances"
    if subprocess.run(["unshare", "-U", "-r", "sh", "-c", limit], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("user namespaces are not allowed here")
    daemon.start(prefix=["unshare", "-U", "-r", "sh", "-c",
                         limit + ' && exec unshare -U --map-user=1000 --map-group=1000 "$@"', "sh"])
    assert "copies look at it once a second" in daemon.log()
    with daemon.client() as client:
        client.connect5("127.0.0.1", echo.port)
        daemon.ledger.of(client)
    until(lambda: len(stream.messages()) >= 3, "the records so far")
    daemon.signal(signal.SIGUSR1)
    until(lambda: any(m.event == "audit-rotate" for m in stream.messages()), "the next file")
    daemon.stop()
    check_same(daemon, stream.messages)


def test_a_line_that_is_none(copied, streams, echo):
    """What somebody else has put into the file does not stop a copy."""
    stream = streams()
    server = copied(siem=stream.to)
    sessions(server, echo.port)
    caught_up(server)
    for junk in (b"bell \x07\n", b"x" * 30000 + b"\n", b"plain text\n", b"\n"):
        with open(server.daemon.audit, "ab") as file:
            file.write(junk)
    sessions(server, echo.port)

    def same():
        got = [frame for frame in stream.frames]
        lines = [line for line in ledger_lines(server.daemon)
                 if line and len(line) < 8192 and b"\x07" not in line]
        return len(got) == len(lines) and all(g.endswith(b" " + w) for g, w in zip(got, lines))
    until(same, "the same lines")
    assert any(frame.endswith(b" - - plain text") for frame in stream.frames)
    until(lambda: server.copy("siem")["dropped"] == 3, "three lines to be counted")
    server.daemon.stop(checks=False)


def test_a_hand_over_sends_nothing_twice(copied, streams, echo):
    """The forwarder writes down its places before the next one reads them."""
    stream = streams()
    server = copied(siem=stream.to)
    for _ in range(3):
        pid = server.forwarder()
        sessions(server, echo.port, 2)
        server.daemon.hand_over()
        until(lambda old=pid: server.forwarder() not in (None, old), "the next forwarder")
    sessions(server, echo.port, 1)
    caught_up(server)
    seqs = [m.seq for m in stream.messages()]
    assert seqs == list(range(1, len(seqs) + 1))


# -- reloads -----------------------------------------------------------------------------------

def test_reloads(copied, streams, echo):
    """Copies come, change and go without a restart; one that stays notices nothing."""
    first, second, third = streams(), streams(), streams()
    server = copied(one=first.to)
    daemon = server.daemon
    pid = server.forwarder()

    def copies(**wanted):
        return daemon.reload(settings={"audit": {"copies": {n: {"to": to} for n, to in
                                                            wanted.items()}}})
    sessions(server, echo.port, 2)
    loaded = copies(one=first.to, two=second.to)["audit"]["seq"]
    sessions(server, echo.port, 2)
    caught_up(server)
    # a new one begins with what is written from then on
    assert loaded - 2 <= second.messages()[0].seq <= loaded + 2
    assert first.connections == 1
    copies(one=third.to, two=second.to)
    sessions(server, echo.port, 2)
    caught_up(server)
    assert second.connections == 1 and third.connections == 1
    seqs = {m.seq for m in first.messages()} | {m.seq for m in third.messages()}
    assert seqs == set(range(1, max(seqs) + 1))
    copies(two=second.to)
    sessions(server, echo.port, 2)
    caught_up(server)
    assert list(server.copies()) == ["two"]
    count = len(third.frames)
    daemon.settings["audit"].pop("copies")
    daemon.reload()
    sessions(server, echo.port, 2)
    assert server.copies() == {} and len(third.frames) == count
    copies(one=third.to)
    sessions(server, echo.port, 2)
    caught_up(server)
    assert server.forwarder() == pid
    seqs = [m.seq for m in second.messages()]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    daemon.stop()


def test_the_first_copy_comes_by_a_reload(control, streams, echo):
    server = control()
    daemon, stream = server.daemon, streams()
    with daemon.client() as client:
        client.connect5("127.0.0.1", echo.port)
    assert not [p for p in daemon.processes() if "forward" in daemon.role(p)]
    loaded = daemon.reload(settings={"audit": {"copies": {"siem": {"to": stream.to}}}})
    until(lambda: stream.messages(), "a record")
    assert loaded["audit"]["seq"] - 2 <= stream.messages()[0].seq <= loaded["audit"]["seq"] + 2
    daemon.stop()
    seqs = [m.seq for m in stream.messages()]
    assert seqs == list(range(seqs[0], seq_of(ledger_lines(daemon)[-1]) + 1))


# -- what it costs ------------------------------------------------------------------------------

def switches(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M)[1])


def test_nothing_to_do_costs_nothing(copied, rsyslogs, echo):
    """Nobody wakes up while nothing is written."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"), u=rsyslog.to("udp"), near=rsyslog.to("unix"))
    sessions(server, echo.port, 3)
    caught_up(server)
    pid, ledger = server.forwarder(), server.daemon.ledger_pid()

    def quiet():
        before = switches(pid), switches(ledger)
        time.sleep(1.2)
        return before == (switches(pid), switches(ledger))
    until(quiet, "a second without a wake-up")


def test_the_ledger_does_not_know(copied, rsyslogs, crowds):
    """It has no socket of ours and no file but its own."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"))
    load(server, crowds().port, 50)
    held = net.descriptors(server.daemon.ledger_pid())
    assert sum("audit.ndjson" in path for path in held) == 1
    assert not [path for path in held if "inotify" in path]
    server.daemon.crash_expected = True


def test_only_for_reading(copied, rsyslogs):
    """The forwarder can write to nothing but its places, and be root of nothing."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"))
    pid = server.forwarder()
    writable = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = os.readlink(f"/proc/{pid}/fd/{fd}")
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
            flags = int(re.search(r"^flags:\s*(\d+)", file.read(), re.M)[1], 8)
        if path.startswith("/") and flags & 3 != os.O_RDONLY:
            writable.append(os.path.basename(path))
    assert set(writable) - {"log"} <= {"copies.0", "copies.1", "null"}, writable


# -- the journal --------------------------------------------------------------------------------

@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists(JOURNALD) or
                    subprocess.run(["unshare", "--mount", "--propagation", "private", "true"],
                                   check=False, stderr=subprocess.DEVNULL).returncode != 0,
                    reason="needs root, journald, and mounts of its own")
def test_the_journal(daemons, build, journalds, crowds, echo):
    """The real one: each record once, its fields to be asked for, also those of a hostile name."""
    journal = journalds()
    daemon = daemons(start=False)
    daemon.settings["audit"]["copies"] = {"journal": {"to": "journald", "facility": "authpriv"}}
    daemon.start(prefix=journal.inside)
    with daemon.client() as client:
        client.connect4("127.0.0.1", echo.port, userid=b"a\nMESSAGE=b\"\xe9")
    with daemon.client() as client:
        client.connect5("127.0.0.1", echo.port)
        client_port = client.port
    with daemon.client() as client:
        client.connect5(*daemon.at)
    load(type("S", (), {"daemon": daemon}), crowds().port, 100)
    daemon.crash_expected = True
    daemon.stop()
    lines = ledger_lines(daemon)
    until(lambda: len(journal.entries("-t", "sallyport-audit")) == len(lines),
          lambda: f"{len(lines)} entries, there are "
          f"{len(journal.entries('-t', 'sallyport-audit'))}", every=0.3)
    entries = journal.entries("-t", "sallyport-audit")
    assert [e["SALLYPORT_RECORD"].encode() for e in entries] == lines
    denied = journal.entries("SALLYPORT_EVENT=session-deny")
    assert len(denied) == 1 and denied[0]["PRIORITY"] == "4"
    assert denied[0]["SYSLOG_FACILITY"] == "10" and denied[0]["SALLYPORT_RULE"] == "builtin:self"
    mine = journal.entries(f"SALLYPORT_SOURCE_PORT={client_port}")
    assert {e["SALLYPORT_EVENT"] for e in mine} == {"session-start", "session-end"}
    assert mine[0]["MESSAGE"].startswith(f"session-start from {mine[0]['SALLYPORT_SOURCE']}:")
    for entry, line in zip(entries, lines):
        record = json.loads(line)
        assert entry["SALLYPORT_SEQ"] == str(record["audit"]["seq"])
        assert entry["SALLYPORT_EVENT"] == record["event"]["action"]
        assert isinstance(entry["MESSAGE"], str)


# -- what is told -------------------------------------------------------------------------------

def test_metrics(copied, rsyslogs, echo):
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"), gone="tcp:127.0.0.1:1")
    sessions(server, echo.port, 3)
    caught_up(server, "siem")

    def values():
        text = server.run("metrics")
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in text.splitlines() if line.startswith("sallyport_audit_copy")}
    until(lambda: values()['sallyport_audit_copy_state{copy="gone",state="down"}'] == 1, "one down")
    v = values()
    head = seq_of(ledger_lines(server.daemon)[-1])
    assert v['sallyport_audit_copy_lag_records{copy="siem"}'] == 0
    assert v['sallyport_audit_copy_lag_bytes{copy="siem"}'] == 0
    assert v['sallyport_audit_copy_lag_seconds{copy="siem"}'] == 0
    assert v['sallyport_audit_copy_sent_total{copy="siem"}'] >= head - 1
    assert v['sallyport_audit_copy_dropped_total{copy="siem"}'] == 0
    assert v['sallyport_audit_copy_state{copy="siem",state="ok"}'] == 1
    assert sum(value for name, value in v.items() if "copy_state" in name) == 2
    assert v['sallyport_audit_copy_lag_records{copy="gone"}'] >= head - 1
    assert v['sallyport_audit_copy_lag_bytes{copy="gone"}'] > 1000
    assert v['sallyport_audit_copy_lag_seconds{copy="gone"}'] > 0
    assert v['sallyport_audit_copy_sent_total{copy="gone"}'] == 0


def test_while_nobody_copies(copied, rsyslogs, echo):
    """The forwarder is stopped for good: what it had told is no truth any more."""
    rsyslog = rsyslogs()
    server = copied(siem=rsyslog.to("tcp"))
    sessions(server, echo.port)
    caught_up(server)
    for _ in range(6):  # it keeps dying, so the parent waits longer each time
        pid = until(server.forwarder, "a forwarder", 2 * PATIENCE)
        os.kill(pid, signal.SIGKILL)
        until(lambda p=pid: server.forwarder() != p, "its end")
    until(lambda: server.copy("siem")["state"] == "down" and
          server.copy("siem")["lag"]["seconds"] > 0.2, "it to be told")
    caught_up(server)
