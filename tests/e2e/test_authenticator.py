"""The authenticator behind a real server: real PAM modules, the file of users as sallyctl writes
it, fail2ban's reading of the log, and where a password never stands."""
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from harness import net
from harness.login import hashed, password, write_private, write_users
from harness.memory import holds
from harness.socks import request5
from harness.wait import until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KNOWN = """
  proven: { action = "allow"; who = "known"; from = "loopback"; to = [ "any", "loopback" ] }
"""
PRIVATE = 'set -e; while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'
SLEEPY = """auth [success=1 default=ignore] pam_succeed_if.so quiet user != sleepy
auth required pam_exec.so quiet {script}
auth required pam_pwdfile.so pwdfile={pwdfile}
account required pam_permit.so
"""

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False,
                                        stderr=subprocess.DEVNULL).returncode != 0,
    reason="needs root and a mount namespace for an /etc/pam.d of its own")


@pytest.fixture
def known(daemons):
    """A factory of servers; pam: the text of a service that only this server sees, instead of
    /etc/pam.d; replaced: {path: file in its place}."""
    def make(users=None, pam=None, settings=None, replaced=None):
        daemon = daemons(rules=KNOWN, start=False)
        auth = {"failure-delay": "0 ms"}
        prefix, mounts = (), dict(replaced or {})
        if users is not None:
            auth["file"] = {"path": write_users(daemon, users)}
        if pam is not None:
            auth["pam"] = {"service": "sallyport"}
            daemon.write("pam.d/sallyport", pam)
            mounts["/etc/pam.d"] = os.path.join(daemon.folder, "pam.d")
            prefix = ("unshare", "-m", "--propagation", "private", "sh", "-c", PRIVATE, "sh",
                      *(part for path, by in mounts.items() for part in (by, path)), "--")
        daemon.settings["auth"] = {**auth, **(settings or {})}
        return daemon.start(prefix=prefix)
    return make


def login(daemon, user, secret, source=None):
    """The status of RFC 1929 and how long it took."""
    with daemon.client(source=source) as client:
        assert client.greet(b"\x02") == b"\x05\x02"
        began = time.monotonic()
        client.send(password(user, secret))
        status = client.read(2)[1]
        return status, time.monotonic() - began


def family(pid):
    """A process and all below it."""
    return [pid] + [p for child in net.children(pid) for p in family(child)]


# -- PAM ----------------------------------------------------------------------------


def pwdfile(daemon_folder, users):
    path = os.path.join(daemon_folder, "pwdfile")
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{user}:{hashed(secret)}\n" for user, secret in users.items())
    os.chmod(path, 0o600)
    return path


@needs_root
def test_pam_pwdfile(known, echo, tmp_path):
    path = pwdfile(tmp_path, {"ann": "secret"})
    daemon = known(pam=f"auth required pam_pwdfile.so pwdfile={path}\n"
                       "account required pam_permit.so\n")
    with daemon.client() as client:
        client.greet(b"\x02")
        client.send(password("ann", "secret"))
        assert client.read(2) == b"\x01\x00"
        client.send(request5(echo.host, echo.port))
        assert client.reply5().code == 0
        port = client.port
    started = lambda: daemon.ledger.find(lambda r: r["event"]["action"] == "session-start"
                                         and r["source"]["port"] == port)
    until(started, "the record")
    record = started()[0]
    assert record["user"]["name"] == "ann"
    assert record["socks"]["auth"] == "pam" and record["socks"]["assurance"] == "proven"
    assert login(daemon, "ann", "secre")[0] == 1
    assert login(daemon, "bob", "secret")[0] == 1
    assert login(daemon, "ann", b"secret\0x")[0] == 1
    assert login(daemon, "ann", "secret")[0] == 0


