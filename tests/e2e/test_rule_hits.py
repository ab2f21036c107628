"""sallyctl rules --hits: what is counted by rule, over reloads, restarts and the deaths of processes."""
import json
import os
import signal
import subprocess
import threading

import pytest

from harness.wait import PATIENCE, until

BASE = 'action = "allow"; from = "loopback"; to = [ "any", "loopback" ]'


def allow(name, port, more=""):
    return f'{name}: {{ {BASE}; service = "tcp/{port}"; {more} }}\n'


def deny(name, port, more=""):
    return f'{name}: {{ action = "deny"; service = "tcp/{port}"; {more} }}\n'


class Counted:
    """A server with a control socket, and what its rules have counted."""

    def __init__(self, build, daemon):
        self.tool = os.path.join(build, "sallyctl")
        self.daemon = daemon

    def run(self, *args):
        done = subprocess.run(
            [self.tool, "rules", *args, "--socket", self.daemon.settings["control"]["socket"]],
            capture_output=True, timeout=3 * PATIENCE, check=False,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def answer(self):
        """The whole answer; asked again where control is just being restarted."""
        def asked():
            status, out, _ = self.run("--hits", "--json")
            return json.loads(out) if status == 0 else None
        return until(asked, "an answer of sallyctl rules", every=0.05)

    def rules(self):
        return {rule["rule"]: rule for rule in self.answer()["rules"]}

    def hits(self):
        """{rule: matches} of those that matched"""
        return {name: r["matches"] for name, r in self.rules().items() if r["matches"]}

    def control_pid(self):
        return next((p for p in self.daemon.processes() if "control" in self.daemon.role(p)), None)

    def ask(self, port, times=1):
        for _ in range(times):
            with self.daemon.client() as client:
                client.connect5("127.0.0.1", port)
                self.daemon.ledger.of(client)


@pytest.fixture
def counted(daemons, build):
    def make(**kwargs):
        daemon = daemons(start=False, **kwargs)
        daemon.settings["control"] = {"socket": os.path.join(daemon.folder, "control")}
        daemon.start()
        return Counted(build, daemon)
    return make


# -- what is counted ----------------------------------------------------------------

def test_every_verdict_is_counted_once(counted, echo):
    server = counted(rules=deny("no", 9) + allow("yes", echo.port) + allow("other", 1)
                     + deny("unused", 12345))
    server.ask(echo.port, 3)
    server.ask(9, 2)
    server.ask(1)  # allowed and not reached
    server.ask(4711)  # by no rule
    server.ask(server.daemon.at[1])  # not itself: another address of its port
    with server.daemon.client() as client:
        assert client.connect5(server.daemon.at[0], server.daemon.at[1]).code == 2
    assert server.hits() == {"yes": 3, "no": 2, "other": 1, "policy-default": 2, "builtin:self": 1}
    rules = server.rules()
    assert list(rules) == ["yes", "no", "policy-default", "other", "builtin:self", "unused"]
    assert rules["unused"]["last"] is None and rules["unused"]["matches"] == 0
    assert rules["yes"]["action"] == "allow" and rules["no"]["action"] == "deny"
    assert rules["yes"]["since"] == rules["unused"]["since"] == server.answer()["since"]
    assert rules["yes"]["since"] <= rules["yes"]["last"]
    assert rules["yes"]["file"].endswith("sallyport.conf") and rules["yes"]["line"] > 0


def test_refused_before_the_request(counted, echo):
    """Who can never be allowed is refused at once, by the same rule, and counted like any."""
    server = counted(rules='out: { action = "deny"; from = "127.0.0.66" }\n'
                           'in: { action = "allow"; from = "127.0.0.1"; to = [ "any", "loopback" ] }\n')
    with server.daemon.client(source="127.0.0.66") as client:
        assert server.daemon.ledger.of(client)["rule"]["id"] == "out"
    with server.daemon.client(source="127.0.0.5") as client:
        assert server.daemon.ledger.of(client)["rule"]["id"] == "policy-default"
    with server.daemon.client() as client:
        client.greet(b"\x02")  # no method that the rule takes
        assert server.daemon.ledger.of(client)["event"]["reason"] == "denied"
    assert server.hits() == {"out": 1, "policy-default": 2}


def test_dry_run_is_counted_apart(counted, echo):
    server = counted(rules=deny("try", echo.port, 'mode = "dry-run"') + allow("yes", echo.port))
    server.ask(echo.port, 4)
    rules = server.rules()
    assert rules["try"]["matches"] == 0 and rules["try"]["dry_run"] == 4
    assert rules["try"]["mode"] == "dry-run" and rules["try"]["last"]
    assert rules["yes"]["matches"] == 4 and rules["yes"]["dry_run"] == 0


def test_the_sum_of_hits_is_the_number_of_sessions(counted, echo):
    """As a property: under load from many clients, by all records of the ledger."""
    server = counted(settings={"workers": 4},
                     rules=deny("no", 9) + allow("try", echo.port, 'mode = "dry-run"')
                     + allow("yes", echo.port) + allow("closed", 1))

    def work(seed):
        for i in range(25):
            with server.daemon.client() as client:
                client.connect5("127.0.0.1", (echo.port, 9, 1, 4711)[(i * 7 + seed) % 4])
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def last():
        return server.daemon.ledger.find(
            lambda r: r["event"]["action"] in ("session-end", "session-deny", "session-fail"))
    until(lambda: len(last()) == 200, "all sessions to end")
    by_rule = {}
    for record in last():
        by_rule[record["rule"]["id"]] = by_rule.get(record["rule"]["id"], 0) + 1
    assert server.hits() == by_rule
    assert sum(by_rule.values()) == 200
    assert server.rules()["try"]["dry_run"] == by_rule["yes"]


# -- over reloads ----------------------------------------------------------------------

def test_counts_follow_names(counted, echo):
    """Reordered, renamed, removed, put back: a name keeps its count."""
    server = counted(rules=deny("no", 9) + allow("yes", echo.port) + deny("old", 10))
    server.ask(echo.port, 2)
    server.ask(9)
    server.ask(10, 3)
    server.daemon.reload(rules=allow("yes", echo.port) + deny("renamed", 9) + deny("no", 11))
    server.ask(echo.port)
    server.ask(9, 2)
    server.ask(11)
    rules = server.rules()
    assert {n: r["matches"] for n, r in rules.items() if r["matches"]} == {
        "yes": 3, "renamed": 2, "no": 2, "old": 3}
    assert rules["old"]["gone"] and "action" not in rules["old"]
    assert rules["renamed"]["since"] > rules["yes"]["since"] == server.answer()["since"]
    server.daemon.reload(rules=deny("old", 10) + allow("yes", echo.port))
    server.ask(10)
    rules = server.rules()
    assert rules["old"]["matches"] == 4 and "gone" not in rules["old"]
    assert rules["renamed"]["gone"]


def test_many_reloads_leave_nothing_behind(counted, echo):
    server = counted(rules=allow("yes", echo.port))
    parent = server.daemon.process.pid
    server.ask(echo.port)
    for i in range(12):
        server.daemon.reload(rules=allow("yes", echo.port) + deny(f"r{i}", 9))
        server.ask(echo.port)
    assert server.hits() == {"yes": 13}

    def pages():
        held = [os.readlink(f"/proc/{parent}/fd/{d}") for d in os.listdir(f"/proc/{parent}/fd")]
        return sum("memfd:hits" in path for path in held)
    until(lambda: pages() == len(server.daemon.workers()), lambda: f"{pages()} pages are left")


def test_a_reload_while_sessions_come(counted, crowds):
    crowd = crowds()
    server = counted(rules=allow("yes", crowd.port), settings={"workers": 3})
    stop, asked = threading.Event(), [0]

    def work():
        while not stop.is_set():
            with server.daemon.client() as client:
                assert client.connect5("127.0.0.1", crowd.port).code == 0
                asked[0] += 1
    thread = threading.Thread(target=work)
    thread.start()
    for i in range(6):
        server.daemon.reload(rules=deny(f"r{i}", 9) + allow("yes", crowd.port))
    stop.set()
    thread.join()
    assert asked[0] > 0
    # a reload between verdict and reply judges once more, and is no new verdict
    until(lambda: server.hits() == {"yes": asked[0]}, lambda: f"{server.hits()}, {asked} asked")


# -- over deaths and restarts --------------------------------------------------------------

def test_a_restart_goes_on(counted, echo):
    server = counted(rules=deny("no", 9) + allow("yes", echo.port))
    server.ask(echo.port, 3)
    server.ask(9)
    before = server.answer()
    assert before["kept"]
    assert server.daemon.terminate() == 0
    server.daemon.rules = allow("yes", echo.port) + deny("new", 9)
    server.daemon.start()
    server.ask(9)
    server.ask(echo.port)
    after = server.answer()
    assert after["since"] == before["since"]
    assert server.hits() == {"yes": 4, "no": 1, "new": 1}


def test_the_server_is_killed(counted, echo):
    """kill -9 of the parent: the others see it and keep what they know."""
    server = counted(rules=allow("yes", echo.port))
    server.ask(echo.port, 5)
    processes = server.daemon.processes()
    server.daemon.process.kill()
    server.daemon.process.wait()
    until(lambda: not any(os.path.exists(f"/proc/{p}") for p in processes), "all to end")
    server.daemon.start()
    server.ask(echo.port)
    assert server.hits() == {"yes": 6}


def test_a_worker_dies(counted, echo):
    server = counted(rules=allow("yes", echo.port), settings={"workers": 1})
    server.daemon.crash_expected = True
    for i in range(3):
        server.ask(echo.port, 2)
        worker = server.daemon.workers()[0]
        os.kill(worker, signal.SIGKILL)
        until(lambda w=worker: server.daemon.workers() and server.daemon.workers() != [w],
              "another worker")
        assert server.hits() == {"yes": 2 * (i + 1)}


def test_control_dies(counted, echo):
    """At any moment: nothing is lost and nothing is counted twice."""
    server = counted(rules=allow("yes", echo.port), settings={"workers": 2})
    total = 0
    for i in range(4):
        server.ask(echo.port)
        total += 1
        pid = server.control_pid()
        os.kill(pid, signal.SIGKILL)
        server.daemon.reload(rules=allow("yes", echo.port) + deny(f"r{i}", 9))
        server.ask(echo.port)
        total += 1
        until(lambda p=pid: server.control_pid() not in (None, p), "another control process", 40)
        assert server.hits() == {"yes": total}


def test_control_is_dead_at_the_end(counted, echo):
    server = counted(rules=allow("yes", echo.port))
    for _ in range(2):  # the second death is backed off
        pid = until(server.control_pid, "control")
        server.answer()
        os.kill(pid, signal.SIGKILL)
        until(lambda p=pid: server.control_pid() != p, "its end")
    server.ask(echo.port, 3)
    assert server.daemon.terminate() == 0
    server.daemon.start()
    assert server.hits() == {"yes": 3}


def test_the_ledger_dies(counted, echo):
    server = counted(rules=allow("yes", echo.port))
    server.ask(echo.port, 2)
    ledger = server.daemon.ledger_pid()
    os.kill(ledger, signal.SIGKILL)
    until(lambda: any("ledger" in server.daemon.role(p) and p != ledger
                      for p in server.daemon.processes()), "another ledger")
    server.ask(echo.port)
    assert server.hits() == {"yes": 3}


# -- the files ----------------------------------------------------------------------------

def files_of(daemon):
    folder = daemon.settings["state"]["directory"]
    return [os.path.join(folder, f"rule-hits.{i}") for i in range(2)]


def test_files_are_private(counted, echo):
    server = counted(rules=allow("yes", echo.port))
    for path in files_of(server.daemon):
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(path).st_uid == os.geteuid()


def test_a_damaged_book_is_a_warning_and_a_new_window(counted, echo):
    server = counted(rules=allow("yes", echo.port))
    server.ask(echo.port)
    since = server.answer()["since"]
    server.daemon.terminate()
    for path in files_of(server.daemon):
        with open(path, "r+b") as file:
            data = bytearray(file.read())
            if data:
                data[len(data) // 2] ^= 1
                file.seek(0)
                file.write(data)
    server.daemon.start()
    server.ask(echo.port, 2)
    assert server.hits() == {"yes": 2}
    assert server.answer()["since"] > since
    assert "the file of the rules' counters is damaged" in server.daemon.log()


def test_a_lost_book_is_a_new_window(counted, echo):
    server = counted(rules=allow("yes", echo.port))
    server.ask(echo.port)
    server.daemon.terminate()
    for path in files_of(server.daemon):
        os.unlink(path)
    server.daemon.start()
    assert server.hits() == {}


def test_a_folder_that_cannot_be_used(counted, daemons, build, echo):
    """Counted all the same, over everything but a restart; and the log says why."""
    daemon = daemons(start=False, rules=allow("yes", echo.port))
    daemon.settings["state"] = {"directory": daemon.write("in-the-way", "") + "/state"}
    daemon.settings["control"] = {"socket": os.path.join(daemon.folder, "control")}
    server = Counted(build, daemon.start())
    server.ask(echo.port)
    assert "not kept over a restart" in daemon.log()
    os.kill(server.control_pid(), signal.SIGKILL)
    answer = server.answer()
    assert not answer["kept"]
    assert server.hits() == {"yes": 1}
    assert "not kept over a restart" in server.run("--hits")[1]


def test_one_folder_one_server(counted, daemons, build, echo):
    first = counted(rules=allow("yes", echo.port))
    second = daemons(start=False, rules=allow("yes", echo.port))
    second.settings["state"] = first.daemon.settings["state"]
    second.settings["control"] = {"socket": os.path.join(second.folder, "control")}
    second.start()
    first.ask(echo.port)
    assert "is in use by another server" in second.log()
    assert Counted(build, second).hits() == {}
    assert first.hits() == {"yes": 1}


def test_a_link_is_not_followed(daemons, echo):
    daemon = daemons(start=False, rules=allow("yes", echo.port))
    folder = daemon.settings["state"]["directory"]
    os.mkdir(folder)
    victim = daemon.write("victim", "precious")
    os.symlink(victim, os.path.join(folder, "rule-hits.0"))
    daemon.settings["control"] = {"socket": os.path.join(daemon.folder, "control")}
    daemon.start()
    daemon.stop()
    with open(victim, encoding="ascii") as file:
        assert file.read() == "precious"


# -- the tool --------------------------------------------------------------------------------

def test_tables(counted, echo):
    server = counted(rules=deny("no", 9, 'owner = "net-ops"; ticket = "CHG-1"')
                     + allow("yes", echo.port) + deny("idle", 10))
    server.ask(echo.port, 2)
    status, out, _ = server.run("--hits")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == ["HITS", "DRY-RUN", "LAST", "(UTC)", "RULE", "ACTION", "PLACE"]
    assert lines[1].split()[:2] == ["2", "0"] and " yes " in lines[1] and " allow " in lines[1]
    idle = next(line for line in lines if " idle " in line)
    assert idle.split()[:3] == ["0", "0", "never"]
    assert "2 rules never matched; counted since 20" in lines[-1] and lines[-1].startswith("2 hits")
    status, out, _ = server.run("--unused")
    assert [line.split()[3] for line in out.splitlines()[1:-1]] == ["no", "idle"]
    status, out, _ = server.run()
    assert [line.split()[0] for line in out.splitlines()] == [
        "RULE", "no", "yes", "idle", "policy-default", "builtin:self"]
    assert "net-ops" in out and "CHG-1" in out and "sallyport.conf:" in out
    status, out, _ = server.run("--hits", "--sort", "name")
    assert [line.split()[4 if line.split()[2] != "never" else 3]
            for line in out.splitlines()[1:-1]] == sorted(
                ["no", "yes", "idle", "policy-default", "builtin:self"])
    assert server.run("--sort", "colour")[0] == 2


def test_many_rules_are_all_told(counted, echo):
    rules = "".join(deny(f"rule-{i}", 1 + i) for i in range(1500))
    server = counted(rules=rules + allow("yes", echo.port, 'listener = "main"'))
    server.ask(1)
    server.ask(1500)
    rules = server.rules()
    assert len(rules) == 1503
    assert server.hits() == {"rule-0": 1, "rule-1499": 1}
