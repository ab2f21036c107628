"""A real MIT KDC on loopback with a realm of its own, and a SOCKS5 client of RFC 1961 on python3-gssapi,
written from the RFC, not from the server.  Nothing outside of the realm's folder is touched."""
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import tempfile

import gssapi
from gssapi.raw import misc

from harness import net
from harness.socks import CONNECT, Reply, request5
from harness.wait import until

REALM = "SALLY.TEST"
HOST = "proxy.sally.test"  # never looked up: principals are told as they are
TOKEN, LEVEL, DATA, ABORT = 1, 2, 3, 0xff
NONE, INTEGRITY, CONFIDENTIALITY, SELECTIVE = 0, 1, 2, 3
F = gssapi.RequirementFlag
FLAGS = (F.mutual_authentication | F.integrity | F.confidentiality | F.replay_detection
         | F.out_of_sequence_detection)
GSSError = misc.GSSError

CONFIG = """
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  clockskew = {skew}
[realms]
  {realm} = {{
    kdc = {kdc}
  }}
[domain_realm]
  .sally.test = {realm}
  localhost = {realm}
"""
KDC = """
[kdcdefaults]
  kdc_listen = {kdc}
  kdc_tcp_listen = {kdc}
[realms]
  {realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
    supported_enctypes = {ciphers}
  }}
[logging]
  kdc = FILE:{folder}/kdc.log
"""
CIPHERS = ("aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal "
           "aes256-cts-hmac-sha384-192:normal aes128-cts-hmac-sha256-128:normal")


class Realm:
    """ann and bob with passwords; rcmd and another service with keys."""

    def __init__(self, skew=300):
        self.folder = folder = tempfile.mkdtemp(prefix="sallyport-realm-")
        os.chmod(folder, 0o755)
        self.at = net.fresh_address(), 8888
        self.config = os.path.join(folder, "krb5.conf")
        kdc_config = os.path.join(folder, "kdc.conf")
        words = {"realm": REALM, "kdc": "%s:%d" % self.at, "folder": folder, "skew": skew,
                 "ciphers": CIPHERS}
        for path, text in ((self.config, CONFIG), (kdc_config, KDC)):
            with open(path, "w", encoding="ascii") as file:
                file.write(text.format(**words))
        self.rcache = os.path.join(folder, "rcache")
        os.mkdir(self.rcache)
        os.chmod(self.rcache, 0o1777)
        self.environment = {"KRB5_CONFIG": self.config, "KRB5_KDC_PROFILE": kdc_config,
                            "KRB5RCACHEDIR": self.rcache}
        self.run("kdb5_util", "create", "-s", "-P", "master", "-r", REALM)
        for user in ("ann", "bob", "ann/admin"):
            self.admin(f"addprinc -pw secret {user}")
        for service in (f"rcmd/{HOST}", f"host/{HOST}", "rcmd/localhost", "rcmd/other.sally.test"):
            self.admin(f"addprinc -randkey {service}")
        self.keytab = self.export("keytab", f"rcmd/{HOST}", f"host/{HOST}", "rcmd/localhost")
        self.process = subprocess.Popen(
            [tool("krb5kdc"), "-n", "-P", os.path.join(folder, "pid")],
            env={**os.environ, **self.environment}, preexec_fn=net.die_with_parent,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.answers, "the KDC to listen")

    def run(self, *command, stdin="", **more):
        env = {**os.environ, **self.environment, **more}
        done = subprocess.run([tool(command[0]), *command[1:]], input=stdin, env=env, text=True,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def admin(self, query):
        self.run("kadmin.local", "-r", REALM, "-q", query)

    def answers(self):
        with socket.socket() as sock:
            return sock.connect_ex(self.at) == 0

    def export(self, name, *services):
        """A keytab of these; the keys stay as they are."""
        path = os.path.join(self.folder, name)
        self.admin(f"ktadd -norandkey -k {path} " + " ".join(services))
        return path

    def ticket(self, user="ann", life="1h"):
        """The name of a credential cache with a ticket of this user."""
        path = os.path.join(self.folder, "cc-" + user.replace("/", "-") + "-" + life)
        self.run("kinit", "-l", life, "-c", path, user, stdin="secret\n")
        return "FILE:" + path

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder)


