"""Faults under load: processes that die, reloads, signals; whatever happens, each session that a
client saw succeed is told once, the numbers have no gap, and it goes on."""
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness import net
from harness.daemon import ALLOW_LOOPBACK
from harness.ledger import Ledger
from harness.socks import greeting, request4, request5
from harness.storm import check_told_once
from harness.targets import free_port
from harness.wait import PATIENCE, until


def ledger_pid(daemon):
    return next((p for p in daemon.processes() if "ledge" in daemon.role(p)), None)


def kill_ledger(daemon):
    victim = until(lambda: ledger_pid(daemon), "a ledger", 60)
    os.kill(victim, signal.SIGKILL)
    return victim


def kill_worker(daemon):
    victim = until(daemon.workers, "a worker", 60)[0]
    os.kill(victim, signal.SIGKILL)
    return victim


# -- deaths -------------------------------------------------------------------

@pytest.mark.parametrize("victims", ["worker", "ledger", "both", "both-ledger-first"])
def test_deaths_under_load(daemons, storm, victims):
    daemon = daemons()
    clients = storm(daemon, 200)
    for _ in range(5):
        clients.wait(300)
        if victims in ("ledger", "both-ledger-first"):
            kill_ledger(daemon)
        if victims != "ledger":
            kill_worker(daemon)
        if victims == "both":
            kill_ledger(daemon)
    clients.wait(300)
    clients.stop()
    check_told_once(daemon, clients)
    until(lambda: len(daemon.processes()) == 3, "two workers and a ledger")


def test_the_ledger_killed_again_and_again(daemons, storm):
    """As soon as it is there: it is backed off, not given up, and nothing is told twice."""
    daemon = daemons()
    clients = storm(daemon, 200)
    start = time.monotonic()
    seen = set()
    while len(seen) < 5:
        pid = until(lambda: ledger_pid(daemon), "a ledger", 60)
        if pid not in seen:
            time.sleep(0.02 * (len(seen) % 4))  # die at other moments of its life
            os.kill(pid, signal.SIGKILL)
            seen.add(pid)
    assert "keeps dying" in daemon.log()
    assert time.monotonic() - start > 1
    until(lambda: ledger_pid(daemon) not in seen | {None}, "a ledger", 60)
    clients.wait(300)
    clients.stop()
    check_told_once(daemon, clients)


@pytest.mark.parametrize("also", ["", "worker", "ledger"])
def test_the_parent_killed_under_load(daemons, storm, also):
    """All end by themselves, and what was begun is told to its end."""
    daemon = daemons()
    clients = storm(daemon, 200)
    clients.wait(300)
    children = daemon.processes()
    if also == "worker":
        os.kill(daemon.workers()[0], signal.SIGKILL)
    os.kill(daemon.process.pid, signal.SIGKILL)
    if also == "ledger":
        os.kill(next(p for p in children if "ledge" in daemon.role(p)), signal.SIGKILL)
    daemon.process.wait()
    until(lambda: not any(net.alive(pid) for pid in children), "the children to end", 20)
    clients.stop()
    if also != "ledger":  # with both gone nobody is left to write
        check_told_once(daemon, clients)
    daemon.crash_expected = True
    daemon.stop(checks=False)


def test_the_ledger_killed_while_it_drains(daemons, storm):
    daemon = daemons()
    clients = storm(daemon, 200)
    clients.wait(300)
    os.kill(ledger_pid(daemon), signal.SIGSTOP)
    daemon.signal(signal.SIGTERM)
    daemon.wait_notified("STOPPING=1")
    until(lambda: not daemon.workers(), "the workers to end")
    os.kill(ledger_pid(daemon), signal.SIGKILL)
    assert daemon.process.wait(20) == 0, daemon.log()
    clients.stop()
    check_told_once(daemon, clients)
    assert daemon.ledger.records()[-1]["event"]["action"] == "audit-stop"


# -- reloads ------------------------------------------------------------------

def test_a_storm_of_sighup(daemons, storm):
    daemon = daemons()
    clients = storm(daemon, 200)
    for i in range(50):
        before = clients.echoed
        daemon.signal(signal.SIGHUP)
        if i % 5 == 0:
            until(lambda b=before: clients.echoed > b, "a session")
    clients.wait(300)
    clients.stop()
    assert clients.slowest < 5
    assert not set(clients.errors) - {"stopped"}, clients.errors
    check_told_once(daemon, clients)
    until(lambda: len(daemon.processes()) == 3, "no compiler to be left")


