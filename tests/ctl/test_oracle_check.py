"""Each sentence of the language that calls something an error or a warning, broken once.

The mark \u00ab stands before the place that must be told; the last word must be in the message or its
help.  Written from the text of the language, beside the files of tests/policy.
"""
import pytest

MARK = "«"
SOUND = 'rules: { r: { action = "deny" } }\n'

OBJECTS = [
    ("E209", 'networks: { a = [ «"10.1.2.3/8" ] }', "10.0.0.0/8"),
    ("E209", 'networks: { a = [ «"10.0.0.0/255.0.0.0" ] }', "10.0.0.0/8"),
    ("E209", 'networks: { a = [ «"10.0.0.1-10.0.0.9" ] }', ""),
    ("E209", 'networks: { a = [ «"010.0.0.1" ] }', ""),
    ("E209", 'networks: { a = [ «"::ffff:10.0.0.0/104" ] }', "10.0.0.0/8"),
    ("E209", 'networks: { a = [ «"::ffff:10.0.0.1" ] }', "10.0.0.1"),
    ("E209", 'networks: { a = [ «"10.0.0.0/33" ] }', ""),
    ("E209", 'networks: { a = [ «"10.0.0.0/" ] }', ""),
    ("E209", 'networks: { a = [ «"10.0.0.0/08" ] }', ""),
    ("E209", 'networks: { a = [ «"10.0.0" ] }', ""),
    ("E218", 'networks: { a = [ «"any" ] }', ""),
    ("E204", "networks: { a = «[ ] }", ""),
    ("E204", 'networks: { a = «"" }', ""),
    ("E204", 'networks: { a = [ «"" ] }', ""),
    ("E209", 'networks: { a = [ «"*.a.example" ] }', "hosts"),
    ("E208", 'networks: { a = [ "b" ]; b = [ «"a" ] }', ""),
    ("E208", 'networks: { a = [ «"a" ] }', ""),
    ("E202", 'networks: { «public = [ "10.0.0.0/8" ] }', ""),
    ("E202", 'networks: { «known = [ "10.0.0.0/8" ] }', ""),
    ("E110", 'networks: { «_a = [ "10.0.0.0/8" ] }', ""),
    ("E207", 'networks: { a = [ "10.0.0.0/8" ] }\nhosts: { «a = [ "x.example" ] }', ""),
    ("E117", 'networks: { a = [ "10.0.0.0/8" ]; «a = [ "10.0.0.0/8" ] }', ""),
    ("W201", 'networks: { a = [ "10.0.0.0/8", «"10.0.0.0/8" ] }', ""),
    ("E201", "networks: { a = «10 }", ""),
    ("E203", 'hosts: { h = [ «"a" ] }', "regex:^a$"),
    ("E210", 'hosts: { h = [ «"a..example" ] }', ""),
    ("E210", 'hosts: { h = [ «"a.*.example" ] }', ""),
    ("E210", 'hosts: { h = [ «"*a.example" ] }', ""),
    ("E210", 'hosts: { h = [ «"bücher.example" ] }', "xn--"),
    ("E210", 'hosts: { h = [ «"10.0.0.1" ] }', ""),
    ("E211", 'hosts: { h = [ «"regex:(" ] }', ""),
    ("E211", 'hosts: { h = [ «"regex:(*UCP)a" ] }', ""),
    ("E211", 'hosts: { h = [ «"regex:a(?C1)b" ] }', ""),
    ("E211", 'hosts: { h = [ «"regex:" ] }', ""),
    ("E210", 'hosts: { h = [ «"http://a.example/" ] }', ""),
    ("E210", 'hosts: { h = [ «"a.example:443" ] }', ""),
    ("E210", 'hosts: { h = [ «"a.example." ] }', ""),
    ("E210", 'hosts: { h = [ «"' + 'a' * 64 + '.example" ] }', ""),
    ("E212", 'services: { s = [ «"tcp/0" ] }', ""),
    ("E212", 'services: { s = [ «"tcp/65536" ] }', ""),
    ("E212", 'services: { s = [ «"tcp/90-80" ] }', "80-90"),
    ("E212", 'services: { s = [ «"443" ] }', "tcp/443"),
    ("E212", 'services: { s = [ «"icmp/1" ] }', ""),
    ("E212", 'services: { s = [ «"TCP/80" ] }', "tcp/80"),
    ("E212", 'services: { s = [ «"tcp/http" ] }', ""),
    ("E201", "services: { s = [ «443 ] }", ""),
    ("E203", 'groups: { g = [ «"@h" ] }', ""),
    ("E213", 'groups: { g = [ «"unix:" ] }', ""),
    ("E213", 'groups: { g = [ «"a b" ] }', ""),
    ("E214", 'times: { t = [ «"Mon-Fri 07:00-19:00" ] }', "zone"),
    ("E214", 'times: { t = [ «"Mon-Fri 07:00-19:00 Europe/Berln" ] }', "Europe/Berlin"),
    ("E214", 'times: { t = [ «"Mon-Fri 07:00-07:00 UTC" ] }', ""),
    ("E214", 'times: { t = [ «"Mon-Fri 24:00-07:00 UTC" ] }', ""),
    ("E214", 'times: { t = [ «"Mon-Fri 7:00-19:00 UTC" ] }', ""),
    ("E214", 'times: { t = [ «"Mo-Fr 07:00-19:00 UTC" ] }', ""),
    ("E214", 'times: { t = [ «"Mon-Fri 07:00-19:60 UTC" ] }', ""),
    ("E214", 'times: { t = [ «"07:00-19:00 UTC" ] }', ""),
    ("E214", 'times: { t = [ «"Mon,Mon-Fri, 07:00-19:00 UTC" ] }', ""),
    ("E113", 'networks: { a = [ "10.0.0.0/8" «"11.0.0.0/8" ] }', ""),
    ("E112", 'networks: { a = [ «"10.0.0.0/8 ] }', "quote"),
    ("E205", 'tests: { «t: { from = "10.0.0.1"; to = "8.8.8.8:80" } }', "expect"),
    ("E205", 'tests: { «t: { from = "10.0.0.1"; expect = "deny" } }', "to"),
    ("E226", 'tests: { t: { from = "10.0.0.1"; to = «"8.8.8.8"; expect = "deny" } }', "port"),
    ("E228", 'tests: { t: { from = "10.0.0.1"; to = "8.8.8.8:1"; expect = «"allow" } }', ""),
    ("E203", 'tests: { t: { from = "10.0.0.1"; to = "8.8.8.8:1"; expect = "deny"; rule = «"rr" } }', ""),
    ("E102", 'tests: { t: { from = "10.0.0.1"; to = "8.8.8.8:1"; expect = "deny"; «usr = "ann" } }', "user"),
    ("E226", 'tests: { t: { from = "10.0.0.1"; to = "8.8.8.8:1"; expect = "deny"; «user = "ann" } }', "auth"),
    ("E101", 'networks: { a = [ «"file:nope.txt" ] }', ""),
    ("E203", 'networks: { a = [ «"b" ] }', ""),
    ("E203", 'hosts: { a = [ "b.example" ]; c = [ «"public" ] }', ""),
    ("E101", '@include «"nope.conf"', ""),
    ("E114", r'hosts: { h = [ "regex:«\d+" ] }', ""),
    ("E102", 'policy: { «nmae = "x" }', "name"),
    ("E203", 'policy: { resolves-in = «"publc" }', "public"),
]
KEYS = [
    ("E218", 'who = «"unix:staff"', ""),
    ("E117", '«to = "any"', ""),
    ("E218", 'from = «"file:x.txt"', ""),
    ("E203", 'who = «"@nobody"', ""),
    ("E219", 'who = "anyone"; «auth = "pam"', ""),
    ("E206", 'auth = «"kerberos"', "gssapi"),
    ("E206", 'command = «"udp"', "udp-associate"),
    ("E206", "version = «3", ""),
    ("E201", 'version = «"5"', ""),
    ("E209", 'resolves-in = «"*.a.example"', ""),
    ("E206", 'mode = «"dryrun"', "dry-run"),
    ("E206", 'log = «"all"', ""),
    ("E201", 'alert = «"yes"', "true"),
    ("E215", 'since = «"2026-02-30"', ""),
    ("E216", 'since = "2026-05-01"; expires = «"2026-04-30"', ""),
    ("E215", 'expires = «"30.04.2026"', ""),
    ("E217", 'limit: { idle = «"8" }', ""),
    ("E201", "limit: { idle = «8 }", ""),
    ("E102", 'limit: { «idel = "8 h" }', "idle"),
    ("E217", "limit: { sessions = «0 }", ""),
    ("E217", "limit: { sessions = «-1 }", ""),
    ("E115", "limit: { sessions = «4294967296 }", ""),
    ("E217", 'limit: { bandwidth-per-user = «"200 MB/s" }', "bit"),
    ("E217", 'limit: { rate-per-user = «"10" }', ""),
    ("E206", 'on-revoke = «"drain"', ""),
    ("E206", 'udp-replies = «"all"', ""),
    ("E203", 'route = «"tor"', ""),
    ("E219", 'egress = [ "192.0.2.1", «"192.0.2.2" ]', ""),
    ("E209", 'egress = «"192.0.2.0/24"', ""),
    ("E201", "owner = «5", ""),
    ("E203", 'from = «"internal"', ""),
    ("E209", 'from = «"a.example"', ""),
    ("W203", 'expires = «"2020-01-01"', ""),
    ("W204", 'review = «"2020-01-01"', ""),
    ("E201", 'open-proxy = «"true"', ""),
]
FILES = [
    ("E203", 'services: { https = [ "tcp/443" ] }\nrules: { r: { action = "allow"; to = "any"; service = «"htps" } }\n', "https"),
    ("E222", "«rules: { }\n", ""),
    ("E102", 'rules: { r: { «acton = "deny" } }\n', "action"),
    ("E205", 'rules: { «r: { to = "any" } }\n', ""),
    ("E206", 'rules: { r: { action = «"permit" } }\n', "allow"),
    ("E205", 'rules: { «r: { action = "allow" } }\n', "to"),
    ("E223", 'rules: { r: { action = "deny"; «name = "x" } }\n', ""),
    ("E117", 'rules: { r: { action = "deny" }\n «r: { action = "deny" } }\n', ""),
    ("E207", 'rules: ( { name = "a"; action = "deny" }, { name = «"a"; action = "deny" } )\n', ""),
    ("E223", 'rules: ( «{ action = "deny" } )\n', "name"),
    ("E202", 'rules: { «policy-default: { action = "deny" } }\n', ""),
    ("E202", 'rules: { «any: { action = "deny" } }\n', ""),
    ("E219", 'rules: { r: { action = "deny"; «resolves-in = "public" } }\n', ""),
    ("E203", 'rules: { r: { action = "allow"; to = «"intranet" } }\n', "hosts"),
    ("E209", 'rules: { r: { action = "allow"; to = «"10.1.2.3/8" } }\n', ""),
    ("W205", 'rules: { r: { action = "allow"; to = «"0.0.0.0/0" } }\n', ""),
    ("W205", 'rules: { r: { action = "allow"; to = «"168.0.0.0/6" } }\n', ""),
    ("E102", '«ruels: { r: { action = "deny" } }\n', "rules"),
    ("E111", 'rules: { r: { action = "deny" } }\n«/* never closed\n', ""),
    ("E118", 'rules: «{ r: { action = "deny" }\n', ""),
    ("E110", 'rules: { r: { action = "deny" } } «}\n', ""),
    ("E120", 'rules: { @include «"nope/*.conf"\n r: { action = "deny" } }\n', ""),
    ("E201", 'rules: { r: { action = "deny"; to = «true } }\n', ""),
    ("E205", "rules: { «r: { } }\n", ""),
    ("E201", 'rules: { r: «"deny" }\n', ""),
    ("E201", 'rules: «"deny"\n', ""),
    ("E109", 'rules: { «ünder: { action = "deny" } }\n', ""),
    ("E210", 'rules: { r: { action = "deny"; to = «"ünder.example" } }\n', ""),
    ("E106", '«\ufeffrules: { r: { action = "deny" } }\n', "BOM"),
    ("E227", 'rules: { r: { action = "deny"; owner = «"a\x01b" } }\n', "control"),
    ("E112", 'rules: { r: { action = "deny"; why = «"a\tb\nc" } }\n', ""),
    ("E203", 'rules: { r: { action = "deny"; when = «"office" } }\n', ""),
    ("E202", 'rules: { r: { action = "deny"; listener = «"in side" } }\n', ""),
    ("E212", 'rules: { r: { action = "deny"; service = «"tcp/80,tcp/443" } }\n', ""),
    ("E118", 'rules: { r: { action = "deny"; service = «[ "tcp/80"; "tcp/443" ] } }\n', ""),
]


