"""PROTOCOL read line by line by somebody who doubts it: names and the DNS."""
import socket
import struct
import time

import pytest

from harness.names import A, asked, with_dns
from harness.net import fresh_address
from harness.wait import until


def v4(address):
    return socket.inet_aton(address)


# -- names --------------------------------------------------------------------

@pytest.mark.parametrize("name", [b"ev\\il.test", b"ev\\105l.test", b"\\evil.test", b"evil\\.test",
                                  b"evil.test\\", b"\\"])
@pytest.mark.parametrize("version", [4, 5])
def test_an_escape_leads_around_no_rule(daemons, raw_dns, echo, version, name):
    """What is asked of the DNS is the name that was judged, byte for byte."""
    names = raw_dns(lambda name, kind: [v4("127.0.0.1")] if kind == A else [])
    daemon = daemons(rules='no: { action = "deny"; to = "evil.test" }\n'
                     'yes: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ] }',
                     settings={"dns": {"servers": [names.server]}})
    code, record = asked(daemon, name, echo.port, version)
    assert code == (91 if version == 4 else 4)
    assert record["event"]["reason"] == "name-not-found"
    assert all(question == name.decode() for question, _ in names.asked)
    assert echo.peers == []


@pytest.mark.parametrize("name", [b"a" * 64, b"a" * 64 + b".test", b".".join([b"a" * 63] * 4)])
def test_names_that_the_dns_cannot_hold(daemons, raw_dns, name):
    names = raw_dns(lambda name, kind: [v4("127.0.0.1")] if kind == A else [])
    daemon = with_dns(daemons, names)
    for version in (4, 5):
        code, record = asked(daemon, name, 80, version)
        assert code == (91 if version == 4 else 4)
        assert record["event"]["reason"] == "name-not-found"
        assert record["destination"]["domain"] == name.decode()


@pytest.mark.parametrize("name", [b"a", b"a" * 63, b"_x._tcp.test", b"-a.test", b"xn--caf-dma.test",
                                  b"1e100.test", b"127.0.0.1.test", b"0x7f.test", b"a%00.test"])
def test_names_as_they_come(daemons, raw_dns, echo, name):
    names = raw_dns(lambda name, kind: [v4("127.0.0.1")] if kind == A else [])
    daemon = with_dns(daemons, names)
    for version in (4, 5):
        code, record = asked(daemon, name, echo.port, version)
        assert code == (90 if version == 4 else 0)
        assert record["destination"]["domain"] == name.decode()
    assert (name.decode(), A) in names.asked


@pytest.mark.parametrize("name,address", [
    ("::ffff:127.0.0.1", "127.0.0.1"), ("::FFFF:7f00:1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"),
    ("::1", "::1"), ("0::1.", "::1")])
@pytest.mark.parametrize("version", [4, 5])
def test_a_literal_as_a_name_is_an_address(daemons, raw_dns, targets, ipv6, version, name, address):
    target = targets(host=address)
    names = raw_dns(lambda name, kind: [v4("127.0.0.2")])
    daemon = with_dns(daemons, names)
    code, record = asked(daemon, name.encode(), target.port, version)
    assert code == (90 if version == 4 else 0)
    assert record["destination"]["ip"] == address
    assert names.asked == []


@pytest.mark.parametrize("name", [b"localhost", b"LocalHost.", b"any.thing.localhost"])
def test_localhost_is_here_and_nobody_is_asked(daemons, raw_dns, targets, name):
    """RFC 6761; both families are tried."""
    target = targets()
    names = raw_dns(lambda name, kind: [v4("127.0.0.2")] if kind == A else [])
    daemon = with_dns(daemons, names)
    for version in (4, 5):
        code, record = asked(daemon, name, target.port, version)
        assert code == (90 if version == 4 else 0)
        assert record["destination"]["ip"] == "127.0.0.1"
    assert names.asked == []


def test_names_of_the_hosts_file(daemons, raw_dns, echo):
    """As often as one likes, whichever families it knows."""
    with open("/etc/hosts", encoding="utf-8") as file:
        lines = [line.split("#")[0].split() for line in file]
    hosts = {name.encode() for line in lines for name in line[1:]
             if line[0] == "127.0.0.1" or line[0].startswith("127.0.1.")}
    names = raw_dns(lambda name, kind: [])
    daemon = with_dns(daemons, names)
    for name in hosts:
        for _ in range(3):
            code, record = asked(daemon, name, echo.port)
            assert (code, record["destination"]["ip"].split(".")[0]) in ((0, "127"), (5, "127"))


# -- the DNS ------------------------------------------------------------------

