"""The control socket and the commands of sallyctl that ask the running server."""
import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import threading
import tempfile

import pytest

from harness import net
from harness.control import Control, gid, read_answer
from harness.wait import PATIENCE, until

NOBODY_ELSE = "daemon"  # an account that every Debian has and that the server is not


def without(server):
    """The section with neither viewers nor operators."""
    control = server.daemon.settings["control"]
    control.pop("operators", None)
    control.pop("viewers", None)
    return control


def standing(daemon, port, count):
    clients = [daemon.client() for _ in range(count)]
    for client in clients:
        assert client.connect5("127.0.0.1", port).code == 0
    return clients


# -- status, sessions ---------------------------------------------------------

def test_status(control, crowds):
    server = control()
    crowd = crowds()
    clients = standing(server.daemon, crowd.port, 5)
    until(lambda: server.json("status")[0]["counts"]["started"] == 5, "five starts")
    status = server.json("status")[0]
    assert status["server"]["pid"] == server.daemon.process.pid
    assert status["server"]["draining"] is False
    assert status["policy"]["rules"] == 1 and len(status["policy"]["hash"]) == 12
    assert status["ledger"] == {"state": "ok", "file": server.daemon.audit}
    assert status["limits"]["sessions"]["used"] == 5
    roles = sorted(p["role"] for p in status["processes"])
    assert roles == ["control", "ledger", "parent", "worker", "worker"]
    pids = {p["pid"] for p in status["processes"]}
    assert pids == {server.daemon.process.pid, *server.daemon.processes()}
    assert all(p["state"] == "ready" and p["restarts"] == 0 for p in status["processes"])
    text = server.run("status")
    assert "running for" in text and f"{server.pid()}" in text and "5 of 100,000" in text
    for client in clients:
        client.close()
    until(lambda: server.json("status")[0]["limits"]["sessions"]["used"] == 0, "no sessions")


def test_the_socket_is_found_by_the_settings(control, build):
    server = control()
    done = subprocess.run([server.tool, "status", "-c", server.daemon.config], check=False,
                          capture_output=True)
    assert done.returncode == 0 and b"running for" in done.stdout
    server.daemon.terminate()
    assert not os.path.exists(server.path)
    text = server.run("status", status=2)
    assert "no server answers" in text


def test_sessions_and_their_filters(control, targets):
    server = control(rules="""
      one: { action = "allow"; from = "127.0.0.1"; to = "loopback" }
      two: { action = "allow"; from = "127.0.0.2"; to = "loopback" }
    """)
    echo = targets()
    one = [server.daemon.client(source="127.0.0.1") for _ in range(3)]
    two = [server.daemon.client(source="127.0.0.2") for _ in range(2)]
    for client in one + two:
        assert client.connect5("127.0.0.1", echo.port).code == 0
    named = server.daemon.client(source="127.0.0.2")
    assert named.connect5("localhost", echo.port).code == 0
    one[0].send(b"12345").read(5)
    rows = server.json("sessions")
    assert len(rows) == 6
    started = [r["started"] for r in rows]
    assert started == sorted(started)
    ours = next(r for r in rows if r["source"]["port"] == one[0].port)
    assert ours["source"]["ip"] == "127.0.0.1" and ours["rule"] == "one"
    assert ours["source"]["bytes"] == ours["destination"]["bytes"] == 5
    assert ours["destination"]["ip"] == "127.0.0.1" and ours["destination"]["port"] == echo.port
    assert ours["listener"] == "main" and ours["command"] == "connect" and ours["version"] == 5

    def count(*filters):
        return len(server.json("sessions", *filters))
    assert count("--source", "127.0.0.2") == 3
    assert count("--source", "127.0.0.0/8") == 6
    assert count("--source", "10.0.0.0/8") == 0
    assert count("--rule", "one") == 3
    assert count("--rule", "nothing") == 0
    assert count("--destination", "127.0.0.1") >= 5
    assert count("--destination", "localhost") == 1
    assert count("--destination", "host") == 0
    assert count("--user", "ann") == 0
    assert count("--older-than", "1 h") == 0
    assert count("--younger-than", "1 h") == 6
    assert count("--limit", "4") == 4
    most = server.json("sessions", "--sort", "bytes")[0]
    assert most["session"] == ours["session"]
    text = server.run("sessions")
    assert text.splitlines()[0].split()[:5] == ["SESSION", "AGE", "USER", "SOURCE", "DESTINATION"]
    assert text.splitlines()[-1] == "6 sessions"
    assert "is no address" in server.run("sessions", "--source", "10.0.0", status=2)
    assert "did you mean 'bytes'" in server.run("sessions", "--sort", "byte", status=2)


