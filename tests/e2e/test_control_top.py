"""sallyctl top: what the server adds up, as plain text and JSON, and on a real terminal."""
import fcntl
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import tempfile
import termios
import threading

import pytest

from harness import net
from harness.wait import PATIENCE, until

RULES = """
  one: { action = "allow"; from = "127.0.0.1"; to = "loopback" }
  no: { action = "deny"; to = "127.0.0.9" }
  two: { action = "allow"; from = "127.0.0.2"; to = "loopback" }
"""


def top(server, *args):
    return json.loads(server.run("top", "--json", *args))


def test_lists(control, targets):
    server = control(rules=RULES)
    echo = targets()
    clients = [server.daemon.client(source="127.0.0.1") for _ in range(3)]
    clients += [server.daemon.client(source="127.0.0.2") for _ in range(2)]
    for client in clients:
        assert client.connect5("127.0.0.1", echo.port).code == 0
    named = server.daemon.client(source="127.0.0.2")
    assert named.connect5("localhost", echo.port).code == 0
    for _ in range(4):
        assert server.daemon.client(source="127.0.0.2").connect5("127.0.0.9", 1).code == 2
    clients[4].send(b"x" * 50000).read(50000)
    got = until(lambda: (lambda t: t if t["counts"]["denied"] == 4 else None)(top(server)), "all")
    assert got["open"] == 6 and got["opening"] == 0 and got["ledger"] == "ok"
    assert got["counts"]["started"] == 6 and got["counts"]["bytes_up"] >= 50000
    assert got["distinct"] == {"users": 1, "sources": 2, "destinations": 2}
    assert got["users"][0]["name"] == "" and got["users"][0]["sessions"] == 6
    sources = {row["name"]: row for row in got["sources"]}
    assert sources["127.0.0.1"]["sessions"] == sources["127.0.0.2"]["sessions"] == 3
    assert sources["127.0.0.2"]["up"] == sources["127.0.0.2"]["down"] == 50000
    places = {row["name"]: row["sessions"] for row in got["destinations"]}
    assert places == {f"127.0.0.1:{echo.port}": 5, f"localhost:{echo.port}": 1}
    rules = {row["name"]: row for row in got["rules"]}
    assert rules["one"]["sessions"] == 3 and rules["two"]["matches"] == 3
    assert rules["no"]["matches"] == 4 and rules["no"]["sessions"] == 0
    assert [row["name"] for row in got["denials"]] == ["no"]
    assert [r["name"] for r in top(server, "--sort", "bytes")["sources"]][0] == "127.0.0.2"
    assert len(top(server, "--rows", "1")["sources"]) == 1
    assert "is rate, sessions" in server.run("top", "--once", "--sort", "name", status=2)
    assert "from 1 s" in server.run("top", "--once", "--interval", "0 s", status=2)


def test_rates(control, targets):
    server = control(rules=RULES)
    echo = targets()
    client = server.daemon.client(source="127.0.0.1")
    assert client.connect5("127.0.0.1", echo.port).code == 0
    over = threading.Event()

    def flow():
        while not over.wait(0.02):
            client.send(b"x" * 1000).read(1000)
    thread = threading.Thread(target=flow)
    thread.start()
    try:
        got = until(lambda: (lambda t: t if "rates" in t else None)(top(server)), "rates")
    finally:
        over.set()
        thread.join(PATIENCE)
    assert 0.5 < got["interval"] < 15
    row = got["sources"][0]
    # 50,000 a second at most, and less where the machine is busy
    assert 500 < row["up_rate"] < 60000 and 500 < got["rates"]["bytes_down"] < 60000
    assert got["rules"][0]["up_rate"] == row["up_rate"]
    quiet = until(lambda: (lambda t: t if t["rates"]["bytes_up"] == 0 else None)(top(server)),
                  "silence", every=0.5)
    assert quiet["sources"][0]["up_rate"] == 0


def test_destinations_of_udp(control, udp_targets):
    server = control(rules='one: { action = "allow"; from = "loopback"; to = "loopback" }')
    from harness.udp import Association
    echo = udp_targets()
    with Association(server.daemon) as association:
        association.send(b"hello", echo.at)
        association.receive()
        got = until(lambda: (lambda t: t if t["udp_destinations"] else None)(top(server)), "one")
        assert got["open"] == 1 and got["distinct"]["destinations"] == 1
        assert got["destinations"][0]["up"] == 5