def judge(ctl, text):
    ctl.write("b.conf", text)
    status = ctl.run("check", "-c", "b.conf").returncode
    told = ctl.json("check", "-c", "b.conf", status=status)
    assert status == (1 if told["errors"] else 0)
    return told


def place_of(text):
    """Line and column, in bytes, of the mark; and the text without it."""
    before = text[:text.index(MARK)].encode()
    line = before.count(b"\n") + 1
    column = len(before) - (before.rfind(b"\n") + 1) + 1
    return line, column, text.replace(MARK, "")


def caret_letter(out, code, line):
    """What stands above the first caret of a problem with this code and line."""
    blocks = [block for block in out.split("\n\n") if f"[{code}]" in block]
    for block in blocks:
        lines = block.split("\n")
        for above, below in zip(lines, lines[1:]):
            if above.strip().startswith(f"{line} |") and "^" in below:
                return above[below.index("^")]
    return None


def broken(ctl, code, marked, word):
    line, column, text = place_of(marked)
    told = judge(ctl, text)
    kind = told["warnings" if code[0] == "W" else "errors"]
    here = [one for one in kind if (one["code"], one["line"], one["column"]) == (code, line, column)]
    assert here, (code, line, column, kind)
    assert word in here[0]["text"] + (here[0]["help"] or "")
    assert here[0]["file"] == "b.conf"
    assert bool(told["errors"]) == (code[0] == "E")
    wanted = marked[marked.index(MARK) + 1]
    if wanted > " " and wanted != "\ufeff":
        assert caret_letter(ctl.run("check", "-c", "b.conf").stdout, code, line) == wanted
    assert ctl.run("help", code).returncode == 0


