"""sallyctl show: the rules as sentences, and what their objects hold."""
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVERYTHING = os.path.join(ROOT, "tests", "policy", "good", "everything.conf")

OBJECTS = """
networks: { inside = [ "10.0.0.0/9", "10.128.0.0/9" ]; pair = [ "192.0.2.1", "192.0.2.2" ]
            all = [ "inside", "pair" ] }
hosts:    { erp = [ "erp.corp.example", "regex:^crm[0-9]$" ] }
services: { web = [ "tcp/80", "tcp/443" ]; voice = [ "udp/3478-3481" ] }
groups:   { staff = [ "unix:staff", "ann" ] }
times:    { office = [ "Mon-Thu,Sat 07:00-19:00 Europe/Berlin" ] }
"""


@pytest.mark.parametrize("rule, sentence", [
    ('action = "deny"', "Denies anyone from anywhere to reach everything."),
    ('action = "deny"; to = "any"', "Denies anyone from anywhere to reach any address."),
    ('action = "deny"; service = "web"',
     "Denies anyone from anywhere to connect or bind to everything on web."),
    ('action = "deny"; version = 4',
     "Denies anyone from anywhere to connect or bind to everything by SOCKS4."),
    ('action = "allow"; to = "any"; from = "inside"',
     "Allows anyone from inside to connect or udp-associate to any address."),
    ('action = "allow"; to = "any"; from = "inside"; from-except = "10.0.0.1"; version = 5',
     "Allows anyone from inside except 10.0.0.1 to connect or udp-associate to any address "
     "by SOCKS5."),
    ('action = "allow"; to = "erp"; service = "web"; who = "@staff"; when = "office"',
     "Allows @staff, proven, from anywhere to connect to erp on web during office; "
     "a name must lead to public."),
    ('action = "allow"; to = [ "erp", "pair", "any" ]; resolves-in = "inside"; auth = "ident"',
     "Allows any known user, known by ident, from anywhere to connect or udp-associate to erp, "
     "pair or any address; a name must lead to inside."),
    ('action = "allow"; to = "any"; who = [ "ann", "bob" ]; command = "bind"; mode = "dry-run"',
     "Allows ann or bob, proven, from anywhere to bind to any address; "
     "but this is only a dry run."),
    ('action = "allow"; to = "any"; except = "inside"; service = "voice"; since = "2026-01-02"; '
     'expires = "9999-12-31"',
     "Allows anyone from anywhere to udp-associate to any address except inside on voice "
     "from 2026-01-02 on until the end of 9999-12-31."),
    ('action = "allow"; to = "any"; service = "voice"; version = 4',
     "Allows anyone from anywhere to do nothing to any address on voice by SOCKS4."),
    ('action = "deny"; listener = [ "lan", "dmz" ]',
     "Denies anyone from anywhere by listener lan or dmz to reach everything."),
])
def test_sentences(ctl, rule, sentence):
    ctl.write("p.conf", OBJECTS + "rules: { one: { " + rule + " } }\n")
    shown, = ctl.json("show", "-c", "p.conf", status=0)["rules"]
    assert shown["sentence"] == sentence
    done = ctl.run("show", "-c", "p.conf")
    assert done.returncode == 0
    assert done.stdout == ("one  (p.conf:8:10)\n    " + sentence + "\n"
                           "policy-default\n    Denies what no rule allows.\n")


def test_terms(ctl):
    lines = ctl.run("show", "-c", EVERYTHING, "all").stdout.splitlines()
    assert lines[2:] == [
        "    limit sessions 1000, sessions-per-user 20, sessions-per-source 30, rate-per-user "
        "10 /s, bandwidth-per-session 200 Mbit/s, bandwidth-per-user 1 Gbit/s, idle 5 min, "
        "lifetime 8 h; egress 192.0.2.1; egress 2001:db8::1; udp-replies address; log start; "
        "alert; on-revoke drain 60 s",
        "    owner J\u00fcrgen, ticket CHG-1, review 2030-06-30",
        "    why: a test of all, \u201cquoted\u201d"]


def test_objects_on_demand(ctl):
    ctl.write("t.txt", "".join(f"h{i}.example\n" for i in range(100)))
    text = OBJECTS.replace('erp = [', 'many = [ "file:t.txt" ]; erp = [')
    ctl.write("p.conf", text + """rules: { a: { action = "allow"; who = "@staff"; from = "all"
        to = [ "erp", "many", "192.0.2.9" ]; service = [ "web", "voice" ]; when = "office" }
        b: { action = "deny" } }\n""")
    assert " = " not in ctl.run("show", "-c", "p.conf").stdout
    shown = ctl.run("show", "-c", "p.conf", "--expand").stdout
    told = dict(line.strip().split(" = ") for line in shown.splitlines() if " = " in line)
    assert told.pop("many").endswith(" and 76 more, of t.txt")
    assert told == {
        "staff": "ann, unix:staff", "all": "10.0.0.0/8, 192.0.2.1-192.0.2.2",
        "erp": "regex:^crm[0-9]$, erp.corp.example", "web": "tcp/80, tcp/443",
        "voice": "udp/3478-3481", "office": "Mon-Thu,Sat 07:00-19:00 Europe/Berlin"}
    objects = {o["name"]: o for o in
               ctl.json("show", "-c", "p.conf", "--expand", status=0)["objects"]}
    assert len(objects["many"]["values"]) == 100 and objects["many"]["tables"] == ["t.txt"]
    assert objects["inside"] == {"name": "inside", "kind": "network", "values": ["10.0.0.0/8"],
                                 "tables": []}


def test_json(ctl):
    ctl.write("p.conf", OBJECTS + """rules: {
        a: { action = "allow"; to = "any"; service = "web"; owner = "x"; review = "2999-01-02" }
        b: { action = "deny"; auth = [ "userid", "pam" ]; mode = "dry-run" } }\n""")
    a, b = ctl.json("show", "-c", "p.conf", status=0)["rules"]
    assert (a["name"], a["action"], a["mode"], a["line"], a["column"]) == \
        ("a", "allow", "enforce", 9, 9)
    assert (a["who"], a["from"], a["to"], a["service"], a["resolves-in"]) == \
        (["anyone"], ["any"], ["any"], ["web"], ["public"])
    assert (a["command"], a["version"], a["auth"], a["listener"]) == (["connect"], [4, 5], [], [])
    assert (a["owner"], a["ticket"], a["why"], a["terms"]) == ("x", None, None, None)
    assert (a["since"], a["expires"], a["review"]) == (None, None, "2999-01-02")
    assert (b["who"], b["auth"], b["mode"], b["resolves-in"]) == \
        (["known"], ["pam", "userid"], "dry-run", [])
    assert b["command"] == ["connect", "bind", "udp-associate"]


def test_only_some_rules(ctl):
    ctl.write("p.conf", 'rules: { a: { action = "deny" }; b: { action = "deny" } }\n')
    assert [r["name"] for r in ctl.json("show", "-c", "p.conf", "b", status=0)["rules"]] == ["b"]
    assert "policy-default" not in ctl.run("show", "-c", "p.conf", "a").stdout
    done = ctl.run("show", "-c", "p.conf", "c\x1b")
    assert done.returncode == 2 and done.stdout == "" and "'c\\x1b'" in done.stderr
    assert "error" in ctl.json("show", "-c", "p.conf", "c", status=2)


def test_a_file_with_errors_is_not_shown(ctl):
    ctl.write("p.conf", 'rules: { a: { action = "alow" } }\n')
    done = ctl.run("show", "-c", "p.conf")
    assert done.returncode == 2 and done.stdout == "" and "E206" in done.stderr
