"""sallyctl explain --session; the destinations of associations in `sessions`; reload --json."""
import json
import os
import subprocess

import pytest

from harness.control import Control
from harness.login import password, write_users
from harness.udp import Association
from harness.wait import until

RULES = """
  owner: { action = "allow"; who = "known"; auth = "file"; from = "127.0.0.0/8"
           to = "loopback"; why = "they said who they are" }
  first: { action = "allow"; from = "127.0.0.2"; to = "127.0.0.9" }
  second: { action = "allow"; from = "127.0.0.2"; to = "loopback"; command = "connect" }
"""


def explain(server, *args, status=0):
    done = subprocess.run([server.tool, "explain", "-c", server.daemon.config, *args],
                          capture_output=True, check=False)
    assert done.returncode == status, done
    return done.stdout.decode() + done.stderr.decode()


def session(server, client):
    return next(r["session"] for r in server.json("sessions")
                if r["source"]["port"] == client.port)


def test_a_session_is_explained(control, targets):
    server = control(rules=RULES.split("first:")[1].join(["first:", ""]))
    echo = targets()
    client = server.daemon.client(source="127.0.0.2")
    assert client.connect5("localhost", echo.port).code == 0
    found = session(server, client)
    text = explain(server, "--session", found)
    assert f"session {found}  from 127.0.0.2 to localhost:{echo.port}, connect, SOCKS5, " \
        "listener main, by rule second when it began" in text
    assert "allow by rule second" in text and "first" in text.split("passed over")[1]
    assert "note:" not in text
    answer = json.loads(explain(server, "--session", found.lower(), "--json"))
    assert (answer["verdict"], answer["rule"], answer["in_force"]) == ("allow", "second", True)
    assert answer["session"]["session"] == found and answer["session"]["destination"]["ip"]
    assert [a["address"] for a in answer["addresses"]] == [answer["session"]["destination"]["ip"]]
    # what is said by options takes the place of what is known
    assert "allow by rule first" in explain(server, "--session", found, "--to", "127.0.0.9:1")
    assert "deny" in explain(server, "--session", found, "--from", "127.0.0.3", status=1)
    # the files say something else than the server does
    server.daemon.rules = 'none: { action = "deny"; from = "loopback" }'
    server.daemon.write_config()
    text = explain(server, "--session", found, status=1)
    assert "note: the policy in force at the server is another one" in text
    assert "deny by rule none" in text
    assert json.loads(explain(server, "--session", found, "--json", status=1))["in_force"] is False
    client.close()
    until(lambda: not server.json("sessions"), "the end")
    assert "no session that is open" in explain(server, "--session", found, status=2)
    assert "does not go with '--batch'" in explain(server, "--session", found, "--batch", "-",
                                                   status=2)


def test_version4_and_a_session_on_its_way(control, targets):
    server = control(rules='a: { action = "allow"; from = "loopback"; to = "loopback"; version = 4 }')
    echo = targets()
    client = server.daemon.client(source="127.0.0.2")
    from harness.socks import request4
    client.send(request4("127.0.0.1", echo.port, b"ann"))
    assert client.reply4().code == 90
    assert "SOCKS4" in explain(server, "--session", session(server, client))
    waiting = server.daemon.client(source="127.0.0.2")
    until(lambda: len(server.json("sessions")) == 2, "two")
    assert "has not said yet" in explain(server, "--session", session(server, waiting), status=2)


def test_who_it_is(daemons, build, targets):
    daemon = daemons(rules=RULES, start=False)
    daemon.settings["control"] = {"socket": os.path.join(daemon.folder, "control")}
    daemon.settings["auth"] = {"file": {"path": write_users(daemon, {"root": "secret"})},
                               "failure-delay": "0 ms"}
    server = Control(daemon.start(), build)
    echo = targets()
    client = daemon.client(source="127.0.0.3")
    client.greet(b"\x02")
    client.send(password("root", "secret"))
    assert client.read(2) == b"\x01\x00"
    from harness.socks import request5
    client.send(request5("127.0.0.1", echo.port))
    assert client.reply5().code == 0
    text = explain(server, "--session", session(server, client))
    assert "user root (file)" in text and "groups, as this machine knows them: root" in text
    assert "allow by rule owner" in text and "they said who they are" in text


def test_associations(control, udp_targets):
    server = control(rules="""
      dns: { action = "allow"; from = "loopback"; to = "loopback"; command = "udp-associate" }""")
    echo = udp_targets()
    with Association(server.daemon) as association:
        assert server.json("sessions", "--destinations") == server.json("sessions")
        association.send(b"hello", echo.at)
        association.receive()
        rows = until(lambda: (lambda r: r if len(r) == 2 else None)(
            server.json("sessions", "--destinations")), "its destination")
        own, place = sorted(rows, key=lambda r: r["state"] == "destination")
        assert own["session"] == place["session"] and own["state"] == "open"
        assert place["state"] == "destination" and place["rule"] == "dns"
        assert place["destination"]["ip"] == echo.at[0]
        assert place["destination"]["port"] == echo.at[1]
        assert place["source"]["bytes"] == 5
        assert len(server.json("sessions")) == 1
        assert len(server.json("sessions", "--destinations", "--destination", echo.at[0])) >= 1
        text = server.run("sessions", "--destinations")
        assert text.splitlines()[-1] == "1 session and 1 destination of UDP"
        assert server.run("sessions").splitlines()[-1] == "1 session"
        told = explain(server, "--session", own["session"], status=2)
        assert "judged for each destination" in told
        told = explain(server, "--session", own["session"], "--to", f"{echo.at[0]}:{echo.at[1]}")
        assert "allow by rule dns" in told and "udp-associate" in told


@pytest.mark.parametrize("preview", [[], ["--preview"]])
def test_problems_of_a_reload(control, preview):
    server = control()
    good = server.json("reload", *preview)[0]
    assert good["errors"] == [] and good["warnings"] == [] and good["rules"] == 1
    server.daemon.rules = 'x: { action = "alow"; from = "loopback"; to = "loopback"; colour = 1 }'
    server.daemon.write_config()
    told = server.json("reload", *preview, status=1)[0]
    check = subprocess.run([server.tool, "check", "--json", "-c", server.daemon.config],
                           check=False, capture_output=True).stdout
    check = json.loads(check)
    assert told["errors"] == check["errors"] and len(told["errors"]) == 2
    assert told["warnings"] == check["warnings"]
    assert {"code", "file", "line", "column", "text", "help"} == set(told["errors"][0])
    assert "error[" in server.run("reload", *preview, status=1)  # people get text
