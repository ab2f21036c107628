"""Names: what is asked of the DNS and how often, what its failures lead to, and which of
several addresses is reached."""
import ipaddress
import random
import time

import pytest

from harness.names import A, AAAA
from harness.net import fresh_address
from harness.targets import BlackHole, Target
from harness.wait import until


def v4(text):
    return ipaddress.ip_address(text).packed


def with_dns(daemons, server, **dns):
    return daemons(settings={"dns": {"servers": [server.server], "timeout": "300 ms", "tries": 2,
                                     **dns}})


def dial(daemon, name, port, close=True):
    client = daemon.client()
    reply = client.connect5(name, port)
    if close:
        client.close()
    return reply.code, client


# -- failures -----------------------------------------------------------------

def test_name_not_found(daemons, dns):
    daemon = with_dns(daemons, dns({}))
    code, client = dial(daemon, "nowhere.test", 80)
    assert code == 4
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "name-not-found"
    assert record["destination"]["domain"] == "nowhere.test"
    with daemon.client() as client:
        assert client.connect4("nowhere.test", 80).code == 91


def test_name_without_addresses(daemons, raw_dns):
    """It exists, but has neither A nor AAAA."""
    daemon = with_dns(daemons, raw_dns(lambda name, kind: []))
    code, client = dial(daemon, "empty.test", 80)
    assert code == 4
    assert daemon.ledger.last_of(client)["event"]["reason"] == "name-not-found"


@pytest.mark.parametrize("rcode", [2, 4, 5])
def test_dns_failed(daemons, raw_dns, rcode):
    """SERVFAIL, NOTIMP, REFUSED."""
    daemon = with_dns(daemons, raw_dns(lambda name, kind: rcode))
    code, client = dial(daemon, "broken.test", 80)
    assert code == 1
    assert daemon.ledger.last_of(client)["event"]["reason"] == "dns-failed"


def test_dead_dns(daemons, raw_dns):
    """A server that never answers: a prompt end, not a hanging client."""
    server = raw_dns(lambda name, kind: None)
    daemon = with_dns(daemons, server)
    start = time.monotonic()
    code, client = dial(daemon, "silent.test", 80)
    assert code == 1
    assert time.monotonic() - start < 10
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "dns-failed"
    assert server.questions("silent.test") >= 2, "it was to try twice"


def test_no_server_at_all(daemons):
    """Nothing listens there: the kernel says so at once."""
    daemon = daemons(settings={"dns": {"servers": [fresh_address() + ":53"], "timeout": "300 ms",
                                       "tries": 2}})
    code, client = dial(daemon, "any.test", 80)
    assert code == 1
    assert daemon.ledger.last_of(client)["event"]["reason"] == "dns-failed"


@pytest.mark.parametrize("junk", [b"", b"\x81\x80", b"\x81\x80\0\1\0\1\0\0\0\0",
                                  b"\x81\x80\0\1\xff\xff\0\0\0\0\x04junk\x04test\0\0\1\0\1\xc0\xff",
                                  b"\xff" * 600], ids=["empty", "cut", "no-body", "lies", "ones"])
def test_rubbish_from_the_dns(daemons, raw_dns, junk, echo):
    """It ends that lookup, nothing else."""
    daemon = with_dns(daemons, raw_dns(
        lambda name, kind: [v4("127.0.0.1")] if name == "good.test" and kind == A
        else [] if name == "good.test" else junk))
    code, client = dial(daemon, "junk.test", 80)
    assert code in (1, 4)
    assert daemon.ledger.last_of(client)["event"]["reason"] in ("dns-failed", "name-not-found")
    assert dial(daemon, "good.test", echo.port)[0] == 0


def test_one_hanging_lookup_delays_nobody(daemons, raw_dns, echo):
    server = raw_dns(lambda name, kind: None if name.startswith("hang")
                     else [v4("127.0.0.1")] if kind == A else [])
    daemon = daemons(settings={"dns": {"servers": [server.server], "timeout": "10 s", "tries": 1}})
    hanging = []
    for i in range(20):
        client = daemon.client()
        client.greet()
        client.send(b"\x05\x01\x00\x03\x0bhang%02d.test\0\x50" % i)
        hanging.append(client)
    until(lambda: sum(name.startswith("hang") for name, _ in server.asked) >= 20, "20 questions")
    for i in range(20):
        start = time.monotonic()
        assert dial(daemon, f"quick{i}.test", echo.port)[0] == 0
        assert time.monotonic() - start < 5
    for client in hanging:
        client.close()


