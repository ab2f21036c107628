"""Every ending's word and reply code, provoked once each (PROTOCOL "Endings")."""
import os
import signal
import socket
import struct

import pytest

from harness.net import fresh_address
from harness.socks import greeting, request4, request5
from harness.targets import hold, say_and_close
from harness.wait import until

# The words of PROTOCOL, and those that no session of today can end with: their
# capability (authentication, ident, limits of rules, the control socket) is not there.
WORDS = {
    "client-closed", "target-closed", "client-reset", "target-reset", "refused", "unreachable",
    "connect-timeout", "name-not-found", "dns-failed", "denied", "auth-failed",
    "auth-unavailable", "ident-unreachable", "ident-mismatch", "malformed", "not-socks",
    "handshake-timeout", "idle", "lifetime", "limit", "bind-timeout", "bind-mismatch", "revoked",
    "killed", "shutdown", "worker-crash", "internal",
}
LATER = {"auth-failed", "auth-unavailable", "ident-unreachable", "ident-mismatch", "lifetime",
         "killed"}
NEVER_ON_PURPOSE = {"internal"}


class Scene:
    """What a provocation may use."""

    def __init__(self, request):
        self.make = request.getfixturevalue
        self.daemon = None

    def start(self, **kwargs):
        self.daemon = self.make("daemons")(**kwargs)
        return self.daemon

    def target(self, *args, **kwargs):
        return self.make("targets")(*args, **kwargs)


def ask(scene, version, host, port, **client):
    """A request; (client, reply code or None when closed without one)."""
    c = scene.daemon.client(**client)
    if version == 4:
        c.send(request4(host, port))
        raw = c.read_end()
        return c, raw[1] if raw else None
    c.send(greeting() + request5(host, port))
    raw = c.read_end()
    return c, raw[3] if len(raw) > 2 else None


def session(scene, version, target):
    client = scene.daemon.client()
    if version == 4:
        assert client.connect4(target.host, target.port).code == 90
    else:
        assert client.connect5(target.host, target.port).code == 0
    return client


# -- while a session runs: the reply was a success ------------------------------

def client_closed(scene, version):
    scene.start()
    client = session(scene, version, scene.target())
    client.close()
    return client


def target_closed(scene, version):
    scene.start()
    client = session(scene, version, scene.target(say_and_close(b"bye")))
    assert client.read_end() == b"bye"
    client.close()
    return client


def client_reset(scene, version):
    scene.start()
    client = session(scene, version, scene.target())
    client.reset()
    return client


def target_reset(scene, version):
    scene.start()
    target = scene.target(hold)
    client = session(scene, version, target)
    sock = target.take()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    return client


def idle(scene, version):
    scene.start(settings={"timeouts": {"idle": "300 ms"}})
    return session(scene, version, scene.target(hold))


def revoked(scene, version):
    scene.start()
    client = session(scene, version, scene.target())
    scene.daemon.reload(rules='no: { action = "deny" }')
    return client


def shutdown(scene, version):
    scene.start(settings={"timeouts": {"drain": "300 ms"}})
    client = session(scene, version, scene.target(hold))
    assert scene.daemon.terminate() == 0
    return client


def worker_crash(scene, version):
    scene.start()
    scene.daemon.crash_expected = True
    client = session(scene, version, scene.target(hold))
    os.kill(scene.daemon.worker_of(client), signal.SIGKILL)
    return client


# -- before: the reply says why -------------------------------------------------

def refused(scene, version):
    scene.start()
    return ask(scene, version, fresh_address(), 9)


def connect_timeout(scene, version):
    hole = scene.make("black_holes")()
    scene.start(settings={"timeouts": {"connect": "500 ms"}})
    return ask(scene, version, hole.host, hole.port)


def name_not_found(scene, version):
    names = scene.make("dns")({})
    scene.start(settings={"dns": {"servers": [names.server]}})
    return ask(scene, version, "nobody.test", 80)


def dns_failed(scene, version):
    server = scene.make("raw_dns")(lambda name, kind: 2)
    scene.start(settings={"dns": {"servers": [server.server]}})
    return ask(scene, version, "broken.test", 80)


def denied(scene, version):
    scene.start(rules='some: { action = "allow"; from = "loopback"; to = "192.0.2.0/24" }')
    return ask(scene, version, "127.0.0.1", 80)


def malformed(scene, version):
    scene.start()
    return ask(scene, version, b"a b", 80)


def not_socks(scene, version):
    scene.start()
    client = scene.daemon.client()
    client.send(b"\x16\x03\x01")
    assert client.read_end() == b""
    return client, None


def handshake_timeout(scene, version):
    scene.start(settings={"timeouts": {"handshake": "400 ms"}})
    client = scene.daemon.client()
    if version == 4:
        client.send(b"\x04\x01\x00")
        return client, client.read_end()[1]
    client.send(greeting())
    return client, client.read_end()[3]


def limit(scene, version):
    scene.start(settings={"limits": {"sessions": 1}, "workers": 1})
    target = scene.target()
    first = scene.daemon.client()
    assert first.connect5(target.host, target.port).code == 0
    client = scene.daemon.client()
    try:
        client.send(greeting())
        return client, client.read_end() or None
    except ConnectionResetError:
        return client, None
    finally:
        first.close()


