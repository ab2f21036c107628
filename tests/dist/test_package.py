"""Debian's package: built from the tree as it is, looked over by lintian and blhc, and really installed,
in a machine of the test's own (harness/machine.py) where systemd runs the service as its unit says."""
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.path.insert(0, os.path.join(ROOT, "tests", "ctl"))

from harness import machine as machines  # noqa: E402  pylint: disable=wrong-import-position
from harness.login import hashed  # noqa: E402  pylint: disable=wrong-import-position
from harness.wait import until  # noqa: E402  pylint: disable=wrong-import-position
from test_ctl_examples import examples  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(shutil.which("dpkg-buildpackage") is None, reason="not Debian")]
CONF = "/etc/sallyport/sallyport.conf"
AUDIT = "/var/log/sallyport/audit.ndjson"


# ---- the package -------------------------------------------------------------------------------


def sources():
    """What belongs to the tree as it is now, committed or not."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"],
                            check=True, capture_output=True).stdout.decode()
    return sorted(name for name in listed.split("\0") if name and os.path.exists(f"{ROOT}/{name}"))


def copy_sources(to):
    for name in sources():
        os.makedirs(os.path.dirname(f"{to}/{name}"), exist_ok=True)
        shutil.copy2(f"{ROOT}/{name}", f"{to}/{name}")


def state_of_sources():
    digest = hashlib.sha256()
    for name in sources():
        with open(f"{ROOT}/{name}", "rb") as file:
            digest.update(f"{name}\0{os.stat(file.fileno()).st_mode}\0".encode() + file.read())
    return digest.hexdigest()[:16]


def build_package(folder):
    """As README tells."""
    copy_sources(os.path.join(folder, "sallyport"))
    command = next(block for mark, block in examples("README.md") if mark == "package").splitlines()[0]
    assert "dpkg-buildpackage" in command
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "DEB_"))}
    with open(os.path.join(folder, "log"), "wb") as log:
        done = subprocess.run(["bash", "-c", command], cwd=os.path.join(folder, "sallyport"), env=env,
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=600, check=False)
    if done.returncode != 0:
        with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as log:
            raise AssertionError(log.read()[-4000:])


@pytest.fixture(scope="session")
def package(build, sanitized):
    """A folder with the packages and the log of their making; made once for all runners and runs, as
    long as the sources stay the same."""
    if sanitized:
        pytest.skip("the package is made without sanitizers: it is tested beside the plain build")
    home = os.path.join(build, "package")
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, "lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = os.path.join(home, state_of_sources())
        if not os.path.exists(os.path.join(folder, "made")):
            for old in os.listdir(home):
                shutil.rmtree(os.path.join(home, old), ignore_errors=True)
            os.mkdir(folder)
            build_package(folder)
            with open(os.path.join(folder, "made"), "wb"):
                pass
    return folder


@pytest.fixture
def deb(package):
    found = [name for name in os.listdir(package) if re.match(r"sallyport_.*\.deb$", name)]
    assert len(found) == 1
    return os.path.join(package, found[0])


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_the_log_of_its_making(package):
    """No warning of the compiler; every hardening flag at every step (blhc)."""
    with open(os.path.join(package, "log"), encoding="utf-8") as file:
        log = file.read()
    assert not re.search(r"\bwarning:.*\[-W", log), log
    done = subprocess.run(["blhc", "--all", os.path.join(package, "log")], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert log.count("-fstack-protector-strong") > 50


def test_lintian(package):
    changes = next(n for n in os.listdir(package) if n.endswith(".changes"))
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning",
                           os.path.join(package, changes)], capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0 and not re.search("^[EW]: ", done.stdout, re.MULTILINE), \
        done.stdout + done.stderr


FILES = """
    /etc/pam.d/sallyport /etc/sallyport/sallyport.conf
    {units}/sallyport.service {units}/sallyport.socket
    /usr/lib/sysusers.d/sallyport.conf /usr/lib/tmpfiles.d/sallyport.conf
    /usr/share/bash-completion/completions/sallyctl /usr/share/zsh/vendor-completions/_sallyctl
    /usr/share/man/man1/sallyctl.1.gz /usr/share/man/man8/sallyportd.8.gz
    /usr/share/man/man5/sallyport.conf.5.gz /usr/share/man/man5/sallyport-policy.5.gz
    /usr/share/man/man5/sallyport-audit.5.gz
    /usr/share/lintian/overrides/sallyport
