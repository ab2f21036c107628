"""UDP ASSOCIATE: what passes, what does not, and what is recorded of it."""
import os
import resource
import signal
import socket
import struct

import pytest

from harness import net
from harness.socks import UDP, request4, request5
from harness.udp import Association, UdpTarget, header, split
from harness.wait import until


def destinations(daemon, association, count=1):
    """The udp-destination records of an association, once there are so many."""
    got = daemon.ledger.wait(
        lambda r: r["event"]["action"] == "udp-destination"
        and r["source"]["port"] == association.port, "udp-destination", count=count)
    return [got] if count == 1 else got


def denied_to(port):
    return lambda r: (r["event"]["action"] == "udp-destination"
                      and r["event"]["reason"] == "denied" and r["destination"]["port"] == port)


# -- what passes ---------------------------------------------------------------

def test_echo_and_its_records(daemon, udp_targets):
    target = udp_targets()
    with Association(daemon) as a:
        assert a.reply.address == daemon.at[0]
        assert a.ask(b"ping", target.at) == b"ping"
        a.send(b"pong!", target.at)
        assert a.receive() == (b"pong!", target.at)
        start = daemon.ledger.of(a, "session-start")
        assert start["socks"]["command"] == "udp-associate"
        assert start["network"]["transport"] == "udp"
        assert start["source"]["nat"] == {"ip": a.relay[0], "port": a.relay[1]}
        assert "ip" not in start.get("destination", {})
    end = daemon.ledger.last_of(a)
    assert end["event"]["reason"] == "client-closed"
    assert end["source"]["bytes"] == end["destination"]["bytes"] == 9
    assert end["source"]["packets"] == end["destination"]["packets"] == 2
    assert end["socks"]["dropped"] == 0
    one, = destinations(daemon, a)
    assert (one["destination"]["ip"], one["destination"]["port"]) == target.at
    assert one["source"]["packets"] == one["destination"]["packets"] == 2
    assert one["source"]["bytes"] == one["destination"]["bytes"] == 9
    assert one["rule"]["id"] == "local"
    assert one["event"]["reason"] == "client-closed"
    assert one["socks"]["session"] == end["socks"]["session"]
    assert one["event"]["id"] != end["event"]["id"]
    # where the target saw us
    assert (one["source"]["nat"]["ip"], one["source"]["nat"]["port"]) == target.got[0][1]


def test_ipv6(daemon, ipv6, udp_targets):
    target = udp_targets(host="::1")
    with Association(daemon) as a:
        a.send(b"six", target.at)
        assert a.receive() == (b"six", target.at)
    assert destinations(daemon, a)[0]["network"]["type"] == "ipv6"


def test_over_an_ipv6_listener(daemons, ipv6, udp_targets):
    daemon = daemons(ipv6=True)
    four, six = udp_targets(), udp_targets(host="::1")
    with Association(daemon, announce=("::", 0), at=6) as a:
        assert a.reply.address == "::1"
        for target in four, six:
            a.send(b"x", target.at)
            assert a.receive() == (b"x", target.at)


