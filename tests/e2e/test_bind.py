"""BIND (PROTOCOL "BIND"): the door, its two replies, who may call, and what closes it."""
import collections
import contextlib
import ipaddress
import os
import socket
import struct
import threading

import pytest

from harness import net
from harness.socks import (BIND, Client, greeting, read_reply4, read_reply5, request4, request5)
from harness.wait import PATIENCE, until

DOORS = """
  doors: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ];
           command = [ "bind", "connect" ] }
"""
PEER = "127.0.0.1"  # who is expected, where a test does not say otherwise
STRANGER = "127.0.0.9"

Door = collections.namedtuple("Door", "client at")


def ask(daemon, version=5, host=PEER, port=21, client=None):
    """A BIND; the client and its first reply."""
    client = client or daemon.client()
    reply = (client.connect4 if version == 4 else client.connect5)(host, port, command=BIND)
    return client, reply


def door(daemon, version=5, host=PEER, port=21, client=None):
    client, reply = ask(daemon, version, host, port, client)
    assert reply.code == granted(version), reply
    assert reply.port != 0
    return Door(client, (reply.address, reply.port))


def granted(version):
    return 90 if version == 4 else 0


def second(client, version):
    return (read_reply4 if version == 4 else read_reply5)(client)


def call(at, source=PEER):
    """The peer's connection to a door."""
    return Client(at, source=source)


def dead(at):
    """Nobody listens there."""
    try:
        Client(at).close()
    except ConnectionRefusedError:
        return True
    return False


def actions(daemon, client):
    return [r["event"]["action"] for r in daemon.ledger.records()
            if r.get("source", {}).get("port") == client.port]


def talk(client, peer):
    """Both ways, and both ends told."""
    client.send(b"from the client")
    assert peer.read(15) == b"from the client"
    peer.send(b"from the peer")
    assert client.read(13) == b"from the peer"


def pack5(code, at):
    address = ipaddress.ip_address(at[0])
    return bytes([5, code, 0, 1 if address.version == 4 else 4]) + address.packed \
        + struct.pack("!H", at[1])


def pack4(code, at):
    return struct.pack("!BBH", 0, code, at[1]) + ipaddress.IPv4Address(at[0]).packed


@pytest.fixture
def doors(daemons):
    """A factory of servers that allow BIND."""
    def make(**kwargs):
        return daemons(**{"rules": DOORS, **kwargs})
    return make


# -- two replies, a relay between ----------------------------------------------

@pytest.mark.parametrize("version", [4, 5])
def test_two_replies_and_a_relay(doors, version):
    daemon = doors()
    client, at = door(daemon, version)
    assert at[0] == "127.0.0.1"  # our address that leads to the peer
    assert client.is_quiet(0.1)
    with call(at) as peer:
        assert second(client, version) == (granted(version), *peer.name[:2])
        talk(client, peer)
        assert dead(at)
        client.fin()
        assert peer.read_end() == b""
        peer.send(b"a last word")
        peer.fin()
        assert client.read_end() == b"a last word"
    listen = daemon.ledger.of(client, "bind-listen")
    accept = daemon.ledger.of(client, "bind-accept")
    start = daemon.ledger.of(client, "session-start")
    end = daemon.ledger.last_of(client)
    assert actions(daemon, client) == ["bind-listen", "bind-accept", "session-start",
                                       "session-end"]
    nat = {"ip": at[0], "port": at[1]}
    assert [r["source"]["nat"] for r in (listen, accept, start, end)] == [nat] * 4
    assert listen["destination"] == {"ip": PEER, "port": 21}
    for record in (accept, start):
        assert record["destination"] == {"ip": peer.name[0], "port": peer.name[1]}
    assert "reply" not in listen["socks"]
    assert "reason" not in listen["event"] and "reason" not in accept["event"]
    assert start["socks"]["reply"] == granted(version)
    assert end["event"]["reason"] == "client-closed"
    assert end["source"]["bytes"] == 15 and end["destination"]["bytes"] == 24
    assert len({r["socks"]["session"] for r in (listen, accept, start, end)}) == 1
    assert {r["socks"]["command"] for r in (listen, accept, start, end)} == {"bind"}
    times = [r["@timestamp"] for r in (listen, accept, start, end)]
    assert times == sorted(times)
    client.close()


