"""sallyctl lint: what it finds, what it leaves alone, and what it says is not decided."""
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

OBJECTS = """
networks: { inside = [ "10.0.0.0/8" ]; part = [ "10.1.0.0/16" ]; feed = [ "198.51.100.0/24" ] }
hosts:    { erp = [ "erp.corp.example" ]; corp = [ ".corp.example" ] }
services: { web = [ "tcp/80-90", "tcp/443" ] }
groups:   { staff = [ "ann", "bob" ]; some = [ "bob" ]; nss = [ "unix:staff" ] }
times:    { office = [ "Mon-Fri 07:00-19:00 Europe/Berlin" ]
            noon = [ "Tue,Wed 12:00-13:00 Europe/Berlin" ]
            zulu = [ "Tue 12:00-12:30 UTC" ] }
"""
USED = """
  u1: { action = "deny"; mode = "dry-run"; from = [ "inside", "part", "feed" ]; service = "web"
        to = [ "erp", "corp" ]; who = [ "@staff", "@some", "@nss" ]
        when = [ "office", "noon", "zulu" ] }
"""


def found(ctl, rules, objects=OBJECTS, used=USED):
    """(code, rule or None) of each finding; the names of what is not decided."""
    ctl.write("p.conf", objects + "rules: {" + used + rules + "}\n")
    done = ctl.run("lint", "-c", "p.conf")
    answer = ctl.json("lint", "-c", "p.conf", status=done.returncode)
    assert done.returncode == (1 if answer["findings"] else 0), done.stderr
    assert answer["count"] == len(answer["findings"])
    for one in answer["findings"]:
        assert one["code"] in done.stdout
    return ([(f["code"], f["text"].split('"')[1]) for f in answer["findings"]],
            [f["text"].split('"')[1] for f in answer["not_decided"]])


ALLOW = 'action = "allow"; why = "a test"; '


@pytest.mark.parametrize("first, second, code", [
    # covered, and not the same
    ('from = "inside"; to = "any"', 'from = "part"; to = "any"', "W401"),
    ('from = "inside"; to = "any"', 'from = "10.2.0.0/16"; to = "192.0.2.0/24"', "W401"),
    ('to = "any"; service = "web"', 'to = "any"; service = "tcp/85"', "W401"),
    ('to = "any"; service = [ "tcp/80-82", "tcp/83-90" ]', 'to = "any"; service = "tcp/81-85"',
     "W401"),
    ('to = "any"; who = "@staff"', 'to = "any"; who = "bob"', "W401"),
    ('to = "any"; who = "known"', 'to = "any"; who = "@nss"', "W401"),
    ('to = "any"; when = "office"', 'to = "any"; when = "noon"', "W401"),
    ('to = "corp"', 'to = "erp"', "W401"),
    ('to = "corp"', 'to = "*.a.corp.example"', "W401"),
    ('to = "any"', 'to = "erp"', "W401"),
    ('to = "any"; except = "inside"', 'to = "erp"', "W401"),
    ('to = "any"', 'to = "any"; expires = "2999-01-01"', "W401"),
    ('to = "any"; since = "2020-01-01"', 'to = "any"; since = "2021-01-01"', "W401"),
    ('to = "any"', 'to = "any"; version = 4', "W401"),
    ('to = "any"', 'to = "any"; command = "udp-associate"; listener = "x"', "W401"),
    ('to = "any"; from = "inside"; from-except = "10.3.0.0/16"', 'to = "any"; from = "part"', "W401"),
    # the same
    ('to = "any"; from = "inside"', 'to = "any"; from = "10.0.0.0/8"', "W402"),
    ('to = "any"; from = "inside"', 'to = "any"; from = [ "10.0.0.0/9", "10.128.0.0/9" ]', "W402"),
    # reachable
    ('from = "part"; to = "any"', 'from = "inside"; to = "any"', None),
    ('to = "any"; service = "web"', 'to = "any"; service = "tcp/91"', None),
    ('to = "any"; service = "tcp/1-65535"; command = "connect"', 'to = "any"; command = "connect"',
     None),
    ('to = "any"; who = "bob"', 'to = "any"; who = "@staff"', None),
    ('to = "any"; who = "known"', 'to = "any"; who = "known"; auth = "ident"', None),
    ('to = "any"; when = "noon"', 'to = "any"; when = "office"', None),
    ('to = "erp"', 'to = "corp"', None),
    ('to = "erp"', 'to = "any"', None),
    ('to = "any"', 'to = "erp"; resolves-in = "loopback"', None),
    ('to = "any"; except = "erp"', 'to = "erp"', None),
    ('to = "any"', 'to = [ "any", "loopback" ]', None),
    ('to = "any"; expires = "2999-01-01"', 'to = "any"', None),
    ('to = "any"; version = 4', 'to = "any"; command = "connect"', None),
    ('to = "any"; listener = "x"', 'to = "any"', None),
    ('to = "any"; mode = "dry-run"', 'to = "any"', None),
    ('to = "any"', 'to = "any"; command = "bind"', None),
    ('to = "any"; from = "inside"; from-except = "10.1.3.0/24"', 'to = "any"; from = "part"', None),
])
def test_rules_that_never_match(ctl, first, second, code):
    findings, undecided = found(ctl, f"one: {{ {ALLOW}{first} }} two: {{ {ALLOW}{second} }}")
    assert findings == ([(code, "two")] if code else [])
    assert undecided == []


