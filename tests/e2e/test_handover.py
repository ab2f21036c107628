"""Hand-over: SIGUSR2 and `sallyctl restart` put a new program and all settings in force; no client
is refused, no session ends, and the ledger stays one chain."""
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from harness import net
from harness.login import password, write_users
from harness.socks import BIND, greeting, read_reply5, request5
from harness.storm import Storm, check_told_once
from harness.udp import Association
from harness.wait import PATIENCE, until

NOBODY_ELSE = "games"  # an account of every Debian


def open_session(daemon, port, **kwargs):
    client = daemon.client(**kwargs)
    assert client.connect5("127.0.0.1", port).code == 0
    return client


def talks(client, words=b"still there"):
    assert client.send(words).read(len(words)) == words


def gone(pids):
    until(lambda: not any(net.alive(p) for p in pids), f"{pids} to leave")


def starts(daemon):
    """Why the ledger began, each time."""
    return [r["event"].get("reason") for r in daemon.ledger.records()
            if r["event"]["action"] == "audit-start"]


def refused(daemon, why):
    """SIGUSR2, which is not followed: the same processes go on."""
    before = sorted(daemon.processes())
    count = daemon.log().count("it goes on as it was")
    daemon.signal(signal.SIGUSR2)
    until(lambda: daemon.log().count("it goes on as it was") > count,
          lambda: f"a refusal in the log\n{daemon.log()}")
    line = [s for s in daemon.log().splitlines() if "it goes on as it was" in s][-1]
    assert re.search(why, line), line
    assert sorted(daemon.processes()) == before


# -- clients ------------------------------------------------------------------------

def test_under_load(daemons, crowds):
    """Thousands come and go during five hand-overs: not one sees anything."""
    crowd = crowds()
    daemon = daemons(settings={"limits": {"sessions-per-source": 0}})
    storm = Storm(daemon.at, crowd.port, count=100)
    storm.wait(200)
    for _ in range(5):
        old = daemon.hand_over()
        storm.wait(500)
        gone(old)
    storm.stop()
    assert set(storm.errors) <= {"stopped"}, storm.errors
    check_told_once(daemon, storm)
    assert starts(daemon) == [None] + 5 * ["handover"]
    assert len(daemon.workers()) == 2


