"""A record as named numbers, under the names that the run's TensorBoard files have where those have them."""

from __future__ import annotations

from flowawr_metrics.reader import Evaluation, Record, Update


def scalars(record: Record) -> dict[str, float]:
    """By name; what was not measured is left out. No name is another one's beginning: MLflow's files make folders of
    them."""
    named: dict[str, float | None] = {}
    if isinstance(record, Update):
        named = {
            "train/reward": record.reward_mean,
            "train/loss": record.loss,
            "train/kl": record.kl,
            "train/grad_norm": record.grad_norm,
            "train/learning_rate": record.learning_rate,
            "train/samples": float(record.samples_trained),
            "train/skipped": float(record.skipped),
            "time/elapsed_s": record.elapsed_s,
            "reward_spec": float(record.reward_spec),
        }
        named |= {f"train/scorer/{scorer}": mean for scorer, mean in record.by_scorer.items()}
        named |= {f"seconds/learner/{stage}": spent for stage, spent in record.learner_seconds.items()}
        named |= {f"seconds/actors/{stage}": spent for stage, spent in record.actor_seconds.items()}
    elif isinstance(record, Evaluation):
        named = {
            "heldout/reward": record.reward_mean,
            "heldout/reward_stderr": record.reward_stderr,
            "heldout/exact_share": record.exact_share,
        }
        named |= {f"heldout/scorer/{scorer}": mean for scorer, mean in record.by_scorer.items()}
    return {name: value for name, value in named.items() if value is not None}
