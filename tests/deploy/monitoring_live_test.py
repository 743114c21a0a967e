"""A real training with TLS, watched by a real Prometheus: every query of every board and alert is answered, every
metric of the catalogue is shown, and one real alert reaches a real alertmanager. Needs the programs in
build/release/bin."""
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml

from monitoring_tools import ROOT, tool

sys.path.insert(0, str(ROOT / "deploy/grafana"))
from dashboard_queries import Prometheus, boards, fill_in  # noqa: E402

BIN = pathlib.Path(os.environ.get("FLOWAWR_BUILD_DIR", ROOT / "build/release")) / "bin"
PATIENCE_S = 300
RULES = ROOT / "deploy/prometheus/rules"

# Two rewards, one of them a shadow; groups that may be one version behind; more updates than there is time for.
CONFIG = """
name: watched
run_dir: run
model: {path: models/tiny-sd3, height: 32, width: 64, max_sequence_length: 12}
lora: {rank: 4, alpha: 8}
prompts: {train: models/tiny-sd3/prompts/train.txt, heldout: models/tiny-sd3/prompts/heldout.txt}
sampler: {solver: dpm_solver_pp_2m, steps: 3}
rollout: {groups_per_batch: 2, samples_per_group: 4, max_staleness: 1}
rewards:
  terms:
    - {scorer: ocr}
    - {scorer: small, kind: jpeg_compressibility, weight: 0}
algorithm: {energy: soft, behaviour: current}
optimizer: {learning_rate: 0.0001}
train: {updates: 100000, timesteps_per_sample: 2, micro_batch: 8, threads: 1, ranks: 2}
evaluation: {every_updates: 50, prompts: 4, final_prompts: 4, solver: euler, steps: 2, pictures: 2}
checkpoint: {every_updates: 20, keep: 2}
local: {actors: 2, actor_threads: 1, reward_threads: 1}
network:
  tls_cert: FOLDER/cert.pem
  tls_key: FOLDER/key.pem
  tls_ca: FOLDER/cert.pem
  token_file: FOLDER/token
  read_only_token_file: FOLDER/read-only-token
  metrics_tls: true
"""
READ_ONLY = "a-token-for-those-who-look"

# What panels without data say, where that is so in a run that is well, as this one is.
TRUE_WHEN_WELL = {"not paused", "none", "no judge among the scorers", "nothing computes on a GPU",
                  "no NVIDIA card in use"}
NOT_SHOWN_WHEN_WELL = {
    **dict.fromkeys((f"flowawr_device_{what}" for what in (
        "memory_allocated_bytes", "memory_reserved_bytes", "memory_peak_bytes", "memory_size_bytes",
        "used_memory_bytes", "transfer_bytes_total", "utilization_ratio", "power_watts", "temperature_celsius",
        "bus_bytes_total", "throttled")),
                    "nothing computes on a GPU"),
    "flowawr_scorer_used_total": "only a judge uses anything that is counted",
    "flowawr_learner_scorers_loaded_again_total": "no reward server lost a scorer",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, ask):
    """Asks until the answer is true, and returns it."""
    end, answer = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except OSError:  # not there yet
            pass
        time.sleep(0.5)  # between two questions
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")


