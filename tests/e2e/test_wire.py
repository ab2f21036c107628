"""What goes over the wire, byte for byte (PROTOCOL): requests cut anywhere, all in one packet,
with data behind them; each reply and its code; what is malformed and how it is answered."""
import struct
import time

import pytest

from harness.net import fresh_address
from harness.targets import hold
from harness.socks import greeting, request4, request5

OK5 = b"\x05\x00"


@pytest.fixture
def named(daemons, dns):
    """A server that knows names."""
    names = dns({"echo.test": ["127.0.0.1"], "six.test": ["::1"]})
    return daemons(settings={"dns": {"servers": [names.server]}})


def all_requests(port):
    """(name, bytes of the whole handshake, length of the replies)"""
    return {
        "socks4": request4("127.0.0.1", port, b"someone"),
        "socks4a": request4("echo.test", port, b""),
        "socks5-ipv4": greeting() + request5("127.0.0.1", port),
        "socks5-ipv6": greeting(b"\x02\x00") + request5("::1", port),
        "socks5-name": greeting() + request5("echo.test", port),
    }


def reply_of(client, kind):
    if kind.startswith("socks4"):
        return client.reply4(), 90
    assert client.read(2) == OK5
    return client.reply5(), 0


KINDS = ["socks4", "socks4a", "socks5-ipv4", "socks5-ipv6", "socks5-name"]


@pytest.fixture
def either(targets, ipv6):
    """An echo target on the same port of 127.0.0.1 and ::1."""
    for _ in range(50):
        four = targets()
        try:
            targets(host="::1", port=four.port)
            return four
        except OSError:
            continue
    raise AssertionError("no port is free on both loopback addresses")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_each_byte(named, either, kind):
    """Any chopping gives the same result."""
    whole = all_requests(either.port)[kind]
    for cut in range(1, len(whole)):
        with named.client() as client:
            client.send(whole[:cut])
            time.sleep(0.002)  # only makes two reads of it more likely: the result is the same
            client.send(whole[cut:])
            reply, granted = reply_of(client, kind)
            assert reply.code == granted, (cut, reply)
            client.send(b"x")
            assert client.read(1) == b"x"


@pytest.mark.parametrize("kind", KINDS)
def test_byte_by_byte(named, either, kind):
    with named.client() as client:
        client.trickle(all_requests(either.port)[kind] + b"early")
        reply, granted = reply_of(client, kind)
        assert reply.code == granted
        assert client.read(5) == b"early"


@pytest.mark.parametrize("kind", KINDS)
def test_all_in_one_packet_with_early_data(named, either, kind):
    """Bytes behind the request reach the target first, once, in order."""
    early = bytes(range(256)) * 3
    with named.client() as client:
        client.send(all_requests(either.port)[kind] + early)
        reply, granted = reply_of(client, kind)
        assert reply.code == granted
        client.send(b"later")
        assert client.read(len(early) + 5) == early + b"later"
        client.fin()
        assert client.read_end() == b""
    end = named.ledger.last_of(client)
    assert end["source"]["bytes"] == end["destination"]["bytes"] == len(early) + 5


@pytest.mark.parametrize("kind", KINDS)
def test_fin_behind_early_data(named, either, kind):
    """The client may half-close after sending everything."""
    with named.client() as client:
        client.send(all_requests(either.port)[kind] + b"all of it")
        client.fin()
        reply, granted = reply_of(client, kind)
        assert reply.code == granted
        assert client.read_end() == b"all of it"
    assert named.ledger.last_of(client)["event"]["action"] == "session-end"