def test_the_opposite_action(ctl):
    rules = 'one: { action = "deny"; from = "inside" } two: { %s from = "part"; to = "any" }' % ALLOW
    assert found(ctl, rules) == ([("W401", "two")], [])
    assert 'before it denies all that it allows' in ctl.run("lint", "-c", "p.conf").stdout


TOGETHER = [
    # clients; ports; windows; names; users; commands; versions; dates; addresses; listeners
    (['action = "deny"; from = "0.0.0.0/1"', 'action = "deny"; from = "128.0.0.0/1"'],
     'action = "deny"; from = "0.0.0.0/0"'),
    (['to = "any"; from-except = "inside"', 'to = "any"; from = "10.0.0.0/9"',
      'to = "any"; from = "10.128.0.0/9"'], 'to = "any"'),
    (['to = "any"; service = "tcp/1-1000"', 'to = "any"; service = [ "tcp/1001-65535", "udp/1" ]'],
     'to = "any"; service = [ "tcp/900-1100", "udp/1" ]'),
    (['to = "any"; when = "Mon-Fri 00:00-12:00 UTC"', 'to = "any"; when = "Mon-Fri 12:00-24:00 UTC"',
      'to = "any"; when = "Sat,Sun 00:00-24:00 UTC"'], 'to = "any"'),
    (['to = "*.corp.example"', 'to = "corp.example"'], 'to = "corp"'),
    (['to = "any"; who = "ann"', 'to = "any"; who = "bob"'], 'to = "any"; who = "@staff"'),
    (['to = "any"; who = "known"; auth = "pam"',
      'to = "any"; who = "known"; auth = [ "file", "gssapi", "chap" ]'],
     'to = "any"; who = "known"'),
    (['to = "any"; command = "connect"', 'to = "any"; command = "udp-associate"'], 'to = "any"'),
    (['to = "any"; version = 4', 'to = "any"; version = 5'], 'to = "any"'),
    (['to = "any"; expires = "2998-01-01"', 'to = "any"; since = "2998-01-02"'], 'to = "any"'),
    (['to = "10.0.0.0/9"', 'to = "10.128.0.0/9"'], 'to = "inside"; service = "web"'),
    (['to = "any"; listener = "x"', 'to = "any"; listener = "y"'],
     'to = "any"; listener = [ "x", "y" ]'),
    # two ways at once: a cross of clients and ports
    (['to = "any"; from = "10.0.0.0/9"; service = "tcp/1-100"',
      'to = "any"; from = "10.0.0.0/9"; service = "tcp/101-200"',
      'to = "any"; from = "10.128.0.0/9"; service = "tcp/1-200"'],
     'to = "any"; from = "inside"; service = "tcp/50-150"'),
]


def rules_of(before, last):
    text = ""
    for i, rule in enumerate(before + [last]):
        name = f"r{i}" if i < len(before) else "last"
        text += f"{name}: {{ {'' if 'deny' in rule else ALLOW}{rule} }} "
    return text


@pytest.mark.parametrize("before, last", TOGETHER)
def test_rules_that_several_cover_together(ctl, before, last):
    """Together they hide the last one; without any one of them it has its turn."""
    assert found(ctl, rules_of(before, last)) == ([("W401", "last")], [])
    told = ctl.run("lint", "-c", "p.conf").stdout
    assert '"r0"' in told and f'"r{len(before) - 1}" before it hold together for all' in told
    for i in range(len(before)):
        assert found(ctl, rules_of(before[:i] + before[i + 1:], last)) == ([], []), before[i]


def test_a_denial_that_comes_early_is_not_hidden(ctl):
    """Before the request is read, only the last one is certain: it refuses, and is recorded."""
    rules = """four: { action = "deny"; version = 4 } five: { action = "deny"; version = 5 }
               all: { action = "deny"; from = "inside" }"""
    assert found(ctl, rules) == ([], [])


def test_many_rules_together_are_counted(ctl):
    before = [f'to = "any"; from = "10.{16 * i}.0.0/12"' for i in range(16)]
    assert found(ctl, rules_of(before, 'to = "any"; from = "inside"')) == ([("W401", "last")], [])
    assert '"r0", "r1", "r2" and 13 more before it' in ctl.run("lint", "-c", "p.conf").stdout


def test_a_failing_group_lookup_is_thought_of(ctl):
    """An allow by Unix groups does not hold when they are unknown, and a denial after it does."""
    rules = """one: { %s who = "@nss"; to = "any"; command = "connect" }
               two: { action = "deny"; who = "@nss"; to = "any"; command = "connect" }""" % ALLOW
    assert found(ctl, rules) == ([], [])


