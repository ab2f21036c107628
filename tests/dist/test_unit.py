"""The units: what systemd says of them, and that the server can live with what they leave it."""
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from harness import net  # noqa: E402  pylint: disable=wrong-import-position
from harness.unit import calls_allowed, capabilities, settings_of  # noqa: E402  pylint: disable=wrong-import-position

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None,
                                   reason="no systemd-analyze here")
DROP_IN = os.path.join(ROOT, "etc", "systemd", "root.conf")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.fixture(scope="module")
def service(request):
    """The unit's text as it is installed by Debian's package."""
    build = os.path.abspath(request.config.getoption("--build"))
    text = read(os.path.join(build, "etc", "sallyport.service"))
    return re.sub(r"^ExecStart=\S+", "ExecStart=/usr/sbin/sallyportd", text, flags=re.MULTILINE)


def exposure(folder, text, drop_in=None):
    """As `systemd-analyze security` judges it: 0 to 10, and what it finds wanting."""
    path = folder / "sallyport.service"
    path.write_text(text + (drop_in or ""), encoding="utf-8")

    def ask(*args):
        return subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", *args,
                               str(path)], capture_output=True, text=True, timeout=60, check=False)
    lacking = {line["json_field"] for line in json.loads(ask("--json=short").stdout)
               if line.get("exposure") and line.get("set") is False}
    told = re.search(r"exposure level for sallyport.service: ([\d.]+)", ask().stdout)
    return float(told[1]), lacking


@needs_systemd
def test_exposure(service, tmp_path):
    """Below 2, and what is wanting is only what a proxy cannot do without."""
    value, lacking = exposure(tmp_path, service)
    assert value < 2.0
    assert lacking <= {
        "PrivateNetwork", "IPAddressDeny", "RestrictAddressFamilies_AF_INET_INET6",
        "RestrictAddressFamilies_AF_UNIX", "RestrictAddressFamilies_AF_NETLINK",
        "PrivateUsers", "RootDirectoryOrRootImage", "AmbientCapabilities", "UMask",
        "CapabilityBoundingSet_CAP_DAC_FOWNER_IPC_OWNER",
        "CapabilityBoundingSet_CAP_NET_BIND_SERVICE_BROADCAST_RAW)",
        "SystemCallFilter_privileged",  # capset: to drop what it has
        "SystemCallFilter_resources",  # setpriority
        "DeviceAllow",  # what ProtectClock= adds
    }, lacking


@needs_systemd
def test_exposure_as_root(service, tmp_path):
    """With the drop-in: as far as one can come with root, which by itself is 2.0."""
    value, _ = exposure(tmp_path, service, read(DROP_IN))
    assert value < 3.0


@needs_systemd
def test_every_call_of_the_sandbox_passes_the_unit(service):
    """Two fences, one behind the other: what a role is left by its own list must not be taken by the
    unit's, nor what it takes to build the inner one."""
    allowed = calls_allowed(settings_of(service)["SystemCallFilter"])
    lists = read(os.path.join(ROOT, "daemon", "sandbox_calls.c"))
    inner = set()
    for name, calls in re.findall(r"^LIST\((\w+),(.*?)\);$", lists, re.MULTILINE | re.DOTALL):
        if name != "never":
            inner |= set(re.findall(r"SCMP_SYS\((\w+)\)", calls))
    fence = read(os.path.join(ROOT, "daemon", "sandbox.c"))
    inner |= set(re.findall(r"SCMP_SYS\((\w+)\)", fence))
    needed = set(re.findall(r"\bSYS_(\w+)", fence))
    assert len(inner) > 100 and "accept4" in inner and "socket" in inner
    assert needed == {"seccomp", "landlock_create_ruleset", "landlock_add_rule",
                      "landlock_restrict_self"}
    assert inner | needed <= allowed, sorted((inner | needed) - allowed)
    # and it is a fence
    assert not allowed & {"mount", "ptrace", "bpf", "init_module", "reboot", "io_uring_setup",
                          "perf_event_open", "keyctl", "sched_setscheduler", "swapon",
                          "clock_settime", "kexec_load", "open_by_handle_at", "pivot_root"}


