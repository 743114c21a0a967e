#!/usr/bin/env python3
"""What a second rank of one thread adds, and what handing gradients over costs. Needs scripts/build and two idle cores.

    .venv/bin/python bench/ranks.py                 # the embedded model: three trainings of one, then two ranks, in turns
    .venv/bin/python bench/ranks.py --set lora.rank=512   # a gradient of other size, for all of them

Prints the seconds that an update's gradient took (median of all updates but the first) and their ratio. Bound by the
arithmetic of forward and backward passes: one thread a rank, so that nothing else is shared but memory.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOWAWR = ROOT / "build/release/bin/flowawr"


def train_seconds(ranks, updates, extra):
    """Of each update, in a training of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [FLOWAWR, "run", "configs/tiny-ocr.yaml", "--run-dir", f"{folder}/run"]
        for assignment in [f"train.ranks={ranks}", "train.threads=1", f"train.updates={updates}", "prompts.heldout=",
                           "evaluation.every_updates=0", *extra]:
            command += ["--set", assignment]
        subprocess.run([str(word) for word in command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in Path(folder, "run/metrics.jsonl").read_text().splitlines()]
        return [line["seconds"]["train"] for line in lines if line["kind"] == "update"][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every training")
    arguments = parser.parse_args()
    seconds = {1: [], 2: []}
    for _ in range(arguments.repeats):
        for ranks in seconds:
            seconds[ranks] += train_seconds(ranks, arguments.updates, arguments.set)
    one, two = (statistics.median(seconds[ranks]) for ranks in (1, 2))
    print(f"gradient of an update: {one:.2f} s by one rank, {two:.2f} s by two: {one / two:.2f}x")


if __name__ == "__main__":
    main()
