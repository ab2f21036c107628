"""What `make install` lays down, and what it leaves alone.

Everything goes below a DESTDIR of the test; nothing of this machine is touched.
"""
import os
import re
import shutil
import stat
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from harness.unit import settings_of  # noqa: E402  pylint: disable=wrong-import-position

PROGRAMS = ["{sbindir}/sallyportd", "{bindir}/sallyctl"]
FILES = [
    "{sysconfdir}/sallyport/sallyport.conf",
    "{systemdsystemunitdir}/sallyport.service",
    "{systemdsystemunitdir}/sallyport.socket",
    "{sysusersdir}/sallyport.conf",
    "{tmpfilesdir}/sallyport.conf",
    "{bashcompletiondir}/sallyctl",
    "{zshcompletiondir}/_sallyctl",
    "{mandir}/man8/sallyportd.8",
    "{mandir}/man1/sallyctl.1",
    "{mandir}/man5/sallyport.conf.5",
    "{mandir}/man5/sallyport-policy.5",
    "{mandir}/man5/sallyport-audit.5",
    "{docdir}/README.md",
    "{docdir}/CHANGES.md",
    "{docdir}/LICENSE",
    "{docdir}/examples/quickstart.conf",
    "{docdir}/examples/sallyport.conf",
    "{docdir}/INTERNALS.md",
    "{docdir}/BENCHMARK.md",
    "{docdir}/THREAT-MODEL.md",
    "{docdir}/examples/systemd/root.conf",
    "{docdir}/examples/fail2ban/filter.d/sallyport.conf",
    "{docdir}/examples/fail2ban/jail.d/sallyport.conf",
    "{sysconfdir}/pam.d/sallyport",
    "{docdir}/examples/grafana/sallyport.json",
    "{docdir}/examples/prometheus/sallyport.rules.yml",
    "{docdir}/examples/perimeter/sallyport.conf",
    "{docdir}/examples/perimeter/policy.conf",
    "{docdir}/examples/perimeter/tables/feed-names.txt",
    "{docdir}/examples/perimeter/tables/feed-networks.txt",
]


class Installed:
    """A DESTDIR, and the places that configure chose."""

    def __init__(self, build, root):
        self.build, self.root = build, root
        with open(os.path.join(build, "Makefile"), encoding="utf-8") as file:
            words = dict(re.findall(r"^([A-Za-z_]+) = (.*)$", file.read(), re.MULTILINE))
        self.places = {"PACKAGE_TARNAME": "sallyport"}
        while True:
            known = {k: re.sub(r"\$[{(](\w+)[})]", lambda m: self.places.get(m[1], m[0]), v)
                     for k, v in words.items()}
            known["PACKAGE_TARNAME"] = "sallyport"
            if known == self.places:
                break
            self.places = known

    def make(self, target):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(["make", "-C", self.build, f"DESTDIR={self.root}", target],
                              capture_output=True, text=True, timeout=120, check=False, env=env)
        assert done.returncode == 0, done.stdout + done.stderr

    def path(self, name):
        return self.root + name.format(**self.places)

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def files(self):
        return {os.path.join(folder, name)
                for folder, _, names in os.walk(self.root) for name in names}


@pytest.fixture
def installed(request, tmp_path):
    build = os.path.abspath(request.config.getoption("--build"))
    made = Installed(build, str(tmp_path / "dest"))
    made.make("install")
    return made


def test_layout(installed):
    """Just these files, in these modes."""
    modes = {installed.path(name): 0o755 for name in PROGRAMS}
    modes |= {installed.path(name): 0o644 for name in FILES}
    assert {path: stat.S_IMODE(os.stat(path).st_mode) for path in installed.files()} == modes


def test_admins_settings_stay(installed):
    """Neither a second installation nor the end of it takes what an admin wrote."""
    path = installed.path("{sysconfdir}/sallyport/sallyport.conf")
    with open(path, "a", encoding="utf-8") as file:
        file.write("# mine\n")
    installed.make("install")
    assert installed.text("{sysconfdir}/sallyport/sallyport.conf").endswith("# mine\n")
    installed.make("uninstall")
    assert installed.files() == {path}


