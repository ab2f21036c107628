"""sallyctl explain: verdicts, reasons, the rules passed over, exit status, wrong words."""
import json
import subprocess

import pytest

POLICY = """
policy: { name = "demo" }
networks: { office = [ "10.20.0.0/16", "2001:db8:20::/48" ]; servers = [ "10.9.0.0/16" ] }
hosts:    { erp = [ "erp.corp.example" ]; wild = [ "*.example.com" ] }
services: { web = [ "tcp/80", "tcp/443" ] }
rules: {
  no-metadata: { action = "deny"; to = "link-local"; owner = "netsec"; ticket = "SEC-1"
                 why = "request forgery" }
  staff-erp:   { action = "allow"; who = "ann"; from = "office"; to = "erp"; service = "web"
                 resolves-in = "servers" }
  wild-web:    { action = "allow"; from = "office"; to = "wild"; service = "web" }
  old-socks:   { action = "allow"; from = "office"; to = "203.0.113.4"; version = 4 }
  literal:     { action = "allow"; from = "office"; to = "203.0.113.0/24"; service = "tcp/22"
                 listener = "inside" }
}
"""
SETTINGS = """
listeners: {
  inside: { address = "127.0.0.1"; port = 1080 }
  outer:  { address = "10.20.0.1"; port = 1081 }
}
metrics: { address = "127.0.0.1"; port = 9108 }
policy = "p.conf"
"""


@pytest.fixture
def demo(ctl):
    ctl.write("p.conf", POLICY)
    ctl.write("s.conf", SETTINGS)
    return ctl


def test_shape(demo):
    answer = demo.explain("p.conf", 1, from_="10.20.3.4", to="203.0.113.9:22")
    assert list(answer) == ["verdict", "rule", "reason", "needs", "addresses", "passed"]
    assert answer["verdict"] == "deny" and answer["rule"] == "policy-default"
    assert answer["reason"] == "default"
    assert answer["needs"] == [] and answer["addresses"] == []
    assert answer["passed"] == [{"rule": "no-metadata", "failed": "to"},
                                {"rule": "staff-erp", "failed": "who"},
                                {"rule": "wild-web", "failed": "to"},
                                {"rule": "old-socks", "failed": "to"},
                                {"rule": "literal", "failed": "listener"}]


@pytest.mark.parametrize("words, verdict, rule, reason", [
    ({"to": "169.254.169.254:80"}, "deny", "no-metadata", "rule"),
    ({"to": "203.0.113.4:99", "version": 4}, "allow", "old-socks", "rule"),
    ({"to": "203.0.113.4:99"}, "deny", "policy-default", "default"),
    ({"to": "203.0.113.4:22", "listener": "inside"}, "allow", "literal", "rule"),
    ({"to": "203.0.113.4:22", "listener": "outer"}, "deny", "policy-default", "default"),
    ({"to": "203.0.113.4:22", "listener": "inside", "command": "bind"},
     "deny", "policy-default", "default"),
    ({"to": "[::ffff:169.254.1.1]:80"}, "deny", "no-metadata", "rule"),
    ({"to": "[64:ff9b::a9fe:a9fe]:80"}, "deny", "policy-default", "default"),
    ({"to": "www.example.com:80", "resolves": "8.8.8.8"}, "allow", "wild-web", "rule"),
    ({"to": "WWW.Example.COM.:80", "resolves": "8.8.8.8"}, "allow", "wild-web", "rule"),
    ({"to": "www.example.com:80", "resolves": "127.0.0.1"},
     "deny", "policy-default", "resolves-in"),
    ({"to": "www.example.com:80", "resolves": "169.254.169.254"}, "deny", "no-metadata", "rule"),
    ({"to": "www.example.com:80", "resolves": ""}, "deny", "policy-default", "undetermined"),
    ({"to": "erp.corp.example:80", "resolves": "10.9.1.1", "user": "ann", "auth": "pam"},
     "allow", "staff-erp", "rule"),
    ({"to": "erp.corp.example:80", "resolves": "10.9.1.1", "user": "ann", "auth": "userid"},
     "deny", "policy-default", "default"),
    ({"to": "erp.corp.example:80", "resolves": "10.9.1.1", "user": "bob", "auth": "pam",
      "groups": "a,b"}, "deny", "policy-default", "default"),
])
def test_verdicts(demo, words, verdict, rule, reason):
    answer = demo.explain("p.conf", 0 if verdict == "allow" else 1,
                          **{"from_": "10.20.3.4", **words})
    assert (answer["verdict"], answer["rule"], answer["reason"]) == (verdict, rule, reason)