@pytest.mark.parametrize("version", [4, 5])
def test_replies_byte_for_byte(doors, version):
    daemon = doors()
    with daemon.client() as client:
        if version == 4:
            client.send(request4(PEER, 21, b"me", BIND))
            first = client.read(8)
            at = "127.0.0.1", struct.unpack("!H", first[2:4])[0]
            assert first == pack4(90, at)
        else:
            client.send(greeting(), request5(PEER, 21, BIND))
            assert client.read(2) == b"\x05\x00"
            first = client.read(10)
            at = "127.0.0.1", struct.unpack("!H", first[8:])[0]
            assert first == pack5(0, at)
        with call(at) as peer:
            if version == 4:
                assert client.read(8) == pack4(90, peer.name)
            else:
                assert client.read(10) == pack5(0, peer.name)


def test_ipv6(doors, ipv6):
    daemon = doors()
    client, at = door(daemon, host="::1")
    assert at[0] == "::1"
    with call(at, "::1") as peer, client:
        assert client.read(22) == pack5(0, peer.name)
        talk(client, peer)
    assert daemon.ledger.last_of(client)["network"]["type"] == "ipv6"


def test_ipv6_client(doors, ipv6):
    daemon = doors(ipv6=True)
    client, at = door(daemon, client=daemon.client6())
    with call(at) as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])
        talk(client, peer)


@pytest.mark.parametrize("version", [4, 5])
def test_each_byte_a_packet_of_its_own(doors, version):
    daemon = doors()
    with daemon.client() as client:
        client.trickle(request4(PEER, 21, b"me", BIND) if version == 4
                       else greeting() + request5(PEER, 21, BIND))
        if version == 5:
            assert client.read(2) == b"\x05\x00"
        reply = second(client, version)
        with call(reply[1:]) as peer:
            assert second(client, version) == (granted(version), *peer.name[:2])
            talk(client, peer)


@pytest.mark.parametrize("version", [4, 5])
def test_early_bytes_go_first(doors, version):
    """Behind the request and while nobody has called yet."""
    daemon = doors()
    with daemon.client() as client:
        client.send(request4(PEER, 21, b"", BIND) if version == 4
                    else greeting() + request5(PEER, 21, BIND), b"early ")
        if version == 5:
            client.read(2)
        reply = second(client, version)
        client.send(b"and early too")
        with call(reply[1:]) as peer:
            assert second(client, version).code == granted(version)
            client.send(b", then late")
            client.fin()
            assert peer.read_end() == b"early and early too, then late"
            peer.send(b"got it")
            peer.fin()
            assert client.read_end() == b"got it"


def test_half_close_behind_early_bytes(doors):
    """All was said and the client's side closed before the peer called: the transfer goes on."""
    daemon = doors()
    client, at = door(daemon)
    client.send(b"all that I have").fin()
    with call(at) as peer:
        assert second(client, 5) == (0, *peer.name[:2])
        assert peer.read_end() == b"all that I have"
        peer.send(b"thanks")
        peer.fin()
        assert client.read_end() == b"thanks"
    client.close()


