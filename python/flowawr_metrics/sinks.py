"""Where records go: Weights & Biases, MLflow, or a table. wandb and mlflow are asked for only when they are used."""

from __future__ import annotations

import csv
import importlib
import re
from pathlib import Path
from typing import Any, Protocol, TextIO

from flowawr_metrics.reader import Evaluation, Record, RewardSwap, Update
from flowawr_metrics.scalars import scalars


class Sink(Protocol):
    def add(self, record: Record) -> None: ...

    def finish(self) -> None: ...


def _config(run_dir: Path) -> str:
    path = run_dir / "config.yaml"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _run_id(run_dir: Path) -> str:
    path = run_dir / "run_id"
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""


def describe(swap: RewardSwap) -> str:
    terms = (f"{term.get('scorer', '?')} weight {term.get('weight', 1)}" for term in swap.terms)
    return f"after update {swap.update}: {', '.join(terms)}"


class WandbSink:
    """A step is an update. The same run of FlowAWR goes on as the same run of Weights & Biases."""

    def __init__(self, run_dir: Path, project: str, wandb: Any = None) -> None:
        wandb = wandb or importlib.import_module("wandb")
        run_id = _run_id(run_dir)
        self._run = wandb.init(
            project=project,
            name=run_dir.resolve().name,
            id=run_id or None,
            resume="allow",
            config={"flowawr_config": _config(run_dir), "flowawr_run_id": run_id},
        )
        self._step = -1
        self._waiting: dict[str, float] = {}

    def add(self, record: Record) -> None:
        # All of a step goes in one call: W&B takes no steps that are older than the last.
        if record.update > self._step:
            self._flush()
            self._step = record.update
        if isinstance(record, RewardSwap):
            self._run.summary[f"reward_swap/{record.reward_spec}"] = describe(record)
        self._waiting |= scalars(record)
        if isinstance(record, Evaluation) and record.reward_mean is not None and record.set == "final":
            self._run.summary["final_heldout_reward"] = record.reward_mean

    def _flush(self) -> None:
        if self._waiting:
            self._run.log(self._waiting, step=self._step)
        self._waiting = {}

    def finish(self) -> None:
        self._flush()
        self._run.finish()


class MlflowSink:
    """Goes where MLFLOW_TRACKING_URI says; `project` is the experiment. A step is an update."""

    def __init__(self, run_dir: Path, project: str, mlflow: Any = None) -> None:
        mlflow = mlflow or importlib.import_module("mlflow")
        self._mlflow = mlflow
        mlflow.set_experiment(project)
        mlflow.start_run(run_name=run_dir.resolve().name, tags={"flowawr.run_id": _run_id(run_dir)})
        if (run_dir / "config.yaml").exists():
            mlflow.log_artifact(str(run_dir / "config.yaml"))

    def add(self, record: Record) -> None:
        if isinstance(record, RewardSwap):
            self._mlflow.set_tag(f"flowawr.reward_swap.{record.reward_spec}", describe(record))
        elif numbers := scalars(record):
            allowed = {re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII): value for name, value in numbers.items()}
            self._mlflow.log_metrics(allowed, step=record.update)

    def finish(self) -> None:
        self._mlflow.end_run()


class CsvSink:
    """A line a figure: kind, update, elapsed_s, name, value."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._writer = csv.writer(out, lineterminator="\n")
        self._writer.writerow(["kind", "update", "elapsed_s", "name", "value"])

    def add(self, record: Record) -> None:
        kind = {Update: "update", Evaluation: "evaluation"}.get(type(record), "reward_swap")
        elapsed = getattr(record, "elapsed_s", None)
        rows: dict[str, float | str] = {**scalars(record)}
        if isinstance(record, RewardSwap):
            rows["rewards"] = describe(record)
        for name, value in rows.items():
            self._writer.writerow([kind, record.update, "" if elapsed is None else repr(elapsed), name, value])
        self._out.flush()

    def finish(self) -> None:
        self._out.flush()
