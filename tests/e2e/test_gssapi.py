"""GSSAPI (RFC 1961) with a real MIT KDC: curl, and a client written from the RFC."""
import os
import signal
import socket
import struct
import subprocess

import pytest

from harness import net
from harness.kerberos import (ABORT, CONFIDENTIALITY, DATA, INTEGRITY, LEVEL, NONE, SELECTIVE, TOKEN, F,
                              FLAGS, HOST, Protected, Realm, Session, frame, read_frame)
from harness.socks import BIND, UDP, request5
from harness.targets import hold
from harness.udp import header, split
from harness.wait import PATIENCE, until

KNOWN = """
  proven: { action = "allow"; who = "known"; auth = "gssapi"; from = "loopback"; to = [ "any", "loopback" ] }
"""
ANN = KNOWN.replace('"known"', '"ann"')
ALL = ["none", "integrity", "confidentiality"]
LEVELS = [NONE, INTEGRITY, CONFIDENTIALITY]
WORDS = dict(zip(LEVELS, ALL))


@pytest.fixture(scope="module")
def realm():
    made = Realm()
    yield made
    made.close()


@pytest.fixture
def ann(realm, monkeypatch):
    """The realm; this process is ann."""
    for name, value in realm.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KRB5CCNAME", realm.ticket())
    return realm


@pytest.fixture
def guarded(daemons, ann):
    def make(rules=KNOWN, protection=ALL, keytab=None, gssapi=None, auth=None, start=True, **kwargs):
        daemon = daemons(rules=rules, start=False, **kwargs)
        daemon.settings["auth"] = {
            "failure-delay": "0 ms", **(auth or {}),
            "gssapi": {"keytab": keytab or ann.keytab, "protection": protection, **(gssapi or {})}}
        return daemon.start() if start else daemon
    return make


def checkers(daemon):
    """The checkers of GSSAPI."""
    found, look = [], [daemon.process.pid]
    while look:
        children = net.children(look.pop())
        look += children
        found += [p for p in children if "gssapi" in daemon.role(p)]
    return found


def denied(daemon, client, reason):
    record = daemon.ledger.last_of(client)
    assert record["event"]["action"] == "session-deny", record
    assert record["event"]["reason"] == reason, record
    return record


def events(daemon, client, action):
    return daemon.ledger.find(lambda r: r["event"]["action"] == action
                              and r.get("source", {}).get("port") == client.port)


# -- curl -----------------------------------------------------------------------------

def serve_http(sock):
    sock.recv(65536)
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")


def curl(daemon, url, *more):
    return subprocess.run(["curl", "-sS", "-v", "--max-time", "20", "--proxy", "socks5h://%s:%d" % daemon.at,
                           "--socks5-gssapi", *more, url], capture_output=True, text=True, timeout=60,
                          check=False)


# Of curl 7.88.1, Debian's: it forgets that it may use GSSAPI when the server's choice of the method is not there
# at once; and when all is agreed on, it ends with the second of these words instead of the request.
FORGOTTEN = "SOCKS5 GSSAPI per-message authentication is not supported"
AT_A_LOSS = "Undocumented SOCKS5 mode attempted to be used by server"


@pytest.mark.parametrize("nec", [[], ["--socks5-gssapi-nec"]])
def test_curl(guarded, targets, nec):
    daemon, target = guarded(ANN), targets(serve_http)
    for _ in range(50):
        done = curl(daemon, "http://%s:%d/" % target.at, "--socks5-gssapi-service", f"rcmd/{HOST}", *nec)
        if FORGOTTEN not in done.stderr:
            break
    assert "SOCKS5 server authenticated user ann@" in done.stderr
    assert "SOCKS5 access without GSS-API data protection granted" in done.stderr
    agreed = daemon.ledger.wait(lambda r: r.get("socks", {}).get("protection") == "none")
    assert agreed["user"]["name"] == "ann"
    assert (agreed["socks"]["auth"], agreed["socks"]["assurance"]) == ("gssapi", "proven")
    if AT_A_LOSS in done.stderr and "curl 7." in subprocess.check_output(["curl", "-V"], text=True):
        return
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr + daemon.log()
    end = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end")
    assert end["destination"]["bytes"] > 6


def test_as_curl_speaks(guarded, echo):
    """What curl does behind that: level none, and then all is as it always was."""
    daemon = guarded(ANN, protection="none")
    with Protected(daemon.client(), NONE, Session(flags=F.mutual_authentication | F.replay_detection),
                   nec=True).begin() as client:
        client.client.send(request5(echo.host, echo.port), b"early")
        assert client.client.reply5().code == 0 and client.client.read(5) == b"early"
    assert daemon.ledger.last_of(client)["socks"]["protection"] == "none"


# -- the client of the RFC ---------------------------------------------------------------

