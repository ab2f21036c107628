"""sallyctl verify: whatever was done to a ledger, it names the first line, and what is still proven."""
import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest


class Written:
    """A ledger that a real server wrote: three files, in order of rotation."""

    def __init__(self, build, folder):
        self.folder = folder
        self.audit = os.path.join(folder, "audit.ndjson")
        self.config = os.path.join(folder, "sallyport.conf")
        self.log = os.path.join(folder, "log")
        user = 'user = "nobody"\n' if os.geteuid() == 0 else ""
        with open(self.config, "w", encoding="ascii") as file:
            file.write('listeners: { a: { address = "127.0.0.1"; port = 0 } }\n' + user +
                       f'workers = 1\naudit: {{ file = "{self.audit}" }}\n'
                       'rules: { a: { action = "allow"; to = "loopback"; from = "loopback" } }\n')
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(build, "sallyportd"), "-f", "-c", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def records(self, name=""):
        try:
            with open(self.audit + name, encoding="ascii") as file:
                return [json.loads(line) for line in file]
        except (OSError, json.JSONDecodeError):
            return []

    def until(self, condition):
        end = time.monotonic() + 20
        while not condition():
            with open(self.log, encoding="utf-8") as log:
                assert time.monotonic() < end, log.read()
            time.sleep(0.01)

    def reload(self, count):
        for _ in range(count):
            before = len(self.records())
            self.process.send_signal(signal.SIGHUP)
            self.until(lambda b=before: any(
                r["event"]["action"] == "policy-load" for r in self.records()[b:]))

    def checkpoint(self):
        """Until all is signed."""
        self.until(lambda: self.records() and "signature" in self.records()[-1]["audit"])

    def rotate(self, name):
        os.rename(self.audit, self.audit + name)
        self.process.send_signal(signal.SIGUSR1)
        self.until(lambda: any(r["event"]["action"] == "audit-rotate" for r in self.records()))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0


@pytest.fixture(scope="module")
def written(build_folder, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("ledger"))
    os.chmod(folder, 0o777)
    ledger = Written(build_folder, folder)
    try:
        ledger.until(ledger.records)
        ledger.reload(4)
        ledger.checkpoint()
        ledger.reload(3)
        ledger.rotate(".1")
        ledger.reload(4)
        ledger.checkpoint()
        ledger.reload(3)
        ledger.rotate(".2")
        ledger.reload(3)
    finally:
        ledger.stop()
    return ledger


@pytest.fixture(scope="module")
def lines(written):
    table = []
    for name in (".1", ".2", ""):
        with open(written.audit + name, "rb") as file:
            table.append(file.read().splitlines(keepends=True))
    return table


class Files:
    """Lines put into files again, and judged."""

    def __init__(self, ctl):
        self.ctl = ctl

    def judge(self, files, *args):
        names = []
        for i, some in enumerate(files):
            name = os.path.join(self.ctl.folder, f"{i + 1}.ndjson")
            with open(name, "wb") as file:
                file.write(b"".join(some))
            names.append(name)
        done = self.ctl.run("verify", *args, "--json", *names)
        assert done.stderr == "", done.stderr
        verdict = json.loads(done.stdout)
        assert done.returncode == (0 if verdict["verdict"] == "whole" and not args else
                                   done.returncode)
        if verdict["verdict"] != "whole":
            assert done.returncode == 1
            verdict["where"] = (int(os.path.basename(verdict["at"]["file"])[0]),
                                verdict["at"]["line"])
        return verdict


@pytest.fixture
def files(ctl):
    return Files(ctl)


def copy(lines):
    return [list(some) for some in lines]


def change(line):
    """One letter of a line, somewhere in its host name."""
    assert line.count(b'"sallyport"') == 1
    return line.replace(b'"sallyport"', b'"sallyporT"')


def test_whole(files, lines):
    verdict = files.judge(lines)
    total = sum(map(len, lines))
    assert verdict["verdict"] == "whole"
    assert verdict["ended"] and verdict["unsigned"] == 0 and verdict["faults"] == 0
    assert verdict["lines"] == verdict["records"] == verdict["proven"] == total
    assert (verdict["first"], verdict["last"]) == (1, total)
    assert [k["named"] for k in verdict["keys"]] == [False, True, True]
    assert [k["line"] for k in verdict["keys"]] == [1, 1, 1]


