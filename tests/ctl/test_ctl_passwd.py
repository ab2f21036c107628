"""sallyctl passwd: the users of auth.file and their passwords."""
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

USERS = """# our users
ann:$5$saltsalt$hcyDOxdIg0p3xyqtpHh/v8Ph.am06tQaovp1KpEklb7
# no more
bob:*
"""


@pytest.fixture
def users(ctl):
    def path(text=USERS, mode=0o600):
        at = ctl.write("users", text)
        os.chmod(at, mode)
        return at
    return path


def content(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_add_check_del(ctl, users):
    at = users()
    done = ctl.run("passwd", "add", "carl", "--users", at, stdin="good secret\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "'carl' was added\n", "")
    lines = content(at)
    assert lines.startswith(USERS) and re.fullmatch(r"carl:\$y\$[^:\n]+\n", lines[len(USERS):])
    assert "good secret" not in lines
    assert ctl.run("passwd", "check", "carl", "--users", at, stdin="good secret\n").returncode == 0
    done = ctl.run("passwd", "check", "carl", "--users", at, stdin="good secre\n")
    assert (done.returncode, done.stdout) == (1, "'carl' has another password\n")
    done = ctl.run("passwd", "check", "bob", "--users", at, stdin="x\n")
    assert (done.returncode, done.stdout) == (1, "'bob' is disabled\n")
    done = ctl.run("passwd", "check", "dora", "--users", at, stdin="x\n")
    assert (done.returncode, done.stdout) == (1, "'dora' is not there\n")
    done = ctl.run("passwd", "del", "carl", "--users", at)
    assert (done.returncode, done.stdout) == (0, "'carl' was removed\n")
    assert content(at) == USERS
    done = ctl.run("passwd", "del", "carl", "--users", at)
    assert (done.returncode, done.stdout) == (1, "'carl' is not there\n")


def test_a_new_password_takes_the_line_of_the_old(ctl, users):
    at = users(mode=0o640)
    before = os.stat(at)
    assert ctl.json("passwd", "add", "ann", "--users", at, stdin="x", status=0) == \
        {"user": "ann", "changed": True}
    lines = content(at).splitlines()
    assert lines[0] == "# our users" and lines[2:] == ["# no more", "bob:*"]
    assert lines[1].startswith("ann:$y$")
    after = os.stat(at)
    assert (after.st_mode, after.st_uid, after.st_gid) == \
        (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino  # in one step
    assert sorted(os.listdir(ctl.folder)) == ["users"]


def test_a_new_file_is_its_owners(ctl):
    at = os.path.join(ctl.folder, "new")
    assert ctl.run("passwd", "add", "ann", "--users", at, stdin="x\n").returncode == 0
    assert os.stat(at).st_mode & 0o777 == 0o600


def test_no_file_is_made_to_remove_from(ctl):
    at = os.path.join(ctl.folder, "none")
    done = ctl.run("passwd", "del", "ann", "--users", at)
    assert done.returncode == 2 and "No such file" in done.stderr
    assert not os.path.exists(at)


def test_list(ctl, users):
    at = users()
    assert ctl.run("passwd", "list", "--users", at).stdout == \
        "ann  sha256crypt\nbob  disabled\n"
    assert ctl.json("passwd", "list", "--users", at, status=0) == {"users": [
        {"name": "ann", "hash": "sha256crypt", "disabled": False},
        {"name": "bob", "hash": "disabled", "disabled": True}]}


def test_the_settings_name_the_file(ctl, users):
    at = users()
    ctl.write("sallyport.conf", 'listeners: { a: { address = "127.0.0.1" } }\n'
              f'auth: {{ file: {{ path = "{at}" }} }}\n'
              'rules: { a: { action = "allow"; from = "10.0.0.0/8"; to = "any" } }\n')
    assert ctl.run("passwd", "list", "-c", "sallyport.conf").returncode == 0
    ctl.write("other.conf", 'rules: { a: { action = "allow"; from = "10.0.0.0/8"; to = "any" } }\n')
    done = ctl.run("passwd", "list", "-c", "other.conf")
    assert done.returncode == 2 and "auth.file.path" in done.stderr


@pytest.mark.parametrize("stdin,why", [
    ("", "it is empty"), ("\n", "it is empty"), ("x" * 256 + "\n", "longer than 255"),
    ("a\0b\n", "holds a NUL")])
def test_what_no_password_is(ctl, users, stdin, why):
    at = users()
    done = ctl.run("passwd", "add", "ann", "--users", at, stdin=stdin)
    assert done.returncode == 2 and why in done.stderr
    assert content(at) == USERS


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "#a", " a", "x" * 256])
def test_what_no_name_is(ctl, users, name):
    at = users()
    done = ctl.run("passwd", "add", name, "--users", at, stdin="x\n")
    assert done.returncode == 2 and "cannot be a user" in done.stderr
    assert content(at) == USERS


def test_a_file_with_a_bad_line_is_not_touched(ctl, users):
    at = users("ann:*\nbob\n")
    done = ctl.run("passwd", "add", "carl", "--users", at, stdin="x\n")
    assert done.returncode == 2 and "line 2: ':' is missing" in done.stderr
    assert content(at) == "ann:*\nbob\n"


def test_a_file_that_is_too_open_is_told(ctl, users):
    at = users(mode=0o644)
    done = ctl.run("passwd", "list", "--users", at)
    assert done.returncode == 0 and "others may read it" in done.stderr


def test_a_last_line_without_its_end(ctl, users):
    at = users("ann:*")
    assert ctl.run("passwd", "add", "bob", "--users", at, stdin="x\n").returncode == 0
    assert re.fullmatch(r"ann:\*\nbob:\S+\n", content(at))


def test_many_at_once(ctl, users):
    at = users("")
    running = [subprocess.Popen([ctl.program, "passwd", "add", f"u{i}", "--users", at],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
               for i in range(8)]
    for one in running:
        one.communicate(b"secret\n")
    assert all(one.returncode == 0 for one in running)
    names = [line.split(":")[0] for line in content(at).splitlines()]
    assert sorted(names) == [f"u{i}" for i in range(8)]


def test_words(ctl):
    assert ctl.run("passwd", "add").returncode == 2
    assert ctl.run("passwd", "list", "ann").returncode == 2
    assert ctl.run("passwd", "rename", "ann").returncode == 2
    assert "yescrypt" in ctl.run("passwd", "--help").stdout


class Terminal:
    """The tool with a terminal of its own, as who sits before it sees it."""

    def __init__(self, ctl, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # who runs the tests in the background may have it ignored
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(ctl.folder)
            os.execv(ctl.program, [ctl.program, *args])
        self.seen = ""

    def until(self, words):
        end = time.monotonic() + 30
        while words not in self.seen:
            assert select.select([self.fd], [], [], end - time.monotonic())[0], self.seen
            self.seen += os.read(self.fd, 1000).decode()

    def type(self, words):
        os.write(self.fd, words.encode())

    def end(self):
        try:
            while part := os.read(self.fd, 1000):
                self.seen += part.decode()
        except OSError:
            pass  # how a terminal says that nobody is left
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_terminal_shows_no_password(ctl, users):
    at = users()
    terminal = Terminal(ctl, "passwd", "add", "carl", "--users", at)
    terminal.until("new password for 'carl': ")
    terminal.type("hush hush\n")
    terminal.until("once more: ")
    terminal.type("hush hush\n")
    assert terminal.end() == 0
    assert "hush" not in terminal.seen and "was added" in terminal.seen
    assert ctl.run("passwd", "check", "carl", "--users", at, stdin="hush hush\n").returncode == 0


def test_an_interrupt_gives_the_echo_back(ctl, users):
    at = users()
    terminal = Terminal(ctl, "passwd", "add", "carl", "--users", at)
    terminal.until("new password for 'carl': ")
    assert not termios.tcgetattr(terminal.fd)[3] & termios.ECHO
    terminal.type("\x03")
    terminal.until("\n")
    assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO
    assert terminal.end() == -signal.SIGINT
    assert content(at) == USERS


def test_a_mistake_at_the_terminal(ctl, users):
    at = users()
    terminal = Terminal(ctl, "passwd", "add", "carl", "--users", at)
    terminal.until("new password for 'carl': ")
    terminal.type("hush\n")
    terminal.until("once more: ")
    terminal.type("hash\n")
    assert terminal.end() == 2
    assert "not the same" in terminal.seen
    assert content(at) == USERS