@pytest.mark.parametrize("code, text, word", OBJECTS)
def test_objects(ctl, code, text, word):
    broken(ctl, code, f"{text}\n{SOUND}", word)


@pytest.mark.parametrize("code, text, word", KEYS)
def test_keys(ctl, code, text, word):
    broken(ctl, code, f'rules: {{ r: {{ action = "allow"; to = "any"; {text} }} }}\n', word)


@pytest.mark.parametrize("code, text, word", FILES)
def test_files(ctl, code, text, word):
    broken(ctl, code, text, word)


def test_all_at_once(ctl):
    """One mistake hides no other: each that stands alone is also told among many."""
    texts = [text for code, text, _ in KEYS if code in ("E203", "E206", "E215", "E217", "E219")]
    rules = "".join(f'  r{number}: {{ action = "allow"; to = "any"; {text} }}\n'
                    for number, text in enumerate(texts))
    told = judge(ctl, "rules: {\n" + rules.replace(MARK, "") + "}\n")
    lines = [one["line"] for one in told["errors"]]
    assert lines == sorted(lines)
    assert set(lines) == set(range(2, len(texts) + 2))


@pytest.mark.parametrize("who", ['"known", "ann"', '"anyone", "ann"', '"@g", "known"'])
def test_a_word_that_holds_for_others(ctl, who):
    """Within a key any value may: names beside known or anyone are idle, not wrong."""
    told = judge(ctl, 'groups: { g = "bob" }\nrules: { r: { action = "allow"; to = "any"; '
                      f'who = [ {who} ] }} }}\n')
    assert told["errors"] == [] and [one["code"] for one in told["warnings"]] == ["W210"]
    answer = ctl.explain("b.conf", 0, from_="10.0.0.1", to="8.8.8.8:1", user="carl", auth="pam")
    assert answer["rule"] == "r"


