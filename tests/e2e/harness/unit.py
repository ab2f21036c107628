"""Units of systemd as text: what they set, and what their system call filter lets through."""
import re
import subprocess


def settings_of(text):
    """{key: [values]}, in order."""
    out = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        out.setdefault(key, []).append(value)
    return out


def capabilities(values):
    """Of CapabilityBoundingSet= or AmbientCapabilities=: lines add up, an empty one forgets."""
    names = []
    for value in values:
        names = names + value.split() if value else []
    return names


_groups = {}


def group(name):
    """The system calls of one of systemd's groups ("@file-system"), as this systemd knows it."""
    if name not in _groups:
        out = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name],
                             capture_output=True, text=True, check=True).stdout
        words = re.findall(r"^\s+(@?[\w-]+)\s*$", out, re.MULTILINE)
        assert words, out
        _groups[name] = set().union(*(group(w) if w.startswith("@") else {w} for w in words))
    return _groups[name]


def calls_allowed(filters):
    """What the lines of SystemCallFilter=, an allow-list, leave; systemd.exec(5) adds @default."""
    assert not filters[0].startswith("~")
    allowed = set(group("@default"))
    for line in filters:
        for word in line.lstrip("~").split():
            calls = group(word) if word.startswith("@") else {word}
            allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed
