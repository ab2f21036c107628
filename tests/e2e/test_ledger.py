"""The ledger's records: what stands in them, in which order, and that it is true (AUDIT)."""
import json
import glob
import os
import re
import socket
import time

import pytest

from harness.daemon import parse_time
from harness.socks import greeting, request5
from harness.targets import hold

# the sample of AUDIT: the order of all its keys, as paths
SAMPLE_ORDER = [
    "@timestamp", "ecs.version", "event.kind", "event.category", "event.type", "event.action",
    "event.outcome", "event.id", "user.name", "source.ip", "source.port", "source.nat.ip",
    "source.nat.port", "destination.domain", "destination.ip", "destination.port",
    "network.transport", "network.type", "network.protocol", "observer.hostname",
    "observer.product", "observer.version", "observer.ingress.interface.name", "rule.id",
    "rule.reference", "socks.session", "socks.version", "socks.command", "socks.auth",
    "socks.assurance", "socks.reply", "policy.name", "policy.hash", "audit.seq", "audit.prev",
]
LAST = ("session-end", "session-deny", "session-fail")


def paths(line):
    """Every leaf of a JSON object as a dotted path, in the order of the text."""
    found = []

    def walk(prefix, pairs):
        for key, value in pairs:
            path = f"{prefix}.{key}" if prefix else key
            if isinstance(value, list) and value and isinstance(value[0], tuple):
                walk(path, value)
            else:
                found.append(path)
    walk("", json.loads(line, object_pairs_hook=list))
    return found


def in_sample_order(line):
    known = [p for p in paths(line) if p in SAMPLE_ORDER]
    assert known == [p for p in SAMPLE_ORDER if p in known], known
    assert len(set(paths(line))) == len(paths(line)), "a key twice"


@pytest.fixture
def story(daemons, dns, targets):
    """A server to which everything has happened once; (daemon, {action: record})."""
    names = dns({"shop.test": ["127.0.0.1"]})
    target = targets()
    daemon = daemons(
        settings={"dns": {"servers": [names.server]}},
        objects='policy: { name = "story" }',
        rules='  shop: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ]; '
              f'service = "tcp/{target.port}"; ticket = "CHG-20418" }}\n'
              '  rest: { action = "allow"; from = "loopback"; to = "loopback"; '
              'service = "tcp/9" }')
    with daemon.client() as client:
        reply = client.connect5("shop.test", target.port)
        assert reply.code == 0
        client.send(b"hello").read(5)
    end = daemon.ledger.last_of(client)
    start = daemon.ledger.of(client, "session-start")
    with daemon.client() as denied:
        denied.connect5("192.0.2.1", 80)
    with daemon.client() as failed:
        failed.connect4("127.0.0.99", 9, b"me")
    return daemon, client, target, reply, {
        "session-start": start, "session-end": end,
        "session-deny": daemon.ledger.last_of(denied),
        "session-fail": daemon.ledger.last_of(failed)}


def test_key_order_and_form(story):
    daemon = story[0]
    lines = daemon.ledger.lines()
    assert lines
    for line in lines:
        assert all(0x20 <= byte <= 0x7e for byte in line)
        in_sample_order(line)
        assert paths(line)[0] == "@timestamp"
        # no spaces between, no taste: times in ms have three digits
        whole = re.sub(r'(?<=":)(\d+\.\d{3})(?=[,}])', r'"\1"', line.decode())
        assert whole == json.dumps(json.loads(whole), separators=(",", ":"))


def test_what_a_start_says(story):
    daemon, client, target, reply, records = story
    start = records["session-start"]
    assert start["ecs"] == {"version": "8.11.0"}
    assert start["event"] == {
        "kind": "event", "category": ["network", "session"],
        "type": ["connection", "start", "allowed"], "action": "session-start",
        "outcome": "success", "id": start["socks"]["session"] + "-1"}
    assert start["source"] == {"ip": "127.0.0.1", "port": client.port,
                               "nat": {"ip": reply.address, "port": reply.port}}
    assert start["destination"] == {"domain": "shop.test", "ip": "127.0.0.1", "port": target.port}
    assert start["network"] == {"transport": "tcp", "type": "ipv4", "protocol": "socks"}
    assert start["observer"]["product"] == "sallyport"
    assert start["observer"]["hostname"] == socket.gethostname()
    assert start["observer"]["ingress"] == {"interface": {"name": "main"}}
    assert start["rule"] == {"id": "shop", "reference": "CHG-20418"}
    assert {k: start["socks"][k] for k in ("version", "command", "assurance", "reply")} == {
        "version": 5, "command": "connect", "assurance": "none", "reply": 0}
    assert start["policy"]["name"] == "story"
    assert re.fullmatch(r"[0-9a-f]{12}", start["policy"]["hash"])
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{14}", start["socks"]["session"])
    assert start["audit"]["seq"] > 0


