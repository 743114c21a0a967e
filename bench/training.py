#!/usr/bin/env python3
"""The same tiny training twice, side by side: a straightforward Python loop and this service.

    .venv/bin/python bench/training.py [--updates 40] [--repeats 1]

Runs alternate (Python, service, Python, ...) on the same machine with the same cores and dtype, since other load moves
both. Evaluation time is left out of both wall times. Prints one table; --json FILE writes it for programs too.
Needs: scripts/setup --tests, scripts/build, pip install tesserocr (into .venv; the Python side's OCR binding).
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def time_to(lines, level):
    """Training seconds until the held-out reward first reaches `level`."""
    return next((l["elapsed_s"] for l in lines if l["kind"] == "evaluation" and l["reward_mean"] >= level), None)


def run_python(args, folder, seed):
    out = folder / "python.jsonl"
    subprocess.run([sys.executable, ROOT / "bench/python_baseline/train.py", "--model", ROOT / "models/tiny-sd3", "--out",
                    out, "--updates", str(args.updates), "--seed", str(seed), "--threads", str(args.threads)],
                   check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
    lines = lines_of(out)
    seconds = [l for l in lines if l["kind"] == "update"][-1]["seconds"]
    return {"rollout_s": (seconds["sample"] + seconds["score"]) / args.updates, "train_s": seconds["train"] / args.updates,
            "to_level_s": time_to(lines, args.level), "final": lines[-1]["reward_mean"]}


def run_service(args, folder, seed):
    run_dir = folder / "service"
    overrides = {"seed": seed, "train.updates": args.updates, "evaluation.every_updates": 5, "evaluation.prompts": 200,
                 "evaluation.final_prompts": 200}
    command = [ROOT / "build/release/bin/flowawr", "run", ROOT / "configs/tiny-ocr.yaml", "--run-dir", run_dir]
    for key, value in overrides.items():
        command += ["--set", f"{key}={value}"]
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=ROOT)
    lines = lines_of(run_dir / "metrics.jsonl")
    updates = [l["seconds"] for l in lines if l["kind"] == "update"]
    total = {stage: sum(u.get(stage, 0) for u in updates) for stage in set().union(*updates)}
    learning = sum(total.get(stage, 0) for stage in ("energy", "train", "step"))
    return {"rollout_s": total["wait"] / len(updates), "train_s": learning / len(updates),
            "to_level_s": time_to(lines, args.level), "final": lines[-1]["reward_mean"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--level", type=float, default=0.9, help="held-out reward to reach")
    parser.add_argument("--images", type=int, default=128, help="a batch, as in configs/tiny-ocr.yaml")
    parser.add_argument("--json", help="write the table here too")
    args = parser.parse_args()

    results = {"python": [], "service": []}
    folder = Path(tempfile.mkdtemp(prefix="flowawr-bench-"))
    try:
        for repeat in range(args.repeats):
            for side, run in (("python", run_python), ("service", run_service)):
                here = folder / f"{repeat}"
                here.mkdir(exist_ok=True)
                results[side].append(run(args, here, repeat + 1))
    finally:
        shutil.rmtree(folder)

    def median(side, key):
        values = [r[key] for r in results[side] if r[key] is not None]
        return statistics.median(values) if values else float("nan")

    def rate(side, key):
        return args.images / median(side, key)

    rows = [("images sampled, decoded, scored / s", rate("python", "rollout_s"), rate("service", "rollout_s"), True),
            ("samples trained / s", rate("python", "train_s"), rate("service", "train_s"), True),
            (f"training seconds to reward {args.level}", median("python", "to_level_s"), median("service", "to_level_s"), False),
            ("final held-out reward", median("python", "final"), median("service", "final"), None)]
    print(f"| {args.updates} updates, median of {args.repeats} | Python | service | ratio |\n|---|---|---|---|")
    for name, python, service, is_rate in rows:
        ratio = "" if is_rate is None else f"{service / python if is_rate else python / service:.2f}x"
        print(f"| {name} | {python:.3g} | {service:.3g} | {ratio} |")
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
