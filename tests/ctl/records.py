#!/usr/bin/python3
"""The records in sallyport-audit(5): one of each event, together a whole ledger.

    records.py UNIT_RECORD          print them as the page shows them
    records.py UNIT_RECORD --write  put them into docs/sallyport-audit.5

They come from `unit_record --examples`.  Keys, hashes and signatures are others each time; the test
compares the rest.
"""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "sallyport-audit.5")
BEGIN = '.\\" records: begin\n'
END = '.\\" records: end\n'
WIDTH = 74


def made(program):
    return subprocess.run([program, "--examples"], check=True, capture_output=True,
                          text=True).stdout.splitlines()


def broken(line):
    """In pieces of the page's width, behind a comma where there is one."""
    pieces = []
    while len(line) > WIDTH:
        at = line.rfind(",", 0, WIDTH) + 1 or WIDTH
        pieces.append(line[:at])
        line = line[at:]
    return pieces + [line]


def render(lines):
    out = []
    for line in lines:
        out += [f".Ss {json.loads(line)['event']['action']}", ".Bd -literal"]
        out += [" " * (i > 0) + piece.replace("\\", "\\e") for i, piece in enumerate(broken(line))]
        out += [".Ed"]
    return "\n".join(out) + "\n"


def shown():
    """{action: line} of the page."""
    with open(PAGE, encoding="ascii") as file:
        block = file.read().split(BEGIN)[1].split(END)[0]
    table = {}
    for action, text in re.findall(r"^\.Ss ([a-z-]+)\n\.Bd -literal\n(.*?)^\.Ed\n", block,
                                   re.S | re.M):
        assert action not in table, action
        table[action] = "".join(piece[1:] if piece[:1] == " " else piece
                                for piece in text.replace("\\e", "\\").splitlines())
    return table


def main():
    text = render(made(sys.argv[1]))
    if sys.argv[2:] != ["--write"]:
        sys.stdout.write(text)
        return
    with open(PAGE, encoding="ascii") as file:
        page = file.read()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    with open(PAGE, "w", encoding="ascii") as file:
        file.write(before + BEGIN + text + END + after)


if __name__ == "__main__":
    main()
