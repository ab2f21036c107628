"""UDP ASSOCIATE by real clients: dig through dante's socksify, PySocks, npm socks."""
import ctypes
import errno
import json
import os
import shutil
import socket
import struct
import subprocess

import pytest

from harness import net
from harness.names import A, query, parse_question
from harness.socks import NODE
from harness.wait import PATIENCE

NAMES = {"www.test": ["192.0.2.80", "2001:db8::80"], "mail.test": ["192.0.2.25"]}


def run(*command, env=None, before=None):
    done = subprocess.run(command, capture_output=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
                          preexec_fn=before)
    assert done.returncode == 0, (command, done.stdout[-800:], done.stderr[-2000:])
    return done.stdout.decode()


def only_end(daemon):
    return daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "an end")


def without_mmsg():
    """In a child about to exec: no sendmmsg and recvmmsg, which socksify does not know.  libuv, and
    so dig, then goes back to sendmsg and recvmsg, which it does."""
    numbers = {"x86_64": (307, 299), "aarch64": (269, 243)}[os.uname().machine]
    ld_nr, jeq, ret = 0x20, 0x15, 0x06
    code = [(ld_nr, 0, 0, 0), (jeq, 1, 0, numbers[0]), (jeq, 0, 1, numbers[1]),
            (ret, 0, 0, 0x00050000 | errno.ENOSYS), (ret, 0, 0, 0x7fff0000)]
    program = b"".join(struct.pack("=HBBI", *line) for line in code)
    room = ctypes.create_string_buffer(program)
    fprog = struct.pack("@HP", len(code), ctypes.addressof(room))
    assert net.LIBC.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert net.LIBC.prctl(22, 2, fprog, 0, 0) == 0  # PR_SET_SECCOMP, a filter


@pytest.fixture
def socksify(tmp_path):
    """Runs a command whose UDP goes through the server."""
    assert shutil.which("socksify"), "dante-client is not installed: ./dev test installs it"

    def through(daemon, *command):
        config = tmp_path / "socks.conf"
        config.write_text(f"""
logoutput: {tmp_path}/dante.log
route {{ from: 0.0.0.0/0 to: 0.0.0.0/0 via: {daemon.at[0]} port = {daemon.at[1]}
  proxyprotocol: socks_v5
  command: udpassociate
  protocol: udp
  method: none }}
""")
        return run("socksify", *command, env={"SOCKS_CONF": str(config),
                                     "SOCKS_AUTOADD_LANROUTES": "no"},  # else directly
                   before=without_mmsg)
    return through


def test_dig_through_socksify(daemon, dns, socksify):
    names = dns(NAMES)
    host, port = names.at
    dig = ("dig", "+short", "+tries=2", "+time=5", "+noedns", "-p", str(port), f"@{host}")
    assert socksify(daemon, *dig, "www.test", "A") == "192.0.2.80\n"
    assert socksify(daemon, *dig, "www.test", "AAAA") == "2001:db8::80\n"
    assert names.queries("www.test") == names.queries("www.test", "AAAA") == 1
    records = daemon.ledger.wait(lambda r: r["event"]["action"] == "udp-destination",
                                 "the name server's records", count=2)
    for record in records:
        assert (record["destination"]["ip"], record["destination"]["port"]) == names.at
        assert record["source"]["packets"] == record["destination"]["packets"] == 1


def test_dig_is_denied(daemons, dns, socksify):
    """Denied datagrams vanish: dig gives up, and the record says why."""
    names = dns(NAMES)
    host, port = names.at
    daemon = daemons(rules="""
      only: { action = "allow"; from = "loopback"; to = "loopback"; service = "udp/1"
              command = "udp-associate" }""")
    with pytest.raises(AssertionError):
        socksify(daemon, "dig", "+short", "+tries=1", "+time=1", "-p", str(port), f"@{host}",
                 "www.test")
    record = daemon.ledger.wait(lambda r: r["event"]["action"] == "udp-destination", "a denial")
    assert record["event"]["reason"] == "denied"
    assert record["destination"]["port"] == port
    assert names.queries("www.test") == 0


@pytest.mark.parametrize("remote", [False, True])
def test_pysocks(daemons, dns, remote):
    """A name that the server looks up (remote), and an address."""
    import socks
    names = dns({**NAMES, "ns.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind(("127.0.0.1", 0))
        echo.settimeout(PATIENCE)
        at = ("ns.test" if remote else "127.0.0.1", echo.getsockname()[1])
        with socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.set_proxy(socks.SOCKS5, *daemon.at, rdns=remote)
            sock.settimeout(PATIENCE)
            for text in (b"first", b"", b"x" * 1400):
                sock.sendto(text, at)
                data, peer = echo.recvfrom(65536)
                assert data == text
                echo.sendto(b"re: " + data, peer)
                assert sock.recvfrom(65536) == (b"re: " + text, echo.getsockname())
    end = only_end(daemon)
    assert end["source"]["packets"] == end["destination"]["packets"] == 3


def test_pysocks_asks_a_name_server(daemon, dns):
    import socks
    names = dns(NAMES)
    with socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.set_proxy(socks.SOCKS5, *daemon.at)
        sock.settimeout(PATIENCE)
        sock.sendto(query("mail.test", A), names.at)
        answer, peer = sock.recvfrom(4096)
        assert peer == names.at
        assert parse_question(answer)[0] == "mail.test"
        assert socket.inet_aton("192.0.2.25") in answer


NPM_CLIENT = """
const dgram = require('dgram');
const { SocksClient } = require('socks');
const [proxyHost, proxyPort, host, port] = process.argv.slice(2);
const udp = dgram.createSocket('udp4');
const client = new SocksClient({
  proxy: { host: proxyHost, port: Number(proxyPort), type: 5 }, command: 'associate',
  destination: { host: '0.0.0.0', port: 0 }, timeout: 30000,
});
udp.bind(0, '127.0.0.1', () => client.connect());
client.on('error', (error) => { console.error(String(error)); process.exit(1); });
client.on('established', (info) => {
  const relay = info.remoteHost;
  udp.on('message', (message) => {
    const frame = SocksClient.parseUDPFrame(message);
    console.log(JSON.stringify([frame.remoteHost.host, frame.remoteHost.port,
                                frame.data.toString()]));
    info.socket.destroy();
    udp.close();
  });
  udp.send(SocksClient.createUDPFrame({
    remoteHost: { host, port: Number(port) }, data: Buffer.from('npm socks') }),
    relay.port, relay.host);
});
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "echo.test"])
def test_npm_socks(daemons, dns, udp_targets, tmp_path, host):
    target = udp_targets(lambda data, peer: b"re: " + data, host="127.0.0.1")
    names = dns({"echo.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    script = tmp_path / "client.js"
    script.write_text(NPM_CLIENT)
    out = run("node", str(script), daemon.at[0], str(daemon.at[1]), host, str(target.port),
              env=NODE)
    assert json.loads(out) == ["127.0.0.1", target.port, "re: npm socks"]
    end = only_end(daemon)
    assert end["source"]["packets"] == end["destination"]["packets"] == 1
    assert end["event"]["reason"] in ("client-closed", "client-reset")