def test_bulk_both_ways(doors):
    daemon = doors()
    client, at = door(daemon)
    size = 8 << 20
    data = os.urandom(1 << 16)
    with call(at) as peer, client:
        assert second(client, 5).code == 0

        def pour(end):
            for _ in range(size // len(data)):
                end.send(data)
            end.fin()
        writers = [threading.Thread(target=pour, args=(end,), daemon=True)
                   for end in (client, peer)]
        for writer in writers:
            writer.start()
        got = {}
        reader = threading.Thread(target=lambda: got.update(peer=peer.read_end()), daemon=True)
        reader.start()
        assert client.read_end() == data * (size // len(data))
        for thread in (*writers, reader):
            thread.join(PATIENCE)
        assert got["peer"] == data * (size // len(data))
    end = daemon.ledger.last_of(client)
    assert end["source"]["bytes"] == end["destination"]["bytes"] == size


@pytest.mark.parametrize("side", ["client", "peer"])
def test_reset_passes(doors, side):
    daemon = doors()
    client, at = door(daemon)
    peer = call(at)
    assert second(client, 5).code == 0
    talk(client, peer)
    near, far = (client, peer) if side == "client" else (peer, client)
    near.reset()
    with pytest.raises(ConnectionResetError):
        far.read_end()
    far.close()
    assert daemon.ledger.last_of(client)["event"]["reason"] == \
        ("client-reset" if side == "client" else "target-reset")


def test_urgent_bytes_stay_in_line(doors):
    daemon = doors()
    client, at = door(daemon)
    with call(at) as peer, client:
        assert second(client, 5).code == 0
        peer.send(b"before ")
        peer.sock.send(b"!", socket.MSG_OOB)
        peer.send(b" after")
        peer.fin()
        assert client.read_end() == b"before ! after"


# -- who is expected --------------------------------------------------------------

@pytest.mark.parametrize("version", [4, 5])
def test_a_stranger_is_refused(doors, version):
    daemon = doors()
    client, at = door(daemon, version)
    with call(at, STRANGER) as stranger:
        reply = second(client, version)
        assert reply.code == (91 if version == 4 else 2)
        assert reply[1:] == ("0.0.0.0", 0)
        assert client.read_end() == b""
        with contextlib.suppress(ConnectionResetError):
            assert stranger.read_end() == b""
    assert dead(at)
    record = daemon.ledger.last_of(client)
    assert record["event"]["action"] == "session-fail"
    assert record["event"]["reason"] == "bind-mismatch"
    assert record["destination"]["ip"] == STRANGER
    assert record["socks"]["strangers"] == 1
    assert actions(daemon, client) == ["bind-listen", "session-fail"]
    client.close()


@pytest.mark.parametrize("version", [4, 5])
def test_strangers_do_not_break_the_wait(doors, version):
    """A port scanner hits the door a hundred times, in every way; the peer comes all the same."""
    daemon = doors(settings={"bind": {"on-mismatch": "wait"}})
    client, at = door(daemon, version)
    for i in range(100):
        with contextlib.suppress(ConnectionResetError):
            stranger = call(at, STRANGER)
            if i % 3 == 0:
                stranger.send(b"GET / HTTP/1.0\r\n\r\n")
            if i % 3 == 1:
                stranger.reset()
            else:
                assert stranger.read_end() == b""
                stranger.close()
    assert client.is_quiet(0.1)
    with call(at) as peer, client:
        assert second(client, version) == (granted(version), *peer.name[:2])
        talk(client, peer)
    end = daemon.ledger.last_of(client)
    assert end["event"]["action"] == "session-end"
    assert end["destination"]["ip"] == PEER
    # a scanner's connection that it has reset already may never have been seen
    assert 60 <= end["socks"]["strangers"] <= 100
    assert daemon.ledger.of(client, "bind-accept")["socks"]["strangers"] == \
        end["socks"]["strangers"]


def test_strangers_all_at_once(doors):
    daemon = doors(settings={"bind": {"on-mismatch": "wait"}})
    client, at = door(daemon)
    crowd = []
    for _ in range(200):
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((STRANGER, 0))
        sock.connect_ex(at)
        crowd.append(sock)
    with call(at) as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])
        talk(client, peer)
    for sock in crowd:
        sock.close()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("caller", ["127.0.0.1", "127.0.0.3"])
def test_any_address_of_a_name(doors, dns, version, caller):
    names = dns({"ftp.test": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]})
    daemon = doors(settings={"dns": {"servers": [names.server]}})
    client, at = door(daemon, version, host="ftp.test")
    with call(at, caller) as peer, client:
        assert second(client, version) == (granted(version), *peer.name[:2])
        talk(client, peer)
    end = daemon.ledger.last_of(client)
    assert end["destination"]["domain"] == "ftp.test"
    assert end["destination"]["ip"] == caller
    assert daemon.ledger.of(client, "bind-listen")["destination"]["domain"] == "ftp.test"


def test_only_permitted_addresses_of_a_name(daemons, dns):
    names = dns({"ftp.test": ["127.0.0.1", "127.0.0.2"]})
    daemon = daemons(rules="""
        not-two: { action = "deny"; to = "127.0.0.2" }
        names: { action = "allow"; from = "loopback"; to = "ftp.test"; resolves-in = "loopback";
                 command = "bind" }""", settings={"dns": {"servers": [names.server]}})
    client, at = door(daemon, host="ftp.test")
    with call(at, "127.0.0.2"), client:
        assert second(client, 5).code == 2
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "bind-mismatch"
    assert record["rule"]["id"] == "not-two"
    client, at = door(daemon, host="ftp.test")
    with call(at) as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])


