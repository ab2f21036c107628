"""Reads a page of metrics, and what the manual says of it."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

# What the ledger's and the metrics' design asks for, name by name; the prefix is added.
WANTED = """
build_info policy_info{name,hash} policy_rules policy_worst_case_rules policy_reloads_total{result} handovers_total
rule_matches_total{rule,verdict} rule_last_match_timestamp_seconds{rule}
connections_accepted_total{listener} connections_refused_total{listener,reason}
handshake_seconds{version} auth_attempts_total{method,result} auth_seconds{method}
auth_queue_length sessions{command} sessions_started_total{command,verdict}
sessions_ended_total{command,reason} session_duration_seconds{command} decision_seconds
decision_rules_tested bytes_total{direction,transport} datagrams_total{direction,result}
dns_queries_total{result} dns_seconds connect_seconds ident_lookups_total{result}
audit_records_total{event} audit_ring_used_ratio{worker} audit_state{state}
audit_copy_lag_records{copy} audit_copy_lag_bytes{copy} audit_copy_lag_seconds{copy}
audit_copy_sent_total{copy} audit_copy_dropped_total{copy} audit_copy_state{copy,state}
worker_restarts_total event_loop_lag_seconds{worker}
""".split()
PROCESS = ("cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "open_fds",
           "max_fds", "start_time_seconds")


class Page:
    """values: {(name, frozenset of labels): value}; families: {name: (type, help)}; labels: {name: set}."""

    def __init__(self, text):
        self.values, self.families, self.labels = {}, {}, {}
        for line in text.splitlines():
            if line.startswith("#"):
                self.comment(line)
            else:
                self.value(line)

    def comment(self, line):
        _, what, name, rest = line.split(" ", 3)
        kind, words = self.families.get(name, ("", ""))
        self.families[name] = (rest, words) if what == "TYPE" else (kind, rest)

    def value(self, line):
        name, labels, value = LINE.match(line).groups()
        found = dict(LABEL.findall(labels or ""))
        self.values[name, frozenset(found.items())] = float(value)
        family = name
        if name not in self.families:
            family = re.sub("_(bucket|sum|count)$", "", name)
            found.pop("le", None)
        assert family in self.families, name
        self.labels.setdefault(family, set()).update(found)

    def get(self, metric, **labels):
        return self.values["sallyport_" + metric, frozenset(labels.items())]

    def all(self, name):
        """{labels as a dict's items: value} of one name, prefix included."""
        return [(dict(labels), value) for (n, labels), value in self.values.items() if n == name]


def wanted():
    """{name: set of labels} of the design."""
    names = {}
    for word in WANTED:
        name, _, labels = word.partition("{")
        names["sallyport_" + name] = set(labels.rstrip("}").split(",")) - {""}
    return names


def manual():
    """{name: (labels, type)} of the table in sallyport-audit(5)."""
    with open(os.path.join(ROOT, "docs", "sallyport-audit.5"), encoding="utf-8") as file:
        text = file.read()
    table = text[text.index('.\\" table: metrics'):]
    table = table[:table.index(".El")]
    rows = re.findall(r"^\.It Cm (\S+) Ta (.*?) Ta (\w+) Ta (.*)$", table, re.M)
    return {name: (set(labels.replace("\\(en", "").split(", ")) - {""}, kind)
            for name, labels, kind, _ in rows}


def rows(page):
    """The table as it ought to stand there."""
    for name, (kind, words) in sorted(page.families.items()):
        labels = ", ".join(sorted(page.labels.get(name, ()))) or "\\(en"
        words = words.rstrip(".")
        words = words[0].lower() + words[1:]
        yield f".It Cm {name} Ta {labels} Ta {kind} Ta {words}"
