#!/usr/bin/env python3
"""The transformer and the autoencoder at the embedded model's size: diffusers against this service, in turns.

    ninja -C build/release flowawr_transformer_bench
    .venv/bin/python bench/transformer.py [--cpu avx2] [--threads 1 2] [--rounds 3] [--device cuda]

A round is Python, service, for each number of threads; each is a process of its own, so that other load on the machine
moves both.
Prints rows for docs/performance.md: the median of all repeats and how much faster the service is by medians and by
fastest repeats.
With two threads Python splits each operation; the service computes two batches side by side, and its time is the wall
time over the batches done.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import processor

ROOT = processor.ROOT
SERVICE = ROOT / "build/release/bin/flowawr_transformer_bench"
BENCHES = {"sampling": "BM_Sample/16", "training": "BM_Train/16", "decoding": "BM_Decode/16"}
TITLES = {"sampling": "sampling, forward", "training": "training, forward and backward",
          "decoding": "decoding, 16 pictures"}


def run_python(threads, args):
    command = [sys.executable, ROOT / "bench/transformer_baseline.py", "--json", "--threads", str(threads), "--repeats",
               str(args.repeats), "--device", args.device]
    if args.model:
        command += ["--model", args.model]
    out = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return json.loads(out.splitlines()[-1])


def run_service(threads, args):
    names = "|".join(name + "/real_time" + ("" if name == "BM_Decode/16" else f"/threads:{threads}")
                     for name in BENCHES.values())
    environment = dict(os.environ, **({"FLOWAWR_BENCH_MODEL": args.model} if args.model else {}))
    out = subprocess.run([SERVICE, "--device", args.device, f"--benchmark_filter=^({names})$",
                          "--benchmark_format=json",
                          f"--benchmark_repetitions={max(args.repeats // 4, 3)}", "--benchmark_min_time=0.15"],
                         check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL).stdout
    times = {kind: [] for kind in BENCHES}
    for run in json.loads(out)["benchmarks"]:
        for kind, name in BENCHES.items():
            if run["run_type"] == "iteration" and run["name"].startswith(name + "/"):
                times[kind].append(run["real_time"])
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    processor.add_option(parser)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], choices=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=12, help="of the Python side in a round")
    parser.add_argument("--model", help="a pipeline folder; default: models/tiny-sd3")
    parser.add_argument("--device", default="cpu", help="where both sides compute, e.g. cuda:0")
    args = parser.parse_args()
    processor.restrict(args.cpu)

    sides = {"python": run_python, "service": run_service}
    times = {}
    for _ in range(args.rounds):
        for threads in args.threads:
            for side, run in sides.items():
                for kind, repeats in run(threads, args).items():
                    times.setdefault((kind, threads, side), []).extend(repeats)
    where = processor.describe(max(args.threads)) if args.device == "cpu" else args.device
    print(f"{where}; {args.rounds} rounds in turns\n")
    print("| | threads | Python | this service | faster by: median, fastest |\n|---|---|---|---|---|")
    for kind, title in TITLES.items():
        for threads in args.threads:
            if kind == "decoding" and threads != 1:
                continue
            python, service = (times[kind, threads, side] for side in sides)
            medians = statistics.median(python), statistics.median(service)
            print(f"| {title} | {threads} | {medians[0]:.1f} ms | {medians[1]:.1f} ms | "
                  f"**{medians[0] / medians[1]:.2f} x**, {min(python) / min(service):.2f} x |")


if __name__ == "__main__":
    main()
