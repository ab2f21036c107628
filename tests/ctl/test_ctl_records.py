"""The records in sallyport-audit(5) are those that the server writes, and every field is explained."""
import json
import os
import re
import subprocess

import pytest
import records

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="module")
def page():
    with open(records.PAGE, encoding="ascii") as file:
        return file.read()


def actions_of_the_server():
    with open(os.path.join(ROOT, "daemon", "books", "record.c"), encoding="ascii") as file:
        text = file.read()
    found = set(re.findall(r'\[EVENT_\w+\] =\s+ROW\("([a-z-]+)"', text)) - {"none"}
    rows = text.split("plain_rows[] = {")[1].split("\n};")[0]
    return found | set(re.findall(r'^    \{"([a-z-]+)"', rows, re.M))


def test_every_event_is_told_and_shown(page):
    wanted = actions_of_the_server()
    assert {"session-start", "checkpoint", "clock-step"} <= wanted
    assert set(records.shown()) == wanted
    told = page.split(".Sh EVENTS")[1].split(".Sh FIELDS")[0]
    listed = {word for line in re.findall(r"^\.It Cm (.+)$", told, re.M)
              for word in line.split(" , ")}
    assert listed == wanted


def test_the_examples_are_what_is_written(build_folder):
    program = os.path.join(build_folder, "tests", "unit", "unit_record")
    if not os.path.exists(program):
        subprocess.run(["make", "-s", "-C", build_folder, "tests/unit/unit_record"], check=True)

    def without_chance(line):
        return re.sub(r'"[0-9a-f]{16,}"', '"..."', line)
    written = {json.loads(line)["event"]["action"]: line for line in records.made(program)}
    shown = records.shown()
    assert {a: without_chance(line) for a, line in shown.items()} == \
        {a: without_chance(line) for a, line in written.items()}, \
        "run tests/ctl/records.py UNIT_RECORD --write"


def test_together_they_are_a_whole_ledger(ctl):
    text = "".join(line + "\n" for line in records.shown().values())
    done = ctl.run("verify", "--json", ctl.write("audit.ndjson", text))
    verdict = json.loads(done.stdout)
    assert done.returncode == 0 and verdict["verdict"] == "whole", verdict
    assert verdict["proven"] == verdict["lines"] == len(records.shown())
    assert verdict["ended"] and [k["named"] for k in verdict["keys"]] == [False, True]


def paths(value, before=""):
    for key, inner in value.items():
        name = f"{before}.{key}" if before else key
        if isinstance(inner, dict):
            yield from paths(inner, name)
        else:
            yield name


def test_every_field_is_explained(page):
    told = page.split(".Sh FIELDS")[1].split(".Sh ")[0]
    listed = {word for line in re.findall(r"^\.It Va (.+)$", told, re.M)
              for word in line.split(" , ")}
    for action, line in records.shown().items():
        for path in paths(json.loads(line)):
            assert path in listed or path.rsplit(".", 1)[0] in listed, (action, path)


def test_ecs_allows_these_types_together():
    """event.category and event.type as ECS 8.11 pairs them."""
    allowed = {
        "authentication": {"start", "end", "info"},
        "configuration": {"access", "change", "creation", "deletion", "info"},
        "file": {"access", "change", "creation", "deletion", "info"},
        "host": {"access", "change", "end", "info", "start"},
        "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
        "process": {"access", "change", "end", "info", "start"},
        "session": {"start", "end", "info"},
    }
    for action, line in records.shown().items():
        event = json.loads(line)["event"]
        together = set().union(*(allowed[c] for c in event["category"]))
        assert set(event["type"]) <= together, action
