"""The policy as a client feels it: rules by every key, builtin:self, reload and revocation."""
import json
import signal
import struct
import threading
import time

import pytest

from harness.net import fresh_address
from harness.socks import Client, greeting, request4, request5
from harness.targets import hold
from harness.wait import until

BASE = 'action = "allow"; from = "loopback"; to = [ "any", "loopback" ]'


def rules(*named):
    return "\n".join(f"  {name}: {{ {body} }}" for name, body in named)


def verdict5(daemon, host, port, **client):
    """(code, the session's first record)"""
    with daemon.client(**client) as c:
        code = c.connect5(host, port).code
        record = daemon.ledger.of(c)
    return code, record


def verdict4(daemon, host, port, **client):
    with daemon.client(**client) as c:
        code = c.connect4(host, port).code
        record = daemon.ledger.of(c)
    return code, record


def check(daemon, host, port, rule, **client):
    """Both versions say the same; rule: who decides, with a leading ! for a denial."""
    allowed = not rule.startswith("!")
    for code, record in (verdict5(daemon, host, port, **client),
                         verdict4(daemon, host, port, **client)):
        assert code == ({5: 0, 4: 90} if allowed else {5: 2, 4: 91})[record["socks"]["version"]]
        assert record["rule"]["id"] == rule.lstrip("!"), record
        assert record["event"]["action"] == ("session-start" if allowed else "session-deny")
        if not allowed:
            assert record["event"]["reason"] == "denied"


# -- keys ---------------------------------------------------------------------

def test_what_no_rule_allows_is_denied(daemons, echo):
    daemon = daemons(rules=rules(("one", 'action = "allow"; from = "loopback"; to = "192.0.2.1"')))
    check(daemon, "127.0.0.1", echo.port, "!policy-default")


def test_first_match_wins(daemons, echo):
    other = fresh_address()
    daemon = daemons(rules=rules(
        ("not-there", f'action = "deny"; to = "{other}"'), ("all", BASE),
        ("too-late", 'action = "deny"')))
    check(daemon, "127.0.0.1", echo.port, "all")
    check(daemon, other, echo.port, "!not-there")


def test_from_and_from_except(daemons, echo):
    daemon = daemons(rules=rules(
        ("narrow", 'action = "allow"; from = "127.0.1.0/24"; from-except = "127.0.1.7"; '
                   'to = "loopback"')))
    check(daemon, "127.0.0.1", echo.port, "narrow", source="127.0.1.6")
    # nothing could ever allow this client: refused before a byte is read
    for source in ("127.0.1.7", "127.0.2.6"):
        with daemon.client(source=source) as client:
            assert client.read_end() == b""
        record = daemon.ledger.last_of(client)
        assert (record["event"]["reason"], record["rule"]["id"]) == ("denied", "policy-default")


def test_to_except_and_networks(daemons, targets):
    inside, out = targets(host="127.77.1.1"), targets(host="127.77.2.1")
    daemon = daemons(
        objects='networks: { lab = [ "127.77.0.0/16" ]; vault = [ "127.77.2.0/24" ] }',
        rules=rules(("lab", 'action = "allow"; from = "loopback"; to = "lab"; except = "vault"')))
    check(daemon, "127.77.1.1", inside.port, "lab")
    check(daemon, "127.77.2.1", out.port, "!policy-default")
    assert out.peers == []


def test_service(daemons, targets):
    web, other = targets(), targets()
    daemon = daemons(
        objects=f'services: {{ shop = [ "tcp/{web.port}" ] }}',
        rules=rules(("web", BASE + '; service = "shop"')))
    check(daemon, "127.0.0.1", web.port, "web")
    check(daemon, "127.0.0.1", other.port, "!policy-default")


def test_command(daemons, echo):
    daemon = daemons(rules=rules(("inbound", BASE + '; command = "bind"'),
                                 ("never", 'action = "deny"; command = "connect"')))
    check(daemon, "127.0.0.1", echo.port, "!never")


