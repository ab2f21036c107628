"""Real clients, as people use them: curl, ncat, OpenBSD nc, socat, proxychains, PySocks, npm socks."""
import http.server
import json
import os
import socket
import socketserver
import subprocess
import threading

import pytest

from harness.socks import NODE
from harness.targets import say_and_close

PAGE = b"behind the sally port\n" * 500


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


class Web(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Web6(Web):
    address_family = socket.AF_INET6


@pytest.fixture
def web():
    yield from serve(Web(("127.0.0.1", 0), Page))


@pytest.fixture
def web6(ipv6):
    yield from serve(Web6(("::1", 0), Page))


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def run(*command, seconds=60, **kwargs):
    """stdout of a client that must succeed."""
    kwargs.setdefault("stdin", subprocess.DEVNULL if "input" not in kwargs else None)
    if "input" in kwargs:
        kwargs.pop("stdin")
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    done = subprocess.run(command, capture_output=True, timeout=seconds, check=False,
                          env={**env, **kwargs.pop("env", {})}, **kwargs)
    assert done.returncode == 0, (command, done.returncode, done.stdout[-500:], done.stderr[-2000:])
    return done.stdout


def curl(proxy, url, *more):
    return run("curl", "-sS", "-q", "--max-time", "50", "-x", proxy, url, *more)


def only_end(daemon):
    return daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "an end")


# -- curl ---------------------------------------------------------------------

@pytest.mark.parametrize("scheme,version", [("socks4", 4), ("socks4a", 4), ("socks5", 5),
                                            ("socks5h", 5)])
def test_curl_ipv4(daemon, web, scheme, version):
    page = curl(f"{scheme}://{daemon.at[0]}:{daemon.at[1]}", f"http://127.0.0.1:{web}/")
    assert page == PAGE
    end = only_end(daemon)
    assert end["socks"]["version"] == version
    assert end["destination"]["ip"] == "127.0.0.1"
    assert end["destination"]["port"] == web


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_curl_ipv6(daemon, web6, scheme):
    assert curl(f"{scheme}://{daemon.at[0]}:{daemon.at[1]}", f"http://[::1]:{web6}/") == PAGE
    assert only_end(daemon)["destination"]["ip"] == "::1"


