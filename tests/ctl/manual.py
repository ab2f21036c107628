#!/usr/bin/python3
"""The list of settings in sallyport.conf(5), made from the table that the server reads by, and the
codes of problems in sallyctl(1), made from what `sallyctl help CODE` says.

    manual.py SALLYCTL          print the lists
    manual.py SALLYCTL --write  put them into docs/

The test compares; a setting or a code that changes in its table changes here by --write.
"""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "sallyport.conf.5")
BEGIN = '.\\" settings: begin\n'
END = '.\\" settings: end\n'
CODES_PAGE = os.path.join(ROOT, "docs", "sallyctl.1")
CODES_BEGIN = '.\\" codes: begin\n'
CODES_END = '.\\" codes: end\n'

ABOUT = {
    "listeners": "Where clients come in.\nEach listener is a group with a name of its own, up to 64 of them;\n"
                 "at least one is needed.",
    "workers": "",
    "user": "",
    "sandbox": "See\n.Xr sallyportd 8 .\nTaken at the start and by a hand-over.",
    "egress": "",
    "relay": "How bytes are carried.\n"
             "A congestion control that paces costs more than all else here, and to a peer that is near gains nothing.\n"
             "So where that of the system is BBR, connections begin with another,\n"
             "and have BBR once they have sent 64 KiB on a way that takes 1 ms or more.\n"
             "Routes with a congestion control of their own keep it.",
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


def codes():
    """All that have an explanation, in order."""
    found = set()
    for name in ("settings/codes.c", "rules/codes.c"):
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            found |= set(re.findall(r'\{\s*"([EW]\d{3})",', file.read()))
    return sorted(found, key=lambda code: (code[1:], code))


def render_codes(sallyctl):
    lines = ['.Bl -tag -width "E101" -compact']
    for code in codes():
        out = subprocess.run([sallyctl, "help", code], check=True, capture_output=True,
                             text=True).stdout
        lines += [f".It Li {code}", mdoc(out.splitlines()[1])]
    return "\n".join(lines + [".El"]) + "\n"


def put(page, begin, end, text):
    with open(page, encoding="ascii") as file:
        whole = file.read()
    before, rest = whole.split(begin)
    after = rest.split(end)[1]
    with open(page, "w", encoding="ascii") as file:
        file.write(before + begin + text + end + after)


def main():
    text, list_of_codes = render(settings(sys.argv[1])), render_codes(sys.argv[1])
    if sys.argv[2:] != ["--write"]:
        sys.stdout.write(text + list_of_codes)
        return
    put(PAGE, BEGIN, END, text)
    put(CODES_PAGE, CODES_BEGIN, CODES_END, list_of_codes)


if __name__ == "__main__":
    main()
