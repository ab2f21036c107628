"""What a rule says beyond yes and no: log, alert, dry-run, on-revoke."""
import time

from harness.targets import hold
from harness.wait import until

BASE = 'action = "allow"; from = "loopback"; to = [ "any", "loopback" ]'
DENY = 'all: { action = "deny" }'


def rule(more="", name="local"):
    return f"{name}: {{ {BASE}; {more} }}"


def talk(daemon, port):
    """One whole session; its client port."""
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", port).code == 0
        assert client.send(b"hello").read(5) == b"hello"
        return client.port


def actions(daemon, port):
    return [r["event"]["action"] for r in daemon.ledger.find(
        lambda r: r.get("source", {}).get("port") == port)]


# -- log ----------------------------------------------------------------------

def test_log_start_writes_no_end(daemons, echo):
    daemon = daemons(rules=rule('service = "tcp/1"', "never") + rule('log = "start"'))
    daemon.starts_only = True
    first = talk(daemon, echo.port)
    daemon.ledger.wait(lambda r: r.get("source", {}).get("port") == first)
    # a rule that logs both, so that a later record proves that an earlier one did not come
    daemon.reload(rules=rule())
    second = talk(daemon, echo.port)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end")
    assert actions(daemon, first) == ["session-start"]
    assert actions(daemon, second) == ["session-start", "session-end"]


def test_log_end_writes_no_start(daemons, echo):
    daemon = daemons(settings={"workers": 1}, rules=rule('log = "end"'))
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", echo.port).code == 0
        assert client.send(b"seven b").read(7) == b"seven b"
        with daemon.client() as other:  # what is denied is told at once, and behind the start
            assert other.connect5("127.0.0.1", daemon.at[1]).code != 0
            daemon.ledger.last_of(other)
        assert actions(daemon, client.port) == []
    end = daemon.ledger.last_of(client)
    assert end["event"]["action"] == "session-end"
    assert end["source"]["bytes"] == end["destination"]["bytes"] == 7
    assert end["rule"]["id"] == "local"


def test_log_says_nothing_of_denials_and_failures(daemons, echo):
    daemon = daemons(rules='no: { action = "deny"; service = "tcp/9"; log = "start" }\n'
                     + rule('log = "end"'))
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", 9).code == 2
        assert daemon.ledger.last_of(client)["rule"]["id"] == "no"
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", 1).code == 5
        assert daemon.ledger.last_of(client)["event"]["action"] == "session-fail"


def test_cards_of_unwritten_records_come_back(daemons, echo):
    """A session of which nothing is written at its end still gives back all it had."""
    daemon = daemons(settings={"limits": {"sessions": 4}}, rules=rule('log = "start"'))
    daemon.starts_only = True

    def again():
        """One more; the worker may not have seen the end of those before yet."""
        try:
            return talk(daemon, echo.port)
        except (AssertionError, OSError):
            return None

    for _ in range(40):
        until(again, "a session that is let in")


# -- alert ----------------------------------------------------------------------

def test_alert_is_a_line_in_the_log(daemons, echo):
    daemon = daemons(rules='no: { action = "deny"; service = "tcp/9"; alert = true }\n'
                     + rule("alert = true", "yes"))
    with daemon.client() as client:
        assert client.connect5("evil\x1b[31m'.example".encode().decode("latin-1"), 9).code != 0
        denied = daemon.ledger.last_of(client)
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", 9).code == 2
        denied = daemon.ledger.last_of(client)
        at = f"{client.name[0]}:{client.port}"
    until(lambda: f"alert: rule 'no' denied {at} to 127.0.0.1:9 "
                  f"(session {denied['socks']['session']})" in daemon.log(), daemon.log)
    port = talk(daemon, echo.port)
    until(lambda: f"alert: rule 'yes' allowed 127.0.0.1:{port} to 127.0.0.1:{echo.port}"
                  in daemon.log(), daemon.log)
    assert "\x1b[31m'" not in daemon.log()