@pytest.mark.parametrize("how", ["broken", "vanished", "empty", "folder"])
def test_a_reload_that_cannot_be(daemons, storm, how):
    """The old policy stays, the log says why, sessions do not notice; a good file is taken again."""
    daemon = daemons()
    clients = storm(daemon, 50)
    clients.wait(50)
    os.rename(daemon.config, daemon.config + ".good")
    if how == "broken":
        daemon.write_config("rules: { one: {")
    elif how == "empty":
        daemon.write_config("")
    elif how == "folder":
        os.mkdir(daemon.config)
    daemon.signal(signal.SIGHUP)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "policy-refused", "the refusal")
    assert "reload refused, the old policy stays" in daemon.log()
    assert os.path.basename(daemon.config) in daemon.log()
    clients.wait(50)
    if how == "folder":
        os.rmdir(daemon.config)
    os.rename(daemon.config + ".good", daemon.config)
    before = len(daemon.ledger.find(lambda r: r["event"]["action"] == "policy-load"))
    daemon.signal(signal.SIGHUP)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "policy-load", "the good one",
                       count=before + 1)
    clients.wait(50)
    clients.stop()
    assert not set(clients.errors) - {"stopped"}, clients.errors
    check_told_once(daemon, clients)


def many_rules(count):
    return "\n".join(
        f'  r{i}: {{ action = "allow"; from = "10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"; '
        f'to = "192.0.2.{i % 250}" }}' for i in range(count)) + ALLOW_LOOPBACK


@pytest.mark.slow
def test_a_reload_of_many_rules_stalls_nobody(daemons, echo, sanitized):
    """Sessions answer while 100,000 rules are read, and while they are taken."""
    if sanitized:
        pytest.skip("measures time")
    daemon = daemons(settings={"workers": 1})
    client = daemon.client()
    assert client.connect5("127.0.0.1", echo.port).code == 0
    daemon.rules = many_rules(100000)
    daemon.write_config()
    gap, quiet = 0.0, 0.0
    end = None
    # what this machine's other work takes is no stall of the server's
    others = (os.getpid(), *daemon.workers())
    start = time.monotonic()
    daemon.signal(signal.SIGHUP)
    while end is None or time.monotonic() < end:
        before, waited = time.monotonic(), net.queued(*others)
        assert client.send(b"x").read(1) == b"x"
        took = time.monotonic() - before
        gap = max(gap, took - (net.queued(*others) - waited))
        if end is None and "100001 rules" in daemon.log():
            end = time.monotonic() + 1
            quiet = end - 1 - start
        assert time.monotonic() - start < 120
    client.close()
    print(f"largest gap {gap * 1000:.1f} ms, reload took {quiet:.1f} s")
    assert gap < 0.25, f"a session stood still for {gap:.3f} s"
    daemon.ledger.last_of(client)


@pytest.mark.slow
def test_a_reload_that_revokes_thousands(daemons, crowds, sanitized):
    crowd = crowds()
    count = 500 if sanitized else 5000
    daemon = daemons(settings={"limits": {"sessions": 6000}})
    hello = greeting() + request5("127.0.0.1", crowd.port)
    clients = []
    for _ in range(count // 50):
        some = [daemon.client().send(hello) for _ in range(50)]
        for client in some:
            assert client.read(2) == b"\x05\x00" and client.reply5().code == 0
        clients += some
    daemon.reload(rules='  no: { action = "deny"; from = "any"; to = "any" }')
    ends = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "all ends",
                              count=count, seconds=60)
    assert sorted(r["source"]["port"] for r in ends) == sorted(c.port for c in clients)
    assert {r["event"]["reason"] for r in ends} == {"revoked"}
    until(lambda: f"the new policy ended {count} sessions" in daemon.log(), "the count in the log")
    for client in clients:
        client.close()