def test_each_address_is_judged(demo):
    answer = demo.explain("p.conf", 0, from_="10.20.3.4", to="www.example.com:443",
                          resolves=["169.254.0.1", "8.8.8.8", "2606:4700::1", "10.0.0.1"])
    assert answer["addresses"] == [
        {"address": "169.254.0.1", "verdict": "deny", "rule": "no-metadata"},
        {"address": "8.8.8.8", "verdict": "allow", "rule": "wild-web"},
        {"address": "2606:4700::1", "verdict": "allow", "rule": "wild-web"},
        {"address": "10.0.0.1", "verdict": "deny", "rule": "policy-default"}]
    assert answer["rule"] == "wild-web"


def test_need(demo):
    answer = demo.explain("p.conf", 1, from_="10.20.3.4", to="www.example.com:443")
    assert answer["verdict"] == "need" and answer["rule"] is None
    assert answer["needs"] == ["addresses"]
    done = demo.run("explain", "-c", "p.conf", "--from", "10.20.3.4", "--to",
                    "www.example.com:443")
    assert done.returncode == 1 and "--resolves" in done.stdout


def test_self(demo):
    """Listeners and metrics are the server itself; a policy alone knows of none."""
    for to in ("127.0.0.1:1080", "10.20.0.1:1081", "127.0.0.1:9108", "0.0.0.0:1080"):
        answer = demo.explain("s.conf", 1, from_="10.20.3.4", to=to)
        assert (answer["rule"], answer["reason"]) == ("builtin:self", "self"), to
    assert demo.explain("s.conf", 1, from_="10.20.3.4",
                        to="127.0.0.1:1082")["rule"] == "policy-default"
    assert demo.explain("p.conf", 1, from_="10.20.3.4",
                        to="127.0.0.1:1080")["rule"] == "policy-default"
    demo.write("m.conf", SETTINGS.replace("9108", "443"))
    answer = demo.explain("m.conf", 1, from_="10.20.3.4", to="me.example.com:443",
                          resolves=["127.0.0.1"])
    assert answer["addresses"] == [
        {"address": "127.0.0.1", "verdict": "deny", "rule": "builtin:self"}]


def test_self_of_a_wildcard_listener(demo):
    demo.write("w.conf", SETTINGS.replace("127.0.0.1", "0.0.0.0", 1))
    for to in ("127.0.0.1:1080", "127.9.9.9:1080", "0.0.0.0:1080"):
        answer = demo.explain("w.conf", 1, from_="10.20.3.4", to=to)
        assert answer["rule"] == "builtin:self", to


def test_time(ctl):
    ctl.write("t.conf", 'times: { office = [ "Mon-Fri 07:00-19:00 Europe/Berlin" ] }\n'
                        'rules: { a: { action = "allow"; from = "10.0.0.0/8"; to = "any"; '
                        'when = "office"; since = "2026-11-01"; expires = "2026-11-30" } }\n')

    def at(text):
        answer = ctl.explain("t.conf", from_="10.0.0.1", to="192.0.2.1:80", at=text)
        return answer["passed"][0]["failed"] if answer["passed"] else answer["verdict"]

    assert at("2026-11-24 10:00") == "allow"
    assert at("2026-11-24 18:30") == "when"
    assert at("2026-11-24 18:30 Europe/Berlin") == "allow"
    assert at("2026-11-24T18:30:00+01:00") == "allow"
    assert at("2026-11-24T17:59:59Z") == "allow"
    assert at("2026-11-24 18:00:00") == "when"
    assert at("2026-12-01 10:00") == "expires"
    assert at("2026-10-30 10:00") == "since"


def test_a_name_that_is_not_looked_up(demo):
    """Denied by its name alone: whether its address is in a network was not asked."""
    demo.write("n.conf", """
networks: { feed = [ "198.51.100.0/24" ] }
rules: {
  feed: { action = "deny"; to = [ "feed", "bad.example" ] }
  not-feed: { action = "deny"; to = "bad.example"; except = "feed" }
  no: { action = "deny" }
}
""")
    done = demo.run("explain", "-c", "n.conf", "--from", "10.20.3.4", "--to", "www.example.com:443")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "  feed      to           www.example.com is no name of feed, bad.example, "
        "and is not looked up",
        "  not-feed  to           www.example.com is not in bad.example"]
    demo.write("n.conf", 'rules: { a: { action = "deny"; except = "private" } b: { action = "deny" } }')
    done = demo.run("explain", "-c", "n.conf", "--from", "10.20.3.4", "--to", "www.example.com:443")
    assert done.stdout.splitlines()[-1].endswith(
        "  except       www.example.com is in private, or may lead there")