def test_a_long_session(daemons, echo):
    """Bytes flow both ways across three hand-overs; each worker leaves when its last session is over."""
    daemon = daemons()
    parent = daemon.process.pid
    client = open_session(daemon, echo.port)
    holder = daemon.worker_of(client)
    sent, came = hashlib.sha256(), hashlib.sha256()
    stop = threading.Event()
    total = [0]

    def write():
        while not stop.is_set():
            piece = os.urandom(32768)
            sent.update(piece)
            client.sock.sendall(piece)
        client.fin()

    def read():
        while piece := client.sock.recv(65536):
            came.update(piece)
            total[0] += len(piece)
    threads = [threading.Thread(target=work) for work in (write, read)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = total[0]
        old = daemon.hand_over()
        gone([p for p in old if p != holder])
        until(lambda: total[0] > before + (1 << 20), "more bytes")
    assert net.alive(holder) and len(daemon.workers()) == 3
    stop.set()
    for thread in threads:
        thread.join(3 * PATIENCE)
    assert sent.digest() == came.digest() and total[0] > 3 << 20
    client.close()
    gone([holder])
    assert daemon.process.pid == parent and daemon.process.poll() is None
    end = daemon.ledger.last_of(client)
    assert end["source"]["bytes"] == end["destination"]["bytes"] == total[0]


def test_a_door_and_an_association(daemons, udp_targets):
    """A BIND that waits is called, and a UDP association goes on, in the old worker."""
    rules = """
      all: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ];
             command = [ "bind", "connect", "udp-associate" ] }
    """
    daemon = daemons(rules=rules, settings={"limits": {"binds-per-source": 1}})
    target = udp_targets()
    waits = daemon.client()
    first = waits.connect5("127.0.0.1", 21, command=BIND)
    assert first.code == 0
    with Association(daemon) as association:
        assert association.ask(b"before", target.at) == b"before"
        old = daemon.hand_over()
        assert association.ask(b"after", target.at) == b"after"
        with daemon.client() as other:  # the door counts on
            assert other.connect5("127.0.0.1", 21, command=BIND).code != 0
        with socket.create_connection((first.address, first.port), PATIENCE) as peer:
            assert read_reply5(waits).code == 0
            peer.sendall(b"hello")
            assert waits.read(5) == b"hello"
            waits.send(b"and back")
            assert peer.recv(100) == b"and back"
    waits.close()
    gone(old)
    assert daemon.ledger.last_of(waits)["event"]["action"] == "session-end"


def test_in_the_middle_of_a_login(daemons, echo):
    """Who has not told a password yet tells it to the authenticator of then; who waits for an answer gets it."""
    rules = """
      proven: { action = "allow"; who = "known"; from = "loopback"; to = [ "any", "loopback" ] }
    """
    daemon = daemons(rules=rules, start=False)
    daemon.settings["auth"] = {"file": {"path": write_users(daemon, {"ann": "secret"})},
                               "failure-delay": "3 s"}
    daemon.start()
    late, early, mute = daemon.client(), daemon.client(), daemon.client()
    for client in (late, early):
        assert client.greet(b"\x02") == b"\x05\x02"
    early.send(password("ann", "wrong"))
    assert early.is_quiet(0.2)  # the refusal waits for its time
    old = daemon.hand_over()
    auths = [p for p in daemon.processes() if "auth" in daemon.role(p)]
    assert len(auths) == 2
    assert early.read(2) == b"\x01\x01"
    assert late.send(password("ann", "secret")).read(2) == b"\x01\x00"
    late.send(request5("127.0.0.1", echo.port))
    assert late.reply5().code == 0
    talks(late)
    mute.send(greeting(b"\x02"))
    assert mute.read(2) == b"\x05\x02"
    with daemon.client() as new:
        assert new.greet(b"\x02") == b"\x05\x02"
        assert new.send(password("ann", "secret")).read(2) == b"\x01\x00"
    for client in (late, early, mute):
        client.close()
    gone(old)
    until(lambda: len([p for p in daemon.processes() if "auth" in daemon.role(p)]) == 1,
          "the old authenticator to leave")
    assert daemon.ledger.of(late, "session-end")["user"]["name"] == "ann"


def test_limits_count_old_and_new(daemons, targets):
    target = targets()
    daemon = daemons(settings={"limits": {"sessions-per-source": 4}})
    clients = [open_session(daemon, target.port) for _ in range(3)]
    daemon.hand_over()
    clients.append(open_session(daemon, target.port))
    with daemon.client() as fifth:
        assert fifth.read_end() == b""
    assert daemon.ledger.last_of(fifth)["event"]["reason"] == "limit"
    clients.pop(0).close()
    until(lambda: len(daemon.ledger.find(
        lambda r: r["event"]["action"] == "session-end")) == 1, "an end")
    clients.append(open_session(daemon, target.port))
    for client in clients:
        client.close()


def test_a_reload_reaches_old_sessions(daemons, echo, targets):
    """Revocation does not stop at a hand-over; neither does killing."""
    other = targets()
    rules = f"""
      one: {{ action = "allow"; from = "loopback"; to = "loopback"; service = "tcp/{echo.port}" }}
      two: {{ action = "allow"; from = "loopback"; to = "loopback"; service = "tcp/{other.port}" }}
    """
    daemon = daemons(rules=rules)
    revoked, stays = open_session(daemon, echo.port), open_session(daemon, other.port)
    daemon.hand_over()
    daemon.reload(rules="\n".join(rules.splitlines()[:1] + rules.splitlines()[2:]))
    assert revoked.read_end() == b""
    assert daemon.ledger.last_of(revoked)["event"]["reason"] == "revoked"
    talks(stays)
    daemon.hand_over(rules=rules.replace("two:", "three:").replace(f"{other.port}", "9"))
    assert stays.read_end() == b""
    assert daemon.ledger.last_of(stays)["event"]["reason"] == "revoked"
    revoked.close()
    stays.close()


def test_counters_of_rules(control, echo):
    """What old and new workers count is added up, also when the old ones have left."""
    server = control()

    def hits():
        rules = server.json("rules", "--hits")[0]["rules"]
        return [r["matches"] for r in rules if r["rule"] == "local"]
    old = [open_session(server.daemon, echo.port) for _ in range(3)]
    until(lambda: hits() == [3], lambda: f"3 hits: {server.json('rules', '--hits')}")
    server.daemon.hand_over()
    new = [open_session(server.daemon, echo.port) for _ in range(2)]
    until(lambda: hits() == [5], lambda: f"5 hits: {server.json('rules', '--hits')}")
    for client in old + new:
        client.close()
    workers = server.daemon.hand_over()
    gone(workers)
    until(lambda: hits() == [5], lambda: f"5 hits: {server.json('rules', '--hits')}")


# -- deaths -------------------------------------------------------------------------

def test_deaths(daemons, echo):
    """Of an old worker: its sessions end, nobody takes its place. Of the ledger, right behind a hand-over."""
    daemon = daemons()
    daemon.crash_expected = True
    one, two = open_session(daemon, echo.port), open_session(daemon, echo.port)
    daemon.hand_over()
    os.kill(daemon.ledger_pid(), signal.SIGKILL)
    victim = daemon.worker_of(one)
    theirs = [c for c in (one, two) if daemon.worker_of(c) == victim]
    os.kill(victim, signal.SIGKILL)
    for client in theirs:
        assert daemon.ledger.last_of(client)["event"]["reason"] == "worker-crash"
    for client in (one, two):
        if client not in theirs:
            talks(client)
        client.close()
    until(lambda: len(daemon.workers()) == 2, "the new workers alone")
    talks(open_session(daemon, echo.port))


def test_the_deadline(daemons, echo):
    daemon = daemons(settings={"timeouts": {"handover": "300 ms"}})
    old = open_session(daemon, echo.port)
    workers = daemon.hand_over()
    new = open_session(daemon, echo.port)
    while daemon.worker_of(new) in workers:  # it was about to stop
        new.close()
        new = open_session(daemon, echo.port)
    assert old.read_end() == b""
    assert daemon.ledger.last_of(old)["event"]["reason"] == "shutdown"
    gone(workers)
    talks(new)
    new.close()
    old.close()


@pytest.mark.parametrize("wait", ["not", "trial", "until it has taken over"])
def test_told_to_stop_during_it(daemons, echo, wait):
    daemon = daemons()
    client = open_session(daemon, echo.port)
    if wait == "until it has taken over":
        daemon.hand_over()
    else:
        daemon.signal(signal.SIGUSR2)
    if wait == "trial":
        until(lambda: "handing over" in daemon.log(), "the hand-over to begin")
    assert daemon.terminate() == 0, daemon.log()
    assert client.read_end() == b""
    client.close()
    assert daemon.ledger.last_of(client)["event"]["reason"] == "shutdown"
    assert daemon.ledger.records()[-1]["event"]["action"] == "audit-stop"


# -- settings -----------------------------------------------------------------------

def test_what_a_reload_cannot_change(control, echo):
    """Listeners, the number of workers, the control socket and the metrics page."""
    server = control()
    daemon = server.daemon
    first = daemon.at
    kept = open_session(daemon, echo.port)
    new = net.fresh_address(), 1080
    metrics = net.fresh_address()
    old_path, server.path = server.path, server.path + "-moved"
    daemon.listeners = {"second": {"address": new[0], "port": new[1]}}
    old = daemon.hand_over(settings={"workers": 3, "control": {"socket": server.path},
                                     "metrics": {"address": metrics, "port": 9108}})
    until(lambda: len([p for p in daemon.workers() if p not in old]) == 3, "three workers")
    holder = daemon.worker_of(kept)
    gone([p for p in old if p != holder])
    assert not os.path.exists(old_path)
    states = server.json("status")[0]["processes"]
    assert sorted(p["state"] for p in states if p["role"] == "worker") == [
        "leaving", "ready", "ready", "ready"]
    with socket.create_connection((metrics, 9108), PATIENCE) as page:
        page.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert re.match(rb"HTTP/1\.[01] 200", page.recv(12))
    talks(kept)
    session, = server.json("sessions")
    assert session["listener"] == "main"
    with pytest.raises(ConnectionRefusedError):
        daemon.client()
    daemon.at = new
    other = open_session(daemon, echo.port)
    kept.close()
    other.close()
    gone([holder])
    assert _listener(daemon, kept) == "main" and _listener(daemon, other) == "second"
    # both names, the numbers as they were, and the old address once more
    daemon.listeners = {"second": {"address": new[0], "port": new[1]},
                        "main": {"address": first[0], "port": first[1]}}
    daemon.hand_over(settings={"workers": 1})
    third = open_session(daemon, echo.port)
    daemon.at = first
    fourth = open_session(daemon, echo.port)
    third.close()
    fourth.close()
    assert _listener(daemon, third) == "second" and _listener(daemon, fourth) == "main"
    assert "wait for a restart" not in daemon.log()
    daemon.reload()
    assert "wait for a restart" not in daemon.log()


def _listener(daemon, client):
    return daemon.ledger.last_of(client)["observer"]["ingress"]["interface"]["name"]


def test_a_socket_that_is_in_use(control, echo):
    """The new program then serves as the old one did."""
    server = control()
    daemon = server.daemon
    client = open_session(daemon, echo.port)
    with socket.socket() as taken:
        taken.bind((net.fresh_address(), 1080))
        taken.listen()
        daemon.listeners["more"] = {"address": taken.getsockname()[0], "port": 1080}
        daemon.write_config()
        text = server.run("restart", status=1)
    assert "has taken over, but not the configuration" in text
    assert "cannot bind listener 'more'" in daemon.log()
    talks(client)
    talks(open_session(daemon, echo.port))
    client.close()
    action = server.admin_actions()
    assert action["event"]["outcome"] == "failure"
    assert daemon.ledger.find(lambda r: r["event"]["action"] == "policy-refused")


def test_more_workers_than_there_is_room_for(daemons, echo):
    daemon = daemons(settings={"workers": 40})
    clients = [open_session(daemon, echo.port) for _ in range(40)]
    old = daemon.hand_over()
    for client in clients:
        talks(client)
        client.close()
    gone(old)
    until(lambda: len(daemon.workers()) == 40, "as many workers as the settings want")
    daemon.hand_over(settings={"workers": 64})
    until(lambda: len(daemon.workers()) == 64, "64 workers")
    daemon.signal(signal.SIGUSR2)
    until(lambda: "no place for another worker" in daemon.log(), "the refusal")


# -- refusals -----------------------------------------------------------------------

def test_errors_in_the_configuration(control, echo):
    server = control()
    daemon = server.daemon
    good = daemon.text()
    client = open_session(daemon, echo.port)
    daemon.write_config(good + "\nnonsense = 1\n")
    refused(daemon, "the configuration has errors")
    assert "nonsense" in daemon.log()
    text = server.run("restart", status=1)
    assert "nonsense" in text and "the configuration has errors" in text
    assert "nonsense" in server.json("restart", status=1)[0]["problems"]
    assert server.admin_actions(2)[0]["message"].startswith("restart: refused")
    talks(client)
    daemon.write_config(good)
    assert "restarted" in server.run("restart")
    talks(client)
    client.close()
    assert len(daemon.ledger.find(lambda r: r["event"]["action"] == "policy-refused")) == 3


def put(path, content, mode=0o755):
    """As a package does: another file takes the name."""
    if isinstance(content, str):
        content = content.encode()
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def test_another_program(daemons, build, echo):
    """What is no sallyportd, or one of another form, is tried and never executed in our place."""
    daemon = daemons(start=False)
    daemon.program = os.path.join(daemon.folder, "sallyportd")
    shutil.copy(os.path.join(build, "sallyportd"), daemon.program)
    with open(daemon.program, "rb") as file:
        good = file.read()
    daemon.start()
    client = open_session(daemon, echo.port)

    put(daemon.program, "#!/bin/sh\nexit 0\n")
    refused(daemon, "was tried and ended with status 127")
    with open(shutil.which("true"), "rb") as file:
        put(daemon.program, file.read())
    refused(daemon, "is no program that could take over")
    with open(shutil.which("false"), "rb") as file:
        put(daemon.program, file.read())
    refused(daemon, "was tried and ended with status 1$")
    put(daemon.program, good, mode=0o644)
    refused(daemon, "was tried and ended with status 127")
    os.unlink(daemon.program)
    refused(daemon, "cannot open the program .*: No such file")
    mark = b"sallyport handover 1"
    assert good.count(mark) == 1
    put(daemon.program, good.replace(mark, b"sallyport handover ?"))
    refused(daemon, "cannot take over from the running server: restart it")
    talks(client)

    version = re.search(rb"sallyportd (\d+\.\d+\.\d+)", good)[1]
    newer = re.sub(rb"\d+$", b"9", version)
    put(daemon.program, good.replace(version, newer))
    daemon.hand_over()
    talks(client)
    after = open_session(daemon, echo.port)
    after.close()
    client.close()
    assert daemon.ledger.last_of(after)["observer"]["version"] == newer.decode()
    assert starts(daemon) == [None, "handover"]


def test_a_link_to_another_version(daemons, build, echo):
    """Where versions stand side by side the link is followed anew."""
    daemon = daemons(start=False)
    daemon.program = os.path.join(daemon.folder, "current")
    for version in "one", "two":
        shutil.copy(os.path.join(build, "sallyportd"), os.path.join(daemon.folder, version))
    os.symlink("one", daemon.program)
    daemon.start()
    client = open_session(daemon, echo.port)
    os.symlink("two", daemon.program + ".new")
    os.rename(daemon.program + ".new", daemon.program)
    daemon.hand_over()
    assert os.readlink(f"/proc/{daemon.process.pid}/exe") == os.path.join(daemon.folder, "two")
    with open(f"/proc/{daemon.process.pid}/comm", encoding="utf-8") as file:
        assert file.read() == "sallyportd\n"
    talks(client)
    client.close()


def test_restart_is_for_operators(control, echo):
    server = control({"viewers": [NOBODY_ELSE], "operators": ["root"]})
    text = server.run("restart", as_user=NOBODY_ELSE, status=2)
    assert "operators" in text
    action = server.admin_actions()
    assert action["event"]["outcome"] == "failure" and action["user"]["name"] == NOBODY_ELSE
    assert "restart" in action["message"]
    client = open_session(server.daemon, echo.port)
    done = server.json("restart")[0]
    assert done["workers"] == 2 and done["within_ms"] == 3600000
    done = server.admin_actions(2)[1]
    assert done["event"]["outcome"] == "success" and done["message"] == "restart: 2 new workers"
    assert server.json("status")[0]["server"]["handovers"] == 1
    talks(client)
    client.close()


# -- again and again ----------------------------------------------------------------

def status_of(pid, word):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next((line.split()[1] for line in file if line.startswith(word + ":")), None)


def test_twenty_in_a_row(control, echo):
    """Nothing adds up: descriptors, filters, processes."""
    server = control()
    daemon = server.daemon
    client = open_session(daemon, echo.port)
    parent = daemon.process.pid
    before, filters = len(net.descriptors(parent)), status_of(parent, "Seccomp_filters")
    for _ in range(20):
        gone([p for p in daemon.hand_over() if p != daemon.worker_of(client)])
        until(lambda: len(daemon.processes()) == 5, lambda: f"5 processes: {daemon.processes()}")
        until(lambda: server.pid() and server.json("status"), "control")
        talks(client)
    # for the session: its worker's channel, books, bell, counters and vitals, its images; two images more
    until(lambda: len(net.descriptors(parent)) <= before + 16,
          lambda: f"{before} descriptors or few more: {sorted(net.descriptors(parent))}")
    assert status_of(parent, "Seccomp_filters") == filters
    client.close()
    end = daemon.ledger.last_of(client)
    assert end["rule"]["id"] == "local" and end["policy"]["hash"], end
    talks(open_session(daemon, echo.port))


def test_socket_activation(daemons, echo):
    """A socket of the service manager stays the one in use."""
    daemon = daemons(start=False)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(daemon.at)
        listener.listen(100)
        inode = os.fstat(listener.fileno()).st_ino

        def third():
            os.dup2(listener.fileno(), 3, inheritable=True)
        script = 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=main exec "$@"'
        daemon.start(prefix=("/bin/sh", "-c", script, "sh"), pass_fds=(3,), preexec=third)
        for _ in range(2):
            gone(daemon.hand_over())
            for pid in daemon.workers():
                assert f"socket:[{inode}]" in net.descriptors(pid)
            talks(open_session(daemon, echo.port))


def test_as_an_ordinary_user(daemons, echo):
    daemon = daemons(start=False)
    prefix = ()
    daemon.program = shutil.copy(daemon.program, daemon.folder)  # he may not reach where it was built
    if os.geteuid() == 0:
        shutil.chown(daemon.folder, "nobody")
        daemon.settings.pop("user", None)
        prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    daemon.start(prefix=prefix)
    client = open_session(daemon, echo.port)
    for _ in range(2):
        daemon.hand_over()
        talks(client)
        talks(open_session(daemon, echo.port))
    client.close()
    assert os.stat(f"/proc/{daemon.process.pid}").st_uid != 0


def test_in_the_background(daemons, build, echo):
    """Called by a relative name, and by now in another folder."""
    daemon = daemons(start=False)
    daemon.write_config()
    done = subprocess.run([os.path.join(build, "sallyportd"), "-c", "sallyport.conf"],
                          cwd=daemon.folder, timeout=PATIENCE, check=False)
    assert done.returncode == 0
    pid = until(lambda: next((p for p in net.children(1) + net.children(os.getpid())
                              if _listens(p, daemon)), None), "the server")
    try:
        client = open_session(daemon, echo.port)
        before = set(net.children(pid))
        os.kill(pid, signal.SIGUSR2)
        until(lambda: len(daemon.ledger.find(
            lambda r: r["event"].get("reason") == "handover")) == 1, "the hand-over")
        talks(client)
        until(lambda: len(set(net.children(pid)) - before) >= 3, "new processes")
        client.close()
        gone([p for p in before])
        talks(open_session(daemon, echo.port))
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not net.alive(pid), "the end")


def _listens(pid, daemon):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"sallyportd" in file.read() and os.readlink(f"/proc/{pid}/cwd") == "/" and \
                any("worker" in daemon.role(p) for p in net.children(pid))
    except OSError:
        return False
