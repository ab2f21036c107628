"""Starts the real sallyportd and looks at it from outside: readiness by NOTIFY_SOCKET,
its processes by /proc, its records by the audit file."""
import glob
import gzip
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import net
from harness.ledger import Ledger
from harness.socks import Client
from harness.wait import PATIENCE, until

ALLOW_LOOPBACK = """
  local: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ] }
"""


def setting(value):
    """A Python value as libconfig writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{ " + "; ".join(f"{k} = {setting(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(setting(v) for v in value) + " ]"
    return str(value)


class Daemon:
    """One sallyportd with a configuration of its own.

    rules: text inside rules: { }; objects: text of other policy sections; settings: a dict laid
    over the defaults below (None takes a default away).
    """

    def __init__(self, build, rules=ALLOW_LOOPBACK, objects="", settings=None, ipv6=False,
                 listeners=None):
        self.build = build
        self.folder = tempfile.mkdtemp(prefix="sallyport-e2e-")
        os.chmod(self.folder, 0o755)
        self.config = os.path.join(self.folder, "sallyport.conf")
        self.audit = os.path.join(self.folder, "audit.ndjson")
        self.log_path = os.path.join(self.folder, "log")
        self.sanitizer = os.path.join(self.folder, "sanitizer")
        os.mkdir(self.sanitizer)
        os.chmod(self.sanitizer, 0o777)
        self.at = net.fresh_address(), 1080
        self.at6 = ("::1", net.free_port6()) if ipv6 else None
        self.listeners = listeners or {"main": {"address": self.at[0], "port": self.at[1]}}
        if ipv6:
            self.listeners["main6"] = {"address": self.at6[0], "port": self.at6[1]}
        self.settings = {
            "workers": 2,
            "state": {"directory": os.path.join(self.folder, "state")},
            "audit": {"file": self.audit, "format": "ecs"},
            "timeouts": {"drain": "2 s"},
        }
        if os.geteuid() == 0:
            self.settings["user"] = "nobody"
        self._lay_over(settings or {})
        self.rules = rules
        self.objects = objects
        self.ledger = Ledger(self.audit)
        self.process = None
        self.baseline = {}
        self.crash_expected = False
        self.extra_environment = {}
        self.options = []
        self.program = os.path.join(build, "sallyportd")
        self.starts_only = False  # a rule with log = "start": no session-end
        self._notify = None
        self._notified = []
        self._loads = 0  # starts and reloads: each leaves one record

    def _lay_over(self, settings):
        for key, value in settings.items():
            if value is None:
                self.settings.pop(key, None)
            elif isinstance(value, dict) and isinstance(self.settings.get(key), dict):
                self.settings[key] = {**self.settings[key], **value}
            else:
                self.settings[key] = value

    # -- configuration --------------------------------------------------------

    def text(self):
        lines = ["listeners: {"]
        lines += [f"  {name}: {setting(at)}" for name, at in self.listeners.items()]
        lines.append("}")
        lines += [f"{key} = {setting(value)}" if not isinstance(value, dict)
                  else f"{key}: {setting(value)}" for key, value in self.settings.items()]
        return "\n".join(lines) + f"\n{self.objects}\nrules: {{\n{self.rules}\n}}\n"

    def write(self, name, text):
        """A file beside the configuration (a table, an include)."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def write_config(self, text=None):
        new = self.config + ".new"
        with open(new, "w", encoding="utf-8") as file:
            file.write(self.text() if text is None else text)
        os.chmod(new, 0o644)
        os.rename(new, self.config)

    # -- life -----------------------------------------------------------------

    def environment(self):
        env = {k: v for k, v in os.environ.items()
               if k not in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")}
        base = os.path.join(self.sanitizer, "report")
        env["ASAN_OPTIONS"] = ("detect_leaks=1:halt_on_error=1:exitcode=99:"
                               f"strict_string_checks=1:log_path={base}")
        env["UBSAN_OPTIONS"] = f"halt_on_error=1:print_stacktrace=1:exitcode=99:log_path={base}"
        env.update(self.extra_environment)
        if self._notify:
            env["NOTIFY_SOCKET"] = self._notify.getsockname()
        return env

    def command(self):
        return [self.program, "-f", "-c", self.config, *self.options]

    def start(self, ready=True, nofile=None, prefix=(), pass_fds=(), preexec=None):
        self.write_config()
        self._loads += 1
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(self.folder, "notify")
        if os.path.exists(path):
            os.unlink(path)
        self._notify.bind(path)
        os.chmod(path, 0o777)
        self._notify.setblocking(False)
        self._notified = []

        def before():
            net.die_with_parent()
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
            if preexec:
                preexec()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment(), preexec_fn=before, pass_fds=pass_fds)
        if ready:
            self.wait_notified("READY=1")
            self.baseline = {pid: self.socket_count(pid) for pid in self.workers()
                             if net.may_look(pid)}
        return self

    def notified(self):
        """All words that came to NOTIFY_SOCKET so far."""
        while True:
            try:
                self._notified += self._notify.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self._notified

    def wait_notified(self, word):
        def came():
            if any(line.startswith(word) for line in self.notified()):
                return True
            if self.process.poll() is not None:
                raise AssertionError(
                    f"sallyportd ended with {self.process.returncode} before {word}\n"
                    f"{self.log()}\n{self.text()}")
            return False
        until(came, lambda: f"{word} by NOTIFY_SOCKET; the log says\n{self.log()}")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self, rules=None, objects=None, text=None, settings=None):
        """New rules by SIGHUP; returns the record that tells how it went, once all workers have
        taken them."""
        ready = self.notified().count("READY=1")
        if rules is not None:
            self.rules = rules
        if objects is not None:
            self.objects = objects
        self._lay_over(settings or {})
        self.write_config(text)
        self.signal(signal.SIGHUP)
        self._loads += 1
        until(lambda: self.notified().count("READY=1") > ready,
              lambda: f"READY=1 after the reload; the log says\n{self.log()}")
        words = ("policy-load", "policy-refused")
        return self.ledger.wait(lambda r: r["event"]["action"] in words, "the reload's record",
                                count=self._loads)[-1]

    def hand_over(self, settings=None, rules=None):
        """SIGUSR2; returns when the new workers have taken over."""
        ready, before = self.notified().count("READY=1"), self.workers()
        if rules is not None:
            self.rules = rules
        self._lay_over(settings or {})
        self.write_config()
        self.signal(signal.SIGUSR2)
        self._loads += 1
        until(lambda: self.notified().count("READY=1") > ready,
              lambda: f"READY=1 after SIGUSR2; the log says\n{self.log()}")
        return before

    def terminate(self, seconds=None):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after SIGTERM; the log says\n{self.log()}") from None

    # -- processes ------------------------------------------------------------

    def processes(self):
        return net.children(self.process.pid)

    def role(self, pid):
        """What a child calls itself (the kernel keeps 15 letters of it)."""
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""

    def workers(self):
        return sorted(p for p in self.processes() if "worker" in self.role(p))

    def ledger_pid(self):
        return next(p for p in self.processes() if "ledger" in self.role(p))

    def socket_count(self, pid):
        return sum(d.startswith("socket:") for d in net.descriptors(pid))

    def worker_of(self, client):
        """The worker that holds the other end of a client's connection."""
        inode = _server_inode(client, self)
        for pid in self.workers():
            if f"socket:[{inode}]" in net.descriptors(pid):
                return pid
        raise AssertionError(f"no worker holds inode {inode}")

    # -- use ------------------------------------------------------------------

    def client(self, **kwargs):
        return Client(self.at, **kwargs)

    def client6(self, **kwargs):
        return Client(self.at6, **kwargs)

    # -- the end --------------------------------------------------------------

    def sanitizer_output(self):
        texts = []
        for name in sorted(os.listdir(self.sanitizer)):
            with open(os.path.join(self.sanitizer, name), encoding="utf-8",
                      errors="replace") as file:
                # a process that is killed while it looks for leaks at its end has found nothing
                texts.append("".join(line for line in file
                                     if "Unable to get registers from thread" not in line))
        return "\n".join(texts).strip()

    def check_no_leak(self):
        """Once all sessions are over, each worker has as many sockets as when it was ready, and
        no more pipes than its pool may keep."""
        for pid, count in self.baseline.items():
            if not net.alive(pid):
                continue
            until(lambda p=pid, c=count: not net.alive(p) or self.socket_count(p) <= c,
                  lambda p=pid, c=count: f"worker {p} to have {c} sockets again; it has "
                  f"{self.socket_count(p)}: {sorted(net.descriptors(p))}")
            pipes = sum(d.startswith("pipe:") for d in net.descriptors(pid))
            assert pipes <= 256, f"worker {pid} keeps {pipes} pipe ends"

    def check_ledger(self):
        """Each session told once: [start,] and one last record; bytes and times in place."""
        last = {"session-end", "session-deny", "session-fail"}
        for session, records in self.ledger.sessions().items():
            actions = [r["event"]["action"] for r in records
                       if r["event"]["action"].startswith("session-")
                       and r["event"]["action"] != "session-progress"]
            assert actions in (["session-start", "session-end"], ["session-deny"],
                               ["session-fail"], ["session-end"]) or (
                actions == ["session-start"] and (self.crash_expected or self.starts_only)), (session, actions)
            for record in records:
                if record["event"]["action"] in last:
                    assert record["event"]["reason"], record
        expected = None
        for record in self.ledger.records():
            seq = record["audit"]["seq"]
            fresh = record["event"]["action"] == "audit-start"
            assert expected is None or fresh or seq == expected, record
            expected = seq + 1

    def audit_files(self):
        """All files of this ledger, in order of rotation."""
        table = {}
        for name in glob.glob(glob.escape(self.audit) + "*"):
            try:
                with (gzip.open if name.endswith(".gz") else open)(name, "rb") as file:
                    line = file.readline()
            except (FileNotFoundError, EOFError):
                continue  # moved or being packed at this moment
            if line:
                found = re.search(rb'"audit":\{"seq":(\d+)', line)
                table[name] = int(found[1]) if found else 0
        return sorted(table, key=table.get)

    def verify(self, *args):
        """What sallyctl verify says of the ledger, as JSON."""
        files = []
        for name in self.audit_files():
            if name.endswith(".gz"):
                with gzip.open(name, "rb") as file:
                    name = os.path.join(self.folder, f"unpacked-{len(files)}")
                    with open(name, "wb") as plain:
                        plain.write(file.read())
            files.append(name)
        done = subprocess.run([os.path.join(self.build, "sallyctl"), "verify", "--json", *args,
                               *files], capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL)
        assert done.stdout, done.stderr
        verdict = json.loads(done.stdout)
        assert (done.returncode == 0) == (verdict.get("verdict") == "whole"), verdict
        return verdict

    def check_proof(self):
        """Whatever happened to the server, its ledger is whole."""
        if self.settings["audit"].get("format") == "short" or not self.audit_files():
            return
        verdict = self.verify()
        assert verdict.get("verdict") == "whole", verdict

    def stop(self, checks=True):
        """The end that every test gets: clean exit, nothing left, nothing leaked."""
        if self.process is None:
            return
        pids = [self.process.pid, *self.processes()]
        problems = []

        def attempt(check, *args):
            try:
                check(*args)
            except AssertionError as error:
                problems.append(str(error))
        running = self.process.poll() is None
        if running and checks:
            attempt(self.check_no_leak)
        if running:
            attempt(self.terminate)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            elif checks and self.process.returncode != 0:
                problems.append(f"exit status {self.process.returncode} after SIGTERM")
        try:
            until(lambda: not any(net.alive(p) for p in pids), "all processes to end", 10)
        except AssertionError:
            left = [f"{p} {self.role(p)}" for p in pids if net.alive(p)]
            problems.append(f"processes left over: {left}")
            for pid in pids:
                if net.alive(pid):
                    os.kill(pid, signal.SIGKILL)
        if checks:
            attempt(self.check_ledger)
            attempt(self.check_proof)
        report = self.sanitizer_output()
        if report:
            problems.append("a sanitizer says:\n" + report)
        if self._notify:
            self._notify.close()
            self._notify = None
        self.process = None
        if problems and checks:
            raise AssertionError("\n".join(problems) + "\nthe log says:\n" + self.log()[-4000:])

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def _server_inode(client, daemon):
    """The inode of the server's end of a client's TCP connection, from /proc/net/tcp."""
    def found():
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if len(fields) > 9 and fields[2].endswith(":%04X" % client.port) \
                        and fields[1].endswith(":%04X" % daemon.at[1]):
                    local = bytes.fromhex(fields[1].split(":")[0])[::-1]
                    if socket.inet_ntoa(local) == daemon.at[0] and fields[9] != "0":
                        return fields[9]
        return None
    return until(found, "the server's end of a connection")


ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


def parse_time(text):
    """Seconds since 1970 of a record's time."""
    assert ISO.match(text), text
    import calendar
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float(text[19:26])
