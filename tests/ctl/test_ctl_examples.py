"""Every example of README and of the manuals is run.

A mark before a block says what it is:
    file NAME   a file, written into the page's folder; a .conf must pass `sallyctl check`
    slip NAME   a file that must not
    shell       commands after "$ " (continued by "> ") with the output that they must have
    server, client, web   the server in one terminal, curl in the other (see test_client)
    dev         words of ./dev
A block without a mark in a page that has marks is no example.
"""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md", "docs/sallyctl.1", "docs/sallyportd.8", "docs/sallyport.conf.5",
         "docs/sallyport-policy.5", "docs/sallyport-audit.5"]


def markdown_examples(text):
    pattern = r"<!-- example: ([^\n]*?) -->\n```[a-z]*\n(.*?)```\n"
    return [(m[1], m[2]) for m in re.finditer(pattern, text, re.S)]


def unescape(text):
    text = text.replace("\\(dq", '"').replace("\\(en", "-").replace("\\&", "")
    return text.replace("\\e", "\\")


def mdoc_examples(text):
    pattern = r'\.\\" example: ([^\n]*)\n\.Bd [^\n]*\n(.*?)\.Ed\n'
    return [(m[1], unescape(m[2])) for m in re.finditer(pattern, text, re.S)]


def examples(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        text = file.read()
    found = markdown_examples(text) if page.endswith(".md") else mdoc_examples(text)
    marks = len(re.findall(r'^(?:<!--|\.\\") example: ', text, re.M))
    assert len(found) == marks, f"{page}: a mark without its block"
    return found


def commands(block):
    """(command, output) pairs."""
    out = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            out.append([line[2:], ""])
        elif line.startswith("> ") and not out[-1][1]:
            out[-1][0] += line[2:]
        else:
            out[-1][1] += line
    return out


@pytest.mark.parametrize("page", PAGES)
def test_examples(page, ctl):
    """Files pass or fail the check as they should, and commands say what the page says."""
    path = os.path.dirname(ctl.program) + os.pathsep + os.environ["PATH"]
    for mark, block in examples(page):
        kind, _, name = mark.partition(" ")
        if kind in ("file", "slip"):
            ctl.write(name, block)
        if kind == "file" and name.endswith(".conf"):
            done = ctl.run("check", "-c", name)
            assert done.returncode == 0, f"{page}: {name}\n{done.stdout}{done.stderr}"
        elif kind == "slip":
            assert ctl.run("check", "-c", name).returncode == 1
        elif kind == "shell":
            for command, output in commands(block):
                done = subprocess.run(["bash", "-c", command], cwd=ctl.folder, text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=60, check=False,
                                      env=dict(os.environ, PATH=path))
                assert done.stdout == output, f"{page}: {command}"
        else:
            assert kind in ("file", "server", "client", "web", "dev"), f"{page}: {mark}"


def test_dev_knows_its_words():
    """README's ./dev commands are in ./dev help."""
    told = subprocess.run([os.path.join(ROOT, "dev"), "help"], check=True, capture_output=True,
                          text=True).stdout
    blocks = [block for mark, block in examples("README.md") if mark == "dev"]
    words = re.findall(r"^\./dev (\w+)", "".join(blocks), re.M)
    assert words
    for word in words:
        assert re.search(rf"^  {word}\b", told, re.M), word