def test_each_file_by_itself(files, lines):
    for some in lines:
        verdict = files.judge([some])
        assert verdict["verdict"] == "whole", verdict
        assert verdict["proven"] == len(some)


def test_the_chain_is_what_the_manual_says(lines):
    """By other means than ours."""
    last = b""
    before = "0" * 16
    for line in (line for some in lines for line in some):
        record = json.loads(line)
        assert record["audit"]["prev"] == before, record
        last = hashlib.sha256(line.rstrip(b"\n")).hexdigest()
        before = last[:16]
    for i, some in enumerate(lines):
        key = json.loads(some[0])["audit"]["key"]
        root = bytes.fromhex(json.loads(some[0])["audit"]["prev"]) + bytes(24)
        for line in some:
            audit = json.loads(line)["audit"]
            if "root" in audit:
                assert audit["root"] == root.hex()
                assert len(audit["signature"]) == 128
            root = hashlib.sha256(root + hashlib.sha256(line.rstrip(b"\n")).digest()).digest()
        if i < 2:
            assert json.loads(some[-1])["audit"]["next"] == json.loads(lines[i + 1][0])["audit"]["key"]
            assert json.loads(lines[i + 1][0])["audit"]["last"]["key"] == key
            assert json.loads(lines[i + 1][0])["audit"]["last"]["signature"] == \
                json.loads(some[-1])["audit"]["signature"]
        else:
            assert json.loads(some[-1])["audit"]["end"] == key