@pytest.mark.parametrize("to", ["127.1", "0x7f000001", "10.0.0.256", "1.2.3.4.5"])
def test_names_that_end_in_a_number(ctl, to):
    ctl.write("b.conf", SOUND)
    done = ctl.run("explain", "-c", "b.conf", "--from", "10.0.0.1", "--to", f"{to}:80")
    assert done.returncode == 2 and "ends in a number" in done.stderr


def test_batch_tells_of_nul(ctl):
    ctl.write("b.conf", SOUND)
    done = ctl.run("explain", "-c", "b.conf", "--batch", "-",
                   stdin='{"from":"10.0.0.1","to":"a\\u0000b.example:1"}\n')
    assert done.returncode == 2 and "JSON_" not in done.stdout
    assert "\\\\u0000" in done.stdout


def test_a_dry_run_that_might_match(ctl):
    """Passed over because it is a dry run, whatever the name leads to."""
    ctl.write("b.conf", 'rules: { r: { action = "allow"; to = "a.example"; mode = "dry-run" } }\n')
    words = {"from_": "10.0.0.1", "to": "a.example:1", "resolves": "10.0.0.2"}
    answer = ctl.explain("b.conf", 1, **words)
    assert answer["passed"] == [{"rule": "r", "failed": "mode"}] and answer["verdict"] == "deny"
    done = ctl.run("explain", "-c", "b.conf", "--from", "10.0.0.1", "--to", "a.example:1")
    assert "may match, but is only a dry run" in done.stdout