def test_thousands_of_sessions_are_listed(control, crowds):
    server = control()
    crowd = crowds()
    clients = standing(server.daemon, crowd.port, 1500)
    rows = server.json("sessions")
    assert len(rows) == 1500
    assert {r["source"]["port"] for r in rows} == {c.port for c in clients}
    assert len({r["session"] for r in rows}) == 1500
    text = server.run("sessions", "--sort", "source").splitlines()
    assert text[-1] == "1,500 sessions" and len(text) == 1502
    # one that asks and does not read holds nobody up
    with server.socket() as slow:
        slow.sendall(b'{"command":"sessions"}\n')
        assert len(server.json("sessions")) == 1500
        assert len(read_answer(slow)) == 1501
    for client in clients:
        client.close()


# -- what operators may order ---------------------------------------------------

def test_kill(control, targets):
    server = control(rules="""
      one: { action = "allow"; from = "127.0.0.1"; to = "loopback" }
      two: { action = "allow"; from = "127.0.0.2"; to = "loopback" }
    """)
    echo = targets()
    one, other = (server.daemon.client(source="127.0.0.1") for _ in range(2))
    two = [server.daemon.client(source="127.0.0.2") for _ in range(3)]
    for client in (one, other, *two):
        assert client.connect5("127.0.0.1", echo.port).code == 0
    row = next(r for r in server.json("sessions") if r["source"]["port"] == one.port)
    assert "1 session ended" in server.run("kill", row["session"].lower())
    assert server.daemon.ledger.last_of(one)["event"]["reason"] == "killed"
    assert server.json("kill", "--rule", "two") == [{"sessions": 3}]
    for client in two:
        assert server.daemon.ledger.last_of(client)["event"]["reason"] == "killed"
    assert other.send(b"alive").read(5) == b"alive"
    assert "0 sessions" in server.run("kill", row["session"], status=1)
    assert "0 sessions" in server.run("kill", "--user", "ann", status=1)
    assert "no rule has that name" in server.run("kill", "--rule", "three", status=2)
    assert "no identifier" in server.run("kill", "12", status=2)
    assert "is to be given" in server.run("kill", status=2)
    records = server.admin_actions(4)
    assert [r["message"] for r in records] == [
        f"kill {row['session']}: 1 session ended", "kill --rule two: 3 sessions ended",
        f"kill {row['session']}: 0 sessions ended", "kill --user ann: 0 sessions ended"]
    me = pwd.getpwuid(os.geteuid())
    assert all(r["user"] == {"name": me.pw_name, "id": str(me.pw_uid)} for r in records)


def test_a_rule_is_found_under_the_policy_that_allowed_the_session(control, targets):
    """Its number changes with a reload; its name does not."""
    rule = 'x: { action = "allow"; from = "loopback"; to = "loopback" }'
    server = control(rules=rule)
    echo = targets()
    before = standing(server.daemon, echo.port, 2)
    server.daemon.reload(rules='first: { action = "deny"; from = "10.0.0.1" }\n' + rule)
    after = standing(server.daemon, echo.port, 2)
    assert [r["rule"] for r in server.json("sessions")] == ["x"] * 4
    assert server.json("kill", "--rule", "x") == [{"sessions": 4}]
    for client in before + after:
        assert server.daemon.ledger.last_of(client)["event"]["reason"] == "killed"


