"""Every example of README and of the manuals is run.

A mark before a block says what it is:
    file NAME   a file, written into the page's folder; a .conf must pass `sallyctl check`
    slip NAME   a file that must not
    shell       commands after "$ " (continued by "> ") with the output that they must have
    server, client, web   the server in one terminal, curl in the other (test_ctl_server.py)
    live NAME   as shell, with a server that has loaded NAME and the web server (the same)
    dev         words of ./dev
    package     from a clone to an installed package (tests/dist/test_package.py)
A block without a mark in a page that has marks is no example.

    test_ctl_examples.py BUILD    puts the output of today into every shell example: read the
                                  difference before you commit it
"""
import os
import re
import subprocess
import sys
import tempfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md", "docs/sallyctl.1", "docs/sallyportd.8", "docs/sallyport.conf.5",
         "docs/sallyport-policy.5", "docs/sallyport-audit.5"]


MARKDOWN = (r"(<!-- example: ([^\n]*?) -->\n```[a-z]*\n)(.*?)(```\n)", False)
MDOC = (r'(\.\\" example: ([^\n]*)\n\.Bd [^\n]*\n)(.*?)(\.Ed\n)', True)


def unescape(text):
    text = text.replace("\\(dq", '"').replace("\\&", "")
    return text.replace("\\e", "\\")


def escape(text):
    lines = text.replace("\\", "\\e").splitlines(keepends=True)
    return "".join("\\&" + line if line[:1] in ".'" else line for line in lines)


def form_of(page):
    return MARKDOWN if page.endswith(".md") else MDOC


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


def examples(page):
    text = read(page)
    pattern, is_mdoc = form_of(page)
    found = [(m[2], unescape(m[3]) if is_mdoc else m[3])
             for m in re.finditer(pattern, text, re.S)]
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


def shell(command, folder, programs):
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env["PATH"] = programs + os.pathsep + env["PATH"]
    return subprocess.run(["bash", "-c", command], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False, env=env).stdout


@pytest.mark.parametrize("page", PAGES)
def test_examples(page, ctl):
    """Files pass or fail the check as they should, and commands say what the page says."""
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
                told = shell(command, ctl.folder, os.path.dirname(ctl.program))
                assert told == output, f"{page}: {command}"
        else:
            assert kind in ("file", "server", "client", "web", "live", "dev", "package"), f"{page}: {mark}"


def test_dev_knows_its_words():
    """README's ./dev commands are in ./dev help."""
    told = subprocess.run([os.path.join(ROOT, "dev"), "help"], check=True, capture_output=True,
                          text=True).stdout
    blocks = [block for mark, block in examples("README.md") if mark == "dev"]
    words = re.findall(r"^\./dev (\w+)", "".join(blocks), re.M)
    assert words
    for word in words:
        assert re.search(rf"^  {word}\b", told, re.M), word


# ---- today's output into the pages --------------------------------------------------------


def written(page, programs):
    """The page with the output that its shell examples have now."""
    pattern, is_mdoc = form_of(page)
    with tempfile.TemporaryDirectory() as folder:
        def put(match):
            kind, _, name = match[2].partition(" ")
            block = unescape(match[3]) if is_mdoc else match[3]
            if kind in ("file", "slip"):
                path = os.path.join(folder, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(block)
            if kind != "shell":
                return match[0]
            told = ""
            for command, _ in commands(block):
                told += "$ " + "\n> ".join(command.splitlines()) + "\n"
                told += shell(command, folder, programs)
            return match[1] + (escape(told) if is_mdoc else told) + match[4]
        return re.sub(pattern, put, read(page), flags=re.S)


def main():
    os.umask(0o022)
    for page in PAGES:
        text = written(page, os.path.abspath(sys.argv[1]))
        with open(os.path.join(ROOT, page), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
