"""New audit files: by size, by age, by signal; the admin's program that gets the old ones; and that the
chain goes through all of them."""
import glob
import gzip
import os
import re
import signal
import stat
import subprocess
import time

import pytest

from conftest import ROOT
from harness.ledger import Ledger
from harness.storm import Storm, check_told_once
from harness.wait import until

STAMP = re.compile(r"\.\d{8}T\d{6}\.\d{3}Z$")


def rotated(daemon):
    return [name for name in daemon.audit_files() if name != daemon.audit]


def session(daemon, echo):
    """One, which stands in the file."""
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", echo.port).code == 0
        port = client.port

    def is_told():
        for name in daemon.audit_files():
            try:
                with (gzip.open if name.endswith(".gz") else open)(name, "rb") as file:
                    text = file.read().decode("ascii")
            except (FileNotFoundError, EOFError):
                continue
            if any(f'"port":{port}' in line and "session-end" in line
                   for line in text.split("\n")):
                return True
        return False
    until(is_told, "the session's end")


def is_closed(name):
    """Its last line is signed and names the next key."""
    last = Ledger(name).records()[-1]
    return last["event"]["action"] == "checkpoint" and "next" in last["audit"]


def actions(name):
    return [r["event"]["action"] for r in Ledger(name).records()]


def test_by_size(daemons, crowds):
    daemon = daemons(settings={"audit": {"rotate-size": "64 KiB"}})
    crowd = crowds()
    clients = Storm(daemon.at, crowd.port, 20)
    until(lambda: len(rotated(daemon)) >= 4, "four full files")
    clients.stop()
    check_told_once(daemon, clients, lambda: [
        r for name in daemon.audit_files() for r in Ledger(name).records()])
    for name in rotated(daemon):
        assert STAMP.search(name), name
        # until the parent has answered, lines go on into the old one
        assert 64 * 1024 <= os.path.getsize(name) < 8 << 20
        assert is_closed(name)
    for name in daemon.audit_files()[1:]:
        assert actions(name)[0] == "audit-rotate"
    verdict = daemon.verify()
    assert verdict["verdict"] == "whole"
    assert [k["named"] for k in verdict["keys"]] == [False] + [True] * len(rotated(daemon))
    daemon.crash_expected = True  # sessions go over files


def test_by_size_with_deaths(daemons, crowds):
    """The ledger is killed while it rotates all the time: nothing is lost, told twice or unchained."""
    daemon = daemons(settings={"audit": {"rotate-size": "16 KiB"}})
    clients = Storm(daemon.at, crowds().port, 50)
    for i in range(4):
        clients.wait(150)
        os.kill(until(lambda: next((p for p in daemon.processes() if "ledger" in daemon.role(p)),
                                   None), "a ledger", 60), signal.SIGKILL)
        if i == 2:
            os.kill(daemon.workers()[0], signal.SIGKILL)
    clients.wait(150)
    clients.stop()
    check_told_once(daemon, clients, lambda: [
        r for name in daemon.audit_files() for r in Ledger(name).records()])
    verdict = daemon.verify()
    assert verdict["verdict"] == "whole", verdict
    assert len(verdict["keys"]) > 4  # each ledger has one of its own, and each file
    daemon.crash_expected = True


def test_by_age(daemons, echo):
    daemon = daemons(settings={"audit": {"rotate-every": "1 s"}})
    session(daemon, echo)
    until(lambda: len(rotated(daemon)) >= 1 and os.path.exists(daemon.audit)
          and os.path.getsize(daemon.audit), "the first file to be old")
    session(daemon, echo)
    until(lambda: len(rotated(daemon)) >= 2, "the second file to be old")
    # one in which nothing happens stays
    until(lambda: actions(daemon.audit) == ["audit-rotate", "checkpoint"], "a quiet file")
    count = len(rotated(daemon))
    time.sleep(2.5)
    assert len(rotated(daemon)) == count
    assert daemon.verify()["verdict"] == "whole"
    daemon.crash_expected = True


def test_the_age_outlives_a_restart(daemons, echo):
    """It is that of the first record, not of the process."""
    daemon = daemons()
    session(daemon, echo)
    daemon.stop()
    time.sleep(1.1)
    daemon.settings["audit"]["rotate-every"] = "1 h"
    with open(daemon.audit, "rb") as file:
        text = file.read()
    daemon.crash_expected = True
    daemon.start()
    time.sleep(0.3)
    assert rotated(daemon) == []
    daemon.settings["audit"]["rotate-every"] = "1 s"
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    until(lambda: rotated(daemon), "the file to be too old")
    with open(rotated(daemon)[0], "rb") as file:
        assert file.read().startswith(text)


