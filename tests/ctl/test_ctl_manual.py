"""The manuals say what the program does: settings, endings, options, keys of a rule."""
import os
import re
import shutil
import subprocess

import manual
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["sallyctl.1", "sallyportd.8", "sallyport.conf.5", "sallyport-policy.5",
         "sallyport-audit.5"]


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def test_settings_are_those_of_the_table(sallyctl):
    page = read("docs", "sallyport.conf.5")
    told = page.split(manual.BEGIN)[1].split(manual.END)[0]
    assert told == manual.render(manual.settings(sallyctl)), \
        "run tests/ctl/manual.py SALLYCTL --write"


def test_codes_are_those_of_the_tables(sallyctl):
    told = read("docs", "sallyctl.1").split(manual.CODES_BEGIN)[1].split(manual.CODES_END)[0]
    assert told == manual.render_codes(sallyctl), "run tests/ctl/manual.py SALLYCTL --write"
    assert len(manual.codes()) > 80


def test_endings_are_those_of_the_table():
    rows = re.findall(r'ROW\((\w+), "([a-z-]+)", (\d+), (\d+),', read("daemon", "walk", "endings.c"))
    built = {}
    for name, word, socks4, socks5 in rows:
        if name == "END_NONE":
            continue
        four, five = built.setdefault(word, (set(), set()))
        four.add(int(socks4))
        five.add(int(socks5))
    # never sent: 0; and the codes of a second cause that is never told apart from denial
    told = {}
    for word, four, five in re.findall(r"^\.It Cm ([a-z-]+) Ta (\S+) Ta (.+?) Ta ",
                                       read("docs", "sallyport-audit.5"), re.M):
        told[word] = tuple({0 if n == "\\(en" else int(n) for n in cell.split(", ")}
                           for cell in (four, five))
    assert told == built


def test_options_are_in_the_manual(ctl):
    page = read("docs", "sallyctl.1")
    listed = ctl.run("--help").stdout
    commands = re.findall(r"^  (\w+) ", listed, re.M)
    assert {"check", "explain", "test", "help", "settings"} <= set(commands)
    for command in commands:
        assert re.search(rf"^\.Cm {command}$", page, re.M), command
        assert f".Ss sallyctl {command}\n" in page
        helped = ctl.run(command, "--help")
        assert helped.returncode == 0 and helped.stderr == ""
        for option in re.findall(r"^  (?:-\w, )?--([a-z-]+)", helped.stdout, re.M):
            assert re.search(rf"^\.(It|Op|Fl).*Fl -{option}\b|^\.Fl -{option}\b", page, re.M), \
                option


def test_keys_of_a_rule_are_in_the_manual(ctl):
    """Every key that the reader knows stands in the list, and no other."""
    page = read("docs", "sallyport-policy.5")
    part = page.split('.\\" table: rule keys\n')[1].split("\n.El\n")[0]
    told = set()
    for line in re.findall(r"^\.It Cm (.+)$", part, re.M):
        told |= set(line.split(" , "))
    for key in sorted(told):
        ctl.write("p.conf", f"rules: {{ a: {{ {key} = 1.5 }} }}\n")
        errors = ctl.json("check", "-c", "p.conf", status=1)["errors"]
        assert not [e for e in errors if "unknown" in e["text"]], (key, errors)
    source = read("rules", "read_rules.c")
    for key in told:
        assert f'"{key}"' in source, key


@pytest.mark.parametrize("page", PAGES)
def test_form(page):
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", os.path.join(ROOT, "docs", page)],
                          capture_output=True, text=True, check=False)
    assert done.stdout == "" and done.returncode == 0


@pytest.mark.parametrize("page", ["README.md", "docs/INTERNALS.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", read(page)):
        if "://" not in target:
            assert os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)), target
    for target in re.findall(r"`man (docs/[^`]+)`", read(page)):
        assert os.path.exists(os.path.join(ROOT, target)), target