def test_words_for_people(demo):
    done = demo.run("explain", "-c", "p.conf", "--from", "10.20.3.4", "--to", "169.254.0.1:80")
    assert done.stdout == ("deny by rule no-metadata  (p.conf:7:3)\n"
                           "  owner    netsec\n"
                           "  ticket   SEC-1\n"
                           "  why      request forgery\n")
    done = demo.run("explain", "-c", "p.conf", "--from", "10.20.3.4",
                    "--to", "www.example.com:443", "--resolves", "127.0.0.1,8.8.8.8")
    assert done.returncode == 0
    assert done.stdout == (
        "allow by rule wild-web  (p.conf:11:3)\n"
        "\n"
        "www.example.com resolves to\n"
        "  127.0.0.1  deny   policy-default\n"
        "  8.8.8.8    allow  wild-web\n"
        "\n"
        "passed over\n"
        "  no-metadata  to           www.example.com (8.8.8.8) is not in link-local\n"
        "  staff-erp    who          nobody is known: the rule asks for ann\n")


@pytest.mark.parametrize("rule, words, key, sentence", [
    ('who = "@g"', {"user": "eve", "auth": "pam"}, "who", "eve, known by pam, is not @g"),
    ('who = "known"', {}, "who", "nobody is known: the rule asks for a known user"),
    ('who = "eve"; auth = "gssapi"', {"user": "eve", "auth": "file"}, "auth",
     "eve, known by file: the rule accepts gssapi"),
    ('from-except = "10.20.0.0/24"', {"from_": "10.20.0.9"}, "from-except",
     "10.20.0.9 is in 10.20.0.0/24"),
    ('from = "192.168.0.0/16"', {}, "from", "10.20.3.4 is not in 192.168.0.0/16"),
    ('listener = "inner"', {}, "listener", "the client did not come in by inner"),
    ('except = [ "192.0.2.0/24", "private" ]', {}, "except",
     "192.0.2.1 is in 192.0.2.0/24, private"),
    ('service = [ "tcp/1", "tcp/2", "tcp/3", "tcp/4", "tcp/5", "tcp/6", "tcp/7" ]', {}, "service",
     "tcp/80 is not in tcp/1, tcp/2, tcp/3, tcp/4, tcp/5, tcp/6 and 1 more"),
    ('command = [ "bind", "udp-associate" ]', {}, "command",
     "connect is not bind, udp-associate"),
    ('version = 4', {}, "version", "SOCKS5 is not SOCKS4"),
    ('when = "Sat 10:00-12:00 UTC"', {}, "when",
     "Tue 2026-11-24 10:00 UTC is not in Sat 10:00-12:00 UTC"),
    ('since = "2027-01-01"', {}, "since", "Tue 2026-11-24 10:00 UTC is before 2027-01-01"),
    ('expires = "2026-11-01"', {}, "expires", "Tue 2026-11-24 10:00 UTC is after 2026-11-01"),
    ('mode = "dry-run"', {}, "mode", "matches, but is only a dry run"),
])
def test_why(ctl, rule, words, key, sentence):
    base = "" if "from =" in rule else 'from = "10.0.0.0/8"; '
    ctl.write("p.conf", 'groups: { g = [ "ann" ] }\n'
                        f'rules: {{ r: {{ action = "allow"; {base}to = "any"; {rule} }} }}\n')
    args = {"from_": "10.20.3.4", "to": "192.0.2.1:80", "at": "2026-11-24 10:00", **words}
    flat = [x for k, v in args.items() for x in (f"--{k.rstrip('_')}", v)]
    done = ctl.run("explain", "-c", "p.conf", *flat)
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith(f"\npassed over\n  r  {key:<11}  {sentence}\n"), done.stdout