def test_client_leaves_while_we_resolve(daemons, raw_dns):
    server = raw_dns(lambda name, kind: None)
    daemon = daemons(settings={"dns": {"servers": [server.server], "timeout": "3 s", "tries": 1}})
    client = daemon.client()
    client.greet()
    client.send(b"\x05\x01\x00\x03\x09hang.test\0\x50")
    until(lambda: server.asked, "a question")
    client.reset()
    assert daemon.ledger.last_of(client)["event"]["reason"] == "client-reset"


# -- the cache ----------------------------------------------------------------

def test_cached_while_the_ttl_lasts(daemons, dns, echo):
    names = dns({"often.test": ["127.0.0.1"]}, ttl=300)
    daemon = with_dns(daemons, names)
    for _ in range(20):
        assert dial(daemon, "often.test", echo.port)[0] == 0
        assert dial(daemon, "OFTEN.test.", echo.port)[0] == 0
    assert names.queries("often.test") <= len(daemon.workers())


def test_asked_again_when_the_ttl_is_over(daemons, dns, targets):
    first, second = fresh_address(), fresh_address()
    target = targets(host=first)
    moved = targets(host=second, port=target.port)
    names = dns({"move.test": [first]}, ttl=1)
    daemon = daemons(settings={"workers": 1, "dns": {"servers": [names.server]}})
    code, client = dial(daemon, "move.test", target.port)
    assert code == 0
    names.change({"move.test": [second]})

    def reached():
        code, client = dial(daemon, "move.test", target.port)
        assert code == 0
        return daemon.ledger.of(client, "session-start")["destination"]["ip"]
    start = time.monotonic()
    until(lambda: reached() == second, "the new address", every=0.1)
    assert time.monotonic() - start < 5
    until(lambda: moved.peers, "the connection itself")


def test_ttl_0_is_not_kept(daemons, raw_dns, echo):
    server = raw_dns(lambda name, kind: [v4("127.0.0.1")] if kind == A else [], ttl=0)
    daemon = with_dns(daemons, server)
    for _ in range(3):
        assert dial(daemon, "fresh.test", echo.port)[0] == 0
    assert server.questions("fresh.test") == 3


def test_cache_can_be_switched_off_and_bounded(daemons, dns, echo):
    names = dns({f"n{i}.test": ["127.0.0.1"] for i in range(30)}, ttl=300)
    daemon = daemons(settings={"workers": 1, "dns": {"servers": [names.server],
                                                     "cache-entries": 0}})
    for _ in range(3):
        assert dial(daemon, "n1.test", echo.port)[0] == 0
    assert names.queries("n1.test") == 3
    small = daemons(settings={"workers": 1, "dns": {"servers": [names.server],
                                                    "cache-entries": 8}})
    for _ in range(2):
        for i in range(30):
            assert dial(small, f"n{i}.test", echo.port)[0] == 0


def test_cache_max_ttl(daemons, dns, echo):
    names = dns({"long.test": ["127.0.0.1"]}, ttl=86400)
    daemon = daemons(settings={"workers": 1, "dns": {"servers": [names.server],
                                                     "cache-max-ttl": "1 s"}})
    assert dial(daemon, "long.test", echo.port)[0] == 0

    def asked_again():
        assert dial(daemon, "long.test", echo.port)[0] == 0
        return names.queries("long.test") >= 2
    until(asked_again, "a second question", every=0.1)


def test_one_question_for_many_that_wait(daemons, raw_dns, echo):
    """Sessions that ask for the same name at the same time share one lookup."""
    gate = []

    def slow(name, kind):
        if kind == AAAA:
            return []
        deadline = time.monotonic() + 10
        while not gate and time.monotonic() < deadline:
            time.sleep(0.01)
        return [v4("127.0.0.1")]
    server = raw_dns(slow)
    daemon = daemons(settings={"workers": 1, "dns": {"servers": [server.server],
                                                     "timeout": "20 s", "tries": 1}})
    clients = []
    for _ in range(30):
        client = daemon.client()
        client.greet()
        client.send(b"\x05\x01\x00\x03\x0bshared.test" + echo.port.to_bytes(2, "big"))
        clients.append(client)
    until(lambda: server.asked, "a question")
    gate.append(True)
    for client in clients:
        assert client.reply5().code == 0
        client.close()
    assert server.questions("shared.test") == 1


