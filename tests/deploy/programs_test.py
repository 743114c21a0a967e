"""Nothing in deploy/ names an option, command, environment variable, field or file that the programs do not know."""
import json
import re
import subprocess

import pytest
import yaml

import programs
from manifests import KUSTOMIZATIONS, ROOT, main_container, of_kind, pod_templates, read

DEPLOY = ROOT / "deploy"
every = pytest.mark.parametrize("objects", [read(name) for name in KUSTOMIZATIONS], ids=KUSTOMIZATIONS)


def run_of(objects):
    (config,) = [one["data"] for one in of_kind(objects, "ConfigMap") if "run.yaml" in one["data"]]
    return config


@every
def test_pods_start_programs_with_options_that_they_have(objects):
    found = 0
    for name, template in pod_templates(objects):
        lines = programs.command_lines(main_container(template))
        assert lines, name
        for line in lines:
            assert programs.mistakes(line) == [], name
            found += 1
    assert found >= len(pod_templates(objects))


class Loader(yaml.SafeLoader):
    """Of compose files, too, which have tags of their own, such as !reset."""


Loader.add_multi_constructor("!", lambda loader, tag, node: None)


def plain_yaml_files():
    return [file for pattern in ("*.yml", "*.yaml")
            for file in sorted(DEPLOY.rglob(pattern)) if "helm" not in file.parts]


@pytest.mark.parametrize("file", plain_yaml_files(), ids=lambda file: str(file.relative_to(DEPLOY)))
def test_files_start_programs_with_options_that_they_have(file):
    for document in yaml.load_all(file.read_text(), Loader):
        for line in programs.command_lines(document):
            assert programs.mistakes(line) == [], line


def test_mistakes_are_found():
    assert programs.mistakes(["flowawr-actor", "--leraner", "x:1"]) == ["flowawr-actor has no option --leraner"]
    assert programs.mistakes(["/usr/bin/flowawr", "healht"]) == ["flowawr has no command 'healht'"]
    assert programs.mistakes(["flowawr", "status", "--learner", "x:1"]) == []
    assert programs.command_lines({"a": [{"command": ["tini", "--", "flowawr-actor", "--id", 1]}],
                                   "b": "flowawr health"}) == [
        ["flowawr-actor", "--id", "1"], ["flowawr", "health"]]


@every
def test_the_learner_accepts_the_configuration(objects, tmp_path):
    (tmp_path / "run.yaml").write_text(run_of(objects)["run.yaml"])
    is_here = "/models/" not in run_of(objects)["run.yaml"]  # else the model lies in a volume
    done = subprocess.run([programs.path("flowawr"), "config", str(tmp_path / "run.yaml"),
                           *([] if is_here else ["--only-print"])],
                          cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@every
def test_the_others_accept_their_section_of_the_network(objects, tmp_path):
    run = yaml.safe_load(run_of(objects)["run.yaml"])
    for name in ("actor.yaml", "reward.yaml", "probe.yaml"):
        network = yaml.safe_load(run_of(objects)[name])["network"] or {}
        (tmp_path / name).write_text(yaml.safe_dump({**run, "network": network}))
        done = subprocess.run([programs.path("flowawr"), "config", str(tmp_path / name), "--only-print"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (name, done.stderr)


@every
def test_fields_that_nobody_knows_are_refused(objects, tmp_path):
    run = yaml.safe_load(run_of(objects)["run.yaml"])
    run["network"]["tls_certificate"] = "/etc/flowawr/tls/tls.crt"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    done = subprocess.run([programs.path("flowawr"), "config", str(tmp_path / "run.yaml"), "--only-print"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "tls_certificate" in done.stderr


def environment(value):
    """Names of variables that containers are given, by Kubernetes' env or compose's environment."""
    if isinstance(value, list):
        return {name for part in value for name in environment(part)}
    if not isinstance(value, dict):
        return set()
    found = {name for part in value.values() for name in environment(part)}
    found |= {one["name"] for one in value.get("env") or [] if isinstance(one, dict)}
    given = value.get("environment") or {}
    return found | ({str(one).partition("=")[0] for one in given} if isinstance(given, (list, dict)) else set())


def test_environment_variables_are_those_that_the_documentation_has():
    known = set(re.findall(r"FLOWAWR_[A-Z_]+", "".join(file.read_text() for file in (ROOT / "docs").glob("*.md"))))
    documents = [document for file in plain_yaml_files() for document in yaml.load_all(file.read_text(), Loader)]
    documents += [one for name in KUSTOMIZATIONS for one in read(name)]
    named = {name for name in environment(documents) if name.startswith("FLOWAWR_")}
    assert named <= known


def names_of_metrics():
    """Of rules, dashboards, autoscalers, the adapter: wherever deploy/ names a metric."""
    found = {}
    for file in DEPLOY.rglob("*"):
        if file.is_file() and file.suffix in (".yml", ".yaml", ".json") and "tests" not in file.parts:
            for name in re.findall(r"(?<![:\w])flowawr_[a-z0-9_]+(?![:\w])", file.read_text()):
                found.setdefault(name, str(file.relative_to(DEPLOY)))
    return found


def catalogue():
    """Names of common/telemetry/metric_catalogue.cc, which registers every metric; histograms have three each."""
    text = (ROOT / "common/telemetry/metric_catalogue.cc").read_text()
    found = {}
    for name, kind in re.findall(r'\{"[a-z_]+", "([a-z0-9_]+)", k(Counter|Gauge|Histogram)', text):
        for suffix in ("_bucket", "_sum", "_count") if kind == "Histogram" else ("",):
            found[name + suffix] = kind
    return found


def test_metrics_are_those_of_the_catalogue():
    known, used = catalogue(), names_of_metrics()
    assert len(known) > 50 and "flowawr_scorer_queue_images" in used
    assert {name: file for name, file in used.items() if name not in known and name not in recorded()} == {}


def recorded():
    """What recording rules make."""
    found = set()
    for file in (DEPLOY / "prometheus").rglob("*.yml") if (DEPLOY / "prometheus").exists() else []:
        for group in (yaml.safe_load(file.read_text()) or {}).get("groups", []):
            found |= {rule["record"] for rule in group.get("rules", []) if "record" in rule}
    return found


def test_dashboards_are_json():
    for file in (DEPLOY / "grafana").rglob("*.json") if (DEPLOY / "grafana").exists() else []:
        assert json.loads(file.read_text())["title"], file