def test_a_rule_that_takes_all_away_from_itself(ctl):
    rules = """one: { %s from = "part"; from-except = "inside"; to = "any" }
               two: { action = "deny"; to = "10.1.0.0/16"; except = [ "inside", "erp" ] }
               more: { action = "deny"; to = "corp"; except = "erp" }""" % ALLOW
    assert found(ctl, rules) == ([("W409", "one"), ("W409", "two")], [])


def test_a_feed_that_ran_dry_is_no_finding(ctl):
    ctl.write("dry.txt", "# nothing today\n")
    objects = OBJECTS.replace("feed = [", 'dry = [ "file:dry.txt" ]; feed = [')
    rules = """all: { action = "deny"; from = "part" } one: { action = "deny"; to = "dry" }
               two: { action = "deny"; from = "dry"; to = "part" }"""
    assert found(ctl, rules, objects) == ([], [])


def test_what_is_not_decided(ctl):
    """Patterns are not compared: neither a proof nor a session."""
    rules = """one: { %s to = "regex:^a.*[.]example$" }
               two: { %s to = "regex:^ab.*[.]example$" }""" % (ALLOW, ALLOW)
    assert found(ctl, rules) == ([], ["two"])
    done = ctl.run("lint", "-c", "p.conf")
    assert done.returncode == 0
    assert 'not decided: whether rule "two" can ever match  (p.conf:' in done.stdout
    assert done.stdout.endswith("p.conf: nothing found\n")


def test_windows_in_other_zones_are_not_decided_by_guess(ctl):
    rules = "one: { %s to = \"any\"; when = \"office\" } two: { %s to = \"any\"; when = \"zulu\" }"
    assert found(ctl, rules % (ALLOW, ALLOW)) == ([], ["two"])


def test_a_denial_that_an_address_walks_around(ctl):
    lock = 'lock: { action = "deny"; to = "corp" } '
    web = "web: { %s to = \"any\"; service = \"web\"; who = \"@staff\" }" % ALLOW
    assert found(ctl, lock + web) == ([("W404", "lock")], [])
    assert found(ctl, 'lock: { action = "deny"; to = "corp"; mode = "dry-run" } ' + web) == ([], [])
    # nothing is allowed by address
    assert found(ctl, lock + 'web: { %s to = "*.example"; who = "@staff" }' % ALLOW) == ([], [])
    # what the denial holds for, the other does not
    assert found(ctl, 'lock: { action = "deny"; to = "corp"; service = "tcp/22" } ' + web) == ([], [])
    # addresses are denied, too
    assert found(ctl, 'lock: { action = "deny"; to = [ "corp", "any" ] } ' + web) == \
        ([("W401", "web")], [])


def test_identity(ctl):
    def codes(rule):
        return [code for code, _ in found(ctl, "r: { %s }" % rule)[0]]
    assert codes('action = "allow"; from = "inside"; to = "any"') == ["W407"]
    assert codes('action = "allow"; from = "loopback"; to = "any"') == []
    assert codes('action = "allow"; from = "inside"; to = "any"; who = "known"') == []
    assert codes('action = "allow"; from = "inside"; to = "any"; why = "guests"') == []
    assert codes('action = "allow"; to = "any"; mode = "dry-run"') == []
    assert codes('action = "allow"; to = "any"; who = "ann"; auth = [ "pam", "userid" ]') == ["W408"]
    assert codes('action = "allow"; to = "any"; who = "ann"; auth = "ident"') == []
    assert codes('action = "deny"; from = "inside"') == []


def test_objects_and_dates(ctl):
    findings, _ = found(ctl, 'r: { action = "deny" }', used="")
    assert sorted(findings) == [("W403", name) for name in sorted(
        ["inside", "part", "feed", "erp", "corp", "web", "staff", "some", "nss", "office", "noon",
         "zulu"])]
    findings, _ = found(ctl, 'r: { action = "deny"; expires = "2020-01-01" } '
                             's: { action = "deny"; review = "2020-01-01" }')
    assert sorted(code for code, _ in findings) == ["W203", "W204"]


def test_nested_objects_are_used(ctl):
    objects = """networks: { a = [ "10.0.0.0/8" ]; b = [ "a" ] }
                 hosts: { x = [ "regex:^www[.]a[.]example$" ]; y = [ "x" ] }"""
    findings, _ = found(ctl, 'r: { action = "deny"; from = "b"; to = "y" }', objects, "")
    assert findings == [("W405", "www.a.example")] # once


def test_machine_lacks_are_no_findings(ctl):
    assert found(ctl, 'r: { action = "deny"; who = "@g" }',
                 'groups: { g = [ "unix:no-such-group-here" ] }', "") == ([], [])


def test_a_file_with_errors(ctl):
    ctl.write("p.conf", 'rules: { a: { action = "alow" } }\n')
    assert ctl.run("lint", "-c", "p.conf").returncode == 2


def test_what_is_installed_is_clean(ctl):
    for name in ("quickstart.conf", "sallyport.conf"):
        done = ctl.run("lint", "-c", os.path.join(ROOT, "etc", name))
        assert done.returncode == 0, done.stdout