def test_reload_and_preview(control, targets):
    server = control(rules='x: { action = "allow"; from = "loopback"; to = "loopback" }')
    echo = targets()
    clients = standing(server.daemon, echo.port, 3)
    assert "0 sessions ended" in server.run("reload")
    # errors are those of check
    server.daemon.rules = 'x: { action = "alow"; from = "loopback"; to = "loopback" }'
    server.daemon.write_config()
    told = server.run("reload", status=1)
    check = subprocess.run([server.tool, "check", "-c", server.daemon.config], check=False,
                           capture_output=True).stdout.decode()
    for line in check.splitlines()[:7]:
        assert line in told, (line, told)
    assert "error[" in told and "keeps its old policy" in told
    answer = server.json("reload", status=1)[0]
    assert [e["line"] > 0 for e in answer["errors"]] == [True] and answer["warnings"] == []
    assert "would keep" in server.run("reload", "--preview", status=1)
    # what a new policy would end, and then does
    server.daemon.rules = 'y: { action = "deny"; from = "loopback" }'
    server.daemon.write_config()
    told = server.run("reload", "--preview")
    assert "3 sessions would end" in told
    for client in clients:
        assert client.send(b"here").read(4) == b"here"
    assert server.json("status")[0]["policy"]["reloads"] == {"taken": 1, "refused": 2}
    assert "3 sessions ended" in server.run("reload")
    for client in clients:
        assert server.daemon.ledger.last_of(client)["event"]["reason"] == "revoked"
    messages = [r["message"] for r in server.admin_actions(4)]
    assert [m.split(":")[0] for m in messages] == ["reload"] * 4
    assert messages[1] == "reload: refused, 1 error" and messages[3].endswith("3 sessions ended")


def test_many_reloads_at_once(control):
    server = control()
    asking = [subprocess.Popen([server.tool, "reload", "--socket", server.path],
                               stdout=subprocess.PIPE) for _ in range(8)]
    for process in asking:
        out, _ = process.communicate(timeout=PATIENCE * 3)
        assert process.returncode == 0 and b"reloaded" in out


def test_many_problems_are_all_told(control):
    """More than one message between our processes can carry."""
    server = control()
    bad = "\n".join(f'r{i}: {{ action = "alow{i}"; from = "{"x" * 150}{i}" }}' for i in range(90))
    server.daemon.rules = bad
    server.daemon.write_config()
    told = server.run("reload", status=1)
    assert len(told) > 40000 and "alow30" in told and "180 errors" in told


def test_reopen(control):
    server = control()
    os.rename(server.daemon.audit, server.daemon.audit + ".1")
    server.run("reopen")
    until(lambda: os.path.exists(server.daemon.audit), "another audit file")


def test_drain(control, targets):
    server = control(settings={"timeouts": {"drain": "20 s"}})
    echo = targets()
    client = standing(server.daemon, echo.port, 1)[0]
    assert "20 s" in server.run("drain")
    status = server.json("status")[0]
    assert status["server"]["draining"] is True
    assert len(server.json("sessions")) == 1
    assert "on its way down" in server.run("drain", status=2)
    assert "on its way down" in server.run("reload", status=2)
    assert client.send(b"alive").read(5) == b"alive"
    client.close()
    assert server.daemon.process.wait(PATIENCE) == 0


# -- who may -------------------------------------------------------------------

@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")


def test_roles(root, control):
    server = control({"viewers": [NOBODY_ELSE]})
    assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o666
    assert "running for" in server.run("status", as_user=NOBODY_ELSE)
    for words in (["drain"], ["reload"], ["kill", "--user", "x"], ["reopen"]):
        assert "is for operators" in server.run(*words, as_user=NOBODY_ELSE, status=2)
    records = server.admin_actions(4)
    assert all(r["event"]["outcome"] == "failure" and r["user"]["name"] == NOBODY_ELSE
               for r in records)
    assert records[0]["message"] == "drain: refused, a viewer may not do that"
    # a stranger is not even heard
    assert "neither a viewer" in server.run("status", as_user="games", status=2)
    assert server.admin_actions(5)[4]["user"]["name"] == "games"
    # who has started the server is an operator; what it runs as is not (test_hostile_control.py)
    assert "reloaded" in server.run("reload")


