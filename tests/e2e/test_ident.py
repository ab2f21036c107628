"""Asserted identities: ident (RFC 1413), asked of real and of hostile servers, and the USERID of
SOCKS4 as a claim.  Every client has an address of its own, whose port 113 is the test's."""
import os
import socket
import subprocess

import pytest

from harness import net
from harness.ident import Identd, Oidentd, says
from harness.socks import greeting, request4, request5
from harness.wait import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for port 113")

ANN = """
  ann: { action = "allow"; who = "ann"; auth = "ident"; from = "loopback"
         to = [ "any", "loopback" ] }
"""
CLAIMED = """
  claimed: { action = "allow"; who = "ann"; auth = "userid"; from = "loopback"
             to = [ "any", "loopback" ] }
"""
TRUSTED = {"auth": {"ident": {"trusted": ["127.0.0.0/8"], "timeout": "1 s"}}}


@pytest.fixture
def identds():
    made = []

    def make(*args, kind=Identd):
        made.append(kind(*args))
        return made[-1]
    yield make
    for server in made:
        server.close()


def ask(daemon, version, target, userid=b"ann", source=None):
    client = daemon.client(source=source or net.fresh_address())
    if version == 4:
        client.send(request4(target.host, target.port, userid))
        return client, client.reply4().code
    client.send(greeting(), request5(target.host, target.port))
    assert client.read(2) == b"\x05\x00"
    return client, client.reply5().code


GRANTED = {4: 90, 5: 0}


# -- a real server --------------------------------------------------------------

