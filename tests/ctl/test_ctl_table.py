"""sallyctl table: what is in an object and by which line; a new table in the place of an old one."""
import os
import stat

import pytest

POLICY = """
networks: { feed = [ "file:t/n.txt" ]; all = [ "feed", "10.0.0.0/8", "link-local" ]
            half = [ "192.0.2.0/25", "192.0.2.128/25" ]; two = [ "file:t/n.txt", "file:t/m.txt" ] }
hosts:    { names = [ "file:t/h.txt", "regex:^crm[0-9]+[.]example[.]net$" ] }
services: { web = [ "tcp/80-90", "tcp/91", "udp/53" ]; office = [ "tcp/1" ] }
groups:   { staff = [ "file:t/u.txt", "unix:ops", "ann", "@more" ]; more = [ "eve" ] }
times:    { office = [ "Mon-Fri 07:00-19:00 Europe/Berlin" ] }
rules: {
  a: { action = "deny"; to = [ "all", "half", "names", "two" ]; who = "@staff"; when = "office"
       service = [ "web", "office" ] }
}
tests: { out: { from = "10.0.0.1"; to = "203.0.113.7:80"; user = "ann"; auth = "pam"
                at = "2026-11-24 10:00"; expect = "deny"; rule = "a" } }
"""
TABLES = {"t/n.txt": "# feed\r\n203.0.113.0/25\r\n\r\n  203.0.113.128/25 # all\r\n2001:db8::/32\r\n",
          "t/m.txt": "198.51.100.1\n", "t/h.txt": "*.a.example\n.b.example\nX.example\n",
          "t/u.txt": "bob\n"}


@pytest.fixture
def tables(ctl):
    ctl.write("p.conf", POLICY)
    for name, text in TABLES.items():
        ctl.write(name, text)
    return ctl


@pytest.mark.parametrize("name, value, entry, place", [
    ("feed", "203.0.113.7", "203.0.113.0/25", ("t/n.txt", 2, 1)),
    ("feed", "203.0.113.200", "203.0.113.128/25", ("t/n.txt", 4, 3)),
    ("feed", "2001:db8:1::/48", "2001:db8::/32", ("t/n.txt", 5, 1)),
    ("feed", "203.0.113.0/24", None, None),  # by two lines together
    ("file:t/n.txt", "203.0.113.0/24", None, None),
    ("networks.all", "203.0.113.7", "203.0.113.0/25", ("t/n.txt", 2, 1)),
    ("all", "10.9.0.0/16", "10.0.0.0/8", "p.conf"),
    ("all", "169.254.169.254", "link-local", "p.conf"),
    ("names", "www.a.example", "*.a.example", ("t/h.txt", 1, 1)),
    ("names", "B.Example.", ".b.example", ("t/h.txt", 2, 1)),
    ("names", "x.example", "X.example", ("t/h.txt", 3, 1)),
    ("names", "crm12.example.net", "regex:^crm[0-9]+[.]example[.]net$", "p.conf"),
    ("web", "tcp/85", "tcp/80-90", "p.conf"),
    ("web", "tcp/85-91", None, None),
    ("web", "udp/53", "udp/53", "p.conf"),
    ("staff", "bob", "bob", ("t/u.txt", 1, 1)),
    ("@staff", "eve", "eve", "p.conf"),
    ("groups.staff", "unix:ops", "unix:ops", "p.conf"),
    ("times.office", "2026-11-24 10:00", "Mon-Fri 07:00-19:00 Europe/Berlin", "p.conf"),
])
def test_a_value_is_there(tables, name, value, entry, place):
    answer = tables.json("table", "test", name, value, "-c", "p.conf", status=0)
    assert list(answer) == ["holds", "object", "kind", "value", "entry", "file", "line", "column"]
    assert answer["holds"] is True and answer["value"] == value and answer["entry"] == entry
    if place == "p.conf":
        line = next(n for n, text in enumerate(POLICY.splitlines(), 1) if f'"{entry}"' in text)
        place = (place, line, POLICY.splitlines()[line - 1].index(f'"{entry}"') + 1)
    if place:
        assert (answer["file"], answer["line"], answer["column"]) == place
    else:
        assert (answer["file"], answer["line"], answer["column"]) == (None, 0, 0)
    done = tables.run("table", "test", name, value, "-c", "p.conf")
    assert done.returncode == 0 and done.stdout.startswith(f"yes {value} is in ")


@pytest.mark.parametrize("name, value", [
    ("feed", "203.0.114.0"), ("feed", "0.0.0.0/0"), ("feed", "10.0.0.1"),
    ("names", "a.example"), ("names", "xb.example"), ("names", "crm.example.net"),
    ("web", "tcp/92"), ("web", "tcp/53"), ("web", "tcp/90-92"),
    ("staff", "ops"), ("staff", "unix:bob"), ("staff", "Bob"),
    ("times.office", "2026-11-24 18:00"), ("file:t/m.txt", "203.0.113.7"),
])
def test_a_value_is_not_there(tables, name, value):
    answer = tables.json("table", "test", name, value, "-c", "p.conf", status=1)
    assert answer["holds"] is False and answer["entry"] is None and answer["file"] is None
    done = tables.run("table", "test", name, value, "-c", "p.conf")
    assert done.returncode == 1 and done.stdout.startswith(f"no {value} is not in ")