def test_version(daemons, echo):
    daemon = daemons(rules=rules(("modern", BASE + "; version = 5")))
    assert verdict5(daemon, "127.0.0.1", echo.port)[0] == 0
    code, record = verdict4(daemon, "127.0.0.1", echo.port)
    assert (code, record["rule"]["id"]) == (91, "policy-default")


def test_version_4_only_offers_no_method(daemons, echo):
    daemon = daemons(rules=rules(("old", BASE + "; version = 4")))
    assert verdict4(daemon, "127.0.0.1", echo.port)[0] == 90
    with daemon.client() as client:
        client.send(greeting())
        assert client.read_end() == b"\x05\xff"
    assert daemon.ledger.last_of(client)["event"]["reason"] == "denied"


def test_listener(daemons, echo):
    inner, outer = fresh_address(), fresh_address()
    daemon = daemons(
        listeners={"inner": {"address": inner, "port": 1080},
                   "outer": {"address": outer, "port": 1080}},
        rules=rules(("in", BASE + '; listener = "inner"'),
                    ("out", BASE + '; listener = "outer"; service = "tcp/1"')))
    with Client((inner, 1080)) as client:
        assert client.connect5("127.0.0.1", echo.port).code == 0
        record = daemon.ledger.of(client, "session-start")
        assert record["rule"]["id"] == "in"
        assert record["observer"]["ingress"]["interface"]["name"] == "inner"
    with Client((outer, 1080)) as client:
        assert client.connect5("127.0.0.1", echo.port).code == 2
        assert daemon.ledger.last_of(client)["rule"]["id"] == "policy-default"


def test_hosts_and_tables(daemons, dns, echo):
    names = dns({"a.shop.test": ["127.0.0.1"], "b.shop.test": ["127.0.0.1"],
                 "listed.test": ["127.0.0.1"], "crm7.test": ["127.0.0.1"]})
    daemon = daemons(
        start=False, settings={"dns": {"servers": [names.server]}},
        objects='hosts: { shop = [ "*.shop.test", "regex:^crm[0-9]+[.]test$" ]; '
                'feed = [ "file:tables/names.txt" ] }',
        rules=rules(("not-b", 'action = "deny"; to = "b.shop.test"'),
                    ("shop", 'action = "allow"; from = "loopback"; to = "shop"; '
                             'resolves-in = "loopback"'),
                    ("fed", 'action = "allow"; from = "loopback"; to = "feed"; '
                            'resolves-in = "loopback"')))
    daemon.write("tables/names.txt", "# a table\nlisted.test\n")
    daemon.start()
    for name, rule in (("a.shop.test", "shop"), ("crm7.test", "shop"), ("listed.test", "fed"),
                       ("A.Shop.TEST.", "shop")):
        check(daemon, name, echo.port, rule)
    check(daemon, "b.shop.test", echo.port, "!not-b")
    check(daemon, "B.SHOP.test.", echo.port, "!not-b")
    check(daemon, "crm.test", echo.port, "!policy-default")
    # an address is no host: the deny by name does not hold, nor any allow
    check(daemon, "127.0.0.1", echo.port, "!policy-default")


def test_includes_and_a_policy_file(daemons, echo):
    daemon = daemons(start=False, rules='@include "rules.d/*.conf"')
    daemon.write("rules.d/20-second.conf", f"second: {{ {BASE} }}\n")
    daemon.write("rules.d/10-first.conf", 'first: { action = "deny"; to = "192.0.2.0/24" }\n')
    daemon.start()
    check(daemon, "127.0.0.1", echo.port, "second")
    check(daemon, "192.0.2.9", 80, "!first")


def test_mapped_addresses_do_not_walk_around_a_rule(daemons, echo):
    daemon = daemons(rules=rules(("no", 'action = "deny"; to = "127.0.0.1"'), ("all", BASE)))
    for host in ("::ffff:127.0.0.1", "127.0.0.1"):
        with daemon.client() as client:
            assert client.connect5(host, echo.port).code == 2
        assert daemon.ledger.last_of(client)["rule"]["id"] == "no"
    for host in ("127.0.0.1.", "::ffff:7f00:1"):
        with daemon.client() as client:
            client.greet()
            client.send(request5(host, echo.port, name=True))
            assert client.reply5().code == 2
        assert daemon.ledger.last_of(client)["rule"]["id"] == "no"