""".split()


def test_contents(deb):
    """Programs and what belongs to them, all of root; what is in /etc is the admin's to change."""
    found = {}
    for line in output("dpkg-deb", "-c", deb).splitlines():
        mode, owner, _, _, _, name = line.split(None, 5)
        assert owner == "root/root", line
        if not mode.startswith("d"):
            found[name[1:]] = mode
        else:
            assert mode == "drwxr-xr-x", line
    units = output("pkg-config", "--variable=systemdsystemunitdir", "systemd").strip()
    wanted = {name.format(units=units): "-rw-r--r--" for name in FILES}
    wanted |= {"/usr/bin/sallyctl": "-rwxr-xr-x", "/usr/sbin/sallyportd": "-rwxr-xr-x"}
    docs = {name for name in found if name.startswith("/usr/share/doc/sallyport/")}
    assert {name: mode for name, mode in found.items() if name not in docs} == wanted
    assert all(found[name] == "-rw-r--r--" for name in docs)
    assert {f"/usr/share/doc/sallyport/{name}" for name in (
        "copyright", "changelog.gz", "changelog.Debian.gz", "README.Debian", "examples/sallyport.conf",
        "examples/systemd/root.conf", "examples/perimeter/policy.conf")} <= docs
    assert output("dpkg-deb", "--ctrl-tarfile", deb) is not None
    assert set(output("dpkg-deb", "-I", deb, "conffiles").split()) == {CONF, "/etc/pam.d/sallyport"}


# ---- installed -----------------------------------------------------------------------------------


@pytest.fixture
def machine(deb):
    """Booted, with the package and what else the test needs in /srv."""
    lacks = machines.why_not()
    if lacks:
        pytest.skip(lacks)
    with tempfile.TemporaryDirectory(prefix="sallyport-shared-") as shared:
        os.chmod(shared, 0o755)
        shutil.copy(deb, os.path.join(shared, "sallyport.deb"))
        shutil.copy(os.path.join(ROOT, "debian", "tests", "smoke"), shared)
        made = machines.Machine(shared)
        yield made
        made.close()


@pytest.fixture
def installed(machine):
    machine.said = machine.ok("dpkg", "-i", "/srv/sallyport.deb")
    return machine


def web(machine):
    """A web server in the machine; its port."""
    machine.ok("systemd-run", "--unit=web", "python3", "-m", "http.server", "--bind", "127.0.0.1",
               "--directory", "/usr/share/doc/sallyport", "8000")
    until(lambda: machine.run("curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8000/").returncode == 0,
          "the web server")
    return 8000


def fetch(machine, port, user="", proxy="127.0.0.1:1080"):
    """The status of a page through the proxy, or what curl says."""
    done = machine.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "20", "-x",
                       f"socks5h://{user}{proxy}", f"http://127.0.0.1:{port}/")
    return done.stdout if done.returncode == 0 else done.stderr


ALLOW = '  local: { action = "allow"; from = "loopback"; to = "loopback" }\n'


def add_rule(machine, rule=ALLOW):
    text = machine.read(CONF)
    assert "\n  nobody: " in text
    machine.write(CONF, text.replace("\n  nobody: ", "\n" + rule + "  nobody: "))


def roles(machine):
    """{role: [pid as the machine counts]}"""
    found = {}
    for line in machine.ok("sallyctl", "status").splitlines():
        process = re.match(r"  (\w+)(?: \d+)? +(\d+)  ready", line)
        if process:
            found.setdefault(process[1], []).append(process[2])
    return found


