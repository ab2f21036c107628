"""BIND by real clients: active-mode FTP through dante-client's socksify, and npm socks."""
import json
import os
import subprocess
import sys

import pytest

from harness import net
from harness.socks import NODE, Client
from harness.wait import PATIENCE, until

DOORS = """
  ftp: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ];
         command = [ "connect", "bind" ] }
"""
PAGES = os.urandom(300_000)

FTP_SERVER = """
import socket, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
authorizer = DummyAuthorizer()
authorizer.add_user("ann", "secret", sys.argv[2], perm="elradfmw")
FTPHandler.authorizer = authorizer
FTPHandler.banner = "at your service"
server = FTPServer((sys.argv[1], 0), FTPHandler)
print(server.socket.getsockname()[1], flush=True)
server.serve_forever()
"""


class FtpServer:
    """pyftpdlib with one file to fetch; active mode is what the client asks for."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        with open(os.path.join(folder, "pages"), "wb") as file:
            file.write(PAGES)
        self.host = net.fresh_address()
        self.process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", FTP_SERVER,
                                         self.host, folder], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, preexec_fn=net.die_with_parent)
        self.port = int(self.process.stdout.readline())

    def file(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def ftp(tmp_path):
    server = FtpServer(str(tmp_path / "ftp"))
    yield server
    server.close()


class Socksify:
    """A program under dante-client's socksify; SOCKS by this version."""

    def __init__(self, daemon, version, folder):
        self.folder = folder
        path = os.path.join(folder, "socks.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"route {{ from: 0.0.0.0/0 to: 0.0.0.0/0 via: {daemon.at[0]} "
                       f"port = {daemon.at[1]}\n proxyprotocol: socks_v{version}\n"
                       " command: connect bind\n protocol: tcp\n method: none }\n")
        self.env = {**os.environ, "SOCKS_CONF": path,
                    "SOCKS_AUTOADD_LANROUTES": "no"}  # else loopback is reached directly

    def ftp(self, server, script):
        """What tnftp says of these commands, each data connection by PORT."""
        done = subprocess.run(["socksify", "tnftp", "-A", "-n", "-v"], env=self.env, timeout=60,
                              cwd=self.folder, capture_output=True, check=False, text=True,
                              input=f"open {server.host} {server.port}\nuser ann secret\n"
                              f"binary\n{script}\nbye\n")
        assert "Login successful" in done.stdout, (done.stdout, done.stderr)
        return done.stdout


def descriptors(daemon):
    """Of all workers, without what the relay keeps for later."""
    return {pid: sum(not d.startswith("pipe:") for d in net.descriptors(pid))
            for pid in daemon.workers()}


@pytest.mark.parametrize("version", [4, 5])
def test_active_ftp(daemons, ftp, tmp_path, version, times=100):
    """A listing, a fetch and a store, again and again; nothing is left in the workers."""
    daemon = daemons(rules=DOORS, settings={
        "egress": {"addresses": [net.fresh_address()]},  # control and data by the same address
        "bind": {"require-primary": True}})
    before = descriptors(daemon)
    client = Socksify(daemon, version, str(tmp_path))
    for _ in range(times):
        said = client.ftp(ftp, "ls\nget pages fetched\nput fetched stored\n")
        assert said.count("226 ") == 3, said
        fetched = tmp_path / "fetched"
        assert fetched.read_bytes() == PAGES
        # the server may be told of the end a moment after the client
        until(lambda: ftp.file("stored") == PAGES, "the stored file")
        fetched.unlink()
        os.unlink(os.path.join(ftp.folder, "stored"))
    ends = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end"
                              and r["socks"]["command"] == "bind", "the ends of transfers",
                              count=3 * times)
    assert {r["destination"]["ip"] for r in ends} == {ftp.host}
    expected = daemon.ledger.find(lambda r: r["event"]["action"] == "bind-listen")
    assert {(r["destination"]["ip"], r["destination"]["port"]) for r in expected} == \
        {(ftp.host, {4: ftp.port, 5: 0}[version])}, "socksify tells whom it expects"
    assert sum(r["destination"]["bytes"] == len(PAGES) for r in ends) == times
    assert sum(r["source"]["bytes"] == len(PAGES) for r in ends) == times
    until(lambda: descriptors(daemon) == before, lambda: f"{before}, but {descriptors(daemon)}")


def test_active_ftp_under_a_port_scanner(daemons, ftp, tmp_path):
    """Whoever knocks at the doors meanwhile breaks no transfer (bind.on-mismatch = "wait")."""
    here = net.fresh_address()
    ports = 20000, 20001
    daemon = daemons(rules=DOORS, settings={
        "egress": {"addresses": [here]},
        "bind": {"ports": f"{ports[0]}-{ports[1]}", "on-mismatch": "wait"}})
    scanner = subprocess.Popen(
        [sys.executable, "-c", """
import itertools, socket, sys
for port in itertools.cycle(range(int(sys.argv[2]), int(sys.argv[3]) + 1)):
    with socket.socket() as sock:
        sock.settimeout(1)
        try:
            sock.bind(("127.0.0.9", 0))
            sock.connect((sys.argv[1], port))
        except OSError:
            pass
""", here, *map(str, ports)], preexec_fn=net.die_with_parent)
    try:
        client = Socksify(daemon, 5, str(tmp_path))
        transfers = strangers = 0
        while strangers < 10 or transfers < 20:
            said = client.ftp(ftp, "get pages fetched\nget pages fetched2\n")
            assert said.count("226 ") == 2, said
            assert (tmp_path / "fetched2").read_bytes() == PAGES
            transfers += 2
            strangers = sum(r["socks"].get("strangers", 0) for r in daemon.ledger.find(
                lambda r: r["event"]["action"] == "session-end"))
            assert transfers < 2000, f"only {strangers} strangers have found a door"
    finally:
        scanner.kill()
        scanner.wait()


NPM_BIND = """
const { SocksClient } = require('socks');
const [proxyHost, proxyPort, type, host, port] = process.argv.slice(2);
const client = new SocksClient({
  proxy: { host: proxyHost, port: Number(proxyPort), type: Number(type) },
  command: 'bind', destination: { host, port: Number(port) }, timeout: 30000,
});
client.on('bound', ({ remoteHost }) => { console.log(JSON.stringify(remoteHost)); });
client.on('established', ({ socket, remoteHost }) => {
  console.log(JSON.stringify(remoteHost));
  socket.on('data', (data) => { socket.write('got ' + data); socket.end(); });
  socket.resume();
});
client.on('error', (error) => { console.error(String(error)); process.exit(1); });
client.connect();
"""


@pytest.mark.parametrize("version,host", [(4, "127.0.0.1"), (4, "peer.test"), (5, "127.0.0.1"),
                                          (5, "peer.test"), (5, "0.0.0.0"), (5, "::1")])
def test_npm_socks(daemons, dns, tmp_path, version, host):
    names = dns({"peer.test": ["127.0.0.1"]})
    settings = {"dns": {"servers": [names.server]}}
    if host == "0.0.0.0":
        settings["bind"] = {"address": "127.0.0.1"}
    daemon = daemons(rules=DOORS, settings=settings)
    script = tmp_path / "client.js"
    script.write_text(NPM_BIND)
    with subprocess.Popen(["node", str(script), daemon.at[0], str(daemon.at[1]), str(version),
                           host, "21"],
                          env={**os.environ, **NODE},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=net.die_with_parent) as client:
        bound = json.loads(client.stdout.readline())
        here = "::1" if host == "::1" else "127.0.0.1"
        with Client((here, bound["port"]), source=here) as peer:
            established = json.loads(client.stdout.readline())
            assert established["port"] == peer.port
            peer.send(b"hello")
            assert peer.read_end() == b"got hello"
        assert client.wait(PATIENCE) == 0, client.stderr.read()
    end = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "the end")
    assert (end["socks"]["version"], end["socks"]["command"]) == (version, "bind")
    assert (end["source"]["bytes"], end["destination"]["bytes"]) == (9, 5)