def test_a_refusal_that_no_ledger_heard(daemons, echo):
    """The ledger dies with the word of it unread, or was dead already: its successor is told again,
    and makes one record of each."""
    daemon = daemons()
    stopped = ledger_pid(daemon)
    os.kill(stopped, signal.SIGSTOP)
    good = daemon.text()
    daemon.write_config("rules: {")
    for i in range(3):
        daemon.signal(signal.SIGHUP)
        until(lambda n=i: daemon.log().count("reload refused") > n, "the refusal")
    os.kill(stopped, signal.SIGKILL)
    until(lambda: ledger_pid(daemon) not in (None, stopped), "a ledger")
    refused = daemon.ledger.wait(lambda r: r["event"]["action"] == "policy-refused",
                                 "the records", count=3)
    for _ in range(4):  # those that follow know what was told
        pid = until(lambda: ledger_pid(daemon), "a ledger", 60)
        os.kill(pid, signal.SIGKILL)
        until(lambda p=pid: ledger_pid(daemon) not in (None, p), "a ledger", 60)
    daemon.write_config(good)
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", echo.port).code == 0
    daemon.ledger.last_of(client)
    refused = daemon.ledger.find(lambda r: r["event"]["action"] == "policy-refused")
    assert len(refused) == 3
    # the time is that of the refusal, before the new ledger's
    restart = daemon.ledger.find(lambda r: r["event"].get("reason") == "ledger-restart")[0]
    assert all(r["@timestamp"] < restart["@timestamp"] for r in refused)
    daemon.crash_expected = True


# -- rotation -----------------------------------------------------------------

def test_a_storm_of_sigusr1(daemons, storm):
    """The file is renamed and reopened again and again, and the ledger dies in between: all files
    together hold every record once."""
    daemon = daemons()
    clients = storm(daemon, 200)
    for i in range(30):
        name = f"{daemon.audit}.{i:02}"
        os.rename(daemon.audit, name)
        for _ in range(3):
            daemon.signal(signal.SIGUSR1)
        until(lambda: os.path.exists(daemon.audit), "a new file")
        if i % 10 == 5:
            clients.wait(100)
            kill_ledger(daemon)
    clients.wait(300)
    clients.stop()

    # a signal that found the file where it was has moved it as well
    def records():
        return [r for name in daemon.audit_files() for r in Ledger(name).records()]
    check_told_once(daemon, clients, records)
    daemon.crash_expected = True


def test_a_folder_that_is_gone_at_sigusr1(daemons, echo):
    """Records go on into the old file; the log says why."""
    daemon = daemons(start=False)
    folder = os.path.join(daemon.folder, "audit")
    os.mkdir(folder)
    daemon.settings["audit"]["file"] = os.path.join(folder, "a")
    daemon.start()
    os.rename(folder, folder + ".old")
    daemon.signal(signal.SIGUSR1)
    until(lambda: "cannot open the audit file" in daemon.log(), "the reason")
    os.kill(ledger_pid(daemon), signal.SIGKILL)
    daemon.ledger = Ledger(os.path.join(folder + ".old", "a"))
    daemon.crash_expected = True
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", echo.port).code == 0
    daemon.ledger.last_of(client)


# -- the end ------------------------------------------------------------------

def test_sigterm_at_any_moment_of_the_start(daemons):
    """It ends, and nothing is left."""
    for i in range(12):
        daemon = daemons(start=False)
        daemon.start(ready=False)
        time.sleep(i * 0.004)
        pids = [daemon.process.pid, *daemon.processes()]
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(20) in (0, -signal.SIGTERM), daemon.log()
        until(lambda p=pids: not any(net.alive(pid) for pid in p), "all to end")


def test_sigterm_in_a_reload(daemons, echo):
    """The compiler ends, too, and does not hold up the end."""
    daemon = daemons()
    daemon.rules = many_rules(60000)
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    until(lambda: len(daemon.processes()) == 4, "a compiler")
    pids = daemon.processes()
    start = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(20) == 0
    assert time.monotonic() - start < 5
    until(lambda: not any(net.alive(pid) for pid in pids), "all to end")
    assert "reload refused" not in daemon.log()


def test_sigkill_in_a_reload(daemons):
    """The compiler does not outlive the server."""
    daemon = daemons()
    daemon.rules = many_rules(60000)
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    until(lambda: len(daemon.processes()) == 4, "a compiler")
    pids = daemon.processes()
    os.kill(daemon.process.pid, signal.SIGKILL)
    until(lambda: not any(net.alive(pid) for pid in pids), "all to end", 15)
    daemon.process.wait()
    daemon.stop(checks=False)


