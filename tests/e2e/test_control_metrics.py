"""The metrics: what they say, by the page and by sallyctl, and to Prometheus itself."""
import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from harness import net
from harness.wait import PATIENCE, until


@pytest.fixture
def page(control):
    def make(**kwargs):
        settings = kwargs.pop("settings", {})
        server = control(settings={"metrics": {"address": net.fresh_address(), "port": 9108},
                                   **settings}, **kwargs)
        at = server.daemon.settings["metrics"]
        server.url = f"http://{at['address']}:{at['port']}/metrics"
        server.at = at["address"], at["port"]
        return server
    return make


def fetch(server, accept=None):
    request = urllib.request.Request(server.url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def values(text):
    """{name{labels}: value}"""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in text.splitlines() if not line.startswith("#")}


def test_promtool_finds_nothing(page):
    server = page()
    for text in (fetch(server)[1], server.run("metrics")):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0 and done.stdout + done.stderr == "", done


def test_what_happened_is_counted(page, targets):
    server = page(rules="""
      no: { action = "deny"; to = "127.0.0.9"; from = "127.0.0.1" }
      one: { action = "allow"; from = "127.0.0.1"; to = "loopback" }
    """)
    echo = targets()
    for _ in range(3):
        client = server.daemon.client(source="127.0.0.1")
        assert client.connect5("127.0.0.1", echo.port).code == 0
        client.send(b"12345").read(5)
        client.close()
    last = server.daemon.client(source="127.0.0.1")
    assert last.connect5("127.0.0.1", echo.port).code == 0
    assert server.daemon.client(source="127.0.0.1").connect5("127.0.0.9", echo.port).code == 2
    assert server.daemon.client(source="127.0.0.1").connect5("127.0.0.1", 1).code == 5
    stranger = server.daemon.client(source="127.0.0.2")
    assert stranger.read_end() == b""

    name = "sallyport_sessions_ended_total{command=\"connect\",reason=\"client-closed\"}"
    until(lambda: values(fetch(server)[1])[name] == 3, "three ends")
    got = values(fetch(server)[1])

    def value(metric, **labels):
        inside = ",".join(f'{k}="{v}"' for k, v in labels.items())
        return got[f"sallyport_{metric}{{{inside}}}" if inside else f"sallyport_{metric}"]
    assert value("connections_accepted_total", listener="main") == 7
    assert value("connections_refused_total", listener="main", reason="policy") == 1
    assert value("sessions", command="connect") == 1
    assert value("sessions_started_total", command="connect", verdict="allowed") == 4
    assert value("sessions_started_total", command="connect", verdict="denied") == 1
    assert value("sessions_started_total", command="connect", verdict="failed") == 1
    assert value("bytes_total", direction="up", transport="tcp") == 15
    assert value("bytes_total", direction="down", transport="tcp") == 15
    assert value("session_duration_seconds_count", command="connect") == 3
    assert value("connect_seconds_count") >= 4
    assert value("handshake_seconds_count", version="5") == 6
    assert value("audit_records_total", event="session-start") == 4
    assert value("audit_records_total", event="session-end") == 3
    assert value("audit_state", state="ok") == 1
    assert value("policy_rules") == 2
    assert value("rule_matches_total", rule="one", verdict="allow") == 5
    assert value("rule_matches_total", rule="no", verdict="deny") == 1
    assert value("rule_matches_total", rule="policy-default", verdict="deny") == 1
    assert value("rule_last_match_timestamp_seconds", rule="no") > 1e9
    assert 'sallyport_rule_last_match_timestamp_seconds{rule="builtin:self"}' not in got
    assert got['process_start_time_seconds{role="parent"}'] > 1e9
    server.run("reload")
    server.daemon.write_config("nonsense")
    server.run("reload", status=1)
    # what the parent counts it tells by itself, behind its answer
    name = 'sallyport_policy_reloads_total{result="refused"}'
    until(lambda: values(fetch(server)[1])[name] == 1, "the reload that was refused")
    got = values(fetch(server)[1])
    assert value("policy_reloads_total", result="taken") == 1


def test_histograms_are_whole(page, targets):
    server = page()
    echo = targets()
    for _ in range(5):
        client = server.daemon.client()
        assert client.connect5("127.0.0.1", echo.port).code == 0
        client.close()
    until(lambda: values(fetch(server)[1])
          ['sallyport_session_duration_seconds_count{command="connect"}'] == 5, "five ends")
    buckets = {}
    for key, value in values(fetch(server)[1]).items():
        found = re.match(r'(\w+)_bucket\{(.*?),?le="([^"]+)"\}$', key)
        if found:
            buckets.setdefault((found[1], found[2]), []).append((float(found[3]), value))
    assert len(buckets) > 8
    counts = values(fetch(server)[1])
    for (name, labels), row in buckets.items():
        assert [b for b, _ in row] == sorted(b for b, _ in row) and row[-1][0] == float("inf")
        assert [v for _, v in row] == sorted(v for _, v in row)
        if "lag" not in name:
            key = f"{name}_count{{{labels}}}" if labels else f"{name}_count"
            assert counts[key] == row[-1][1]


