"""Reports: medians with spread, ratios, and the targets of PERFORMANCE.md held against them.

Results are {scenario: {contender: [values of each round]}}; a round that could not be
counted is None. Ratios are taken round by round, so that a drift of the machine falls out.
"""

import json
import os
import platform
import statistics
import time

import meters


def column(results, scenario, contender, key):
    """The key's value in each counted round, with the round's number."""
    rounds = results.get(scenario, {}).get(contender, [])
    return {i: v[key] for i, v in enumerate(rounds) if v is not None and v.get(key) is not None}


def median(values):
    return statistics.median(values) if values else None


def middle(results, scenario, contender, key):
    return median(list(column(results, scenario, contender, key).values()))


def ratio(results, scenario, key, other, ours="sallyport"):
    """Median over rounds of ours / theirs; None when they never ran together."""
    a = column(results, scenario, ours, key)
    b = column(results, scenario, other, key)
    return median([a[i] / b[i] for i in a if b.get(i)])


def number(value):
    if value is None:
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.2 or size == 0 else 3
    return f"{value:,.{digits}f}"


def spread(results, scenario, contender, key):
    values = list(column(results, scenario, contender, key).values())
    if not values:
        return "–"
    text = number(median(values))
    if len(values) > 1:
        text += f" [{number(min(values))}–{number(max(values))}]"
    return text


def idle_bytes(results, contender):
    """User + kernel bytes of an idle session."""
    user = middle(results, "idle", contender, "user")
    kernel = kernel_bytes(results, contender)
    return None if user is None or kernel is None else user + kernel


def kernel_bytes(results, contender):
    """Charged to the proxy's cgroup; by slabinfo where no cgroup counts it."""
    kernel = middle(results, "idle", contender, "kernel")
    return slab_kernel(results, contender) if kernel is None else kernel


def slab_kernel(results, contender):
    """Kernel bytes of a session by slabinfo: all ends together less those of a direct one."""
    whole = middle(results, "idle", contender, "slab")
    ends = middle(results, "idle", "direct", "slab")
    return None if whole is None or ends is None else whole - ends


def rate_rows(scenario, results, names):
    rows = [[scenario.title] + [spread(results, scenario.name, n, "rate") for n in names]]
    cells = []
    for n in names:
        norm = middle(results, scenario.name, n, "norm")
        cpu = middle(results, scenario.name, n, "cpu")
        cells.append("–" if norm is None else f"{number(cpu)} ({number(norm)})")
    what = {"sessions": "CPU µs a session (norm)", "requests": "CPU µs a request (norm)",
            "udp": "CPU µs a datagram (norm)"}
    rows.append([what.get(scenario.name, "CPU s/GiB (norm)")] + cells)
    if scenario.name == "sessions":
        cells = []
        for n in names:
            half, late = (middle(results, "sessions", n, k) for k in ("p50_us", "p99_us"))
            cells.append("–" if half is None else f"{number(half)} / {number(late)}")
        rows.append(["whole session µs, p50 / p99"] + cells)
    return rows


def latency_rows(scenario, results, names):
    late = [spread(results, "latency", n, "p99_us") for n in names]
    rows = [[scenario.title] + [spread(results, "latency", n, "p50_us") for n in names]]
    return rows + [["the same, p99"] + late]


def idle_rows(scenario, results, names):
    cells, slabs, cpus = [], [], []
    for n in names:
        user = middle(results, "idle", n, "user")
        kernel = kernel_bytes(results, n)
        whole = idle_bytes(results, n)
        if n == "direct" or user is None:
            cells.append("–")
            slabs.append("–")
            cpus.append("–")
            continue
        cells.append(f"{number(user)} + {number(kernel)} = {number(whole)}")
        slabs.append(number(slab_kernel(results, n)))
        cpus.append(f"{middle(results, 'idle', n, 'idle_cpu'):.2%}")
    return [
        ["idle session, user + kernel bytes"] + cells,
        ["kernel bytes by slabinfo"] + slabs,
        ["CPU while idle"] + cpus,
    ]


def limit_rows(scenario, results, names):
    cells = []
    for n in names:
        v = next((v for v in results["limit"].get(n, []) if v is not None), None)
        if v is None:
            cells.append("–")
            continue
        says = v["refused"] + v["closed"] + v["nowhere"]
        text = f"{v['held']:,}; {says} refused in ≤ {v['slowest_ms']:.0f} ms, {v['hung']} left hanging"
        if v["alive"] < v["held"]:
            text += f", {v['held'] - v['alive']} died"
        if not v["room_again"]:
            text += ", full ever after"
        cells.append(text)
    return [[scenario.title] + cells]


def start_rows(scenario, results, names):
    return [[scenario.title] + [spread(results, "start", n, "first_session_ms") for n in names]]


ROWS = {"latency": latency_rows, "idle": idle_rows, "limit": limit_rows, "start": start_rows}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


# ---- targets ----------------------------------------------------------------


class Target:
    """One promise: `value` of the results must be at most or at least `bound`."""

    def __init__(self, scenario, text, bound, value, least=False):
        self.scenario, self.text, self.bound = scenario, text, bound
        self.value, self.least = value, least

    def judge(self, results):
        """True, False, or None when it was not measured; and the measured value."""
        value = self.value(results)
        if value is None:
            return None, None
        return (value >= self.bound if self.least else value <= self.bound), value


def at_most(scenario, key, bound, text):
    return Target(scenario, text, bound, lambda r: middle(r, scenario, "sallyport", key))


def times(scenario, other, bound, key="rate"):
    text = f"{bound:g}x {other}"
    return Target(scenario, text, bound, lambda r: ratio(r, scenario, key, other), least=True)


