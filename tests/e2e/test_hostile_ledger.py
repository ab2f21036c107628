"""What is done to the audit file and to those around it: a disk that stands still, a file that is cut,
removed or may not grow, several processes killed or stopped in one moment. Each session that a client saw
succeed is told once all the same, and where something must be lost, that is said."""
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import time

import pytest

from harness import net
from harness.control import Control
from harness.disk import MemoryDisk, SlowDisk, waits_for_disk
from harness.ledger import Ledger
from harness.rush import Rush, check_all_told
from harness.storm import check_told_once
from harness.wait import PATIENCE, until


def records(daemon):
    return [r for name in daemon.audit_files() for r in Ledger(name).records()]


def pid_of(daemon, word):
    return next((p for p in daemon.processes() if word in daemon.role(p)), None)


def session(daemon, port):
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", port).code == 0
        assert client.send(b"x").read(1) == b"x"
        return client.port


# -- a slow disk --------------------------------------------------------------------------------

@pytest.fixture
def slow_disk(tmp_path):
    tmp_path.chmod(0o755)
    disk = SlowDisk(str(tmp_path / "disk"), 64 << 20)
    yield disk
    disk.close()


def on(daemons, disk, **audit):
    path = disk.path("audit.ndjson")
    daemon = daemons(settings={"audit": {"file": path, **{"sync": "batch", **audit}}})
    daemon.audit = path
    daemon.ledger = Ledger(path)
    return daemon


@pytest.mark.parametrize("then", ["", "kill", "rotate", "reload"])
def test_a_disk_that_stands_still(daemons, storm, slow_disk, then):
    """Sessions go on as if nothing were; a ledger that waits in the kernel cannot even be killed. When the
    disk answers again all is told."""
    daemon = on(daemons, slow_disk)
    clients = storm(daemon)
    clients.wait(100)
    slow_disk.freeze()
    ledger = daemon.ledger_pid()
    until(lambda: waits_for_disk(ledger), "the ledger to wait for its disk")
    length = os.path.getsize(daemon.audit)
    clients.wait(500)
    if then == "kill":
        os.kill(ledger, signal.SIGKILL)
        os.kill(daemon.workers()[0], signal.SIGKILL)
        daemon.crash_expected = True
    elif then == "rotate":
        daemon.signal(signal.SIGUSR1)
    elif then == "reload":
        for _ in range(20):
            daemon.signal(signal.SIGHUP)
            clients.wait(20)
    clients.wait(500)
    assert os.path.getsize(daemon.audit) == length
    assert waits_for_disk(ledger)
    slow_disk.thaw()
    until(lambda: not waits_for_disk(ledger), "the ledger to go on")
    clients.wait(200)
    clients.stop()
    assert not set(clients.errors) - {"stopped"} or then == "kill", clients.errors
    if then == "rotate":
        until(lambda: len(daemon.audit_files()) > 1, "a new file")
        daemon.crash_expected = True
    check_told_once(daemon, clients, lambda: records(daemon))


def test_the_end_while_the_disk_stands_still(daemons, storm, slow_disk):
    """SIGTERM: the server is patient with its ledger, and when that comes back all is told."""
    daemon = on(daemons, slow_disk)
    clients = storm(daemon)
    clients.wait(200)
    slow_disk.freeze()
    until(lambda: waits_for_disk(daemon.ledger_pid()), "the ledger to wait for its disk")
    clients.wait(200)
    daemon.signal(signal.SIGTERM)
    until(lambda: not daemon.workers(), "the workers to end")
    clients.stop()
    slow_disk.thaw()
    assert daemon.process.wait(PATIENCE) == 0, daemon.log()
    check_told_once(daemon, clients, lambda: records(daemon))
    assert records(daemon)[-1]["event"]["action"] == "audit-stop"


# -- the file ------------------------------------------------------------------------------------

def test_full_in_the_middle_of_a_line(daemons, echo):
    """The file may not grow beyond half a line; there the ledger dies, and its successor writes the rest."""
    daemon = daemons()
    live = daemon.client()
    assert live.connect5("127.0.0.1", echo.port).code == 0
    daemon.ledger.of(live, "session-start")
    first, most = daemon.ledger_pid(), os.path.getsize(daemon.audit) + 10000
    # the next ledger has the limits of the parent
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    os.kill(first, signal.SIGKILL)
    ledger = until(lambda: pid_of(daemon, "ledger") not in (None, first) and pid_of(daemon, "ledger"),
                   "another ledger")
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    told = []
    while "cannot write the audit file: File too large" not in daemon.log():
        try:
            told.append(session(daemon, echo.port))
        except (ConnectionError, AssertionError):
            pass  # refused: it was full already
        assert len(told) < 40
    assert os.path.getsize(daemon.audit) == most
    assert pid_of(daemon, "ledger") == ledger  # it was told by an error, not by a signal
    os.kill(ledger, signal.SIGKILL)
    for port in told:
        daemon.ledger.wait(lambda r, p=port: r.get("source", {}).get("port") == p
                           and r["event"]["action"] == "session-end", "each session's end")
    live.close()
    assert daemon.ledger.last_of(live)["event"]["reason"] == "client-closed"