def test_alerts_do_not_flood_the_log(daemons, echo):
    daemon = daemons(settings={"workers": 1}, rules=rule("alert = true"))
    for _ in range(60):
        talk(daemon, echo.port)
    assert 1 <= daemon.log().count("alert: rule 'local' allowed") <= 30


# -- dry-run --------------------------------------------------------------------

def test_dry_run_is_told_and_decides_nothing(daemons, echo):
    daemon = daemons(rules='try: { action = "deny"; service = "tcp/%d"; mode = "dry-run"; alert = true }\n'
                     % echo.port + rule())
    port = talk(daemon, echo.port)
    records = daemon.ledger.wait(lambda r: r.get("source", {}).get("port") == port, count=2)
    for record in records:
        assert record["rule"]["id"] == "local"
        assert record["socks"]["dry_run"] == "try"
    until(lambda: "alert: rule 'try' (dry-run) would have denied" in daemon.log(), daemon.log)
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", 1).code == 5
        assert "dry_run" not in daemon.ledger.last_of(client)["socks"]


# -- on-revoke --------------------------------------------------------------------

def standing(daemon, target):
    client = daemon.client()
    assert client.connect5("127.0.0.1", target.port).code == 0
    assert client.send(b"x").read(1) == b"x"
    return client


def test_on_revoke_sever_is_the_default(daemons, echo):
    daemon = daemons(rules=rule())
    client = standing(daemon, echo)
    daemon.reload(rules=DENY)
    assert daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    client.close()
    until(lambda: "the new policy ended 1 session" in daemon.log(), daemon.log)


def test_on_revoke_keep(daemons, echo):
    daemon = daemons(rules=rule('on-revoke = "keep"'))
    client = standing(daemon, echo)
    daemon.reload(rules=DENY)
    daemon.reload(rules=DENY + ' more: { action = "deny" }')
    assert client.send(b"still here").read(10) == b"still here"
    with daemon.client() as other:  # newcomers are judged by the new policy
        assert daemon.ledger.last_of(other)["event"]["reason"] == "denied"
    client.close()
    end = daemon.ledger.last_of(client)
    assert end["event"]["reason"] == "client-closed"
    assert end["rule"]["id"] == "local"


def test_on_revoke_drain(daemons, echo):
    daemon = daemons(rules=rule('on-revoke = "drain 1500 ms"'))
    client = standing(daemon, echo)
    begin = time.monotonic()
    daemon.reload(rules=DENY)
    assert client.send(b"for a while").read(11) == b"for a while"
    daemon.reload(rules=DENY)  # gives no more time
    assert client.read_end() == b""
    assert time.monotonic() - begin >= 1.4
    assert daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    client.close()


def test_on_revoke_drain_ends_where_it_is_allowed_again(daemons, echo):
    daemon = daemons(rules=rule('on-revoke = "drain 800 ms"'))
    client = standing(daemon, echo)
    daemon.reload(rules=DENY)
    daemon.reload(rules=rule())
    begin = time.monotonic()
    until(lambda: time.monotonic() - begin > 1.2, "the old deadline to pass")
    assert client.send(b"x").read(1) == b"x"
    client.close()
    assert daemon.ledger.last_of(client)["event"]["reason"] == "client-closed"


def test_on_revoke_counts_the_word_of_the_rule_that_allowed_last(daemons, echo):
    daemon = daemons(rules=rule('on-revoke = "keep"', "old"))
    client = standing(daemon, echo)
    daemon.reload(rules=rule("", "new"))  # still allowed, by a rule that severs
    daemon.reload(rules=DENY)
    assert daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    client.close()


def test_idle_and_lifetime_are_of_the_policy_that_decided(daemons, targets):
    """A reload between the verdict and the relay must not read the old rule's number in the new policy."""
    target = targets(hold)
    daemon = daemons(rules=rule('limit: { lifetime = "700 ms" }'))
    client = daemon.client()
    assert client.connect5("127.0.0.1", target.port).code == 0
    daemon.reload(rules='first: { action = "deny"; service = "tcp/9" }\n' + rule())
    assert daemon.ledger.last_of(client)["event"]["reason"] == "lifetime"
    client.close()
