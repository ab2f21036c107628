"""Proven identities: method choice, RFC 1929 and CHAP in the worker, against a real authenticator
with a file of users; real clients."""
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import net
from harness.ident import Identd, says
from harness.login import (ALGORITHMS, CHALLENGE, HMAC_MD5, IDENTIFIER, RESPONSE, TEXT, USER, chap,
                           chap_login, password, read_chap, write_private, write_users)
from harness.memory import holds
from harness.socks import NODE, greeting, request4, request5
from harness.wait import until

USERS = {"ann": "secret", "bob": "päss wörd", "eve": "x" * 255}
KNOWN = """
  proven: { action = "allow"; who = "known"; from = "loopback"; to = [ "any", "loopback" ] }
"""
OPEN = """
  nobody: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ] }
"""


@pytest.fixture
def guarded(daemons):
    """A factory of servers with users (and CHAP secrets)."""
    def make(rules=KNOWN, users=USERS, secrets=None, settings=None, start=True):
        daemon = daemons(rules=rules, start=False)
        auth = {"failure-delay": "0 ms"}
        if users is not None:
            auth["file"] = {"path": write_users(daemon, users)}
        if secrets is not None:
            auth["chap"] = {"path": write_private(daemon, "chap", (
                f"{u}:{s}" for u, s in secrets.items()))}
        daemon.settings["auth"] = {**auth, **(settings or {})}
        return daemon.start() if start else daemon
    return make


def authenticators(daemon):
    return [p for p in daemon.processes() if "auth" in daemon.role(p)]


def denied(daemon, client, reason):
    record = daemon.ledger.last_of(client)
    assert record["event"]["action"] == "session-deny", record
    assert record["event"]["reason"] == reason, record
    return record


def events(daemon, client, action):
    return daemon.ledger.find(lambda r: r["event"]["action"] == action
                              and r.get("source", {}).get("port") == client.port)


# -- method choice ------------------------------------------------------------------

CHAP_ONLY = KNOWN.replace('"known";', '"known"; auth = "chap";')
FILE_ONLY = KNOWN.replace('"known";', '"known"; auth = "file";')
PAM_ONLY = KNOWN.replace('"known";', '"known"; auth = "pam";')


@pytest.mark.parametrize("rules,offered,chosen", [
    (KNOWN, b"\x00\x02\x03", 3), (KNOWN, b"\x02\x00", 2), (KNOWN, b"\x00", 0xff),
    (KNOWN, b"\x01", 0xff), (KNOWN, b"\x03\x02\x01\x00", 3), (KNOWN, b"\x80\xff", 0xff),
    (FILE_ONLY, b"\x03\x02", 2), (FILE_ONLY, b"\x03", 0xff), (CHAP_ONLY, b"\x02", 0xff),
    (PAM_ONLY, b"\x00\x01\x02\x03", 0xff),  # nothing is there to ask PAM
    (OPEN, b"\x00\x02\x03", 0), (OPEN, b"\x02", 0xff), (KNOWN + OPEN, b"\x00\x02", 2),
    (KNOWN + OPEN, b"\x00", 0), (OPEN + KNOWN, b"\x00\x02", 2),
    (KNOWN.replace("from =", 'version = "4"; from =').replace('"4"', "4") + OPEN, b"\x00\x02", 0),
])
def test_strongest_method(guarded, rules, offered, chosen):
    daemon = guarded(rules, secrets={"ann": "secret"})
    with daemon.client() as client:
        assert client.greet(offered) == bytes([5, chosen])
        if chosen == 0xff:
            assert client.read_end() == b""
            denied(daemon, client, "denied")


def test_method_needs_a_backend(guarded):
    daemon = guarded(users=None, secrets={"ann": "secret"})
    with daemon.client() as client:
        assert client.greet(b"\x00\x02") == b"\x05\xff"
    with daemon.client() as client:
        assert client.greet(b"\x00\x02\x03") == b"\x05\x03"


# -- RFC 1929 ------------------------------------------------------------------------