def test_another_file_behind_half_a_line(daemons, echo, tmp_path):
    """The disk is full in the middle of a line; in the file elsewhere it stands whole, and both are."""
    tmp_path.chmod(0o755)
    disk = MemoryDisk(str(tmp_path / "disk"), 256 * 1024)
    try:
        daemon = on(daemons, disk, sync="none")
        first, second = daemon.audit, os.path.join(daemon.folder, "second")
        until(lambda: Ledger(first).records(), "the start")
        disk.fill()
        tried = 0
        while "cannot write the audit file" not in daemon.log():
            with contextlib.suppress(OSError):  # refused, and the log is a moment behind
                session(daemon, echo.port)
            tried += 1
            assert tried < 2000
        daemon.crash_expected = True
        daemon.audit, daemon.ledger = second, Ledger(second)
        daemon.settings["audit"]["file"] = second
        daemon.write_config()
        daemon.signal(signal.SIGHUP)
        until(lambda: "the audit file is written again" in daemon.log(), "room elsewhere")
        last = session(daemon, echo.port)
        daemon.ledger.wait(lambda r: r.get("source", {}).get("port") == last
                           and r["event"]["action"] == "session-end", "the session's end")
        assert daemon.terminate() == 0
        with open(first, "rb") as file:
            torn = not file.read().endswith(b"\n")
        done = subprocess.run([os.path.join(daemon.build, "sallyctl"), "verify", "--json", first,
                               second], capture_output=True, text=True, check=False)
        verdict = json.loads(done.stdout)
        assert verdict["verdict"] == "whole" and verdict["torn"] == torn, verdict
        assert verdict["proven"] == verdict["lines"] - torn
        daemon.stop(checks=False)
    finally:
        disk.close()


def test_the_file_is_removed(daemons, echo):
    """What stood in it is lost, which is said; what comes is in a new one."""
    daemon = daemons()
    first = session(daemon, echo.port)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "its end")
    os.unlink(daemon.audit)
    session(daemon, echo.port)  # may be in neither
    until(lambda: os.path.exists(daemon.audit) and os.path.getsize(daemon.audit), "a new file")
    assert "somebody has removed the audit file, and the records in it" in daemon.log()
    begin = daemon.ledger.records()[0]
    assert begin["event"]["action"] == "audit-rotate"
    assert begin["event"]["reason"] == "file-removed"
    told = session(daemon, echo.port)
    daemon.ledger.wait(lambda r: r.get("source", {}).get("port") == told
                       and r["event"]["action"] == "session-end", "the session's end")
    assert first not in {r.get("source", {}).get("port") for r in daemon.ledger.records()}
    assert daemon.verify()["first"] > 1  # and that is where it shows
    daemon.crash_expected = True


def test_the_file_is_cut(daemons, echo):
    """The log says so at once, the chain to whoever looks there."""
    daemon = daemons()
    session(daemon, echo.port)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "its end")
    daemon.ledger.wait(lambda r: r["event"]["action"] == "checkpoint", "all to be signed", count=1)
    session(daemon, echo.port)
    until(lambda: sum(r["event"]["action"] == "checkpoint" for r in daemon.ledger.records()) >= 2,
          "it to be signed")
    with open(daemon.audit, "rb") as file:
        first = len(file.readline())
    os.truncate(daemon.audit, first)
    session(daemon, echo.port)
    until(lambda: "somebody has cut the audit file" in daemon.log(), "the word of it")
    daemon.stop(checks=False)
    verdict = daemon.verify()
    assert verdict["verdict"] in ("removed", "cut") and verdict["at"]["line"] == 2, verdict


