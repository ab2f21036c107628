"""Contenders: how each proxy is configured and started, tuned as its friends would.

None of them asks for a password, none logs sessions unless it cannot help it, all listen
on 127.0.0.1. Sallyport alone has a policy of 1,000 rules and writes its ledger, because
that is what it promises to do at this speed.
"""

import os
import shutil
import subprocess

RULES = 1000


def first_line(argv):
    """What a program says of its version, or ""."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else ""


def package_version(package):
    return first_line(["dpkg-query", "-W", "-f", "${Version}", package]) or "?"


class Contender:
    """A proxy. `speak` is what load says to it; prepare writes its files, command starts it."""

    name = ""
    title = ""
    speak = "5"
    speaks = ("5",)  # what may be asked for by --socks
    program = ""
    chatty = False  # writes a line a session to stderr, and cannot be stopped

    def __init__(self, build):
        self.build = build

    def present(self):
        return shutil.which(self.program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is not None

    def path(self):
        return shutil.which(self.program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")

    def version(self):
        return ""

    def prepare(self, folder, port, targets, workers):
        """Writes what it needs into folder; returns its command line, None: no process."""
        raise NotImplementedError


class Direct(Contender):
    """No proxy at all: the limit of this machine and of the generator."""

    name = "direct"
    title = "direct"
    speak = "none"

    def present(self):
        return True

    def prepare(self, folder, port, targets, workers):
        return None


class Sallyport(Contender):
    """Ours."""

    name = "sallyport"
    title = "Sallyport"
    speaks = ("5", "4", "4a")

    def path(self):
        return os.path.join(self.build, "sallyportd")

    def present(self):
        return os.access(self.path(), os.X_OK)

    def version(self):
        words = first_line([self.path(), "--version"]).split()
        return words[-1] if words else "?"

    def prepare(self, folder, port, targets, workers):
        conf = os.path.join(folder, "sallyport.conf")
        ledger = os.path.join(folder, "ledger")
        os.mkdir(ledger)
        if os.geteuid() == 0:
            shutil.chown(ledger, "nobody")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f'listeners: {{ bench: {{ address = "127.0.0.1"; port = {port} }} }}\n')
            if os.geteuid() == 0:
                f.write('user = "nobody"\n')
            f.write(f"workers = {workers}\n")
            f.write('timeouts: { idle = "none"; drain = "1 s" }\n')
            f.write(f'audit: {{ file = "{ledger}/audit.ndjson"; format = "ecs" }}\n')
            f.write("rules: (\n" + ",\n".join(policy(RULES)) + "\n)\n")
        return [self.path(), "-f", "-c", conf]


def policy(count):
    """Rules of a large firm: branches, services, forbidden places; the last one lets us out."""
    for i in range(count - 1):
        source = f"10.{i % 250}.{i // 250 % 16 * 16}.0/20"
        inside = f"172.{16 + i % 16}.{i // 16 % 256}.0/24"
        kind = i % 10
        if kind < 4:
            rest = f'action = "allow"; from = "{source}"; to = "{inside}"; service = "tcp/443"'
        elif kind < 7:
            rest = (
                f'action = "allow"; from = "{source}"; to = "*.branch{i}.example"; '
                f'service = [ "tcp/80", "tcp/443" ]'
            )
        elif kind < 9:
            rest = f'action = "deny"; to = [ "{inside}", "*.bad{i}.example" ]'
        else:  # from where the load comes, to where it does not go
            rest = f'action = "allow"; from = "loopback"; to = "{inside}"; service = "tcp/{2000 + i % 60000}"'
        yield f'  {{ name = "rule-{i}"; {rest} }}'
    yield (
        '  { name = "bench"; action = "allow"; from = "loopback"; '
        'to = [ "any", "loopback" ]; command = [ "connect", "udp-associate" ] }'
    )


class Dante(Contender):
    """Debian's dante-server: one main server a processor, no log of sessions."""

    name = "dante"
    title = "Dante"
    speaks = ("5", "4")  # in 4a, an address written as a name is refused
    program = "danted"

    def version(self):
        return package_version("dante-server")

    def prepare(self, folder, port, targets, workers):
        conf = os.path.join(folder, "danted.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(
                f"errorlog: {folder}/errors\n"
                f"internal: 127.0.0.1 port = {port}\n"
                "external: 127.0.0.1\n"
                "clientmethod: none\n"
                "socksmethod: none\n"
                + ("user.privileged: root\n" if os.geteuid() == 0 else "")
                + ("user.unprivileged: nobody\n" if os.geteuid() == 0 else "")
                + "timeout.io: 0\n"
                "client pass { from: 127.0.0.0/8 to: 127.0.0.0/8 }\n"
                "socks pass { from: 127.0.0.0/8 to: 127.0.0.0/8 command: connect udpassociate }\n"
                "socks pass { from: 127.0.0.0/8 to: 127.0.0.0/8 command: udpreply }\n"
            )
        return [self.path(), "-f", conf, "-p", f"{folder}/pid", "-N", str(workers)]


