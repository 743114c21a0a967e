"""python/flowawr_metrics: the figures of a run, typed, while it goes on and through a resume."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("FLOWAWR_SOURCE_DIR", Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "python"))

from flowawr_metrics import Evaluation, RewardSwap, Update, follow, parse, read, scalars  # noqa: E402
from flowawr_metrics.sinks import CsvSink, MlflowSink, WandbSink  # noqa: E402


def update(number, **more):
    line = {
        "kind": "update",
        "update": number,
        "reward_mean": 0.25 * number,
        "by_scorer": {"ocr": 0.5},
        "loss": 0.1,
        "kl": 0.01,
        "grad_norm": 1.5,
        "learning_rate": 1e-4,
        "elapsed_s": 10.0 * number,
        "samples_trained": 128 * number,
        "reward_spec": 1,
        "skipped": False,
        "seconds": {"train": 3.0},
        "actor_seconds": {"sample": 9.0},
    }
    return line | more


def evaluation(number, set, reward=0.5):
    return {
        "kind": "evaluation",
        "set": set,
        "update": number,
        "reward_mean": reward,
        "reward_stderr": 0.02,
        "exact_share": None,
        "by_scorer": {"ocr": reward},
        "images": 64,
        "elapsed_s": 1.0,
        "reward_spec": 1,
    }


SWAP = {"kind": "reward_spec", "update": 2, "reward_spec": 2, "terms": [{"scorer": "jpeg", "weight": -0.1}]}


def write(folder, *lines, end="\n"):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + end for line in lines))


def append(folder, text):
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(text)


def test_reads_records_of_each_kind(tmp_path):
    write(tmp_path, evaluation(0, "base"), update(1), SWAP, evaluation(2, "final"))
    base, first, swap, final = read(tmp_path)
    assert isinstance(base, Evaluation) and base.set == "base" and base.exact_share is None
    assert isinstance(first, Update) and first.reward_mean == 0.25 and first.learner_seconds == {"train": 3.0}
    assert isinstance(swap, RewardSwap) and swap.terms[0]["scorer"] == "jpeg"
    assert final.by_scorer == {"ocr": 0.5}


@pytest.mark.parametrize("line", [
    "", "{", "[1]", '{"kind": "update"}', '{"kind": "update", "update": true}', "[" * 5000])
def test_takes_nothing_for_a_record_that_is_none(line):
    assert parse(line) is None


def test_what_was_not_measured_is_none_and_no_scalar():
    record = parse(json.dumps(update(3, reward_mean=None, loss=math.nan, kl="x")))
    assert (record.reward_mean, record.loss, record.kl) == (None, None, None)
    assert "train/reward" not in scalars(record) and scalars(record)["train/grad_norm"] == 1.5


def test_leaves_out_a_last_line_that_was_cut_short(tmp_path):
    write(tmp_path, update(1))
    append(tmp_path, json.dumps(update(2))[:20])
    assert [record.update for record in read(tmp_path)] == [1]


def test_follows_a_run_through_a_resume_to_its_end(tmp_path):
    def resumed():
        # The learner replaces the file: lines after the checkpoint are gone, and written again.
        replaced = tmp_path / "new"
        replaced.write_text("".join(json.dumps(line) + "\n" for line in (update(1), update(2))))
        replaced.rename(tmp_path / "metrics.jsonl")

    half = json.dumps(update(2))
    steps = [
        lambda: write(tmp_path, update(1)),
        lambda: append(tmp_path, half[:30]),
        lambda: append(tmp_path, half[30:] + "\n" + json.dumps(update(3)) + "\n"),
        resumed,
        lambda: append(tmp_path, json.dumps(update(3)) + "\n" + json.dumps(update(4)) + "\n"),
        lambda: append(tmp_path, json.dumps(evaluation(4, "final")) + "\n"),
    ]

    def wait(_):
        if not steps:
            return False
        steps.pop(0)()
        return True

    found = [(type(record).__name__, record.update) for record in follow(tmp_path, wait=wait)]
    assert found == [("Update", 1), ("Update", 2), ("Update", 3), ("Update", 4), ("Evaluation", 4)]
    assert not steps


def test_follows_an_extended_run_past_its_earlier_end(tmp_path):
    write(tmp_path, update(1))
    append(tmp_path, json.dumps(evaluation(1, "final")) + "\n" + json.dumps(update(2)) + "\n")
    steps = [lambda: append(tmp_path, json.dumps(evaluation(2, "final")) + "\n")]

    def wait(_):
        if not steps:
            return False
        steps.pop(0)()
        return True

    found = [(type(record).__name__, record.update) for record in follow(tmp_path, wait=wait)]
    assert found == [("Update", 1), ("Evaluation", 1), ("Update", 2), ("Evaluation", 2)]
    assert not steps


class Recorder:
    """Takes every call as W&B and MLflow would."""

    def __init__(self):
        self.calls, self.summary = [], {}

    def __getattr__(self, name):
        def call(*arguments, **more):
            self.calls.append((name, arguments, more))
            return self

        return call


def test_hands_wandb_each_step_once_and_in_order(tmp_path):
    (tmp_path / "run_id").write_text("abc\n")
    wandb = Recorder()
    sink = WandbSink(tmp_path, "paintings", wandb)
    for line in (evaluation(0, "base"), update(1), update(2), SWAP, evaluation(2, "final", 0.75)):
        sink.add(parse(json.dumps(line)))
    sink.finish()
    assert wandb.calls[0][2]["id"] == "abc" and wandb.calls[0][2]["project"] == "paintings"
    logged = [(more["step"], arguments[0]) for name, arguments, more in wandb.calls if name == "log"]
    assert [step for step, _ in logged] == [0, 1, 2]
    assert logged[2][1]["train/reward"] == 0.5 and logged[2][1]["heldout/reward"] == 0.75
    assert wandb.summary == {"reward_swap/2": "after update 2: jpeg weight -0.1", "final_heldout_reward": 0.75}
    assert wandb.calls[-1][0] == "finish"


def test_hands_mlflow_metrics_by_step(tmp_path):
    (tmp_path / "config.yaml").write_text("name: a\n")
    mlflow = Recorder()
    sink = MlflowSink(tmp_path, "paintings", mlflow)
    for line in (update(1), SWAP):
        sink.add(parse(json.dumps(line)))
    sink.finish()
    names = [name for name, _, _ in mlflow.calls]
    assert names == ["set_experiment", "start_run", "log_artifact", "log_metrics", "set_tag", "end_run"]
    assert mlflow.calls[3][1][0]["train/reward"] == 0.25 and mlflow.calls[3][2] == {"step": 1}


def test_no_name_is_the_beginning_of_another():
    names = {*scalars(parse(json.dumps(update(1)))), *scalars(parse(json.dumps(evaluation(1, "latest"))))}
    assert not [name for name in names if any(other.startswith(name + "/") for other in names)]


def test_hands_mlflow_no_name_that_it_refuses(tmp_path):
    mlflow = Recorder()
    MlflowSink(tmp_path, "paintings", mlflow).add(parse(json.dumps(update(1, by_scorer={"a#b": 1.0}))))
    assert "train/scorer/a_b" in mlflow.calls[-1][1][0]


def test_writes_a_table_of_figures():
    out = io.StringIO()
    sink = CsvSink(out)
    for line in (update(1), SWAP):
        sink.add(parse(json.dumps(line)))
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert {"kind": "update", "update": "1", "elapsed_s": "10.0", "name": "train/loss", "value": "0.1"} in rows
    assert rows[-1]["value"] == "after update 2: jpeg weight -0.1"


def run_module(*arguments, stdout=subprocess.PIPE, **environment):
    path = {"PYTHONPATH": str(ROOT / "python")}
    command = [sys.executable, "-m", "flowawr_metrics", *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env={**os.environ, **path, **environment},
        check=False
    )


def test_is_a_command(tmp_path):
    write(tmp_path, update(1))
    done = run_module(str(tmp_path), "--to", "csv")
    assert done.returncode == 0 and "train/reward,0.25" in done.stdout, done.stderr
    nowhere = run_module(str(tmp_path / "nowhere"), "--to", "csv")
    assert nowhere.returncode == 66 and "has no metrics.jsonl" in nowhere.stderr
    wrong = run_module(str(tmp_path), "--to", "excel")
    assert wrong.returncode == 64 and "invalid choice: 'excel'" in wrong.stderr


def test_says_in_a_line_why_the_table_cannot_be_written(tmp_path):
    write(tmp_path, update(1))
    absent = str(tmp_path / "absent" / "table.csv")
    for out, code, what in ((absent, 66, "No such file or directory"), ("/dev/full", 75, "No space left on device")):
        done = run_module(str(tmp_path), "--to", "csv", "--out", out)
        assert (done.returncode, done.stderr) == (code, f"{out}: {what}\n")
    with open("/dev/full", "w") as full:
        done = run_module(str(tmp_path), "--to", "csv", stdout=full)
    assert (done.returncode, done.stderr) == (75, "standard output: No space left on device\n")


def test_says_what_to_install(tmp_path):
    write(tmp_path, update(1))
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "wandb.py").write_text("raise ImportError('not here')\n")
    code = (f"import sys; sys.path[:0] = [{str(tmp_path / 'none')!r}, {str(ROOT / 'python')!r}]\n"
            "from flowawr_metrics.__main__ import main\nsys.exit(main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), "--to", "wandb"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 69 and "pip install wandb" in done.stderr
