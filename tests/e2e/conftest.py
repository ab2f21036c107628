"""Fixtures of the end-to-end tests.  A test asks for `daemon` (a factory) and gets servers that
are stopped, and looked over for leaks and sanitizer reports, when it ends."""
import os
import resource
import shutil
import subprocess

import pytest

from harness import net
from harness.control import Control
from harness.daemon import Daemon
from harness.names import Dnsmasq, RawDns
from harness.storm import Storm
from harness.targets import BlackHole, Crowd, Target
from harness.udp import UdpTarget

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def pytest_addoption(parser):
    parser.addoption("--build", default=os.path.join(ROOT, "build"),
                     help="the build folder with sallyportd")
    parser.addoption("--counts", default="", help="write 'passed failed skipped' here")


def pytest_configure(config):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pytest_terminal_summary(terminalreporter, config):
    path = config.getoption("--counts")
    if not path:
        return
    stats = terminalreporter.stats
    # a test whose teardown found something counts as failed only
    bad = {r.nodeid for key in ("failed", "error") for r in stats.get(key, ())}
    good = {r.nodeid for r in stats.get("passed", ())} - bad
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{len(good)} {len(bad)} {len(stats.get('skipped', ()))}\n")


@pytest.fixture(scope="session")
def build(pytestconfig):
    return os.path.abspath(pytestconfig.getoption("--build"))


@pytest.fixture(scope="session")
def sanitized(build):
    """True if this build runs under AddressSanitizer."""
    with open(os.path.join(build, "config.h"), encoding="utf-8") as file:
        return "#define SANITIZED 1" in file.read()


@pytest.fixture
def daemons(build):
    """A factory of servers: daemons(rules=..., settings=..., start=True, ...)"""
    made = []

    def make(start=True, **kwargs):
        daemon = Daemon(build, **kwargs)
        made.append(daemon)
        return daemon.start() if start else daemon
    yield make
    problems = []
    for daemon in made:
        try:
            daemon.stop()
        except AssertionError as error:
            problems.append(str(error))
        daemon.remove()
    assert not problems, "\n".join(problems)


@pytest.fixture
def daemon(daemons):
    """A server that allows everything from loopback to loopback."""
    return daemons()


def _closing(kind):
    @pytest.fixture
    def factory():
        made = []

        def make(*args, **kwargs):
            thing = kind(*args, **kwargs)
            made.append(thing)
            return thing
        yield make
        for thing in made:
            thing.close()
    return factory


targets = _closing(Target)
udp_targets = _closing(UdpTarget)
crowds = _closing(Crowd)
black_holes = _closing(BlackHole)
raw_dns = _closing(RawDns)


@pytest.fixture
def storm(crowds):
    """A storm of clients on a server; stopped in any case."""
    made = []

    def make(daemon, count=50):
        made.append(Storm(daemon.at, crowds().port, count))
        return made[-1]
    yield make
    for one in made:
        one.stop_at_once()


@pytest.fixture
def echo(targets):
    return targets()


@pytest.fixture
def dns(tmp_path):
    made = []

    def make(names, **kwargs):
        folder = tmp_path / f"dns{len(made)}"
        folder.mkdir()
        made.append(Dnsmasq(str(folder), names, **kwargs))
        return made[-1]
    yield make
    for server in made:
        server.close()


@pytest.fixture
def ipv6():
    if not net.has_ipv6():
        pytest.skip("this machine has no ::1")


@pytest.fixture
def namespace():
    """A network namespace of the test's own."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root for a network of its own")
    if subprocess.run(["unshare", "--net", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("network namespaces are not allowed here")
    space = net.NetNamespace()
    yield space
    space.close()


@pytest.fixture
def control(daemons, build):
    def make(control=None, **kwargs):
        daemon = daemons(start=False, **kwargs)
        path = os.path.join(daemon.folder, "control")
        daemon.settings["control"] = {"socket": path, **(control or {})}
        return Control(daemon.start(), build)
    return make