def curl_as(user, daemon, scheme, source, target):
    """curl run by another user of this machine; its exit status."""
    return subprocess.run(
        ["curl", "-sS", "-q", "--max-time", "30", "--interface", source, "-x",
         f"{scheme}{daemon.at[0]}:{daemon.at[1]}", f"http://{target.host}:{target.port}/",
         "-o", os.devnull], user=user, env={"PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE, check=False, timeout=60)


@pytest.mark.parametrize("scheme,granted", [
    ("socks4://nobody@", True), ("socks5h://", True), ("socks4://root@", False)])
def test_oidentd(daemons, targets, identds, scheme, granted):
    source = net.fresh_address()
    identds(source, kind=Oidentd)
    daemon = daemons(rules=ANN.replace('"ann"', '"known"'), settings=TRUSTED)

    def page(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
    target = targets(page)
    done = curl_as("nobody", daemon, scheme, source, target)
    assert (done.returncode == 0) == granted, done.stderr
    record = daemon.ledger.wait(
        lambda r: r["event"]["action"] in ("session-end", "session-deny"), "the last record")
    assert record["user"]["name"] == "nobody"
    assert record["socks"]["auth"] == "ident"
    assert record["socks"]["assurance"] == "asserted"
    assert record["rule"]["id"] == ("ann" if granted else "policy-default")
    if not granted:
        assert record["event"]["reason"] == "ident-mismatch"
        assert (record["socks"]["reply"], record["socks"]["userid"]) == (93, "root")


def test_a_host_that_will_not_say(daemons, echo, identds):
    source = net.fresh_address()
    identds(source, lambda q, _: q.strip() + b" : ERROR : HIDDEN-USER\r\n")
    daemon = daemons(rules=ANN, settings=TRUSTED)
    client, code = ask(daemon, 5, echo, source=source)
    assert code == 2 and daemon.ledger.last_of(client)["event"]["reason"] == "ident-mismatch"


# -- what is asked ----------------------------------------------------------------

@pytest.mark.parametrize("version", [4, 5])
def test_query(daemons, echo, identds, version):
    """From the address that the client came to, and with both ports."""
    source = net.fresh_address()
    identd = identds(source, says("ann"))
    daemon = daemons(rules=ANN, settings=TRUSTED)
    client, code = ask(daemon, version, echo, source=source)
    assert code == GRANTED[version]
    assert identd.queries == [b"%d , %d\r\n" % (client.port, daemon.at[1])]
    assert identd.peers == [daemon.at[0]]
    client.send(b"hi")
    assert client.read(2) == b"hi"
    client.close()
    end = daemon.ledger.last_of(client)
    assert end["user"]["name"] == "ann" and end["rule"]["id"] == "ann"
    assert (end["socks"]["auth"], end["socks"]["assurance"]) == ("ident", "asserted")
    assert end["socks"]["ms"]["ident"] > 0


def test_ipv6(daemons, targets, identds, namespace):
    with namespace:
        identd = identds("::1", says("ann"))
        daemon = daemons(rules=ANN, ipv6=True,
                         settings={"auth": {"ident": {"trusted": ["::1/128"]}}})
        target = targets()
        with daemon.client6() as client:
            assert client.connect5(target.host, target.port).code == 0
            assert identd.queries == [b"%d , %d\r\n" % (client.port, daemon.at6[1])]


def test_answer_in_pieces(daemons, echo, identds):
    def dribble(query, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in says("ann")(query, None):
            connection.send(bytes([byte]))
        return b"and more that nobody reads"
    source = net.fresh_address()
    identds(source, dribble)
    daemon = daemons(rules=ANN, settings=TRUSTED)
    assert ask(daemon, 4, echo, source=source)[1] == 90


def test_early_bytes_wait(daemons, echo, identds):
    source = net.fresh_address()
    identds(source, says("ann"))
    daemon = daemons(rules=ANN, settings=TRUSTED)
    with daemon.client(source=source) as client:
        client.send(request4(echo.host, echo.port, b"ann"), b"early")
        assert client.reply4().code == 90 and client.read(5) == b"early"


# -- hostile servers ------------------------------------------------------------------

def line(text):
    return lambda query, _: query.strip() + text + b"\r\n"


HOSTILE = {
    "absent": (None, "ident-unreachable"),
    "hang": (lambda q, c: None, "ident-unreachable"),
    "closes": (lambda q, c: b"", "ident-unreachable"),
    "half a line": (lambda q, c: says("ann")(q, c)[:-2], "ident-unreachable"),
    "garbage": (lambda q, c: b"\x00\xff\xfe\r\n" * 20, "ident-unreachable"),
    "oversize": (lambda q, c: q.strip() + b" : USERID : UNIX : " + b" " * 1000 + b"ann\r\n",
                 "ident-unreachable"),
    "endless": (lambda q, c: b"x" * 1000000, "ident-unreachable"),
    "wrong ports": (lambda q, c: b"1 , 2 : USERID : UNIX : ann\r\n", "ident-unreachable"),
    "swapped ports": (lambda q, c: b" , ".join(reversed(q.strip().split(b" , ")))
                      + b" : USERID : UNIX : ann\r\n", "ident-unreachable"),
    "no such word": (line(b" : USER : UNIX : ann"), "ident-unreachable"),
    "opaque": (line(b" : USERID : OTHER : ann"), "ident-mismatch"),
    "no user": (line(b" : ERROR : NO-USER"), "ident-mismatch"),
    "escape": (line(b" : USERID : UNIX : a\x1b[2Jnn"), "ident-mismatch"),
}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("how", HOSTILE)
def test_hostile(daemons, echo, identds, how, version):
    answer, reason = HOSTILE[how]
    source = net.fresh_address()
    if answer:
        identds(source, answer)
    daemon = daemons(rules=ANN, settings=TRUSTED)
    client, code = ask(daemon, version, echo, source=source)
    assert code == {4: {"ident-unreachable": 92, "ident-mismatch": 93}[reason], 5: 2}[version]
    assert client.read_end() == b""
    record = daemon.ledger.last_of(client)
    assert record["event"]["action"] == "session-deny" and record["event"]["reason"] == reason
    assert record["socks"]["reply"] == code
    if how == "opaque":  # recorded, for the people of that host to read
        assert record["user"]["name"] == "ann"
    elif how == "escape":
        assert record["user"]["name"] == "a\x1b[2Jnn"
    else:
        assert "user" not in record and record["socks"]["auth"] == "none"


@pytest.mark.parametrize("userid", [b"bob", b"", b"an", b"anna", b"ANN"])
def test_another_user_than_the_userid(daemons, echo, identds, userid):
    source = net.fresh_address()
    identds(source, says("ann"))
    daemon = daemons(rules=ANN.replace('"ann"', '"known"'), settings=TRUSTED)
    client, code = ask(daemon, 4, echo, userid, source)
    assert code == 93
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "ident-mismatch"
    assert record["user"]["name"] == "ann"
    assert record["socks"].get("userid", "") == userid.decode()


# -- when it is asked, and when it tells -----------------------------------------------

def test_not_asked_where_it_does_not_matter(daemons, echo, identds):
    """A rule before it decides; the destination is none of the rule's; the client is not
    trusted."""
    source = net.fresh_address()
    identd = identds(source, says("ann"))
    first = 'first: { action = "allow"; from = "loopback"; to = "loopback"; service = "tcp/%d" }\n'
    other = ANN.replace('[ "any", "loopback" ]', '"192.0.2.0/24"')
    for rules, settings, code in (
            (first % echo.port + ANN, TRUSTED, 90), (other, TRUSTED, 91),
            (ANN, {"auth": {"ident": {"trusted": ["192.0.2.0/24"]}}}, 91), (ANN, {}, 91)):
        daemon = daemons(rules=rules, settings=settings)
        client, got = ask(daemon, 4, echo, source=source)
        assert got == code
        client.close()
        record = daemon.ledger.last_of(client)
        assert "user" not in record
        assert record["socks"]["auth"] == "none" and record["socks"]["userid"] == "ann"
    assert not identd.peers


def test_no_method_for_untrusted(daemons, echo):
    daemon = daemons(rules=ANN, settings={"auth": {"ident": {"trusted": ["192.0.2.0/24"]}}})
    with daemon.client() as client:
        assert client.greet() == b"\x05\xff"


def test_told_only_if_ident_would_have_decided(daemons, echo):
    """No server at all. ann's rule is for another destination than bob asks for."""
    rules = ANN + """
      others: { action = "allow"; from = "loopback"; to = "127.0.0.1"; service = "tcp/%d" }
    """ % echo.port
    daemon = daemons(rules=rules, settings=TRUSTED)
    client, code = ask(daemon, 4, echo)
    assert code == 90
    client.close()
    assert daemon.ledger.last_of(client)["socks"]["auth"] == "none"
    # a user that ann's rule would not take, had the host said so
    daemon = daemons(rules=ANN, settings=TRUSTED)
    client, code = ask(daemon, 4, echo, b"bob")
    assert code == 91 and daemon.ledger.last_of(client)["event"]["reason"] == "denied"


def test_a_deny_rule_asks_as_well(daemons, echo, identds):
    rules = ANN.replace('"allow"', '"deny"').replace("ann: {", "not-ann: {") + """
      others: { action = "allow"; from = "loopback"; to = "loopback" }
    """
    daemon = daemons(rules=rules, settings=TRUSTED)
    for user, code in (("ann", 2), ("bob", 0)):
        source = net.fresh_address()
        identds(source, says(user))
        client, got = ask(daemon, 5, echo, source=source)
        assert got == code
        client.close()
        record = daemon.ledger.last_of(client)
        assert record["rule"]["id"] == ("not-ann" if code else "others")
        assert record["user"]["name"] == user


def test_a_host_that_refuses_is_left_alone(daemons, echo, identds):
    source = net.fresh_address()
    daemon = daemons(rules=ANN, settings={**TRUSTED, "workers": 1})
    assert ask(daemon, 4, echo, source=source)[1] == 92
    identd = identds(source, says("ann"))
    assert ask(daemon, 4, echo, source=source)[1] == 92
    assert not identd.peers
    assert ask(daemon, 4, echo)[1] == 92  # another host has its own place
    until(lambda: ask(daemon, 4, echo, source=source)[1] == 90, "the host to be asked again")
    assert len(identd.peers) == 1


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_leaves_meanwhile(daemons, echo, identds, leave):
    source = net.fresh_address()
    identd = identds(source, lambda q, c: None)
    daemon = daemons(rules=ANN, settings={"auth": {"ident": {"trusted": ["127.0.0.0/8"],
                                                             "timeout": "5 min"}}})
    client = daemon.client(source=source)
    client.send(request4(echo.host, echo.port, b"ann"))
    until(lambda: identd.queries, "the query")
    getattr(client, leave)()
    until(lambda: identd.ended, "the inquiry to end")
    reason = daemon.ledger.last_of(client)["event"]["reason"]
    assert reason == ("client-reset" if leave == "reset" else "client-closed")


def test_many_at_once(daemons, echo, identds):
    """A hundred hosts that hang delay nobody whose host answers."""
    hang = net.fresh_address()
    identds(hang, lambda q, c: None)
    daemon = daemons(rules=ANN, settings={"auth": {"ident": {"trusted": ["127.0.0.0/8"],
                                                             "timeout": "5 min"}}})
    waiting = [daemon.client(source=hang) for _ in range(100)]
    for client in waiting:
        client.send(request4(echo.host, echo.port, b"ann"))
    source = net.fresh_address()
    identds(source, says("ann"))
    client, code = ask(daemon, 4, echo, source=source)
    assert code == 90
    for each in (client, *waiting):
        each.close()


# -- the USERID as a claim -----------------------------------------------------------------

def test_userid_is_a_claim(daemons, echo):
    daemon = daemons(rules=CLAIMED)
    client, code = ask(daemon, 4, echo)
    assert code == 90
    client.close()
    record = daemon.ledger.last_of(client)
    assert record["user"]["name"] == "ann" and record["rule"]["id"] == "claimed"
    assert (record["socks"]["auth"], record["socks"]["assurance"]) == ("userid", "asserted")
    client, code = ask(daemon, 4, echo, b"bob")
    assert code == 91
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "denied" and record["socks"]["userid"] == "bob"
    assert "user" not in record
    with daemon.client() as client:  # SOCKS5 carries none
        assert client.greet() == b"\x05\xff"


def test_userid_satisfies_no_other_rule(daemons, echo):
    rules = """
      proven: { action = "allow"; who = "ann"; from = "loopback"; to = "loopback" }
    """
    client, code = ask(daemons(rules=rules), 4, echo)
    assert code == 91


def test_either_will_do(daemons, echo, identds):
    """ident where the host answers, the claim where it does not; but a host that says otherwise
    is believed."""
    rules = CLAIMED.replace('"userid"', '[ "ident", "userid" ]')
    daemon = daemons(rules=rules, settings=TRUSTED)
    for answer, code, how in ((None, 90, "userid"), (says("ann"), 90, "ident"),
                              (says("bob"), 93, "ident")):
        source = net.fresh_address()
        if answer:
            identds(source, answer)
        client, got = ask(daemon, 4, echo, source=source)
        assert got == code
        client.close()
        assert daemon.ledger.last_of(client)["socks"]["auth"] == how


def test_userid_with_ident_satisfies_both(daemons, echo, identds):
    """A USERID that ident confirms is a USERID still: a rule that takes the claim takes it."""
    rules = ANN.replace('"ann"', '"eve"').replace("ann: {", "eve: {") + CLAIMED
    source = net.fresh_address()
    identds(source, says("ann"))
    daemon = daemons(rules=rules, settings=TRUSTED)
    client, code = ask(daemon, 4, echo, source=source)
    assert code == 90
    client.close()
    record = daemon.ledger.last_of(client)
    assert record["rule"]["id"] == "claimed" and record["socks"]["auth"] == "userid"


# -- as long as the session lives ---------------------------------------------------------

def test_judged_again_after_reload(daemons, echo, identds):
    source = net.fresh_address()
    identds(source, says("ann"))
    daemon = daemons(rules=ANN, settings=TRUSTED)
    client, code = ask(daemon, 4, echo, source=source)
    assert code == 90
    daemon.reload(rules=ANN + CLAIMED)
    client.send(b"hi")
    assert client.read(2) == b"hi"
    daemon.reload(rules=CLAIMED)  # it is a claim as well
    client.send(b"ho")
    assert client.read(2) == b"ho"
    daemon.reload(rules=ANN.replace('"ann"', '"bob"'))
    assert daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    client.close()