@pytest.mark.parametrize("size", [1, 4096, 65536, 1 << 20])
def test_much_early_data(daemon, echo, size):
    """More than any handshake buffer holds."""
    early = bytes(i % 251 for i in range(size))
    with daemon.client() as client:
        client.send(greeting() + request5("127.0.0.1", echo.port) + early[:size // 2])
        assert client.read(2) == OK5
        assert client.reply5().code == 0
        client.send(early[size // 2:])
        client.fin()
        assert client.read_end() == early


# -- the address in the reply -------------------------------------------------

def test_bound_address_socks5(daemon, echo):
    with daemon.client() as client:
        reply = client.connect5("127.0.0.1", echo.port)
        client.send(b"x").read(1)
        assert (reply.address, reply.port) == echo.peers[0][:2]
    start = daemon.ledger.of(client, "session-start")
    assert start["source"]["nat"] == {"ip": reply.address, "port": reply.port}


def test_bound_address_socks5_ipv6(daemon, targets, ipv6):
    target = targets(host="::1")
    with daemon.client() as client:
        reply = client.connect5("::1", target.port)
        client.send(b"x").read(1)
        assert (reply.address, reply.port) == target.peers[0][:2]


def test_bound_address_socks4(daemon, echo):
    with daemon.client() as client:
        reply = client.connect4("127.0.0.1", echo.port)
        client.send(b"x").read(1)
        assert (reply.address, reply.port) == echo.peers[0][:2]


def test_4a_name_that_is_ipv6_is_granted_with_address_0(named, targets, ipv6):
    target = targets(host="::1")
    with named.client() as client:
        reply = client.connect4("six.test", target.port)
        assert (reply.code, reply.address) == (90, "0.0.0.0")
        assert client.send(b"six").read(3) == b"six"


def test_a_refusal_names_no_address(daemon):
    with daemon.client() as client:
        client.greet()
        client.send(request5(fresh_address(), 1))
        assert client.read_end() == b"\x05\x05\x00\x01\0\0\0\0\0\0"
    with daemon.client() as client:
        client.send(request4(fresh_address(), 1))
        assert client.read_end()[:2] == b"\x00\x5b"


# -- methods ------------------------------------------------------------------

def test_no_acceptable_method(daemon):
    with daemon.client() as client:
        client.send(greeting(b"\x02"))
        assert client.read_end() == b"\x05\xff"
    record = daemon.ledger.last_of(client)
    assert (record["event"]["action"], record["event"]["reason"]) == ("session-deny", "denied")


def test_methods_nobody_knows(daemon):
    with daemon.client() as client:
        client.send(greeting(bytes(range(0x80, 0xff))))
        assert client.read_end() == b"\x05\xff"


def test_none_is_chosen_among_many(daemon, echo):
    with daemon.client() as client:
        client.send(greeting(bytes(range(255))))
        assert client.read(2) == OK5
        client.send(request5("127.0.0.1", echo.port))
        assert client.reply5().code == 0


def test_greeting_with_no_methods(daemon):
    with daemon.client() as client:
        client.send(b"\x05\x00")
        assert client.read_end() == b"\x05\xff"
    assert daemon.ledger.last_of(client)["event"]["reason"] == "malformed"


def test_a_refused_greeting_ignores_what_stands_behind(daemon, echo):
    with daemon.client() as client:
        client.send(greeting(b"\x02") + request5("127.0.0.1", echo.port) + b"x" * 10000)
        assert client.read_end() == b"\x05\xff"
    daemon.ledger.last_of(client)
    assert echo.peers == []


# -- what is refused, and how -------------------------------------------------

def refusal5(daemon, request, code, reason, more=b""):
    """The request is answered with code, whole and without a reset, and recorded."""
    with daemon.client() as client:
        assert client.greet() == OK5
        client.send(request + more)
        raw = client.read_end()
        assert len(raw) == 10 and raw[0] == 5 and raw[2:4] == b"\0\1", raw
        assert raw[1] == code, raw
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == reason, record
    assert record["socks"]["reply"] == code
    return record


def refusal4(daemon, request, reason, code=91, more=b""):
    with daemon.client() as client:
        client.send(request + more)
        raw = client.read_end()
        assert len(raw) == 8 and raw[:2] == bytes([0, code]), raw
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == reason, record
    assert record["socks"]["reply"] == code
    return record


@pytest.mark.parametrize("command", [0, 4, 5, 0x7f, 0x80, 0xf0, 0xff])
def test_unknown_command_socks5(daemon, echo, command):
    refusal5(daemon, request5("127.0.0.1", echo.port, command), 7, "malformed")


@pytest.mark.parametrize("command", [0, 3, 4, 0xff])
def test_other_commands_socks4(daemon, echo, command):
    refusal4(daemon, request4("127.0.0.1", echo.port, b"me", command), "malformed")


@pytest.mark.parametrize("atyp", [0, 2, 5, 0x7f, 0x83, 0xff])
def test_unknown_address_type(daemon, atyp):
    refusal5(daemon, bytes([5, 1, 0, atyp]) + b"\x7f\0\0\1\0\x50", 8, "malformed")


def test_unknown_address_type_is_answered_at_once(daemon):
    """How long such an address is, nobody knows: no more is waited for."""
    refusal5(daemon, b"\x05\x01\x00\x09", 8, "malformed")


@pytest.mark.parametrize("rsv", [1, 0x80, 0xff])
def test_reserved_byte(daemon, echo, rsv):
    refusal5(daemon, request5("127.0.0.1", echo.port, rsv=rsv), 1, "malformed")


def short(value):
    """A readable id of a test's bytes."""
    return ascii(value)[:24] if isinstance(value, bytes) else None


BAD_NAMES = [b"localhost\0.evil.test", b"\0", b"a\0", b"a b.test", b"a\nb.test", b"a\x1b[31m.test",
             b"\x7f.test", b"caf\xc3\xa9.test", b"\xff\xfe", b"", b".", b"a..test", b".test",
             b"127.1", b"2130706433", b"0x7f000001", b"127.0.0.01", b"0177.0.0.1", b"1.2.3.4.5",
             b"foo.1"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=short)
def test_bad_names_socks5(daemon, name):
    refusal5(daemon, request5(name, 80), 1, "malformed")


@pytest.mark.parametrize("name", [n for n in BAD_NAMES if b"\0" not in n], ids=short)
def test_bad_names_socks4a(daemon, name):
    refusal4(daemon, request4(name, 80), "malformed")


def test_a_bad_name_is_recorded_escaped(daemon):
    name = b"evil\n{\"@timestamp\"\x1b[2J\0\xff"
    with daemon.client() as client:
        client.greet()
        client.send(request5(name, 80))
        client.read_end()
    record = daemon.ledger.last_of(client)
    assert "evil" in record["destination"]["domain"]
    for line in daemon.ledger.lines():
        assert all(0x20 <= byte <= 0x7e for byte in line), line


@pytest.mark.parametrize("port", [0])
def test_port_0_is_just_a_port(daemon, port):
    """Nothing answers there; it is judged like any other (POLICY, 10)."""
    with daemon.client() as client:
        reply = client.connect5("127.0.0.1", port)
        assert reply.code not in (0, 7, 8), reply


def test_literals_sent_as_names(daemon, echo):
    for name in ("127.0.0.1", "127.0.0.1."):
        with daemon.client() as client:
            client.greet()
            client.send(request5(name, echo.port, name=True))
            assert client.reply5().code == 0
        with daemon.client() as client:
            client.send(request4(name, echo.port, name=True))
            assert client.reply4().code == 90


def test_ipv6_literal_sent_as_name(daemon, targets, ipv6):
    target = targets(host="::1")
    for name in ("::1", "0:0:0:0:0:0:0:1"):
        with daemon.client() as client:
            client.greet()
            client.send(request5(name, target.port, name=True))
            assert client.reply5().code == 0


def test_mapped_address_is_ipv4(daemon, echo):
    with daemon.client() as client:
        client.greet()
        client.send(request5("::ffff:127.0.0.1", echo.port))
        reply = client.reply5()
        assert (reply.code, reply.address) == (0, "127.0.0.1")
    assert daemon.ledger.of(client, "session-start")["destination"]["ip"] == "127.0.0.1"


@pytest.mark.parametrize("sent", ["ECHO.Test", "echo.test.", "Echo.TEST."])
def test_case_and_trailing_dot(named, echo, sent):
    """Compared without them; recorded as it came."""
    with named.client() as client:
        assert client.connect5(sent, echo.port).code == 0
    assert named.ledger.of(client, "session-start")["destination"]["domain"] == sent


def label_name(size):
    """A name of this many bytes, in labels of at most 63."""
    name = ".test"
    while len(name) < size:
        name = "." + "a" * min(50, size - len(name) - 1) + name
    return name[1:] if len(name) == size + 1 else "x" + name[1:]


def test_longest_names(daemons, dns, echo):
    longest = label_name(253)
    assert len(longest) == 253
    names = dns({longest: ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    with daemon.client() as client:
        assert client.connect5(longest, echo.port).code == 0
    assert daemon.ledger.of(client, "session-start")["destination"]["domain"] == longest
    with daemon.client() as client:
        assert client.connect4(longest, echo.port, b"u" * 255).code == 90


def test_a_name_of_255_bytes_is_read_whole(daemons, dns):
    """No such name can be in the DNS, but it is a whole request and gets a whole answer."""
    name = label_name(255)
    assert len(name) == 255
    daemon = daemons(settings={"dns": {"servers": [dns({}).server]}})
    with daemon.client() as client:
        client.greet()
        client.send(request5(name, 80))
        raw = client.read_end()
        assert len(raw) == 10 and raw[1] in (1, 4), raw
    assert daemon.ledger.last_of(client)["destination"]["domain"] == name


@pytest.mark.parametrize("size", [0, 1, 254, 255])
def test_userid_up_to_255_bytes(daemon, echo, size):
    with daemon.client() as client:
        assert client.connect4("127.0.0.1", echo.port, b"u" * size).code == 90


def test_userid_too_long(daemon, echo):
    refusal4(daemon, request4("127.0.0.1", echo.port, b"u" * 256), "malformed")
    # as soon as it is certain, without the NUL
    refusal4(daemon, request4("127.0.0.1", echo.port, b"u" * 256)[:-1], "malformed")
    refusal4(daemon, request4("127.0.0.1", echo.port, b"u" * 20000), "malformed")


def test_4a_name_too_long(daemon, echo):
    refusal4(daemon, request4(b"n" * 256, echo.port), "malformed")
    refusal4(daemon, request4(b"n" * 20000, echo.port)[:-1], "malformed")


def test_userid_is_recorded_escaped(daemon, echo):
    with daemon.client() as client:
        assert client.connect4("127.0.0.1", echo.port, b'ev"il\\\x1b\n\xff').code == 90
        client.send(b"x").read(1)
    daemon.ledger.last_of(client)
    for line in daemon.ledger.lines():
        assert all(0x20 <= byte <= 0x7e for byte in line), line


def test_socks4_0_0_0_0_is_no_name(daemon):
    """0.0.0.x with x not 0 is 4a; 0.0.0.0 is an address (ours: builtin:self or denied)."""
    with daemon.client() as client:
        client.send(struct.pack("!BBH4s", 4, 1, 80, b"\0\0\0\0") + b"\0")
        assert client.read_end()[:2] == b"\0\x5b"


# -- the first byte -----------------------------------------------------------

@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00",
                                  b"\0", b"\x03", b"\x06\x01\x00", b"\xff" * 5000, b"SSH-2.0-x\r\n"],
                         ids=short)
def test_not_socks(daemon, data):
    """Closed without a byte (and without care for what we did not read)."""
    with daemon.client() as client:
        client.send(data)
        try:
            assert client.read_end() == b""
        except ConnectionResetError:
            pass
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "not-socks"
    assert "reply" not in record["socks"]


@pytest.mark.parametrize("first", [0, 1, 4, 6, 0xff])
def test_only_socks5_may_follow_a_greeting(daemon, echo, first):
    request = bytes([first]) + request5("127.0.0.1", echo.port)[1:]
    refusal5(daemon, request, 1, "malformed")
    assert echo.peers == []


def test_a_second_greeting_is_malformed(daemon):
    """05 01 00 again reads as CONNECT, RSV 0 and so on: its type byte tells."""
    with daemon.client() as client:
        client.greet()
        client.send(greeting(b"\x00\x02"))  # 05 02 00 02: BIND, address type 2
        raw = client.read_end()
        assert raw[:2] == b"\x05\x08", raw


@pytest.mark.parametrize("more", [1, 1000, 100000])
def test_bytes_behind_a_refused_request(daemon, more):
    """They are ignored, and they do not destroy the reply by a reset."""
    refusal5(daemon, request5(fresh_address(), 9), 5, "refused", more=b"z" * more)
    refusal4(daemon, request4(fresh_address(), 9), "refused", more=b"z" * more)
    refusal5(daemon, request5("127.0.0.1", 9, 9), 7, "malformed", more=b"z" * more)


def test_client_that_keeps_sending_after_a_refusal(daemon):
    """The reply is read late, after much more was sent."""
    with daemon.client() as client:
        client.greet()
        client.send(request5(fresh_address(), 9))
        daemon.ledger.last_of(client)
        try:
            for _ in range(20):
                client.send(b"z" * 1000)
                time.sleep(0.005)
        except OSError:
            pass  # lingering is brief, the reply has long arrived
        assert client.read(10)[:2] == b"\x05\x05"


# -- clients that leave -------------------------------------------------------

@pytest.mark.parametrize("data", [b"", b"\x04", b"\x05", b"\x05\x01", b"\x04\x01\0\x50\x7f",
                                  greeting(), greeting() + b"\x05\x01\0"], ids=short)
def test_client_leaves_in_the_handshake(daemon, data):
    with daemon.client() as client:
        client.send(data)
        if data.startswith(greeting()):
            assert client.read(2) == OK5
        client.fin()
        client.read_end()
    if data:
        assert daemon.ledger.last_of(client)["event"]["reason"] == "client-closed"


def test_client_resets_in_the_handshake(daemon):
    client = daemon.client()
    client.greet()
    client.send(b"\x05\x01")
    client.reset()
    assert daemon.ledger.last_of(client)["event"]["reason"] == "client-reset"


# -- the whole-handshake deadline ---------------------------------------------

@pytest.fixture
def hasty(daemons):
    return daemons(settings={"timeouts": {"handshake": "1 s"}})


@pytest.mark.parametrize("data,answer", [(b"", b""), (b"\x05", b""), (b"\x05\x02\x00", b""),
                                         (b"\x04\x01", b"\0\x5b"),
                                         (greeting() + b"\x05\x01", b"\x05\0\x05\x01")], ids=short)
def test_handshake_deadline(hasty, data, answer):
    with hasty.client() as client:
        start = time.monotonic()
        client.send(data)
        raw = client.read_end()
        assert raw[:len(answer)] == answer and (answer or not raw), raw
        assert 0.9 < time.monotonic() - start < 5
    assert hasty.ledger.last_of(client)["event"]["reason"] == "handshake-timeout"


def test_handshake_deadline_is_for_the_whole(hasty):
    """A byte now and then does not buy more time."""
    with hasty.client() as client:
        start = time.monotonic()
        try:
            for byte in request4("127.0.0.1", 80, b"u" * 200):
                client.send(bytes([byte]))
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - start < 10
    assert hasty.ledger.last_of(client)["event"]["reason"] == "handshake-timeout"


def test_deadline_ends_with_the_request(daemons, targets):
    """A session that stands has no handshake deadline any more."""
    target = targets(hold)
    daemon = daemons(settings={"timeouts": {"handshake": "1 s"}})
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", target.port).code == 0
        sock = target.take()
        assert client.is_quiet(2)
        sock.sendall(b"still here")
        assert client.read(10) == b"still here"