def test_a_folder_in_the_files_place(daemons, echo):
    """Nothing is opened there; records go on into the file that was moved away."""
    daemon = daemons(start=False)
    daemon.settings["audit"]["file"] = os.path.join(daemon.folder, "a")
    daemon.audit = daemon.settings["audit"]["file"]
    daemon.start()
    os.rename(daemon.audit, daemon.audit + ".1")
    daemon.ledger = Ledger(daemon.audit + ".1")
    os.mkdir(daemon.audit)
    daemon.signal(signal.SIGUSR1)
    until(lambda: "cannot open the audit file" in daemon.log(), "the reason")
    told = session(daemon, echo.port)
    daemon.ledger.wait(lambda r: r.get("source", {}).get("port") == told
                       and r["event"]["action"] == "session-end", "its end")
    os.rmdir(daemon.audit)
    daemon.signal(signal.SIGUSR1)
    until(lambda: os.path.exists(daemon.audit), "a new file")
    daemon.crash_expected = True


HOOKS = {"hangs": "exec sleep 1000", "forks": "sleep 1000 & exit 0",
         "hides": "setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000' & sleep 1000"}


@pytest.mark.parametrize("what", HOOKS)
def test_a_hook_that_does_not_end(daemons, echo, what):
    """It holds up neither the ledger, nor rotation, nor the end of the server."""
    daemon = daemons(start=False)
    pids = os.path.join(daemon.folder, "pids")
    hook = daemon.write("hook", f"#!/bin/sh\necho $$ >> {pids}\n{HOOKS[what]}\n")
    os.chmod(hook, 0o755)
    daemon.settings["audit"]["rotate-hook"] = hook
    daemon.start()
    try:
        for count in range(1, 6):
            session(daemon, echo.port)
            daemon.signal(signal.SIGUSR1)
            until(lambda n=count: len(daemon.audit_files()) == n + 1, "a new file")
        until(lambda: os.path.exists(pids), "the hook")
        start = time.monotonic()
        assert daemon.terminate() == 0
        assert time.monotonic() - start < PATIENCE / 2
        assert daemon.verify()["verdict"] == "whole"
    finally:
        end_sessions(pids)


def end_sessions(path):
    """What a hook has left: each leads a session of its own, except for those that have left it."""
    with open(path, encoding="ascii") as file:
        leaders = {int(line) for line in file}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                line = file.read()
            session_id = os.getsid(int(entry))
        except OSError:
            continue
        if b"sleep\0001000" in line and session_id in leaders or b"; sleep 1000" in line:
            os.kill(int(entry), signal.SIGKILL)


# -- the processes ----------------------------------------------------------------------------------

@pytest.fixture
def full(daemons, build, tmp_path):
    """A server with every kind of process."""
    tmp_path.chmod(0o755)
    users = tmp_path / "users"
    hashed = subprocess.run(["openssl", "passwd", "-6", "x"], capture_output=True, text=True,
                            check=True, timeout=20).stdout
    users.write_text(f"ann:{hashed}", encoding="ascii")
    users.chmod(0o600)
    daemon = daemons(start=False)
    daemon.settings.update({"control": {"socket": os.path.join(daemon.folder, "control")},
                            "auth": {"file": {"path": str(users)}}})
    return Control(daemon.start(), build)


ROLES = ("control", "auth", "ledger", "worker")


@pytest.mark.parametrize("roles", [("ledger", "worker"), ("ledger", "control"),
                                   ("control", "auth"), ROLES])
def test_killed_in_one_moment(full, storm, roles):
    """All of them stopped first, so that none sees another die."""
    daemon = full.daemon
    daemon.crash_expected = True
    clients = storm(daemon)
    for _ in range(3):
        clients.wait(150)
        until(lambda: all(pid_of(daemon, word) for word in ROLES) and
              len(daemon.workers()) == 2, "all to be there", 60)
        victims = [p for p in daemon.processes() if any(w in daemon.role(p) for w in roles)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims:
                os.kill(pid, number)
        until(lambda v=tuple(victims): not any(net.alive(p) for p in v), "them to be dead")
    clients.wait(150)
    clients.stop()
    until(lambda: full.json("status")[0]["ledger"]["state"] == "ok", "the control socket")
    check_told_once(daemon, clients)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["ledger", "control", "auth"])
