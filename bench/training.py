#!/usr/bin/env python3
"""The same tiny training twice, side by side: a straightforward Python loop and this service.

    .venv/bin/python bench/training.py [--cpu avx2] [--updates 40] [--repeats 3]

Both sides take the same configuration, cores and dtype, evaluate the same policy (the average) on the same held-out
prompts equally often, and run in turns on the same machine, since other load moves both. Wall time runs from the moment
when the model is loaded and holds everything after it: sampling, decoding, scoring, training, evaluations, checkpoints.
Prints one table of medians; --json FILE writes every run for programs.
Needs: scripts/setup --tests, scripts/build, pip install tesserocr (into .venv; the Python side's OCR binding).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import processor
import yaml

ROOT = Path(__file__).resolve().parents[1]
FLOWAWR = ROOT / "build/release/bin/flowawr"


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def summary(lines, rollout_s, train_s, level):
    """What both sides are compared by. `rollout_s`, `train_s`: seconds of all updates together."""
    updates = sum(l["kind"] == "update" for l in lines)
    evaluations = [l for l in lines if l["kind"] == "evaluation"]
    to_level = next((l["elapsed_s"] for l in evaluations if l["reward_mean"] >= level), None)
    return {"rollout_s": rollout_s / updates, "train_s": train_s / updates, "to_level_s": to_level,
            "wall_s": evaluations[-1]["elapsed_s"], "final": evaluations[-1]["reward_mean"],
            "curve": [[l["update"], l["elapsed_s"], l["reward_mean"], l["exact_share"]] for l in evaluations]}


def run_python(config, folder, args):
    out = folder / "python.jsonl"
    subprocess.run([sys.executable, ROOT / "bench/python_baseline/train.py", config, "--out", out,
                    "--threads", str(args.threads)], check=True, cwd=ROOT, stdout=sys.stderr, stderr=subprocess.DEVNULL)
    lines = lines_of(out)
    seconds = [l for l in lines if l["kind"] == "update"][-1]["seconds"]
    return summary(lines, seconds["sample"] + seconds["score"], seconds["train"], args.level)


def run_service(config, folder, args):
    run_dir = folder / "service"
    subprocess.run([FLOWAWR, "run", config, "--run-dir", run_dir], check=True, cwd=ROOT, stdout=sys.stderr)
    lines = lines_of(run_dir / "metrics.jsonl")
    updates = [l["seconds"] for l in lines if l["kind"] == "update"]
    learning = sum(u.get(stage, 0) for u in updates for stage in ("energy", "train", "step"))
    return summary(lines, sum(u["wait"] for u in updates), learning, args.level)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/tiny-ocr.yaml")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3, help="with seeds 1, 2, ...")
    parser.add_argument("--threads", type=int, default=processor.cores(),
                        help="of the Python side; the service takes the usable cores")
    parser.add_argument("--level", type=float, default=0.9, help="held-out reward to reach")
    parser.add_argument("--json", help="write every run here too")
    processor.add_option(parser)
    args = parser.parse_args()
    processor.restrict(args.cpu)

    results = {"python": [], "service": []}
    with tempfile.TemporaryDirectory(prefix="flowawr-bench-") as temporary:
        for seed in range(1, args.repeats + 1):
            folder = Path(temporary, str(seed))
            folder.mkdir()
            config = folder / "config.yaml"
            overrides = {"seed": seed, "train.updates": args.updates, "evaluation.every_updates": 5,
                         "evaluation.prompts": 200, "evaluation.final_prompts": 200}
            command = [FLOWAWR, "config", args.config]
            for key, value in overrides.items():
                command += ["--set", f"{key}={value}"]
            config.write_bytes(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout)
            for side, run in (("python", run_python), ("service", run_service)):
                results[side].append(run(config, folder, args))
            rollout = yaml.safe_load(config.read_text())["rollout"]
    images = rollout["groups_per_batch"] * rollout["samples_per_group"]

    def median(side, key):
        values = [r[key] for r in results[side] if r[key] is not None]
        return statistics.median(values) if values else float("nan")

    def row(name, key, is_rate):
        python, service = median("python", key), median("service", key)
        shown = [images / v if is_rate else v for v in (python, service)]
        return f"| {name} | {shown[0]:.3g} | {shown[1]:.3g} | {python / service:.2f}x |"

    print(f"{processor.describe(args.threads)}\n")
    print(f"| {args.updates} updates, median of {args.repeats} | Python | service | ratio |\n|---|---|---|---|")
    print(row("images sampled, decoded, scored / s", "rollout_s", True))
    print(row("samples trained / s", "train_s", True))
    print(row(f"seconds to held-out reward {args.level}", "to_level_s", False))
    print(row("seconds of the whole run", "wall_s", False))
    print(f"| held-out reward at the end | {median('python', 'final'):.3f} | {median('service', 'final'):.3f} | |")
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
