"""sallyctl log: the ledger for people."""
import json
import os
import re
import signal
import subprocess

from harness import net
from harness.wait import PATIENCE, until


def made(daemons, targets, **kwargs):
    """A server with an allowed, a denied and a failed session."""
    daemon = daemons(rules="""
      no: { action = "deny"; from = "127.0.0.2"; to = "127.0.0.9" }
      yes: { action = "allow"; from = "loopback"; to = "loopback" }
    """, **kwargs)
    echo = targets()
    client = daemon.client(source="127.0.0.3")
    assert client.connect5("127.0.0.1", echo.port).code == 0
    client.send(b"12345").read(5)
    client.close()
    daemon.ledger.last_of(client)
    denied = daemon.client(source="127.0.0.2")
    assert denied.connect5("127.0.0.9", echo.port).code == 2
    failed = daemon.client(source="127.0.0.2")
    assert failed.connect5("127.0.0.1", 1).code == 5
    named = daemon.client(source="127.0.0.3")
    assert named.connect5("localhost", echo.port).code == 0
    named.close()
    for each in (denied, failed, named):
        daemon.ledger.last_of(each)
    return daemon, echo


def log(build, *args, status=0, **kwargs):
    done = subprocess.run([os.path.join(build, "sallyctl"), "log", *args], check=False,
                          capture_output=True, timeout=PATIENCE,
                          env={**os.environ, "TZ": "UTC"}, **kwargs)
    assert done.returncode == status, done
    return (done.stdout + done.stderr).decode()


def test_lines(daemons, targets, build):
    daemon, echo = made(daemons, targets)
    text = log(build, "-c", daemon.config)
    assert text == log(build, daemon.audit)
    lines = text.splitlines()
    words = [line.split()[2] for line in lines]
    assert words[:2] == ["audit", "policy"] and {"start", "end", "deny", "fail"} <= set(words)
    assert "\033" not in text and "signed" not in words
    end = next(line for line in lines if line.split()[2] == "end")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d end +127\.0\.0\.3:\d+ > "
                    rf"127\.0\.0\.1:{echo.port}  rule yes  5 B up, 5 B down, .*client-closed$", end)
    record = daemon.ledger.find(lambda r: r["event"]["action"] == "session-end")[0]
    assert end.startswith(record["@timestamp"][:19].replace("T", " "))
    deny = next(line for line in lines if line.split()[2] == "deny")
    assert "127.0.0.9" in deny and "rule no" in deny and deny.endswith("denied")


def test_filters(daemons, targets, build):
    daemon, _ = made(daemons, targets)

    def count(*args):
        return len(log(build, daemon.audit, *args).splitlines())
    assert count("--event", "session-deny") == 1
    assert count("--rule", "no") == 1
    assert count("--source", "127.0.0.2") == 2
    assert count("--source", "127.0.0.0/8") == 6
    assert count("--destination", "127.0.0.9") == 1
    assert count("--destination", "localhost") == 2
    assert count("--user", "ann") == 0
    assert count("--source", "127.0.0.2", "--event", "session-fail") == 1
    lines = log(build, daemon.audit, "--json", "--event", "session-end").splitlines()
    assert [json.loads(x)["event"]["action"] for x in lines] == ["session-end"] * 2
    assert lines[0].encode() in daemon.ledger.lines()
    assert "takes an address" in log(build, daemon.audit, "--source", "x", status=2)


def test_last_lines(daemons, targets, build, tmp_path):
    path = tmp_path / "big"
    rows = [json.dumps({"@timestamp": "2026-11-24T09:14:07.482913Z", "message": f"number {i}",
                        "event": {"action": "audit-start"}, "pad": "x" * 900}) for i in range(3000)]
    path.write_text("\n".join(rows) + "\n", encoding="ascii")
    assert len(log(build, str(path)).splitlines()) == 3000
    for n in (1, 2, 1000, 2999, 3000, 4000):
        lines = log(build, "-n", str(n), str(path)).splitlines()
        assert len(lines) == min(n, 3000) and lines[-1].endswith("number 2999")
        assert lines[0].endswith(f"number {max(0, 3000 - n)}")
    assert "takes a number" in log(build, "-n", "0", str(path), status=2)


def test_what_is_no_record(build, tmp_path):
    path = tmp_path / "odd"
    path.write_bytes(b"\x1b[31mred\x07\nnot json\n{\"event\":{\"action\":\"session-start\"}}\n"
                     b'{"event":{"action":"session-end","reason":"\\u001b[2J"},"source":7}\nlast')
    text = log(build, str(path))
    assert "\033" not in text and "\x07" not in text
    assert "\\x1b[31mred\\x07" in text and "not json" in text and text.endswith("last\n")
    assert "start" in text and "\\x1b[2J" in text
    with open(path, "rb") as file:
        assert log(build, "-", stdin=file) == text
    assert "cannot read" in log(build, str(tmp_path / "none"), status=2)


def test_follow_over_a_rotation(daemons, targets, build):
    daemon, echo = made(daemons, targets)
    process = subprocess.Popen([os.path.join(build, "sallyctl"), "log", "-f", "-n", "2",
                                "-c", daemon.config], stdout=subprocess.PIPE, text=True,
                               preexec_fn=net.die_with_parent)
    seen = []

    def wait(what):
        while what not in (seen[-1] if seen else ""):
            line = process.stdout.readline()
            assert line, seen
            seen.append(line)
    try:
        for _ in range(3):
            client = daemon.client(source="127.0.0.4")
            assert client.connect5("127.0.0.1", echo.port).code == 0
            wait(f"start  127.0.0.4:{client.port}")
            client.close()
            wait("client-closed")
            os.rename(daemon.audit, daemon.audit + ".old")
            daemon.signal(signal.SIGUSR1)
            until(lambda: os.path.exists(daemon.audit), "another file")
            wait("audit-rotate")
        assert len([s for s in seen if " start  127.0.0.4:" in s]) == 3
    finally:
        process.terminate()
        process.wait(PATIENCE)
        daemon.stop(checks=False)  # its ledger is in four files


def test_nobody_reads(daemons, targets, build):
    daemon, _ = made(daemons, targets)
    process = subprocess.Popen([os.path.join(build, "sallyctl"), "log", "-f", daemon.audit],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    daemon.client().close()
    process.terminate()
    assert process.wait(PATIENCE) is not None
    assert process.stderr.read() == b""


def test_records_on_the_standard_output(daemons, build):
    daemon = daemons(start=False)
    daemon.settings["audit"]["file"] = "stdout"
    daemon.write_config()
    assert "there is no file" in log(build, "-c", daemon.config, status=2)
