"""Everything that may die dies, again and again, under load, on a disk that is full or stands still now
and then, while files are rotated all the time: each session that a client saw succeed has one start and
one end, and the ledger is whole.

A short while here; `./dev soak [SECONDS]` for as long as one likes (SOAK_SECONDS, SOAK_SEED)."""
import contextlib
import os
import random
import signal
import time

import pytest

from harness import net
from harness.disk import SlowDisk, waits_for_disk
from harness.ledger import Ledger
from harness.storm import Storm, check_told_once
from harness.wait import until

SECONDS = float(os.environ.get("SOAK_SECONDS", "6"))


DISK = 32 << 30  # a file with holes


@pytest.fixture
def disk(tmp_path):
    """A file system of the test's own, None where that cannot be."""
    tmp_path.chmod(0o755)
    try:
        made = SlowDisk(str(tmp_path / "disk"), DISK)
    except pytest.skip.Exception:
        yield None
        return
    yield made
    made.close()


def ledger_pid(daemon):
    return pid_of(daemon, "ledger")


def pid_of(daemon, word):
    return next((p for p in daemon.processes() if word in daemon.role(p)), None)


def kill_control(daemon, _):
    os.kill(until(lambda: pid_of(daemon, "control"), "control", 60), signal.SIGKILL)


def kill_worker(daemon, chance):
    os.kill(chance.choice(until(daemon.workers, "a worker", 60)), signal.SIGKILL)


def kill_ledger(daemon, _):
    os.kill(until(lambda: ledger_pid(daemon), "a ledger", 60), signal.SIGKILL)


def kill_both(daemon, chance):
    for kill in chance.sample([kill_worker, kill_ledger], 2):
        kill(daemon, chance)


def kill_all_children(daemon, _):
    """None of them sees another die."""
    until(lambda: ledger_pid(daemon), "a ledger", 60)
    pids = daemon.processes()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


def stand_still(daemon, chance):
    """The ledger is stopped, and perhaps killed as it stands."""
    pid = until(lambda: ledger_pid(daemon), "a ledger", 60)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(chance.uniform(0.05, 1))
    # it may be gone: what another fault made the parent do comes late under a heavy load
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, chance.choice([signal.SIGCONT, signal.SIGCONT, signal.SIGKILL]))


def freeze_disk(daemon, chance):
    if daemon.disk is None:
        return
    daemon.disk.freeze()
    try:
        pid = until(lambda: ledger_pid(daemon), "a ledger", 60)
        until(lambda: waits_for_disk(pid) or not net.alive(pid), "the ledger to wait for its disk")
        time.sleep(chance.uniform(0, 1))
        if chance.random() < 0.5:
            chance.choice([kill_worker, kill_ledger, reload, rotate])(daemon, chance)
    finally:
        daemon.disk.thaw()


def fill_disk(daemon, chance):
    """Sessions are refused until there is room."""
    if daemon.disk is None:
        return
    said = daemon.log().count("cannot write the audit file")
    daemon.disk.fill()
    try:
        until(lambda: daemon.log().count("cannot write the audit file") > said, "the disk to be full")
        if chance.random() < 0.5:
            chance.choice([kill_worker, kill_ledger, reload])(daemon, chance)
        time.sleep(chance.uniform(0, 0.3))
    finally:
        daemon.disk.make_room()


def reload(daemon, _):
    daemon.signal(signal.SIGHUP)


def hand_over(daemon, _):
    """Whatever comes next comes in the middle of it, or before it is tried: then it is refused."""
    daemon.signal(signal.SIGUSR2)


def rotate(daemon, _):
    daemon.signal(signal.SIGUSR1)


def start_again(daemon, _):
    daemon.terminate(60)
    daemon.start()


def kill_the_parent(daemon, chance):
    """Its children end by themselves, and tell what they have."""
    written = lambda: sum(os.path.getsize(name) for name in daemon.audit_files())
    until(lambda: ledger_pid(daemon), "a ledger", 60)
    before = written()
    # what stands in memory only is lost with the last two that have it, if both die at once
    until(lambda: written() > before and ledger_pid(daemon), "a ledger that writes", 60)
    children = daemon.processes()
    if chance.random() < 0.5:
        os.kill(daemon.workers()[0], signal.SIGKILL)
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    until(lambda: not any(net.alive(pid) for pid in children), "the children to end", 30)
    daemon.start()


FAULTS = [kill_worker, kill_worker, kill_ledger, kill_ledger, kill_both, kill_all_children, kill_control,
          stand_still, freeze_disk, fill_disk, reload, reload, rotate, rotate, rotate, hand_over,
          hand_over, hand_over, start_again,
          kill_the_parent]


@pytest.mark.slow
def test_soak(daemons, crowds, disk):
    seed = int(os.environ.get("SOAK_SEED", random.randrange(1 << 32)))
    print("SOAK_SEED", seed)
    chance = random.Random(seed)
    daemon = daemons(start=False, settings={"audit": {"rotate-size": "1 MiB", "sync": "batch"}})
    daemon.disk = disk
    if disk is not None:
        daemon.audit = daemon.settings["audit"]["file"] = disk.path("audit.ndjson")
        daemon.ledger = Ledger(daemon.audit)
    daemon.settings["control"] = {"socket": os.path.join(daemon.folder, "control")}
    daemon.start()
    clients = Storm(daemon.at, crowds().port, 100)
    end = time.monotonic() + SECONDS
    done = 0
    try:
        while time.monotonic() < end:
            chance.choice(FAULTS)(daemon, chance)
            done += 1
            before, patience = clients.echoed, time.monotonic() + 60
            while clients.echoed < before + 100 and time.monotonic() < patience:
                time.sleep(0.01)
            assert clients.echoed >= before + 100, f"no sessions any more; the log says\n{daemon.log()}"
            time.sleep(chance.uniform(0, 0.5))
    finally:
        clients.stop()
    print(done, "faults,", clients.echoed, "sessions,", len(daemon.audit_files()), "files")
    daemon.crash_expected = True
    daemon.terminate(60)
    told = [r for name in daemon.audit_files() for r in Ledger(name).records()]
    check_told_once(daemon, clients, lambda: told)
    verdict = daemon.verify()
    assert verdict["verdict"] == "whole", verdict
    assert verdict["proven"] == verdict["lines"] - verdict["torn"] and verdict["ended"]