# -- several addresses --------------------------------------------------------

def test_all_addresses_are_tried(daemons, dns, targets):
    """Three refuse, one answers."""
    target = targets(host=fresh_address())
    addresses = [fresh_address() for _ in range(3)] + [target.host]
    random.shuffle(addresses)
    daemon = with_dns(daemons, dns({"multi.test": addresses}, ttl=0))
    for _ in range(6):
        code, client = dial(daemon, "multi.test", target.port)
        assert code == 0
        start = daemon.ledger.of(client, "session-start")
        assert start["destination"]["ip"] == target.host


def test_when_all_refuse(daemons, dns):
    daemon = with_dns(daemons, dns({"multi.test": [fresh_address() for _ in range(4)]}))
    code, client = dial(daemon, "multi.test", 80)
    assert code == 5
    assert daemon.ledger.last_of(client)["event"]["reason"] == "refused"


def test_ipv6_that_refuses_falls_back_to_ipv4(daemons, dns, targets, ipv6):
    target = targets(host=fresh_address())
    daemon = with_dns(daemons, dns({"both.test": ["::1", target.host]}))
    code, client = dial(daemon, "both.test", target.port)
    assert code == 0
    assert daemon.ledger.of(client, "session-start")["destination"]["ip"] == target.host


def test_ipv6_is_preferred(daemons, dns, ipv6):
    """RFC 6724: ::1 before an IPv4 address."""
    six = Target(host="::1")
    try:
        four = Target(host="127.0.0.1", port=six.port)
    except OSError:
        six.close()
        pytest.skip("the port is taken on the other address")
    try:
        daemon = with_dns(daemons, dns({"both.test": ["::1", "127.0.0.1"]}))
        code, client = dial(daemon, "both.test", six.port)
        assert code == 0
        assert daemon.ledger.of(client, "session-start")["destination"]["ip"] == "::1"
    finally:
        six.close()
        four.close()


@pytest.mark.parametrize("broken", [None, 2, 3, 5])
def test_aaaa_that_fails_falls_back_to_a(daemons, raw_dns, targets, broken):
    """A server that is silent, or lies (NXDOMAIN), about AAAA only."""
    target = targets(host=fresh_address())
    server = raw_dns(lambda name, kind: [v4(target.host)] if kind == A else broken)
    daemon = with_dns(daemons, server)
    code, _ = dial(daemon, "halfdead.test", target.port)
    assert code == 0


def test_a_that_fails_leaves_aaaa(daemons, raw_dns, targets, ipv6):
    target = targets(host="::1")
    server = raw_dns(lambda name, kind: [v4("::1")] if kind == AAAA else 2)
    daemon = with_dns(daemons, server)
    assert dial(daemon, "sixonly.test", target.port)[0] == 0


def test_happy_eyeballs_around_a_black_hole(daemons, raw_dns, black_holes, targets):
    """One address swallows SYNs: the other is tried 250 ms later and wins."""
    hole = black_holes(host=fresh_address())
    target = targets(host=fresh_address(), port=hole.port)
    server = raw_dns(lambda name, kind: [v4(hole.host), v4(target.host)] if kind == A else [])
    daemon = with_dns(daemons, server)
    for _ in range(3):
        start = time.monotonic()
        code, client = dial(daemon, "eyeballs.test", target.port)
        assert code == 0
        assert time.monotonic() - start < 3
        record = daemon.ledger.of(client, "session-start")
        assert record["destination"]["ip"] == target.host


def test_many_black_holes_and_one_that_answers(daemons, raw_dns, targets):
    """Staggered, not one after the other."""
    target = targets(host=fresh_address())
    holes, taken = [], []
    for _ in range(4):
        holes.append(BlackHole(host=fresh_address(), port=target.port))
        taken.append(v4(holes[-1].host))
    server = raw_dns(lambda name, kind: taken + [v4(target.host)] if kind == A else [])
    daemon = with_dns(daemons, server)
    start = time.monotonic()
    code, _ = dial(daemon, "eyeballs.test", target.port)
    for hole in holes:
        hole.close()
    assert code == 0
    assert time.monotonic() - start < 6