@pytest.mark.parametrize("user", USERS)
def test_password(guarded, echo, user):
    daemon = guarded()
    client = daemon.client()
    assert client.greet(b"\x02") == b"\x05\x02"
    client.send(password(user, USERS[user].encode()[:255]))
    assert client.read(2) == b"\x01\x00"
    client.send(request5(echo.host, echo.port), b"hello")
    assert client.reply5().code == 0 and client.read(5) == b"hello"
    client.close()
    end = daemon.ledger.last_of(client)
    assert end["user"]["name"] == user
    assert (end["socks"]["auth"], end["socks"]["assurance"]) == ("file", "proven")
    assert end["socks"]["ms"]["auth"] > 0
    success, = events(daemon, client, "auth-success")
    assert success["user"]["name"] == user and success["event"]["outcome"] == "success"
    assert success["socks"]["auth"] == "file"
    assert not events(daemon, client, "auth-failure")


WRONG = {
    "wrong password": ("ann", "Secret"), "password cut": ("ann", "secre"),
    "more than the password": ("ann", "secret\0"), "only NUL": ("ann", "\0"),
    "no such user": ("carl", "secret"), "another's": ("bob", "secret"),
    "NUL in the user": ("ann\0", "secret"), "escape": ("\x1b[2J", "x"), "high": (b"\xff" * 255, "x"),
    "colon": ("ann:x", "secret"), "blank": (" ann", "secret"),
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong(guarded, how):
    user, secret = WRONG[how]
    daemon = guarded()
    client = daemon.client()
    # what stands behind is never looked at
    client.send(greeting(b"\x02"), password(user, secret), request5("127.0.0.1", 1))
    assert client.read(2) == b"\x05\x02"
    assert client.read_end() == b"\x01\x01"
    record = denied(daemon, client, "auth-failed")
    raw = user if isinstance(user, bytes) else user.encode()
    assert record["user"]["name"].encode("latin-1") == raw
    assert (record["socks"]["auth"], record["socks"]["assurance"]) == ("none", "none")
    assert record["socks"]["reply"] == 1
    failure, = events(daemon, client, "auth-failure")
    assert failure["event"]["outcome"] == "failure"
    assert not events(daemon, client, "auth-success")


MALFORMED = {
    "version 5": b"\x05\x03ann\x06secret", "version 0": b"\x00", "no user": b"\x01\x00\x06secret",
    "no password": b"\x01\x03ann\x00", "a SOCKS5 request": request5("127.0.0.1", 80),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_malformed(guarded, how):
    daemon = guarded()
    client = daemon.client()
    client.send(greeting(b"\x02"), MALFORMED[how])
    assert client.read_end() == b"\x05\x02\x01\x01"
    record = denied(daemon, client, "malformed")
    assert record["socks"]["reply"] == 1
    assert not events(daemon, client, "auth-failure")


@pytest.mark.parametrize("sent", [b"", b"\x01", b"\x01\x03an", password("ann", "secret")[:-1]])
@pytest.mark.parametrize("leave", ["fin", "reset"])
def test_leaves_in_the_middle(guarded, sent, leave):
    daemon = guarded()
    client = daemon.client()
    assert client.greet(b"\x02") == b"\x05\x02"
    client.send(sent)
    getattr(client, leave)()
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "client-" + ("closed" if leave == "fin" else "reset")
    client.close()


def test_deadline_in_the_middle(daemons, guarded):
    daemon = guarded(start=False)
    daemon.settings["timeouts"] = {"handshake": "300 ms"}
    daemon.start()
    client = daemon.client()
    client.send(greeting(b"\x02"), b"\x01\x03an")
    assert client.read_end() == b"\x05\x02\x01\x01"
    assert daemon.ledger.last_of(client)["event"]["reason"] == "handshake-timeout"


WHOLE = greeting(b"\x02") + password("ann", "secret")


def test_bytewise(guarded, echo):
    daemon = guarded()
    with daemon.client() as client:
        client.trickle(WHOLE + request5(echo.host, echo.port) + b"early")
        assert client.read(4) == b"\x05\x02\x01\x00"
        assert client.reply5().code == 0 and client.read(5) == b"early"


def test_every_chopping(guarded, echo):
    daemon = guarded()
    whole = WHOLE + request5(echo.host, echo.port) + b"early"
    for at in range(1, len(whole)):
        with daemon.client() as client:
            client.send(whole[:at])
            if at >= 3:  # the answer to the greeting tells that the first part was read
                assert client.read(2) == b"\x05\x02"
            client.send(whole[at:])
            if at < 3:
                assert client.read(2) == b"\x05\x02"
            assert client.read(2) == b"\x01\x00"
            assert client.reply5().code == 0 and client.read(5) == b"early"


def test_half_close_behind_everything(guarded, echo):
    daemon = guarded()
    with daemon.client() as client:
        client.send(WHOLE, request5(echo.host, echo.port), b"all").fin()
        assert client.read(4) == b"\x05\x02\x01\x00"
        assert client.reply5().code == 0 and client.read_end() == b"all"


def test_longest_of_all(guarded, echo):
    """All 255 methods, a name and a password of 255 bytes, and a name of 253, at once."""
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    daemon = guarded(users={"u" * 255: "p" * 255})
    with daemon.client() as client:
        client.send(greeting(bytes(range(1, 255)) + b"\x02"), password("u" * 255, "p" * 255),
                    request5(name, 80))
        assert client.read(4) == b"\x05\x02\x01\x00"
        assert client.reply5().code in (1, 4)
    # CHAP is not configured, and 255 is no method


def test_verdict_looks_at_who(guarded, echo):
    rules = """
      ann: { action = "allow"; who = "ann"; from = "loopback"; to = "loopback" }
      other: { action = "allow"; who = "bob"; auth = "chap"; from = "loopback"; to = "loopback" }
    """
    daemon = guarded(rules, secrets={"bob": "chap secret"})
    for user, code, rule in (("ann", 0, "ann"), ("bob", 2, "policy-default")):
        client = daemon.client()
        client.greet(b"\x02")
        client.send(password(user, USERS[user]), )
        assert client.read(2) == b"\x01\x00"
        client.send(request5(echo.host, echo.port))
        assert client.reply5().code == code
        client.close()
        record = daemon.ledger.last_of(client)
        assert record["rule"]["id"] == rule and record["user"]["name"] == user
        assert record["socks"]["auth"] == "file"


def test_socks4_proves_nothing(guarded, echo):
    daemon = guarded()
    with daemon.client() as client:
        client.send(request4(echo.host, echo.port, b"ann"))
        assert client.reply4().code == 91


def test_judged_again_after_reload(guarded, echo):
    rule = KNOWN.replace("proven:", "ann:").replace('"known"', '"ann"')
    daemon = guarded(rule)
    client = daemon.client()
    client.send(WHOLE, request5(echo.host, echo.port))
    client.read(4)
    assert client.reply5().code == 0
    daemon.reload(rules=KNOWN)
    client.send(b"hi")
    assert client.read(2) == b"hi"
    daemon.reload(rules=rule.replace('"ann"', '"bob"'))
    assert daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    client.close()


# -- CHAP ---------------------------------------------------------------------------------

SECRETS = {"ann": "chap secret", "bob": "y" * 100}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("user", SECRETS)
def test_chap(guarded, echo, user, late):
    daemon = guarded(secrets=SECRETS)
    client = daemon.client()
    assert client.greet(b"\x00\x02\x03") == b"\x05\x03"
    extra = [(TEXT, b"hello"), (0x77, b""), (CHALLENGE, b"who are you?")]
    assert chap_login(client, user.encode(), SECRETS[user].encode(), late, extra) == 0
    client.send(request5(echo.host, echo.port), b"hello")
    assert client.reply5().code == 0 and client.read(5) == b"hello"
    client.close()
    end = daemon.ledger.last_of(client)
    assert end["user"]["name"] == user
    assert (end["socks"]["auth"], end["socks"]["assurance"]) == ("chap", "proven")
    assert len(events(daemon, client, "auth-success")) == 1


def test_chap_bytewise(guarded, echo):
    daemon = guarded(secrets=SECRETS)
    with daemon.client() as client:
        client.trickle(greeting(b"\x03"))
        assert client.read(2) == b"\x05\x03"
        assert chap_login(client, b"ann", b"chap secret", send=client.trickle) == 0
        client.trickle(request5(echo.host, echo.port))
        assert client.reply5().code == 0


def test_chap_challenges_differ(guarded):
    daemon = guarded(secrets=SECRETS)
    seen = set()
    for _ in range(20):
        with daemon.client() as client:
            client.send(greeting(b"\x03"), chap((ALGORITHMS, bytes([HMAC_MD5]))))
            assert client.read(2) == b"\x05\x03"
            seen.add(read_chap(client)[CHALLENGE])
    assert len(seen) == 20


@pytest.mark.parametrize("user,secret", [(b"ann", b"chap secreT"), (b"carl", b"chap secret"),
                                         (b"bob", b"chap secret"), (b"ann\0", b"chap secret")])
def test_chap_wrong(guarded, user, secret):
    daemon = guarded(secrets=SECRETS)
    client = daemon.client()
    client.greet(b"\x03")
    assert chap_login(client, user, secret) == 1
    assert client.read_end() == b""
    denied(daemon, client, "auth-failed")
    assert len(events(daemon, client, "auth-failure")) == 1


def test_chap_replay(guarded):
    """A response that was good for another challenge."""
    import hashlib
    import hmac
    daemon = guarded(secrets=SECRETS)
    old = None
    for _ in range(2):
        client = daemon.client()
        client.send(greeting(b"\x03"), chap((ALGORITHMS, bytes([HMAC_MD5])), (USER, b"ann")))
        client.read(2)
        offer = read_chap(client)
        old = old or hmac.new(b"chap secret", offer[CHALLENGE], hashlib.md5).digest()
        client.send(chap((RESPONSE, old)))
        status = read_chap(client)[0]
        client.close()
    assert status == b"\x01"


OFFER = chap((ALGORITHMS, bytes([HMAC_MD5])), (USER, b"ann"))
CHAP_BAD = {
    "version": (b"\x05\x01\x00", None, "malformed"),
    "no attribute": (b"\x01\x00", None, "malformed"),
    "no algorithms": (chap((USER, b"ann")), None, "malformed"),
    "empty algorithms": (chap((ALGORITHMS, b"")), None, "malformed"),
    "response first": (chap((ALGORITHMS, bytes([HMAC_MD5])), (RESPONSE, b"r" * 16)), None,
                       "malformed"),
    "two users": (chap((USER, b"ann"), (USER, b"bob")), None, "malformed"),
    "too long": (chap(*[(TEXT, b"t" * 255)] * 4), None, "malformed"),
    "another algorithm": (chap((ALGORITHMS, b"\x05")), None, "auth-failed"),
    "short response": (OFFER, chap((RESPONSE, b"r" * 15)), "malformed"),
    "long response": (OFFER, chap((RESPONSE, b"r" * 17)), "malformed"),
    "no response": (OFFER, chap((IDENTIFIER, b"\x01")), "malformed"),
    "no user at all": (chap((ALGORITHMS, bytes([HMAC_MD5]))), chap((RESPONSE, b"r" * 16)),
                       "malformed"),
    "another user": (OFFER, chap((RESPONSE, b"r" * 16), (USER, b"bob")), "malformed"),
    "algorithms again": (OFFER, OFFER, "malformed"),
}


@pytest.mark.parametrize("how", CHAP_BAD)
def test_chap_malformed(guarded, how):
    first, second, reason = CHAP_BAD[how]
    daemon = guarded(secrets=SECRETS)
    client = daemon.client()
    client.send(greeting(b"\x03"), first)
    assert client.read(2) == b"\x05\x03"
    if second is not None:
        read_chap(client)
        client.send(second)
    assert client.read_end() == b"\x01\x01\x00\x01\x01"
    denied(daemon, client, reason)
    assert not events(daemon, client, "auth-failure")


# -- the authenticator ------------------------------------------------------------------------

def test_authenticator_killed_under_load(guarded, echo):
    """Who is asked about then fails as auth-unavailable; sessions live on; it comes back."""
    daemon = guarded(settings={"failure-delay": "0 ms"})
    live = daemon.client()
    live.send(WHOLE, request5(echo.host, echo.port))
    live.read(4)
    assert live.reply5().code == 0
    answers, stop = [], threading.Event()

    def knock():
        while not stop.is_set():
            with daemon.client() as client:
                client.send(WHOLE, request5(echo.host, echo.port))
                assert client.read(2) == b"\x05\x02"
                status = client.read(2)
                if status == b"\x01\x00":
                    assert client.reply5().code == 0
                else:
                    assert client.read_end() == b""
                answers.append((status, client.port))
    threads = [threading.Thread(target=knock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        seen = len(answers)
        until(lambda s=seen: any(a == b"\x01\x00" for a, _ in answers[s:]), "a login")
        front = min(until(lambda: authenticators(daemon), "an authenticator"))
        os.kill(front, signal.SIGKILL)
        until(lambda f=front: not net.alive(f), "its end")
    seen = len(answers)
    until(lambda: sum(a == b"\x01\x00" for a, _ in answers[seen:]) >= 8, "logins again")
    stop.set()
    for thread in threads:
        thread.join()
    live.send(b"still")
    assert live.read(5) == b"still"
    live.close()
    assert {a for a, _ in answers} <= {b"\x01\x00", b"\x01\x01"}
    ports = {p for a, p in answers if a == b"\x01\x01"}
    for record in daemon.ledger.find(lambda r: r["event"]["action"] == "session-deny"):
        if record["source"]["port"] in ports:
            assert record["event"]["reason"] == "auth-unavailable"
    assert not daemon.ledger.find(lambda r: r["event"]["action"] == "auth-failure")


@pytest.mark.parametrize("leave", ["close", "reset", "fin"])
def test_client_leaves_while_it_is_asked(guarded, leave):
    daemon = guarded()
    front = authenticators(daemon)
    for pid in front:
        os.kill(pid, signal.SIGSTOP)
    try:
        client = daemon.client()
        client.send(WHOLE)
        assert client.read(2) == b"\x05\x02" and client.is_quiet()
        getattr(client, leave)()
        record = daemon.ledger.last_of(client)
        assert record["event"]["reason"] == "client-" + ("reset" if leave == "reset"
                                                         else "closed")
        client.close()
    finally:
        for pid in front:
            os.kill(pid, signal.SIGCONT)
    with daemon.client() as client:
        client.send(WHOLE)
        assert client.read(4) == b"\x05\x02\x01\x00"


def test_our_waiting_is_not_the_clients(guarded, echo):
    daemon = guarded(start=False)
    daemon.settings["timeouts"] = {"handshake": "500 ms"}
    daemon.start()
    front = authenticators(daemon)
    for pid in front:
        os.kill(pid, signal.SIGSTOP)
    client = daemon.client()
    client.send(WHOLE)
    assert client.read(2) == b"\x05\x02" and client.is_quiet(1.0)
    for pid in front:
        os.kill(pid, signal.SIGCONT)
    assert client.read(2) == b"\x01\x00"
    client.send(request5(echo.host, echo.port))
    assert client.reply5().code == 0
    client.close()
    end = daemon.ledger.last_of(client)
    assert end["socks"]["ms"]["auth"] >= 900 > end["socks"]["ms"]["handshake"]


# -- real clients -------------------------------------------------------------------------------

def run(*command, **kwargs):
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    return subprocess.run(command, capture_output=True, timeout=60, check=False,
                          env={**env, **kwargs.pop("env", {})}, **kwargs)


@pytest.fixture
def page(targets):
    def serve(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nbehind the sally port")
    return targets(serve)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_curl(guarded, page, scheme):
    daemon = guarded()
    at = "%s:%d" % daemon.at
    url = f"http://{page.host}:{page.port}/"
    done = run("curl", "-sS", "-q", "-x", f"{scheme}://ann:secret@{at}", url)
    assert done.stdout == b"behind the sally port", done.stderr
    assert run("curl", "-sS", "-q", "-x", f"{scheme}://ann:wrong@{at}", url).returncode == 97
    assert run("curl", "-sS", "-q", "-x", f"{scheme}://{at}", url).returncode == 97


def test_ncat(guarded, echo):
    daemon = guarded()
    at = "%s:%d" % daemon.at
    for who, good in (("ann:secret", True), ("ann:wrong", False)):
        done = run("ncat", "--proxy", at, "--proxy-type", "socks5", "--proxy-auth", who,
                   echo.host, str(echo.port), input=b"hello")
        assert (done.stdout == b"hello") == good, done.stderr


def test_pysocks(guarded, echo):
    socks = pytest.importorskip("socks")
    daemon = guarded()
    sock = socks.create_connection((echo.host, echo.port), proxy_type=socks.SOCKS5,
                                   proxy_addr=daemon.at[0], proxy_port=daemon.at[1],
                                   proxy_username="ann", proxy_password="secret")
    sock.sendall(b"hello")
    assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
    sock.close()
    with pytest.raises(socks.GeneralProxyError) as caught:
        socks.create_connection((echo.host, echo.port), proxy_type=socks.SOCKS5,
                                proxy_addr=daemon.at[0], proxy_port=daemon.at[1],
                                proxy_username="ann", proxy_password="wrong")
    assert isinstance(caught.value.socket_err, socks.SOCKS5AuthError)


def test_plink_chap(guarded, echo, tmp_path):
    """PuTTY's: the one client in the field that speaks CHAP."""
    daemon = guarded(CHAP_ONLY, secrets=SECRETS)
    folder = tmp_path / ".putty" / "sessions"
    folder.mkdir(parents=True)
    for secret, good in (("chap secret", True), ("wrong", False)):
        (folder / "through").write_text(
            f"HostName={echo.host}\nPortNumber={echo.port}\nProtocol=raw\nProxyMethod=2\n"
            f"ProxyLocalhost=1\nProxyHost={daemon.at[0]}\nProxyPort={daemon.at[1]}\n"
            f"ProxyUsername=ann\nProxyPassword={secret}\n")
        with subprocess.Popen(["plink", "-batch", "-load", "through"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, "HOME": str(tmp_path)}) as plink:
            plink.stdin.write(b"hello\n")
            plink.stdin.flush()
            said = plink.stdout.read(5)
            plink.kill()
            assert (said == b"hello") == good, plink.stderr.read()


NPM_CLIENT = """
const { SocksClient } = require('socks');
const [host, port, to, user, password] = process.argv.slice(2);
SocksClient.createConnection({
  proxy: { host, port: Number(port), type: 5, userId: user, password },
  command: 'connect', destination: { host: '127.0.0.1', port: Number(to) },
}).then(({ socket }) => {
  socket.on('data', (data) => { console.log(data.toString()); socket.destroy(); });
  socket.write('hello');
}).catch((error) => { console.log(error.message); });
"""


def test_npm_socks(guarded, echo, tmp_path):
    script = tmp_path / "client.js"
    script.write_text(NPM_CLIENT)
    daemon = guarded()
    for secret, said in (("secret", b"hello\n"), ("wrong", b"Socks5 Authentication failed\n")):
        done = run("node", str(script), daemon.at[0], str(daemon.at[1]), str(echo.port), "ann",
                   secret, env=NODE)
        assert done.stdout == said, done.stderr


# -- groups -----------------------------------------------------------------------------------

STAFF = 'groups: { staff = [ "unix:daemon" ] }'


def test_groups_of_a_proven_user(guarded, echo):
    """Accounts of this machine: daemon is in the group of its name, bin is not."""
    daemon = guarded(KNOWN.replace('"known"', '"@staff"'), {"daemon": "one", "bin": "two"},
                     start=False)
    daemon.objects = STAFF
    daemon.start()
    for user, secret, code in (("daemon", "one", 0), ("bin", "two", 2)):
        with daemon.client() as client:
            client.send(greeting(b"\x02"), password(user, secret),
                        request5(echo.host, echo.port))
            assert client.read(4) == b"\x05\x02\x01\x00"
            assert client.reply5().code == code


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for port 113")
def test_groups_of_an_ident_user(daemons, echo):
    rules = KNOWN.replace('"known"', '"@staff"; auth = "ident"')
    daemon = daemons(rules=rules, objects=STAFF,
                     settings={"auth": {"ident": {"trusted": ["127.0.0.0/8"]}}})
    for user, code in (("daemon", 0), ("bin", 2), ("no-such-account", 2)):
        source = net.fresh_address()
        identd = Identd(source, says(user))
        client = daemon.client(source=source)
        assert client.connect5(echo.host, echo.port).code == code
        client.close()
        identd.close()
        record = daemon.ledger.last_of(client)
        assert record["user"]["name"] == user and record["socks"]["assurance"] == "asserted"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for port 113")
def test_groups_that_cannot_be_looked_up(daemons, echo):
    """An allow rule by groups does not hold then, and the record says why."""
    daemon = daemons(rules=KNOWN.replace('"known"', '"@staff"; auth = "ident"'), objects=STAFF,
                     settings={"auth": {"ident": {"trusted": ["127.0.0.0/8"]}}})
    source = net.fresh_address()
    front = min(authenticators(daemon))
    os.kill(front, signal.SIGSTOP)
    identd = Identd(source, says("daemon"))
    client = daemon.client(source=source)
    client.send(greeting(), request5(echo.host, echo.port))
    assert client.read(2) == b"\x05\x00"
    until(lambda: identd.queries, "the query")
    assert client.is_quiet()
    os.kill(front, signal.SIGKILL)
    assert client.reply5().code == 2
    identd.close()
    record = denied(daemon, client, "denied")
    assert record["policy"]["reason"] == "undetermined", record


# -- abuse, time, secrets -------------------------------------------------------------------------

def test_lockout(guarded):
    daemon = guarded(settings={"lockout": {"failures": 2}})
    for attempt in range(3):
        client = daemon.client()
        client.send(greeting(b"\x02"), password("ann", "wrong" if attempt < 2 else "secret"))
        assert client.read_end() == b"\x05\x02\x01\x01"
        denied(daemon, client, "auth-failed")
        assert len(events(daemon, client, "auth-failure")) == 1
        assert len(events(daemon, client, "lockout")) == (1 if attempt == 1 else 0)
    with daemon.client() as client:
        client.send(greeting(b"\x02"), password("bob", USERS["bob"]))
        assert client.read(4) == b"\x05\x02\x01\x00"


def test_no_authenticator_takes_as_long(guarded):
    """What time a failure takes does not tell that nobody has looked at the password."""
    daemon = guarded(settings={"failure-delay": "700 ms"})
    front = min(authenticators(daemon))
    os.kill(front, signal.SIGSTOP)
    client = daemon.client()
    started = time.monotonic()
    client.send(WHOLE)
    assert client.read(2) == b"\x05\x02" and client.is_quiet(0.2)
    os.kill(front, signal.SIGKILL)
    assert client.read_end() == b"\x01\x01"
    assert time.monotonic() - started >= 0.7
    denied(daemon, client, "auth-unavailable")
    assert not events(daemon, client, "auth-failure")


@pytest.mark.slow
def test_an_authenticator_that_hangs(guarded):
    """It has its own deadlines; if it does not keep them, the client does not wait for ever."""
    daemon = guarded(settings={"timeout": "10 ms"})
    front = min(authenticators(daemon))
    os.kill(front, signal.SIGSTOP)
    client = daemon.client()
    client.send(WHOLE)
    assert client.read(2) == b"\x05\x02"
    assert client.read_end() == b"\x01\x01"
    denied(daemon, client, "auth-unavailable")
    os.kill(front, signal.SIGKILL)


@pytest.mark.parametrize("how", ["good", "wrong", "cut", "malformed behind"])
def test_no_password_stays_in_the_worker(guarded, echo, how):
    if os.geteuid() != 0:
        pytest.skip("needs root to look into a worker")
    secret = "correct-horse-battery-" + how.split()[0]
    name = "a-user-with-a-long-name"
    daemon = guarded(users={name: secret})
    client = daemon.client()
    assert client.greet(b"\x02") == b"\x05\x02"
    whole = password(name, secret if how != "wrong" else secret + "x")
    if how == "cut":
        client.send(whole[:-1])
        client.fin()
        daemon.ledger.last_of(client)
    else:
        client.send(whole)
        assert client.read(2) == (b"\x01\x01" if how == "wrong" else b"\x01\x00")
        if how == "malformed behind":
            client.send(b"\x04\x01\x00\x00")
            client.read_end()
        elif how == "good":
            client.send(request5(echo.host, echo.port))
            assert client.reply5().code == 0
    for pid in daemon.workers():
        assert not holds(pid, secret[:-1].encode())
    if how != "cut":  # so would it be found
        assert any(holds(pid, name.encode()) for pid in daemon.workers())
    client.close()
