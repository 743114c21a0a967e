"""metrics.jsonl as records. A figure that nobody measured is None, never 0."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

MOST_LINE_BYTES = 1 << 20  # of a line; what is longer no run wrote


@dataclass(frozen=True)
class Update:
    """An optimiser step. `skipped`: every group's rewards were equal, so that nothing was trained."""

    update: int
    reward_mean: float | None
    by_scorer: Mapping[str, float]
    loss: float | None
    kl: float | None
    grad_norm: float | None
    learning_rate: float | None
    elapsed_s: float | None
    samples_trained: int
    reward_spec: int
    skipped: bool
    learner_seconds: Mapping[str, float]
    actor_seconds: Mapping[str, float]
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Evaluation:
    """On held-out prompts. `set`: base (before the first update), latest (in between) or final (the run's last
    word)."""

    update: int
    set: str
    reward_mean: float | None
    reward_stderr: float | None
    exact_share: float | None
    by_scorer: Mapping[str, float]
    images: int
    elapsed_s: float | None
    reward_spec: int
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RewardSwap:
    """The rewards were replaced after `update`: figures before and after are not of the same thing."""

    update: int
    reward_spec: int
    terms: tuple[Mapping[str, Any], ...]
    raw: Mapping[str, Any] = field(repr=False)


Record = Union[Update, Evaluation, RewardSwap]


def _number(line: Mapping[str, Any], name: str) -> float | None:
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _count(line: Mapping[str, Any], name: str) -> int:
    value = line.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _numbers(line: Mapping[str, Any], name: str) -> dict[str, float]:
    values = line.get(name)
    if not isinstance(values, dict):
        return {}
    numbers = {key: _number(values, key) for key in values}
    return {key: value for key, value in numbers.items() if value is not None}


def parse(text: str | bytes) -> Record | None:
    """One line; None for what is no record: a line that a kill cut short, or of a later version's kind."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or isinstance(line.get("update"), bool) or not isinstance(line.get("update"), int):
        return None
    kind, update = line.get("kind"), line["update"]
    if kind == "update":
        return Update(
            update=update,
            reward_mean=_number(line, "reward_mean"),
            by_scorer=_numbers(line, "by_scorer"),
            loss=_number(line, "loss"),
            kl=_number(line, "kl"),
            grad_norm=_number(line, "grad_norm"),
            learning_rate=_number(line, "learning_rate"),
            elapsed_s=_number(line, "elapsed_s"),
            samples_trained=_count(line, "samples_trained"),
            reward_spec=_count(line, "reward_spec"),
            skipped=line.get("skipped") is True,
            learner_seconds=_numbers(line, "seconds"),
            actor_seconds=_numbers(line, "actor_seconds"),
            raw=line,
        )
    if kind == "evaluation":
        return Evaluation(
            update=update,
            set=str(line.get("set", "")),
            reward_mean=_number(line, "reward_mean"),
            reward_stderr=_number(line, "reward_stderr"),
            exact_share=_number(line, "exact_share"),
            by_scorer=_numbers(line, "by_scorer"),
            images=_count(line, "images"),
            elapsed_s=_number(line, "elapsed_s"),
            reward_spec=_count(line, "reward_spec"),
            raw=line,
        )
    if kind == "reward_spec":
        terms = line.get("terms")
        whole = tuple(term for term in terms if isinstance(term, dict)) if isinstance(terms, list) else ()
        return RewardSwap(update=update, reward_spec=_count(line, "reward_spec"), terms=whole, raw=line)
    return None


def read(run_dir: str | os.PathLike[str]) -> Iterator[Record]:
    """What the file holds now. FileNotFoundError where there is no run."""
    with open(Path(run_dir) / "metrics.jsonl", "rb") as file:
        while line := file.readline(MOST_LINE_BYTES):
            record = parse(line) if line.endswith(b"\n") else None
            if record is not None:
                yield record


def is_last(record: Record) -> bool:
    """Whether the run has come to its end with it (it may be extended later)."""
    return isinstance(record, Evaluation) and record.set == "final"


def follow(
    run_dir: str | os.PathLike[str],
    poll_s: float = 1.0,
    wait: Callable[[float], bool] | None = None,
) -> Iterator[Record]:
    """What the file holds, then what is added to it, until the file ends on a final evaluation. Waits for a file that
    is not there yet.

    A run that is resumed writes its last updates again: each is handed on once. `wait` sleeps between two looks; when
    it returns False, following ends."""
    path = Path(run_dir) / "metrics.jsonl"
    seen: set[tuple[str, int, str]] = set()
    inode, at = -1, 0
    last: Record | None = None
    while True:
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != inode or found.st_size < at:
                    inode, at = found.st_ino, 0
                file.seek(at)
                while line := file.readline(MOST_LINE_BYTES):
                    if not line.endswith(b"\n") and len(line) < MOST_LINE_BYTES:
                        break  # its end is not written yet
                    at += len(line)
                    record = parse(line)
                    if record is None:
                        continue
                    last = record
                    key = (type(record).__name__, record.update, getattr(record, "set", str(record.reward_spec)))
                    if key in seen:
                        continue
                    seen.add(key)
                    yield record
                if last is not None and is_last(last):
                    return
        except FileNotFoundError:
            pass
        if wait is not None:
            if not wait(poll_s):
                return
        else:
            time.sleep(poll_s)
