"""The sandbox of the real server: what the kernel says of each process, what status says of it, what
becomes of a process that tries more, and the setting."""
import json
import os
import re
import signal
import subprocess

import pytest

from harness.wait import until

NARROW = {"sally-worker", "sally-ledger", "sally-control", "sally-auth", "sally-chk-file",
          "sally-forward"}
KEPT_BY_PAM = 0x200001ef  # CHOWN, DAC_*, FOWNER, KILL, SET*ID, SETPCAP, AUDIT_WRITE


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def family(pid):
    """The process and all below it, by their names without numbers."""
    found = {}
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = status_of(name)
            children.setdefault(int(status["PPid"]), []).append((int(name), status))
        except (FileNotFoundError, ProcessLookupError):
            continue
    waiting = [(pid, status_of(pid))]
    while waiting:
        at, status = waiting.pop()
        found.setdefault(re.sub(r"-\d+$", "", status["Name"]), []).append((at, status))
        waiting += children.get(at, [])
    return found


@pytest.fixture
def full(daemons, tmp_path):
    """A factory of servers with every kind of process."""
    def make(**settings):
        os.chmod(tmp_path, 0o755)
        users = tmp_path / "users"
        hashed = subprocess.run(["openssl", "passwd", "-6", "x"], capture_output=True, text=True,
                                check=True, timeout=20).stdout
        users.write_text(f"ann:{hashed}", encoding="ascii")
        users.chmod(0o600)
        daemon = daemons(start=False)
        daemon.settings.update({
            "control": {"socket": os.path.join(daemon.folder, "control")},
            "auth": {"file": {"path": str(users)}, "pam": {"service": "login"}}, **settings})
        daemon.settings["audit"]["copies"] = {"near": {"to": "unix:/nowhere"}}
        return daemon.start()
    return make


def all_there(daemon):
    wanted = NARROW | {"sallyportd", "sally-nursery", "sally-chk-pam"}

    def there():
        found = family(daemon.process.pid)
        confined = all(status["Seccomp_filters"] == "2"
                       for name in NARROW for _, status in found.get(name, ()))
        return found if wanted <= found.keys() and confined else None
    return until(there, "all processes")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have rights to lose")
def test_what_the_kernel_says(full):
    """Every process is filtered; those that touch foreign bytes have no right left."""
    found = all_there(full())
    for name, processes in found.items():
        for _, status in processes:
            assert status["Seccomp"] == "2", name
            assert status["NoNewPrivs"] == "1", name
            caps = int(status["CapEff"], 16)
            if name in NARROW:
                assert caps == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0, name
                assert status["Seccomp_filters"] == "2", name
            elif name != "sallyportd":
                assert caps & ~KEPT_BY_PAM == 0, name


def status_json(build, daemon):
    done = subprocess.run([os.path.join(build, "sallyctl"), "status", "--json", "--socket",
                           daemon.settings["control"]["socket"]],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["processes"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the parent filters itself only as root")
def test_status_tells_it(full, build):
    """What is told of each process is what the kernel says of it; also of those who come later."""
    daemon = full()
    found = all_there(daemon)
    told = {p["pid"]: p for p in status_json(build, daemon)}
    roles = {"sallyportd": "parent", "sally-worker": "worker", "sally-ledger": "ledger",
             "sally-auth": "authenticator", "sally-control": "control",
             "sally-forward": "forwarder",
             "sally-nursery": "nursery", "sally-chk-file": "checker", "sally-chk-pam": "checker"}
    for name, processes in found.items():
        for pid, status in processes:
            assert told[pid]["role"] == roles[name]
            box = told[pid]["sandbox"]
            assert box["seccomp"] == "on" and status["Seccomp"] == "2"
            assert box["no_new_privs"] is (status["NoNewPrivs"] == "1")
            assert (box["landlock"] > 0) is (name in NARROW), name
    worker = daemon.workers()[0]
    daemon.crash_expected = True
    os.kill(worker, signal.SIGKILL)
    until(lambda: len(daemon.workers()) == 2 and worker not in daemon.workers(), "a successor")
    told = until(lambda: [p for p in status_json(build, daemon) if p["role"] == "worker"
                          and p["state"] == "ready"] or None, "status")
    assert all(p["sandbox"]["seccomp"] == "on" for p in told)
    text = subprocess.run([os.path.join(build, "sallyctl"), "status", "--socket",
                           daemon.settings["control"]["socket"]],
                          capture_output=True, text=True, timeout=30, check=True).stdout
    assert re.search(r"^  ledger .*seccomp, landlock \d+, no new privileges", text, re.MULTILINE)


@pytest.mark.parametrize("word", ["off", "log"])
def test_the_setting(full, build, word):
    """Said in the log, seen in status."""
    daemon = full(sandbox=word)
    said = {"off": "the sandbox is off", "log": "the sandbox only logs"}[word]
    assert daemon.log().count(said) == 1
    for p in status_json(build, daemon):
        assert p["sandbox"]["landlock"] == 0
        if os.geteuid() == 0 or p["role"] not in ("parent", "nursery", "checker"):
            assert p["sandbox"]["seccomp"] == word, p
    for pid in daemon.workers():
        assert status_of(pid)["Seccomp"] == {"off": "0", "log": "2"}[word]


def test_the_command_line(daemons, build):
    """-s holds, whatever the setting says; another word is refused."""
    daemon = daemons(start=False)
    daemon.settings["sandbox"] = "on"
    daemon.command = lambda: [os.path.join(build, "sallyportd"), "-f", "-s", "off", "-c",
                              daemon.config]
    daemon.start()
    assert {status_of(pid)["Seccomp"] for pid in daemon.workers()} == {"0"}
    done = subprocess.run([os.path.join(build, "sallyportd"), "-s", "of", "-t"],
                          capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2 and "not 'of'" in done.stderr