def test_stopped_for_a_while(full, storm, role):
    """Ten seconds under load; then it goes on as if nothing had been."""
    daemon = full.daemon
    clients = storm(daemon)
    clients.wait(150)
    pid = pid_of(daemon, role)
    os.kill(pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            clients.wait(20)
    finally:
        os.kill(pid, signal.SIGCONT)
    clients.wait(150)
    clients.stop()
    assert not set(clients.errors) - {"stopped"}, clients.errors
    assert pid_of(daemon, role) == pid and full.json("status")[0]["processes"]
    check_told_once(daemon, clients)


def test_the_parent_and_the_ledger_killed_at_once(daemons, echo):
    """Nobody is left who could write: the workers say how much that is, and the next start that the file
    has no end."""
    daemon = daemons()
    before = session(daemon, echo.port)
    daemon.ledger.wait(lambda r: r.get("source", {}).get("port") == before
                       and r["event"]["action"] == "session-end", "its end")
    children, ledger = daemon.processes(), daemon.ledger_pid()
    os.kill(ledger, signal.SIGSTOP)
    for _ in range(10):
        session(daemon, echo.port)
    os.kill(daemon.process.pid, signal.SIGSTOP)
    os.kill(ledger, signal.SIGKILL)
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    until(lambda: not any(net.alive(pid) for pid in children), "the children to end", PATIENCE + 10)
    said = re.findall(r"the ledger is dead or stands still: (\d+) records? (?:is|are) not written",
                      daemon.log())
    assert sum(int(n) for n in said) == 20, daemon.log()
    daemon.crash_expected = True
    daemon.start()
    begin = daemon.ledger.wait(lambda r: r["event"].get("reason") == "no-end", "the word of it")
    assert begin["event"]["action"] == "audit-start"
    daemon.terminate()
    daemon.start()  # and after a good end there is no such word
    daemon.ledger.wait(lambda r: r["event"]["action"] == "audit-start", "another start", count=3)
    assert len(daemon.ledger.find(lambda r: r["event"].get("reason") == "no-end")) == 1


def test_the_parent_killed_and_the_same_file_again(daemons, storm):
    """Under load, at once, several times: numbers go on, and nothing is missing."""
    daemon = daemons()
    clients = storm(daemon)
    for _ in range(3):
        clients.wait(150)
        children = daemon.processes()
        daemon.process.kill()
        daemon.process.wait()
        until(lambda c=tuple(children): not any(net.alive(pid) for pid in c), "its children to end")
        daemon.start()
    clients.wait(150)
    clients.stop()
    daemon.crash_expected = True
    check_told_once(daemon, clients)
    assert daemon.ledger.find(lambda r: r["event"].get("reason") == "no-end") == []


# -- many ---------------------------------------------------------------------------------------------

def test_thousands_a_second(daemons, build, tmp_path, sanitized):
    """Reloads, rotation by size and by signal, and deaths of workers and ledgers, while 30,000 sessions
    come as fast as they can."""
    count = 3000 if sanitized else 30000
    daemon = daemons(settings={"audit": {"rotate-size": "1 MiB"}})
    daemon.crash_expected = True
    rush = Rush(build, daemon.at, str(tmp_path), count)
    faults = [lambda: daemon.signal(signal.SIGHUP), lambda: daemon.signal(signal.SIGUSR1),
              lambda: kill(daemon, "ledger"), lambda: daemon.signal(signal.SIGHUP),
              lambda: daemon.signal(signal.SIGUSR1), lambda: kill(daemon, "worker")]
    done = 0
    try:
        while rush.running():
            before = written(daemon)
            faults[done % len(faults)]()
            done += 1
            until(lambda b=before: written(daemon) > b + count * 40 or not rush.running(),
                  "more records", 60, every=0.02)
    finally:
        result = rush.end()
    rate = result["done"] / result["seconds"]
    print(f"{result['done']} sessions at {rate:,.0f} a second, {result['failed']} cut, {done} faults")
    assert result["done"] + result["failed"] >= count * 0.99 and done >= len(faults)
    check_all_told(rush, lambda: records(daemon))
    assert daemon.verify()["verdict"] == "whole"


def test_a_backlog_is_rotated_as_well(daemons, build, tmp_path, sanitized):
    """A ledger that was stopped for long has much to write at once: not all of it into one file."""
    count = 3000 if sanitized else 12000
    daemon = daemons(settings={"audit": {"rotate-size": "1 MiB"}})
    ledger = daemon.ledger_pid()
    os.kill(ledger, signal.SIGSTOP)
    rush = Rush(build, daemon.at, str(tmp_path), count)
    try:
        rush.end()
    finally:
        os.kill(ledger, signal.SIGCONT)
    check_all_told(rush, lambda: records(daemon))
    sizes = [os.path.getsize(name) for name in daemon.audit_files()]
    assert max(sizes) < sum(sizes) / 2, sizes
    daemon.crash_expected = True


def written(daemon):
    total = 0
    for name in daemon.audit_files():
        try:
            total += os.path.getsize(name)
        except FileNotFoundError:
            continue
    return total


def kill(daemon, word):
    pid = pid_of(daemon, word)
    if pid:
        os.kill(pid, signal.SIGKILL)
