"""SOCKS by hand: bytes out, bytes in, nothing between.

Client is a TCP socket with a deadline on everything; the functions beside it build
and read the messages of SOCKS4, 4a and 5 byte by byte.
"""
import collections
import ipaddress
import socket
import struct

from harness.wait import PATIENCE

Reply = collections.namedtuple("Reply", "code address port")

CONNECT, BIND, UDP = 1, 2, 3

# where Debian keeps the modules of npm, socks (node-socks) among them
NODE = {"NODE_PATH": "/usr/share/nodejs"}


class Client:
    """One TCP connection to the proxy (or to anything)."""

    def __init__(self, at, source=None, rcvbuf=None):
        family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.sock.bind((source, 0))
        try:
            self.sock.connect(at)
        except OSError:
            self.sock.close()
            raise
        self.name = self.sock.getsockname()
        self.port = self.name[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def fin(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, *parts):
        self.sock.sendall(b"".join(parts))
        return self

    def trickle(self, data):
        """Each byte a packet of its own."""
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])

    def read(self, n):
        """Exactly n bytes."""
        data = bytearray()
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise AssertionError(f"closed after {bytes(data)!r}, {n} bytes expected")
            data += more
        return bytes(data)

    def read_end(self, limit=1 << 30):
        """Everything up to the FIN; a reset raises ConnectionResetError."""
        data = bytearray()
        while len(data) < limit:
            more = self.sock.recv(65536)
            if not more:
                break
            data += more
        return bytes(data)

    def is_quiet(self, seconds=0.3):
        """Nothing comes, no end either, for a while."""
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(1, socket.MSG_PEEK)
            raise AssertionError(f"expected silence, got {data!r}" if data else "closed")
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(PATIENCE)

    # -- whole dialogues ------------------------------------------------------

    def greet(self, methods=b"\x00"):
        self.send(greeting(methods))
        return self.read(2)

    def reply5(self):
        return read_reply5(self)

    def reply4(self):
        return read_reply4(self)

    def connect5(self, host, port, command=CONNECT):
        """Greeting and request one after the other; the reply."""
        assert self.greet() == b"\x05\x00"
        self.send(request5(host, port, command))
        return self.reply5()

    def connect4(self, host, port, userid=b"", command=CONNECT):
        self.send(request4(host, port, userid, command))
        return self.reply4()


def is_address(host):
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def greeting(methods=b"\x00"):
    return bytes([5, len(methods)]) + bytes(methods)


def request5(host, port, command=CONNECT, rsv=0, name=False):
    """host: an address or a name (bytes or str); name=True sends a literal as a name."""
    literal = None if name or isinstance(host, bytes) else is_address(host)
    if literal is not None:
        atyp = 1 if literal.version == 4 else 4
        where = bytes([atyp]) + literal.packed
    else:
        raw = host if isinstance(host, bytes) else host.encode()
        where = bytes([3, len(raw)]) + raw
    return bytes([5, command, rsv]) + where + struct.pack("!H", port)


def request4(host, port, userid=b"", command=CONNECT, name=False):
    """SOCKS4 for an IPv4 address, 4a for anything else."""
    literal = None if name or isinstance(host, bytes) else is_address(host)
    if literal is not None and literal.version == 4:
        return struct.pack("!BBH4s", 4, command, port, literal.packed) + userid + b"\0"
    raw = host if isinstance(host, bytes) else host.encode()
    return (struct.pack("!BBH4s", 4, command, port, b"\0\0\0\x07") + userid + b"\0"
            + raw + b"\0")


def read_reply5(client):
    head = client.read(4)
    assert head[0] == 5 and head[2] == 0, head
    assert head[3] in (1, 4), f"a reply's address type is 1 or 4: {head!r}"
    size = 4 if head[3] == 1 else 16
    rest = client.read(size + 2)
    return Reply(head[1], str(ipaddress.ip_address(rest[:size])),
                 struct.unpack("!H", rest[size:])[0])


def read_reply4(client):
    raw = client.read(8)
    assert raw[0] == 0, f"VN of a SOCKS4 reply is 0: {raw!r}"
    return Reply(raw[1], str(ipaddress.ip_address(raw[4:])), struct.unpack("!H", raw[2:4])[0])