def test_three_sigterms_under_load(daemons, storm):
    daemon = daemons(settings={"timeouts": {"drain": "60 s"}})
    clients = storm(daemon, 200)
    clients.wait(200)
    standing = [daemon.client() for _ in range(3)]
    pids = daemon.processes()
    for _ in range(3):
        daemon.signal(signal.SIGTERM)
        time.sleep(0.05)
    daemon.process.wait(20)
    until(lambda: not any(net.alive(pid) for pid in pids), "all to end")
    clients.stop()
    check_told_once(daemon, clients)
    for client in standing:
        client.close()


# -- the audit file -----------------------------------------------------------

@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", str(folder)],
                          check=False, stderr=subprocess.DEVNULL) if os.geteuid() == 0 else None
    if done is None or done.returncode != 0:
        pytest.skip("needs root that may mount")
    yield str(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def granted(daemon, port, storm=None):
    """Asks for one session, which is counted with those of a storm; the port if it was granted."""
    try:
        with daemon.client() as client:
            client.sock.settimeout(5)
            if storm:
                storm.attempts[client.port] += 1
            ok = client.connect5("127.0.0.1", port).code == 0
            return client.port if ok else None
    except TimeoutError:
        raise AssertionError("a client hangs") from None
    except (OSError, AssertionError):
        return None


@pytest.mark.parametrize("then", ["", "worker", "ledger", "both", "rotate"])
def test_a_full_disk(daemons, storm, crowds, small_disk, then):
    """New sessions are refused, promptly; what stands goes on; with room again all is written. That
    a worker or the ledger dies meanwhile changes nothing of it."""
    daemon = daemons(start=False)
    daemon.audit = os.path.join(small_disk, "audit.ndjson")
    daemon.settings["audit"]["file"] = daemon.audit
    daemon.ledger = Ledger(daemon.audit)
    daemon.start()
    crowd = crowds()
    standing = daemon.client()
    assert standing.connect5("127.0.0.1", crowd.port).code == 0
    with open(os.path.join(small_disk, "filler"), "wb") as filler:
        filler.write(b"x" * (900 * 1024))
    clients = storm(daemon, 50)
    clients.attempts[standing.port] += 1
    until(lambda: "cannot write the audit file: No space left on device" in daemon.log(),
          "the disk to be full")
    until(lambda: granted(daemon, crowd.port, clients) is None, "sessions to be refused")
    assert any("refusing" in line for line in daemon.notified())
    for _ in range(20):
        assert granted(daemon, crowd.port, clients) is None
    victims = []
    if then in ("worker", "both"):
        holder = daemon.worker_of(standing)
        victims.append(next(p for p in daemon.workers() if p != holder))
    if then in ("ledger", "both"):
        victims.append(ledger_pid(daemon))
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(daemon.processes()) == 3 and not set(victims) & set(daemon.processes()),
          "all to be there again")
    assert standing.send(b"alive").read(5) == b"alive"
    clients.stop()
    for _ in range(5):
        assert granted(daemon, crowd.port, clients) is None
    if then == "rotate":
        full = daemon.audit
        daemon.audit = os.path.join(daemon.folder, "elsewhere")
        os.rename(full, full + ".1")
        os.symlink(daemon.audit, full)  # not followed: a link may lead anywhere
        daemon.signal(signal.SIGUSR1)
        until(lambda: "cannot open the audit file" in daemon.log(), "the link to be refused")
        os.unlink(full)
    os.unlink(os.path.join(small_disk, "filler"))
    until(lambda: granted(daemon, crowd.port, clients), "sessions again")
    until(lambda: "the audit file is written again" in daemon.log(), "the word of it")
    standing.close()
    daemon.crash_expected = True
    if then == "rotate":
        daemon.ledger = Ledger(full + ".1")
    daemon.ledger.last_of(standing)
    check_told_once(daemon, clients)


