"""Name servers on loopback: dnsmasq for everything it can do, and a raw UDP responder for
what no honest server does (hang, count nothing, answer rubbish)."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading

from harness.net import fresh_address
from harness.socks import request4, request5
from harness.wait import until

A, AAAA = 1, 28


def dnsmasq_path():
    return shutil.which("dnsmasq", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class Dnsmasq:
    """Answers for everything under .test from a table {name: [addresses]}."""

    def __init__(self, folder, names, ttl=60, extra=()):
        self.folder = folder
        self.at = fresh_address(), 5353
        self.hosts = os.path.join(folder, "dns-hosts")
        self.log = os.path.join(folder, "dns-log")
        self._write(names)
        self.process = subprocess.Popen(
            [dnsmasq_path(), "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=",
             "--no-resolv", "--no-hosts", "--no-poll", f"--port={self.at[1]}",
             f"--listen-address={self.at[0]}", "--bind-interfaces", f"--local-ttl={ttl}",
             "--user=", "--group=", f"--addn-hosts={self.hosts}", "--local=/test/",
             "--log-queries=extra", f"--log-facility={self.log}", *extra],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until(self._answers, "dnsmasq to answer")

    def _write(self, names):
        with open(self.hosts + ".new", "w", encoding="ascii") as file:
            for name, addresses in names.items():
                for address in addresses:
                    file.write(f"{address} {name}\n")
        os.rename(self.hosts + ".new", self.hosts)

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError("dnsmasq died: " + self.process.stderr.read().decode())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            try:
                sock.sendto(query("ready.test", A), self.at)
                return sock.recv(512)
            except OSError:
                return None

    @property
    def server(self):
        return f"{self.at[0]}:{self.at[1]}"

    def change(self, names):
        """Other addresses from now on (dnsmasq itself keeps no old answers of its own table)."""
        loaded = self._text().count(f"read {self.hosts}")
        self._write(names)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self._text().count(f"read {self.hosts}") > loaded, "dnsmasq to reload")

    def _text(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def queries(self, name, kind="A"):
        """How many questions for this name came."""
        return self._text().count(f"query[{kind}] {name} from")

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stderr.close()


def query(name, kind, number=0x1234):
    return (struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + encode(name)
            + struct.pack("!2H", kind, 1))


def encode(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"


def parse_question(packet):
    """(name, type, the question's bytes)"""
    labels, at = [], 12
    while packet[at]:
        size = packet[at]
        labels.append(packet[at + 1:at + 1 + size].decode("latin-1"))
        at += 1 + size
    return ".".join(labels).lower(), struct.unpack("!H", packet[at + 1:at + 3])[0], \
        packet[12:at + 5]


class RawDns:
    """A responder that does what behave(name, type) says.

    behave returns a list of packed addresses (an answer, maybe empty), an int (an rcode), bytes
    (sent as they are behind the transaction id) or None (silence).  Every question is kept.
    """

    def __init__(self, behave, ttl=60):
        self.behave = behave
        self.ttl = ttl
        self.asked = []
        self._open = []  # what was not answered: (number, question, peer)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((fresh_address(), 0))
        self.at = self.sock.getsockname()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def server(self):
        return f"{self.at[0]}:{self.at[1]}"

    def questions(self, name, kind=A):
        return self.asked.count((name, kind))

    def _run(self):
        while True:
            packet, peer = self.sock.recvfrom(4096)
            if packet == b"stop":
                return
            name, kind, question = parse_question(packet)
            self.asked.append((name, kind))
            reply = self._reply(packet[:2], name, kind, question)
            if reply is not None:
                self.sock.sendto(reply, peer)
            else:
                self._open.append((packet[:2], question, peer))

    def _reply(self, number, name, kind, question):
        what = self.behave(name, kind)
        if what is None:
            return None
        if isinstance(what, bytes):
            return number + what
        if isinstance(what, int):
            return number + struct.pack("!5H", 0x8180 | what, 1, 0, 0, 0) + question
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(a)) + a
                        for a in what)
        return number + struct.pack("!5H", 0x8180, 1, len(what), 0, 0) + question + body

    def close(self):
        """Now all who still wait hear a failure: no server waits on when the test is over."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", self.at)
        self._thread.join(10)
        for number, question, peer in self._open:
            self.sock.sendto(number + struct.pack("!5H", 0x8182, 1, 0, 0, 0) + question, peer)
        self.sock.close()


def with_dns(daemons, server, **kwargs):
    return daemons(settings={"dns": {"servers": [server.server], **kwargs}})


def asked(daemon, name, port, version=5):
    """(reply code, the session's first record) of a request by name, sent as it is."""
    with daemon.client() as client:
        if version == 5:
            client.greet()
            client.send(request5(name, port, name=True))
            code = client.reply5().code
        else:
            client.send(request4(name, port, name=True))
            code = client.reply4().code
        return code, daemon.ledger.of(client)