class Microsocks(Contender):
    """A thread a session; has nothing to tune."""

    name = "microsocks"
    title = "microsocks"
    program = "microsocks"
    chatty = True

    def version(self):
        return package_version("microsocks")

    def prepare(self, folder, port, targets, workers):
        return [self.path(), "-i", "127.0.0.1", "-p", str(port)]


class Haproxy(Contender):
    """TCP mode with a fixed backend: no SOCKS, no policy, no names. A limit, not a peer."""

    name = "haproxy"
    title = "HAProxy (TCP)"
    speak = "none"
    program = "haproxy"

    def version(self):
        return package_version("haproxy")

    def prepare(self, folder, port, targets, workers):
        conf = os.path.join(folder, "haproxy.cfg")
        with open(conf, "w", encoding="ascii") as f:
            f.write(
                "global\n"
                f"  nbthread {workers}\n"
                "  maxconn 9600\n"
                "  maxpipes 200\n"
                "defaults\n"
                "  mode tcp\n"
                "  option splice-auto\n"
                "  timeout connect 5s\n"
                "  timeout client 1h\n"
                "  timeout server 1h\n"
                f"listen bench\n  bind 127.0.0.1:{port}\n  balance roundrobin\n"
            )
            for i, target in enumerate(targets):
                f.write(f"  server t{i} {target}\n")
        return [self.path(), "-db", "-f", conf]


class Ssh(Contender):
    """OpenSSH's -D, for the curious: encrypts, so compare with care. Not run unless named."""

    name = "ssh"
    title = "ssh -D"
    speaks = ("5", "4", "4a")
    program = "ssh"

    def present(self):
        return super().present() and os.access("/usr/sbin/sshd", os.X_OK)

    def version(self):
        return package_version("openssh-client")

    def prepare(self, folder, port, targets, workers):
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"],
                check=True,
                timeout=10,
            )
        shutil.copy(f"{folder}/user.pub", f"{folder}/keys")
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        with open(f"{folder}/sshd_config", "w", encoding="ascii") as f:
            f.write(
                f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/keys\nStrictModes no\n"
                "PasswordAuthentication no\nPidFile none\nUsePAM no\nPermitRootLogin yes\n"
                "LogLevel QUIET\n"
            )
        options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known"]
        options += ["BatchMode=yes", "LogLevel=QUIET"]
        options += [f"ProxyCommand=/usr/sbin/sshd -i -f {folder}/sshd_config"]
        command = [self.path(), "-N", "-i", f"{folder}/user", "-D", f"127.0.0.1:{port}"]
        for option in options:
            command += ["-o", option]
        return command + ["bench.invalid"]


ALL = {c.name: c for c in (Direct, Sallyport, Dante, Microsocks, Haproxy, Ssh)}
USUAL = ["direct", "sallyport", "dante", "microsocks", "haproxy"]
