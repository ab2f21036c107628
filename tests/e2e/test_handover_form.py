"""The form of what a hand-over hands over (daemon/handover.h).

Sizes and offsets are part of the form by themselves; what changes its meaning and not its size is not.
So the text of all structures that processes share, or that are handed over, is known here by its hash.

    python3 tests/e2e/test_handover_form.py --write    after a change: learn it
"""
import hashlib
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KNOWN = os.path.join(ROOT, "tests", "e2e", "handover.form")

# structures and enumerations of these files; of those in books/ also the constants
SHARED = (
    "include/base/addr.h", "include/settings/settings.h", "include/wire/chain.h",
    "include/wire/ipc.h", "rules/image.h", "daemon/books/books.h", "daemon/books/desk.h",
    "daemon/books/meters.h", "daemon/books/quota.h", "daemon/books/tally.h", "daemon/books/books.c",
    "daemon/books/bookmarks.h", "daemon/books/lags.c", "daemon/books/lags.h",
    "daemon/books/desk.c", "daemon/books/hits.c", "daemon/books/quota.c", "daemon/books/tally.c",
    "daemon/walk/endings.h", "daemon/bind.h", "daemon/channel.h", "daemon/copies.h", "daemon/counters.h",
    "daemon/parent.h", "daemon/parent_state.h", "daemon/privileges.h", "daemon/rotate.h",
    "daemon/sandbox.h", "daemon/sandbox.c", "daemon/handover.c",
)


def source(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def definitions(text):
    """Every struct, union and enum that is defined at the outermost level."""
    for found in re.finditer(r"^(?:static )?(?:struct|union|enum)\b[^;{()]*\{", text, re.M):
        depth, at = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        yield found.group() + text[found.end():text.index(";", at) + 1]


def the_form():
    digest = hashlib.sha256()
    for name in SHARED:
        text = without_comments(source(name))
        parts = list(definitions(text))
        assert parts, f"{name} defines nothing that is shared"
        if name.startswith("daemon/books/"):
            parts += re.findall(r"^#define .*$", text, re.M)
        for part in parts:
            digest.update(" ".join(part.split()).encode() + b"\n")
    return digest.hexdigest()


def the_version():
    return re.search(r'version\[\] = "(sallyport handover \d+)"', source("daemon/handover.c"))[1]


def test_the_form_is_known():
    with open(KNOWN, encoding="utf-8") as file:
        known = file.read().split("\n")[:2]
    assert [the_version(), the_form()] == known, (
        "what is handed over has changed: if a running server of the last release would be misread, "
        "raise `version` in daemon/handover.c; then run python3 tests/e2e/test_handover_form.py --write")


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    with open(KNOWN, "w", encoding="utf-8") as out:
        out.write(f"{the_version()}\n{the_form()}\n")