def test_a_dead_worker_leaves_its_counts(page, targets):
    server = page(settings={"workers": 1})
    server.daemon.crash_expected = True
    echo = targets()
    client = server.daemon.client()
    assert client.connect5("127.0.0.1", echo.port).code == 0
    victim = server.daemon.workers()[0]
    os.kill(victim, 9)
    until(lambda: server.daemon.workers() not in ([], [victim]), "another worker")
    until(lambda: values(fetch(server)[1])["sallyport_worker_restarts_total"] == 1, "one restart")
    got = values(fetch(server)[1])
    assert got['sallyport_sessions_started_total{command="connect",verdict="allowed"}'] == 1
    assert got['sallyport_sessions{command="connect"}'] == 0
    # its end is counted by the word that the ledger has for it
    assert got['sallyport_sessions_ended_total{command="connect",reason="worker-crash"}'] == 1
    assert server.json("status")[0]["counts"]["ended"] == 1


def test_openmetrics(page):
    server = page()
    kind, text = fetch(server, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n") and "# TYPE sallyport_sessions_started counter\n" in text
    families = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, _ = line.split(" ")
            assert name not in families
            families.add(name)
    for key in values(text):
        name = key.split("{")[0]
        assert name in families or re.sub("_(total|bucket|sum|count)$", "", name) in families, key
    told = server.run("metrics", "--openmetrics")
    assert told.endswith("# EOF\n")
    assert set(values(told)) == set(values(text))
    kind, text = fetch(server)
    assert kind.startswith("text/plain; version=0.0.4") and "# EOF" not in text


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/", 404), ("GET", "/metrics/x", 404), ("POST", "/metrics", 405),
    ("DELETE", "/metrics", 405), ("HEAD", "/metrics", 200)])
def test_what_else_is_asked(page, method, path, status):
    server = page()
    request = urllib.request.Request(server.url.replace("/metrics", path), method=method,
                                     data=b"x" * 100000 if method == "POST" else None)
    try:
        got = urllib.request.urlopen(request, timeout=PATIENCE).status
    except urllib.error.HTTPError as error:
        got = error.code
    except (ConnectionResetError, BrokenPipeError, urllib.error.URLError):
        got = 405 if method == "POST" else None  # refused before its body was read
    assert got == status


def test_hanging_and_garbage_clients_are_cut(page):
    server = page()
    hanging = []
    for start in (b"", b"GET /metrics HTTP/1.1\r\nX: ", b"\x05\x01\x00"):
        sock = socket.create_connection(server.at, PATIENCE + 15)
        sock.sendall(start)
        hanging.append(sock)
    assert "sallyport_build_info" in fetch(server)[1]
    garbage = socket.create_connection(server.at, PATIENCE)
    garbage.sendall(b"A" * 40000)
    try:
        while garbage.recv(65536):
            pass
    except ConnectionResetError:
        pass
    for sock in hanging:
        try:
            while sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        sock.close()
    assert server.json("status")[0]["processes"]


def test_many_clients_of_the_page(page):
    server = page()
    socks = [socket.create_connection(server.at, PATIENCE) for _ in range(80)]
    assert server.json("status")  # it takes 32 at once; the others wait
    for sock in socks:
        sock.close()
    until(lambda: "sallyport_build_info" in fetch(server)[1], "the page again")


def test_prometheus_scrapes_it(page, tmp_path):
    server = page()
    own = net.fresh_address() + ":9090"
    config = tmp_path / "prometheus.yml"
    config.write_text("scrape_configs:\n- job_name: s\n  scrape_interval: 1s\n  scrape_timeout: 1s\n"
                      f"  static_configs:\n  - targets: ['{server.at[0]}:{server.at[1]}']\n",
                      encoding="ascii")
    process = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address={own}"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, preexec_fn=net.die_with_parent)

    def query(text):
        url = f"http://{own}/api/v1/query?query={text}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return None
    try:
        up = until(lambda: [r for r in query("up") or () if r["value"][1] == "1"],
                   "Prometheus to have scraped", seconds=PATIENCE * 3, every=0.2)
        assert up[0]["metric"]["job"] == "s"
        assert query("sallyport_policy_rules")[0]["value"][1] == "1"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_the_page_cannot_be_reached_through_the_proxy(page):
    """builtin:self, although a rule allows all of loopback."""
    server = page()
    client = server.daemon.client()
    assert client.connect5(*server.at).code == 2


def test_metrics_without_a_control_socket(daemons):
    at = net.fresh_address()
    daemon = daemons(settings={"metrics": {"address": at}})
    with urllib.request.urlopen(f"http://{at}:9108/metrics", timeout=PATIENCE) as answer:
        assert b"sallyport_build_info" in answer.read()
    assert [p for p in daemon.processes() if "control" in daemon.role(p)]