def test_a_name_of_both_families(doors, dns, ipv6):
    """A door is of one family; SOCKS4 can only be told of IPv4."""
    names = dns({"both.test": ["127.0.0.1", "::1"]})
    daemon = doors(settings={"dns": {"servers": [names.server]}})
    client, at = door(daemon, 4, host="both.test")
    assert at[0] == "127.0.0.1"
    client.close()
    client, at = door(daemon, 5, host="both.test")
    with call(at, at[0]) as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])


def test_a_name_of_ipv6_for_socks4(doors, dns, ipv6):
    """The address is 0 in both replies, as for CONNECT; the port is the door's."""
    names = dns({"six.test": ["::1"]})
    daemon = doors(settings={"dns": {"servers": [names.server]}})
    client, reply = ask(daemon, 4, host="six.test")
    assert reply[:2] == (90, "0.0.0.0")
    with call(("::1", reply.port), "::1") as peer, client:
        assert second(client, 4)[:2] == (90, "0.0.0.0")
        talk(client, peer)


def test_a_name_that_does_not_exist(doors, dns):
    names = dns({})
    daemon = doors(settings={"dns": {"servers": [names.server]}})
    client, reply = ask(daemon, host="nobody.test")
    client.close()
    assert reply.code == 4
    assert daemon.ledger.last_of(client)["event"]["reason"] == "name-not-found"


@pytest.mark.parametrize("version,anyone", [(4, "0.0.0.0"), (5, "0.0.0.0"), (5, "::")])
def test_anyone(doors, ipv6, version, anyone):
    here = "::1" if anyone == "::" else "127.0.0.1"
    daemon = doors(settings={"bind": {"address": here}})
    client, at = door(daemon, version, host=anyone)
    caller = "::1" if anyone == "::" else "127.3.2.1"
    with call(at, caller) as peer, client:
        assert second(client, version) == (granted(version), *peer.name[:2])
        talk(client, peer)
    assert daemon.ledger.of(client, "bind-listen")["destination"]["ip"] == anyone
    assert daemon.ledger.last_of(client)["destination"]["ip"] == caller


def test_anyone_where_no_address_is_given(doors):
    """On an address of this machine, never on all of them."""
    daemon = doors()
    client, at = door(daemon, host="0.0.0.0")
    assert at[0] != "0.0.0.0"
    with Client(at) as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])
        talk(client, peer)


@pytest.mark.parametrize("to,code", [('"any"', 0), ('"unspecified"', 0), ('"loopback"', 2),
                                     ('"127.0.0.0/8"', 2), ('"public"', 2)])
def test_anyone_must_be_allowed(daemons, to, code):
    daemon = daemons(rules=f"""
        d: {{ action = "allow"; from = "loopback"; to = {to}; command = "bind" }}""",
                     settings={"bind": {"address": "127.0.0.1"}})
    client, reply = ask(daemon, host="0.0.0.0")
    client.close()
    assert reply.code == code


def test_anyone_is_judged_when_calling(daemons):
    """`any` lets the door be opened; loopback is no part of `any`, so who calls from there is
    judged by the next rules."""
    daemon = daemons(rules="""
        bad: { action = "deny"; to = "127.66.0.0/16" }
        d: { action = "allow"; from = "loopback"; to = [ "any", "127.0.0.0/8" ];
             command = "bind" }""",
                     settings={"bind": {"address": "127.0.0.1", "on-mismatch": "wait"}})
    client, at = door(daemon, host="0.0.0.0")
    with call(at, "127.66.1.1") as denied:
        with contextlib.suppress(ConnectionResetError):
            assert denied.read_end() == b""
    with call(at, "127.67.1.1") as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])


def test_by_default_nobody_may_bind(daemon):
    """A rule must name the command: an open inbound door is asked for by name."""
    for version, code in ((4, 91), (5, 2)):
        client, reply = ask(daemon, version)
        client.close()
        assert reply.code == code
        assert daemon.ledger.last_of(client)["event"]["reason"] == "denied"