def test_what_an_end_adds(story):
    daemon, client, target, reply, records = story
    start, end = records["session-start"], records["session-end"]
    assert end["socks"]["session"] == start["socks"]["session"]
    assert end["event"]["id"] == end["socks"]["session"] + "-2"
    assert end["event"]["reason"] == "client-closed"
    assert end["event"]["outcome"] == "success"
    assert "end" in end["event"]["type"]
    for section in ("destination", "network", "observer", "rule", "policy"):
        told = {k: v for k, v in end[section].items() if k != "bytes"}
        assert told == start[section], section
    assert start["policy"].get("reason", "rule") == "rule"
    assert end["source"]["bytes"] == end["destination"]["bytes"] == 5
    begin, finish = parse_time(end["event"]["start"]), parse_time(end["event"]["end"])
    assert abs(finish - begin - end["event"]["duration"] / 1e9) < 0.001
    assert begin <= parse_time(start["@timestamp"]) <= finish + 0.001
    assert abs(time.time() - finish) < 120
    ms = end["socks"]["ms"]
    assert {"handshake", "dns", "connect", "first_byte"} <= set(ms), ms
    assert set(ms) <= {"handshake", "auth", "ident", "dns", "connect", "first_byte"}
    assert all(isinstance(v, (int, float)) and 0 <= v < 60000 for v in ms.values())


def test_what_a_denial_says(story):
    deny = story[4]["session-deny"]
    assert deny["event"]["outcome"] == "failure"
    assert "denied" in deny["event"]["type"]
    assert deny["event"]["reason"] == "denied"
    assert deny["rule"]["id"] == "policy-default"
    assert deny["destination"] == {"ip": "192.0.2.1", "port": 80, **(
        {"bytes": 0} if "bytes" in deny["destination"] else {})}
    assert deny["socks"]["reply"] == 2
    assert "nat" not in deny["source"]


def test_what_a_failure_says(story):
    fail = story[4]["session-fail"]
    assert fail["event"]["outcome"] == "failure"
    assert fail["event"]["reason"] == "refused"
    assert fail["rule"]["id"] == "rest"
    assert (fail["socks"]["version"], fail["socks"]["reply"]) == (4, 91)


def test_the_server_tells_of_itself(story):
    daemon = story[0]
    daemon.reload()
    daemon.terminate()
    records = daemon.ledger.records()
    actions = [r["event"]["action"] for r in records]
    assert actions[0] == "audit-start"
    assert actions[-1] == "audit-stop"
    assert "policy-load" in actions
    for record in records:
        if record["event"]["action"] in ("audit-start", "policy-load", "audit-stop"):
            assert record["event"]["outcome"] == "success"
            assert record["event"]["kind"] == "event"


def test_numbers_have_no_gap(story):
    seqs = [r["audit"]["seq"] for r in story[0].ledger.records()]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_ids_are_unique_and_in_order(daemon, echo):
    for _ in range(50):
        with daemon.client() as client:
            client.connect5("127.0.0.1", echo.port)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "50 ends", count=50)
    sessions = daemon.ledger.sessions()
    assert len(sessions) == 50
    # the time stands in front: ids sort as sessions came, to the millisecond
    starts = sorted((r[-1]["event"]["start"], s[:9]) for s, r in sessions.items())
    assert all(a[1] <= b[1] for a, b in zip(starts, starts[1:]) if a[0][:23] != b[0][:23])


def test_the_start_stands_before_the_reply(daemon, targets):
    """When the client reads success, the record is on its way: it comes without the session ending."""
    target = targets(hold)
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", target.port).code == 0
        start = daemon.ledger.of(client, "session-start")
        assert start["socks"]["reply"] == 0
        assert daemon.ledger.find(lambda r: r["event"]["action"] in LAST) == []


def test_bytes_are_exact_whatever_the_end(daemon, targets):
    """Counted are the bytes that were delivered to the other side's kernel."""
    for up, down in ((0, 0), (1, 0), (0, 1), (100000, 77777), (5, 1 << 20)):
        target = targets(hold)
        with daemon.client() as client:
            client.send(greeting() + request5("127.0.0.1", target.port) + b"u" * up)
            assert client.read(2) == b"\x05\x00"
            assert client.reply5().code == 0
            sock = target.take()
            got = 0
            while got < up:
                got += len(sock.recv(65536))
            sock.sendall(b"d" * down)
            assert len(client.read(down)) == down
            sock.close()
        end = daemon.ledger.last_of(client)
        assert (end["source"]["bytes"], end["destination"]["bytes"]) == (up, down)


