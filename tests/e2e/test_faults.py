"""Faults under load: processes that die, reloads, signals; whatever happens, each session that a
client saw succeed is told once, the numbers have no gap, and it goes on."""
import os
import signal
import time

import pytest

from harness.storm import Storm, check_told_once
from harness.wait import until


@pytest.fixture
def storm(crowds):
    """A storm of clients on a server; stopped in any case."""
    made = []

    def make(daemon, count=200):
        made.append(Storm(daemon.at, crowds().port, count))
        return made[-1]
    yield make
    for one in made:
        one._stop.set()
        one._thread.join(5)


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
    clients = storm(daemon)
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
    """Ten times as soon as it is there: it is backed off, not given up, and nothing is told twice."""
    daemon = daemons()
    clients = storm(daemon)
    start = time.monotonic()
    seen = set()
    while len(seen) < 7:
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