def test_the_port_asked_for_is_what_rules_see(daemons):
    daemon = daemons(rules="""
        ftp: { action = "allow"; from = "loopback"; to = "loopback"; service = "tcp/21";
               command = "bind" }""")
    client, reply = ask(daemon, port=22)
    client.close()
    assert reply.code == 2
    client, at = door(daemon, port=21)
    with call(at) as peer, client:  # from whatever port it likes
        assert second(client, 5) == (0, *peer.name[:2])
        assert daemon.reload(objects='policy: { name = "again" }')["event"]["action"] \
            == "policy-load"
        talk(client, peer)  # judged again by the same port


# -- what closes the door ------------------------------------------------------------

@pytest.mark.parametrize("version", [4, 5])
def test_deadline(doors, version):
    daemon = doors(settings={"timeouts": {"bind": "300 ms"}})
    client, at = door(daemon, version)
    assert second(client, version) == (91 if version == 4 else 6, "0.0.0.0", 0)
    assert client.read_end() == b""
    assert dead(at)
    assert daemon.ledger.last_of(client)["event"]["reason"] == "bind-timeout"
    client.close()


def test_the_deadline_is_over_when_the_peer_came(doors):
    daemon = doors(settings={"timeouts": {"bind": "500 ms"}})
    client, at = door(daemon)
    with call(at) as peer, client:
        assert second(client, 5).code == 0
        assert client.is_quiet(0.8)
        talk(client, peer)


@pytest.mark.parametrize("how", ["close", "fin", "reset"])
@pytest.mark.parametrize("early", [False, True])
def test_client_leaves_while_waiting(doors, how, early):
    daemon = doors()
    client, at = door(daemon)
    if early and how != "reset":
        return  # a half-close behind early bytes: see above
    if early:
        client.send(b"some bytes that nobody took")
    getattr(client, how)()
    until(lambda: dead(at), "the door to close")
    assert daemon.ledger.last_of(client)["event"]["reason"] == \
        ("client-reset" if how == "reset" else "client-closed")
    client.close()


def test_client_leaves_with_its_request(doors):
    """No door is opened for somebody who is gone."""
    daemon = doors()
    client = daemon.client()
    client.greet()
    client.sock.send(request5(PEER, 21, BIND), socket.MSG_MORE)  # goes out with the FIN
    client.fin()
    assert client.read_end() == b""
    client.close()
    assert daemon.ledger.last_of(client)["event"]["reason"] == "client-closed"
    assert actions(daemon, client) == ["session-fail"]


def test_client_leaves_while_the_name_resolves(doors, raw_dns):
    server = raw_dns(lambda name, kind: None)
    daemon = doors(settings={"dns": {"servers": [server.server]}})
    client = daemon.client()
    client.send(greeting(), request5("slow.test", 21, BIND))
    client.read(2)
    until(lambda: server.asked, "the question")
    client.reset()
    assert daemon.ledger.last_of(client)["event"]["reason"] == "client-reset"


def test_shutdown_closes_the_doors(doors):
    """At once: nobody new is waited for while the others finish."""
    daemon = doors(settings={"timeouts": {"drain": "60 s"}})
    client, at = door(daemon)
    assert daemon.terminate() == 0
    assert second(client, 5).code == 1
    assert client.read_end() == b""
    assert dead(at)
    assert daemon.ledger.last_of(client)["event"]["reason"] == "shutdown"
    client.close()


def test_a_transfer_is_let_finish_when_the_server_stops(doors):
    import signal
    daemon = doors(settings={"timeouts": {"drain": "60 s"}})
    client, at = door(daemon)
    waiting, _ = door(daemon)
    with call(at) as peer:
        assert second(client, 5).code == 0
        daemon.signal(signal.SIGTERM)
        assert second(waiting, 5).code == 1
        talk(client, peer)
        client.close()
    waiting.close()
    assert daemon.terminate() == 0


def test_the_door_admits_one(doors):
    daemon = doors()
    client, at = door(daemon)
    with call(at) as peer, client:
        assert second(client, 5).code == 0
        assert dead(at)
        talk(client, peer)


# -- where it listens -------------------------------------------------------------------

