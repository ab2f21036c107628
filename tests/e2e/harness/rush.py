"""Thousands of sessions a second, by the load generator of the benchmark, which writes down each client
that was granted."""
import collections
import contextlib
import json
import os
import subprocess

from harness import net
from harness.net import fresh_address
from harness.wait import PATIENCE, until

TARGETS = 16  # addresses: ports of one are used up after 28,000 sessions


class Rush:
    """So many sessions, 64 at a time, to a target of its own."""

    def __init__(self, build, at, folder, count, mode="sessions", at_once=64):
        self.listed = os.path.join(folder, "granted")
        self.count = count
        first = fresh_address().rsplit(".", 1)[0] + ".1"
        self._target = self._start(build, "target", first, str(TARGETS))
        line = self._target.stdout.readline().split()
        assert line[:1] == [b"port"], "the target did not start"
        arguments = [mode, "-t", f"{first}:{int(line[1])}", "-n", str(TARGETS), "-p",
                     f"{at[0]}:{at[1]}", "-k", str(at_once), "-N", str(count), "-w", "1",
                     "-d", "600000", "-b", "600"]
        arguments += ["-r", self.listed] if mode == "sessions" else ["-g"]
        self._load = self._start(build, "load", *arguments)

    @staticmethod
    def _start(build, name, *arguments):
        return subprocess.Popen([os.path.join(build, "tests/bench", name), *arguments],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, preexec_fn=net.die_with_parent)

    def running(self):
        return self._load.poll() is None

    def reached(self, word):
        """Waits for a gate of the generator, which has a limit of its own."""
        line = self._load.stdout.readline().decode().strip()
        assert line == word, (line, self._load.stderr.read() if not line else "")

    def pass_gate(self):
        self._load.stdin.write(b"\n")
        self._load.stdin.flush()

    def end(self, seconds=300):
        """What it says of itself, once all is done."""
        try:
            out, err = self._load.communicate(timeout=seconds)
        finally:
            self.close()
        assert out, err
        return json.loads(out)

    def granted(self):
        """{(address, port): how often}"""
        with open(self.listed, encoding="ascii") as file:
            return collections.Counter(tuple(line.split()) for line in file)

    def close(self):
        for process in (self._load, self._target):
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)
            for stream in (process.stdin, process.stdout, process.stderr):
                stream.close()


def check_all_told(rush, records):
    """Each session that the generator was granted has one start and one end; nothing is told twice."""
    granted = rush.granted()
    assert sum(granted.values()) >= rush.count * 0.99

    def told():
        sessions, seqs = {}, []
        for record in records():
            seqs.append(record["audit"]["seq"])
            if "session" in record.get("socks", {}):
                sessions.setdefault(record["socks"]["session"], []).append(
                    (record["event"]["action"], record["source"]["ip"],
                     str(record["source"]["port"])))
        return sessions, seqs

    def started(sessions):
        return collections.Counter(s[0][1:] for s in sessions.values() if s[0][0] == "session-start")

    def complete():
        sessions, _ = told()
        return (all(s[-1][0] != "session-start" for s in sessions.values())
                and not granted - started(sessions))
    with contextlib.suppress(AssertionError):  # what is missing is told below
        until(complete, "the ends of all sessions", 3 * PATIENCE, every=1)
    sessions, seqs = told()
    for session, events in sessions.items():
        words = [e[0] for e in events]
        assert words in (["session-start", "session-end"], ["session-deny"], ["session-fail"],
                         ["session-end"]), (session, events)
    missing = granted - started(sessions)
    assert not missing, f"granted and not told: {list(missing.items())[:5]}"
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