def tool(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin") or name


class Session:
    """The client's context, step by step; the frames of RFC 1961."""

    def __init__(self, service="rcmd", host=HOST, flags=FLAGS, mech=None):
        name = gssapi.Name(f"{service}@{host}", gssapi.NameType.hostbased_service)
        self.context = gssapi.SecurityContext(name=name, usage="initiate", flags=flags,
                                              mech=mech or gssapi.MechType.kerberos)
        self.level = NONE

    def token(self, given=None):
        return self.context.step(given) or b""

    def wrap(self, data, level=None):
        level = self.level if level is None else level
        return self.context.wrap(data, level == CONFIDENTIALITY).message

    def unwrap(self, token, level=None):
        level = self.level if level is None else level
        got = self.context.unwrap(token)
        assert got.encrypted or level != CONFIDENTIALITY, "in the clear"
        return got.message

    def data(self, payload):
        return frame(DATA, self.wrap(payload))


def frame(kind, token):
    return struct.pack("!BBH", 1, kind, len(token)) + token


def read_frame(client, kind):
    """The token of the next frame; AssertionError if it is an abort or another kind."""
    version, got = client.read(2)
    assert version == 1
    assert got == kind, "an abort" if got == ABORT else f"type {got}"
    length, = struct.unpack("!H", client.read(2))
    return client.read(length) if length else b""


class Protected:
    """A Client that has proved who it is; what it sends and reads is in frames if level is not none.

    send: how bytes go out (client.send, or client.trickle)
    """

    def __init__(self, client, level, session=None, nec=False, trickle=False):
        self.client, self.sock, self.port = client, client.sock, client.port
        self.session = session or Session()
        self.asked = level
        self.nec = nec
        self.put = client.trickle if trickle else client.send
        self._rest = b""

    def authenticate(self):
        """Greeting and context."""
        self.put(b"\x05\x01\x01")
        assert self.client.read(2) == b"\x05\x01"
        token = self.session.token()
        while token:
            self.put(frame(TOKEN, token))
            given = read_frame(self.client, TOKEN)  # an empty one: the server has all that it needs
            token = self.session.token(given) if given else b""
        assert self.session.context.complete
        return self

    def agree(self):
        """The level; what the server grants holds."""
        octet = bytes([self.asked])
        self.put(frame(LEVEL, octet if self.nec else self.session.wrap(octet, INTEGRITY)))
        answer = read_frame(self.client, LEVEL)
        granted = answer if self.nec else self.session.unwrap(answer, INTEGRITY)
        assert len(granted) == 1
        self.session.level = granted[0]
        return granted[0]

    def begin(self):
        self.authenticate()
        assert self.agree() == self.asked
        return self

    # -- as a client ------------------------------------------------------------

    def send(self, *parts):
        data = b"".join(parts)
        self.put(data if self.session.level == NONE else self.session.data(data))
        return self

    def read_some(self):
        """The payload of the next frame; b"" at the end."""
        first = self.sock.recv(1)
        if not first:
            return b""
        head = first + self.client.read(3)
        assert head[:2] == bytes([1, DATA]), head
        return self.session.unwrap(self.client.read(struct.unpack("!H", head[2:])[0]))

    def read(self, n):
        if self.session.level == NONE:
            return self.client.read(n)
        while len(self._rest) < n:
            more = self.read_some()
            assert more, f"closed after {self._rest!r}"
            self._rest += more
        data, self._rest = self._rest[:n], self._rest[n:]
        return data

    def read_end(self):
        if self.session.level == NONE:
            return self.client.read_end()
        data = [self._rest]
        while data[-1] or len(data) == 1:
            data.append(self.read_some())
        return b"".join(data)

    def reply(self):
        head = self.read(4)
        assert head[0] == 5 and head[2] == 0 and head[3] in (1, 4), head
        rest = self.read((4 if head[3] == 1 else 16) + 2)
        return Reply(head[1], str(ipaddress.ip_address(rest[:-2])), struct.unpack("!H", rest[-2:])[0])

    def request(self, host, port, command=CONNECT):
        self.send(request5(host, port, command))
        return self.reply()

    def fin(self):
        self.client.fin()

    def close(self):
        self.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