def test_nothing_stays(installed):
    """Settings that nobody touched go with the program."""
    installed.make("uninstall")
    assert installed.files() == set()


def test_installed_settings_are_good(installed):
    """The tool and the server take the settings as they are laid down."""
    path = installed.path("{sysconfdir}/sallyport/sallyport.conf")
    for command in ([installed.path("{bindir}/sallyctl"), "check", "-c", path],
                    [installed.path("{sbindir}/sallyportd"), "-t", "-c", path]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_unit(installed):
    """It starts what was installed, with the settings that were installed, once it says it is ready."""
    text = installed.text("{systemdsystemunitdir}/sallyport.service")
    unit = settings_of(text)
    places = installed.places
    assert not re.search(r"@\w+@", text)
    assert unit["ExecStart"] == [f"{places['sbindir']}/sallyportd -f -c "
                                 f"{places['sysconfdir']}/sallyport/sallyport.conf"]
    assert unit["Type"] == ["notify"] and unit["NotifyAccess"] == ["main"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["Restart"] == ["on-failure"]
    # folders that the server writes into are those that are made for it; that of pam_faillock is PAM's own
    made = re.findall(r"^d (\S+) ", installed.text("{tmpfilesdir}/sallyport.conf"), re.MULTILINE)
    assert [p.lstrip("-") for p in unit["ReadWritePaths"][0].split()] == made + ["/run/faillock"]
    # and the example that it speaks of is there
    example = re.search(r"# (\S+)/examples/systemd/root.conf", text)
    assert os.path.exists(f"{installed.root}{example[1]}/examples/systemd/root.conf")
    # a listener of the settings is what the socket unit makes
    socket_unit = settings_of(installed.text("{systemdsystemunitdir}/sallyport.socket"))
    settings = installed.text("{sysconfdir}/sallyport/sallyport.conf")
    listener = re.search(r'^  (\w+): *\{ address = "([^"]+)"; port = (\d+)', settings, re.MULTILINE)
    assert socket_unit["FileDescriptorName"] == [listener[1]]
    assert socket_unit["ListenStream"] == [f"{listener[2]}:{listener[3]}"]


@pytest.mark.parametrize("name", ["sallyport.service", "sallyport.socket", "root.conf"])
def test_systemd_reads_units(installed, tmp_path, name):
    """systemd itself finds nothing to complain of; paths are those of this machine for it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    service = installed.text("{systemdsystemunitdir}/sallyport.service")
    program = f"{installed.places['sbindir']}/sallyportd"
    units = tmp_path / "units"
    units.mkdir()
    for unit in ("sallyport.service", "sallyport.socket"):
        (units / unit).write_text(
            re.sub(r"^Documentation=.*\n", "", installed.text("{systemdsystemunitdir}/" + unit),
                   flags=re.MULTILINE)
            .replace(program, installed.path("{sbindir}/sallyportd")), encoding="utf-8")
    if name == "root.conf":
        (units / "sallyport.service.d").mkdir()
        shutil.copy(installed.path("{docdir}/examples/systemd/root.conf"),
                    units / "sallyport.service.d")
        name = "sallyport.service"
    assert program in service
    env = dict(os.environ, SYSTEMD_UNIT_PATH=f"{units}:")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(units / name)],
                          capture_output=True, text=True, timeout=60, check=False, env=env)
    complaints = [line for line in done.stderr.splitlines() if "sallyport" in line]
    assert done.returncode == 0 and complaints == [], done.stderr


def test_the_tarball_has_every_source(request):
    """A file that no Makefile.inc names would be missing there."""
    build = os.path.abspath(request.config.getoption("--build"))
    out = subprocess.run(["make", "-s", "--no-print-directory", "-C", build, "print-dist"],
                         check=True, capture_output=True, text=True).stdout
    packed = {os.path.normpath(os.path.join(folder, name))
              for name in out.split() for folder in (ROOT, build)}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders
                      if not f.startswith((".", "build", "autom4te")) and f != "__pycache__"
                      and os.path.join(folder, f) not in packed]
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith((".c", ".h", ".inc", ".py", ".conf")):
                assert path in packed or name in ("config.h", "Makefile.inc"), path