def test_plain_text(control, targets):
    server = control(rules=RULES)
    echo = targets()
    client = server.daemon.client(source="127.0.0.1")
    assert client.connect5("127.0.0.1", echo.port).code == 0
    text = server.run("top", "--once")
    assert re.search(r"^sallyport  up \S+.*ledger ok$", text, re.M)
    assert re.search(r"^sessions   1 open, 0 opening, of 100,000", text, re.M)
    assert re.search(r"^a second   new ", text, re.M)
    for head in ("USER (1)", "SOURCE (1)", "DESTINATION (1)", "RULE ", "DENIAL "):
        assert re.search("^" + re.escape(head), text, re.M), text
    assert re.search(r"^one +\d\S* +1 +1 ", text, re.M)
    assert "\033" not in text and all(len(line) <= 100 for line in text.splitlines())
    two = server.run("top", "--batch", "2", "--interval", "1 s")
    assert two.count("ledger ok") == 2
    assert "is no terminal" in server.run("top", status=2)


def test_names_from_outside_steer_nothing(control, targets):
    server = control(rules='one: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ] }',
                     settings={"workers": 1})
    echo = targets()
    clients = []
    for name in (b"\x1b[2J.localhost", b"b\xc3\xa4r.localhost", b"x" * 60 + b".localhost"):
        client = server.daemon.client()
        client.send(b"\x05\x01\x00", b"\x05\x01\x00\x03" + bytes([len(name)]) + name +
                    echo.port.to_bytes(2, "big"))
        clients.append(client)
    text = server.run("top", "--once")
    assert "\033" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_who_may(control):
    server = control()
    assert "Permission denied" in server.run("top", "--once", as_user="daemon", status=2)
    answer = server.ask(b'{"command":"top","sort":"x"}\n')
    assert answer[-1]["code"] == "bad-value"
    assert server.ask(b'{"command":"top","limit":0}\n')[-1] == {"done": True}
    assert server.ask(b'{"command":"top","limit":"x"}\n')[-1]["code"] == "malformed"


def test_many_look_at_once(control, crowds):
    server = control()
    crowd = crowds()
    clients = [server.daemon.client() for _ in range(50)]
    for client in clients:
        assert client.connect5("127.0.0.1", crowd.port).code == 0
    socks = [server.socket() for _ in range(20)]
    for sock in socks:
        sock.sendall(b'{"command":"top"}\n')
    from harness.control import read_answer
    answers = [read_answer(sock) for sock in socks]
    assert all(a[0]["top"]["open"] == 50 and a[-1] == {"done": True} for a in answers)
    for sock in socks:
        sock.close()


# -- on a terminal ------------------------------------------------------------

class Screen:
    """A terminal of tmux with a program in it."""

    def __init__(self, folder, command, width=100, height=30, term=None):
        self.socket = os.path.join(tempfile.mkdtemp(dir=folder), "tmux")
        env = {**os.environ, "LC_ALL": "C.UTF-8", "ASAN_OPTIONS": "detect_leaks=0"}
        env.pop("TMUX", None)
        if term:
            command = ["env", f"TERM={term}", *command]
        line = shlex.join(command) + "; echo ended with $?; sleep 1000"
        subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-x",
                        str(width), "-y", str(height), "sh", "-c", line], env=env, check=True,
                       preexec_fn=net.die_with_parent)

    def tmux(self, *args):
        done = subprocess.run(["tmux", "-S", self.socket, *args], check=False, capture_output=True,
                              timeout=PATIENCE)
        assert done.returncode == 0, done
        return done.stdout.decode()

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def lines(self, *args):
        return self.tmux("capture-pane", "-p", *args).splitlines()

    def shows(self, pattern, *args):
        return until(lambda: re.search(pattern, "\n".join(self.lines(*args)), re.M),
                     lambda: f"{pattern} on\n" + "\n".join(self.lines(*args)))

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], check=False,
                       capture_output=True)


@pytest.fixture
def screens(tmp_path):
    made = []

    def make(server, *args, **kwargs):
        made.append(Screen(str(tmp_path), [server.tool, "top", "--socket", server.path,
                                           "--interval", "1", *args], **kwargs))
        return made[-1]
    yield make
    for screen in made:
        screen.close()


