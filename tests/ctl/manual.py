#!/usr/bin/python3
"""The list of settings in sallyport.conf(5), made from the table that the server reads by.

    manual.py SALLYCTL          print the list
    manual.py SALLYCTL --write  put it into docs/sallyport.conf.5

The test compares; a setting that changes in the table changes here by --write.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "sallyport.conf.5")
BEGIN = '.\\" settings: begin\n'
END = '.\\" settings: end\n'

ABOUT = {
    "listeners": "Where clients come in.\nEach listener is a group with a name of its own, up to 64 of them;\n"
                 "at least one is needed.",
    "workers": "",
    "user": "",
    "egress": "",
    "timeouts": "",
    "limits": "A connection beyond a limit is refused at once, and counted.\n"
              "A source is a client's address, or the network around it.",
    "dns": "How names are looked up.",
    "bind": "For the command BIND.",
    "udp": "For the command UDP ASSOCIATE.",
    "auth": "The ways to know a user.\nA way is open if its group stands in the file.",
    "audit": "The ledger, see\n.Xr sallyport-audit 5 .",
    "state": "",
    "control": "",
    "metrics": "",
}


def settings(sallyctl):
    out = subprocess.run([sallyctl, "settings", "--json"], check=True, capture_output=True,
                         text=True).stdout
    return json.loads(out)["settings"]


def mdoc(text):
    """Text for a line of mdoc."""
    text = text.replace("\\", "\\e").replace('"', "\\(dq")
    return "\\&" + text if text[:1] in ".'" else text


def sentence(text):
    return mdoc(text[:1].upper() + text[1:])


def entry(row):
    value = row["type"]
    if row["bounds"]:
        words = row["type"].startswith(("a word", "words"))
        value += (": " if words else ", ") + row["bounds"]
    lines = [f".It Cm {row['name']}", sentence(row["help"]) + ".", ".br",
             sentence(value) + "."]
    if row["default"]:
        lines += [f"Default: {mdoc(row['default'])}."]
    return lines


def render(rows):
    lines, section = [], None
    for row in rows:
        top = row["name"].split(".")[0]
        if top != section:
            if section is not None:
                lines.append(".El")
            lines.append(f".Ss {top}")
            if ABOUT[top]:
                lines.append(ABOUT[top])
            lines.append(".Bl -tag -width 4n")
            section = top
        lines += entry(row)
    return "\n".join(lines + [".El"]) + "\n"


def main():
    text = render(settings(sys.argv[1]))
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