@pytest.mark.parametrize("host", ["64:ff9b::127.0.0.1", "2002:7f00:1::1"])
def test_addresses_inside_addresses(daemons, echo, host):
    """NAT64 and 6to4 are judged by the IPv4 address inside as well."""
    daemon = daemons(rules=rules(
        ("no", 'action = "deny"; to = "127.0.0.0/8"'),
        ("all", 'action = "allow"; from = "loopback"; to = "any"')))
    with daemon.client() as client:
        assert client.connect5(host, echo.port).code == 2
    assert daemon.ledger.last_of(client)["rule"]["id"] == "no"


# -- builtin:self -------------------------------------------------------------

def test_self(daemon):
    check(daemon, daemon.at[0], daemon.at[1], "!builtin:self")


def test_self_by_a_name(daemons, dns):
    daemon = daemons(start=False)
    names = dns({"me.test": [daemon.at[0]]})
    daemon.settings["dns"] = {"servers": [names.server]}
    daemon.start()
    check(daemon, "me.test", daemon.at[1], "!builtin:self")


def test_self_is_only_our_ports(daemon, targets):
    neighbour = targets(host=daemon.at[0])
    check(daemon, neighbour.host, neighbour.port, "local")


def test_self_with_a_wildcard_listener(daemons, targets, ipv6):
    """Every local address counts; 0.0.0.0 and :: count as loopback."""
    from harness.net import free_port6
    for _ in range(20):
        port = free_port6()
        try:
            targets(host="0.0.0.0", port=port).close()
            break
        except OSError:
            continue
    daemon = daemons(start=False, listeners={"all": {"address": "0.0.0.0", "port": port}},
                     rules=rules(("all", BASE.replace('"any"', '"any", "unspecified"'))))
    daemon.at = "127.0.0.1", port
    daemon.start()
    for host in ("127.0.0.1", "127.9.8.7", "0.0.0.0", "::ffff:127.0.0.1"):
        with daemon.client() as client:
            assert client.connect5(host, port).code == 2, host
        assert daemon.ledger.last_of(client)["rule"]["id"] == "builtin:self"


# -- reload -------------------------------------------------------------------

def test_reload_changes_the_policy(daemons, echo):
    daemon = daemons()
    check(daemon, "127.0.0.1", echo.port, "local")
    record = daemon.reload(rules=rules(("no", 'action = "deny"'),))
    assert record["event"]["action"] == "policy-load"
    code, record = verdict5_or_closed(daemon, echo.port)
    assert code in (2, None) and record["rule"]["id"] == "no"
    daemon.reload(rules=rules(("yes", BASE),))
    check(daemon, "127.0.0.1", echo.port, "yes")


def verdict5_or_closed(daemon, port):
    """Refused at accept (no byte) or by a reply."""
    with daemon.client() as client:
        try:
            client.send(greeting() + request5("127.0.0.1", port))
            raw = client.read_end()
        except ConnectionResetError:
            raw = b""  # refused before anything was read
        record = daemon.ledger.last_of(client)
    return (raw[3] if len(raw) > 3 else None), record


BROKEN = [
    ("syntax", "rules: {\n  a: { action = \"allow\" \n", None),
    ("key", None, rules(("a", BASE + '; servise = "web"'))),
    ("object", None, rules(("a", 'action = "allow"; from = "nowhere"; to = "any"'))),
    ("empty", "", None),
    ("no rules", None, ""),
]


