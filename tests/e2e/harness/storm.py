"""Clients that open and close sessions as fast as they can, and remember what they saw."""
import collections
import errno
import selectors
import socket
import struct
import threading
import time

from harness.socks import greeting, request5
from harness.wait import PATIENCE, until

GRANTED = b"\x05\x00\x05\x00\x00\x01"
ANSWER = 2 + 10 + 1  # method, reply, one byte of the target's echo
STUCK_S = 30


class _Try:
    __slots__ = ("sock", "port", "got", "since")


class Storm:
    """`count` clients in one thread.  Each: connect, greeting, request and a byte in one, until
    the echo of the byte is back; then again.

    granted: {source port: sessions that were answered with success}; attempts: the same of all
    that were connected.  slowest: the longest time from connect to echo.
    """

    def __init__(self, at, port, count=200):
        self.at = at
        self.hello = greeting() + request5("127.0.0.1", port) + b"!"
        self.granted = collections.Counter()
        self.echoed = 0
        self.attempts = collections.Counter()
        self.errors = collections.Counter()
        self.slowest = 0.0
        self.stuck = []
        self._count = count
        self._stop = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._live = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _open(self):
        one = _Try()
        one.sock = socket.socket()
        one.sock.setblocking(False)
        one.got = b""
        one.since = time.monotonic()
        error = one.sock.connect_ex(self.at)
        if error not in (0, errno.EINPROGRESS):
            self.errors[error] += 1
            one.sock.close()
            return
        one.port = one.sock.getsockname()[1]
        self._live.add(one)
        self._selector.register(one.sock, selectors.EVENT_WRITE, one)

    def _close(self, one, error=None):
        if error is not None:
            self.errors[error] += 1
        if one.got.startswith(GRANTED):
            self.granted[one.port] += 1
        self._live.discard(one)
        self._selector.unregister(one.sock)
        # a reset: no TIME_WAIT eats up the ports
        one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.sock.close()

    def _ready(self, one, events):
        try:
            if events & selectors.EVENT_WRITE:
                one.sock.send(self.hello)
                self.attempts[one.port] += 1
                self._selector.modify(one.sock, selectors.EVENT_READ, one)
                return
            data = one.sock.recv(64)
        except OSError as error:
            self._close(one, error.errno)
            return
        one.got += data
        if not data:
            self._close(one, "closed")
        elif len(one.got) >= ANSWER:
            self.slowest = max(self.slowest, time.monotonic() - one.since)
            self.echoed += 1
            self._close(one)

    def _run(self):
        while not self._stop.is_set():
            while len(self._live) < self._count:
                before = len(self._live)
                self._open()
                if len(self._live) == before:
                    break
            for key, events in self._selector.select(0.05):
                self._ready(key.data, events)
            late = time.monotonic() - STUCK_S
            for one in [t for t in self._live if t.since < late]:
                self.stuck.append(one.port)
                self._close(one, "stuck")
        for one in list(self._live):
            self._close(one, "stopped")
        self._selector.close()

    def wait(self, more, seconds=None):
        """Until so many more sessions were served."""
        before = self.echoed
        until(lambda: self.echoed >= before + more,
              lambda: f"{more} sessions, there were {self.echoed - before}; {self.errors}",
              3 * PATIENCE if seconds is None else seconds)

    def stop_at_once(self):
        self._stop.set()
        self._thread.join(5)

    def stop(self):
        self._stop.set()
        self._thread.join(3 * PATIENCE)
        assert not self._thread.is_alive()
        assert not self.stuck, f"clients that hung: {self.stuck}"
        return self


def check_told_once(daemon, storm, records=None):
    """Each session that a client saw succeed has one start and one end; no session has anything
    twice; numbers have no gap; every start has its end."""
    def actions():
        table = {}
        for record in records() if records else daemon.ledger.records():
            if "socks" in record and "session" in record["socks"]:
                table.setdefault(record["socks"]["session"], []).append(record)
        return table

    def open_ones():
        return [s for s, r in actions().items() if r[-1]["event"]["action"] == "session-start"]
    until(lambda: not open_ones(), lambda: f"the ends of {len(open_ones())} sessions: "
          f"{open_ones()[:5]}", 3 * PATIENCE, every=0.3)

    def missing():
        starts = collections.Counter(r[0]["source"]["port"] for r in actions().values()
                                     if r[0]["event"]["action"] == "session-start")
        return storm.granted - starts
    until(lambda: not missing(), lambda: f"starts of sessions that were granted: {missing()}",
          PATIENCE, every=0.3)
    good = (["session-start", "session-end"], ["session-deny"], ["session-fail"], ["session-end"])
    for session, told in actions().items():
        words = [r["event"]["action"] for r in told]
        assert words in good, (session, words, told)
    starts = collections.Counter(r[0]["source"]["port"] for r in actions().values()
                                 if r[0]["event"]["action"] == "session-start")
    assert not starts - storm.attempts, f"starts of nobody: {starts - storm.attempts}"
    seqs = [r["audit"]["seq"] for r in (records() if records else daemon.ledger.records())]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), next(
        (a, b) for a, b in zip(seqs, seqs[1:]) if b != a + 1)
