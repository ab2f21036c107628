"""Fixtures of the tests of sallyctl: the program, and a folder to write policies in.

SALLYCTL names the program; without it, that of the build folder (--build, or build/).
"""
import json
import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="session")
def build_folder(pytestconfig):
    return os.path.abspath(pytestconfig.getoption("--build", None) or os.path.join(ROOT, "build"))


@pytest.fixture(scope="session")
def sallyctl(build_folder):
    path = os.environ.get("SALLYCTL") or os.path.join(build_folder, "sallyctl")
    assert os.access(path, os.X_OK), f"there is no {path}"
    return os.path.abspath(path)


class Ctl:
    """Runs the tool in a folder of its own."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def run(self, *args, stdin="", env=None):
        return subprocess.run([self.program, *args], cwd=self.folder, input=stdin, text=True,
                              capture_output=True, timeout=60, check=False,
                              env=dict(os.environ, **(env or {})))

    def json(self, *args, status=None, **kwargs):
        done = self.run(*args, "--json", **kwargs)
        if status is not None:
            assert done.returncode == status, done.stdout + done.stderr
        assert done.stdout.endswith("\n") and done.stdout.count("\n") == 1, done
        return json.loads(done.stdout)

    def explain(self, policy, status=None, **words):
        """The verdict as JSON; `from_` is from, lists are joined."""
        args = []
        for key, value in words.items():
            text = ",".join(value) if isinstance(value, list) else str(value)
            args += [f"--{key.rstrip('_')}", text]
        return self.json("explain", "-c", policy, *args, status=status)


@pytest.fixture
def ctl(sallyctl, tmp_path):
    return Ctl(sallyctl, str(tmp_path))
