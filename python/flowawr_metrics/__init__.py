"""Reads the figures of a FlowAWR training run: what RUN_DIR/metrics.jsonl tells, typed, also while the run goes on.

    from flowawr_metrics import Update, read

    rewards = {record.update: record.reward_mean for record in read("runs/tiny-ocr") if isinstance(record, Update)}

`python -m flowawr_metrics RUN_DIR --to wandb|mlflow|csv` hands them to others. Needs nothing beside Python.
"""

from flowawr_metrics.reader import Evaluation, Record, RewardSwap, Update, follow, parse, read
from flowawr_metrics.scalars import scalars

__all__ = ["Evaluation", "Record", "RewardSwap", "Update", "follow", "parse", "read", "scalars"]
