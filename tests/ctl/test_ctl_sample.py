"""The sample settings, etc/sallyport.conf: all that there is stands in it, and what is commented
out can be used as it stands."""
import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAMPLE = os.path.join(ROOT, "etc", "sallyport.conf")
# a key, or the end of a group, behind "#"; sentences have more than one word before a colon
KEPT_BACK = re.compile(r"^#(\s+(?:[\w-]+\s*[:=]|\}).*)$", re.M)
# the rules are in the file itself; a group that is there already comes again with one more key
APART = re.compile(r"^ (?:policy = |control: ).*$", re.M)
WORD = re.compile(r"""(?P<key>[\w-]+)\s*[:=]\s*(?:(?P<opens>\{)|(?P<value>"[^"]*"|\[[^\]]*\]|[\w.]+))
                      | (?P<closes>\}) | \#.*""", re.X)


@pytest.fixture(scope="module")
def sample():
    with open(SAMPLE, encoding="ascii") as file:
        return file.read()


def in_use(text):
    return APART.sub("", KEPT_BACK.sub(r"\1", text))


def test_what_is_commented_out_loads(ctl, sample):
    """The whole of it, at once."""
    ctl.write("sallyport.conf", in_use(sample))
    done = ctl.run("check", "-c", "sallyport.conf")
    assert done.returncode == 0, done.stdout + done.stderr


def told(text):
    """What is set, by its whole name."""
    found, path = {}, []
    text = KEPT_BACK.sub(r"\1", text)
    for word in WORD.finditer(text):
        if word["closes"]:
            path.pop()
        elif word["opens"]:
            path.append(word["key"])
        elif word["key"]:
            name = ".".join([*path, word["key"]])
            found[re.sub(r"^(listeners|audit\.copies)\.\w+\.", r"\1.*.", name)] = word["value"]
    assert not path
    return found


def test_it_has_all_settings_and_their_defaults(ctl, sample):
    found = told(sample)
    for setting in ctl.json("settings", status=0)["settings"]:
        name, default = setting["name"], setting["default"]
        assert name in found
        if default and name != "listeners.*.optional":
            value = found[name].removeprefix("[").removesuffix("]")
            assert " ".join(re.findall(r'"([^"]*)"', value) or [value]) == default, name
