"""sallyctl check, help, test, settings: what they say and the status they end with."""
import json
import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

GOOD = 'rules: { a: { action = "allow"; from = "10.0.0.0/8"; to = "any" } }\n'


def test_good_file(ctl):
    ctl.write("p.conf", GOOD)
    done = ctl.run("check", "-c", "p.conf")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == ("p.conf is good: 1 rule\n"
                           "at most 1 of 1 rules tested for any session\n")
    assert ctl.json("check", "-c", "p.conf", status=0) == {"errors": [], "warnings": []}


def test_a_mistake_is_shown_with_its_place(ctl):
    ctl.write("policy.conf", 'services: { https = [ "tcp/443" ] }\n'
                             "rules: {\n"
                             "  a: {\n"
                             '    action = "allow"; from = "10.0.0.0/8"\n'
                             '  to = "any"; service = "htps"\n'
                             "  }\n"
                             "}\n")
    done = ctl.run("check", "-c", "policy.conf")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == 'error[E203]: no service is called "htps"'
    assert lines[1].strip() == "--> policy.conf:5:25"
    assert lines[3].lstrip() == '5 |   to = "any"; service = "htps"'
    assert lines[4].strip() == "|                         ^^^^^^"
    assert lines[5].strip() == '= help: did you mean "https"?  (policy.conf:1:13)'
    assert done.stdout.endswith("\n1 error\n"
                                "policy.conf is not good: the server would not load it\n")
    answer = ctl.json("check", "-c", "policy.conf", status=1)
    assert set(answer) == {"errors", "warnings"}
    one, = answer["errors"]
    assert set(one) == {"code", "file", "line", "column", "text", "help"}
    assert (one["code"], one["file"], one["line"], one["column"]) == \
        ("E203", "policy.conf", 5, 25)


def test_every_error_up_to_a_hundred(ctl):
    rules = "".join(f'  r{i}: {{ action = "allow"; to = "nothing{i}" }}\n' for i in range(150))
    ctl.write("p.conf", "rules: {\n" + rules + "}\n")
    answer = ctl.json("check", "-c", "p.conf", status=1)
    assert len(answer["errors"]) == 100
    assert [e["line"] for e in answer["errors"]] == list(range(2, 102))
    done = ctl.run("check", "-c", "p.conf")
    assert done.stdout.count("error[E203]") == 100
    assert "\n150 errors (the first 100 are shown)\n" in done.stdout


@pytest.mark.parametrize("command", ["check", "explain", "test"])
@pytest.mark.parametrize("file", ["absent.conf", "."])
def test_unreadable_file(ctl, command, file):
    words = ["--from", "10.0.0.1", "--to", "192.0.2.1:80"] if command == "explain" else []
    assert ctl.run(command, "-c", file, *words).returncode == 2
    assert isinstance(ctl.json(command, "-c", file, *words, status=2), dict)


def test_writable_by_others_is_a_finding(ctl):
    os.chmod(ctl.write("p.conf", GOOD), 0o666)
    assert ctl.run("check", "-c", "p.conf").returncode == 1


def test_default_file_is_told(ctl):
    done = ctl.run("check", "--help")
    assert done.returncode == 0
    assert "/sallyport/sallyport.conf" in done.stdout


@pytest.mark.parametrize("args", [
    [], ["chekc"], ["--chekc"], ["check", "--jsn"], ["check", "extra"], ["check", "-c"],
    ["check", "-x"], ["check", "--json=yes"], ["check", "-c", "a", "-c", "b"], ["help", "E999"],
    ["help", "a", "b"], ["settings", "nothing"], ["explain", "--passed"],
])
def test_wrong_usage(ctl, args):
    done = ctl.run(*args)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr != ""


def test_hints(ctl):
    assert "did you mean 'check'?" in ctl.run("chekc").stderr
    assert "did you mean '--json'?" in ctl.run("check", "--jsn").stderr