def test_signatures_by_openssl(lines, tmp_path):
    """A checkpoint is good for a tool that is not ours."""
    key = bytes.fromhex(json.loads(lines[0][0])["audit"]["key"])
    line = next(line for line in lines[0] if b'"signature":"' in line).rstrip(b"\n")
    message, rest = line.split(b',"signature":"')
    (tmp_path / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(bytes.fromhex(rest[:128].decode()))
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.der",
                           "-keyform", "DER", "-rawin", "-in", "message", "-sigfile",
                           "signature"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def every(lines):
    return [(f, n) for f, some in enumerate(lines) for n in range(len(some))]


def test_every_line_changed(files, lines):
    for f, n in every(lines):
        bad = copy(lines)
        bad[f][n] = change(bad[f][n])
        verdict = files.judge(bad)
        assert verdict["verdict"] == "changed", (f, n, verdict)
        assert verdict["where"] == (f + 1, n + 1), (f, n, verdict)
        assert verdict["proven"] < verdict["lines"]


def test_every_line_removed(files, lines):
    """In the middle it is removed; at an end it is cut; the very last cannot be missed."""
    for f, n in every(lines):
        bad = copy(lines)
        del bad[f][n]
        verdict = files.judge(bad)
        if (f, n) == (2, len(lines[2]) - 1):
            assert verdict["verdict"] == "whole" and not verdict["ended"]
        elif (f, n) == (0, 0):
            assert verdict["verdict"] == "cut" and verdict["where"] == (1, 1), verdict
        elif n == len(lines[f]) - 1:
            assert verdict["verdict"] == "cut", (f, n, verdict)
            assert verdict["where"] == (f + 1, n), (f, n, verdict)
        elif n == 0:
            assert verdict["verdict"] == "removed", (f, n, verdict)
            assert verdict["where"] == (f + 1, 1), (f, n, verdict)
        else:
            assert verdict["verdict"] == "removed", (f, n, verdict)
            assert verdict["where"] == (f + 1, n + 1), (f, n, verdict)


def test_every_line_moved(files, lines):
    """To the end of its file, to its beginning, and changed with its neighbour."""
    for f, n in every(lines):
        for to in (0, len(lines[f]) - 1, n + 1):
            if to in (n, len(lines[f])):
                continue
            bad = copy(lines)
            bad[f].insert(to, bad[f].pop(n))
            verdict = files.judge(bad)
            assert verdict["verdict"] == "moved" or (f == 0 and 0 in (n, to)), (f, n, to, verdict)
            assert verdict["verdict"] != "whole"
            assert verdict["where"] == (f + 1, min(n, to) + 1) or f == 0 or min(n, to) == 0, \
                (f, n, to, verdict)


def test_every_line_twice(files, lines):
    for f, n in every(lines):
        for to in (n + 1, len(lines[f])):
            bad = copy(lines)
            bad[f].insert(to, bad[f][n])
            verdict = files.judge(bad)
            if to == len(lines[f]) and f == 2:
                assert verdict["verdict"] in ("added", "changed"), (f, n, to, verdict)
            else:
                assert verdict["verdict"] == "added", (f, n, to, verdict)
            assert verdict["where"] == (f + 1, to + 1), (f, n, to, verdict)


def test_lines_of_ones_own(files, lines):
    forged = re.sub(rb'"prev":"[0-9a-f]{16}"', b'"prev":"0123456789abcdef"', lines[1][2])
    for text in (b"\n", b"nonsense\n", b"\xff\x00\x1b[31m\n", b'{"audit":{"seq":1}}\n', forged,
                 b"x" * 3000000 + b"\n"):
        bad = copy(lines)
        bad[1].insert(3, text)
        verdict = files.judge(bad)
        assert verdict["verdict"] == "added", (text[:50], verdict)
        assert verdict["where"] == (2, 4)
        assert verdict["proven"] == verdict["lines"] - 1  # all others


def test_cut_in_the_middle_of_a_line(files, lines):
    for f in range(3):
        bad = copy(lines)
        bad[f][-1] = bad[f][-1][:100]
        verdict = files.judge(bad)
        assert verdict["verdict"] == "cut", verdict
        assert verdict["where"] == (f + 1, len(lines[f]))


def test_a_line_that_a_full_disk_cut(files, lines):
    """Half of it ends a file, all of it begins the next: nothing is missing. Half of another is."""
    for end in (1, 30, len(lines[1][0]) - 1):
        bad = copy(lines)
        bad[0].append(lines[1][0][:end])
        verdict = files.judge(bad)
        assert verdict["verdict"] == "whole" and verdict["torn"] == 1, (end, verdict)
        assert verdict["proven"] == verdict["lines"] - 1
    for half in (lines[1][1][:-1], lines[1][0][:-1].replace(b"audit", b"audiT")):
        bad = copy(lines)
        bad[0].append(half)
        verdict = files.judge(bad)
        assert verdict["verdict"] == "added" and verdict["where"] == (1, len(lines[0]) + 1), verdict


def test_a_file_missing_or_in_the_wrong_place(files, lines):
    verdict = files.judge([lines[0], lines[2]])
    assert verdict["verdict"] == "removed" and verdict["where"] == (2, 1)
    assert "a file" in verdict["at"]["text"]
    verdict = files.judge([lines[1], lines[0], lines[2]])
    assert verdict["verdict"] == "moved" and verdict["where"] == (2, 1), verdict
    # what is in the files by themselves is proven all the same
    assert files.judge([lines[0], lines[2]])["proven"] >= len(lines[0])


def test_links_made_anew(files, lines):
    """Changed, and all hashes behind it made to fit: the signature tells, and from where on."""
    bad = copy(lines)
    bad[0][2] = change(bad[0][2])
    previous = None
    for some in bad:
        for n, line in enumerate(some):
            if previous is not None:
                fit = hashlib.sha256(previous.rstrip(b"\n")).hexdigest()[:16].encode()
                line = re.sub(rb'"prev":"[0-9a-f]{16}"', b'"prev":"' + fit + b'"', line)
            some[n] = previous = line
    verdict = files.judge(bad)
    assert verdict["verdict"] == "changed"
    signed = next(n for n, line in enumerate(lines[0]) if b"signature" in line)
    assert verdict["where"][0] == 1 and verdict["where"][1] <= signed + 1
    assert verdict["proven"] == 0


def test_a_signature_of_another(files, lines):
    """A checkpoint of another file in the place of one."""
    n = next(n for n, line in enumerate(lines[0]) if b"checkpoint" in line)
    bad = copy(lines)
    other = json.loads(next(line for line in lines[1] if b"checkpoint" in line))["audit"]
    bad[0][n] = re.sub(rb'"signature":"[0-9a-f]+"',
                       b'"signature":"' + other["signature"].encode() + b'"', bad[0][n])
    verdict = files.judge(bad)
    assert verdict["verdict"] == "changed" and verdict["where"] == (1, n + 1)


def test_a_server_that_started_again(files, lines):
    """A new key that nobody has named is whole, but told."""
    verdict = files.judge([lines[0], lines[1], lines[2]])
    assert [k["named"] for k in verdict["keys"]].count(False) == 1


def test_a_torn_line(ctl, files, lines, build_folder, tmp_path):
    """A crash of the machine cut the file; a server started again on it and vouches for the half."""
    folder = str(tmp_path)
    os.chmod(folder, 0o777)
    half = b"".join(lines[0][:4]) + lines[0][4][:120]
    with open(os.path.join(folder, "audit.ndjson"), "wb") as file:
        file.write(half)
    os.chmod(os.path.join(folder, "audit.ndjson"), 0o666)
    ledger = Written(build_folder, folder)
    try:
        ledger.until(lambda: b"policy-load" in open(ledger.audit, "rb").read()[len(half):])
    finally:
        ledger.stop()
    with open(ledger.audit, "rb") as file:
        some = file.read().splitlines(keepends=True)
    verdict = files.judge([some])
    assert verdict["verdict"] == "whole", verdict
    assert verdict["torn"] == 1 and verdict["proven"] == verdict["lines"] - 1
    assert [k["named"] for k in verdict["keys"]] == [False, False]
    assert verdict["ended"]


def test_the_key_that_was_expected(ctl, files, lines, written):
    with open(written.log, encoding="utf-8") as log:
        told = re.findall(r"audit key ([0-9a-f]{16})\.\.\. signs from record (\d+) on", log.read())
    assert [int(n) for _, n in told] == [
        json.loads(some[0])["audit"]["seq"] for some in lines]
    assert files.judge(lines, "--key", told[0][0])["verdict"] == "whole"
    names = [os.path.join(ctl.folder, f"{i}.ndjson") for i in (1, 2, 3)]
    assert ctl.run("verify", "--key", told[0][0], *names).returncode == 0
    assert ctl.run("verify", "--key", "0" * 16, *names).returncode == 1
    assert ctl.run("verify", "--key", "xyz", *names).returncode == 2


def test_text(ctl, files, lines):
    files.judge(lines)
    names = [os.path.join(ctl.folder, f"{i}.ndjson") for i in (1, 2, 3)]
    done = ctl.run("verify", *names)
    total = sum(map(len, lines))
    assert done.returncode == 0 and done.stdout.startswith(f"whole: records 1 to {total}\n")
    assert f"{total} of {total} lines proven by " in done.stdout
    assert done.stdout.count("\nkey ") == 3
    bad = copy(lines)
    bad[1][3] = change(bad[1][3])
    files.judge(bad)
    done = ctl.run("verify", *names)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{names[1]}:4: changed: ")


def test_the_bar(ctl, files, lines):
    """On a terminal one sees how far it is, and no trace of it behind; elsewhere nothing."""
    files.judge(lines)
    names = [os.path.join(ctl.folder, f"{i}.ndjson") for i in (1, 2, 3)]
    master, slave = pty.openpty()
    done = subprocess.run([ctl.program, "verify", *names], stdin=subprocess.DEVNULL, stderr=slave,
                          stdout=subprocess.PIPE, timeout=60, check=False)
    os.close(slave)
    shown = b""
    try:
        while True:
            shown += os.read(master, 65536)
    except OSError:
        os.close(master)  # the other end is closed
    assert done.returncode == 0 and done.stdout.startswith(b"whole")
    assert re.match(rb"^\r\[#* *\] +\d+ %", shown), shown
    assert re.search(rb"\r +\r$", shown), shown
    assert ctl.run("verify", *names).stderr == ""


def test_standard_input(ctl, lines):
    text = b"".join(line for some in lines for line in some).decode()
    done = ctl.run("verify", "-", stdin=text)
    assert done.returncode == 0 and done.stdout.startswith("whole")


def test_what_cannot_be_done(ctl):
    assert ctl.run("verify").returncode == 2
    assert ctl.run("verify", "/nonexistent").returncode == 2
    done = ctl.run("verify", "--json", "/nonexistent")
    assert done.returncode == 2 and "error" in json.loads(done.stdout)
    for text in ("", "\n", "12:00:01 open  127.0.0.1:1 > x\n", "\x00" * 1000):
        done = ctl.run("verify", ctl.write("x", text))
        assert done.returncode == 2 and "no record of a ledger" in done.stderr, text
