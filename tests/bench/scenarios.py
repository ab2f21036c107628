"""Scenarios: what is measured, one contender at a time, each in a fresh start.

A stage holds a contender, a target and load generators, each in a group of their own. A
generator stops at gates; there the meters are read, so that only the measured stretch counts.
Each scenario returns its values as a dict; "other" is the share of the machine that something
else used meanwhile.
"""

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time

import meters

FIRST_TARGET = "127.32.0.1"
TARGETS = 16


class Trouble(Exception):
    """A run that cannot be counted; the text says why."""


class Plan:
    """Sizes and times of one whole benchmark."""

    def __init__(self, build, quick, noise, congestion="system"):
        processors = os.sched_getaffinity(0)
        self.build = build
        self.noise = noise
        self.congestion = congestion
        self.workers = len(processors)
        self.pinned = {min(processors)}
        self.generators = max(1, len(processors) // 4)
        self.run_ms = 1000 if quick else 3000
        self.warm_ms = 300 if quick else 500
        self.idle_sessions = 1000 if quick else 4000
        self.idle_seconds = 1.0 if quick else 3.0
        self.most_sessions = 12000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def read_line(stream, seconds):
    """One line of a child's unbuffered output; None when it ends or takes too long."""
    line = b""
    bound = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = bound - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            return None
        byte = os.read(stream.fileno(), 1)
        if not byte:
            return None
        line += byte
    return line.decode("ascii", "replace").strip()


class Readings:
    """What every meter says at one gate."""

    def __init__(self, stage):
        self.machine = meters.machine_seconds()
        self.softirq = meters.softirq_seconds()
        self.own = sum(os.times()[:2])
        self.proxy = stage.proxy.cpu_seconds()
        self.target = stage.target.cpu_seconds()
        self.load = stage.load.cpu_seconds()
        self.time = time.monotonic()

    def since(self, start):
        proxy = self.proxy - start.proxy
        ends = self.target - start.target + self.load - start.load
        seconds = self.time - start.time
        ours = proxy + ends + self.own - start.own + self.softirq - start.softirq
        other = (self.machine - start.machine - ours) / (seconds * os.cpu_count())
        return {
            "proxy_cpu": proxy,
            "ends_cpu": ends,
            "wall": seconds,
            "softirq": (self.softirq - start.softirq) / (seconds * os.cpu_count()),
            "other": max(0.0, other),
        }


class Stage:
    """A contender with its target, started; see stage()."""

    def __init__(self, plan, contender, folder, processors, workers):
        self.plan = plan
        self.contender = contender
        self.folder = folder
        self.processors = processors
        self.workers = workers
        self.errors = open(os.path.join(folder, "stderr"), "a+b")  # pylint: disable=R1732
        self.proxy = meters.Group("proxy")
        self.target = meters.Group("target")
        self.load = meters.Group("load")
        self.port = self.target_port = 0
        self.command = None

    def start_target(self):
        self.serving = self.target.spawn(
            [os.path.join(self.plan.build, "tests/bench/target"), FIRST_TARGET, str(TARGETS)],
            processors=self.processors,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        line = read_line(self.serving.stdout, 5)
        if line is None:
            raise Trouble("the target does not start")
        self.target_port = int(line.split()[1])

    def prepare_proxy(self):
        first, last = FIRST_TARGET.rsplit(".", 1)
        rows = [f"{first}.{int(last) + i}:{self.target_port}" for i in range(TARGETS)]
        self.port = free_port()
        self.command = self.contender.prepare(self.folder, self.port, rows, self.workers)

    def start_proxy(self):
        if self.command is None:
            return
        child = self.proxy.spawn(
            self.command,
            processors=self.processors,
            descriptors=meters.DESCRIPTORS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if self.contender.chatty else self.errors,
            cwd=self.folder,
        )
        bound = time.monotonic() + 10
        while time.monotonic() < bound:
            if child.poll() is not None:
                raise Trouble(f"it ended with status {child.returncode}{self.last_error()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise Trouble(f"it does not listen{self.last_error()}")

    def load_command(self, mode, *options):
        argv = [os.path.join(self.plan.build, "tests/bench/load"), mode]
        argv += ["-t", f"{FIRST_TARGET}:{self.target_port}", "-n", str(TARGETS)]
        argv += ["-v", self.contender.speak]
        if self.command is not None:
            argv += ["-p", f"127.0.0.1:{self.port}"]
        return argv + [str(o) for o in options]

    def start_load(self, mode, *options):
        return self.load.spawn(
            self.load_command(mode, *options),
            processors=self.processors,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def await_word(self, child, word, seconds):
        line = read_line(child.stdout, seconds)
        if line != word:
            raise Trouble(f"the generator said {line!r} instead of {word!r}{self.last_error()}")

    def result(self, child, seconds=60):
        line = read_line(child.stdout, seconds)
        try:
            status = child.wait(10)
            values = json.loads(line or "")
        except (subprocess.TimeoutExpired, ValueError):
            raise Trouble(f"the generator gave no result{self.last_error()}") from None
        if status != 0:
            raise Trouble(f"the generator ended with {status}: {line}{self.last_error()}")
        return values

    def last_error(self):
        self.errors.flush()
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        ours = [line for line in lines if line.startswith(("load:", "target:"))]
        return f" ({(ours or lines)[-1]})" if lines else ""

    def measure(self, mode, *options, at_once=1):
        """Runs generators with K sessions in all; the sum of what they say and the meters."""
        plan = self.plan
        shares = share(at_once, plan.generators)
        loads = []
        for i, part in enumerate(shares):
            loads.append(
                self.start_load(mode, "-g", "-k", part, "-S", i * 100000, "-w", plan.warm_ms,
                                "-d", plan.run_ms, *options)
            )
        for child in loads:
            self.await_word(child, "begin", 30)
        start = Readings(self)
        go(loads)
        for child in loads:
            self.await_word(child, "end", plan.run_ms / 1000 + 30)
        values = Readings(self).since(start)
        go(loads)
        results = [self.result(child) for child in loads]
        for key in results[0]:
            amounts = [r[key] for r in results]
            summed = key in ("done", "failed", "received", "sent", "lost")
            values[key] = sum(amounts) if summed else max(amounts)
        if values["other"] > plan.noise:
            raise Noise(f"something else used {values['other']:.0%} of the machine")
        return values

    def close(self):
        """Ends everything; a wrong byte at the target spoils the run."""
        self.load.end(patience=1)
        self.proxy.end()
        told = ""
        if getattr(self, "serving", None) is not None and self.serving.poll() is None:
            self.serving.terminate()
            told = read_line(self.serving.stdout, 5) or ""
        self.target.end()
        for child in self.load.children + self.target.children:
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        self.errors.close()
        return told


class Noise(Trouble):
    """The machine was not ours alone; the run may be repeated."""


def share(whole, parts):
    parts = min(whole, parts)
    return [whole // parts + (i < whole % parts) for i in range(parts)]


def go(loads):
    for child in loads:
        try:
            child.stdin.write(b"\n")
            child.stdin.flush()
        except OSError:
            raise Trouble("a generator has gone") from None


@contextlib.contextmanager
def stage(plan, contender, processors=None, workers=None, start=True):
    """A contender and its target, alone in a new network where that can be had."""
    if not meters.new_network(plan.congestion):
        meters.wait_for_time_wait()
    folder = tempfile.mkdtemp(prefix="sallyport-bench-")
    os.chmod(folder, 0o755)
    s = None
    try:
        s = Stage(plan, contender, folder, processors, workers or plan.workers)
        s.start_target()
        s.prepare_proxy()
        if start:
            s.start_proxy()
        yield s
        told = s.close()
        s = None
        if json.loads(told or '{"wrong": 1}')["wrong"] > 0:
            raise Trouble(f"the target saw wrong bytes, or died: {told}")
    finally:
        if s is not None:
            s.close()
        shutil.rmtree(folder, ignore_errors=True)


def with_norm(values, units, per):
    """Adds CPU for each unit (times `per`) and the norm."""
    if values["proxy_cpu"] > 0 and units > 0:
        values["cpu"] = values["proxy_cpu"] / units * per
        values["norm"] = values["proxy_cpu"] / values["ends_cpu"]
    return values


def run_sessions(plan, contender):
    with stage(plan, contender) as s:
        v = s.measure("sessions", at_once=32)
    v["rate"] = v["done"] / v["seconds"]
    return with_norm(v, v["done"], 1e6)


def bulk(streams, flow):
    def run(plan, contender):
        with stage(plan, contender) as s:
            v = s.measure("bulk", "-f", flow, at_once=streams)
        moved = v["received"] + v["sent"]
        v["rate"] = moved * 8 / v["seconds"] / 1e9
        return with_norm(v, moved, 2**30)

    return run


def run_requests(plan, contender):
    with stage(plan, contender) as s:
        v = s.measure("requests", at_once=64)
    v["rate"] = v["done"] / v["seconds"]
    return with_norm(v, v["done"], 1e6)


def run_udp(plan, contender):
    with stage(plan, contender) as s:
        v = s.measure("udp", at_once=16)
    v["rate"] = v["done"] / v["seconds"]
    return with_norm(v, v["done"], 1e6)


def run_latency(plan, contender):
    with stage(plan, contender, processors=plan.pinned, workers=1) as s:
        return s.measure("latency", at_once=1)


def run_idle(plan, contender):
    count = plan.idle_sessions
    with stage(plan, contender) as s:
        # What a process needs once (its code's pages, its pools) is no session's: some are there before.
        first = s.start_load("idle", "-g", "-N", 500)
        s.await_word(first, "begin", 30)
        go([first])
        s.await_word(first, "held", 60)
        child = s.start_load("idle", "-g", "-N", count)
        s.await_word(child, "begin", 30)
        time.sleep(0.5)
        user, kernel, slab = s.proxy.user_bytes(), s.proxy.kernel_bytes(), meters.slab_bytes()
        go([child])
        s.await_word(child, "held", 60)
        time.sleep(1.0)
        user = s.proxy.user_bytes() - user
        if kernel is not None:
            kernel = s.proxy.kernel_bytes() - kernel
        if slab is not None:
            slab = meters.slab_bytes() - slab
        start = Readings(s)
        time.sleep(plan.idle_seconds)
        v = Readings(s).since(start)
        for one in (first, child):
            go([one])
            s.await_word(one, "end", 10)
            go([one])
        s.result(first)
        v.update(s.result(child))
    if v["alive"] != count:
        raise Trouble(f"of {count} idle sessions only {v['alive']} lived on")
    v["user"] = user / count
    v["kernel"] = None if kernel is None else kernel / count
    v["slab"] = None if slab is None else slab / count  # both ends and the proxy: see report
    v["idle_cpu"] = v["proxy_cpu"] / v["wall"]
    return v


def run_limit(plan, contender):
    """Until the descriptors of one worker are used up."""
    with stage(plan, contender, workers=1) as s:
        child = s.start_load("limit", "-N", plan.most_sessions, "-b", "110")
        return s.result(child, 120)


def run_start(plan, contender):
    with stage(plan, contender, start=False) as s:
        child = s.load.spawn(
            s.load_command("start", "-b", "20", "--", *s.command),
            stdout=subprocess.PIPE,
            stderr=s.errors,
            descriptors=meters.DESCRIPTORS,
            cwd=s.folder,
        )
        return s.result(child, 40)


class Scenario:
    """One row of the benchmark; `only` names the contenders it makes sense for."""

    def __init__(self, name, title, run, unit, rounds=None, without=(), only=None):
        self.name, self.title, self.run, self.unit = name, title, run, unit
        self.rounds, self.without, self.only = rounds, without, only

    def takes(self, contender):
        return contender not in self.without and (self.only is None or contender in self.only)


ALL = [
    Scenario("sessions", "new sessions/s, 32 at a time", run_sessions, "µs"),
    Scenario("bulk-1", "1 stream down, Gbit/s", bulk(1, "down"), "s/GiB"),
    Scenario("bulk-8", "8 streams down, Gbit/s", bulk(8, "down"), "s/GiB"),
    Scenario("bulk-64", "64 streams down, Gbit/s", bulk(64, "down"), "s/GiB"),
    Scenario("bulk-both", "8 streams both ways, Gbit/s", bulk(8, "both"), "s/GiB"),
    Scenario("requests", "64-byte requests/s, 64 sessions", run_requests, "µs"),
    Scenario("udp", "64-byte datagrams/s, 16 associations", run_udp, "µs",
             only=("direct", "sallyport", "dante")),
    Scenario("latency", "lone request pinned, µs p50", run_latency, None),
    Scenario("idle", "an idle session", run_idle, None, rounds=2),
    Scenario("limit", "sessions at 20,000 descriptors", run_limit, None, rounds=1,
             only=("sallyport", "microsocks")),
    Scenario("start", "start to first session, ms", run_start, None, without=("direct",)),
]


def choose(words):
    """Scenarios by name; "bulk" is all of the bulk ones."""
    chosen = []
    for word in words:
        found = [s for s in ALL if s.name == word or s.name.startswith(word + "-")]
        if not found:
            raise SystemExit(f"no scenario is called {word!r}: {' '.join(s.name for s in ALL)}")
        chosen += [s for s in found if s not in chosen]
    return chosen