def test_a_crash_on_a_full_disk_and_another_file(daemons, crowds, small_disk):
    """The admin makes room elsewhere: what waits is written there."""
    daemon = daemons(start=False)
    first = os.path.join(small_disk, "audit.ndjson")
    daemon.settings["audit"]["file"] = first
    daemon.start()
    crowd = crowds()
    standing = daemon.client()
    assert standing.connect5("127.0.0.1", crowd.port).code == 0
    until(lambda: any(r["event"]["action"] == "session-start" for r in Ledger(first).records()),
          "its start")
    with open(os.path.join(small_disk, "filler"), "wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096):
                pass
        except OSError:
            pass
    until(lambda: granted(daemon, crowd.port) is None, "sessions to be refused")
    os.kill(daemon.worker_of(standing), signal.SIGKILL)
    until(lambda: len(daemon.workers()) == 2, "another worker")
    daemon.settings["audit"]["file"] = daemon.audit
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    end = daemon.ledger.last_of(standing)
    assert end["event"]["reason"] == "worker-crash"
    until(lambda: granted(daemon, crowd.port), "sessions again")
    standing.close()
    daemon.crash_expected = True
    seqs = [r["audit"]["seq"] for r in daemon.ledger.records()]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_an_audit_file_that_cannot_be_written(daemons):
    """A clear word and a status of its own at the start."""
    daemon = daemons(start=False)
    os.mkdir(daemon.audit)
    daemon.start(ready=False)
    assert daemon.process.wait(20) == 4
    assert re.search(rf"cannot open the audit file '{daemon.audit}': Is a directory", daemon.log())
    os.rmdir(daemon.audit)


# -- few descriptors ----------------------------------------------------------

@pytest.mark.parametrize("nofile", [16, 32, 64, 256])
def test_few_descriptors(daemons, crowds, nofile, sanitized):
    """It serves some, or says why it cannot start; nobody hangs."""
    if sanitized and nofile < 32:
        pytest.skip("the leak check of a sanitizer wants descriptors of its own, and waits for them")
    crowd = crowds()
    daemon = daemons(start=False, settings={"workers": 1})
    daemon.start(ready=False, nofile=nofile)
    until(lambda: any(w == "READY=1" for w in daemon.notified())
          or daemon.process.poll() is not None, "ready or the end")
    if daemon.process.poll() is not None:
        assert daemon.process.returncode == 4
        assert re.search("Too many open files|descriptors", daemon.log()), daemon.log()
        return
    clients = []
    for _ in range(nofile):
        client = daemon.client()
        client.sock.settimeout(10)
        try:
            client.send(greeting() + request5("127.0.0.1", crowd.port))
            if client.read(2) == b"\x05\x00" and client.reply5().code == 0:
                clients.append(client)
                continue
        except (OSError, AssertionError) as error:
            assert not isinstance(error, TimeoutError), "a client hangs"
        client.close()
    assert clients, "nobody was served"
    for client in clients:
        assert client.send(b"x").read(1) == b"x"
    # the parent has the fewest to spare: it takes the new policy or says that it cannot
    reloaded = daemon.reload()["event"]["action"]
    assert reloaded == "policy-load" or nofile < 64 and "Too many open files" in daemon.log()
    for client in clients:
        client.close()
    until(lambda: granted(daemon, crowd.port), "a session")


# -- a ledger that stands still -----------------------------------------------

def test_a_ledger_that_stands_still(daemons, storm):
    """Messages pile up for it while it is stopped: storms of signals and a dead worker; then it goes
    on, or is replaced, and everything is told."""
    daemon = daemons()
    clients = storm(daemon, 50)
    clients.wait(200)
    stopped = ledger_pid(daemon)
    os.kill(stopped, signal.SIGSTOP)
    try:
        clients.wait(200)
        kill_worker(daemon)
        for _ in range(400):
            daemon.signal(signal.SIGUSR1)
            time.sleep(0.002)
        clients.wait(200)
    finally:
        if net.alive(stopped):
            os.kill(stopped, signal.SIGCONT)
    clients.wait(200)
    clients.stop()

    def records():
        return [r for name in daemon.audit_files() for r in Ledger(name).records()]
    check_told_once(daemon, clients, records)
    daemon.crash_expected = True  # sessions go over files


# -- leaks --------------------------------------------------------------------

def every_kind(daemon, crowd, closed, count):
    """Sessions of all kinds, eight at a time."""
    kinds = [
        lambda c: c.send(greeting() + request5("127.0.0.1", crowd.port)).read(12) and c.reset(),
        lambda c: c.send(greeting() + request5("127.0.0.1", crowd.port) + b"x").read(13)
        and c.close(),
        lambda c: c.send(greeting() + request5("127.0.0.1", closed)).read_end(),
        lambda c: c.send(greeting() + request5(*daemon.at)).read_end(),  # builtin:self
        lambda c: c.send(request4("127.0.0.1", crowd.port, b"me")).read(8) and c.fin(),
        lambda c: c.send(greeting() + request5("localhost", crowd.port)).read(2),
        lambda c: c.send(greeting() + b"\x05\x09\x00\x01\0\0\0\0\0\0").read_end(),
        lambda c: c.send(os.urandom(20)),
        lambda c: c.send(greeting()).reset(),
        lambda c: c.close(),
    ]
    for i in range(0, count, 8):
        some = [(kinds[n % len(kinds)], daemon.client()) for n in range(i, i + 8)]
        for kind, client in some:
            try:
                kind(client)
            except (ConnectionResetError, BrokenPipeError):
                pass
        for _, client in some:
            client.close()


@pytest.mark.slow
def test_nothing_grows(daemons, crowds, sanitized):
    """Twenty thousand sessions of all kinds cost no more descriptors and memory than the first two
    thousand."""
    crowd = crowds()
    daemon = daemons()
    first, more = (400, 1200) if sanitized else (4000, 16000)
    closed = free_port()

    def measure():
        until(lambda: crowd.live == 0, "all sessions to end")
        daemon.ledger.wait(lambda r: True, "records")
        pids = [*daemon.workers(), ledger_pid(daemon), daemon.process.pid]
        # not the books: how many of their cards were ever in use at once depends on the ledger's lag
        return {pid: (len(net.descriptors(pid)), net.memory_kib(pid, "RssAnon")) for pid in pids}
    every_kind(daemon, crowd, closed, first)
    before = measure()
    every_kind(daemon, crowd, closed, more)

    def settled():
        return all(fds <= before[pid][0] for pid, (fds, _) in measure().items())
    until(settled, lambda: f"the descriptors of before: {before}, {measure()}")
    after = measure()
    assert before.keys() == after.keys()
    if not sanitized:
        for pid in after:
            assert after[pid][1] - before[pid][1] < 1024, (daemon.role(pid), before, after)


# -- who they are -------------------------------------------------------------

def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_what_is_left_of_root(daemons):
    daemon = daemons()
    for pid in daemon.processes():
        status = status_of(pid)
        for what in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[what], 16) == 0, (daemon.role(pid), what, status[what])
        for what in ("Uid", "Gid"):
            assert set(status[what].split()) == {"65534"}, (daemon.role(pid), what)
        assert status["Groups"].split() in ([], ["65534"])
        assert status["NoNewPrivs"] == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_what_the_compiler_may(daemons):
    """Reading, whoever owns the file; nothing else."""
    daemon = daemons()
    daemon.rules = many_rules(60000)
    daemon.write_config()
    others = set(daemon.processes())
    daemon.signal(signal.SIGHUP)

    def compiler():
        for pid in set(daemon.processes()) - others:
            status = status_of(pid)
            if status["Seccomp_filters"] == "2":  # the parent's and its own, which comes last
                return pid, status
        return None
    pid, status = until(compiler, "a compiler", every=0.001)
    assert set(status["Uid"].split()) == {"65534"} and status["NoNewPrivs"] == "1"
    assert set(status["Gid"].split()) == {"65534"}
    dac_read_search = 1 << 2
    for what in ("CapPrm", "CapEff"):
        assert int(status[what], 16) == dac_read_search, status[what]
    for what in ("CapInh", "CapAmb", "CapBnd"):
        assert int(status[what], 16) & ~dac_read_search == 0, (what, status[what])
    for what in net.descriptors(pid):
        assert not what.startswith((daemon.audit, "anon_inode")), what
    sockets = [d for d in net.descriptors(pid) if d.startswith("socket:")]
    assert len(sockets) <= 1, sockets
    daemon.ledger.wait(lambda r: r["event"]["action"] == "policy-load", "it", count=2, seconds=60)


