"""What ships for Prometheus and Grafana, as far as files tell: names, units, runbooks, tests for each alert."""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(os.environ.get("FLOWAWR_SOURCE_DIR", "."))
sys.path.insert(0, str(ROOT / "deploy/grafana"))
from dashboard_queries import boards  # noqa: E402

RULES = [rule for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
         for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PANELS = [(board["uid"], panel) for board in boards() for panel in board["panels"]]


def metrics_in(expression):
    """Names of this project's metrics, those of histograms without their ending."""
    names = set(re.findall(r"\b(?:[a-z_]+:)*(?:flowawr|process)_[a-z_]+(?::[a-z0-9_]+)?", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


@pytest.fixture(scope="module")
def catalogue():
    """By name: the labels."""
    source = (ROOT / "common/telemetry/metric_catalogue.cc").read_text()
    entries = re.findall(r'\{"\w+", "(\w+)", k\w+, "[^"]*", "([\w,]*)"', source)
    assert len(entries) > 60
    return {name: set(filter(None, labels.split(","))) for name, labels in entries}


def expressions():
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for uid, panel in PANELS:
        for target in panel["targets"]:
            yield f"{uid}: {panel['title']}", target["expr"]


@pytest.mark.parametrize("where,expression", list(expressions()), ids=lambda value: value if len(value) < 60 else "")
def test_every_metric_of_a_query_is_one_that_a_process_shows(where, expression, catalogue):
    for name in metrics_in(expression):
        if name == "process_cpu_seconds:rate5m":  # the end of a recorded name
            continue
        assert name in catalogue or name in RECORDED or name == "flowawr_build_info", name
    # Labels that are asked for are those of the metric, or what Prometheus adds.
    for name, selector in re.findall(r"\b((?:flowawr|process)_[a-z_]+)\{([^}]*)\}", expression):
        name = re.sub(r"_(bucket|sum|count)$", "", name) if name not in catalogue else name
        for label in re.findall(r"(\w+)\s*[=!]", selector):
            assert label in catalogue[name] | {"run", "instance", "job"}, (name, label)


# Metrics that no board shows and no rule asks for, and why.
ASKED_BY_NOBODY = {
    "flowawr_learner_run_info": "joins names to the id of a run",
    "flowawr_learner_actor_info": "joins addresses to the names of actors",
    "process_virtual_memory_bytes": "mapped files of models count, used or not; boards show resident memory",
    "process_threads": "for the search after threads that are left behind",
    **dict.fromkeys(("flowawr_learner_samples_accepted_total", "flowawr_learner_actor_samples_total"),
                    "groups are shown; each has rollout.samples_per_group"),
    **dict.fromkeys(("flowawr_learner_actor_stage_seconds_total", "flowawr_learner_policy_peer_failures_total"),
                    "shown by the actors themselves, in more detail; these are for when nobody can read their pages"),
    **dict.fromkeys(("flowawr_actor_policy_fetches_total", "flowawr_actor_held_leases"),
                    "the learner's are shown, of all actors"),
}


def test_every_metric_is_on_a_board_or_in_a_rule_or_says_why_not(catalogue):
    asked = set().union(*(metrics_in(expression) for _, expression in expressions()))
    assert set(catalogue) - asked == set(ASKED_BY_NOBODY)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_happened_and_what_to_do(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("critical", "warning")
    annotations = alert["annotations"]
    assert len(annotations["description"]) > 60 and annotations["summary"]
    assert annotations["runbook_url"] == f"docs/monitoring.md#{name.lower()}"
    assert f"\n### {name}\n*{alert['labels']['severity']}.*" in (ROOT / "docs/monitoring.md").read_text()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_tested_to_fire_and_to_be_silent(name):
    tests = yaml.safe_load((ROOT / "deploy/prometheus/tests/alerts.yml").read_text())["tests"]
    cases = [case["name"] for case in tests]
    for what in ("fires", "silent"):
        assert any(re.search(rf"\b{name} {what}", case) for case in cases), f"{name} {what}"


def test_boards_are_those_that_the_program_writes(tmp_path):
    subprocess.run([sys.executable, ROOT / "deploy/grafana/make_dashboards.py", tmp_path], check=True)
    made = {file.name: json.loads(file.read_text()) for file in tmp_path.iterdir()}
    there = {file.name: json.loads(file.read_text()) for file in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
    assert made == there, "run deploy/grafana/make_dashboards.py"


@pytest.mark.parametrize("uid,panel", PANELS, ids=[f"{uid}-{panel['id']}" for uid, panel in PANELS])
def test_every_panel_has_a_unit_and_says_what_it_shows(uid, panel):
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["title"] and panel["description"].endswith((".", "!")), panel["description"]
    for target in panel["targets"]:
        # The variables of the board count: no panel shows other runs than the chosen ones.
        assert 'run=~"$run"' in target["expr"]


def test_every_board_can_be_narrowed_and_found():
    for board in boards():
        assert [v["name"] for v in board["templating"]["list"]][:3] == ["source", "run", "instance"]
        assert "flowawr" in board["tags"] and board["description"]
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
        assert len(set(places)) == len(places)
    text = (ROOT / "docs/monitoring.md").read_text()
    for board in boards():
        assert f"`{board['uid']}`" in text
