"""Limits: over one, a client is refused early and counted; below it again, all is well."""
import os
import signal
import time

import pytest

from harness.socks import greeting, request5
from harness.targets import sink
from harness.wait import until


def refused(daemon, **client):
    """A client that is turned away promptly."""
    with daemon.client(**client) as c:
        c.sock.settimeout(5)
        start = time.monotonic()
        try:
            c.send(greeting())
            assert c.read_end() in (b"", b"\x05\xff")
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert time.monotonic() - start < 4
        record = daemon.ledger.last_of(c)
        assert record["event"]["reason"] == "limit"
        assert record["event"]["action"] == "session-deny"


def session(daemon, port, **client):
    c = daemon.client(**client)
    assert c.connect5("127.0.0.1", port).code == 0
    return c


@pytest.mark.parametrize("workers", [1, 2])
def test_sessions_in_all(daemons, targets, workers):
    """Counted across all workers."""
    daemon = daemons(settings={"workers": workers, "limits": {"sessions": 6}})
    target = targets(sink)
    clients = [session(daemon, target.port) for _ in range(6)]
    for _ in range(3):
        refused(daemon)
    clients.pop().close()
    until(lambda: len(daemon.ledger.find(lambda r: r["event"]["action"] == "session-end")) == 1,
          "an end")
    clients.append(session(daemon, target.port))
    refused(daemon)
    for client in clients:
        client.close()


def test_sessions_per_source(daemons, targets):
    daemon = daemons(settings={"limits": {"sessions-per-source": 3}})
    target = targets(sink)
    clients = [session(daemon, target.port, source="127.5.0.1") for _ in range(3)]
    refused(daemon, source="127.5.0.1")
    clients += [session(daemon, target.port, source="127.5.0.2") for _ in range(3)]
    refused(daemon, source="127.5.0.2")
    clients[0].close()
    daemon.ledger.last_of(clients[0])
    clients.append(session(daemon, target.port, source="127.5.0.1"))
    for client in clients:
        client.close()


def test_a_source_may_be_a_network(daemons, targets):
    daemon = daemons(settings={"limits": {"sessions-per-source": 2, "source-prefix4": 24}})
    target = targets(sink)
    clients = [session(daemon, target.port, source=f"127.5.0.{i}") for i in (1, 2)]
    refused(daemon, source="127.5.0.3")
    clients.append(session(daemon, target.port, source="127.5.1.3"))
    for client in clients:
        client.close()


def test_handshakes(daemons, targets):
    daemon = daemons(settings={"limits": {"handshakes": 4}})
    target = targets(sink)
    slow = [daemon.client() for _ in range(4)]
    for client in slow:
        assert client.greet() == b"\x05\x00"
    refused(daemon)
    # one finishes: another may begin
    slow[0].send(request5("127.0.0.1", target.port))
    assert slow[0].reply5().code == 0
    with daemon.client() as client:
        assert client.greet() == b"\x05\x00"
        refused(daemon)
    daemon.ledger.last_of(client)
    clients = [session(daemon, target.port) for _ in range(8)]  # sessions are no handshakes
    for client in slow + clients:
        client.close()


def test_silent_connections_are_handshakes(daemons, echo):
    """Not a byte sent: they count, and the deadline clears them."""
    daemon = daemons(settings={"workers": 1, "limits": {"handshakes": 4},
                               "timeouts": {"handshake": "3 s"}})
    silent = [daemon.client() for _ in range(4)]
    refused(daemon)  # one worker: they are taken in the order they came
    for client in silent:
        assert client.read_end() == b""
    for client in silent:
        assert daemon.ledger.last_of(client)["event"]["reason"] == "handshake-timeout"
        client.close()
    session(daemon, echo.port).close()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_descriptors_exhausted(daemons, crowds):
    """A prompt refusal, never a hang, no spinning; and it recovers."""
    crowd = crowds()
    daemon = daemons(start=False, settings={"workers": 1})
    daemon.start(nofile=128)
    clients = []
    for _ in range(100):
        client = daemon.client()
        client.sock.settimeout(5)
        try:
            client.send(greeting() + request5("127.0.0.1", crowd.port))
            if client.read(2) == b"\x05\x00" and client.reply5().code == 0:
                clients.append(client)
                continue
        except (OSError, AssertionError) as error:
            assert not isinstance(error, TimeoutError), "a client hangs"
        client.close()
    assert 20 <= len(clients) < 64, len(clients)
    before = cpu_seconds(daemon.workers()[0])
    # those that stand go on
    for client in clients:
        assert client.send(b"works").read(5) == b"works"
    time.sleep(1)
    assert cpu_seconds(daemon.workers()[0]) - before < 0.5, "the worker spins"
    for client in clients:
        client.close()
    until(lambda: crowd.live == 0, "the sessions to end")

    def works():
        try:
            with daemon.client() as client:
                return client.connect5("127.0.0.1", crowd.port).code == 0
        except (OSError, AssertionError):
            return False
    until(works, "a session")


def test_a_flood_of_junk_hurts_nobody(daemons, echo):
    daemon = daemons()
    live = session(daemon, echo.port)
    for i in range(300):
        with daemon.client() as client:
            client.send(os.urandom(30))
            if i % 3 == 0:
                client.reset()
    assert live.send(b"fine").read(4) == b"fine"
    live.close()
    session(daemon, echo.port).close()


@pytest.mark.slow
def test_no_record_no_session(daemons, crowds, sanitized):
    """The ledger stands still: when its backlog is full, new sessions are refused; when it goes on,
    all that was promised is written."""
    if sanitized:
        pytest.skip("takes minutes under sanitizers")
    crowd = crowds()
    daemon = daemons(settings={"workers": 1, "limits": {"sessions": 64}})
    hello = greeting() + request5("127.0.0.1", crowd.port)
    ledger = daemon.ledger_pid()
    os.kill(ledger, signal.SIGSTOP)
    good = 0
    try:
        for _ in range(2500):
            batch = [daemon.client() for _ in range(16)]
            granted = 0
            for client in batch:
                try:
                    client.send(hello)
                    client.read(2)
                    granted += client.reply5().code == 0
                except (OSError, AssertionError):
                    pass
            for client in batch:
                client.reset()
            good += granted
            if granted == 0:
                break
        else:
            raise AssertionError(f"{good} sessions without a record, and no end")
    finally:
        os.kill(ledger, signal.SIGCONT)
    daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", f"{good} ends",
                       count=good, seconds=60)
    assert len(daemon.ledger.find(lambda r: r["event"]["action"] == "session-start")) == good
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", crowd.port).code == 0


def test_limits_change_with_a_reload(daemons, targets):
    """Settings that can change without a restart do."""
    daemon = daemons(settings={"limits": {"sessions-per-source": 2}})
    target = targets(sink)
    clients = [session(daemon, target.port) for _ in range(2)]
    refused(daemon)
    assert daemon.reload(settings={"limits": {"sessions-per-source": 4}})["event"]["action"] == \
        "policy-load"
    clients += [session(daemon, target.port) for _ in range(2)]
    refused(daemon)
    for client in clients:
        client.close()
