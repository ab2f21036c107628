"""Asks a running server by its control socket: sallyctl, or lines sent by hand."""
import json
import os
import pwd
import socket
import subprocess

from harness.wait import PATIENCE


class Control:
    """A server with a control socket, and sallyctl to ask it."""

    def __init__(self, daemon, build):
        self.daemon = daemon
        self.path = daemon.settings["control"]["socket"]
        self.tool = os.path.join(build, "sallyctl")

    def run(self, *args, as_user=None, status=0):
        command = [self.tool, *args, "--socket", self.path]
        if as_user:
            command = ["setpriv", f"--reuid={as_user}", "--regid", str(gid(as_user)),
                       "--init-groups", *command]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE * 3, check=False,
                              env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        assert done.returncode == status, (args, done)
        return done.stdout.decode() + done.stderr.decode()

    def json(self, *args, **kwargs):
        text = self.run(*args, "--json", **kwargs)
        return [json.loads(line) for line in text.splitlines()]

    def socket(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(self.path)
        return sock

    def ask(self, line):
        """The answer's lines to a request sent by hand."""
        with self.socket() as sock:
            sock.sendall(line)
            return read_answer(sock)

    def admin_actions(self, count=1):
        return self.daemon.ledger.wait(lambda r: r["event"]["action"] == "admin-action",
                                       "admin-action", count=count)

    def pid(self):
        return next((p for p in self.daemon.processes() if "control" in self.daemon.role(p)), None)


def gid(user):
    return pwd.getpwnam(user).pw_gid


def read_answer(sock):
    data = b""
    while not (data.endswith(b"\n") and b'"done"' in data.splitlines()[-1]):
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            break
        data += more
    return [json.loads(line) for line in data.splitlines()]