@pytest.mark.parametrize("trickle", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_connect(guarded, echo, level, trickle):
    daemon = guarded(ANN)
    with Protected(daemon.client(), level, trickle=trickle).begin() as client:
        assert client.request(echo.host, echo.port).code == 0
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.fin()
        assert client.read_end() == b""
    end = daemon.ledger.last_of(client)
    assert (end["event"]["action"], end["event"]["reason"]) == ("session-end", "client-closed")
    assert (end["source"]["bytes"], end["destination"]["bytes"]) == (5, 5)
    assert end["user"]["name"] == "ann"
    assert (end["socks"]["auth"], end["socks"]["assurance"]) == ("gssapi", "proven")
    assert end["socks"]["protection"] == WORDS[level]
    success, = events(daemon, client, "auth-success")
    assert success["user"]["name"] == "ann" and success["socks"]["auth"] == "gssapi"


# -- UDP --------------------------------------------------------------------------------

class Associated:
    """An association of a Protected client; each datagram is a frame."""

    def __init__(self, daemon, level):
        self.client = Protected(daemon.client(), level).begin()
        self.session, self.port = self.client.session, self.client.port
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((self.client.client.name[0], 0))
        self.sock.settimeout(PATIENCE)
        reply = self.client.request("0.0.0.0", 0, command=UDP)
        assert reply.code == 0
        self.relay = reply.address, reply.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
        self.client.close()

    def packed(self, data, at):
        data = header(*at) + data
        return data if self.session.level == NONE else self.session.data(data)

    def raw(self, datagram):
        self.sock.sendto(datagram, self.relay)

    def receive(self):
        datagram = self.sock.recv(65536)
        if self.session.level != NONE:
            assert datagram[:2] == bytes([1, DATA])
            assert len(datagram) == 4 + struct.unpack("!H", datagram[2:4])[0]
            datagram = self.session.unwrap(datagram[4:])
        return split(datagram)

    def ask(self, data, at):
        self.raw(self.packed(data, at))
        address, port, answer = self.receive()
        assert (address, port) == tuple(at)
        return answer


@pytest.mark.parametrize("level", LEVELS)
def test_datagrams(guarded, udp_targets, level):
    daemon, target = guarded(ANN), udp_targets()
    sizes = [0, 1, 1400, 60000]
    with Associated(daemon, level) as association:
        for size in sizes:
            data = os.urandom(size)
            assert association.ask(data, target.at) == data
    end = daemon.ledger.last_of(association.client)
    assert (end["source"]["bytes"], end["destination"]["bytes"]) == (sum(sizes), sum(sizes))
    assert end["socks"]["protection"] == WORDS[level]
    assert end["socks"]["dropped"] == 0


@pytest.mark.parametrize("level", [INTEGRITY, CONFIDENTIALITY])
def test_datagrams_lost_late_and_again(guarded, udp_targets, level):
    """They may be lost and overtake each other, but none passes twice, changed, or in the clear."""
    daemon, target = guarded(), udp_targets()
    with Associated(daemon, level) as association:
        packed = [association.packed(bytes([i]), target.at) for i in range(20)]
        bad = bytearray(packed[10])
        bad[-1] ^= 1
        for datagram in (packed[5], packed[5], packed[2], packed[2], bytes(bad), packed[10][:-1],
                         packed[10] + b"x", header(*target.at) + b"clear", b"", b"\1\3", b"\1\xff",
                         packed[19], packed[5], packed[10], packed[0]):
            association.raw(datagram)
        assert [association.receive()[2] for _ in range(5)] == [bytes([i]) for i in (5, 2, 19, 10, 0)]
        late = association.packed(b"late", target.at)
        for _ in range(1100):
            association.packed(b"lost", target.at)
        assert association.ask(b"now", target.at) == b"now"
        association.raw(late)
        assert association.ask(b"end", target.at) == b"end"
    assert [data for data, _ in target.got] == [bytes([5]), bytes([2]), bytes([19]), bytes([10]), bytes([0]),
                                                b"now", b"end"]
    end = daemon.ledger.last_of(association.client)
    assert end["socks"]["dropped"] == 15 - 5 + 1


# -- BIND -------------------------------------------------------------------------------

@pytest.mark.parametrize("level", LEVELS)
def test_bind(guarded, level):
    daemon = guarded(KNOWN.replace("from =", 'command = "bind"; from ='))
    with Protected(daemon.client(), level).begin() as client:
        first = client.request("127.0.0.1", 0, command=BIND)
        assert first.code == 0
        with socket.create_connection((first.address, first.port), PATIENCE) as peer:
            second = client.reply()
            assert (second.code, second.port) == (0, peer.getsockname()[1])
            peer.sendall(b"220 hello\r\n")
            assert client.read(11) == b"220 hello\r\n"
            client.send(b"QUIT")
            assert peer.recv(10) == b"QUIT"
    end = daemon.ledger.last_of(client)
    assert (end["source"]["bytes"], end["destination"]["bytes"]) == (4, 11)
    assert end["socks"]["protection"] == WORDS[level]
