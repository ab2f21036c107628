"""UDP ASSOCIATE by hand: an association, its datagrams, and targets that answer."""
import ipaddress
import socket
import struct
import threading

from harness.net import fresh_address
from harness.socks import UDP, is_address
from harness.wait import PATIENCE


def header(host, port, rsv=0, frag=0, name=False):
    """RSV FRAG ATYP address port; host: an address or a name (bytes or str)."""
    literal = None if name or isinstance(host, bytes) else is_address(host)
    if literal is not None:
        where = bytes([1 if literal.version == 4 else 4]) + literal.packed
    else:
        raw = host if isinstance(host, bytes) else host.encode()
        where = bytes([3, len(raw)]) + raw
    return struct.pack("!HB", rsv, frag) + where + struct.pack("!H", port)


def split(datagram):
    """(address, port, data) of a datagram that the server sent."""
    assert datagram[:3] == b"\0\0\0" and datagram[3] in (1, 4), datagram[:24]
    size = 4 if datagram[3] == 1 else 16
    return (str(ipaddress.ip_address(datagram[4:4 + size])),
            struct.unpack("!H", datagram[4 + size:6 + size])[0], datagram[6 + size:])


class Association:
    """A control connection and a UDP socket beside it.

    announce: the address and port of the request; "own": those of our socket.  sock: one that
    others use as well.
    """

    def __init__(self, daemon, announce=("0.0.0.0", 0), source=None, at=None, sock=None):
        self.control = daemon.client(source=source) if at is None else daemon.client6()
        self.sock = sock or self.open_socket(self.control.name[0])
        self.port = self.control.port  # what the ledger knows it by
        if announce == "own":
            announce = self.sock.getsockname()[:2]
        self.reply = self.control.connect5(*announce, command=UDP)
        self.relay = (self.reply.address, self.reply.port)

    @staticmethod
    def open_socket(host):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind((host, 0))
        sock.settimeout(PATIENCE)
        return sock

    def __enter__(self):
        assert self.reply.code == 0, self.reply
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()
        self.control.close()

    def raw(self, datagram, sock=None):
        (sock or self.sock).sendto(datagram, self.relay)

    def send(self, data, at, **how):
        self.raw(header(*at[:2], **how) + data)

    def receive(self):
        """(data, (address, port))"""
        datagram, peer = self.sock.recvfrom(65536)
        assert peer[:2] == self.relay or self.relay[0] not in peer, peer
        address, port, data = split(datagram)
        return data, (address, port)

    def ask(self, data, at, **how):
        """Sends, and the answer's data; it must come from the same address."""
        self.send(data, at, **how)
        data, _ = self.receive()
        return data

    def is_quiet(self, seconds=0.2):
        self.sock.settimeout(seconds)
        try:
            raise AssertionError(f"expected silence, got {self.sock.recv(65536)[:80]!r}")
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(PATIENCE)


class UdpTarget:
    """Answers each datagram with what behave(data, peer) gives: bytes, a list of them, or None."""

    def __init__(self, behave=lambda data, peer: data, host=None, port=0):
        host = host or fresh_address()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.bind((host, port))
        self.at = self.sock.getsockname()[:2]
        self.host, self.port = self.at
        self.behave = behave
        self.got = []  # (data, peer)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            data, peer = self.sock.recvfrom(65536)
            if data == b"stop this target":
                return
            self.got.append((data, peer[:2]))
            answers = self.behave(data, peer)
            if answers is None:
                continue
            for answer in answers if isinstance(answers, list) else [answers]:
                self.sock.sendto(answer, peer)

    def close(self):
        with socket.socket(self.sock.family, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop this target", self.at)
        self._thread.join(10)
        self.sock.close()