def test_only_one_connection_survives(daemons, raw_dns, targets):
    """Whoever loses the race is closed."""
    first = targets(host=fresh_address())
    second = targets(host=fresh_address(), port=first.port)
    server = raw_dns(lambda name, kind: [v4(first.host), v4(second.host)] if kind == A else [])
    daemon = with_dns(daemons, server)
    with daemon.client() as client:
        assert client.connect5("race.test", first.port).code == 0
        client.send(b"x").read(1)
        assert len(first.peers) + len(second.peers) == 1


# -- the DNS as a way out -----------------------------------------------------

def test_a_name_that_no_rule_allows_is_never_looked_up(daemons, dns, echo):
    names = dns({"good.test": ["127.0.0.1"], "evil.test": ["127.0.0.1"]})
    rules = ('only: { action = "allow"; from = "loopback"; to = "*.good.test"; '
             'resolves-in = "loopback" }')
    daemon = daemons(rules=rules, settings={"dns": {"servers": [names.server]}})
    for name in ("secret.evil.test", "evil.test", "good.test", "agood.test"):
        code, client = dial(daemon, name, echo.port)
        assert code == 2
        assert daemon.ledger.last_of(client)["rule"]["id"] == "policy-default"
        assert names.queries(name) + names.queries(name, "AAAA") == 0
    code, _ = dial(daemon, "www.good.test", echo.port)
    assert code == 4  # asked, does not exist
    assert names.queries("www.good.test") == 1


def test_rebinding(daemons, dns, echo):
    """A name of the internet that leads inside is denied, though its name is allowed."""
    names = dns({"rebind.test": ["127.0.0.1"], "mixed.test": ["127.0.0.1", "192.0.2.1"]})
    rules = 'sites: { action = "allow"; from = "loopback"; to = ".test" }'
    daemon = daemons(rules=rules, settings={"dns": {"servers": [names.server]}})
    code, client = dial(daemon, "rebind.test", echo.port)
    assert code == 2
    record = daemon.ledger.last_of(client)
    assert (record["event"]["reason"], record["rule"]["id"]) == ("denied", "policy-default")
    assert echo.peers == []


def test_only_permitted_answers_are_tried(daemons, dns, targets):
    good = targets(host=fresh_address())
    bad = targets(host=fresh_address(), port=good.port)
    names = dns({"mixed.test": [bad.host, good.host]}, ttl=0)
    rules = (f'no: {{ action = "deny"; to = "{bad.host}" }}\n'
             'yes: { action = "allow"; from = "loopback"; to = ".test"; resolves-in = "loopback" }')
    daemon = daemons(rules=rules, settings={"dns": {"servers": [names.server]}})
    for _ in range(5):
        code, client = dial(daemon, "mixed.test", good.port)
        assert code == 0
        record = daemon.ledger.of(client, "session-start")
        assert (record["destination"]["ip"], record["rule"]["id"]) == (good.host, "yes")
    assert bad.peers == []


def test_denied_by_the_address_a_name_leads_to(daemons, dns, echo):
    names = dns({"trap.test": ["127.0.0.1"]})
    rules = ('no: { action = "deny"; to = "loopback" }\n'
             'yes: { action = "allow"; from = "loopback"; to = [ ".test", "any", "loopback" ] }')
    daemon = daemons(rules=rules, settings={"dns": {"servers": [names.server]}})
    code, client = dial(daemon, "trap.test", echo.port)
    assert code == 2
    assert daemon.ledger.last_of(client)["rule"]["id"] == "no"


def test_several_servers(daemons, dns, raw_dns, echo):
    """The first is dead: the second answers."""
    dead = raw_dns(lambda name, kind: None)
    live = dns({"second.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [dead.server, live.server],
                                       "timeout": "300 ms", "tries": 2}})
    assert dial(daemon, "second.test", echo.port)[0] == 0


def test_a_name_is_looked_up_in_lower_case_whole(daemons, dns):
    """No search domains: the name is the name."""
    names = dns({}, extra=["--local=/single/"])
    daemon = with_dns(daemons, names)
    dial(daemon, "SINGLE", 80)
    assert names.queries("single") == 1
    listed = [line for line in open(names.log, encoding="utf-8") if "query[A] single" in line]
    assert all(" single from " in line for line in listed)