@pytest.mark.parametrize("moved", [False, True])
def test_by_signal(daemons, echo, moved):
    """A file that nobody has moved is moved; one that somebody has is left where it is."""
    daemon = daemons()
    session(daemon, echo)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "the end")
    if moved:
        os.rename(daemon.audit, daemon.audit + ".mine")
    inode = os.stat(daemon.audit + (".mine" if moved else "")).st_ino
    daemon.signal(signal.SIGUSR1)
    until(lambda: os.path.exists(daemon.audit) and os.stat(daemon.audit).st_ino != inode
          and os.path.getsize(daemon.audit), "a new file")
    old = rotated(daemon)
    assert len(old) == 1 and os.stat(old[0]).st_ino == inode
    assert (old[0] == daemon.audit + ".mine") == moved
    assert moved or STAMP.search(old[0])
    until(lambda: is_closed(old[0]), "the old one to be closed")
    session(daemon, echo)
    until(lambda: "session-end" in actions(daemon.audit), "a session in the new file")
    assert daemon.verify()["verdict"] == "whole"


def test_nothing_is_overwritten(daemons, echo):
    """Several in one second get names of their own, in order."""
    daemon = daemons()
    for i in range(5):
        session(daemon, echo)
        before = len(rotated(daemon))
        daemon.signal(signal.SIGUSR1)
        until(lambda b=before: len(rotated(daemon)) > b and os.path.exists(daemon.audit)
              and os.path.getsize(daemon.audit), "a new file")
    names = rotated(daemon)
    assert len(names) == 5 and names == sorted(names)
    assert daemon.verify()["verdict"] == "whole"


def hook(daemon, text, mode=0o755):
    path = daemon.write("hook", "#!/bin/sh\n" + text)
    os.chmod(path, mode)
    return path


def manual(page, pattern):
    with open(os.path.join(ROOT, "docs", page), encoding="utf-8") as file:
        return re.search(pattern, file.read(), re.M | re.S)[1]


def test_the_hook_of_the_manual(daemons, echo, build):
    """It compresses, and sallyctl(1)'s line proves what it made."""
    daemon = daemons(start=False)
    path = daemon.write("rotated", manual("sallyport-audit.5", r"^(#!/bin/sh\n.*?)^\.Ed$"))
    os.chmod(path, 0o755)
    daemon.settings["audit"]["rotate-hook"] = path
    daemon.start()
    for count in (1, 2):
        session(daemon, echo)
        daemon.signal(signal.SIGUSR1)
        until(lambda n=count: len(glob.glob(daemon.audit + ".*.gz")) == n and
              not glob.glob(daemon.audit + ".*[!z]"), "a compressed file")
        until(lambda: os.path.exists(daemon.audit) and os.path.getsize(daemon.audit), "a new one")
    line = manual("sallyctl.1", r"^\.Dl (zcat [^\n]*)$")
    done = subprocess.run(["sh", "-c", line], cwd=os.path.dirname(daemon.audit), text=True,
                          capture_output=True, check=False, timeout=60,
                          env={**os.environ, "PATH": build + ":" + os.environ["PATH"]})
    assert done.returncode == 0 and done.stdout.startswith("whole: records 1 to "), done.stdout


def test_the_hook(daemons, echo):
    """It gets each file, whole and closed, one after the other, with few rights."""
    daemon = daemons(start=False)
    seen = os.path.join(daemon.folder, "seen")
    path = hook(daemon, f'[ $# = 1 ] && gzip "$1" && {{ pwd; env; echo "fds: $(ls /proc/self/fd | wc -l)"; '
                        f'grep -E "^(Uid|CapEff|CapBnd|NoNewPrivs|SigBlk|SigIgn)" /proc/self/status; }} '
                        f'> {seen}.new && mv {seen}.new {seen}\n')
    daemon.settings["audit"]["rotate-hook"] = path
    daemon.start()
    for _ in range(3):
        session(daemon, echo)
        inode = os.stat(daemon.audit).st_ino
        daemon.signal(signal.SIGUSR1)
        until(lambda: os.path.exists(daemon.audit) and os.stat(daemon.audit).st_ino != inode
              and os.path.getsize(daemon.audit), "a new file")
    until(lambda: len(rotated(daemon)) == 3 and all(n.endswith(".gz") for n in rotated(daemon)),
          "three compressed files")
    assert all(STAMP.search(n[:-3]) for n in rotated(daemon))
    verdict = daemon.verify()
    assert verdict["verdict"] == "whole"
    assert [k["named"] for k in verdict["keys"]] == [False, True, True, True]
    until(lambda: os.path.exists(seen), "what it saw")
    with open(seen, encoding="utf-8") as file:
        saw = file.read()
    assert saw.startswith("/\n")
    assert "NoNewPrivs:\t1" in saw and re.search(r"SigBlk:\t0+\n", saw)
    assert re.search(r"SigIgn:\t0+\n", saw)
    assert "NOTIFY_SOCKET" not in saw and "PATH=/usr/local/sbin" in saw
    if os.geteuid() == 0:
        assert re.search(r"CapBnd:\t0+b\n", saw), saw  # chown, dac_override, fowner
        assert re.search(r"CapEff:\t0+b\n", saw), saw