def door(scene, version, **settings):
    """A client whose door is open, and where it is."""
    scene.start(rules='d: { action = "allow"; from = "loopback"; to = "loopback"; '
                'command = "bind" }', settings=settings)
    client = scene.daemon.client()
    reply = (client.connect4 if version == 4 else client.connect5)("127.0.0.1", 21, command=2)
    assert reply.code == (90 if version == 4 else 0)
    return client, (reply.address, reply.port)


def bind_timeout(scene, version):
    client, _ = door(scene, version, timeouts={"bind": "200 ms"})
    return client, client.read_end()[1]


def bind_mismatch(scene, version):
    client, at = door(scene, version)
    with socket.create_connection(at, source_address=("127.0.0.2", 0)):
        return client, client.read_end()[1]


IN_SESSION = [client_closed, target_closed, client_reset, target_reset, idle, revoked, shutdown,
              worker_crash]
BEFORE = [  # SOCKS4 and SOCKS5 codes, the event
    (refused, 91, 5, "session-fail"),
    (connect_timeout, 91, 6, "session-fail"),
    (name_not_found, 91, 4, "session-deny"),
    (dns_failed, 91, 1, "session-deny"),
    (denied, 91, 2, "session-deny"),
    (malformed, 91, 1, "session-deny"),
    (not_socks, None, None, "session-deny"),
    (handshake_timeout, 91, 1, "session-fail"),
    (limit, None, None, "session-deny"),
    (bind_timeout, 91, 6, "session-fail"),
    (bind_mismatch, 91, 2, "session-fail"),
]


def word(provocation):
    return provocation.__name__.replace("_", "-")


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("provoke", IN_SESSION, ids=word)
def test_ending_of_a_session(request, provoke, version):
    scene = Scene(request)
    client = provoke(scene, version)
    record = scene.daemon.ledger.last_of(client)
    client.close()
    assert record["event"]["action"] == "session-end"
    assert record["event"]["reason"] == word(provoke)
    assert record["socks"]["version"] == version
    assert record["socks"]["reply"] == {4: 90, 5: 0}[version]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("provoke,code4,code5,action", BEFORE, ids=[word(b[0]) for b in BEFORE])
def test_ending_before_a_session(request, provoke, code4, code5, action, version):
    scene = Scene(request)
    client, code = provoke(scene, version)
    record = scene.daemon.ledger.last_of(client)
    client.close()
    assert code == (code4 if version == 4 else code5)
    assert record["event"]["reason"] == word(provoke)
    assert record["event"]["action"] == action
    assert record["socks"].get("reply") == code


@pytest.mark.parametrize("kind,code", [("unreachable", 4), ("prohibit", 4), (None, 3)])
def test_unreachable(request, namespace, kind, code):
    """EHOSTUNREACH by a route that says so, ENETUNREACH where there is no route."""
    if kind:
        namespace.ip("route", "add", kind, "192.0.2.0/24")
    scene = Scene(request)
    with namespace:
        scene.start()
        for version in (4, 5):
            client, got = ask(scene, version, "192.0.2.1", 80)
            record = scene.daemon.ledger.last_of(client)
            client.close()
            if kind == "prohibit":  # EACCES: the machine's own firewall; any failure will do
                assert got in (91, 1, 2, 4)
                continue
            assert got == {4: 91, 5: code}[version]
            assert record["event"]["reason"] == "unreachable"
            assert record["event"]["action"] == "session-fail"


@pytest.mark.slow
def test_the_kernel_gives_up(request, namespace):
    """ETIMEDOUT before our own deadline: 04, as PROTOCOL says."""
    scene = Scene(request)
    with namespace:
        # the calling thread's own network is what it sees there
        with open("/proc/sys/net/ipv4/tcp_syn_retries", "w", encoding="ascii") as file:
            file.write("1")
        hole = scene.make("black_holes")()
        scene.start()
        client, code = ask(scene, 5, hole.host, hole.port)
        record = scene.daemon.ledger.last_of(client)
        client.close()
    assert (code, record["event"]["reason"]) == (4, "connect-timeout")


def test_every_word_is_provoked():
    here = {word(p) for p in IN_SESSION} | {word(b[0]) for b in BEFORE} | {"unreachable"}
    assert here | LATER | NEVER_ON_PURPOSE == WORDS
    assert not here & LATER


def test_client_leaves_while_we_connect(request):
    """Everything is freed at once."""
    scene = Scene(request)
    hole = scene.make("black_holes")()
    daemon = scene.start(settings={"timeouts": {"connect": "3 s"}})
    for leave in ("close", "reset"):
        client = daemon.client()
        client.greet()
        client.send(request5(hole.host, hole.port))
        assert client.is_quiet(0.3)
        getattr(client, leave)()
    # a FIN alone may be a half-close behind early data: the connect goes on; a RST is the end
    until(lambda: daemon.ledger.find(lambda r: r["event"].get("reason") == "client-reset"),
          "the end of the one that reset")