def setpriv(service, drop_in=""):
    """The words that give a program the rights of the unit, as its user."""
    unit = settings_of(service + drop_in)
    bounds = [c.lower().removeprefix("cap_") for c in capabilities(unit["CapabilityBoundingSet"])]
    ambient = [c.lower().removeprefix("cap_") for c in capabilities(unit["AmbientCapabilities"])]
    words = ["setpriv", "--no-new-privs", "--bounding-set=-all," + ",".join(f"+{c}" for c in bounds)]
    if unit["User"][-1] != "root":
        nobody = pwd.getpwnam("nobody")  # in the place of sallyport
        words += [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    given = ",".join(["-all", *(f"+{c}" for c in ambient)])
    return words + [f"--inh-caps={given}", f"--ambient-caps={given}"], len(bounds)


def sets_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return {name: int(value, 16) for name, value in
                re.findall(r"^Cap(\w+):\s*(\w+)", file.read(), re.MULTILINE)}


CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2


@pytest.mark.parametrize("drop_in", ["", "root.conf"])
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give rights away")
def test_rights_suffice(service, daemons, echo, drop_in):
    """With the user and the capabilities that the unit leaves, and not one more, the server binds a
    low port, reads settings that root alone may read, writes into folders that root alone may enter,
    ends and replaces its children; and no worker has any of it."""
    words, bounds = setpriv(service, read(DROP_IN) if drop_in else "")
    daemon = daemons(start=False, settings={"user": "nobody"})
    daemon.at = daemon.at[0], 1000
    daemon.listeners["main"]["port"] = 1000
    log = os.path.join(daemon.folder, "log.d")
    os.mkdir(log, 0o750)
    os.chmod(log, 0o2750)
    shutil.chown(log, group="adm")
    daemon.settings["audit"]["file"] = daemon.audit = os.path.join(log, "audit.ndjson")
    daemon.ledger.path = daemon.audit
    os.mkdir(os.path.join(daemon.folder, "state"), 0o700)
    daemon.settings["control"] = {"socket": os.path.join(daemon.folder, "control")}
    write = daemon.write_config

    def closed(text=None):
        write(text)
        os.chmod(daemon.config, 0o600)
    daemon.write_config = closed
    daemon.start(prefix=words)
    assert bin(sets_of(daemon.process.pid)["Bnd"]).count("1") == bounds
    with daemon.client() as client:
        assert client.connect5(echo.host, echo.port).code == 0
    daemon.reload()
    for pid in daemon.processes():
        if "compile" in daemon.role(pid) or not net.alive(pid):
            continue  # on its way out
        sets = sets_of(pid)
        assert sets["Prm"] == sets["Eff"] == sets["Inh"] == sets["Amb"] == 0, daemon.role(pid)
    stopped = daemon.ledger_pid()
    os.kill(stopped, 9)
    daemon.ledger.wait(lambda r: r["event"].get("reason") == "ledger-restart", "another ledger")
    info = os.stat(daemon.audit)
    assert stat.S_IMODE(info.st_mode) & 0o137 == 0
    assert info.st_gid == os.stat(log).st_gid
    assert os.path.exists(os.path.join(daemon.folder, "state", "rule-hits.0"))
    assert "are not kept" not in daemon.log() and "cannot" not in daemon.log(), daemon.log()


@needs_systemd
def test_users_and_folders(tmp_path):
    """sysusers.d and tmpfiles.d as systemd itself makes them, below a root of the test's own."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make users")
    root = tmp_path / "root"
    for kind, tool in (("sysusers", "systemd-sysusers"), ("tmpfiles", "systemd-tmpfiles")):
        folder = root / "usr" / "lib" / f"{kind}.d"
        folder.mkdir(parents=True)
        shutil.copy(os.path.join(ROOT, "etc", f"sallyport.{kind}"), folder / "sallyport.conf")
        for name in ("etc", "run", "var"):
            (root / name).mkdir(exist_ok=True)
        for _ in range(2):  # the second time nothing is left to do
            done = subprocess.run([tool, f"--root={root}",
                                   *(["--create"] if kind == "tmpfiles" else [])],
                                  capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
    users = dict(line.split(":", 1) for line in (root / "etc" / "passwd").read_text().splitlines())
    assert users["sallyport"].endswith(":/run/sallyport:/usr/sbin/nologin")
    shadow = dict(line.split(":", 1) for line in (root / "etc" / "shadow").read_text().splitlines())
    assert shadow["sallyport"].startswith(("!", "*"))
    adm = int(re.search(r"^adm:x:(\d+):", (root / "etc" / "group").read_text(), re.MULTILINE)[1])
    made = {path: (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
            for path in ("run", "var/log", "var/lib")
            for info in [os.stat(root / path / "sallyport")]}
    assert made == {"run": (0o755, 0, 0), "var/log": (0o2750, 0, adm), "var/lib": (0o700, 0, 0)}
