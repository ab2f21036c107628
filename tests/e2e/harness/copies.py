"""Those to whom copies of the ledger go: rsyslog and journald as they are, and sockets of our own that
behave as badly as a test wants."""
import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

from harness import net
from harness.wait import PATIENCE, until

# RFC 5424: the header, structured data, and what the ledger's line was
MESSAGE = re.compile(rb"<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) (-|\[[^\]]*\]) (.*)", re.S)
RSYSLOGD = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
JOURNALD = "/usr/lib/systemd/systemd-journald"


class Message:
    def __init__(self, raw):
        found = MESSAGE.fullmatch(raw)
        assert found, raw
        self.pri = int(found[1])
        self.time, self.host, self.app, self.procid, self.event, self.data = (
            found[n].decode() for n in range(2, 8))
        self.line = found[8]

    @property
    def seq(self):
        return json.loads(self.line)["audit"]["seq"]


def ledger_lines(daemon):
    """All lines of the ledger, over its files."""
    lines = []
    for name in daemon.audit_files():
        with (gzip.open if name.endswith(".gz") else open)(name, "rb") as file:
            lines += file.read().split(b"\n")[:-1]
    return lines


def seq_of(line):
    return json.loads(line)["audit"]["seq"]


class Rsyslog:
    """rsyslogd with a configuration of its own, that writes what it gets as it got it."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(os.path.join(folder, "work"))
        self.address = net.fresh_address()
        self.unix = os.path.join(folder, "log")
        self.out = {kind: os.path.join(folder, kind) for kind in ("tcp", "udp", "unix")}
        self.conf = os.path.join(folder, "rsyslog.conf")
        with open(self.conf, "w", encoding="ascii") as file:
            file.write(self._text())
        self.process = None
        self.start()

    def to(self, kind):
        return f"unix:{self.unix}" if kind == "unix" else f"{kind}:{self.address}:1514"

    def _text(self):
        rules = "".join(f'ruleset(name="{kind}") {{ action(type="omfile" file="{path}" '
                        f'template="raw") }}\n' for kind, path in self.out.items())
        return (f'global(workDirectory="{self.folder}/work" maxMessageSize="64k")\n'
                'module(load="imtcp")\nmodule(load="imudp")\n'
                'module(load="imuxsock" SysSock.Use="off")\n'
                'template(name="raw" type="string" string="%rawmsg%\\n")\n' + rules +
                f'input(type="imtcp" address="{self.address}" port="1514" ruleset="tcp")\n'
                f'input(type="imudp" address="{self.address}" port="1514" ruleset="udp" '
                'rcvbufSize="8m")\n'
                f'input(type="imuxsock" Socket="{self.unix}" UseSpecialParser="off" '
                'RateLimit.Interval="0" ruleset="unix")\n')

    def start(self):
        with open(os.path.join(self.folder, "rsyslog.log"), "ab") as log:
            self.process = subprocess.Popen(
                [RSYSLOGD, "-n", "-f", self.conf, "-i", os.path.join(self.folder, "pid")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=net.die_with_parent)

        def listens():
            assert self.process.poll() is None, self.log()
            try:
                socket.create_connection((self.address, 1514), 1).close()
            except OSError:
                return False
            return os.path.exists(self.unix)
        until(listens, lambda: f"rsyslogd: {self.log()}")

    def log(self):
        with open(os.path.join(self.folder, "rsyslog.log"), encoding="utf-8") as file:
            return file.read()

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)

    def messages(self, kind="tcp"):
        try:
            with open(self.out[kind], "rb") as file:
                return [Message(line) for line in file.read().split(b"\n")[:-1]]
        except FileNotFoundError:
            return []

    def close(self):
        self.stop()


class Stream:
    """Takes connections; reads frames of octet counting (RFC 6587) as long as it is not held."""

    def __init__(self, path=None, hold=False, newline=False):
        self.path, self.newline = path, newline
        self.address = None if path else net.fresh_address()
        self.frames, self.connections, self.rest = [], 0, b""
        self._go = threading.Event()
        if not hold:
            self._go.set()
        self._over = False
        self._live = []
        self.listener = None
        self.listen()

    @property
    def to(self):
        return f"unix:{self.path}" if self.path else f"tcp:{self.address}:1514"

    def listen(self):
        if self.path:
            if os.path.exists(self.path):
                os.unlink(self.path)
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
            os.chmod(self.path, 0o777)
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            self.listener.bind((self.address, 1514))
        self.listener.listen(8)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._live.append(sock)
            threading.Thread(target=self._read, args=(sock,), daemon=True).start()

    def _read(self, sock):
        data = b""
        while not self._over:
            if not self._go.wait(0.05):
                continue
            try:
                more = sock.recv(65536)
            except OSError:
                return
            if not more:
                self.rest = data
                return
            data = self._take(data + more)

    def _take(self, data):
        if self.newline:
            *whole, data = data.split(b"\n")
            self.frames += whole
            return data
        while True:
            found = re.match(rb"(\d+) ", data)
            if not found or len(data) < found.end() + int(found[1]):
                assert found or not re.match(rb"\D|\d+\D", data), data[:80]
                return data
            end = found.end() + int(found[1])
            self.frames.append(data[found.end():end])
            data = data[end:]

    def messages(self):
        return [Message(frame) for frame in list(self.frames)]

    def go_on(self):
        self._go.set()

    def hang_up(self, reset=False):
        """Nobody is there any more."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self._live:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        self._live = []

    def close(self):
        self._over = True
        self._go.set()
        try:
            self.hang_up()
        except OSError:
            pass


class Datagrams:
    """A socket of our own for UDP, or at a path."""

    def __init__(self, path=None, address=None):
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        if path:
            self.sock.bind(path)
            os.chmod(path, 0o777)
        else:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self.sock.bind((address, 1514))
        self.sock.setblocking(False)
        self.raw = []

    def messages(self):
        while True:
            try:
                self.raw.append(self.sock.recv(65536))
            except BlockingIOError:
                return [Message(raw) for raw in self.raw]

    def close(self):
        self.sock.close()


class Journald:
    """systemd-journald in a mount namespace of its own, with nothing in /run but what it makes."""

    SETUP = ("mount -t tmpfs none /run && mkdir -p /run/log/journal /run/systemd/journald.conf.d && "
             "printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\nForwardToWall=no\\n"
             "ForwardToSyslog=no\\nRateLimitIntervalSec=0\\n' "
             "> /run/systemd/journald.conf.d/test.conf && ")

    def __init__(self, folder):
        self.errors = os.path.join(folder, "journald.log")
        with open(self.errors, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                 f"{self.SETUP} exec {JOURNALD}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=net.die_with_parent)
        until(self._is_there, lambda: f"journald; {open(self.errors, encoding='utf-8').read()}")

    def _is_there(self):
        assert self.process.poll() is None, open(self.errors, encoding="utf-8").read()
        return subprocess.run([*self.inside, "test", "-S", "/run/systemd/journal/socket"],
                              check=False).returncode == 0

    @property
    def inside(self):
        """What runs a program in its namespace."""
        return ("nsenter", "-t", str(self.process.pid), "-m", "--")

    def entries(self, *match):
        done = subprocess.run([*self.inside, "journalctl", "-D", "/run/log/journal", "-o", "json",
                               "--no-pager", "--all", "-q", *match], capture_output=True, check=False,
                              timeout=PATIENCE)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