@pytest.mark.parametrize("scheme,version", [("socks4a", 4), ("socks5h", 5)])
def test_curl_name(daemons, dns, web, scheme, version):
    names = dns({"shop.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    page = curl(f"{scheme}://{daemon.at[0]}:{daemon.at[1]}", f"http://shop.test:{web}/")
    assert page == PAGE
    end = only_end(daemon)
    assert (end["destination"]["domain"], end["destination"]["ip"]) == ("shop.test", "127.0.0.1")
    assert end["socks"]["version"] == version


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
def test_curl_looks_the_name_up_itself(daemon, web, scheme):
    page = curl(f"{scheme}://{daemon.at[0]}:{daemon.at[1]}", f"http://shop.test:{web}/",
                "--resolve", f"shop.test:{web}:127.0.0.1")
    assert page == PAGE
    assert "domain" not in only_end(daemon)["destination"]


@pytest.mark.parametrize("scheme", ["socks4a", "socks5h"])
def test_curl_name_that_is_only_ipv6(daemons, dns, web6, scheme):
    names = dns({"six.test": ["::1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    page = curl(f"{scheme}://{daemon.at[0]}:{daemon.at[1]}", f"http://six.test:{web6}/")
    assert page == PAGE


def test_curl_over_an_ipv6_listener(daemons, ipv6, web):
    daemon = daemons(ipv6=True)
    page = curl(f"socks5h://[::1]:{daemon.at6[1]}", f"http://127.0.0.1:{web}/")
    assert page == PAGE
    assert only_end(daemon)["source"]["ip"] == "::1"


def test_curl_upload_and_connection_reuse(daemon, web):
    """Two pages over one session."""
    url = f"http://127.0.0.1:{web}/"
    page = curl(f"socks5h://{daemon.at[0]}:{daemon.at[1]}", url, url)
    assert page == PAGE * 2


# -- netcats and socat --------------------------------------------------------

def dialogue(daemon, echo, *command):
    """A client that joins stdin and stdout to an echo target."""
    text = b"line one\nline two\n" * 1000
    assert run(*command, input=text) == text
    end = only_end(daemon)
    assert end["source"]["bytes"] == end["destination"]["bytes"] == len(text)
    assert end["destination"]["port"] == echo.port
    return end


@pytest.mark.parametrize("version", [4, 5])
def test_ncat(daemon, echo, version):
    end = dialogue(daemon, echo, "ncat", "--proxy", f"{daemon.at[0]}:{daemon.at[1]}",
                   "--proxy-type", f"socks{version}", "127.0.0.1", str(echo.port))
    assert end["socks"]["version"] == version


def test_ncat_name(daemons, dns, echo):
    names = dns({"echo.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    end = dialogue(daemon, echo, "ncat", "--proxy", f"{daemon.at[0]}:{daemon.at[1]}",
                   "--proxy-type", "socks5", "--proxy-dns", "remote", "echo.test",
                   str(echo.port))
    assert end["destination"]["domain"] == "echo.test"


@pytest.mark.parametrize("version", [4, 5])
def test_openbsd_nc(daemon, echo, version):
    end = dialogue(daemon, echo, "nc.openbsd", "-N", "-X", str(version), "-x",
                   f"{daemon.at[0]}:{daemon.at[1]}", "127.0.0.1", str(echo.port))
    assert end["socks"]["version"] == version


def test_openbsd_nc_name(daemons, dns, echo):
    names = dns({"echo.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    end = dialogue(daemon, echo, "nc.openbsd", "-N", "-X", "5", "-x",
                   f"{daemon.at[0]}:{daemon.at[1]}", "echo.test", str(echo.port))
    assert end["destination"]["domain"] == "echo.test"


def socat_knows(address):
    return address.encode() in run("socat", "-hh").lower()


@pytest.mark.parametrize("kind", ["SOCKS4", "SOCKS4A"])
def test_socat(daemons, dns, echo, kind):
    names = dns({"echo.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    host = "echo.test" if kind == "SOCKS4A" else "127.0.0.1"
    end = dialogue(daemon, echo, "socat", "-t30", "-",
                   f"{kind}:{daemon.at[0]}:{host}:{echo.port},socksport={daemon.at[1]}")
    assert end["socks"]["version"] == 4


def test_socat_socks5(daemon, echo):
    if not socat_knows("socks5"):
        pytest.skip("this socat has no SOCKS5 (1.8 has)")
    end = dialogue(daemon, echo, "socat", "-t30", "-",
                   f"SOCKS5-CONNECT:{daemon.at[0]}:{daemon.at[1]}:127.0.0.1:{echo.port}")
    assert end["socks"]["version"] == 5


# -- wrappers and libraries ---------------------------------------------------

@pytest.mark.parametrize("version", [4, 5])
def test_proxychains(daemon, tmp_path, targets, version):
    target = targets(say_and_close(b"hello from behind\n"))
    config = tmp_path / "proxychains.conf"
    config.write_text("strict_chain\nquiet_mode\ntcp_read_time_out 15000\n"
                      "tcp_connect_time_out 15000\n[ProxyList]\n"
                      f"socks{version} {daemon.at[0]} {daemon.at[1]}\n")
    got = run("proxychains4", "-f", str(config), "nc.openbsd", "-d", "127.0.0.1",
              str(target.port))
    assert got == b"hello from behind\n"
    assert only_end(daemon)["socks"]["version"] == version


def test_proxychains_name(daemons, dns, tmp_path, web):
    names = dns({"shop.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    config = tmp_path / "proxychains.conf"
    config.write_text("strict_chain\nproxy_dns\nquiet_mode\n[ProxyList]\n"
                      f"socks5 {daemon.at[0]} {daemon.at[1]}\n")
    page = run("proxychains4", "-q", "-f", str(config), "curl", "-sS", "-q", "--max-time", "50",
               f"http://shop.test:{web}/")
    assert page == PAGE
    assert only_end(daemon)["destination"]["domain"] == "shop.test"


@pytest.mark.parametrize("version,remote", [(4, False), (4, True), (5, False), (5, True)])
def test_pysocks(daemons, dns, echo, version, remote):
    import socks
    names = dns({"echo.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    kind = socks.SOCKS4 if version == 4 else socks.SOCKS5
    host = "echo.test" if remote else "127.0.0.1"
    with socks.socksocket() as sock:
        sock.set_proxy(kind, *daemon.at, rdns=remote)
        sock.settimeout(30)
        sock.connect((host, echo.port))
        assert sock.get_proxy_sockname()
        sock.sendall(b"ping")
        assert sock.recv(4) == b"ping"


def test_pysocks_ipv6(daemon, ipv6, targets):
    import socks
    target = targets(host="::1")
    with socks.socksocket() as sock:
        sock.set_proxy(socks.SOCKS5, *daemon.at)
        sock.settimeout(30)
        sock.connect(("::1", target.port))
        sock.sendall(b"ping")
        assert sock.recv(4) == b"ping"


NPM_CLIENT = """
const { SocksClient } = require('socks');
const [proxyHost, proxyPort, type, host, port] = process.argv.slice(2);
SocksClient.createConnection({
  proxy: { host: proxyHost, port: Number(proxyPort), type: Number(type) },
  command: 'connect', destination: { host, port: Number(port) }, timeout: 30000,
}).then(({ socket }) => {
  let got = '';
  socket.setEncoding('utf8');
  socket.on('data', (text) => { got += text; if (got.length === 9) socket.end(); });
  socket.on('close', () => { console.log(JSON.stringify(got)); });
  socket.write('npm socks');
  socket.resume();
}, (error) => { console.error(String(error)); process.exit(1); });
"""


@pytest.mark.parametrize("version,host", [(4, "127.0.0.1"), (4, "echo.test"), (5, "127.0.0.1"),
                                          (5, "echo.test"), (5, "::1")])
def test_npm_socks(daemons, dns, targets, tmp_path, version, host):
    target = targets(host="::1" if host == "::1" else "127.0.0.1")
    names = dns({"echo.test": ["127.0.0.1"]})
    daemon = daemons(settings={"dns": {"servers": [names.server]}})
    script = tmp_path / "client.js"
    script.write_text(NPM_CLIENT)
    out = run("node", str(script), daemon.at[0], str(daemon.at[1]), str(version), host,
              str(target.port), env=NODE)
    assert json.loads(out) == "npm socks"
    assert only_end(daemon)["socks"]["version"] == version