def free_ports(count, host="127.0.0.1"):
    """A range of ports that nobody has, below those that the kernel gives away."""
    import random
    while True:
        first = random.randint(10000, 32000 - count)
        try:
            for port in range(first, first + count):
                with socket.socket() as sock:
                    sock.bind((host, port))
            return first, first + count - 1
        except OSError:
            continue


def test_address_and_ports(doors):
    here = net.fresh_address()
    first, last = free_ports(4, here)
    daemon = doors(settings={"bind": {"address": here, "ports": f"{first}-{last}"}})
    waiting = [door(daemon) for _ in range(4)]
    assert sorted(d.at for d in waiting) == [(here, port) for port in range(first, last + 1)]
    client, reply = ask(daemon)  # none is left
    client.close()
    assert reply.code == 1
    assert daemon.ledger.last_of(client)["event"]["reason"] == "limit"
    for i, (client, at) in enumerate(waiting):
        with call(at) as peer, client:
            assert second(client, 5) == (0, *peer.name[:2])
            talk(client, peer)
            if i == 0:  # its door is closed, so the port may be another's, at once
                more = door(daemon)
                assert more.at == at
                more.client.close()


def test_a_port_is_used_again_at_once(doors):
    """What the last transfers leave behind (TIME_WAIT on our side) keeps nobody away."""
    here = net.fresh_address()
    port, _ = free_ports(1, here)
    daemon = doors(settings={"bind": {"address": here, "ports": f"{port}-{port}"}})
    for _ in range(20):
        client, at = door(daemon)
        with call(at) as peer:
            assert second(client, 5).code == 0
            client.close()  # the client first: TIME_WAIT is ours
            assert peer.read_end() == b""


def test_many_ports_taken(doors):
    """More than are tried in one round; the worker goes on with others meanwhile."""
    here = net.fresh_address()
    first, last = free_ports(400, here)
    taken = []
    for port in range(first, last):
        taken.append(socket.socket())
        taken[-1].bind((here, port))
        taken[-1].listen(1)
    daemon = doors(settings={"bind": {"address": here, "ports": f"{first}-{last}"}})
    client, at = door(daemon)
    assert at == (here, last)
    other, reply = ask(daemon)
    assert reply.code == 1
    for thing in (client, other, *taken):
        thing.close()


def test_ports_start_at_random(doors):
    here = net.fresh_address()
    first, last = free_ports(100, here)
    daemon = doors(settings={"bind": {"address": here, "ports": f"{first}-{last}"}})
    seen = set()
    for _ in range(6):
        client, at = door(daemon)
        seen.add(at[1])
        client.close()
    assert len(seen) > 1


@pytest.mark.parametrize("version", [4, 5])
def test_advertise(doors, version):
    daemon = doors(settings={"bind": {"advertise": "203.0.113.7"}})
    client, reply = ask(daemon, version)
    assert reply.address == "203.0.113.7"
    nat = daemon.ledger.of(client, "bind-listen")["source"]["nat"]
    assert nat == {"ip": "127.0.0.1", "port": reply.port}  # the ledger has what is true here
    with call(("127.0.0.1", reply.port)) as peer, client:
        assert second(client, version) == (granted(version), *peer.name[:2])


def test_advertise_is_of_one_family(doors, ipv6):
    daemon = doors(settings={"bind": {"advertise": "203.0.113.7"}})
    client, at = door(daemon, host="::1")
    assert at[0] == "::1"
    client.close()


def test_egress_of_the_rule(daemons):
    daemon = daemons(rules="""
        d: { action = "allow"; from = "loopback"; to = "loopback"; command = "bind";
             egress = "127.0.0.77" }""", settings={"egress": {"addresses": ["127.0.0.78"]}})
    client, at = door(daemon)
    assert at[0] == "127.0.0.77"
    client.close()


def test_egress_of_the_settings(doors):
    daemon = doors(settings={"egress": {"addresses": ["127.0.0.78"]}})
    client, at = door(daemon)
    assert at[0] == "127.0.0.78"
    with call(at) as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])


