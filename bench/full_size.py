#!/usr/bin/env python3
"""Stable Diffusion 3.5 Medium at its true size: diffusers, transformers and peft against this service, in turns.

    ninja -C build/release flowawr_full_size_bench
    .venv/bin/python bench/full_size.py [--model FOLDER] [--only REGEX ...] [--layers N] [--json FILE] [--plot FILE]

Every measurement is a process of its own, one at a time, with the same dtype, threads and folder on both sides: it
loads, warms up on a small input, repeats one step and prints wall time, processor time and its peak memory. The first
round measures every row once, service then Python; further rounds follow while they fit into --minutes. Weights are
random ones of tools/random_pipeline.py, made (8.4 GB) if --model is not given; --layers makes a shorter transformer.

Prints one Markdown table, and notes to stderr. FLOPs are what torch's FlopCounterMode counts of diffusers' classes
(with activation checkpointing: of the step without it); the peak is the fastest matrix product of either side in this
run. A --model whose files are no published sizes works too: models/tiny-sd3 with --side 8 is a quick trial.
"""

import argparse
import dataclasses
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import processor

ROOT = Path(__file__).resolve().parents[1]
SERVICE = [ROOT / "build/release/bin/flowawr_full_size_bench"]
PYTHON = [sys.executable, ROOT / "bench/python_baseline/full_size.py"]
SIDES = {"service": SERVICE, "python": PYTHON}


@dataclasses.dataclass
class Row:
    """`kind` and `options` are of full_size.cc; `python` is what the Python side alone gets, the faster way for it."""

    name: str
    title: str
    kind: str
    options: list = dataclasses.field(default_factory=list)
    python: list = dataclasses.field(default_factory=list)
    float32: bool = False
    side: int = 0  # of the latents, instead of --side


BATCH4 = ["--batch", "4"]
T5 = ["--encoder", "text_encoder_3"]
ROWS = [
    Row("forward-1", "transformer forward, batch 1", "forward"),
    Row("forward-4", "transformer forward, batch 4, as in training", "forward", BATCH4),
    Row("sample-4", "transformer forward, batch 4 of one prompt, as in sampling", "sample", BATCH4),
    Row("train-1", "training step, batch 1", "train"),
    Row("train-4", "training step, batch 4", "train", BATCH4),
    Row("train-1-reference", "training step with v_ref, batch 1", "train", ["--reference"]),
    Row("train-1-checkpoint", "training step, batch 1, checkpointing", "train", ["--checkpoint"]),
    Row("train-4-checkpoint", "training step, batch 4, checkpointing", "train", BATCH4 + ["--checkpoint"]),
    Row("vae", "VAE decode", "vae"),
    Row("vae-float32", "VAE decode, f32", "vae", float32=True),
    Row("clip-l-1", "CLIP-L, batch 1", "encoder"),
    Row("clip-l-8", "CLIP-L, batch 8", "encoder", ["--batch", "8"]),
    Row("clip-g-1", "CLIP-G, batch 1", "encoder", ["--encoder", "text_encoder_2"]),
    Row("clip-g-8", "CLIP-G, batch 8", "encoder", ["--encoder", "text_encoder_2", "--batch", "8"]),
    Row("t5-1", "T5-XXL, 4 layers, batch 1", "encoder", T5),
    Row("t5-8", "T5-XXL, 4 layers, batch 8", "encoder", T5 + ["--batch", "8"]),
    Row("cold-transformer", "cold start, transformer and scheduler", "cold-transformer"),
    Row("cold-transformer-small", "cold start, transformer, 128 pixels", "cold-transformer", side=16),
    Row("cold-pipeline", "cold start, whole pipeline", "cold-pipeline"),
    Row("cold-pipeline-small", "cold start, pipeline, 128 pixels", "cold-pipeline", side=16),
]


def run(side, kind, *options):
    """The JSON of one process; `ready_s` and `total_s` count from its start to what it printed."""
    command = [str(part) for part in (*SIDES[side], kind, *options)]
    start = time.perf_counter()
    ready, total, last = None, None, ""
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT) as process:
            for line in process.stdout:
                total, last = time.perf_counter() - start, line
                if line == "ready\n":
                    ready = total
        if process.returncode != 0:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}: {errors.read()[-2000:]}")
    return {**json.loads(last), "ready_s": ready, "total_s": total}


def read_once(folder):
    """So that no measurement waits for the disk."""
    for file in sorted(folder.rglob("*.safetensors")):
        with open(file, "rb", buffering=0) as opened:
            while opened.read(1 << 24):
                pass