@pytest.mark.parametrize("name,text,broken", BROKEN, ids=[b[0] for b in BROKEN])
def test_a_broken_file_keeps_the_old_policy(daemons, echo, name, text, broken):
    daemon = daemons()
    with daemon.client() as live:
        assert live.connect5("127.0.0.1", echo.port).code == 0
        record = daemon.reload(rules=broken, text=text)
        assert record["event"]["action"] == "policy-refused"
        assert record["event"]["outcome"] == "failure"
        until(lambda: "error[E" in daemon.log() and "sallyport.conf" in daemon.log(),
              "the problems in the log")
        check(daemon, "127.0.0.1", echo.port, "local")
        assert live.send(b"alive").read(5) == b"alive"
    # and a good one is taken afterwards
    assert daemon.reload(rules=rules(("new", BASE)))["event"]["action"] == "policy-load"
    check(daemon, "127.0.0.1", echo.port, "new")


def test_a_missing_file_keeps_the_old_policy(daemons, echo):
    import os
    daemon = daemons()
    os.unlink(daemon.config)
    daemon.signal(signal.SIGHUP)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "policy-refused", "a refusal")
    check(daemon, "127.0.0.1", echo.port, "local")


def test_all_problems_are_told_at_once(daemons):
    daemon = daemons()
    daemon.reload(rules=rules(("a", BASE + '; servise = "x"'), ("b", 'action = "alow"'),
                              ("c", BASE + '; service = "htps"')))
    until(lambda: daemon.log().count("error[E") >= 3, lambda: "three errors in\n" + daemon.log())
    assert "servise" in daemon.log() and "alow" in daemon.log() and "htps" in daemon.log()


def test_a_new_policy_revokes_live_sessions(daemons, targets):
    """Those now forbidden end with `revoked`; the others notice nothing."""
    stays, goes = targets(), targets()
    daemon = daemons()
    kept, cut = daemon.client(), daemon.client()
    assert kept.connect5("127.0.0.1", stays.port).code == 0
    assert cut.connect4("127.0.0.1", goes.port).code == 90
    assert cut.send(b"x").read(1) == b"x"
    daemon.reload(rules=rules(("no", f'action = "deny"; service = "tcp/{goes.port}"'),
                              ("yes", BASE)))
    try:
        assert cut.read_end() == b""
    except ConnectionResetError:
        pass
    end = daemon.ledger.last_of(cut)
    assert (end["event"]["action"], end["event"]["reason"]) == ("session-end", "revoked")
    assert end["source"]["bytes"] == 1
    assert kept.send(b"still").read(5) == b"still"
    kept.close()
    assert daemon.ledger.last_of(kept)["event"]["reason"] == "client-closed"