def test_groups_and_a_reload_of_roles(root, control):
    group = "unix:" + NOBODY_ELSE
    server = control({"operators": [group]})
    assert "reloaded" in server.run("reload", as_user=NOBODY_ELSE)
    server.daemon.reload(settings={"control": without(server)})
    assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o660
    assert "Permission denied" in server.run("status", as_user=NOBODY_ELSE, status=2)
    server.daemon.reload(settings={"control": {"viewers": [group]}})
    assert "is for operators" in server.run("reload", as_user=NOBODY_ELSE, status=2)


def test_who_may_no_more_is_cut(root, control):
    """A connection that was open before the reload has no more rights than one behind it."""
    server = control()
    quiet = server.socket()
    assert server.ask(b'{"command":"status"}\n')[-1] == {"done": True}
    code = (f"import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect({server.path!r})\n"
            "print(1,flush=True)\nsys.stdin.readline()\ns.sendall(b'{\"command\":\"status\"}\\n')\n"
            "print(len(s.recv(10)),flush=True)\n")
    server.daemon.reload(settings={"control": {"viewers": [NOBODY_ELSE]}})
    other = subprocess.Popen(["setpriv", f"--reuid={NOBODY_ELSE}", f"--regid={gid(NOBODY_ELSE)}",
                              "--clear-groups", "/usr/bin/python3", "-c", code],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    assert other.stdout.readline() == b"1\n"
    until(lambda: server.json("status"), "that it was accepted")
    server.daemon.reload(settings={"control": without(server)})
    out, _ = other.communicate(b"\n", timeout=PATIENCE)
    assert out in (b"", b"0\n")
    quiet.sendall(b'{"command":"status"}\n')
    assert read_answer(quiet)[-1] == {"done": True}


# -- bad clients ---------------------------------------------------------------

@pytest.mark.parametrize("request_, why", [
    (b"hello\n", "no flat JSON"), (b"\x00\xff\x05\x01\x00\n", "no flat JSON"), (b"\n", "no flat"),
    (b'{"command":"halt"}\n', "no such command"), (b'{"command":"kill","x":1}\n', "key"),
    (b'{"command":"status","command":"drain"}\n', "no flat"), (b"{}\n", "no command"),
    (b'{"command":"kill","user":"' + b"x" * 300 + b'"}\n', "length"),
    (b"x" * 5000, "too long"), (b"{" * 100000, "too long")])
def test_garbage_is_refused_and_recorded(control, request_, why):
    server = control()
    answer = server.ask(request_)
    assert len(answer) == 1 and why in answer[0]["error"] and answer[0]["code"] == "malformed"
    record = server.admin_actions()
    assert why in record["message"] and record["event"]["outcome"] == "failure"
    assert server.json("status")[0]["processes"]


def test_chopped_and_glued_requests(control):
    server = control()
    with server.socket() as sock:
        for byte in b'{"command":"status"}\n':
            sock.sendall(bytes([byte]))
        assert read_answer(sock)[-1] == {"done": True}
        sock.sendall(b'{"command":"sessions"}\n' * 3)
        data = b""
        while data.count(b"\n") < 3:
            data += sock.recv(65536)
        assert [json.loads(x) for x in data.splitlines()] == [{"done": True, "sessions": 0}] * 3


def test_a_hanging_client_is_cut(control):
    server = control()
    with server.socket() as hanging:
        hanging.sendall(b'{"command":')
        assert server.json("status")
        hanging.settimeout(PATIENCE + 15)
        assert hanging.recv(1) == b""
    assert "not complete in time" in server.admin_actions()["message"]


def test_too_many_clients(control):
    server = control()
    socks = [server.socket() for _ in range(64)]
    until(lambda: server.daemon.socket_count(server.pid()) >= 64, "64 clients")
    assert read_answer(server.socket())[0]["code"] == "busy"
    for sock in socks:
        sock.close()
    until(lambda: server.ask(b'{"command":"sessions"}\n')[-1].get("sessions") == 0, "room again")


def test_garbage_does_not_fill_the_ledger(control):
    server = control()
    for _ in range(100):
        server.ask(b"x\n")
    notes = server.admin_actions(20)
    server.run("reload")  # what operators do is always told
    until(lambda: any(r["message"].startswith("reload") for r in server.daemon.ledger.records()
                      if r["event"]["action"] == "admin-action"), "the reload's record")
    notes = [r for r in server.admin_actions(20) if r["event"]["outcome"] == "failure"]
    assert 20 <= len(notes) <= 60


# -- the process -----------------------------------------------------------------

def test_control_killed(control, targets):
    """It is restarted; no session notices, and it knows them all."""
    server = control(rules='x: { action = "allow"; from = "loopback"; to = "loopback" }')
    echo = targets()
    clients = standing(server.daemon, echo.port, 20)
    server.daemon.reload(rules='first: { action = "deny"; from = "10.0.0.1" }\n'
                               'x: { action = "allow"; from = "loopback"; to = "loopback" }')
    old = server.pid()
    os.kill(old, signal.SIGKILL)
    until(lambda: server.pid() not in (None, old), "another control process")
    rows = server.json("sessions")
    assert {r["source"]["port"] for r in rows} == {c.port for c in clients}
    assert {r["rule"] for r in rows} == {"x"}
    for client in clients:
        assert client.send(b"alive").read(5) == b"alive"
    process = next(p for p in server.json("status")[0]["processes"] if p["role"] == "control")
    assert process["restarts"] == 1 and process["pid"] == server.pid()
    assert server.json("kill", "--rule", "x") == [{"sessions": 20}]


def test_a_worker_killed_is_seen(control, targets):
    server = control(settings={"workers": 1})
    server.daemon.crash_expected = True
    echo = targets()
    standing(server.daemon, echo.port, 5)
    victim = server.daemon.workers()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: server.daemon.workers() not in ([], [victim]), "another worker")
    until(lambda: server.json("sessions") == [], "no sessions")
    counts = server.json("status")[0]["counts"]
    assert counts["started"] == 5  # what it had counted is not lost
    clients = standing(server.daemon, echo.port, 3)
    assert len(server.json("sessions")) == 3
    assert len(clients) == 3