@pytest.mark.parametrize("what", ["fails", "missing", "not-executable", "others-may-write", "killed"])
def test_a_hook_that_cannot_be_run(daemons, echo, what):
    """The log says so; the ledger does not care."""
    daemon = daemons(start=False)
    text = {"fails": "exit 7\n", "killed": "kill -9 $$\n"}.get(what, "exit 0\n")
    path = hook(daemon, text, {"not-executable": 0o644, "others-may-write": 0o777}.get(what, 0o755))
    if what == "missing":
        os.unlink(path)
    daemon.settings["audit"]["rotate-hook"] = path
    daemon.start()
    session(daemon, echo)
    daemon.signal(signal.SIGUSR1)
    words = {"fails": "ended with status 7", "missing": "No such file", "killed": "by signal 9",
             "not-executable": "ended with status 127", "others-may-write": "is not run"}
    until(lambda: words[what] in daemon.log(), "the log to tell it")
    assert "audit.rotate-hook" in daemon.log()
    session(daemon, echo)
    until(lambda: "session-end" in actions(daemon.audit), "the ledger to go on")
    assert len(rotated(daemon)) == 1
    assert stat.S_ISREG(os.stat(rotated(daemon)[0]).st_mode)


def test_a_folder_that_cannot_be_written(daemons, echo):
    """The file cannot be renamed: records go on into it, and the log says why."""
    daemon = daemons(start=False)
    folder = os.path.join(daemon.folder, "audit")
    os.mkdir(folder)
    daemon.audit = os.path.join(folder, "a" * 250)  # no room for a longer name
    daemon.settings["audit"]["file"] = daemon.audit
    daemon.ledger = Ledger(daemon.audit)
    daemon.start()
    session(daemon, echo)
    daemon.signal(signal.SIGUSR1)
    until(lambda: "cannot rename the audit file" in daemon.log(), "the reason")
    session(daemon, echo)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "both", count=2)
    assert daemon.verify()["verdict"] == "whole"


@pytest.mark.parametrize("sync", ["none", "checkpoint", "batch"])
def test_sync(daemons, crowds, sync):
    """Whatever is waited for, the records are the same."""
    daemon = daemons(settings={"audit": {"sync": sync}})
    clients = Storm(daemon.at, crowds().port, 20)
    clients.wait(200)
    clients.stop()
    check_told_once(daemon, clients)


def test_checkpoints_sync_once_a_second(daemons, crowds, echo, tmp_path):
    """However many checkpoints come the disk is asked once a second at most; behind the last one, too."""
    daemon = daemons(settings={"audit": {"sync": "checkpoint"}})
    trace = tmp_path / "trace"
    watch = subprocess.Popen(["strace", "-ttt", "-e", "trace=fdatasync,fsync", "-o", str(trace),
                              "-p", str(daemon.ledger_pid())], stderr=subprocess.PIPE)
    try:
        assert b"attached" in watch.stderr.readline()

        def syncs():
            return [float(line.split()[0]) for line in trace.read_text().splitlines()
                    if "fdatasync(" in line]

        def checkpoints():
            return actions(daemon.audit).count("checkpoint")

        clients = Storm(daemon.at, crowds().port, 50)
        until(lambda: checkpoints() >= 8, "several checkpoints a second")
        clients.stop()
        told = time.time()
        session(daemon, echo)
        until(lambda: syncs() and syncs()[-1] > told, "what the last of them waits for")
        times = syncs()
        assert len(times) < checkpoints()
        assert all(b - a > 0.95 for a, b in zip(times, times[1:])), times
    finally:
        watch.terminate()
        watch.wait()