def test_revoked_by_the_name_it_asked_for(daemons, dns, targets):
    target = targets()
    names = dns({"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    clients = {}
    for name in ("a.test", "b.test", "127.0.0.1"):
        clients[name] = daemon.client()
        assert clients[name].connect5(name, target.port).code == 0
    daemon.reload(rules=rules(("no", 'action = "deny"; to = "a.test"'), ("yes", BASE)))
    assert daemon.ledger.last_of(clients["a.test"])["event"]["reason"] == "revoked"
    for name in ("b.test", "127.0.0.1"):
        assert clients[name].send(b"x").read(1) == b"x"
        clients[name].close()


def test_a_request_under_way_is_judged_by_the_new_policy(daemons, raw_dns, echo):
    """It waits for the DNS while the policy changes under it."""
    gate = []

    def answer(name, kind):
        until(lambda: gate, "the gate")
        return [b"\x7f\0\0\1"] if kind == 1 else []
    server = raw_dns(answer)
    daemon = daemons(settings={"dns": {"servers": [server.server], "timeout": "10 s", "tries": 1}})
    with daemon.client() as client:
        client.greet()
        client.send(request5("late.test", echo.port))
        until(lambda: server.asked, "a question")
        daemon.reload(rules=rules(("no", 'action = "deny"; to = "late.test"'), ("yes", BASE)))
        gate.append(True)
        reply = client.reply5()
        assert reply.code == 2
    assert daemon.ledger.last_of(client)["event"]["reason"] in ("denied", "revoked")
    assert echo.peers == []


def test_a_record_names_the_rule_that_decided(daemons, targets):
    """Rules move under live sessions: the end still names the rule of the start."""
    target = targets()
    daemon = daemons(rules=rules(("alpha", 'action = "deny"; to = "192.0.2.0/24"'),
                                 ("beta", BASE + '; ticket = "CHG-1"')))
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", target.port).code == 0
        start = daemon.ledger.of(client, "session-start")
        daemon.reload(rules=rules(("x", 'action = "deny"; to = "192.0.2.1"'),
                                  ("y", 'action = "deny"; to = "192.0.2.2"'),
                                  ("z", 'action = "deny"; to = "192.0.2.3"'),
                                  ("gamma", BASE)))
        client.send(b"x").read(1)
    end = daemon.ledger.last_of(client)
    assert start["rule"] == {"id": "beta", "reference": "CHG-1"}
    assert end["rule"]["id"] in ("beta", "gamma")
    if end["policy"]["hash"] == start["policy"]["hash"]:
        assert end["rule"] == start["rule"]
    else:
        assert end["rule"]["id"] == "gamma"


def test_tables_are_read_again(daemons, targets):
    target = targets(host=fresh_address())
    daemon = daemons(start=False, objects='networks: { feed = [ "file:feed.txt" ] }',
                     rules=rules(("fed", 'action = "allow"; from = "loopback"; to = "feed"')))
    daemon.write("feed.txt", "192.0.2.0/24\n")
    daemon.start()
    check(daemon, target.host, target.port, "!policy-default")
    daemon.write("feed.txt", f"192.0.2.0/24\n{target.host}\n")
    daemon.reload()
    check(daemon, target.host, target.port, "fed")


def test_reload_under_load(daemons, crowds):
    """Nothing is lost, nothing fails, nobody waits long."""
    crowd = crowds()
    daemon = daemons()
    stop = threading.Event()
    failures, done = [], []
    standing = []
    for number in range(100):
        client = daemon.client()
        assert client.connect5("127.0.0.1", crowd.port).code == 0
        standing.append(client)

    def work():
        count = 0
        try:
            while not stop.is_set():
                with daemon.client() as client:
                    client.send(greeting() + request5("127.0.0.1", crowd.port) + b"ping")
                    assert client.read(2) == b"\x05\x00"
                    assert client.reply5().code == 0
                    assert client.read(4) == b"ping"
                count += 1
        except Exception as error:  # told below, in the test's own thread
            failures.append(error)
        done.append(count)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(8):
        text = rules(*[(f"r{i}-{n}", f'action = "deny"; to = "192.0.2.{n}"') for n in range(i)],
                     (f"all-{i}", BASE))
        assert daemon.reload(rules=text)["event"]["action"] == "policy-load"
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    for number, client in enumerate(standing):
        client.send(struct.pack("!I", number))
        assert client.read(4) == struct.pack("!I", number)
        client.close()
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "all ends",
                       count=sum(done) + len(standing), seconds=60)


def test_the_policy_hash_is_in_every_record(daemons, echo):
    daemon = daemons()
    check(daemon, "127.0.0.1", echo.port, "local")
    daemon.reload(rules=rules(("other", BASE)))
    check(daemon, "127.0.0.1", echo.port, "other")
    hashes = {}
    for record in daemon.ledger.records():
        if "rule" in record and record["event"]["action"] == "session-start":
            hashes.setdefault(record["rule"]["id"], set()).add(record["policy"]["hash"])
    assert all(len(found) == 1 for found in hashes.values())
    assert hashes["local"] != hashes["other"]
    assert len(json.dumps(sorted(hashes["local"]))) > 12


def test_a_socks4_denial_with_an_ident_free_policy_is_91(daemons):
    daemon = daemons(rules=rules(("no", 'action = "deny"; to = "192.0.2.0/24"'), ("all", BASE)))
    with daemon.client() as client:
        client.send(request4("192.0.2.1", 80, b"root"))
        assert client.read_end() == b"\0\x5b\0\0\0\0\0\0"
