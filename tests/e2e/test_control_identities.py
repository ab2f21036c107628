"""Metrics of who clients are, of judging, and of our processes; the whole list of metrics."""
import os
import time

import pytest

from harness import net
from harness.control import Control
from harness.ident import Identd, says
from harness.login import password, write_users
from harness.metrics import PROCESS, Page, manual, rows, wanted
from harness.wait import until

ASSERTED = """
  asserted: { action = "allow"; who = "ann"; auth = "ident"; from = "127.0.0.0/8"; to = "loopback" }
"""
PROVEN = """
  proven: { action = "allow"; who = "known"; auth = "file"; from = "127.0.0.0/8"; to = "loopback" }
"""


@pytest.fixture
def page(daemons, build):
    def make(users=None, auth=None, **kwargs):
        daemon = daemons(start=False, **kwargs)
        daemon.settings["control"] = {"socket": os.path.join(daemon.folder, "control")}
        if users:
            auth = {"file": {"path": write_users(daemon, users)}, **auth}
        if auth:
            daemon.settings["auth"] = auth
        server = Control(daemon.start(), build)
        server.page = lambda: Page(server.run("metrics"))
        return server
    return make


def test_the_whole_list(page):
    server = page(settings={"audit": {"copies": {"near": {"to": "unix:/nowhere"}}}})
    got = server.page()
    for name, labels in wanted().items():
        assert name in got.families, name
        kind = got.families[name][0]
        assert name.endswith("_total") == (kind == "counter"), name
        have = got.labels.get(name, set())
        # no rule has matched yet, so nothing says when
        assert labels <= have or name == "sallyport_rule_last_match_timestamp_seconds", name
    for name in PROCESS:
        assert "process_" + name in got.families


def test_the_manual_tells_all_of_it(page):
    server = page(settings={"audit": {"copies": {"near": {"to": "unix:/nowhere"}}}}, rules="""
      a: { action = "allow"; from = "127.0.0.1"; to = "loopback" }""")
    client = server.daemon.client(source="127.0.0.1")
    client.connect5("127.0.0.1", 1)
    got = server.page()
    table = {name: (got.labels.get(name, set()), kind)
             for name, (kind, _) in got.families.items()}
    assert manual() == table, "\n".join(rows(got))


def test_attempts(page):
    server = page(rules=PROVEN, users={"ann": "secret"}, auth={"failure-delay": "0 ms"})
    for secret, good in (("secret", True), ("wrong", False), ("wrong", False)):
        client = server.daemon.client(source="127.0.0.1")
        client.greet(b"\x02")
        client.send(password("ann", secret))
        assert (client.read(2)[1] == 0) is good
        client.close()
    got = until(lambda: (lambda p: p if p.get("auth_seconds_count", method="password") == 3
                         else None)(server.page()), "three attempts")
    assert got.get("auth_attempts_total", method="password", result="success") == 1
    assert got.get("auth_attempts_total", method="password", result="failure") == 2
    assert got.get("auth_attempts_total", method="password", result="unavailable") == 0
    assert got.get("auth_attempts_total", method="chap", result="success") == 0
    assert 0 < got.get("auth_seconds_sum", method="password") < 30
    assert got.get("auth_queue_length") == 0


def test_questions_that_wait(page):
    """A refusal waits for its time: until then the question has no answer."""
    server = page(rules=PROVEN, users={"ann": "secret"}, auth={"failure-delay": "60 s"})
    clients = []
    for _ in range(3):
        client = server.daemon.client(source="127.0.0.1")
        client.greet(b"\x02")
        client.send(password("ann", "wrong"))
        clients.append(client)
    until(lambda: server.page().get("auth_queue_length") == 3, "three questions")
    for client in clients:
        client.close()
    until(lambda: server.page().get("auth_queue_length") == 0, "none")


def test_ident(page, targets):
    server = page(rules=ASSERTED, auth={"ident": {"trusted": ["127.0.0.0/8"], "timeout": "2 s"}})
    echo = targets()
    sources = [net.fresh_address() for _ in range(3)]
    hosts = [Identd(sources[0], says("ann")),
             Identd(sources[1], lambda q, _: q.strip() + b" : ERROR : HIDDEN-USER\r\n")]
    for source in (*sources, sources[2]):
        client = server.daemon.client(source=source)
        client.connect5("127.0.0.1", echo.port)
        client.close()
    for host in hosts:
        host.close()
    got = server.page()
    assert got.get("ident_lookups_total", result="user") == 1
    assert got.get("ident_lookups_total", result="other") == 1
    asked = [got.get("ident_lookups_total", result=r) for r in ("unreachable", "skipped")]
    assert sum(asked) == 2 and asked[0] >= 1


def test_some_decisions_are_timed(page, targets):
    server = page(settings={"workers": 1})
    echo = targets()
    for _ in range(130):
        client = server.daemon.client()
        assert client.connect5("127.0.0.1", echo.port).code == 0
        client.close()
    got = server.page()
    assert got.get("decisions_total") == 130
    assert got.get("decision_rules_tested_count") == 130
    assert got.get("decision_rules_tested_sum") >= 130
    assert got.get("decision_seconds_count") == 2
    assert 0 < got.get("decision_seconds_sum") < 1


def test_processes(page):
    server = page(settings={"workers": 2})
    got = until(lambda: (lambda p: p if len(p.all("process_start_time_seconds")) == 5 else None)(
        server.page()), "all processes")
    roles = sorted((labels["role"], labels.get("worker"))
                   for labels, _ in got.all("process_cpu_seconds_total"))
    assert roles == sorted([("parent", None), ("control", None), ("ledger", None),
                            ("worker", "0"), ("worker", "1")], key=str)
    for labels, value in got.all("process_resident_memory_bytes"):
        assert 1e5 < value < 1e9, labels
    for labels, value in got.all("process_virtual_memory_bytes"):
        assert value > 1e6, labels
    for labels, value in got.all("process_start_time_seconds"):
        assert abs(value - time.time()) < 600, labels
    before = {labels["worker"]: value for labels, value in got.all("process_open_fds")
              if labels["role"] == "worker"}
    assert all(value > 3 for value in before.values())
    most = [value for labels, value in got.all("process_max_fds") if labels["role"] == "worker"]
    assert min(most) > max(before.values())
    clients = [server.daemon.client() for _ in range(20)]

    def opened():
        page_now = server.page()
        return sum(value for labels, value in page_now.all("process_open_fds")
                   if labels["role"] == "worker") - sum(before.values())
    until(lambda: opened() == 20, "twenty more descriptors")
    for client in clients:
        client.close()
    until(lambda: opened() == 0, "as many as before")


def test_processes_that_are_restarted(page):
    server = page(settings={"workers": 1})
    server.daemon.crash_expected = True
    first = {labels["role"]: value
             for labels, value in server.page().all("process_start_time_seconds")}
    for role in ("ledger", "control", "worker"):
        victim = next(p for p in server.daemon.processes() if role in server.daemon.role(p)
                      or role == "worker" and p in server.daemon.workers())
        os.kill(victim, 9)
        until(lambda: victim not in server.daemon.processes(), role)
        until(lambda: server.json("status")[0]["processes"], "control")

    def again():
        seen = {labels["role"]: value
                for labels, value in server.page().all("process_start_time_seconds")}
        return len(seen) == 4 and seen["parent"] == first["parent"] and all(
            seen[r] > first[r] for r in ("worker", "ledger", "control"))
    until(again, "the new ones")