def test_version(ctl):
    done = ctl.run("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"sallyctl \d+\.\d+\.\d+\n", done.stdout)


def test_usage_errors_in_json(ctl):
    done = ctl.run("check", "--jsn", "--json")
    assert done.returncode == 2 and "error" in json.loads(done.stdout)


def test_help_explains_every_code_in_use(ctl):
    """The codes that stand in the sources have an explanation."""
    codes = set()
    for folder in ("settings", "rules", "ctl"):
        for name in os.listdir(os.path.join(ROOT, folder)):
            if name.endswith(".c"):
                with open(os.path.join(ROOT, folder, name), encoding="utf-8") as file:
                    codes |= set(re.findall(r'"([EW]\d{3})"', file.read()))
    assert len(codes) > 20
    for code in sorted(codes):
        answer = ctl.json("help", code, status=0)
        assert answer["code"] == code and len(answer["text"]) > 20, code
    assert ctl.run("help", "e203").stdout.startswith("E203\n")


def test_no_escape_reaches_the_terminal(ctl):
    ctl.write("p.conf", GOOD)
    for args in (["--\x1b[31m"], ["check", "--\x1b[31m"], ["check", "\x1b[31m"],
                 ["help", "\x1b[31m"], ["settings", "\x1b[31m"],
                 ["test", "-c", "\x1b[31m.conf"],
                 ["explain", "-c", "p.conf", "--from", "\x1b[31m", "--to", "a.example:80"]):
        done = ctl.run(*args)
        assert done.returncode == 2 and "\x1b" not in done.stdout + done.stderr, args


def test_colours_only_on_a_terminal(ctl):
    ctl.write("p.conf", GOOD)
    done = ctl.run("explain", "-c", "p.conf", "--from", "10.0.0.1", "--to", "192.0.2.1:80")
    assert "\x1b" not in done.stdout


LACKING = """listeners: { in: { address = "127.0.0.1"; port = 1080 } }
user = "no-such-account-here"
auth: { file: { path = "no-such-file" } }
control: { viewers = [ "unix:no-such-group-here" ] }
""" + GOOD


def test_what_the_machine_lacks_is_a_warning(ctl):
    """The files are judged, not the machine."""
    ctl.write("s.conf", LACKING)
    answer = ctl.json("check", "-c", "s.conf", status=0)
    assert answer["errors"] == []
    assert [(w["code"], w["line"], w["column"]) for w in answer["warnings"]] == \
        [("W302", 2, 8), ("W304", 3, 24), ("W303", 4, 24)]
    done = ctl.run("check", "-c", "s.conf")
    assert done.returncode == 0
    assert "\n3 warnings\ns.conf is good: 1 rule\n" in done.stdout
    # settings that are wrong are not held against the machine
    ctl.write("s.conf", LACKING.replace('"no-such-account-here"', "1"))
    assert ctl.json("check", "-c", "s.conf", status=1)["warnings"] == []


# ---- tests of a policy -------------------------------------------------------

TESTED = GOOD + """tests: {
  inside:  { from = "10.1.1.1"; to = "192.0.2.1:80"; expect = "allow"; rule = "a" }
  outside: { from = "192.0.2.9"; to = "192.0.2.1:80"; expect = "deny"; rule = "policy-default" }
  wrong:   { from = "10.1.1.1"; to = "127.0.0.1:80"; expect = "allow" }
  other:   { from = "10.1.1.1"; to = "192.0.2.1:80"; expect = "allow"; rule = "policy-default" }
  open:    { from = "10.1.1.1"; to = "www.example:80"; expect = "allow" }
}
"""


def test_tests_of_a_policy(ctl):
    text = re.sub(r"(?m)^  (wrong|other|open):.*\n", "", TESTED)
    ctl.write("p.conf", text)
    done = ctl.run("test", "-c", "p.conf")
    assert done.returncode == 0
    assert done.stdout == "ok      inside\nok      outside\n2 of 2 passed\n"
    assert "2 tests passed" in ctl.run("check", "-c", "p.conf").stdout


def test_failing_tests(ctl):
    ctl.write("p.conf", TESTED)
    answer = ctl.json("test", "-c", "p.conf", status=1)
    assert (answer["passed"], answer["failed"]) == (2, 3)
    by_name = {t["name"]: t for t in answer["tests"]}
    assert by_name["wrong"]["verdict"] == "deny" and by_name["wrong"]["line"] == 5
    assert by_name["open"]["verdict"] == "need" and by_name["open"]["rule"] is None
    done = ctl.run("test", "-c", "p.conf")
    assert done.returncode == 1 and done.stdout.endswith("2 of 5 passed\n")
    assert 'expected allow by "policy-default", but it gets allow by "a"\n' in done.stdout


def test_check_refuses_what_fails_its_tests(ctl):
    ctl.write("p.conf", TESTED)
    errors = ctl.json("check", "-c", "p.conf", status=1)["errors"]
    assert [e["line"] for e in errors] == [5, 6, 7]
    assert all(e["file"] == "p.conf" for e in errors)


# ---- settings -----------------------------------------------------------------


def test_settings(ctl):
    rows = ctl.json("settings", status=0)["settings"]
    assert {"name", "type", "default", "bounds", "help"} == set(rows[0])
    audit = ctl.json("settings", "audit", status=0)["settings"]
    assert audit and all(r["name"].startswith("audit.") for r in audit)
    assert "timeouts.idle" in ctl.run("settings", "timeouts.idle").stdout


def test_server_files(ctl):
    """What is installed, and the reference inputs, pass."""
    for name in ("quickstart.conf", "sallyport.conf"):
        done = ctl.run("check", "-c", os.path.join(ROOT, "etc", name))
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words, near", [
    (["show", "-c", "p.conf", "fisrt"], "first"), (["help", "explian"], "explain"),
    (["settings", "audit.fle"], "audit.file"), (["chekc"], "check"),
    (["check", "--jsn"], "--json"),
])
def test_did_you_mean(ctl, words, near):
    ctl.write("p.conf", 'rules: { first: { action = "deny" } }\n')
    done = ctl.run(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.endswith(f": did you mean '{near}'?\n")
