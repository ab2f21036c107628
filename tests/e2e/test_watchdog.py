"""Processes whose loop no longer turns: the parent tells systemd that its own does, and ends workers
whose loop does not."""
import os
import signal
import time

import pytest

from harness.wait import until

USEC = 400_000


def told(daemon):
    return daemon.notified().count("WATCHDOG=1")


def watched(daemons, environment):
    daemon = daemons(start=False)
    daemon.extra_environment = environment
    return daemon


def test_signs_of_life(daemons, echo):
    """Twice in the time that is allowed, in work and in idleness, as long as the parent's loop turns."""
    daemon = watched(daemons, {"WATCHDOG_USEC": str(USEC)}).start()
    before, began = told(daemon), time.monotonic()
    until(lambda: told(daemon) >= before + 6, "six signs of life")
    # half the time each, and not as fast as it can
    assert time.monotonic() - began >= 5 * USEC / 2 / 1e6 * 0.9

    os.kill(daemon.process.pid, signal.SIGSTOP)
    until(lambda: state(daemon.process.pid) == "T", "the parent to stand still")
    daemon.notified()
    still = told(daemon)
    # the workers go on: what comes from them comes later than a sign of life would
    for _ in range(4):
        with daemon.client() as client:
            assert client.connect5(echo.host, echo.port).code == 0
        time.sleep(USEC / 2e6)
    assert told(daemon) == still
    os.kill(daemon.process.pid, signal.SIGCONT)
    until(lambda: told(daemon) > still, "a sign of life")

    daemon.reload()
    before = told(daemon)
    until(lambda: told(daemon) > before, "a sign of life after the reload")


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def test_signs_of_life_while_sessions_drain(daemons, echo):
    daemon = daemons(start=False, settings={"timeouts": {"drain": "30 s"}})
    daemon.extra_environment = {"WATCHDOG_USEC": str(USEC)}
    daemon.start()
    client = daemon.client()
    assert client.connect5(echo.host, echo.port).code == 0
    daemon.signal(signal.SIGTERM)
    daemon.wait_notified("STOPPING=1")
    before = told(daemon)
    until(lambda: told(daemon) >= before + 3, "signs of life")
    client.close()
    assert daemon.terminate() == 0


@pytest.mark.parametrize("environment", [
    {}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "-1"},
    {"WATCHDOG_USEC": str(USEC), "WATCHDOG_PID": "1"},
    {"WATCHDOG_USEC": str(USEC), "WATCHDOG_PID": "me"}])
def test_nobody_waits_for_a_sign(daemons, environment):
    """Not asked, or not this process."""
    daemon = watched(daemons, environment).start()
    for _ in range(3):
        daemon.reload()  # its loop turns, and turns
    assert told(daemon) == 0


def test_the_sign_is_ours(daemons):
    daemon = daemons(start=False)
    daemon.start(prefix=("/bin/sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", "env",
                         f"WATCHDOG_USEC={USEC}"))
    until(lambda: told(daemon) >= 3, "signs of life")


@pytest.mark.slow
def test_a_worker_that_stands_still(daemons, echo):
    """Its loop has not turned for half a minute: it is ended, its sessions are told, and another takes
    its place; a worker that only rests is not."""
    daemon = daemons()
    clients = []
    while len({daemon.worker_of(c) for c in clients}) < 2:
        client = daemon.client()
        assert client.connect5(echo.host, echo.port).code == 0
        clients.append(client)
    stuck = daemon.worker_of(clients[0])
    others = [w for w in daemon.workers() if w != stuck]
    daemon.crash_expected = True
    began = time.monotonic()
    os.kill(stuck, signal.SIGSTOP)
    until(lambda: "has not turned its loop" in daemon.log(), "the parent to notice", 60)
    assert time.monotonic() - began > 20
    assert f"(pid {stuck}) has not turned its loop for 30 s, it is ended" in daemon.log()
    until(lambda: len(daemon.workers()) == 2 and stuck not in daemon.workers(), "another worker")
    assert set(others) <= set(daemon.workers())
    end = daemon.ledger.last_of(clients[0])
    assert end["event"]["reason"] == "worker-crash"
    for client in clients:
        client.close()
    with daemon.client() as client:
        assert client.connect5(echo.host, echo.port).code == 0
    assert daemon.log().count("has not turned its loop") == 1
    daemon.baseline.clear()


@pytest.mark.slow
def test_a_machine_that_slept(daemons, echo):
    """Workers have been seen to be still, but then the parent was as well, as in a machine that is
    suspended or has no processor for anybody: nobody is ended for that."""
    daemon = daemons()
    workers = daemon.workers()
    client = daemon.client()
    assert client.connect5(echo.host, echo.port).code == 0
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(25)  # two looks
    os.kill(daemon.process.pid, signal.SIGSTOP)
    time.sleep(16)  # the third would be the last
    for pid in (daemon.process.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    assert client.send(b"x").read(1) == b"x"
    time.sleep(12)  # past its next look
    assert daemon.workers() == workers and "has not turned" not in daemon.log()
    client.close()