def test_the_screen(control, targets, screens):
    server = control(rules=RULES)
    echo = targets()
    clients = [server.daemon.client(source="127.0.0.1") for _ in range(3)]
    for client in clients:
        assert client.connect5("127.0.0.1", echo.port).code == 0
    assert server.daemon.client(source="127.0.0.1").connect5("127.0.0.1", 1).code == 5
    screen = screens(server)
    screen.shows(r"^sessions   3 open")
    screen.shows(r"^a second   new ")
    screen.shows(r"\[1 overview\]")
    for head in ("USER", "SOURCE", "DESTINATION", "RULE", "DENIAL"):
        screen.shows(f"^{head}")
    for key, head in (("2", "USER"), ("3", "SOURCE"), ("4", "DESTINATION"), ("5", "RULE"),
                      ("6", "DENIAL")):
        screen.press(key)
        screen.shows(rf"\[{key} ")
        screen.shows(f"^{head}")
        assert len([line for line in screen.lines() if re.match("[A-Z]{4}", line)]) == 1
    screen.press("Tab")
    screen.shows(r"\[1 overview\]")
    screen.press("BTab")
    screen.shows(r"\[6 denials\]")
    screen.press("3")
    screen.shows(r"^127\.0\.0\.1 +3 ")
    screen.press("s")
    screen.shows("by sessions")
    screen.press("h")
    screen.shows("leave")
    screen.press("h")
    screen.shows(r"^127\.0\.0\.1 +3 ")
    screen.press("+")
    screen.shows("every 2 s")
    screen.press("-")
    screen.shows("every 1 s")
    clients.pop().close()
    screen.shows(r"^sessions   2 open")  # by itself
    screen.press("p")
    screen.shows("paused$")
    clients.pop().close()
    until(lambda: len(server.json("sessions")) == 1, "one session")
    assert re.search("^sessions   2 open", "\n".join(screen.lines()), re.M)
    screen.press("p")
    screen.shows(r"^sessions   1 open")
    screen.press("q")
    screen.shows("^ended with 0")
    assert not [line for line in screen.lines() if "sessions   " in line]


class Pty:
    """A terminal without anybody to draw it."""

    def __init__(self, server, rows, columns):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", ASAN_OPTIONS="detect_leaks=0")
            self.size(rows, columns, 0)
            os.execv(server.tool, [server.tool, "top", "--socket", server.path])

    def size(self, rows, columns, fd=None):
        fcntl.ioctl(self.fd if fd is None else fd, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def shows(self, what):
        got = b""
        while what not in got:
            assert select.select([self.fd], [], [], PATIENCE)[0], got
            got += os.read(self.fd, 65536)

    def press(self, keys):
        os.write(self.fd, keys)

    def end(self):
        """The exit status."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass  # the other end is closed
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_the_screen_is_resized(control):
    """Not by tmux, which does not always survive that."""
    server = control()
    screen = Pty(server, 8, 30)
    screen.shows(b"sessions")
    screen.size(8, 120)
    screen.shows(b"decisions")
    screen.size(40, 120)
    screen.shows(b"DENIAL")
    screen.size(1, 1)
    screen.size(24, 80)
    screen.shows(b"DENIAL")
    screen.press(b"\x03")
    assert screen.end() == 0


@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 5), (5, 200), (300, 1)])
def test_tiny_and_odd_terminals(control, rows, columns):
    server = control()
    screen = Pty(server, rows, columns)
    screen.shows(b"sal"[:columns])
    for key in (b"2", b"\t", b"h", b"h", b"q"):
        screen.press(key)
    assert screen.end() == 0


def test_colours_only_where_there_are_some(control, screens):
    server = control()
    screen = screens(server)
    screen.shows("ledger ok")
    assert "\033[36m" in "\n".join(screen.lines("-e")) or \
        re.search(r"\033\[[0-9;]*36m", "\n".join(screen.lines("-e")))
    screen.close()
    screen = screens(server, term="vt100")
    screen.shows("ledger ok")
    assert not re.search(r"\033\[[0-9;]*3[0-7]m", "\n".join(screen.lines("-e")))


def test_terminals_that_are_none(control, screens):
    server = control()
    screen = screens(server, term="no-such-terminal")
    screen.shows("is not known")
    screen.shows("^ended with 2")


def test_a_hand_over(control, targets, screens):
    """It goes on with whoever answers then."""
    server = control()
    screen = screens(server)
    screen.shows(r"^sessions   0 open")
    old = server.pid()
    server.daemon.hand_over()
    until(lambda: server.pid() not in (None, old), "another control")
    with server.daemon.client() as client:
        assert client.connect5("127.0.0.1", targets().port).code == 0
        screen.shows(r"^sessions   1 open")
    screen.press("q")
    screen.shows("^ended with 0")


def test_a_server_that_ends(control, screens):
    server = control()
    screen = screens(server)
    screen.shows("ledger ok")
    server.daemon.terminate()
    screen.shows("sallyctl: top: ")
    screen.shows("^ended with 2")