NODATA, NXDOMAIN, SERVFAIL, REFUSED, SILENT = [], 3, 2, 5, None


@pytest.mark.parametrize("a,aaaa,word", [
    (NODATA, NODATA, "name-not-found"), (NXDOMAIN, NXDOMAIN, "name-not-found"),
    (NXDOMAIN, SERVFAIL, "name-not-found"), (SERVFAIL, NXDOMAIN, "name-not-found"),
    (SILENT, NXDOMAIN, "name-not-found"), (SERVFAIL, SERVFAIL, "dns-failed"),
    (REFUSED, REFUSED, "dns-failed"), (SERVFAIL, NODATA, "dns-failed"),
    (NODATA, REFUSED, "dns-failed"), (SILENT, NODATA, "dns-failed"),
    (NODATA, SILENT, "dns-failed"), (SILENT, SILENT, "dns-failed")])
def test_no_address_is_not_always_no_name(daemons, raw_dns, a, aaaa, word):
    """`name-not-found` is said only when the DNS has said so."""
    names = raw_dns(lambda name, kind: a if kind == A else aaaa)
    daemon = with_dns(daemons, names, timeout="300 ms", tries=1)
    code, record = asked(daemon, b"none.test", 80)
    assert record["event"]["reason"] == word
    assert code == {"name-not-found": 4, "dns-failed": 1}[word]


def test_ttl_holds_while_the_other_family_hangs(daemons, raw_dns, targets):
    """A TTL of 0 is not stretched until AAAA gives up."""
    first = targets(host=fresh_address())
    second = targets(host=fresh_address(), port=first.port)
    now = [first.host]
    names = raw_dns(lambda name, kind: [v4(now[0])] if kind == A else None, ttl=0)
    daemon = daemons(settings={"workers": 1, "dns": {"servers": [names.server], "timeout": "10 s",
                                                     "tries": 1}})
    assert asked(daemon, b"moves.test", first.port)[1]["destination"]["ip"] == first.host
    now[0] = second.host
    assert asked(daemon, b"moves.test", first.port)[1]["destination"]["ip"] == second.host


def test_the_smaller_ttl_of_a_late_family_counts(daemons, raw_dns, echo):
    """A at once with a long TTL, AAAA a moment later with TTL 0: nothing is kept."""
    def behave(name, kind):
        if kind == A:
            return [v4("127.0.0.1")]
        time.sleep(0.4)  # the answer is given without it after 250 ms
        names.ttl = 0
        return [socket.inet_pton(socket.AF_INET6, "::1")]
    names = raw_dns(behave)
    daemon = daemons(settings={"workers": 1, "dns": {"servers": [names.server]}})

    def once():
        names.ttl = 300
        return asked(daemon, b"late.test", echo.port)[0]
    # the responder has one thread: A must be answered before AAAA is slept over, so the order of the
    # questions decides whether this is the case meant; either way nothing may stay in the cache
    assert once() == 0
    until(lambda: names.ttl == 0, "the late answer")
    until(lambda: once() == 0 and names.questions("late.test") >= 2, "a second question")


def test_cnames_and_the_smallest_ttl(daemons, raw_dns, echo):
    """www -> cdn -> address: the TTL of a link in the middle is the TTL of all."""
    def label(text):
        return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".")) + b"\0"

    def behave(name, kind):
        question = label("www.test") + struct.pack("!2H", kind, 1)
        middle = label("cdn.test")
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 300, len(middle)) + middle]
        if kind == A:
            target = label("edge.test")
            records.append(middle + struct.pack("!HHIH", 5, 1, 0, len(target)) + target)
            records.append(target + struct.pack("!HHIH", A, 1, 300, 4) + v4("127.0.0.1"))
        return struct.pack("!5H", 0x8180, 1, len(records), 0, 0) + question + b"".join(records)
    names = raw_dns(behave)
    daemon = daemons(settings={"workers": 1, "dns": {"servers": [names.server]}})
    for count in (1, 2, 3):
        code, record = asked(daemon, b"www.test", echo.port)
        assert (code, record["destination"]["ip"]) == (0, "127.0.0.1")
        assert names.questions("www.test") == count


def test_forty_addresses_by_tcp(daemons, dns):
    """More than a datagram holds: the answer is cut, asked for again by TCP, and all are refused."""
    addresses = [fresh_address() for _ in range(40)]
    names = dns({"many.test": addresses}, extra=["--edns-packet-max=512"])
    daemon = with_dns(daemons, names)
    code, record = asked(daemon, b"many.test", 1)
    assert (code, record["event"]["reason"]) == (5, "refused")
    assert record["destination"]["ip"] in addresses