@needs_root
def test_pam_unix(known, tmp_path):
    """Accounts of the machine: /etc/shadow, an account that has expired, no delay of modules."""
    for name in ("passwd", "shadow", "group"):
        shutil.copy(f"/etc/{name}", tmp_path / name)
    with open(tmp_path / "passwd", "a", encoding="ascii") as file:
        file.write("spt-ann:x:54321:54321::/:/bin/false\nspt-old:x:54322:54321::/:/bin/false\n")
    with open(tmp_path / "shadow", "a", encoding="ascii") as file:
        file.write(f"spt-ann:{hashed('secret')}:19000:0:99999:7:::\n"
                   f"spt-old:{hashed('secret')}:19000:0:99999:7::1:\n")
    os.chmod(tmp_path / "shadow", 0o640)
    daemon = known(pam="auth required pam_unix.so\naccount required pam_unix.so\n",
                   replaced={f"/etc/{n}": str(tmp_path / n) for n in ("passwd", "shadow", "group")})
    assert login(daemon, "spt-ann", "secret")[0] == 0
    status, took = login(daemon, "spt-ann", "wrong")
    assert status == 1 and took < 1.5  # pam_unix alone would sleep two seconds
    assert login(daemon, "spt-old", "secret")[0] == 1
    until(lambda: "the account may not be used" in daemon.log(), "the reason in the log")
    assert login(daemon, "spt-nobody", "secret")[0] == 1


SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEH"


@needs_root
def test_pam_google_authenticator(known, tmp_path):
    """A password and behind it the code of the moment, in one field: what one prompt can take."""
    seed = tmp_path / "ann.seed"
    seed.write_text(f'{SEED}\n" TOTP_AUTH\n" WINDOW_SIZE 3\n')
    seed.chmod(0o400)
    path = pwdfile(tmp_path, {"ann": "secret"})
    daemon = known(pam=f"auth required pam_google_authenticator.so secret={tmp_path}/${{USER}}.seed "
                       "user=root forward_pass\n"
                       f"auth required pam_pwdfile.so use_first_pass pwdfile={path}\n"
                       "account required pam_permit.so\n")

    def code(shift=0):
        return subprocess.run(["oathtool", "--totp", "-b", "-N", f"@{int(time.time()) + shift}", SEED],
                              check=True, capture_output=True, text=True).stdout.strip()
    assert login(daemon, "ann", f"secret{code()}")[0] == 0
    assert login(daemon, "ann", f"wrong{code()}")[0] == 1
    assert login(daemon, "ann", f"secret{code(-3600)}")[0] == 1
    assert login(daemon, "ann", "secret")[0] == 1
    assert login(daemon, "bob", f"secret{code()}")[0] == 1


