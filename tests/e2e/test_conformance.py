"""PROTOCOL read line by line by somebody who doubts it: what happens at the edges of the rules."""
import os
import signal
import socket
import struct
import threading
import time

import pytest

from harness.names import asked, with_dns
from harness.net import fresh_address, free_port6
from harness.socks import greeting, request4, request5
from harness.targets import hold, say_and_close
from harness.wait import until

GREETED = b"\x05\x00"


def linger_zero(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def request(version, host, port):
    return request4(host, port) if version == 4 else greeting() + request5(host, port)


# -- a FIN before the reply ---------------------------------------------------

@pytest.mark.parametrize("early", [0, 1, 1000, 100000])
@pytest.mark.parametrize("version", [4, 5])
def test_fin_behind_everything(daemon, echo, version, early):
    """The client may half-close after sending everything, also if that was the request alone."""
    data = bytes(i % 251 for i in range(early))
    for _ in range(1 if early > 1000 else 40):
        with daemon.client() as client:
            client.send(request(version, "127.0.0.1", echo.port) + data)
            client.fin()
            answer = client.read_end()
        size = 8 if version == 4 else 12
        assert answer[size:] == data
        assert answer[:2] == (b"\0\x5a" if version == 4 else GREETED)


def test_fin_behind_a_request_for_a_banner(daemon, targets):
    """Nothing to say, much to hear; the FIN comes while we connect, or as it likes."""
    target = targets(say_and_close(b"welcome"))
    for _ in range(100):
        with daemon.client() as client:
            assert client.greet() == GREETED
            client.send(request5("127.0.0.1", target.port))
            client.fin()
            assert client.read_end()[10:] == b"welcome"


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("stage", ["resolving", "connecting"])
@pytest.mark.parametrize("burst", [False, True], ids=["later", "at-once"])
def test_a_client_that_leaves_is_let_go(daemons, raw_dns, black_holes, version, stage, burst):
    """Long before any deadline: nobody waits for the answer."""
    hole = black_holes()
    names = raw_dns(lambda name, kind: None)
    daemon = with_dns(daemons, names, timeout="20 s", tries=1)
    client = daemon.client()
    if version == 5:
        client.greet()
    body = request4 if version == 4 else request5
    client.send(body(*(("hangs.test", 80) if stage == "resolving" else hole.at)))
    if not burst:
        assert client.is_quiet(0.4)
    client.close()
    end = daemon.ledger.last_of(client, seconds=5)
    assert (end["event"]["action"], end["event"]["reason"]) == ("session-fail", "client-closed")
    assert "reply" not in end["socks"]
    until(lambda: all(daemon.socket_count(pid) <= count + (stage == "resolving")
                      for pid, count in daemon.baseline.items()), "the sockets to be closed", 5)


# -- refusals arrive ----------------------------------------------------------

@pytest.mark.parametrize("fin", [False, True], ids=["open", "fin"])
@pytest.mark.parametrize("size", [1, 1000, 100_000, 900_000])
def test_no_reset_destroys_a_refusal(daemon, size, fin):
    """Bytes behind a refused request are ignored, whatever they are."""
    nowhere = fresh_address()
    cases = ((request4(nowhere, 1), b"\0\x5b" + bytes(6)),
             (greeting() + request5(nowhere, 1), GREETED + b"\5\5\0\1" + bytes(6)),
             (greeting() + b"\x05\x01\x00\x09", GREETED + b"\5\x08\0\1" + bytes(6)),
             (greeting(b"\x02"), b"\x05\xff"),
             (b"GET / HTTP/1.0\r\n", b""))
    for head, answer in cases:
        with daemon.client() as client:
            try:
                client.send(head + b"x" * size)
                if fin:
                    client.fin()
            except OSError as error:
                assert fin and error.errno == 107, error  # all over already, in good order
            assert client.read_end() == answer


def test_one_over_the_limit_sees_an_end_and_no_reset(daemons, targets):
    daemon = daemons(settings={"limits": {"sessions": 1}, "workers": 1})
    target = targets(hold)
    with daemon.client() as first:
        assert first.connect5(target.host, target.port).code == 0
        worker = daemon.workers()[0]
        for _ in range(10):
            os.kill(worker, signal.SIGSTOP)  # the greeting is there before it is refused
            with daemon.client() as client:
                client.send(greeting() + b"x" * 5000)
                os.kill(worker, signal.SIGCONT)
                assert client.read_end() == b""
            assert daemon.ledger.last_of(client)["event"]["reason"] == "limit"


def test_a_client_that_never_stops_sending_is_cut_off(daemon):
    """A refusal is no licence to send for ever."""
    with daemon.client() as client:
        client.send(request4(fresh_address(), 1))
        assert client.reply4().code == 91
        with pytest.raises(OSError):
            for _ in range(1000):
                client.send(b"x" * 65536)


# -- the relay ----------------------------------------------------------------

@pytest.mark.parametrize("size", [10, 5000, 30_000])
def test_what_came_before_a_reset_arrives(daemon, targets, size):
    """RST passes as RST, behind the bytes that the target has sent before it."""
    target = targets(hold)
    data = bytes(i % 251 for i in range(size))
    for _ in range(20):
        with daemon.client() as client:
            assert client.connect5("127.0.0.1", target.port).code == 0
            sock = target.take()
            sock.sendall(data)
            linger_zero(sock)
            sock.close()
            got = bytearray()
            with pytest.raises(ConnectionResetError):
                while True:
                    more = client.sock.recv(65536)
                    assert more, "a FIN, not a RST"
                    got += more
            assert got == data
        end = daemon.ledger.last_of(client)
        assert end["event"]["reason"] == "target-reset"
        assert end["destination"]["bytes"] == size


@pytest.mark.parametrize("fin", [False, True], ids=["open", "fin"])
@pytest.mark.parametrize("bulk", [0, 1 << 20])
@pytest.mark.parametrize("way", ["up", "down"])
def test_urgent_bytes_stay_among_the_others(daemons, targets, way, bulk, fin):
    """Telnet and FTP send them: none is lost, and what stands behind them does not wait."""
    daemon = daemons(settings={"workers": 1})
    target = targets(hold)
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", target.port).code == 0
        ends = client.sock, target.take()
        here, there = ends if way == "up" else ends[::-1]
        head = b"." * bulk
        sender = threading.Thread(target=here.sendall, args=(head,))
        sender.start()
        got = bytearray()
        while len(got) < bulk:
            got += there.recv(65536)
        sender.join()
        worker = daemon.workers()[0]
        os.kill(worker, signal.SIGSTOP)  # all of it is there before the first is read
        here.sendall(b"abc")
        here.send(b"!", socket.MSG_OOB)
        here.sendall(b"def")
        here.send(b"?", socket.MSG_OOB)
        here.sendall(b"ghi")
        if fin:
            here.shutdown(socket.SHUT_WR)
        os.kill(worker, signal.SIGCONT)
        while len(got) < bulk + 11:
            more = there.recv(65536)
            assert more, bytes(got[bulk:])
            got += more
        assert got == head + b"abc!def?ghi"
        if fin:
            assert there.recv(1) == b""


# -- ourselves ----------------------------------------------------------------

EVERYTHING = 'all: { action = "allow"; from = "loopback"; to = [ "any", "loopback", "unspecified" ] }'


@pytest.mark.parametrize("listener,ways", [
    ("127.0.0.1", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"]),
    ("0.0.0.0", ["127.0.0.1", "127.9.8.7", "0.0.0.0", "::", "::ffff:127.3.2.1", "localhost."]),
    ("::1", ["::1", "::", "localhost"])])
def test_no_way_leads_to_ourselves(daemons, ipv6, listener, ways):
    port = free_port6()
    daemon = daemons(start=False, listeners={"all": {"address": listener, "port": port}},
                     rules=EVERYTHING)
    daemon.at = "::1" if listener == "::1" else "127.0.0.1", port
    daemon.start()
    for way in ways:
        for version in (4, 5):
            code, record = asked(daemon, way.encode(), port, version)
            assert code in ((91,) if version == 4 else (2, 5)), way
            if code == 5:  # another address of `localhost` was allowed, and nothing is there
                assert record["destination"]["ip"] != listener
            elif record["event"]["reason"] == "denied":
                assert record["rule"]["id"] == "builtin:self", way


# -- deadlines ----------------------------------------------------------------

@pytest.mark.parametrize("version", [4, 5])
def test_trickling_does_not_extend_the_handshake(daemons, version):
    """The deadline is from accept to the last byte of the request, not per read."""
    daemon = daemons(settings={"timeouts": {"handshake": "1 s"}})
    start = time.monotonic()
    with daemon.client() as client:
        client.send(b"\x04\x01\x00\x50\x7f\0\0\1" if version == 4 else greeting() + b"\5\1\0\3\xff")
        while time.monotonic() < start + 0.9:
            client.send(b"a")
            time.sleep(0.02)
        answer = client.read_end()
        took = time.monotonic() - start
        assert answer == (b"\0\x5b" + bytes(6) if version == 4
                          else GREETED + b"\5\1\0\1" + bytes(6))
    end = daemon.ledger.last_of(client)
    assert end["event"]["reason"] == "handshake-timeout"
    assert 0.99 < took < 2.5


# -- a reload between greeting and request ------------------------------------

def test_a_reload_renumbers_no_listener(daemons, echo):
    """The rules name listeners; another order in the new file changes nothing."""
    first, second = fresh_address(), fresh_address()
    rules = 'only: { action = "allow"; from = "loopback"; to = "loopback"; listener = "%s" }'
    daemon = daemons(rules='all: { action = "allow"; from = "loopback"; to = "loopback" }',
                     listeners={"aa": {"address": first, "port": 1080},
                                "bb": {"address": second, "port": 1080}})
    clients = {}
    for name, at in (("aa", first), ("bb", second)):
        daemon.at = at, 1080
        clients[name] = daemon.client()
        assert clients[name].greet() == GREETED
    daemon.listeners = dict(reversed(list(daemon.listeners.items())))
    assert daemon.reload(rules=rules % "aa")["event"]["action"] == "policy-load"
    hash_now = daemon.ledger.records()[-1]["policy"]["hash"]

    def judged_by_the_new_one():
        with daemon.client() as probe:  # a client of bb: nothing is possible any more
            return probe.send(greeting()).read_end() in (b"", b"\x05\xff")
    until(judged_by_the_new_one, f"policy {hash_now}")
    for name, code in (("aa", 0), ("bb", 2)):
        clients[name].send(request5("127.0.0.1", echo.port))
        assert clients[name].reply5().code == code, name
        clients[name].close()