def test_no_way_to_the_peer(daemons, namespace):
    with namespace:
        daemon = daemons(rules="""
            d: { action = "allow"; from = "loopback"; to = "any"; command = "bind" }""")
        client, reply = ask(daemon, host="192.0.2.1")
        client.close()
        assert reply.code == 3
        assert daemon.ledger.last_of(client)["event"]["reason"] == "unreachable"


def test_an_address_that_we_do_not_have(doors):
    daemon = doors(settings={"bind": {"address": "203.0.113.7"}})
    client, reply = ask(daemon)
    client.close()
    assert reply.code == 3
    assert daemon.ledger.last_of(client)["event"]["reason"] == "unreachable"


# -- limits and conditions ----------------------------------------------------------------

def test_two_doors_at_once(doors):
    daemon = doors()
    one, two = door(daemon), door(daemon, 4)
    assert one.at != two.at
    with call(two.at) as peer2, call(one.at) as peer1:
        assert second(one.client, 5) == (0, *peer1.name[:2])
        assert second(two.client, 4) == (90, *peer2.name[:2])
        talk(one.client, peer1)
        talk(two.client, peer2)
    one.client.close()
    two.client.close()


def test_doors_of_a_source(doors):
    """Counted over all workers, and only while they are open."""
    daemon = doors(settings={"workers": 2, "limits": {"binds-per-source": 3}})
    waiting = [door(daemon) for _ in range(3)]
    client, reply = ask(daemon)
    client.close()
    assert reply.code == 1
    assert daemon.ledger.last_of(client)["event"]["reason"] == "limit"
    other = door(daemon, client=daemon.client(source="127.0.0.55"))  # a source of its own
    other.client.close()
    with call(waiting[0].at) as peer:  # a transfer is no open door any more
        assert second(waiting[0].client, 5).code == 0
        more = door(daemon)
        client, reply = ask(daemon)
        client.close()
        assert reply.code == 1
        talk(waiting[0].client, peer)
    more.client.close()
    daemon.ledger.last_of(more.client)
    last = door(daemon)
    for one in (*waiting, last):
        one.client.close()


def test_doors_of_a_dead_worker_are_given_back(doors):
    daemon = doors(settings={"workers": 1, "limits": {"binds-per-source": 1}})
    client, _ = door(daemon)
    worker = daemon.worker_of(client)
    daemon.crash_expected = True
    os.kill(worker, 9)
    with contextlib.suppress(ConnectionResetError):
        client.read_end()
    client.close()
    assert daemon.ledger.last_of(client)["event"]["reason"] == "worker-crash"
    until(lambda: daemon.workers() and daemon.workers() != [worker], "another worker")
    again, _ = door(daemon)
    again.close()


def test_require_primary(doors, targets):
    daemon = doors(settings={"workers": 2, "bind": {"require-primary": True}})
    target = targets(host="127.0.0.1")
    client, reply = ask(daemon)
    client.close()
    assert reply.code == 2
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "denied"
    assert record["policy"]["reason"] == "no-primary"
    primary = daemon.client()
    assert primary.connect5("127.0.0.1", target.port).code == 0
    for _ in range(8):  # whichever worker serves it
        client, at = door(daemon)
        with call(at) as peer, client:
            assert second(client, 5) == (0, *peer.name[:2])
    for host, source in (("127.0.0.2", None), (PEER, "127.0.0.55")):  # another peer, another client
        client, reply = ask(daemon, host=host, client=daemon.client(source=source))
        client.close()
        assert reply.code == 2
    primary.close()
    daemon.ledger.last_of(primary)
    client, reply = ask(daemon)
    client.close()
    assert reply.code == 2


def test_require_primary_of_anyone(doors, targets):
    """Who that is shows when the peer calls."""
    daemon = doors(settings={"bind": {"require-primary": True, "address": "127.0.0.1",
                                      "on-mismatch": "wait"}})
    target = targets(host="127.0.0.5")
    with daemon.client() as primary:
        assert primary.connect5("127.0.0.5", target.port).code == 0
        client, at = door(daemon, host="0.0.0.0")
        with call(at, "127.0.0.6") as stranger, contextlib.suppress(ConnectionResetError):
            assert stranger.read_end() == b""
        with call(at, "127.0.0.5") as peer, client:
            assert second(client, 5) == (0, *peer.name[:2])


