"""What the shells offer behind `sallyctl `: all commands, all options, rules, tables, files."""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASH = os.path.join(ROOT, "etc", "completion", "sallyctl.bash")
ZSH = os.path.join(ROOT, "etc", "completion", "_sallyctl")

POLICY = """
networks: { feed = [ "file:feed.txt" ] }
rules: {
  first: { action = "deny"; to = "feed" }
  second: { action = "deny" }
}
"""


def offered(ctl, *words):
    """What bash would offer for the last of the words."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sallyctl; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", BASH, ctl.program, *words],
                          cwd=ctl.folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == "", done
    return set(done.stdout.split())


def commands_of(ctl):
    part = ctl.run("--help").stdout.split("commands:\n")[1].split("\n\n")[0]
    return set(re.findall(r"^  ([a-z-]+) ", part, re.M))


def test_form():
    assert subprocess.run(["bash", "-n", BASH], check=False).returncode == 0
    with open(ZSH, encoding="utf-8") as file:
        assert file.readline() == "#compdef sallyctl\n"


def test_every_command(ctl):
    commands = commands_of(ctl)
    assert {"check", "explain", "lint", "table"} <= commands
    assert offered(ctl, "") == commands | {"--help", "--version"}
    assert offered(ctl, "expl") == {"explain"}
    assert offered(ctl, "help", "") == commands


def test_every_option(ctl):
    for command in commands_of(ctl):
        told = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", ctl.run(command, "--help").stdout, re.M))
        assert {"--config", "--json", "--help"} <= told
        assert offered(ctl, command, "--") == told, command


def test_zsh_reads_the_same_help(ctl):
    """Its expressions, put to the program by sed as zsh would."""
    with open(ZSH, encoding="utf-8") as file:
        text = file.read()
    for expression, args, least in ((r"sed -n '(/\^commands:.*?)'\)", ["--help"], "check:"),
                                    (r"sed -n '(/\^options:.*?)'\)", ["explain", "--help"],
                                     "--from:")):
        sed = re.search(expression, text)[1]
        done = subprocess.run(["sed", "-n", sed], input=ctl.run(*args).stdout, text=True,
                              capture_output=True, check=True)
        lines = done.stdout.splitlines()
        assert len(lines) >= 7 and all(re.match(r"[a-z-]+:\S", line) for line in lines), lines
        assert any(line.startswith(least) for line in lines)


@pytest.mark.parametrize("words, some", [
    (["explain", "--auth", ""], {"pam", "file", "gssapi", "chap", "ident", "userid"}),
    (["explain", "--command", "b"], {"bind"}),
    (["explain", "--version", ""], {"4", "5"}),
    (["show", "-c", "p.conf", ""], {"first", "second"}),
    (["table", ""], {"list", "test", "replace"}),
    (["table", "-c", "p.conf", "test", "f"], {"feed"}),
    (["table", "replace", "feed", "fe"], {"feed.txt"}),
    (["check", "-c", "p"], {"p.conf"}),
    (["settings", "audit.fi"], {"audit.file"}),
])
def test_values(ctl, words, some):
    ctl.write("p.conf", POLICY)
    ctl.write("feed.txt", "192.0.2.0/24\n")
    assert offered(ctl, *words) == some