def test_what_happens_while_the_ledger_is_dead_is_recorded(control):
    server = control()
    ledger = server.daemon.ledger_pid()
    os.kill(ledger, signal.SIGSTOP)
    os.kill(ledger, signal.SIGKILL)
    server.run("kill", "--user", "ann", status=1)
    assert server.admin_actions()["message"].startswith("kill --user ann")


def test_control_cannot_write_to_the_books(root, control):
    """Its descriptors are closed once mapped, and the mappings are for reading only."""
    server = control()
    with open(f"/proc/{server.pid()}/maps", encoding="ascii") as maps:
        shared = [line.split() for line in maps if "memfd:" in line]
    assert any("books" in line[-1] or "books" in line[-2] for line in shared)
    for line in shared:
        if any(word in line[5] for word in ("books", "tally", "settings", "policy")):
            assert line[1].startswith("r--"), line
    status = open(f"/proc/{server.pid()}/status", encoding="ascii").read()
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
    uid = pwd.getpwnam(server.daemon.settings["user"]).pw_uid
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status


# -- the socket's place ------------------------------------------------------------

def test_a_stale_socket_is_replaced_and_a_live_one_is_not(control, daemons, build):
    server = control()
    second = daemons(start=False)
    second.settings["control"] = {"socket": server.path}
    second.start(ready=False)
    assert second.process.wait(PATIENCE) == 3
    assert "another server listens" in second.log()
    assert server.json("status")
    server.daemon.process.kill()  # nobody is left to remove it
    server.daemon.process.wait()
    server.daemon.process = None
    assert os.path.exists(server.path)
    second.start()
    assert Control(second, build).json("status")