def test_names(daemons, dns, udp_targets):
    target = udp_targets()
    names = dns({"echo.test": [target.host]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    with Association(daemon) as a:
        for i in range(3):
            a.send(b"%d" % i, ("Echo.TEST", target.port))
            # the header of an answer names the true source
            assert a.receive() == (b"%d" % i, target.at)
    one, = destinations(daemon, a)
    assert one["destination"]["domain"] == "Echo.TEST"
    assert one["destination"]["ip"] == target.host
    assert one["source"]["packets"] == 3
    assert names.queries("echo.test") == 1


def test_datagrams_wait_for_a_name(daemons, raw_dns, udp_targets):
    """Asynchronously: what is sent elsewhere passes meanwhile; a bounded number waits."""
    target = udp_targets()
    late = []

    def behave(name, kind):
        if not late:
            return None
        return [socket.inet_aton(target.host)] if kind == 1 else []
    names = raw_dns(behave)
    daemon = daemons(settings={"dns": {"servers": [names.server], "timeout": "500 ms",
                                       "tries": 10}})
    with Association(daemon) as a:
        for i in range(100):
            a.send(b"%d" % i, ("slow.test", target.port))
        assert a.ask(b"meanwhile", target.at) == b"meanwhile"
        late.append(True)
        first = [a.receive()[0] for _ in range(32)]
        assert first == [b"%d" % i for i in range(32)]
        assert a.ask(b"after", ("slow.test", target.port)) == b"after"
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 68


@pytest.mark.parametrize("answer,reason", [(3, "name-not-found"), (2, "dns-failed")])
def test_a_name_that_does_not_resolve(daemons, raw_dns, answer, reason):
    names = raw_dns(lambda name, kind: answer)
    daemon = daemons(settings={"dns": {"servers": [names.server], "timeout": "500 ms",
                                       "tries": 1}})
    with Association(daemon) as a:
        for _ in range(5):
            a.send(b"x", ("nowhere.test", 53))
        one, = destinations(daemon, a)
        assert one["event"]["reason"] == reason
        assert one["source"]["packets"] == 0
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 5
    assert len(daemon.ledger.find(lambda r: r["event"]["action"] == "udp-destination")) == 1


def test_each_answer_is_judged(daemons, dns, udp_targets):
    """The first permitted address in order is used."""
    target = udp_targets()
    names = dns({"both.test": ["127.66.6.6", target.host], "bad.test": ["127.66.6.6"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}}, rules="""
      no: { action = "deny"; to = "127.66.6.6/32" }
      yes: { action = "allow"; from = "loopback"; to = "loopback" }""")
    with Association(daemon) as a:
        assert a.ask(b"x", ("both.test", target.port)) == b"x"
        a.send(b"x", ("bad.test", target.port))
        bad = daemon.ledger.wait(denied_to(target.port))
        assert (bad["destination"]["domain"], bad["destination"]["ip"]) == ("bad.test", "127.66.6.6")
        assert bad["rule"]["id"] == "no"


def test_a_name_that_no_rule_allows_is_not_looked_up(daemons, dns, udp_targets):
    target = udp_targets()
    names = dns({"good.test": [target.host], "other.test": [target.host]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}}, rules="""
      yes: { action = "allow"; from = "loopback"; to = "good.test"; resolves-in = "loopback" }""")
    with Association(daemon) as a:
        assert a.ask(b"x", ("good.test", target.port)) == b"x"
        a.send(b"x", ("other.test", target.port + 1))
        assert daemon.ledger.wait(denied_to(target.port + 1))["rule"]["id"] == "policy-default"
    assert names.queries("other.test") == 0


def test_one_to_many(daemon, udp_targets):
    """One association, many destinations, each with its record and its counts."""
    targets = [udp_targets() for _ in range(40)]
    with Association(daemon) as a:
        for round_ in range(3):
            for target in targets:
                a.send(b"%d" % round_, target.at)
            got = {a.receive() for _ in targets}
            assert got == {(b"%d" % round_, t.at) for t in targets}
    records = destinations(daemon, a, count=len(targets))
    assert sorted((r["destination"]["ip"], r["destination"]["port"]) for r in records) == \
        sorted(t.at for t in targets)
    assert all(r["source"]["packets"] == r["destination"]["packets"] == 3 for r in records)


@pytest.mark.parametrize("size", [0, 1, 63, 1200, 1452, 1453, 9000, 65497])
def test_sizes_pass_whole(daemon, udp_targets, size):
    target = udp_targets()
    data = os.urandom(size)
    with Association(daemon) as a:
        assert a.ask(data, target.at) == data
        assert target.got == [(data, target.got[0][1])]


def test_larger_than_it_can_be(daemon, udp_targets):
    """65,507 bytes that come back are too many with a header: dropped, and nothing else happens."""
    target = udp_targets(lambda data, peer: [b"x" * 65507, b"y" * 65498, b"z" * 65497, b"end"])
    with Association(daemon) as a:
        assert a.ask(b"go", target.at) == b"z" * 65497
        assert a.receive()[0] == b"end"
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 2


def test_canonical_destinations(daemon, udp_targets):
    """::ffff:a.b.c.d and a literal as a name are the address itself: one destination."""
    target = udp_targets()
    with Association(daemon) as a:
        a.send(b"1", target.at)
        a.send(b"2", ("::ffff:" + target.host, target.port))
        a.send(b"3", target.at, name=True)
        a.send(b"4", (target.host + ".", target.port))
        got = sorted(a.receive() for _ in range(4))
        assert got == [(b"%d" % i, target.at) for i in (1, 2, 3, 4)]
    assert destinations(daemon, a)[0]["source"]["packets"] == 4
    assert len(daemon.ledger.find(lambda r: r["event"]["action"] == "udp-destination")) == 1


def test_a_flow_like_quic(daemon, udp_targets):
    """Datagrams of 1,200 to 1,350 bytes both ways, some dozen in flight: none is lost."""
    target = udp_targets()
    with Association(daemon) as a:
        sent, got, i = set(), set(), 0
        while len(got) < 4000:
            while len(sent) - len(got) < 24 and i < 4000:
                data = struct.pack("!I", i) + bytes([i % 256]) * (1196 + i % 151)
                a.send(data, target.at)
                sent.add(data)
                i += 1
            got.add(a.receive()[0])
        assert got == sent
    end = daemon.ledger.last_of(a)
    assert end["source"]["packets"] == end["destination"]["packets"] == 4000
    assert end["socks"]["dropped"] == 0


def test_runs_of_equal_size(daemon, udp_targets):
    """What is sent and received joined comes out as it went in: sizes, order, contents."""
    target = udp_targets()
    at = struct.pack("!H", 103)  # UDP_SEGMENT
    with Association(daemon) as a:
        for size, count, last in ((64, 30, 64), (200, 40, 13), (1400, 40, 1), (64, 1, 64)):
            parts = [os.urandom(size) for _ in range(count - 1)] + [os.urandom(last)]
            head = header(*target.at)
            joined = b"".join(head + part for part in parts)
            control = [] if count == 1 else \
                [(socket.IPPROTO_UDP, 103, struct.pack("=H", size + len(head)))]
            a.sock.sendmsg([joined], control, 0, a.relay)
            assert [a.receive()[0] for _ in parts] == parts
    assert at  # the option's number is the kernel's


def test_a_way_that_takes_no_segments(namespace, daemons):
    """A smaller MTU than the datagrams of a run: they go one by one, in fragments; none is lost."""
    namespace.ip("link", "set", "lo", "mtu", "1280")
    with namespace:
        target, daemon = UdpTarget(), daemons(settings={"workers": 1})
        with Association(daemon) as a:
            for _ in range(2):
                worker, = daemon.workers()
                os.kill(worker, signal.SIGSTOP)
                parts = [os.urandom(1400) for _ in range(30)]
                for part in parts:
                    a.send(part, target.at)
                os.kill(worker, signal.SIGCONT)
                assert [a.receive()[0] for _ in parts] == parts
        target.close()
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 0


# -- the client's socket ----------------------------------------------------------

def test_the_first_datagram_locks_the_port(daemon, udp_targets):
    target = udp_targets()
    with Association(daemon) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((a.control.name[0], 0))
        assert a.ask(b"mine", target.at) == b"mine"
        a.raw(header(*target.at) + b"theirs", sock=other)
        assert a.ask(b"still mine", target.at) == b"still mine"
    assert [data for data, _ in target.got] == [b"mine", b"still mine"]
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 1


def test_an_announced_port_is_the_only_one(daemon, udp_targets):
    target = udp_targets()
    with Association(daemon, announce="own") as a, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((a.control.name[0], 0))
        a.raw(header(*target.at) + b"theirs", sock=other)
        assert a.ask(b"mine", target.at) == b"mine"
    assert [data for data, _ in target.got] == [b"mine"]
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 1


def test_the_announced_address_is_not_trusted(daemon, udp_targets):
    """Only the port of the request counts, not another host's address nor a name."""
    target = udp_targets()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hosts = ("127.77.7.7", "some.where.test", b"0", b"127.1", b"\0\xff", b"::")
    for host in hosts:
        with Association(daemon, announce=(host, 0)) as a:
            assert a.ask(b"x", target.at) == b"x"
    with Association(daemon, announce=("127.77.7.7", port)) as a, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.77.7.7", port))
        a.raw(header(*target.at) + b"not from there", sock=there)
        a.send(b"not from this port", target.at)
        assert a.is_quiet()
    assert len(target.got) == len(hosts)


def test_strangers_lock_nothing(daemon, udp_targets):
    """Another address of loopback sends first: it is not relayed and locks nothing."""
    target = udp_targets()
    with Association(daemon) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((net.fresh_address(), 0))
        for datagram in (header(*target.at) + b"spoofed", b"", b"\0\0\0\1", header("1.2.3.4", 0)):
            a.raw(datagram, sock=stranger)
        assert a.ask(b"mine", target.at) == b"mine"
        a.raw(header(*target.at) + b"again", sock=stranger)
        assert a.ask(b"mine", target.at) == b"mine"
    assert {data for data, _ in target.got} == {b"mine"}
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 5


BAD = {
    "empty": b"", "one byte": b"\0", "no address": b"\0\0\0\1", "half an address": b"\0\0\0\1\x7f\0",
    "no port": b"\0\0\0\1\x7f\0\0\1", "half a port": b"\0\0\0\1\x7f\0\0\1\0",
    "atyp 0": header("127.0.0.1", 9)[:3] + b"\0" + header("127.0.0.1", 9)[4:],
    "atyp 2": b"\0\0\0\2\x7f\0\0\1\0\x09", "rsv": header("127.0.0.1", 9, rsv=1) + b"x",
    "frag 1": header("127.0.0.1", 9, frag=1) + b"x", "last": header("127.0.0.1", 9, frag=0x81),
    "no name": b"\0\0\0\3\0\0\x09", "half a name": b"\0\0\0\3\x40abc",
    "nul in a name": header(b"localhost\0.test", 9), "number": header(b"127.1", 9),
    "port 0": header("127.0.0.1", 0) + b"x",
}


def test_bad_datagrams_hurt_nothing(daemon, udp_targets):
    target = udp_targets()
    with Association(daemon) as a:
        for bad in BAD.values():  # before the first good one, and behind it
            a.raw(bad)
        assert a.ask(b"good", target.at) == b"good"
        for bad in BAD.values():
            a.raw(bad)
            assert a.ask(b"good", target.at) == b"good"
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 2 * len(BAD)
    assert len(destinations(daemon, a)) == 1


def test_a_bad_datagram_locks_nothing(daemon, udp_targets):
    target = udp_targets()
    with Association(daemon) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((a.control.name[0], 0))
        for bad in BAD.values():
            a.raw(bad, sock=other)
        assert a.ask(b"good", target.at) == b"good"


# -- who may answer --------------------------------------------------------------

def replies(daemons, how):
    return daemons(rules=f"""
      yes: {{ action = "allow"; from = "loopback"; to = "loopback"; udp-replies = "{how}" }}""")


@pytest.mark.parametrize("how,expected", [("contacted", 0), ("address", 1), ("any", 2)])
def test_replies(daemons, udp_targets, how, expected):
    """contacted: address and port; address: any port of it; any: anybody."""
    daemon = replies(daemons, how)
    target = udp_targets()
    with Association(daemon) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        assert a.ask(b"x", target.at) == b"x"
        us = target.got[0][1]
        port.bind((target.host, 0))
        host.bind((net.fresh_address(), 0))
        port.sendto(b"another port", us)
        host.sendto(b"another host", us)
        want = [(b"another port", port.getsockname()), (b"another host", host.getsockname())]
        got = sorted((a.receive() for _ in range(expected)), key=lambda g: g[0], reverse=True)
        assert got == want[:expected]
        assert a.ask(b"y", target.at) == b"y"
    end = daemon.ledger.last_of(a)
    assert end["socks"]["dropped"] == 2 - expected
    assert end["destination"]["packets"] == 2 + expected


def test_an_unsolicited_sender_before_anything(daemon, udp_targets):
    """The socket for targets does not exist before it is needed; then strangers are nobody."""
    target = udp_targets(lambda data, peer: None)
    with Association(daemon) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        a.send(b"x", target.at)
        us = until(lambda: target.got and target.got[0][1], "the datagram at the target")
        stranger.bind((target.host, 0))
        for _ in range(10):
            stranger.sendto(b"you did not ask", us)
        assert a.is_quiet()
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 10


def test_icmp_errors_are_absorbed(daemon, udp_targets):
    target = udp_targets()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((net.fresh_address(), 0))
        nobody = sock.getsockname()
    with Association(daemon) as a:
        for _ in range(20):
            a.send(b"x", nobody)  # port unreachable
            assert a.ask(b"y", target.at) == b"y"
    # nor does the client's closed socket hurt anybody
    with Association(daemon) as b:
        def flood(data, peer):
            return [b"z"] * 20
        chatter = udp_targets(flood)
        b.send(b"x", chatter.at)
        until(lambda: chatter.got, "the datagram at the target")
        b.sock.close()
        with Association(daemon) as c:
            assert c.ask(b"y", target.at) == b"y"


# -- the policy -------------------------------------------------------------------

POLICY = """
  udp: { action = "allow"; from = "loopback"; to = "loopback"; command = "udp-associate"
         service = "udp/%d" }
"""


def test_denied_is_recorded_once(daemons, udp_targets):
    target, other = udp_targets(), udp_targets()
    daemon = daemons(rules=POLICY % target.port)
    with Association(daemon) as a:
        for _ in range(10):
            a.send(b"no", other.at)
        assert a.ask(b"yes", target.at) == b"yes"
        for _ in range(10):
            a.send(b"no", other.at)
        assert a.ask(b"yes", target.at) == b"yes"
        record = daemon.ledger.wait(denied_to(other.port))  # at once, not at the end
        assert record["event"]["outcome"] == "failure"
        assert record["event"]["type"] == ["connection", "denied"]
        assert record["rule"]["id"] == "policy-default"
        assert record["policy"]["reason"] == "default"
    end = daemon.ledger.last_of(a)
    assert end["socks"]["dropped"] == 20
    assert end["source"]["packets"] == 2
    assert "id" not in end.get("rule", {})  # no rule decided for the association
    assert len(daemon.ledger.find(denied_to(other.port))) == 1
    assert not other.got


def test_not_granted_where_no_datagram_could_pass(daemons):
    daemon = daemons(rules="""
      tcp: { action = "allow"; from = "loopback"; to = "loopback"; service = "tcp/80"
             command = "connect" }""")
    a = Association(daemon)
    assert a.reply == (2, "0.0.0.0", 0)
    end = daemon.ledger.last_of(a)
    assert (end["event"]["action"], end["event"]["reason"]) == ("session-deny", "denied")
    assert end["socks"]["command"] == "udp-associate"
    a.close()


def test_only_version_5_has_it(daemon):
    with daemon.client() as client:
        client.send(request4("127.0.0.1", 9, command=UDP))
        assert client.reply4().code == 91


def test_this_server_itself(daemon, udp_targets):
    """builtin:self counts for datagrams, too."""
    with Association(daemon) as a:
        a.send(b"x", daemon.at)
        record = daemon.ledger.wait(denied_to(daemon.at[1]))
        assert record["rule"]["id"] == "builtin:self"


def test_a_reload_judges_each_destination_again(daemons, udp_targets):
    one, two = udp_targets(), udp_targets()
    both = """
      a: { action = "allow"; from = "loopback"; to = "%s" }
      b: { action = "allow"; from = "loopback"; to = "%s" }""" % (one.host, two.host)
    daemon = daemons(rules=both)
    with Association(daemon) as a:
        assert a.ask(b"x", one.at) == b"x"
        assert a.ask(b"x", two.at) == b"x"
        us = two.got[0][1]
        daemon.reload(rules=both.replace("allow", "deny", 2).replace("deny", "allow", 1))
        record = daemon.ledger.wait(lambda r: r["event"]["reason"] == "revoked"
                                    if "reason" in r["event"] else False)
        assert record["event"]["action"] == "udp-destination"
        assert record["destination"]["port"] == two.port
        assert record["source"]["packets"] == record["destination"]["packets"] == 1
        assert record["rule"]["id"] == "b"
        a.send(b"no", two.at)
        daemon.ledger.wait(denied_to(two.port))
        two.sock.sendto(b"nor may it answer", us)
        assert a.ask(b"y", one.at) == b"y"
        assert len(two.got) == 1
        # and back: what was denied is judged anew
        daemon.reload(rules=both)
        assert a.ask(b"z", two.at) == b"z"
    end = daemon.ledger.last_of(a)
    assert end["event"]["reason"] == "client-closed"


def test_a_reload_revokes_the_association(daemons, udp_targets):
    target = udp_targets()
    daemon = daemons()
    with Association(daemon) as a:
        assert a.ask(b"x", target.at) == b"x"
        daemon.reload(rules="""
          tcp: { action = "allow"; from = "loopback"; to = "loopback"; command = "connect" }""")
        assert daemon.ledger.last_of(a)["event"]["reason"] == "revoked"
        assert destinations(daemon, a)[0]["event"]["reason"] == "revoked"
        assert a.control.read_end() == b""


def test_egress_of_a_rule(daemons, udp_targets):
    """The source address is the rule's, by destination, over one socket."""
    one, two, three = udp_targets(), udp_targets(), udp_targets()
    daemon = daemons(settings={"egress": {"addresses": ["127.9.9.1"]}}, rules=f"""
      a: {{ action = "allow"; from = "loopback"; to = "{one.host}"; egress = "127.9.9.9" }}
      b: {{ action = "allow"; from = "loopback"; to = "loopback" }}""")
    with Association(daemon) as a:
        for target, source in ((one, "127.9.9.9"), (two, "127.9.9.1"), (three, "127.9.9.1")):
            for _ in range(2):
                assert a.ask(b"x", target.at) == b"x"
                assert target.got[-1][1][0] == source
        assert one.got[0][1][1] == two.got[0][1][1]
    for record in destinations(daemon, a, count=3):
        source = "127.9.9.9" if record["rule"]["id"] == "a" else "127.9.9.1"
        assert record["source"]["nat"]["ip"] == source


@pytest.mark.parametrize("word,ends", [("sever", True), ("keep", False)])
def test_on_revoke_of_a_destination(daemons, udp_targets, word, ends):
    one, two = udp_targets(), udp_targets()
    both = f"""
      a: {{ action = "allow"; from = "loopback"; to = "{one.host}" }}
      b: {{ action = "allow"; from = "loopback"; to = "{two.host}"; on-revoke = "{word}" }}"""
    daemon = daemons(rules=both)
    with Association(daemon) as a:
        assert a.ask(b"x", one.at) == b"x"
        assert a.ask(b"x", two.at) == b"x"
        daemon.reload(rules=both.split("b:", maxsplit=1)[0])
        assert a.ask(b"y", one.at) == b"y"
        a.send(b"y", two.at)
        if ends:
            daemon.ledger.wait(denied_to(two.port))
        else:
            assert a.receive()[0] == b"y"
        # an association that is forbidden as a whole goes by the mildest word of its destinations
        daemon.reload(rules=f"""
          other: {{ action = "allow"; from = "loopback"; to = "{one.host}"; command = "connect" }}""")
        if ends:
            assert daemon.ledger.last_of(a)["event"]["reason"] == "revoked"
        else:
            assert a.ask(b"z", two.at) == b"z"
            a.send(b"z", one.at)
            daemon.ledger.wait(denied_to(one.port))
            assert a.ask(b"z", two.at) == b"z"


def test_on_revoke_drains_a_destination(daemons, udp_targets):
    one, two = udp_targets(), udp_targets()
    both = f"""
      a: {{ action = "allow"; from = "loopback"; to = "{one.host}" }}
      b: {{ action = "allow"; from = "loopback"; to = "{two.host}"; on-revoke = "drain 700 ms" }}"""
    daemon = daemons(rules=both)
    with Association(daemon) as a:
        assert a.ask(b"x", one.at) == b"x"
        assert a.ask(b"x", two.at) == b"x"
        daemon.reload(rules=both.split("b:", maxsplit=1)[0])
        assert a.ask(b"y", two.at) == b"y"
        a.is_quiet(0.8)
        a.send(b"z", two.at)
        daemon.ledger.wait(denied_to(two.port))
        assert a.ask(b"z", one.at) == b"z"
    reasons = [r["event"]["reason"] for r in destinations(daemon, a, count=3)
               if r["destination"]["port"] == two.port]
    assert sorted(reasons) == ["denied", "revoked"]


def test_sessions_of_a_rule(daemons, udp_targets):
    """An association is a session of each rule that allows one of its destinations."""
    target, other = udp_targets(), udp_targets()
    daemon = daemons(rules=f"""
      a: {{ action = "allow"; from = "loopback"; to = "{target.host}"; limit: {{ sessions = 1 }} }}
      b: {{ action = "allow"; from = "loopback"; to = "loopback" }}""")
    with Association(daemon) as b:
        with Association(daemon) as a:
            assert a.ask(b"x", target.at) == b"x"
            b.send(b"x", target.at)
            record = daemon.ledger.wait(
                lambda r: r["event"]["action"] == "udp-destination", "a refusal")
            assert (record["event"]["reason"], record["rule"]["id"]) == ("limit", "a")
        daemon.ledger.last_of(a)
        b.sock.settimeout(0.5)

        def room():
            try:
                return b.ask(b"y", target.at) == b"y"
            except OSError:
                return False
        until(room, "room again")


# -- limits ------------------------------------------------------------------------

def test_idle(daemons, udp_targets):
    target = udp_targets()
    daemon = daemons(settings={"timeouts": {"udp-idle": "600 ms"}})
    with Association(daemon) as a:
        for _ in range(4):
            assert a.ask(b"x", target.at) == b"x"
            a.is_quiet(0.3)
        end = daemon.ledger.last_of(a)
        assert end["event"]["reason"] == "idle"
        assert end["source"]["packets"] == 4
        assert destinations(daemon, a)[0]["event"]["reason"] == "idle"
        assert a.control.read_end() == b""


def test_idle_of_a_rule(daemons, udp_targets):
    target, other = udp_targets(), udp_targets()
    daemon = daemons(rules=f"""
      a: {{ action = "allow"; from = "loopback"; to = "{target.host}"; limit: {{ idle = "300 ms" }} }}
      b: {{ action = "allow"; from = "loopback"; to = "loopback" }}""")
    with Association(daemon) as b, Association(daemon) as a:
        assert b.ask(b"x", other.at) == b"x"
        assert a.ask(b"x", target.at) == b"x"
        assert daemon.ledger.last_of(a)["event"]["reason"] == "idle"
        assert b.ask(b"x", other.at) == b"x"


def test_idle_of_the_rule_that_decides_for_all(daemons, udp_targets):
    target = udp_targets()
    daemon = daemons(rules="""
      a: { action = "allow"; from = "loopback"; to = "loopback"; command = "udp-associate"
           limit: { idle = "300 ms" } }
      b: { action = "allow"; from = "loopback"; to = "any" }""")
    with Association(daemon) as a:
        assert a.ask(b"x", target.at) == b"x"
        daemon.reload(rules=daemon.rules.replace("300 ms", "400 ms"))
        assert daemon.ledger.last_of(a)["event"]["reason"] == "idle"


def test_lifetime_of_a_rule(daemons, udp_targets):
    target = udp_targets()
    daemon = daemons(rules="""
      a: { action = "allow"; from = "loopback"; to = "loopback"; limit: { lifetime = "700 ms" } }""")
    with Association(daemon) as a:
        def over():
            try:
                a.ask(b"x", target.at)
                return False
            except OSError:
                return True
        a.sock.settimeout(0.5)
        until(over, "the end of a lifetime")
        assert daemon.ledger.last_of(a)["event"]["reason"] == "lifetime"


def test_associations_of_one_source(daemons, udp_targets):
    """In all workers together; another source has its own; one that ends makes room."""
    target = udp_targets()
    daemon = daemons(settings={"limits": {"associations-per-source": 3}})
    some = [Association(daemon) for _ in range(3)]
    assert [a.reply.code for a in some] == [0, 0, 0]
    over = Association(daemon)
    assert over.reply.code == 1
    assert daemon.ledger.last_of(over)["event"]["reason"] == "limit"
    over.close()
    with Association(daemon, source=net.fresh_address()) as other:
        assert other.ask(b"x", target.at) == b"x"
    some.pop().close()
    until(lambda: len(daemon.ledger.find(lambda r: r["event"]["action"] == "session-end")) >= 2,
          "the ends")
    some.append(Association(daemon))
    assert some[-1].reply.code == 0
    for a in some:
        assert a.ask(b"x", target.at) == b"x"
        a.close()


def test_port_range_and_its_end(daemons, udp_targets):
    target = udp_targets()
    daemon = daemons(settings={"udp": {"ports": "41000-41003"}})
    some = [Association(daemon) for _ in range(4)]
    assert sorted(a.reply.port for a in some) == [41000, 41001, 41002, 41003]
    over = Association(daemon)
    assert over.reply.code == 1
    assert daemon.ledger.last_of(over)["event"]["reason"] == "limit"
    over.close()
    gone = some.pop(1)
    gone.close()
    daemon.ledger.last_of(gone)
    some.append(Association(daemon))
    assert some[-1].reply.port == gone.reply.port
    for a in some:
        assert a.ask(b"x", target.at) == b"x"
        a.close()


def test_advertise(daemons, udp_targets):
    """Behind a NAT the reply names the outer address, the socket is where it was."""
    target = udp_targets()
    daemon = daemons(settings={"udp": {"advertise": "192.0.2.99"}})
    with Association(daemon) as a:
        assert a.reply.address == "192.0.2.99"
        a.relay = (daemon.at[0], a.reply.port)
        assert a.ask(b"x", target.at) == b"x"


def test_no_descriptor_left(daemons):
    """No socket for an association: limit, and the server lives."""
    daemon = daemons(start=False, settings={"workers": 1})
    daemon.start(nofile=256)
    some = []
    for _ in range(200):
        try:
            some.append(Association(daemon))
        except (OSError, AssertionError):
            break
        if some[-1].reply.code != 0:
            break
    daemon.ledger.wait(lambda r: r["event"].get("reason") == "limit", "an ending `limit`")
    assert sum(a.reply.code == 0 for a in some) > 20
    for a in some:
        a.close()
    until(lambda: len(daemon.ledger.find(lambda r: r["event"]["action"] == "session-end"))
          >= sum(a.reply.code == 0 for a in some), "the ends")
    with Association(daemon):
        pass


def test_many_destinations_are_bounded(daemon, udp_targets):
    """Of more than 1,024 the least recently used go, with their records; the one in use stays."""
    target = udp_targets()
    with Association(daemon) as a:
        for i in range(1300):
            a.send(b"x", ("127.200.%d.%d" % (i // 250, 1 + i % 250), 9))
            if i % 50 == 0:
                assert a.ask(b"y", target.at) == b"y"
        evicted = destinations(daemon, a, count=277)
        assert {r["event"]["reason"] for r in evicted} == {"limit"}
    records = destinations(daemon, a, count=1301)
    mine = [r for r in records if r["destination"]["port"] == target.port]
    assert len(mine) == 1 and mine[0]["source"]["packets"] == 26


def test_a_scan_is_slowed_down(daemon, udp_targets):
    """New destinations are records, so they have a rate; what is known goes on."""
    target = udp_targets()
    with Association(daemon) as a:
        assert a.ask(b"y", target.at) == b"y"
        for i in range(6000):
            a.send(b"x", ("127.201.%d.%d" % (i // 250, 1 + i % 250), 9))
            if i % 100 == 0:
                assert a.ask(b"y", target.at) == b"y"
    end = daemon.ledger.last_of(a)
    assert end["socks"]["dropped"] > 0
    assert end["source"]["packets"] + end["socks"]["dropped"] == 6000 + 61


# -- the end -------------------------------------------------------------------------

@pytest.mark.parametrize("how,reason", [("close", "client-closed"), ("fin", "client-closed"),
                                        ("reset", "client-reset")])
def test_the_control_connection_ends_it(daemon, udp_targets, how, reason):
    target = udp_targets()
    with Association(daemon) as a:
        assert a.ask(b"x", target.at) == b"x"
        getattr(a.control, how)()
        end = daemon.ledger.last_of(a)
        assert end["event"]["reason"] == reason
        a.send(b"too late", target.at)
        assert len(target.got) == 1


def test_bytes_on_the_control_connection_are_ignored(daemon, udp_targets):
    """But not for ever."""
    target = udp_targets()
    with Association(daemon) as a:
        a.control.send(b"hello?" * 100)
        assert a.ask(b"x", target.at) == b"x"
        a.control.send(b"\0" * 60000)
        assert a.ask(b"x", target.at) == b"x"
        a.control.send(b"\0" * 6000)
        assert daemon.ledger.last_of(a)["event"]["reason"] == "malformed"


def test_bytes_and_fin_behind_the_request(daemon):
    with daemon.client() as client:
        assert client.greet() == b"\x05\x00"
        client.send(request5("0.0.0.0", 0, UDP) + b"early")
        client.fin()
        assert client.reply5().code == 0
        assert daemon.ledger.last_of(client)["event"]["reason"] == "client-closed"


def test_the_client_leaves_while_a_name_is_asked_for(daemons, raw_dns):
    names = raw_dns(lambda name, kind: None)
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    with Association(daemon) as a:
        for i in range(10):
            a.send(b"x", ("hang%d.test" % i, 53))
        until(lambda: names.questions("hang9.test"), "the last question")
    assert daemon.ledger.last_of(a)["socks"]["dropped"] == 10
    assert len(destinations(daemon, a, count=10)) == 10


def test_shutdown_tells_all(daemons, udp_targets):
    target = udp_targets()
    daemon = daemons(settings={"timeouts": {"drain": "100 ms"}})
    a = Association(daemon)
    assert a.ask(b"x", target.at) == b"x"
    assert daemon.terminate() == 0
    assert daemon.ledger.last_of(a)["event"]["reason"] == "shutdown"
    assert destinations(daemon, a)[0]["event"]["reason"] == "shutdown"
    a.close()


def test_a_worker_that_is_killed(daemons, udp_targets):
    """Its associations and their destinations end with worker-crash, with what was counted; the
    source's budget is given back."""
    target = udp_targets()
    daemon = daemons(settings={"workers": 1, "limits": {"associations-per-source": 4}})
    daemon.crash_expected = True
    some = [Association(daemon) for _ in range(4)]
    for a in some:
        assert a.ask(b"12345", target.at) == b"12345"
    if not net.may_look(daemon.workers()[0]):
        pytest.skip("needs root to kill a worker")
    os.kill(daemon.workers()[0], signal.SIGKILL)
    for a in some:
        end = daemon.ledger.last_of(a)
        assert end["event"]["reason"] == "worker-crash"
        assert end["source"]["bytes"] == 5
        one, = destinations(daemon, a)
        assert one["event"]["reason"] == "worker-crash"
        assert (one["source"]["bytes"], one["destination"]["packets"]) == (5, 1)
        assert one["socks"]["session"] == end["socks"]["session"]
        a.close()
    crash = daemon.ledger.wait(lambda r: r["event"]["action"] == "worker-crash")
    assert "4 open sessions" in crash["message"]
    until(daemon.workers, "a new worker")
    again = [Association(daemon) for _ in range(4)]
    assert [a.reply.code for a in again] == [0] * 4
    for a in again:
        assert a.ask(b"x", target.at) == b"x"
        a.close()
    daemon.baseline = {}  # another worker


@pytest.mark.parametrize("count", [pytest.param(400, id="some"),
                                   pytest.param(10000, id="ten-thousand")])
def test_many_at_once(daemons, udp_targets, sanitized, count):
    """Each has its own socket, verdicts and records; all end clean."""
    if count > 1000 and sanitized:
        pytest.skip("takes minutes under sanitizers")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < count + 1000:
        pytest.skip("too few descriptors for this client")
    target = udp_targets()
    daemon = daemons(settings={"workers": 2 if count < 1000 else 4,
                               "limits": {"sessions": 20000, "associations-per-source": 0}})
    sock = Association.open_socket("127.0.0.1")  # descriptors are dear: one for all of them
    some = []
    for _ in range(count):
        some.append(Association(daemon, sock=sock))
        assert some[-1].reply.code == 0, len(some)
    for text in b"first", b"second":
        for i in range(0, count, 50):
            part = {a.relay: a for a in some[i:i + 50]}
            for a in part.values():
                a.send(text + b"%d" % a.port, target.at)
            while part:
                datagram, relay = sock.recvfrom(65536)
                assert split(datagram)[2] == text + b"%d" % part.pop(relay).port
    for a in some:
        a.close()
    ends = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "all ends",
                              count=count, seconds=60)
    assert all(e["destination"]["packets"] == 2 for e in ends)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "udp-destination", "all destinations",
                       count=count, seconds=60)


def test_the_worker_is_not_stopped_by_a_flood(daemons, udp_targets):
    """One client sends as fast as it can; another's session goes on."""
    sink, echo = UdpTarget(lambda data, peer: None), udp_targets()
    daemon = daemons(settings={"workers": 1})
    with Association(daemon) as loud, Association(daemon) as quiet:
        datagram = header(*sink.at) + b"x" * 64
        for _ in range(20):
            for _ in range(500):
                loud.raw(datagram)
            assert quiet.ask(b"y", echo.at) == b"y"
    sink.close()