def test_open_descriptors(daemons):
    """A worker: its channel, listeners, bell, loop; the ledger: channel, bells, loop, the file."""
    daemon = daemons()
    file = os.path.realpath(daemon.audit)
    found = net.descriptors(ledger_pid(daemon))
    assert found.count(file) == 1, found
    assert sum(d.startswith("socket:") for d in found) == 1, found
    assert not [d for d in found if d.startswith("/memfd:")], found
    for pid in daemon.workers():
        found = net.descriptors(pid)
        assert file not in found
        assert not [d for d in found if d.startswith("/memfd:")], found


# -- in the background --------------------------------------------------------

def background(daemon, **kwargs):
    """Without -f: (status, output) of the first process."""
    daemon.write_config()
    command = [word for word in daemon.command() if word != "-f"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=daemon.environment(), timeout=PATIENCE, check=False, **kwargs)
    return done.returncode, done.stdout + done.stderr


def background_pid(daemon):
    """Of the server that has our configuration on its command line and is its own session."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                line = file.read()
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if daemon.config.encode() in line and fields[3] == entry:
            return int(entry)
    return None


def test_in_the_background(daemons, echo):
    """The first process returns when the server is ready, with status 0; nothing of the caller's is
    held (or run() above would wait for its output); a SIGTERM ends it all."""
    daemon = daemons(start=False)
    status, output = background(daemon)
    assert status == 0, output
    pid = background_pid(daemon)
    assert pid is not None
    family = [pid, *net.children(pid)]
    try:
        assert len(family) == 4
        with daemon.client() as client:
            assert client.connect5("127.0.0.1", echo.port).code == 0
        daemon.ledger.last_of(client)
        for one in family:
            held = [d for d in net.descriptors(one) if d.startswith("pipe:")]
            assert len(held) <= 8, held
            assert os.readlink(f"/proc/{one}/cwd") == "/"
            for number in (0, 1, 2):
                assert os.readlink(f"/proc/{one}/fd/{number}") == "/dev/null"
        os.kill(pid, signal.SIGHUP)
        daemon.ledger.wait(lambda r: r["event"]["action"] == "policy-load", "a reload", count=2)
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not any(net.alive(p) for p in family), "all to end")
    daemon.check_ledger()
    assert not daemon.sanitizer_output()


def test_in_the_background_what_fails_is_told(daemons, build):
    """Exit status and words reach the caller."""
    daemon = daemons(start=False)
    good = daemon.rules
    daemon.rules = "  one: { action = \"alow\" }"
    status, output = background(daemon)
    assert status == 1 and output.startswith("error[E") and "alow" in output
    daemon.rules = good
    with socket.socket() as taken:
        taken.bind(daemon.at)
        taken.listen()
        status, output = background(daemon)
        assert status == 3 and "cannot bind listener 'main'" in output
    daemon.settings["audit"]["file"] = "/nonexistent/audit"
    status, output = background(daemon)
    assert status == 4 and "cannot open the audit file '/nonexistent/audit'" in output
    daemon.settings["audit"]["file"] = "stdout"
    status, output = background(daemon)
    assert status == 4 and "use -f" in output
    daemon.settings["audit"]["file"] = daemon.audit
    if os.geteuid() == 0:  # anybody else has no user to become
        daemon.settings["user"] = "nobody-of-this-name"
        status, output = background(daemon)
        assert status == 4 and "nobody-of-this-name" in output
    assert background_pid(daemon) is None


def test_what_systemd_is_told(daemons, echo):
    """READY, RELOADING with its time, READY again, STOPPING; STATUS in words."""
    daemon = daemons()
    assert "STATUS=ready" in daemon.notified()
    before = time.monotonic()
    daemon.reload()
    daemon.wait_notified("RELOADING=1")
    until(lambda: daemon.notified().count("READY=1") == 2, "READY after the reload")
    told = daemon.notified()
    assert told.index("RELOADING=1") < len(told) - 1 - told[::-1].index("READY=1")
    stamp = next(int(line.split("=")[1]) for line in told if line.startswith("MONOTONIC_USEC="))
    assert abs(stamp / 1e6 - before) < 10
    daemon.reload(text="nonsense")
    until(lambda: daemon.notified().count("READY=1") == 3, "READY after a reload that failed")
    daemon.terminate()
    assert "STOPPING=1" in daemon.notified()


def test_nowhere_to_listen(daemons):
    """Optional listeners alone, none of which can be bound."""
    daemon = daemons(start=False, listeners={
        "gone": {"address": "192.0.2.77", "port": 1080, "optional": True}})
    daemon.start(ready=False)
    assert daemon.process.wait(20) == 3
    assert "no listener could be bound" in daemon.log()