class Bench:
    def __init__(self, args, model):
        self.args, self.model = args, model
        self.runs = {}  # row name -> side -> results
        self.cost = {}  # row name -> seconds of its last round
        self.flops = {}
        self.peak = {}  # whether f32 -> FLOP/s
        self.inputs = None

    def options(self, row):
        side = row.side or self.args.side
        options = ["--model", self.model, "--threads", self.args.threads, "--side", side, "--seconds",
                   self.args.seconds, "--device", self.args.device, *row.options]
        if self.is_float32(row):
            options.append("--float32")
        return options

    def is_float32(self, row):
        return self.args.float32 or row.float32

    def count(self, row):
        if row.kind.startswith("cold"):
            return None
        return run("python", "flops", "--counted", row.kind, *self.options(row))["flops"]

    def measure(self, row):
        start = time.perf_counter()
        inputs = ["--inputs", self.inputs] if row.kind == "cold-transformer" else []
        for side in SIDES:
            if row.kind.startswith("cold"):
                read_once(self.model)  # a large measurement before this one may have pushed the files out of memory
            python = row.python if side == "python" else []
            result = run(side, row.kind, *self.options(row), *python, *inputs)
            if row.kind.startswith("cold"):
                result["wall"], result["cpu"] = [result["total_s"]], []
            self.runs.setdefault(row.name, {}).setdefault(side, []).append(result)
            print(f"{row.name} {side}: {statistics.median(result['wall']):.3g} s (median of {len(result['wall'])}), "
                  f"{result['peak_memory'] / 1e9:.2f} GB", file=sys.stderr, flush=True)
        self.cost[row.name] = time.perf_counter() - start

    def measure_products(self, rows):
        for float32 in {self.is_float32(row) for row in rows}:
            for side in SIDES:
                found = run(side, "products", "--threads", self.args.threads, "--seconds", 5,
                            "--device", self.args.device, *(["--float32"] if float32 else []),
                            *(["--large"] if self.args.device != "cpu" else []))["flops_per_second"]
                self.peak[float32] = max(found, self.peak.get(float32, 0))
                print(f"products {side} {'f32' if float32 else 'bf16'}: {found / 1e9:.0f} GFLOP/s", file=sys.stderr)

    def run_all(self, rows):
        deadline = time.perf_counter() + 60 * self.args.minutes
        with tempfile.TemporaryDirectory(prefix="flowawr-bench-") as folder:
            self.inputs = Path(folder, "inputs.safetensors")
            if any(row.kind == "cold-transformer" for row in rows):
                run("python", "inputs", "--inputs", self.inputs, *self.options(rows[0]))
            for row in rows:
                self.flops[row.name] = self.count(row)
            self.measure_products(rows)
            for round_number in range(self.args.rounds):
                for row in rows:
                    if round_number == 0 or time.perf_counter() + self.cost[row.name] < deadline:
                        self.measure(row)

    # What is shown of a row.
    def values(self, row, side, key):
        return [value for result in self.runs[row.name][side] for value in result[key]]

    def summary(self, row):
        found = {"name": row.name, "title": row.title, "dtype": "f32" if self.is_float32(row) else "bf16"}
        for side in SIDES:
            wall, cpu = self.values(row, side, "wall"), self.values(row, side, "cpu")
            entry = {"median_s": statistics.median(wall), "fastest_s": min(wall), "wall_s": wall, "cpu_s": cpu,
                     "median_cpu_s": statistics.median(cpu) if cpu else None,
                     "peak_memory": max(r["peak_memory"] for r in self.runs[row.name][side])}
            if "peak_device_memory" in self.runs[row.name][side][0]:
                entry["peak_device_memory"] = max(r["peak_device_memory"] for r in self.runs[row.name][side])
            ready = [r["ready_s"] for r in self.runs[row.name][side] if r["ready_s"]]
            if ready:
                entry["ready_s"] = statistics.median(ready)
            if self.flops[row.name]:
                entry["share_of_peak"] = self.flops[row.name] / entry["fastest_s"] / self.peak[self.is_float32(row)]
            found[side] = entry
        for key in ("median_s", "fastest_s", "median_cpu_s", "ready_s"):
            if found["python"].get(key):
                found["ratio_" + key] = found["python"][key] / found["service"][key]
        found["flops"] = self.flops[row.name]
        return found