@pytest.mark.parametrize("words, said", [
    ({}, "from is missing"),
    ({"from": "10.0.0.1"}, "to is missing"),
    ({"from": "10.0.0.300", "to": "a.example:80"}, "not an IP address"),
    ({"from": "10.0.0.1", "to": "a.example"}, "port"),
    ({"from": "10.0.0.1", "to": "a.example:65536"}, "port"),
    ({"from": "10.0.0.1", "to": "2001:db8::1:80"}, "[2001:db8::1]:443"),
    ({"from": "10.0.0.1", "to": "127.1:80"}, "no host name"),
    ({"from": "10.0.0.1", "to": "a.example:80", "user": "ann"}, "auth is missing"),
    ({"from": "10.0.0.1", "to": "a.example:80", "auth": "pam"}, "user is missing"),
    ({"from": "10.0.0.1", "to": "a.example:80", "user": "a", "auth": "magic"}, "way to be known"),
    ({"from": "10.0.0.1", "to": "a.example:80", "command": "listen"}, "connect, bind"),
    ({"from": "10.0.0.1", "to": "a.example:80", "version": "6"}, "4 or 5"),
    ({"from": "10.0.0.1", "to": "a.example:80", "version": "five"}, "4 or 5"),
    ({"from": "10.0.0.1", "to": "a.example:80", "resolves": "10.0.0.1,x"}, "not an IP address"),
    ({"from": "10.0.0.1", "to": "a.example:80", "resolves": "10.0.0.1,"}, "empty word"),
    ({"from": "10.0.0.1", "to": "a.example:80", "at": "yesterday"}, "2026-11-24 10:00"),
    ({"from": "10.0.0.1", "to": "a.example:80", "at": "2026-02-30 10:00"}, "no such day"),
    ({"from": "10.0.0.1", "to": "a.example:80", "at": "2026-02-03 10:00 Mars/Base"}, "zone"),
    ({"from": "10.0.0.1", "to": "a.example:80", "listener": "nowhere"}, "listener"),
    ({"batch": "x", "to": "a.example:80"}, "--batch"),
])
def test_wrong_words(demo, words, said):
    args = [x for k, v in words.items() for x in (f"--{k}", v)]
    done = demo.run("explain", "-c", "s.conf", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr
    assert said in demo.json("explain", "-c", "s.conf", *args, status=2)["error"]


def test_a_file_with_errors_judges_nobody(ctl):
    ctl.write("p.conf", 'rules: { a: { action = "allow"; to = "nowhere" } }\n')
    done = ctl.run("explain", "-c", "p.conf", "--from", "10.0.0.1", "--to", "192.0.2.1:80")
    assert done.returncode == 2 and done.stdout == "" and "E203" in done.stderr
    answer = ctl.explain("p.conf", 2, from_="10.0.0.1", to="192.0.2.1:80")
    assert answer["errors"][0]["code"] == "E203"


# ---- batch -----------------------------------------------------------------------


def batch(demo, lines, policy="p.conf", *args):
    done = demo.run("explain", "-c", policy, "--batch", "-", *args, stdin=lines)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_batch_says_what_explain_says(demo):
    cases = [
        {"from": "10.20.3.4", "to": "203.0.113.9:22"},
        {"from": "10.20.3.4", "to": "169.254.169.254:80", "version": 4, "listener": "inside"},
        {"from": "2001:db8:20::9", "to": "www.example.com:443",
         "resolves": ["169.254.0.1", "8.8.8.8"]},
        {"from": "10.20.3.4", "to": "www.example.com:443"},
        {"from": "10.20.3.4", "to": "www.example.com:443", "resolves": []},
        {"from": "10.20.3.4", "to": "erp.corp.example:443", "user": "ann", "auth": "gssapi",
         "groups": ["staff", "finance"], "resolves": ["10.9.0.1"], "command": "connect",
         "at": "2026-11-24 10:00 Europe/Berlin"},
    ]
    status, answers = batch(demo, "".join(json.dumps(c) + "\n" for c in cases), "s.conf")
    assert status == 0 and len(answers) == len(cases)
    for case, answer in zip(cases, answers):
        words = {("from_" if k == "from" else k): v for k, v in case.items()}
        assert answer == demo.explain("s.conf", **words)


def test_batch_lines(demo):
    good = '{"from":"10.20.3.4","to":"169.254.0.1:80"}'
    bad = ["", "{", "[]", "null", '"x"', good + good, "{}", '{"from":"10.20.3.4"}',
           good[:-1] + ',"colour":"red"}', good[:-1] + ',"from":"10.20.3.5"}',
           good[:-1] + ',"version":"5"}', good[:-1] + ',"version":5.0}',
           good[:-1] + ',"version":6}', good[:-1] + ',"groups":"staff"}',
           good[:-1] + ',"groups":[1]}', good[:-1] + ',"resolves":"10.0.0.1"}',
           good[:-1] + ',"user":"ann"}', good[:-1] + ',"at":5}',
           good[:-1] + ',"listener":"no such"}', good.replace("80", "80\\u0000"),
           good[:-1] + ',"user":"\x1b[31m","auth":"no"}']
    lines = [good]
    for line in bad:
        lines += [line, good]
    status, answers = batch(demo, "\n".join(lines))  # the last line without its newline
    assert status == 2 and len(answers) == len(lines)
    for i, answer in enumerate(answers):
        if i % 2 == 0:
            assert answer["rule"] == "no-metadata"
        else:
            assert list(answer) == ["error"] and answer["error"], lines[i]


def test_batch_null_is_absent(demo):
    line = {"from": "10.20.3.4", "to": "169.254.0.1:80", "user": None, "groups": None,
            "auth": None, "command": None, "version": None, "listener": None, "resolves": None,
            "at": None}
    status, answers = batch(demo, json.dumps(line) + "\r\n")
    assert status == 0 and answers[0]["rule"] == "no-metadata"


def test_batch_file_and_nothing(demo):
    demo.write("in.ndjson", '{"from":"10.20.3.4","to":"169.254.0.1:80"}\n')
    done = demo.run("explain", "-c", "p.conf", "--batch", "in.ndjson")
    assert done.returncode == 0 and json.loads(done.stdout)["rule"] == "no-metadata"
    assert batch(demo, "") == (0, [])
    assert demo.run("explain", "-c", "p.conf", "--batch", "absent").returncode == 2


def test_batch_long_lines(demo):
    good = '{"from":"10.20.3.4","to":"169.254.0.1:80"}\n'
    long_good = good[:-2] + " " * 1000000 + "}\n"
    too_long = good[:-2] + " " * 3000000 + "}\n"
    status, answers = batch(demo, good + long_good + too_long + good + too_long[:-1])
    assert status == 2
    assert [a.get("rule", "error") for a in answers] == \
        ["no-metadata", "no-metadata", "error", "no-metadata", "error"]


def test_batch_is_a_conversation(demo):
    with subprocess.Popen([demo.program, "explain", "-c", "p.conf", "--batch", "-"],
                          cwd=demo.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, bufsize=1) as process:
        for to in ("169.254.0.1:80", "8.8.8.8:80", "169.254.0.2:80"):
            process.stdin.write(json.dumps({"from": "10.20.3.4", "to": to}) + "\n")
            answer = json.loads(process.stdout.readline())
            assert answer["rule"] == ("no-metadata" if to[0] == "1" else "policy-default")
        process.stdin.close()
        assert process.wait(10) == 0


def test_batch_of_a_large_policy(ctl):
    """`passed` is told for small policies, and for large ones when asked for."""
    rules = ",\n".join(f'  {{ name = "r{i}"; action = "allow"; from = "10.0.0.0/8"; '
                       f'to = "203.0.{i // 250}.{i % 250}" }}' for i in range(2000))
    ctl.write("p.conf", f"rules: (\n{rules}\n)\n")
    lines = "".join(json.dumps({"from": "10.1.1.1", "to": f"203.0.{i // 250}.{i % 250}:80"}) + "\n"
                    for i in range(0, 2000, 7))
    status, answers = batch(ctl, lines)
    assert status == 0
    assert [a["rule"] for a in answers] == [f"r{i}" for i in range(0, 2000, 7)]
    assert all(a["passed"] == [] for a in answers)
    status, answers = batch(ctl, lines, "p.conf", "--passed")
    assert [len(a["passed"]) for a in answers] == list(range(0, 2000, 7))


def test_remarks_in_any_language(ctl):
    """Letters are shown as they are; what turns text round or is a control reaches no terminal."""
    words = ("explain", "-c", "p.conf", "--from", "10.0.0.1", "--to", "192.0.2.1:80")
    ctl.write("p.conf", 'rules: { a: { action = "deny"; owner = "J\u00fcrgen \u5f20" } }\n')
    assert "  owner    J\u00fcrgen \u5f20\n" in ctl.run(*words).stdout
    for hidden in ("\u202e", "\u0085", "\x1b", "\\x1b[31m"):
        ctl.write("p.conf", f'rules: {{ a: {{ action = "deny"; why = "x{hidden}" }} }}\n')
        done = ctl.run(*words)
        assert done.returncode == 2 and not set(done.stderr) & {"\u202e", "\u0085", "\x1b"}