class Watched:
    """`flowawr run` and scripts/prometheus beside it."""

    def __init__(self, folder):
        assert (BIN / "flowawr").exists(), f"{BIN}/flowawr is missing: run scripts/build"
        self.run_dir = folder / "run"
        config = folder / "watched.yaml"
        config.write_text(CONFIG.replace("FOLDER", str(folder)))
        (folder / "token").write_text("a-token-for-everything-here\n")
        (folder / "read-only-token").write_text(READ_ONLY + "\n")
        for file in ("token", "read-only-token"):
            (folder / file).chmod(0o600)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "30", "-subj", "/CN=watched",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                       check=True, stderr=subprocess.DEVNULL)
        self.certificate = folder / "cert.pem"
        self.prometheus_address, self.alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.log = open(folder / "log", "w")
        environment = {**os.environ, "PROMETHEUS": tool("prometheus"), "ALERTMANAGER": tool("prometheus-alertmanager")}
        self.watch = subprocess.Popen(
            [ROOT / "scripts/prometheus", "--listen", self.prometheus_address, "--alertmanager", self.alertmanager,
             "--data", folder / "prometheus", "--ca", self.certificate, "--token", folder / "read-only-token",
             self.run_dir], cwd=ROOT, env=environment, stdout=self.log, stderr=self.log)
        self.run = subprocess.Popen([BIN / "flowawr", "run", config, "--run-dir", self.run_dir], cwd=ROOT,
                                    stdout=self.log, stderr=self.log)
        self.prometheus = Prometheus(self.prometheus_address)

    def updates(self):
        """Updates that Prometheus has seen in the last minutes."""
        assert self.run.poll() is None, f"the run has ended: {pathlib.Path(self.log.name).read_text()[-2000:]}"
        seen = self.prometheus.query("increase(flowawr_learner_updates_total[5m])")
        return max((value for _, value in seen), default=0)

    def children(self, program):
        """Process ids of that program that the run started."""
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == self.run.pid and \
                        pathlib.Path(os.readlink(stat.parent / "exe")).name == program:
                    found.append(int(stat.parent.name))
            except (OSError, IndexError):  # it has ended meanwhile
                continue
        return found

    def page(self, endpoint):
        request = urllib.request.Request(f"https://{endpoint}/metrics",
                                         headers={"Authorization": f"Bearer {READ_ONLY}"})
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.certificate)) as page:
            return page.read().decode()

    def targets(self):
        return json.loads((self.run_dir / "prometheus_targets.json").read_text())

    def end(self):
        if self.run.poll() is None:
            self.run.send_signal(signal.SIGINT)
            self.run.wait(timeout=PATIENCE_S)

    def close(self):
        self.end()
        self.watch.terminate()
        self.watch.wait(timeout=PATIENCE_S)
        self.log.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    watched = Watched(tmp_path_factory.mktemp("monitoring"))
    try:
        # Some updates that Prometheus has seen, so that there are rates.
        wait_for("updates that Prometheus sees", lambda: watched.updates() > 2)
        yield watched
    finally:
        watched.close()