def added_latency(results):
    ours = column(results, "latency", "sallyport", "p50_us")
    bare = column(results, "latency", "direct", "p50_us")
    return median([ours[i] - bare[i] for i in ours if i in bare])


def limit_value(key):
    def value(results):
        rounds = [v for v in results.get("limit", {}).get("sallyport", []) if v is not None]
        return key(rounds[0]) if rounds else None

    return value


TARGETS = [
    at_most("sessions", "norm", 1.05, "norm ≤ 1.05"),
    times("sessions", "dante", 2.5),
    *(
        target
        for name in ("bulk-1", "bulk-8", "bulk-64")
        for target in (
            at_most(name, "norm", 0.50, "norm ≤ 0.50"),
            times(name, "dante", 2.5),
            times(name, "direct", 0.60),
        )
    ),
    at_most("bulk-both", "norm", 0.65, "norm ≤ 0.65"),
    times("bulk-both", "dante", 2.4),
    at_most("requests", "norm", 1.00, "norm ≤ 1.00"),
    times("requests", "dante", 1.1),
    times("requests", "haproxy", 0.95),
    at_most("udp", "cpu", 2.5, "≤ 2.5 µs of CPU a datagram"),
    times("udp", "dante", 3.5),
    times("udp", "direct", 0.6),
    Target("latency", "adds ≤ 10 µs at p50", 10.0, added_latency),
    Target("idle", "≤ 7,000 bytes, user + kernel", 7000, lambda r: idle_bytes(r, "sallyport")),
    at_most("idle", "idle_cpu", 0.001, "no idle CPU (≤ 0.001 of one)"),
    Target("limit", "≥ 9,900 sessions", 9900, limit_value(lambda v: v["held"]), least=True),
    Target("limit", "then refusals within 1,000 ms", 1000, limit_value(lambda v: v["slowest_ms"])),
    Target("limit", "none left hanging, none of the held dead", 0,
           limit_value(lambda v: v["hung"] + v["held"] - v["alive"] + (not v["room_again"]))),
    at_most("start", "first_session_ms", 50.0, "under 50 ms"),
]


def target_rows(results, scenarios):
    rows = []
    for scenario in scenarios:
        for target in TARGETS:
            if target.scenario != scenario.name:
                continue
            good, value = target.judge(results)
            mark = {True: "met", False: "**missed**", None: "not measured"}[good]
            rows.append([scenario.title, target.text, number(value), mark])
    return rows


def ratio_rows(results, scenarios, names):
    rows = []
    for scenario in scenarios:
        key = {"latency": "p50_us", "start": "first_session_ms"}.get(scenario.name, "rate")
        if scenario.name in ("idle", "limit"):
            continue
        cells = [number(ratio(results, scenario.name, key, n)) for n in names]
        if any(cell != "–" for cell in cells):
            rows.append([scenario.title] + cells)
    whole = idle_bytes(results, "sallyport")
    if whole is not None:
        others = [idle_bytes(results, n) if n != "direct" else None for n in names]
        rows.append(["bytes of an idle session"] +
                    ["–" if o is None else number(whole / o) for o in others])
    return rows


# ---- whole ------------------------------------------------------------------


def machine():
    model = "unknown processor"
    for line in meters.read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = meters.read_table_kib("MemTotal")
    return {
        "processors": len(os.sched_getaffinity(0)),
        "model": model,
        "memory_gib": round(memory / 2**20, 1),
        "kernel": platform.release(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "meter": meters.describe(),
    }


def markdown(results, scenarios, contenders, facts, dropped):
    names = [c.name for c in contenders]
    lines = [
        "# Benchmark",
        "",
        f"{facts['processors']} processors ({facts['model']}), {facts['memory_gib']:g} GiB, Linux "
        f"{facts['kernel']}, TCP with {facts['congestion']}, {facts['date']}. Everything on loopback; "
        f"{facts['rounds']} rounds, the contenders in turn within each; median [least–most]. Made by `./dev bench`.",
        "",
        "Versions: " + ", ".join(f"{c.title} {c.version()}" for c in contenders if c.version()) + ".",
        f"Sallyport runs with a policy of {facts['rules']:,} rules and writes a ledger record at each start and "
        "end; the others have no rules to speak of and no log. HAProxy speaks no SOCKS: its fixed "
        "backend is a limit. The norm is CPU of the proxy divided by CPU of client and target in "
        f"the same run ({facts['meter']}). Rounds in which something else used more than "
        f"{facts['noise']:.0%} of the machine are dropped and repeated"
        + (f"; {dropped} were." if dropped else "; none was."),
        "",
    ]
    rows = []
    for scenario in scenarios:
        rows += ROWS.get(scenario.name, rate_rows)(scenario, results, names)
    lines += table([""] + [c.title for c in contenders], rows)
    if "sallyport" in names:
        others = [c for c in contenders if c.name != "sallyport"]
        found = ratio_rows(results, scenarios, [c.name for c in others])
        if found and others:
            lines += ["", "Sallyport against each, round by round:", ""]
            lines += table([""] + ["/ " + c.title for c in others], found)
        lines += ["", "Targets (the *must* of our performance plan):", ""]
        lines += table(["", "must", "measured", ""], target_rows(results, scenarios))
    return "\n".join(lines) + "\n"


def as_json(results, scenarios, contenders, facts):
    verdicts = []
    for target in TARGETS:
        good, value = target.judge(results)
        verdicts.append({"scenario": target.scenario, "must": target.text, "measured": value,
                         "met": good})
    whole = {
        "machine": facts,
        "versions": {c.name: c.version() for c in contenders},
        "rounds": {s.name: results.get(s.name, {}) for s in scenarios},
        "targets": [v for v in verdicts if v["scenario"] in {s.name for s in scenarios}],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)
