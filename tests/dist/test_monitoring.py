"""The dashboard and the alert rules name only metrics, labels and values that the server tells."""
import json
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from harness.metrics import manual  # noqa: E402  pylint: disable=wrong-import-position

DASHBOARD = os.path.join(ROOT, "etc", "grafana", "sallyport.json")
ALERTS = os.path.join(ROOT, "etc", "prometheus", "sallyport.rules.yml")
METRIC = re.compile(r"\b((?:sallyport|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")
PROMETHEUS_OWN = {"job", "instance", "le"}
# closed sets that an expression may ask for
VALUES = {"state": {"ok", "refusing", "dropping", "connecting", "stalled", "down"},
          "result": {"taken", "refused", "success", "failure", "unavailable", "passed"},
          "verdict": {"allowed", "denied", "failed", "allow", "deny", "dry-run"},
          "reason": {"policy", "limit", "ledger", "descriptors"}, "job": {"sallyport", "$job"},
          "instance": {"$instance"}}


def dashboard():
    with open(DASHBOARD, encoding="utf-8") as file:
        return json.load(file)


def expressions():
    found = [(panel["title"], target["expr"], target["legendFormat"])
             for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    out = subprocess.run(["/usr/bin/python3", "-c", "import sys, yaml, json;"
                          "print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", ALERTS],
                         capture_output=True, text=True, check=True).stdout
    for group in json.loads(out)["groups"]:
        for rule in group["rules"]:
            words = " ".join(re.sub(r"\$labels\.", "", w) for w in rule["annotations"].values())
            found.append((rule["alert"], rule["expr"], words))
    return found


def metrics_of(expr):
    """(name of the family, labels asked for) of each metric in an expression."""
    known = manual()
    for name, inside in METRIC.findall(expr):
        family = name if name in known else re.sub("_(bucket|sum|count)$", "", name)
        yield family, re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', inside)


def labels_kept(expr):
    """The labels that a legend can name: those of the outermost `by`, else of the metric."""
    by = re.search(r"\bby \(([^)]*)\)", expr)
    if by:
        return set(re.split(r",\s*", by[1]))
    known = manual()
    return set().union(*(known[family][0] for family, _ in metrics_of(expr))) | PROMETHEUS_OWN


def test_every_metric_is_one():
    known = manual()
    used = set()
    for title, expr, _ in expressions():
        for family, asked in metrics_of(expr):
            assert family in known, (title, family)
            used.add(family)
            for label, _, value in asked:
                assert label in known[family][0] | PROMETHEUS_OWN, (title, label)
                assert set(value.split("|")) <= VALUES[label], (title, label, value)
        for by in re.findall(r"\bby \(([^)]*)\)", expr):
            possible = set().union(*(known[f][0] for f, _ in metrics_of(expr))) | PROMETHEUS_OWN
            assert set(re.split(r",\s*", by)) <= possible, (title, by)
        # a counter is only shown as a rate, and a quantile only of a histogram
        for family, _ in metrics_of(expr):
            if known[family][1] == "counter" and "stat" not in title.lower():
                assert re.search(r"\b(rate|increase)\(" + family, expr) or \
                    title == "Workers restarted", (title, family)
            if "histogram_quantile" in expr and "worst case" not in expr:
                assert known[family][1] == "histogram", (title, family)
    # what has no place on the dashboard is named here
    assert set(known) - used == {"sallyport_bind_strangers_total",
                                 "sallyport_rule_last_match_timestamp_seconds",
                                 "process_start_time_seconds", "process_virtual_memory_bytes"}


def test_legends_name_labels_that_are_there():
    for title, expr, legend in expressions():
        for label in re.findall(r"\{\{ ?(\w+) ?\}\}", legend):
            assert label in labels_kept(expr), (title, label)


def test_the_dashboard_is_one():
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) and board["uid"] == "sallyport"
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def promtool(*args, text=None):
    done = subprocess.run(["promtool", *args], input=text, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_promtool_takes_the_rules():
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", ALERTS)


def test_promtool_reads_every_query(tmp_path):
    """Each query of the dashboard as a recording rule: so its syntax is checked."""
    rules = []
    for number, (_, expr, _) in enumerate(expressions()):
        expr = expr.replace("$__rate_interval", "5m").replace("$job", "j").replace("$instance", "i")
        rules.append({"record": f"query:{number}", "expr": expr})
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


ALARMS = [
    ("SallyportDown", 'up{job="sallyport",instance="a"}', "1 0 0 0 0 0"),
    ("SallyportAuditNotWriting", 'sallyport_audit_state{instance="a",state="refusing"}',
     "0 1 1 1 1 1"),
    ("SallyportWorkerDied", 'sallyport_worker_restarts_total{instance="a"}', "0 0 1 1 1 1"),
    ("SallyportReloadRefused",
     'sallyport_policy_reloads_total{instance="a",result="refused"}', "0 0 1 1 1 1"),
    ("SallyportCopyDown", 'sallyport_audit_copy_state{instance="a",copy="siem",state="down"}',
     "0 1 1 1 1 1"),
    ("SallyportCopyBehind", 'sallyport_audit_copy_lag_seconds{instance="a",copy="siem"}',
     "0 100 160 220 280 340"),
    ("SallyportCopyIncomplete", 'sallyport_audit_copy_dropped_total{instance="a",copy="siem"}',
     "0 0 12 12 12 12"),
    ("SallyportAuditBehind", 'sallyport_audit_ring_used_ratio{instance="a",worker="1"}',
     "0 0.6 0.7 0.8 0.9 0.9"),
]


@pytest.mark.parametrize("alarm, series, values", ALARMS)
def test_alarms_ring(tmp_path, alarm, series, values):
    """promtool runs the rule over a series that ought to ring it, and over a quiet one."""
    def run(shown, rings):
        test = {"rule_files": [ALERTS], "evaluation_interval": "1m", "tests": [{
            "interval": "1m", "input_series": [{"series": series, "values": shown}],
            "promql_expr_test": [{
                "expr": f'count(ALERTS{{alertname="{alarm}",alertstate="firing"}})',
                "eval_time": "5m",
                "exp_samples": [{"labels": "{}", "value": 1}] if rings else []}]}]}
        path = tmp_path / "test.yml"
        path.write_text(json.dumps(test))
        promtool("test", "rules", str(path))
    run(values, True)
    run(" ".join([values.split()[0]] * 6), False)
