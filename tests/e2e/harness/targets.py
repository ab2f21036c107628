"""TCP targets: what the proxied sessions reach.

Target runs one accept loop and a thread for each connection (fine for hundreds);
Crowd is one thread with an event loop for thousands.  Every socket they accepted
is remembered so that a test can look at it, reset it, or count it.
"""
import selectors
import socket
import struct
import threading

from harness.wait import PATIENCE, until


def listen(host="127.0.0.1", port=0, backlog=1024):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            break
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def sink(sock):
    while sock.recv(65536):
        pass


def banner(text):
    def serve(sock):
        sock.sendall(text)
        sink(sock)
    return serve


def say_and_close(text):
    def serve(sock):
        sock.sendall(text)
    return serve


def hold(sock):
    """Neither reads nor writes: the test has the socket (Target.take)."""


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Target:
    """A listener whose connections are each served by serve(sock) in a thread.

    With serve=hold the test takes the connections itself.
    """

    def __init__(self, serve=echo, host="127.0.0.1", port=0, backlog=1024):
        self.serve = serve
        self.listener = listen(host, port, backlog)
        self.at = self.listener.getsockname()[:2]
        self.host, self.port = self.at
        self.accepted = []
        self.peers = []
        self._taken = 0
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            if self._stop:
                sock.close()
                return
            sock.settimeout(3 * PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers.append(peer)
            self.accepted.append(sock)
            if self.serve is not hold:
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            self.serve(sock)
        except OSError:
            pass  # the other side left: the test looks at what matters to it
        finally:
            sock.close()

    def take(self, seconds=None):
        """The next connection that came, in order."""
        until(lambda: len(self.accepted) > self._taken, f"a connection to {self.at}", seconds)
        sock = self.accepted[self._taken]
        self._taken += 1
        return sock

    def close(self):
        self._stop = True
        try:  # wakes the accept loop
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self._thread.join(PATIENCE)
        for sock in self.accepted:
            sock.close()


class Crowd:
    """An echo server for thousands of connections in one thread."""

    def __init__(self, host="127.0.0.1"):
        self.listener = listen(host, backlog=4096)
        self.listener.setblocking(False)
        self.at = self.host, self.port = self.listener.getsockname()[:2]
        self.count = 0
        self.live = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self.listener:
                    self._accept()
                else:
                    self._echo(key.fileobj)

    def _accept(self):
        for _ in range(64):
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            self.count += 1
            self.live += 1
            self._selector.register(sock, selectors.EVENT_READ)

    def _echo(self, sock):
        try:
            data = sock.recv(65536)
            if data and sock.send(data) == len(data):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.live -= 1
        self._selector.unregister(sock)
        sock.close()

    def close(self):
        self._wake.send(b"x")
        self._thread.join(PATIENCE)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
        self._wake.close()


class BlackHole:
    """An address that answers no SYN: a listener whose queue is full and stays so."""

    def __init__(self, host="127.0.0.1", port=0):
        self.listener = listen(host, port, backlog=0)
        self.at = self.host, self.port = self.listener.getsockname()[:2]
        self.fill = []
        for _ in range(8):
            sock = socket.socket(self.listener.family)
            sock.setblocking(False)
            sock.connect_ex(self.at)
            self.fill.append(sock)
        probe = socket.socket(self.listener.family)
        probe.settimeout(0.3)
        try:
            probe.connect(self.at)
            raise AssertionError("this black hole lets connections in")
        except socket.timeout:
            pass
        finally:
            probe.close()

    def close(self):
        for sock in self.fill:
            sock.close()
        self.listener.close()


def free_port(host="127.0.0.1"):
    """A port on which nothing listens now (and a moment later most probably, too)."""
    sock = listen(host)
    port = sock.getsockname()[1]
    sock.close()
    return port