def seconds(value):
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def table(summaries):
    columns = ["", "Python", "service", "faster by: median, fastest", "processor time", "memory: Python, service",
               "of the peak: Python, service", "runs"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for s in summaries:
        python, service = s["python"], s["service"]
        share = f"{python['share_of_peak']:.0%}, {service['share_of_peak']:.0%}" if s["flops"] else ""
        cpu = f"{s['ratio_median_cpu_s']:.2f} x" if "ratio_median_cpu_s" in s else ""
        memory_of = "peak_device_memory" if "peak_device_memory" in service else "peak_memory"
        memory = f"{python[memory_of] / 1e9:.2f}, {service[memory_of] / 1e9:.2f} GB"
        title = s["title"]
        if "ready_s" in python:
            lines.append(f"| {title}: ready to sample | {seconds(python['ready_s'])} | {seconds(service['ready_s'])} "
                         f"| {s['ratio_ready_s']:.2f} x | | | | {len(python['wall_s'])} |")
            title += ": first latents"
        lines.append(f"| {title} | {seconds(python['median_s'])} | {seconds(service['median_s'])} "
                     f"| **{s['ratio_median_s']:.2f} x**, {s['ratio_fastest_s']:.2f} x | {cpu} | {memory} | {share} "
                     f"| {len(python['wall_s'])}, {len(service['wall_s'])} |")
    return "\n".join(lines)


def plot(summaries):
    """Bars of how many times faster the service is, as SVG."""
    bars = [(s["title"], s["ratio_median_s"]) for s in summaries]
    top, line, width = 34, 24, 420
    left = 16 + 7 * max(len(title) for title, _ in bars)
    scale = width / max(math.ceil(max(2, *(ratio for _, ratio in bars))), 1)
    height = top + line * len(bars) + 12
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{height}" '
             'font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="{left}" y="18">times faster than diffusers, transformers and peft</text>']
    for i, (title, ratio) in enumerate(bars):
        y = top + line * i
        colour = "#137a41" if ratio >= 1 else "#b3261e"
        parts += [f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{title}</text>',
                  f'<rect x="{left}" y="{y}" width="{ratio * scale:.1f}" height="17" fill="{colour}"/>',
                  f'<text x="{left + ratio * scale + 5:.1f}" y="{y + 13}">{ratio:.2f}</text>']
    parts += [f'<line x1="{left + scale:.1f}" x2="{left + scale:.1f}" y1="{top - 6}" y2="{height - 8}" stroke="black" '
              'stroke-dasharray="3 3"/>', "</svg>"]
    return "\n".join(parts) + "\n"


def model_folder(args):
    """The folder to measure; with --layers one with its own transformer, the rest shared."""
    whole = args.model or ROOT / "build/bench/sd35-medium"
    make = [sys.executable, ROOT / "tools/random_pipeline.py"]
    if not whole.exists():
        subprocess.run([*make, whole], check=True, stdout=sys.stderr)
    if not args.layers:
        return whole
    short = ROOT / f"build/bench/sd35-medium-{args.layers}-layers"
    if not short.exists():
        subprocess.run([*make, short, "--layers", str(args.layers), "--only", "transformer"], check=True,
                       stdout=sys.stderr)
        for part in whole.iterdir():
            if part.name != "transformer":
                os.symlink(part.resolve(), short / part.name)
    return short


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a diffusers folder of Stable Diffusion 3")
    parser.add_argument("--layers", type=int, help="of the transformer: a quick look")
    parser.add_argument("--only", nargs="+", metavar="REGEX", help=f"rows: {' '.join(row.name for row in ROWS)}")
    parser.add_argument("--float32", action="store_true", help="instead of bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    processor.add_option(parser)
    parser.add_argument("--side", type=int, default=64, help="of the latents: 64 is 512 pixels")
    parser.add_argument("--device", default="cpu", help="where both sides compute, e.g. cuda:0")
    parser.add_argument("--seconds", type=float, default=10, help="to repeat for in one process")
    parser.add_argument("--rounds", type=int, default=5, help="at most")
    parser.add_argument("--minutes", type=float, default=24, help="after which no further round of a row begins")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, help="write the ratios here as SVG")
    args = parser.parse_args()
    processor.restrict(args.cpu)
    if not SERVICE[0].exists():
        raise SystemExit("build it first: ninja -C build/release flowawr_full_size_bench")
    rows = [row for row in ROWS if not args.only or any(re.fullmatch(only, row.name) for only in args.only)]
    if not rows:
        raise SystemExit(f"--only {' '.join(args.only)} names no row; there are {' '.join(row.name for row in ROWS)}")

    bench = Bench(args, model_folder(args))
    read_once(bench.model)
    bench.run_all(rows)
    summaries = [bench.summary(row) for row in rows]
    where = processor.describe(args.threads) if args.device == "cpu" else args.device
    print(f"{where}\n")
    print(table(summaries))
    for float32, peak in sorted(bench.peak.items()):
        name = "f32" if float32 else "bf16"
        how = f"on {args.threads} threads" if args.device == "cpu" else f"on {args.device}"
        print(f"\nPeak of {name} matrix products: {peak / 1e9:.0f} GFLOP/s {how}.")
    if args.json:
        peaks = {"f32" if float32 else "bf16": peak for float32, peak in bench.peak.items()}
        found = {"peak_flops_per_second": peaks, "threads": args.threads, "device": args.device,
                 "rows": summaries}
        args.json.write_text(json.dumps(found, indent=1))
    if args.plot:
        args.plot.write_text(plot(summaries))


if __name__ == "__main__":
    main()