def test_a_file_at_the_sockets_place_is_left_alone(daemons):
    daemon = daemons(start=False)
    path = daemon.write("control", "precious")
    daemon.settings["control"] = {"socket": path}
    daemon.start(ready=False)
    assert daemon.process.wait(PATIENCE) == 3
    assert "no socket" in daemon.log()
    with open(path, encoding="ascii") as file:
        assert file.read() == "precious"


def test_no_control_section_no_process(daemons, echo):
    daemon = daemons()
    assert not [p for p in daemon.processes() if "control" in daemon.role(p)]
    assert net.alive(daemon.process.pid)


# -- table replace ----------------------------------------------------------------

def test_a_new_table_is_in_force_at_once(control, echo):
    """The server that the settings name is told to reload; a bad table does not get that far."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as table:
        table.write("192.0.2.1\n")
    os.chmod(table.name, 0o644)
    server = control(objects=f'networks: {{ closed = [ "file:{table.name}" ] }}',
                     rules='no: { action = "deny"; to = "closed" }\n'
                           'yes: { action = "allow"; to = "127.0.0.0/8"; from = "loopback" }')
    assert server.daemon.client().connect5("127.0.0.1", echo.port).code == 0
    new = os.path.join(server.daemon.folder, "new.txt")

    def replace(text, *args, status=0):
        with open(new, "w", encoding="ascii") as file:
            file.write(text)
        return server.run("table", "replace", "closed", new, "-c", server.daemon.config, *args,
                          status=status)

    assert "nothing was replaced" in replace("127.0.0.1/8\n", status=1)
    assert server.daemon.client().connect5("127.0.0.1", echo.port).code == 0
    told = replace("127.0.0.1\n192.0.2.1\n")
    assert f"{table.name} has 2 entries now\n" in told and "reloaded: policy " in told
    assert server.daemon.client().connect5("127.0.0.1", echo.port).code == 2
    assert "a server takes it when it reloads" in replace("192.0.2.1\n", "--no-reload")
    assert server.daemon.client().connect5("127.0.0.1", echo.port).code == 2
    answer = json.loads(replace("192.0.2.1\n", "--json"))
    assert answer["entries"] == 1 and answer["reload"]["rules"] == 2
    assert server.daemon.client().connect5("127.0.0.1", echo.port).code == 0
    server.daemon.stop()
    answer = json.loads(replace("192.0.2.2\n", "--json"))  # a socket that nobody listens on
    assert answer["reload"] is None
    os.unlink(table.name)


def test_a_hundred_thousand_sessions_in_columns(build, tmp_path):
    """More than this machine can have open: what the server would say of them is said by hand."""
    path = str(tmp_path / "control")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)

    def serve():
        client, _ = listener.accept()
        assert client.recv(4096).endswith(b"\n")
        for start in range(0, 100000, 1000):
            client.sendall(b"".join(
                b'{"session":"%014d","state":"open","started":"2026-11-24T09:14:07.%06dZ","age":%d,'
                b'"user":"u%d","source":{"ip":"10.0.0.1","port":1,"bytes":%d},'
                b'"destination":{"port":443,"bytes":2,"domain":"h%d.example"},"rule":"r"}\n'
                % (i, i, i, i % 7, i, i) for i in range(start, start + 1000)))
        client.sendall(b'{"done":true,"sessions":100000}\n')
        client.close()
    thread = threading.Thread(target=serve)
    thread.start()
    done = subprocess.run([os.path.join(build, "sallyctl"), "sessions", "--socket", path,
                           "--sort", "up"], capture_output=True, timeout=PATIENCE * 3, check=False)
    thread.join()
    listener.close()
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0 and len(lines) == 100002 and lines[-1] == "100,000 sessions"
    assert "h99999.example:443" in lines[1] and "h0.example:443" in lines[-2]
    assert len({line.index("10.0.0.1") for line in lines[1:-1]}) == 1
