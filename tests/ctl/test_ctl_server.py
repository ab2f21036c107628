"""What the manuals say of the server: the example with curl, its options, its records."""
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest

from test_ctl_examples import commands, examples, read, shell


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until_open(port, process):
    for _ in range(600):
        assert process.poll() is None, "it ended"
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


class Place:
    """A folder with a page, a web server for it, and a proxy."""

    def __init__(self, folder, server):
        self.folder, self.program = folder, server
        self.socks, self.web = free_port(), free_port()
        self.running = []
        (folder / "web").mkdir()
        (folder / "web" / "index.html").write_text("here I am\n")

    def start(self, command, port, cwd):
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        self.running.append(process)
        until_open(port, process)
        return process

    def start_web(self):
        words = shlex.split(block_of("README.md", "web").replace("8000", str(self.web)))
        return self.start([sys.executable, *words[1:]], self.web, self.folder / "web")

    def start_proxy(self, text):
        conf = self.folder / "c.conf"
        conf.write_text(text.replace("port = 1080", f"port = {self.socks}"))
        conf.chmod(0o644)
        return self.start([self.program, "-f", "-c", str(conf)], self.socks, self.folder)

    def curl(self, command):
        """The command of a page, with the ports of this place."""
        command = command.replace("1080", str(self.socks)).replace("8000", str(self.web))
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return subprocess.run(["bash", "-c", command + " -sS -m 20"], capture_output=True,
                              text=True, timeout=30, check=False, env=env)


@pytest.fixture
def server(build_folder):
    path = os.path.join(build_folder, "sallyportd")
    assert os.access(path, os.X_OK), f"there is no {path}"
    return path


@pytest.fixture
def place(server, tmp_path):
    made = Place(tmp_path, server)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
            process.communicate()


def block_of(page, kind):
    block, = [b for mark, b in examples(page) if mark == kind]
    return re.sub(r"^\$ ", "", block.strip())


def ended(process):
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 0, told
    return told


@pytest.mark.parametrize("page, file", [("README.md", "etc/quickstart.conf"),
                                        ("docs/sallyportd.8", None)])
def test_the_example_with_curl(page, file, place):
    place.start_web()
    proxy = place.start_proxy(read(file) if file else dict(examples(page))["file quickstart.conf"])
    told = place.curl(block_of(page, "client"))
    assert told.stdout == "here I am\n", told.stderr
    shown = ended(proxy)
    assert f"127.0.0.1:{place.web}" in shown and "this-machine" in shown


# what is another one each time
VARIES = [(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"), (r"(127\.0\.0\.1):\d{4,5} ann", r"\1:PORT ann"),
          (r"[\d.]+ (ms|s|B up|B down)\b", r"N \1"), (r"policy [0-9a-f]{12}", "policy HASH"),
          (r"(records 1 to) \d+", r"\1 N"), (r"(curl: \(97\)).*", r"\1"), (r"(client|target)-closed", "closed")]


def alike(text):
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return text


def test_the_examples_with_a_running_server(place, ctl, server):
    """README's: its files, its users, its server; what curl and sallyctl say then."""
    def ours(text):
        return text.replace("1082", str(place.socks)).replace("8000", str(place.web))
    programs = os.path.dirname(ctl.program)
    place.start_web()
    ran = 0
    for mark, block in examples("README.md"):
        kind, _, name = mark.partition(" ")
        if kind == "file":
            ctl.write(name, ours(block))
        elif kind == "shell":
            for command, _ in commands(block):
                shell(command, ctl.folder, programs)
        elif kind == "live":
            proxy = place.start([server, "-f", "-c", name], place.socks, ctl.folder)
            for command, output in commands(block):
                end = time.monotonic() + 20
                # a record is there soon after its session
                while (told := alike(shell(ours(command), ctl.folder, programs))) != alike(
                        ours(output)):
                    assert command.startswith("sallyctl log") and time.monotonic() < end, told
                    time.sleep(0.1)
                ran += 1
            ended(proxy)
    assert ran


def keys_of(value, before=""):
    for key, inner in value.items():
        name = f"{before}.{key}" if before else key
        if isinstance(inner, dict) and name != "socks.ms":
            yield from keys_of(inner, name)
        else:
            yield name


def test_every_field_of_a_record_is_in_the_manual(place):
    page = read("docs/sallyport-audit.5")
    part = page.split('.\\" table: fields\n')[1].split("\n.El\n")[0]
    told = {name for line in re.findall(r"^\.It Va (.+)$", part, re.M)
            for name in line.split(" , ")}
    place.start_web()
    proxy = place.start_proxy("""
listeners: { local: { address = "127.0.0.1"; port = 1080 } }
audit: { file = "audit.ndjson" }
policy: { name = "demo" }
rules: {
  no: { action = "deny"; to = "192.0.2.0/24"; ticket = "T-1" }
  a: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ]; ticket = "T-2" }
}
""")
    web = "http://127.0.0.1:8000/"
    assert place.curl(f"curl -x socks5h://127.0.0.1:1080 {web}").returncode == 0
    assert place.curl(f"curl -x socks4a://ann@127.0.0.1:1080 {web}").returncode == 0
    place.curl(f"curl -x socks5h://127.0.0.1:1080 {web.replace('127.0.0.1', '192.0.2.1')}")
    place.curl(f"curl -x socks5h://127.0.0.1:1080 {web.replace('8000', '1080')}")
    place.curl(f"curl -x socks5h://127.0.0.1:1080 {web.replace('8000', '1')}")
    proxy.send_signal(signal.SIGHUP)
    ended(proxy)
    with open(place.folder / "audit.ndjson", encoding="ascii") as file:
        records = [json.loads(line) for line in file]
    assert {"session-start", "session-end", "session-deny", "session-fail", "audit-start",
            "policy-load", "audit-stop"} <= {r["event"]["action"] for r in records}
    for record in records:
        assert f"{record['event']['action']}" in page
        for name in keys_of(record):
            assert name in told, name


def test_options_are_in_the_manual(server):
    page = read("docs/sallyportd.8")
    helped = subprocess.run([server, "--help"], capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  -(\w), --([a-z-]+)( [A-Z]+)?", helped, re.M)
    assert len(listed) >= 4
    for letter, name, value in listed:
        arg = f" Ar{value.lower()}" if value else ""
        assert f".It Fl {letter}{arg} , Fl -{name}{arg}\n" in page