def test_life(installed):
    """From installation to purge: it denies, it allows what is written, it keeps what was written."""
    machine = installed
    assert "denies everything" in machine.said and "What to edit" in machine.said
    assert machine.ok("systemctl", "is-active", "sallyport.service") == "active\n"
    assert machine.ok("systemctl", "is-enabled", "sallyport.service") == "enabled\n"
    assert machine.run("systemctl", "is-enabled", "sallyport.socket").stdout == "disabled\n"
    account = machine.ok("getent", "passwd", "sallyport").strip().split(":")
    assert account[5:] == ["/run/sallyport", "/usr/sbin/nologin"]
    assert machine.ok("stat", "-c", "%a %U:%G", "/var/log/sallyport", "/var/lib/sallyport",
                      "/run/sallyport", AUDIT).splitlines() == [
                          "2750 root:adm", "700 root:root", "755 root:root", "640 sallyport:adm"]

    port = web(machine)
    assert "(97)" in fetch(machine, port)
    assert machine.ok("sallyctl", "check").startswith(f"{CONF} is good: 1 rule")
    add_rule(machine)
    assert machine.ok("sallyctl", "check").startswith(f"{CONF} is good: 2 rules")
    machine.ok("systemctl", "reload", "sallyport")
    until(lambda: "1 taken" in machine.ok("sallyctl", "status"), "the reload")
    assert fetch(machine, port) == "200"
    assert "rule local" in machine.ok("sallyctl", "log")

    # an upgrade that brings other settings leaves the admin's where they are, and the service running
    edited = machine.read(CONF)
    machine.ok("sh", "-ec", """
        dpkg-deb -R /srv/sallyport.deb /tmp/new
        sed -i 's/^Version: .*/&+1/' /tmp/new/DEBIAN/control
        echo '# a newer sample' >>/tmp/new/etc/sallyport/sallyport.conf
        dpkg-deb --root-owner-group -b /tmp/new /tmp/new.deb >&2""")
    before = roles(machine)["parent"]
    said = machine.ok("dpkg", "--force-confdef", "-i", "/tmp/new.deb")
    assert "What to edit" not in said
    assert machine.read(CONF) == edited
    assert machine.read(CONF + ".dpkg-dist").endswith("# a newer sample\n")
    assert roles(machine)["parent"] != before
    assert fetch(machine, port) == "200"

    machine.ok("systemctl", "stop", "sallyport")
    assert machine.ok("sallyctl", "verify", AUDIT).startswith("whole")
    machine.ok("systemctl", "start", "sallyport")

    machine.ok("dpkg", "--remove", "sallyport")
    assert machine.run("systemctl", "is-active", "sallyport.service").stdout == "inactive\n"
    assert machine.read(CONF) == edited and os.path.exists(machine.path(AUDIT))
    machine.ok("dpkg", "--purge", "sallyport")
    left = machine.ok("sh", "-c", "find / -xdev -iname '*sallyport*' ! -path '/proc/*' ! -path '/work/*' "
                      "! -path '/srv/*' ! -path '/tmp/*' ! -path '/usr/src/*' "
                      f"! -path '{ROOT}/*' -newer /srv/sallyport.deb").split()
    assert left == []
    for name in (CONF, "/etc/pam.d/sallyport", "/var/log/sallyport", "/var/lib/sallyport", "/run/sallyport",
                 "/etc/systemd/system/multi-user.target.wants/sallyport.service"):
        assert not os.path.lexists(machine.path(name)), name