@pytest.mark.parametrize("words, told", [
    (["test", "fed", "10.0.0.1"], 'no object is called \'fed\': did you mean "feed"?'),
    (["test", "office", "x"], 'say "services.office" or "times.office"'),
    (["test", "feed", "x"], "not an address and not a prefix"),
    (["test", "names", "a..b"], "not the name of a host"),
    (["test", "web", "80"], "not a service such as tcp/443"),
    (["test", "times.office", "noon"], "2026-11-24 10:00"),
    (["test", "file:zz", "x"], "no object names the table 'file:zz'"),
    (["test", "feed"], "sallyctl table test NAME VALUE"),
    (["list", "feed"], "sallyctl table list"),
    (["repalce", "feed", "new.txt"], "did you mean 'replace'?"),
    (["replace", "half", "t/m.txt"], "holds no table of its own"),
    (["replace", "two", "t/m.txt"], "name one of them"),
    (["replace", "feed", "absent.txt"], "cannot read 'absent.txt'"),
    ([], "is missing"),
])
def test_wrong_words(tables, words, told):
    done = tables.run("table", *words, "-c", "p.conf")
    assert done.returncode == 2 and done.stdout == "" and told in done.stderr
    assert "error" in tables.json("table", *words, "-c", "p.conf", status=2)


def test_list(tables):
    done = tables.run("table", "list", "-c", "p.conf")
    assert done.returncode == 0
    assert done.stdout == ("feed  file:t/n.txt\ntwo  file:t/n.txt\ntwo  file:t/m.txt\n"
                           "names  file:t/h.txt\nstaff  file:t/u.txt\n")
    assert tables.json("table", "list", "-c", "p.conf", status=0)["tables"][3] == \
        {"object": "names", "kind": "host", "table": "file:t/h.txt"}


def read(ctl, name):
    with open(os.path.join(ctl.folder, name), encoding="utf-8", newline="") as file:
        return file.read()


def test_replace(tables):
    """The bytes of the new file, the mode and owner of the old one, through a link."""
    old = os.path.join(tables.folder, "t", "n.txt")
    real = os.path.join(tables.folder, "real.txt")
    os.rename(old, real)
    os.symlink("../real.txt", old)
    os.chmod(real, 0o640)
    if os.getuid() == 0:
        os.chown(real, 12345, 23456)
    text = "203.0.113.0/24 # one\n10.0.0.0/8\n"
    tables.write("new.txt", text)
    done = tables.run("table", "replace", "feed", "new.txt", "-c", "p.conf")
    assert done.returncode == 0 and "t/n.txt has 2 entries now" in done.stdout, done
    assert read(tables, "t/n.txt") == text and os.path.islink(old)
    what = os.stat(real)
    assert stat.S_IMODE(what.st_mode) == 0o640
    if os.getuid() == 0:
        assert (what.st_uid, what.st_gid) == (12345, 23456)
    assert sorted(os.listdir(os.path.join(tables.folder, "t"))) == \
        ["h.txt", "m.txt", "n.txt", "u.txt"]  # nothing of ours is left
    assert tables.json("table", "replace", "file:t/m.txt", "new.txt", "-c", "p.conf", status=0)[
        "entries"] == 2
    assert read(tables, "t/m.txt") == text


@pytest.mark.parametrize("text, codes", [
    ("1.2.3.4/8\nfoo\n10.0.0.0/8 x\n", ["E209", "E209", "E220"]),
    ("10.0.0.0/8\n\x01\n", ["E107"]),
    ("a.example\n", ["E209"]),
    ("10.0.0.0/8\n", ["E228"]),  # the policy's own test says that 203.0.113.7 is in it
    ("", ["E228"]),
])
def test_a_bad_table_is_not_taken(tables, text, codes):
    tables.write("new.txt", text)
    answer = tables.json("table", "replace", "feed", "new.txt", "-c", "p.conf", status=1)
    assert [e["code"] for e in answer["errors"]] == codes
    if codes[0] != "E228":
        assert {e["file"] for e in answer["errors"]} == {"new.txt"}
    done = tables.run("table", "replace", "feed", "new.txt", "-c", "p.conf")
    assert done.returncode == 1 and done.stdout.endswith("\nnothing was replaced\n")
    assert read(tables, "t/n.txt") == TABLES["t/n.txt"]


def test_a_broken_table_is_made_good(tables):
    """The policy has an error only because of the table: the new one mends it."""
    tables.write("t/n.txt", "broken\n")
    tables.write("new.txt", "203.0.113.0/24\n")
    assert tables.run("check", "-c", "p.conf").returncode == 1
    assert tables.run("table", "replace", "feed", "new.txt", "-c", "p.conf").returncode == 0
    os.unlink(os.path.join(tables.folder, "t", "n.txt"))
    assert tables.run("table", "replace", "feed", "new.txt", "-c", "p.conf").returncode == 0
    assert tables.run("check", "-c", "p.conf").returncode == 0


def test_replace_of_a_file_that_others_may_write(tables):
    path = tables.write("new.txt", "10.0.0.0/8\n")
    os.chmod(path, 0o666)
    answer = tables.json("table", "replace", "feed", "new.txt", "-c", "p.conf", status=1)
    assert [e["code"] for e in answer["errors"]][:1] == ["E104"]


def test_empty_is_a_warning(tables):
    tables.write("new.txt", "# dry\n")
    done = tables.run("table", "replace", "file:t/m.txt", "new.txt", "-c", "p.conf")
    assert done.returncode == 0 and "warning[W202]" in done.stdout
