#!/usr/bin/env python3
"""What a second rank of one thread adds, and what handing gradients over costs. Needs scripts/build and two idle cores.

    .venv/bin/python bench/ranks.py              # the embedded model: three trainings of one, then two ranks, in turns
    .venv/bin/python bench/ranks.py --adapter-mb 75 # with an adapter of about that size, as the true model's is

Prints the seconds that an update's gradient took (median of all updates but the first) and their ratio; then what, with
two ranks, rank 0 spent on sending shares, receiving results and adding them up, and its share of those seconds
(flowawr_learner_rank_exchange_seconds_total, of all updates). Bound by the arithmetic of forward and backward passes:
one thread a rank, so that nothing else is shared but memory. Sending goes on while rank 0 computes.
"""

import argparse
import json
import re
import statistics
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOWAWR = ROOT / "build/release/bin/flowawr"
STAGES = ("send", "receive", "add")
# For a large adapter: all modules that an adapter may be of, and its bytes by lora.rank with them.
MODULES = ("attn.to_q, attn.to_k, attn.to_v, attn.to_out.0, attn.add_q_proj, attn.add_k_proj, attn.add_v_proj, "
           "attn.to_add_out, ff.net.0.proj, ff.net.2, ff_context.net.0.proj, ff_context.net.2")
BYTES_OF_A_RANK = 4 * 26_112


class Watch:
    """The newest seconds of exchanging gradients that the learner's /metrics shows, while a run goes on."""

    def __init__(self, run):
        self._address = run / "endpoints/learner.metrics"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _look(self):
        while not self._is_over.wait(0.2):
            try:
                address = self._address.read_text().strip()
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=2) as answer:
                    page = answer.read().decode()
            except (OSError, urllib.error.URLError):
                continue  # not there yet, or not any more
            exchanged = r'^flowawr_learner_rank_exchange_seconds_total{stage="(\w+)"} (\S+)$'
            for stage, value in re.findall(exchanged, page, re.M):
                self.seconds[stage] = float(value)


def train(ranks, updates, extra):
    """The seconds of each update's gradient in a training of its own, and those of exchanging gradients in all of
    them."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        command = [FLOWAWR, "run", "configs/tiny-ocr.yaml", "--run-dir", run]
        for assignment in [f"train.ranks={ranks}", "train.threads=1", f"train.updates={updates}", "prompts.heldout=",
                           "evaluation.every_updates=0", *extra]:
            command += ["--set", assignment]
        with Watch(run) as watch:
            subprocess.run([str(word) for word in command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [line["seconds"]["train"] for line in lines if line["kind"] == "update"], watch.seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--adapter-mb", type=float,
                        help="sets lora.rank and lora.target_modules, which decide the size of a gradient")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every training")
    arguments = parser.parse_args()
    extra = list(arguments.set)
    if arguments.adapter_mb:
        extra += [f"lora.target_modules=[{MODULES}]",
                  f"lora.rank={round(arguments.adapter_mb * 1e6 / BYTES_OF_A_RANK)}"]
    seconds, exchanged, trained = {1: [], 2: []}, dict.fromkeys(STAGES, 0.0), 0.0
    for _ in range(arguments.repeats):
        for ranks in seconds:
            of_updates, of_exchange = train(ranks, arguments.updates, extra)
            seconds[ranks] += of_updates[1:]
            if ranks == 2:
                trained += sum(of_updates)
                for stage in STAGES:
                    exchanged[stage] += of_exchange[stage]
    one, two = (statistics.median(seconds[ranks]) for ranks in (1, 2))
    print(f"gradient of an update: {one:.2f} s by one rank, {two:.2f} s by two: {one / two:.2f}x")
    print("of two ranks' gradients:", ", ".join(f"{stage} {100 * exchanged[stage] / trained:.2f}%" for stage in STAGES))


if __name__ == "__main__":
    main()