def test_require_primary_comes_by_a_reload(doors, targets):
    """A CONNECT that was there before counts."""
    daemon = doors()
    target = targets(host="127.0.0.1")
    with daemon.client() as primary:
        assert primary.connect5("127.0.0.1", target.port).code == 0
        assert daemon.reload(settings={"bind": {"require-primary": True}})["event"]["action"] \
            == "policy-load"
        client, _ = door(daemon)
        client.close()
        client, reply = ask(daemon, host="127.0.0.2")
        client.close()
        assert reply.code == 2


def test_a_primary_that_crashed_with_its_worker(doors, targets):
    daemon = doors(settings={"workers": 1, "bind": {"require-primary": True}})
    target = targets(host="127.0.0.1")
    primary = daemon.client()
    assert primary.connect5("127.0.0.1", target.port).code == 0
    worker = daemon.worker_of(primary)
    daemon.crash_expected = True
    os.kill(worker, 9)
    with contextlib.suppress(ConnectionResetError):
        primary.read_end()
    primary.close()
    daemon.ledger.last_of(primary)
    until(lambda: daemon.workers() and daemon.workers() != [worker], "another worker")
    client, reply = ask(daemon)
    client.close()
    assert reply.code == 2


# -- a new policy ------------------------------------------------------------------------------

NO_DOORS = 'doors: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ] }'


@pytest.mark.parametrize("version", [4, 5])
def test_reload_revokes_a_waiting_door(doors, version):
    daemon = doors()
    client, at = door(daemon, version)
    daemon.reload(rules=NO_DOORS)
    assert second(client, version).code == (91 if version == 4 else 2)
    assert client.read_end() == b""
    assert dead(at)
    assert daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    client.close()


def test_reload_revokes_a_transfer(doors):
    daemon = doors()
    client, at = door(daemon)
    with call(at) as peer:
        assert second(client, 5).code == 0
        daemon.reload(rules=NO_DOORS)
        assert client.read_end() == b""
        assert peer.read_end() == b""
    assert daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    client.close()


def test_reload_leaves_what_is_still_allowed(doors, dns):
    """Of a name's addresses those that the new policy allows are still expected."""
    names = dns({"ftp.test": ["127.0.0.1", "127.0.0.2"]})
    daemon = doors(settings={"dns": {"servers": [names.server]},
                             "bind": {"on-mismatch": "wait"}})
    client, at = door(daemon, host="ftp.test")
    first = daemon.ledger.of(client, "bind-listen")["policy"]["hash"]
    daemon.reload(rules='less: { action = "deny"; to = "127.0.0.1" }' + DOORS)
    with call(at, "127.0.0.1") as gone, contextlib.suppress(ConnectionResetError):
        assert gone.read_end() == b""
    with call(at, "127.0.0.2") as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])
        talk(client, peer)
    assert daemon.ledger.last_of(client)["policy"]["hash"] != first


def test_reload_changes_what_a_mismatch_does(doors):
    daemon = doors()
    client, at = door(daemon)
    daemon.reload(settings={"bind": {"on-mismatch": "wait"}})
    with call(at, STRANGER) as stranger, contextlib.suppress(ConnectionResetError):
        assert stranger.read_end() == b""
    with call(at) as peer, client:
        assert second(client, 5) == (0, *peer.name[:2])


# -- nothing is left ------------------------------------------------------------------------------

def test_a_thousand_ends_leave_nothing(doors):
    """Every way that a BIND can end; the fixture counts the workers' sockets afterwards."""
    daemon = doors(settings={"workers": 2, "timeouts": {"bind": "1 s"},
                             "limits": {"binds-per-source": 0}})
    held = []
    for i in range(200):
        client, at = door(daemon, (4, 5)[i % 2])
        if i % 5 == 0:
            client.reset()
        elif i % 5 == 1:
            client.close()
        elif i % 5 == 2:
            held.append(client)  # until its deadline
        elif i % 5 == 3:
            with call(at, STRANGER):
                second(client, (4, 5)[i % 2])
            client.close()
        else:
            with call(at):
                second(client, (4, 5)[i % 2])
            client.close()
    for client in held:
        client.read_end()
        client.close()
    daemon.ledger.wait(lambda r: r["event"]["action"] in ("session-end", "session-fail"),
                       "the end of all", count=200)