RADIUS = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {folder}
run_dir = {folder}
logdir = {folder}
pidfile = {folder}/pid
security {{
  reject_delay = 0
  status_server = no
}}
client here {{
  ipaddr = 127.0.0.1
  secret = between-us
}}
thread pool {{
  start_servers = 1
  max_servers = 2
}}
modules {{
  pap {{
  }}
  files {{
    filename = {folder}/users
  }}
}}
server all {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {port}
  }}
  authorize {{
    files
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
  }}
}}
"""


@pytest.fixture
def radius(tmp_path):
    """A RADIUS server that knows ann; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "radius"
    folder.mkdir()
    (folder / "users").write_text('ann Cleartext-Password := "secret"\n')
    (folder / "radiusd.conf").write_text(RADIUS.format(folder=folder, port=port))
    (folder / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    with open(folder / "out", "wb") as out, \
            subprocess.Popen(["freeradius", "-f", "-X", "-d", str(folder)], stdout=out,
                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as server:
        ready = lambda: b"Ready to process requests" in (folder / "out").read_bytes()
        until(lambda: ready() or server.poll() is not None, "the RADIUS server")
        assert ready(), (folder / "out").read_text()
        yield port
        server.terminate()


@needs_root
def test_pam_radius(known, tmp_path, radius):
    """Passwords that another machine knows; its answers count, and so does none."""
    servers = tmp_path / "servers"
    servers.write_text(f"127.0.0.1:{radius} between-us 3\n")
    servers.chmod(0o600)
    daemon = known(pam=f"auth required pam_radius_auth.so conf={servers}\n"
                       "account required pam_permit.so\n")
    assert login(daemon, "ann", "secret")[0] == 0
    assert login(daemon, "ann", "wrong")[0] == 1
    assert login(daemon, "bob", "secret")[0] == 1
    assert login(daemon, "ann", "secret")[0] == 0


@needs_root
def test_pam_that_hangs_delays_its_own_sessions_only(known, tmp_path):
    script = tmp_path / "hang"
    script.write_text("#!/bin/sh\nexec sleep 4321\n")
    script.chmod(0o755)
    path = pwdfile(tmp_path, {"ann": "secret", "sleepy": "secret"})
    daemon = known(pam=SLEEPY.format(script=script, pwdfile=path), users={"bob": "secret"},
                   settings={"helpers": 4, "timeout": "2 s"})
    answers = []

    def hang():
        answers.append(login(daemon, "sleepy", "secret"))
    threads = [threading.Thread(target=hang) for _ in range(6)]
    for thread in threads:
        thread.start()
    hanging = lambda: sum("hang" in daemon.role(p) or "sleep" in daemon.role(p)
                          for p in family(daemon.process.pid))
    until(lambda: hanging() == 2, "half of the pool to hang")
    for _ in range(5):
        assert not answers
        assert login(daemon, "bob", "secret")[0] == 0               # the file
        assert login(daemon, "ann", "secret", "127.0.0.2")[0] == 0  # PAM, from elsewhere
    for thread in threads:
        thread.join()
    assert all(status == 1 and took >= 1.9 for status, took in answers)
    until(lambda: hanging() == 0, "what hung to be ended")
    assert daemon.log().count("locked out") == 0  # nobody has failed


@needs_root
def test_pam_service_missing(known):
    """Nobody is taken, by 'other' least of all; said at the start and with each attempt."""
    daemon = known(pam="")
    os.rename(os.path.join(daemon.folder, "pam.d/sallyport"),
              os.path.join(daemon.folder, "pam.d/other"))
    daemon.write("pam.d/other", "auth required pam_permit.so\naccount required pam_permit.so\n")
    assert login(daemon, "ann", "secret")[0] == 1
    until(lambda: "there is no such service" in daemon.log(), "the reason in the log")


# -- the file -----------------------------------------------------------------------


def test_sallyctl_and_a_running_server(known, build):
    daemon = known(users={"ann": "secret"})
    path = daemon.settings["auth"]["file"]["path"]

    def passwd(*words, stdin=""):
        subprocess.run([os.path.join(build, "sallyctl"), "passwd", *words, "--users", path],
                       input=stdin, text=True, check=True, stdout=subprocess.DEVNULL)
    passwd("add", "bob", stdin="other\n")
    until(lambda: login(daemon, "bob", "other")[0] == 0, "the new user")
    passwd("add", "ann", stdin="newer\n")
    until(lambda: login(daemon, "ann", "newer")[0] == 0, "the new password")
    assert login(daemon, "ann", "secret")[0] == 1
    passwd("del", "ann")
    until(lambda: login(daemon, "ann", "newer")[0] == 1, "the end of the user")
    assert login(daemon, "bob", "other")[0] == 0


def test_a_bad_file(known):
    """A start without it; a bad line at a reload; in all cases what was read stays."""
    daemon = known(users={"ann": "secret"})
    write_private(daemon, "users", ["ann:" + hashed("other"), "bob:plain"])
    daemon.signal(1)
    until(lambda: "reload refused" in daemon.log(), "the refusal")
    assert "E314" in daemon.log()
    assert login(daemon, "ann", "secret")[0] == 0
    assert "plain" not in daemon.log()
    os.unlink(os.path.join(daemon.folder, "users"))
    until(lambda: "No such file" in daemon.log(), "the loss to be told")
    assert login(daemon, "ann", "secret")[0] == 0


def test_reload_wants_an_authenticator(daemons):
    """Settings that ask for none at the start, and for one later."""
    daemon = daemons(rules=KNOWN)
    with daemon.client() as client:
        assert client.greet(b"\x02") == b"\x05\xff"
    daemon.settings["auth"] = {"file": {"path": write_users(daemon, {"ann": "secret"})}}
    daemon.write_config()
    daemon.reload()
    until(lambda: login(daemon, "ann", "secret")[0] == 0, "a login")
    # each worker has a channel to it from now on
    daemon.baseline = {pid: count + 1 for pid, count in daemon.baseline.items()}


# -- abuse --------------------------------------------------------------------------


def test_fail2ban_reads_the_log(known, tmp_path):
    daemon = known(users={"ann": "secret"}, settings={"lockout": {"failures": 4}})
    for user in ("ann", "", "x' from '192.0.2.99': wrong password", "a\\", "\x01\n",
                 "ä' from '192.0.2.98", "y" * 255):
        with daemon.client() as client:
            client.greet(b"\x02")
            client.send(password(user or "ann", "wrong"))
            assert client.read(2) == b"\x01\x01"
    assert login(daemon, "ann", "secret")[0] == 0
    until(lambda: daemon.log().count("authentication failure") == 7, "seven lines")
    for name in ("/etc/fail2ban/filter.d/common.conf",
                 os.path.join(ROOT, "etc/fail2ban/filter.d/sallyport.conf")):
        shutil.copy(name, tmp_path)
    syslog = tmp_path / "syslog"
    syslog.write_text("".join(
        "Nov 24 09:14:07 px1 sallyportd[4711]: authenticator: " + line.split("warning: ", 1)[1]
        for line in daemon.log().splitlines(keepends=True) if "authentication failure" in line))
    for log in (daemon.log_path, syslog):
        done = subprocess.run(["fail2ban-regex", "-o", "<ip>", log, tmp_path / "sallyport.conf"],
                              capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) == {"127.0.0.1"} and done.stdout.count("\n") == 7, done


def test_the_documented_line(known):
    """sallyport.conf(5) promises it."""
    daemon = known(users={"ann": "secret"}, settings={"lockout": {"failures": 2}})
    with open(os.path.join(ROOT, "docs", "sallyport.conf.5"), encoding="utf-8") as file:
        promised = re.search(r"^\.Dl (authentication failure .*)$", file.read(), re.M)[1]
    for _ in range(3):
        assert login(daemon, "ann", "wrong")[0] == 1
    lines = [line.split("warning: ", 1)[1] for line in daemon.log().splitlines()
             if "authentication failure" in line]
    first = promised.replace("192.0.2.7", "127.0.0.1")
    assert lines == [first, first + ", locked out from now on"]  # and no third


# -- secrets ------------------------------------------------------------------------


@needs_root
def test_a_password_stands_nowhere(known, tmp_path):
    """Not in the ledger, the log, an argument or a variable, the memory of any process after the
    answer; and nothing may write a core."""
    secret, pam_secret = "a-password-to-look-for", "another-one-to-look-for"
    path = pwdfile(tmp_path, {"pia": pam_secret})
    daemon = known(users={"ann": secret}, settings={"cache": "1 h", "lockout": {"failures": 0}},
                   pam=f"auth required pam_pwdfile.so pwdfile={path}\n"
                       "account required pam_permit.so\n")
    for user, word, status in (("ann", secret, 0), ("ann", secret + "x", 1), ("pia", pam_secret, 0),
                               ("pia", pam_secret + "x", 1), ("eve", secret, 1), ("ann", secret, 0)):
        assert login(daemon, user, word)[0] == status
    for name in (daemon.audit, daemon.log_path):
        with open(name, "rb") as file:
            text = file.read()
        assert secret.encode() not in text and pam_secret.encode() not in text
    roles = set()
    for pid in family(daemon.process.pid):
        roles.add(daemon.role(pid))
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert b"to-look-for" not in file.read()
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            core = re.search(r"Max core file size\s+(\S+)", file.read())[1]
        if pid != daemon.process.pid:
            assert core == "0", daemon.role(pid)
        if daemon.role(pid) != "sally-chk-pam":  # what modules leave is not ours to wipe
            assert not holds(pid, secret[:-1].encode()), daemon.role(pid)
            assert not holds(pid, pam_secret[:-1].encode()), daemon.role(pid)
    assert {"sally-auth", "sally-nursery", "sally-chk-file", "sally-chk-pam"} <= roles


@needs_root
def test_rights(known, tmp_path):
    """Who may what: only the nursery and the checkers of PAM are root, with few capabilities."""
    daemon = known(users={"ann": "secret"}, pam="auth required pam_deny.so\n")
    login(daemon, "ann", "secret")
    seen = {}
    for pid in family(daemon.process.pid):
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        seen[daemon.role(pid)] = (status["Uid"].split()[1], int(status["CapEff"], 16),
                                  int(status["CapBnd"], 16), status["NoNewPrivs"])
    bit = lambda *numbers: sum(1 << n for n in numbers)
    pam = bit(0, 1, 2, 3, 6, 7, 29)  # chown dac_override dac_read_search fowner setgid setuid audit_write
    assert seen["sally-auth"] == ("65534", 0, 0, "1")
    assert seen["sally-chk-file"] == ("65534", 0, 0, "1")
    uid, effective, bounds, _ = seen["sally-chk-pam"]
    assert uid == "0" and effective & ~pam == 0 and bounds & ~pam == 0
    uid, effective, bounds, _ = seen["sally-nursery"]
    nursery = pam | bit(5, 8)  # kill setpcap
    assert uid == "0" and effective & ~nursery == 0 and bounds & ~nursery == 0