def test_promtool_and_amtool_find_nothing_wrong():
    rules = [str(file) for file in RULES.glob("*.yml")]
    for command in (["promtool", "check", "rules", *rules],
                    ["promtool", "check", "config", "--syntax-only", "deploy/prometheus/prometheus.yml"],
                    ["promtool", "test", "rules", "deploy/prometheus/tests/alerts.yml"],
                    ["amtool", "check-config", "deploy/alertmanager/alertmanager.yml"]):
        done = subprocess.run([tool(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_finds_every_process_of_the_run(watched):
    wanted = {("flowawr-learner", "learner"), ("flowawr-rank", "rank-1"), ("flowawr-reward-server", "reward-server"),
              ("flowawr-actor", "actor-0"), ("flowawr-actor", "actor-1")}
    wait_for("all processes", lambda: wanted == {
        (labels["job"], labels["instance"]) for labels, _ in watched.prometheus.query('up{run="watched"} == 1')})


def test_every_metric_of_the_catalogue_is_shown_and_no_other(watched):
    source = (ROOT / "common/telemetry/metric_catalogue.cc").read_text()
    # By process: name and labels.
    catalogue = re.findall(r'\{"(\w+)", "(\w+)", k\w+, "[^"]*", "([\w,]*)"', source)
    pages = {}
    for target in watched.targets():
        process = target["labels"]["job"].removeprefix("flowawr-").replace("-", "_")
        pages.setdefault(process, []).append(watched.page(target["targets"][0]))
    assert set(pages) == {"learner", "rank", "actor", "reward_server"}
    for process, texts in pages.items():
        known = {name: labels for kind, name, labels in catalogue if kind in (process, "every")}
        shown = {name for text in texts for name in re.findall(r"^# TYPE (\w+)", text, re.M)}
        assert shown - set(known) == set(), f"{process} shows what is not in the catalogue"
        # A rank neither calls nor serves any RPC.
        silent = {name for name in known if name.startswith("flowawr_rpc_")} if process == "rank" else set()
        assert set(known) - shown - silent - set(NOT_SHOWN_WHEN_WELL) == set(), f"{process} does not show"
        for name, labels in re.findall(r"^(\w+)\{(.*)\} ", "\n".join(texts), re.M):
            base = name if name in known else re.sub(r"_(bucket|sum|count)$", "", name)
            assert set(re.findall(r'(\w+)="', labels)) - {"le"} == set(filter(None, known[base].split(","))), name


def test_every_query_of_every_board_has_an_answer(watched):
    def unanswered():
        found = []
        for board in boards():
            for panel in board["panels"]:
                may_be_empty = panel["fieldConfig"]["defaults"].get("noValue") in TRUE_WHEN_WELL
                for target in panel["targets"]:
                    # What a panel hides while it is 0 is there all the same.
                    expression = fill_in(target["expr"], "watched").removesuffix(" > 0")
                    is_hidden = target["expr"].endswith(" > 0")
                    if not watched.prometheus.query(expression) and (is_hidden or not may_be_empty):
                        found.append((board["uid"], panel["title"], expression))
        return found

    left = unanswered()
    try:
        wait_for("answers", lambda: not unanswered())
    except AssertionError:
        left = unanswered()
        raise AssertionError("\n".join(map(str, left))) from None
    for board in boards():
        for annotation in board["annotations"]["list"]:
            watched.prometheus.query(fill_in(annotation["expr"]))  # no error
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                name, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
                assert {labels[label] for labels, _ in watched.prometheus.query(fill_in(name))}


def test_every_alert_is_evaluated_on_series_that_are_there(watched):
    groups = watched.prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(len(group["rules"]) for file in RULES.glob("*.yml")
                             for group in yaml.safe_load(file.read_text())["groups"])
    for rule in rules:
        wait_for(rule["name"], lambda rule=rule: [
            now for group in watched.prometheus.get("rules")["groups"] for now in group["rules"]
            if now["name"] == rule["name"] and now["health"] == "ok"])
        # Nothing is wrong with the run, so that an alert's own answer is empty; what it asks about is not.
        for selector in re.findall(r"(?:\w+:)*(?:flowawr|process)_\w+(?::\w+)?(?:\{[^}]*\})?|up\{[^}]*\}",
                                   rule["query"]):
            name = re.split(r"[{:]", selector.replace("run:", ""))[0]
            if name not in NOT_SHOWN_WHEN_WELL:
                assert watched.prometheus.get("query", query=selector)["result"], (rule["name"], selector)


def test_a_lost_actor_is_an_alert_that_reaches_alertmanager(watched):
    def delivered():
        with urllib.request.urlopen(f"http://{watched.alertmanager}/api/v2/alerts") as answer:
            return [alert for alert in json.load(answer) if alert["labels"]["alertname"] == "FlowawrActorLost"]

    assert delivered() == []
    os.kill(watched.children("flowawr-actor")[0], signal.SIGKILL)
    [alert] = wait_for("the alert", delivered)
    assert alert["status"]["state"] == "active"
    assert alert["labels"]["run"] == "watched" and alert["labels"]["instance"] == "learner"
    assert alert["annotations"]["runbook_url"] == "docs/monitoring.md#flowawractorlost"
    # `flowawr run` starts it again, at another port, where Prometheus finds it.
    wait_for("the actor that started again", lambda: len([
        up for _, up in watched.prometheus.query('up{job="flowawr-actor"}') if up == 1]) == 2)


def test_a_lost_rank_is_counted_and_seen_to_come_back(watched):
    losses, ready = (f'flowawr_learner_rank_{what}' for what in (
        'losses_total{run="watched",rank="1"}', 'state{run="watched",rank="1",state="ready"}'))

    def value(query):
        return [value for _, value in watched.prometheus.query(query)]

    assert value(losses) == [0] and value(ready) == [1]
    [rank] = [pid for pid in watched.children("flowawr-learner")
              if "--rank0" in pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
    os.kill(rank, signal.SIGKILL)
    wait_for("the loss", lambda: value(losses) == [1])
    wait_for("the rank that started again", lambda: value(ready) == [1])


def test_a_finished_run_leaves_no_targets(watched):
    watched.end()
    assert watched.targets() == []
    wait_for("an empty list of targets", lambda: not watched.prometheus.get("targets")["activeTargets"])
