"""The relay: much at once, half-close and reset both ways, slow readers, crowds, limits in time."""
import hashlib
import os
import resource
import select
import signal
import socket
import struct
import threading
import time

import pytest

from harness import net
from harness.socks import greeting, request5
from harness.targets import hold, say_and_close
from harness.wait import until

MIB = 1 << 20


def stream(sock, total, seed, digest):
    """Writes total bytes of which no two blocks are the same; half-closes."""
    block = bytearray(os.urandom(256 * 1024))
    sent = number = 0
    while sent < total:
        struct.pack_into("!QQ", block, 0, seed, number)
        piece = memoryview(block)[:min(len(block), total - sent)]
        digest.update(piece)
        sock.sendall(piece)
        sent += len(piece)
        number += 1
    sock.shutdown(socket.SHUT_WR)


def drink(sock, digest):
    """Reads to the end; how many bytes that were."""
    total = 0
    buffer = bytearray(256 * 1024)
    while True:
        n = sock.recv_into(buffer)
        if n == 0:
            return total
        digest.update(memoryview(buffer)[:n])
        total += n


def both_ways(client, target, up, down):
    """Streams up and down at once between two sockets; True if all came whole."""
    hashes = [hashlib.blake2b() for _ in range(4)]
    counts = {}

    def reader(name, sock, digest):
        counts[name] = drink(sock, digest)
    threads = [
        threading.Thread(target=stream, args=(client, up, 1, hashes[0])),
        threading.Thread(target=reader, args=("up", target, hashes[1])),
        threading.Thread(target=stream, args=(target, down, 2, hashes[2])),
        threading.Thread(target=reader, args=("down", client, hashes[3])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {"up": up, "down": down}
    assert hashes[0].digest() == hashes[1].digest()
    assert hashes[2].digest() == hashes[3].digest()


@pytest.mark.slow
def test_100_mb_both_ways_at_once(daemon, targets):
    target = targets(hold)
    with daemon.client() as client:
        assert client.connect5("127.0.0.1", target.port).code == 0
        client.sock.settimeout(120)
        sock = target.take()
        sock.settimeout(120)
        both_ways(client.sock, sock, 100 * MIB + 7, 100 * MIB + 13)
    end = daemon.ledger.last_of(client)
    assert (end["source"]["bytes"], end["destination"]["bytes"]) == (100 * MIB + 7, 100 * MIB + 13)


@pytest.mark.parametrize("up,down", [(1, 1), (4095, 65537), (0, 3 * MIB + 1), (3 * MIB + 1, 0),
                                     (MIB, MIB)])
def test_both_ways(daemon, targets, up, down):
    target = targets(hold)
    with daemon.client() as client:
        assert client.connect4("127.0.0.1", target.port).code == 90
        both_ways(client.sock, target.take(), up, down)
    end = daemon.ledger.last_of(client)
    assert (end["source"]["bytes"], end["destination"]["bytes"]) == (up, down)


def test_many_streams_at_once(daemon, targets):
    target = targets(hold)
    clients, threads, failures = [], [], []
    for _ in range(16):
        client = daemon.client()
        assert client.connect5("127.0.0.1", target.port).code == 0
        clients.append((client, target.take()))

    def run(client, sock):
        try:
            both_ways(client.sock, sock, 2 * MIB, 2 * MIB)
        except (AssertionError, OSError) as error:
            failures.append(error)
    for client, sock in clients:
        threads.append(threading.Thread(target=run, args=(client, sock)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    for client, _ in clients:
        client.close()
    assert not failures


# -- half-close and reset -----------------------------------------------------

def test_half_close_by_the_client(daemon, targets):
    target = targets(hold)
    with daemon.client() as client:
        client.connect5("127.0.0.1", target.port)
        sock = target.take()
        client.send(b"question")
        client.fin()
        assert sock.recv(100, socket.MSG_WAITALL) == b"question"
        assert client.is_quiet(0.2)
        for i in range(20):  # data still flows back
            sock.sendall(b"answer %02d;" % i)
        sock.close()
        assert client.read_end() == b"".join(b"answer %02d;" % i for i in range(20))
    end = daemon.ledger.last_of(client)
    assert (end["source"]["bytes"], end["destination"]["bytes"]) == (8, 200)
    assert end["event"]["reason"] == "client-closed"


def test_half_close_by_the_target(daemon, targets):
    target = targets(hold)
    with daemon.client() as client:
        client.connect5("127.0.0.1", target.port)
        sock = target.take()
        sock.sendall(b"banner")
        sock.shutdown(socket.SHUT_WR)
        assert client.read_end() == b"banner"
        client.send(b"still talking" * 1000)
        client.fin()
        got = bytearray()
        while piece := sock.recv(65536):
            got += piece
        assert bytes(got) == b"still talking" * 1000
    assert daemon.ledger.last_of(client)["event"]["reason"] == "target-closed"


def test_last_bytes_before_a_close_arrive(daemon, targets):
    """Nothing is lost at close."""
    text = os.urandom(MIB)
    target = targets(say_and_close(text))
    for _ in range(5):
        with daemon.client() as client:
            client.connect5("127.0.0.1", target.port)
            assert client.read_end() == text


def reset_of(sock):
    """Waits until the socket was reset."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def test_reset_by_the_client(daemon, targets):
    target = targets(hold)
    client = daemon.client()
    client.connect5("127.0.0.1", target.port)
    sock = target.take()
    client.send(b"x")
    assert sock.recv(1) == b"x"
    client.reset()
    assert reset_of(sock), "the target saw a FIN, not a RST"
    assert daemon.ledger.last_of(client)["event"]["reason"] == "client-reset"


def test_reset_by_the_target(daemon, targets):
    target = targets(hold)
    with daemon.client() as client:
        client.connect5("127.0.0.1", target.port)
        sock = target.take()
        sock.sendall(b"x")
        assert client.read(1) == b"x"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert reset_of(client.sock), "the client saw a FIN, not a RST"
    assert daemon.ledger.last_of(client)["event"]["reason"] == "target-reset"


def test_reset_behind_a_half_close(daemon, targets):
    """The client said FIN; then the target resets."""
    target = targets(hold)
    with daemon.client() as client:
        client.connect5("127.0.0.1", target.port)
        sock = target.take()
        client.fin()
        assert sock.recv(1) == b""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert reset_of(client.sock)
    daemon.ledger.last_of(client)


def test_client_that_vanishes_while_much_flows(daemon, targets):
    """A close with unread data is a RST on the wire; both sides are freed."""
    target = targets(hold)
    client = daemon.client()
    client.connect5("127.0.0.1", target.port)
    sock = target.take()
    sock.setblocking(False)
    fill(sock)
    client.close()
    record = daemon.ledger.last_of(client)
    assert record["event"]["reason"] == "client-reset"


def fill(sock, quiet=0.5, most=1 << 40):
    """Writes until nothing more is taken for a while; how much that was."""
    block = b"\xa5" * 65536
    sock.setblocking(False)
    total = 0
    last = time.monotonic()
    while time.monotonic() - last < quiet and total < most:
        if not select.select([], [sock], [], 0.05)[1]:
            continue
        try:
            total += sock.send(block)
            last = time.monotonic()
        except BlockingIOError:
            pass
    return total


# -- slow readers -------------------------------------------------------------

def test_a_slow_reader_stops_the_fast_writer(daemon, targets, sanitized):
    target = targets(hold)
    with daemon.client(rcvbuf=16384) as client:
        client.connect5("127.0.0.1", target.port)
        sock = target.take()
        worker = daemon.worker_of(client)
        before = net.memory_kib(worker)
        sent = fill(sock, most=256 * MIB)
        assert sent < 64 * MIB, f"{sent} bytes were taken that nobody reads"
        grown = net.memory_kib(worker) - before
        assert sanitized or grown < 4096, f"the worker grew by {grown} KiB"
        sock.shutdown(socket.SHUT_WR)
        # and then all of it arrives
        assert len(client.read_end()) == sent
    assert daemon.ledger.last_of(client)["destination"]["bytes"] == sent


def test_many_slow_readers_cost_no_memory(daemons, targets, sanitized):
    daemon = daemons(settings={"workers": 1})
    target = targets(hold)
    worker = daemon.workers()[0]
    # first sessions touch what is touched once
    with daemon.client() as client:
        client.connect5("127.0.0.1", target.port)
        target.take().sendall(b"x" * 300000)
        client.read(300000)
    before = net.memory_kib(worker)
    clients = []
    for _ in range(40):
        client = daemon.client(rcvbuf=4096)
        client.connect5("127.0.0.1", target.port)
        clients.append(client)
        fill(target.take(), quiet=0.05, most=32 * MIB)
    grown = net.memory_kib(worker) - before
    pipes = sum(d.startswith("pipe:") for d in net.descriptors(worker))
    for client in clients:
        client.reset()
    assert sanitized or grown < 8192, f"40 stalled sessions cost {grown} KiB"
    assert pipes <= 256, f"{pipes} pipe ends are lent to sessions that stand still"


def test_a_stalled_session_delays_nobody(daemon, targets, echo):
    target = targets(hold)
    stalled = []
    for _ in range(6):
        client = daemon.client(rcvbuf=4096)
        client.connect5("127.0.0.1", target.port)
        fill(target.take(), quiet=0.05, most=16 * MIB)
        stalled.append(client)
    for _ in range(20):
        with daemon.client() as client:
            assert client.connect5("127.0.0.1", echo.port).code == 0
            assert client.send(b"quick").read(5) == b"quick"
    for client in stalled:
        client.reset()


# -- crowds -------------------------------------------------------------------

@pytest.mark.slow
def test_thousands_of_sessions_at_once(daemons, crowds, sanitized):
    count = 1500 if sanitized else 4000
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(count, (limit - 500) // 2)
    crowd = crowds()
    daemon = daemons()
    clients = []
    hello = greeting() + request5("127.0.0.1", crowd.port)
    for _ in range(count):
        client = daemon.client()
        client.send(hello)
        clients.append(client)
    for client in clients:
        assert client.read(2) == b"\x05\x00"
        assert client.reply5().code == 0
    for number, client in enumerate(clients):
        client.send(struct.pack("!I", number))
    for number, client in enumerate(clients):
        assert client.read(4) == struct.pack("!I", number)
    assert crowd.count == count
    for client in clients:
        client.close()
    ends = daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end",
                              f"{count} ends", count=count, seconds=60)
    assert all(r["source"]["bytes"] == r["destination"]["bytes"] == 4 for r in ends)
    assert {r["source"]["port"] for r in ends} == {c.port for c in clients}


def test_each_worker_serves_each_listener(daemon, crowds):
    """While one of them stands still, the other takes whoever comes."""
    crowd = crowds()
    one, two = daemon.workers()
    everybody = []
    for still, busy in ((one, two), (two, one)):
        os.kill(still, signal.SIGSTOP)
        try:
            clients = [daemon.client() for _ in range(30)]
            for client in clients:
                client.send(greeting() + request5("127.0.0.1", crowd.port) + b"x")
            for client in clients:
                assert client.read(2) == b"\x05\x00"
                assert client.reply5().code == 0
                assert client.read(1) == b"x"
                assert daemon.worker_of(client) == busy
        finally:
            os.kill(still, signal.SIGCONT)
        everybody += clients
    for client in everybody:
        assert client.send(b"y").read(1) == b"y"
        client.close()


# -- limits in time -----------------------------------------------------------

def test_idle(daemons, targets):
    daemon = daemons(settings={"timeouts": {"idle": "800 ms"}})
    target = targets(hold)
    with daemon.client() as client:
        client.connect5("127.0.0.1", target.port)
        sock = target.take()
        for _ in range(8):  # any byte in either direction counts
            time.sleep(0.2)
            sock.sendall(b"x")
            assert client.read(1) == b"x"
        start = time.monotonic()
        try:
            assert client.read_end() == b""
        except ConnectionResetError:
            pass
        assert 0.5 < time.monotonic() - start < 10
        with pytest.raises((ConnectionResetError, BrokenPipeError, EOFError)):
            if sock.recv(1) == b"":
                raise EOFError
    end = daemon.ledger.last_of(client)
    assert (end["event"]["action"], end["event"]["reason"]) == ("session-end", "idle")


def test_idle_holds_for_half_closed_sessions(daemons, targets):
    daemon = daemons(settings={"timeouts": {"idle": "500 ms"}})
    target = targets(hold)
    with daemon.client() as client:
        client.connect5("127.0.0.1", target.port)
        target.take()
        client.fin()
        assert daemon.ledger.last_of(client)["event"]["reason"] == "idle"


def test_a_stalled_reader_is_idle(daemons, targets):
    """No byte moves: the target's kernel is full, the client reads nothing."""
    daemon = daemons(settings={"timeouts": {"idle": "1 s"}})
    target = targets(hold)
    with daemon.client(rcvbuf=4096) as client:
        client.connect5("127.0.0.1", target.port)
        fill(target.take(), most=64 * MIB)
        assert daemon.ledger.last_of(client)["event"]["reason"] == "idle"


def test_no_descriptor_is_left(daemon, echo, targets):
    """Every kind of end; `daemons` compares the sockets of each worker before and after."""
    worker_files = {p: len(net.descriptors(p)) for p in daemon.workers()}
    closer = targets(say_and_close(b"bye"))
    for i in range(60):
        client = daemon.client()
        if i % 6 == 0:
            client.send(b"junk")
        elif i % 6 == 1:
            client.connect5("127.0.0.1", echo.port)
        elif i % 6 == 2:
            client.connect4("127.0.0.1", closer.port)
        elif i % 6 == 3:
            client.connect5(net.fresh_address(), 5)
        elif i % 6 == 4:
            client.send(b"\x05")
        if i % 2:
            client.reset()
        else:
            client.close()
    until(lambda: all(sum(d.startswith("socket:") for d in net.descriptors(p)) <= daemon.baseline[p]
                      for p in worker_files), "the sockets to be closed")
    for pid, count in worker_files.items():
        assert len(net.descriptors(pid)) <= count + 256
