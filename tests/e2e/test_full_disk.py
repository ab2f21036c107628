"""The disk of the audit file is full: audit.on-full says what happens, and it is over when there
is room again (AUDIT "Nothing lost quietly").  The disk is a small one in memory, which needs root."""
import os
import re
import subprocess
import time

import pytest

from harness.ledger import Ledger
from harness.socks import greeting, request5
from harness.wait import until

SIZE = 256 * 1024


@pytest.fixture
def disk(tmp_path):
    """A folder with its own small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "sallyport-e2e", str(folder)],
            check=False, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("needs root for a small disk")
    yield str(folder)
    # the server of the test may still be ending
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Leaves no byte; the path of what takes the room."""
    path = os.path.join(folder, "ballast")
    with open(path, "wb", buffering=0) as file:
        size = SIZE
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
    return path


def on(daemons, disk, on_full):
    daemon = daemons(settings={"audit": {"file": os.path.join(disk, "audit.ndjson"),
                                         "on-full": on_full}})
    daemon.ledger = Ledger(os.path.join(disk, "audit.ndjson"))
    return daemon


def attempt(daemon, port):
    """The reply code of one short session, or None when turned away."""
    with daemon.client() as client:
        try:
            client.send(greeting() + request5("127.0.0.1", port) + b"x")
            if client.read(2) != b"\x05\x00":
                return None
            code = client.reply5().code
            if code == 0:
                assert client.read(1) == b"x"
            return code
        except (ConnectionError, AssertionError):
            return None


def until_not_even_a_line_fits(daemon, folder, port):
    """File systems hand out whole pages: sessions use up the rest of the last one."""
    ballast = fill(folder)
    granted = 0
    while "cannot write the audit file" not in daemon.log():
        granted += attempt(daemon, port) == 0
        assert granted < 2000
    return ballast, granted


def test_refuse(daemons, disk, crowds):
    """No record, no session; those that live go on; nothing is lost."""
    crowd = crowds()
    daemon = on(daemons, disk, "refuse")
    live = daemon.client()
    assert live.connect5("127.0.0.1", crowd.port).code == 0
    daemon.ledger.of(live, "session-start")
    ballast, granted = until_not_even_a_line_fits(daemon, disk, crowd.port)
    until(lambda: attempt(daemon, crowd.port) is None, "a refusal")
    for _ in range(10):
        assert attempt(daemon, crowd.port) is None
    assert live.send(b"still").read(5) == b"still"
    os.unlink(ballast)
    until(lambda: attempt(daemon, crowd.port) == 0, "a session again", every=0.05)
    live.close()
    daemon.ledger.last_of(live)
    ends = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "all ends",
                              count=granted + 2)
    assert len(ends) >= granted + 2
    assert "the audit file is written again" in daemon.log()
    for records in daemon.ledger.sessions().values():
        assert [r["event"]["action"] for r in records][0] in ("session-start", "session-deny")


def test_drop(daemons, disk, crowds):
    """Sessions go on without records; how many were lost is itself a record, and is exact."""
    crowd = crowds()
    daemon = on(daemons, disk, "drop")
    daemon.crash_expected = True
    ballast, granted = until_not_even_a_line_fits(daemon, disk, crowd.port)
    # the ledger tries again four times a second, and drops what it has by then
    unseen = 20
    for _ in range(unseen):
        assert attempt(daemon, crowd.port) == 0
        time.sleep(0.05)
    os.unlink(ballast)

    def resumed():
        nonlocal granted
        assert attempt(daemon, crowd.port) == 0
        granted += 1
        return daemon.ledger.find(lambda r: r["event"]["action"] == "audit-resume")
    until(resumed, "the count of what was lost", every=0.05)
    daemon.terminate()
    records = daemon.ledger.records()
    lost = sum(int(n) for r in records if r["event"]["action"] == "audit-resume"
               for n in re.findall(r"^(\d+) records? w", r["message"]))
    suspended = [r for r in records if r["event"]["action"] == "audit-suspend"]
    assert suspended and suspended[0]["message"] == "No space left on device"
    # told when it is over, with the time at which it began
    resumed = next(r for r in records if r["event"]["action"] == "audit-resume")
    assert suspended[0]["@timestamp"] < resumed["@timestamp"]
    told = sum(r["event"]["action"] in ("session-start", "session-end") for r in records)
    assert lost >= 1
    assert told + lost == 2 * (granted + unseen)
    # lines are whole and numbered without a gap all the same
    seqs = [r["audit"]["seq"] for r in records]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    daemon.stop(checks=False)


def test_halt(daemons, disk, crowds):
    """The server stops rather than serve unseen."""
    crowd = crowds()
    daemon = on(daemons, disk, "halt")
    ballast = fill(disk)

    def over():
        if daemon.process.poll() is None:
            try:
                attempt(daemon, crowd.port)
            except OSError:
                pass
        return daemon.process.poll() is not None
    until(over, "the end of the server")
    assert daemon.process.returncode not in (0, -6, -11)
    assert "audit.on-full" in daemon.log()
    os.unlink(ballast)


def test_a_disk_that_is_full_at_start(daemons, disk):
    """audit-start cannot be written: with `halt` the server does not stay."""
    fill(disk)
    daemon = daemons(start=False, settings={"audit": {
        "file": os.path.join(disk, "audit.ndjson"), "on-full": "halt"}})
    daemon.start(ready=False)
    assert daemon.process.wait(30) not in (0, -6, -11)
    assert "audit" in daemon.log()