def test_a_long_session_tells_of_itself(daemons, targets):
    """session-progress every audit.progress: the bytes so far, an id of its own."""
    daemon = daemons(settings={"audit": {"progress": "1 s"}})
    target = targets(hold)
    with daemon.client() as client, daemon.client() as other:
        assert client.connect5("127.0.0.1", target.port).code == 0
        sock = target.take()
        client.send(b"12345")
        some = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-progress",
                                  "three of them", count=3)
        assert [r["source"]["bytes"] for r in some][-2:] == [5, 5]
        assert {r["source"]["port"] for r in some} == {client.port}  # not of a handshake
        assert len({r["event"]["id"] for r in some}) == 3
        ages = [r["event"]["duration"] // 10**9 for r in some]
        assert ages == sorted(set(ages))
        assert [r["event"]["id"].rsplit("-", 1)[1] for r in some] == [str(a) for a in ages]
        for r in some:
            start = daemon.ledger.of(client, "session-start")
            assert r["socks"]["session"] == start["socks"]["session"]
            assert r["event"]["outcome"] == "success" and "end" not in r["event"]
        other.close()
        daemon.reload(settings={"audit": {"progress": "none"}})
        count = len(daemon.ledger.find(lambda r: r["event"]["action"] == "session-progress"))
        time.sleep(2.5)
        assert len(daemon.ledger.find(
            lambda r: r["event"]["action"] == "session-progress")) <= count + 1
        sock.close()
    daemon.ledger.last_of(client)


@pytest.mark.parametrize("quiet", [True, False])
def test_a_clock_that_is_set(daemons, echo, sanitized, quiet):
    """Times before and after are not to be compared: that is a record of its own."""
    if sanitized:
        pytest.skip("a sanitizer and a false clock do not go together")
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    assert library, "libfaketime is missing: ./dev test installs it"
    daemon = daemons(start=False, settings={"audit": {"progress": "none"}})
    clock = daemon.write("clock", "+0\n")

    def set_clock(text):
        daemon.write("clock.new", text)
        os.rename(clock + ".new", clock)
    daemon.extra_environment = {"LD_PRELOAD": library[0], "FAKETIME_TIMESTAMP_FILE": clock,
                                "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
                                "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    daemon.options = ["-s", "off"]  # the false clock makes and removes files
    daemon.start()
    before = daemon.ledger.wait(lambda r: r["event"]["action"] == "policy-load", "the start")
    if quiet:
        daemon.ledger.wait(lambda r: r["event"]["action"] == "checkpoint", "quiet")
    for text, words in (("+3600s\n", "the clock went forward by 1 h"),
                        ("+1800s\n", "the clock went back by 30 min")):
        set_clock(text)
        with daemon.client() as client:  # the false clock rings no bell
            assert client.connect5("127.0.0.1", echo.port).code == 0
        step = daemon.ledger.wait(lambda r, w=words: r.get("message", "").startswith(
            w.rsplit(" ", 2)[0]) and r["event"]["action"] == "clock-step", words)
        assert step["event"]["category"] == ["host"], step
    steps = daemon.ledger.find(lambda r: r["event"]["action"] == "clock-step")
    assert len(steps) == 2
    assert parse_time(steps[0]["@timestamp"]) - parse_time(before["@timestamp"]) > 3500


def test_the_file_is_appended_to(daemons, echo):
    """A restart goes on in the same file."""
    daemon = daemons()
    with daemon.client() as client:
        client.connect5("127.0.0.1", echo.port)
    daemon.ledger.last_of(client)
    daemon.stop()
    before = os.path.getsize(daemon.audit)
    daemon.crash_expected = True
    daemon.start()
    with daemon.client() as client:
        client.connect5("127.0.0.1", echo.port)
    daemon.ledger.last_of(client)
    assert os.path.getsize(daemon.audit) > before
    daemon.stop(checks=False)


def test_an_audit_file_that_cannot_be_opened(daemons):
    """No ledger, no server."""
    daemon = daemons(start=False, settings={"audit": {"file": "/nonexistent/dir/audit.ndjson"}})
    daemon.start(ready=False)
    assert daemon.process.wait(20) not in (0, -11, -6)
    assert "/nonexistent/dir/audit.ndjson" in daemon.log()