def test_smoke(installed):
    """debian/tests, with the service and, where there is no systemd, with the server by hand as root."""
    done = installed.run("/srv/smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    installed.ok("rm", "-r", "/var/lib/sallyport", "/var/log/sallyport")
    installed.ok("systemd-tmpfiles", "--create", "sallyport.conf")
    done = installed.run("unshare", "--mount", "sh", "-ec",
                         "mount -t tmpfs tmpfs /run/systemd; exec /srv/smoke")
    assert done.returncode == 0, done.stdout + done.stderr


CONFINED = """
listeners: {{
  local: {{ address = "127.0.0.1"; port = 1080 }}
  low:   {{ address = "127.0.0.1"; port = 99 }}
}}
control: {{ socket = "/run/sallyport/control" }}
metrics: {{ address = "127.0.0.1"; port = 9108 }}
audit:   {{ rotate-hook = "/etc/sallyport/rotated" }}
auth:    {{ {auth} }}
rules: {{
  users: {{ action = "allow"; from = "loopback"; to = "loopback"; who = "known" }}
}}
"""
HOOK = """#!/bin/sh
{ id -un; grep Cap /proc/self/status; nice; ls /home /root; } >"$1.seen" 2>&1
exec gzip -- "$1"
"""


def process_metrics(machine):
    page = machine.ok("curl", "-sS", "http://127.0.0.1:9108/metrics")
    return set(re.findall(r'^process_cpu_seconds_total\{[^}]*role="(\w+)"', page, re.MULTILINE))


def capabilities(machine, pid):
    return {name: int(value, 16) for name, value in
            re.findall(r"^Cap(\w+):\s*(\w+)", machine.read(f"/proc/{pid}/status"), re.MULTILINE)}


def test_without_root(installed):
    """All that the unit promises to work does, as no process of it is root: secrets that root alone may
    read, a low port, the ledger's rotation and its program, metrics of every process; and inside, every
    process has its own sandbox in force."""
    machine = installed
    machine.write(CONF, CONFINED.format(auth='file: { path = "users" }; chap: { path = "secrets" }'))
    machine.write("/etc/sallyport/users", f"ann:{hashed('secret')}\n")
    machine.write("/etc/sallyport/secrets", "bob:secret\n")
    machine.write("/etc/sallyport/rotated", HOOK)
    machine.write("/home/letter", "private")
    machine.ok("sh", "-c", "cd /etc/sallyport && chmod 600 * && chmod 700 rotated")
    port = web(machine)
    machine.ok("systemctl", "restart", "sallyport")
    assert fetch(machine, port, "ann:secret@") == "200"
    assert fetch(machine, port, "ann:secret@", "127.0.0.1:99") == "200"
    assert "rejected" in fetch(machine, port, "ann:guess@")

    uid = machine.ok("id", "-u", "sallyport").strip()
    family = machine.ok("sh", "-c", "cat $(find /sys/fs/cgroup -path '*sallyport.service/cgroup.procs')")
    for pid in family.split():
        status = machine.read(f"/proc/{pid}/status")
        assert re.search(rf"^Uid:\t{uid}\t{uid}\t{uid}\t{uid}$", status, re.MULTILINE), status
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    known = roles(machine)
    assert set(known) >= {"parent", "ledger", "control", "authenticator", "worker", "nursery", "checker"}
    for role in ("ledger", "control", "authenticator", "worker", "checker"):
        for pid in known[role]:
            sets = capabilities(machine, pid)
            assert sets["Prm"] == sets["Amb"] == sets["Inh"] == 0, role
    assert capabilities(machine, known["nursery"][0])["Prm"] == 0b110  # DAC_OVERRIDE, DAC_READ_SEARCH
    shown = machine.ok("sallyctl", "status")
    sandboxed = re.findall(r"^  (\w+).*  ready .*  (\S.*)$", shown, re.MULTILINE)
    assert all(word.startswith("seccomp") for _, word in sandboxed), shown
    if os.path.exists("/sys/kernel/security/landlock") or "landlock" in shown:
        assert all("landlock" in word for role, word in sandboxed if role not in ("parent", "nursery"))
    assert not re.search("cannot|warning|libcap", machine.journal().lower()), machine.journal()

    # what is hidden from the parent by now was seen in time
    everybody = {"parent", "ledger", "control", "authenticator", "worker"}
    assert process_metrics(machine) == everybody
    machine.ok("kill", "-9", known["control"][0])
    until(lambda: machine.run("curl", "-sS", "http://127.0.0.1:9108/metrics").returncode == 0
          and process_metrics(machine) == everybody, "metrics of all", 30)

    machine.ok("systemctl", "kill", "--kill-whom=main", "-s", "USR1", "sallyport")
    packed = until(lambda: machine.run("sh", "-c", f"ls {AUDIT}.*.gz").stdout.split(), "the packed file")
    seen = machine.read(packed[0].removesuffix(".gz") + ".seen")
    assert seen.startswith("sallyport\n") and "\n10\n" in seen, seen
    assert re.search(r"^CapEff:\t0+2$", seen, re.MULTILINE), seen  # DAC_OVERRIDE
    assert "/home:\n\n/root:\n" in seen, seen
    machine.ok("systemctl", "stop", "sallyport")
    machine.ok("gunzip", packed[0])
    assert machine.ok("sallyctl", "verify", packed[0].removesuffix(".gz"), AUDIT).startswith("whole")


PAM = """auth required pam_faillock.so preauth silent deny=2 unlock_time=0
auth [success=1 default=bad] pam_unix.so nodelay
auth [default=die] pam_faillock.so authfail deny=2 unlock_time=0
auth required pam_faillock.so authsucc deny=2
account required pam_unix.so
"""


def log_in(machine, port):
    """Passwords of the machine's accounts as PAM judges them; bob's failures are counted."""
    assert fetch(machine, port, "ann:secret@", "127.0.0.1:99") == "200"
    assert "rejected" in fetch(machine, port, "ann:guess@")
    assert fetch(machine, port, "bob:secret@") == "200"
    for _ in range(2):
        assert "rejected" in fetch(machine, port, "bob:guess@")
    assert "rejected" in fetch(machine, port, "bob:secret@")
    assert len(re.findall(r"^\d{4}-", machine.ok("faillock", "--user", "bob"), re.MULTILINE)) >= 2
    machine.ok("faillock", "--user", "bob", "--reset")
    assert process_metrics(machine) == {"parent", "ledger", "control", "authenticator", "worker"}


def test_accounts_of_the_machine(installed):
    """PAM reads /etc/shadow and counts failures, without root; and with it, by the drop-in, where all but the
    parent and what PAM runs in are the server's user."""
    machine = installed
    machine.ok("systemctl", "start", "systemd-user-sessions")  # the end of /run/nologin
    for user in ("ann", "bob"):
        machine.ok("useradd", "-M", "-p", hashed("secret"), user)
    machine.ok("mkdir", "-p", "/run/faillock")
    machine.write("/etc/pam.d/sallyport", PAM)
    machine.write(CONF, CONFINED.format(auth='pam: { service = "sallyport" }; failure-delay = "0 ms"'))
    port = web(machine)
    machine.ok("systemctl", "restart", "sallyport")
    log_in(machine, port)
    uid = machine.ok("id", "-u", "sallyport").strip()
    for pids in roles(machine).values():
        assert f"\nUid:\t{uid}\t{uid}\t" in machine.read(f"/proc/{pids[0]}/status")

    machine.ok("install", "-D", "-m", "644", "/usr/share/doc/sallyport/examples/systemd/root.conf",
               "/etc/systemd/system/sallyport.service.d/root.conf")
    machine.ok("systemctl", "daemon-reload")
    machine.ok("systemctl", "restart", "sallyport")
    log_in(machine, port)
    for role, pids in roles(machine).items():
        status, sets = machine.read(f"/proc/{pids[0]}/status"), capabilities(machine, pids[0])
        assert ("\nUid:\t0\t" in status) == (role in ("parent", "nursery", "checker")), role
        if role not in ("parent", "nursery", "checker"):
            assert sets["Prm"] == sets["Bnd"] == 0 and f"\nUid:\t{uid}\t{uid}\t" in status


def test_systemd_holds_the_socket(installed):
    """With sallyport.socket a client that comes while there is no server waits for it, and a restart
    refuses nobody; removing the package ends both."""
    machine = installed
    add_rule(machine)
    port = web(machine)
    machine.ok("systemctl", "stop", "sallyport.service")
    machine.ok("systemctl", "enable", "--now", "sallyport.socket")
    assert machine.run("systemctl", "is-active", "sallyport.service").stdout == "inactive\n"
    assert fetch(machine, port) == "200"  # starts it
    assert "is no listener" not in machine.journal()
    many = subprocess.Popen(machine.command("sh", "-c", f"""
        for i in $(seq 100); do
            curl -sS -o /dev/null -m 20 -x socks5h://127.0.0.1:1080 http://127.0.0.1:{port}/ || exit 1
            echo $i
        done"""), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert many.stdout.readline() == "1\n"
    before = roles(machine)["parent"]
    for _ in range(2):
        machine.ok("systemctl", "restart", "sallyport.service")
    out, _ = many.communicate(timeout=60)
    assert many.returncode == 0 and out.endswith("100\n"), out
    assert roles(machine)["parent"] != before
    machine.ok("dpkg", "--purge", "sallyport")
    for name in ("service", "socket"):
        assert machine.run("systemctl", "is-active", f"sallyport.{name}").stdout == "inactive\n"


def test_the_watchdog(installed):
    """A parent that stands still is replaced by systemd."""
    machine = installed
    machine.write("/etc/systemd/system/sallyport.service.d/quick.conf",
                  "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\nRestartSec=100ms\n")
    machine.ok("systemctl", "daemon-reload")
    machine.ok("systemctl", "restart", "sallyport")
    before = roles(machine)["parent"]

    def restarts():
        return int(machine.ok("systemctl", "show", "-P", "NRestarts", "sallyport"))
    # it has had its time more than once
    until(lambda: float(machine.read("/proc/uptime").split()[0]) > started(machine, before[0]) + 3, "3 s")
    assert restarts() == 0
    machine.ok("kill", "-STOP", *before)
    until(lambda: restarts() == 1, "systemd to notice")
    until(lambda: machine.run("systemctl", "is-active", "sallyport").stdout == "active\n", "another")
    assert roles(machine)["parent"] != before
    assert "Watchdog timeout" in machine.journal()


def started(machine, pid):
    """When, in seconds since the machine's start."""
    return int(machine.read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")


COPIED = """
listeners: { local: { address = "127.0.0.1"; port = 1080 } }
control: { socket = "/run/sallyport/control" }
audit: {
  copies: { journal: { to = "journald" }; siem: { to = "tcp:127.0.0.1:6514"; framing = "newline" } }
}
rules: { local: { action = "allow"; from = "loopback"; to = "loopback" } }
"""
HELD = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(("127.0.0.1", 1080))
client.sendall(b"\\5\\1\\0")
assert client.recv(2) == b"\\5\\0"
client.sendall(b"\\5\\1\\0\\1\\x7f\\0\\0\\1" + server.getsockname()[1].to_bytes(2, "big"))
assert client.recv(10)[1] == 0
there, _ = server.accept()
for word in sys.stdin.buffer:
    for one, other in ((client, there), (there, client)):
        one.sendall(word)
        assert other.recv(100) == word
    print("carried", flush=True)
"""


def test_copies_and_a_hand_over(installed):
    """In the unit's sandbox: records go to journald and a syslog server; a new program takes over in the
    place of the old, as the same main process that systemd knows and whose watchdog goes on."""
    machine = installed
    machine.write("/etc/systemd/system/sallyport.service.d/quick.conf", "[Service]\nWatchdogSec=1s\n")
    machine.ok("systemctl", "daemon-reload")
    machine.ok("systemd-run", "--unit=siem", "socat", "-u", "TCP-LISTEN:6514,bind=127.0.0.1,fork,reuseaddr",
               "OPEN:/tmp/siem,creat,append")
    machine.write(CONF, COPIED)
    port = web(machine)
    machine.ok("systemctl", "restart", "sallyport")
    main = machine.ok("systemctl", "show", "-P", "MainPID", "sallyport")
    workers = roles(machine)["worker"]
    held = subprocess.Popen(machine.command("python3", "-c", HELD), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True, bufsize=1)

    def carried():
        held.stdin.write("a word\n")
        return held.stdout.readline() == "carried\n"
    try:
        assert carried() and fetch(machine, port) == "200"
        until(lambda: roles(machine).get("forwarder"), "the forwarder")
        machine.ok("sallyctl", "restart")
        until(lambda: not set(workers) & set(roles(machine)["worker"]), "the new workers")
        assert carried() and fetch(machine, port) == "200"
        machine.ok("systemctl", "reload", "sallyport")
        assert carried() and fetch(machine, port) == "200"
        at = float(machine.read("/proc/uptime").split()[0])
        until(lambda: float(machine.read("/proc/uptime").split()[0]) > at + 3, "three times the watchdog's")
        assert carried()
    finally:
        held.stdin.close()
        held.wait(20)
    assert machine.ok("systemctl", "show", "-P", "MainPID", "-P", "NRestarts", "-P", "ActiveState",
                      "sallyport") == f"{main}0\nactive\n"
    ends = r'"action":"session-end".*"seq":(\d+)'
    until(lambda: len(set(re.findall(ends, machine.read("/tmp/siem")))) == 4, "all by TCP")

    def journal():
        return machine.ok("journalctl", "-q", "--no-pager", "-o", "cat", "-a", "SALLYPORT_EVENT=session-end")
    until(lambda: len(set(journal().splitlines())) == 4, lambda: f"4 ends in the journal; it has\n{journal()}")
    machine.ok("sallyctl", "verify", AUDIT)
