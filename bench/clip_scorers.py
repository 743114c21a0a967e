#!/usr/bin/env python3
"""The `pickscore` scorer against transformers' CLIPModel in Python: the same pictures a batch, dtype and threads, in
turns.

    ninja -C build/release flowawr_clip_bench
    .venv/bin/python bench/clip_scorers.py [--size vit-l-14] [--dtype float32 bfloat16] [--threads 1] [--rounds 5]
                                           [--cpu avx2]

Both sides are loaded once and wait; a round is one batch by Python, one by the service, so that other load on the
machine moves both. Each includes making the pictures ready and the prompt's tokens and tower. Prints rows for
docs/performance.md: pictures a second by the median round, and how much faster the service is by medians, by fastest
rounds and by processor time, which other load moves least.
"""

import argparse
import statistics
import subprocess
import sys

import processor

ROOT = processor.ROOT
SERVICE = ROOT / "build/release/bin/flowawr_clip_bench"


class Side:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, cwd=ROOT)

    def read(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args} has ended")
        return line

    def time(self, prompt):
        self.process.stdin.write(prompt + "\n")
        self.process.stdin.flush()
        return tuple(map(float, self.read().split()))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compare(model, dtype, threads, args):
    sizes = [str(threads), str(args.batch), str(args.side), args.device]
    sides = [Side([sys.executable, ROOT / "bench/clip_baseline.py", model, dtype, *sizes]),
             Side([SERVICE, "pickscore", model, dtype, *sizes])]
    for side in sides:
        side.read()  # "ready"
        side.time("a picture to begin with")
    times = [[], []]  # of each side: (seconds, the processor's seconds)
    for i in range(args.rounds):
        prompt = f"a photo of {i} red circles left of a green triangle, studio light, highly detailed"
        for side, seconds in zip(sides, times):
            seconds.append(side.time(prompt))
    for side in sides:
        side.end()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    processor.add_option(parser)
    parser.add_argument("--size", default="vit-l-14", choices=["vit-b-32", "vit-l-14", "vit-h-14"])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=512, help="of a picture, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where both sides' models compute, e.g. cuda:0")
    parser.add_argument("--model", help="a CLIP folder; default: a random one of the size, made in build/clip-bench")
    args = parser.parse_args()
    processor.restrict(args.cpu)
    model = args.model or ROOT / "build/clip-bench" / args.size
    if not args.model and not (model / "model.safetensors").exists():
        subprocess.run([sys.executable, ROOT / "tools/random_clip_of_size.py", model, "--size", args.size], check=True)
    where = processor.describe(max(args.threads)) if args.device == "cpu" else args.device
    print(f"{where}; {args.size}, batches of {args.batch} pictures of {args.side} x {args.side}, "
          f"{args.rounds} rounds in turns\n")
    print("| dtype | threads | Python, pictures/s | this service | faster by: median, fastest | processor time |\n"
          "|---|---|---|---|---|---|")
    for dtype in args.dtype:
        for threads in args.threads:
            both = compare(model, dtype, threads, args)
            (python, python_used), (service, service_used) = (zip(*side) for side in both)
            medians = statistics.median(python), statistics.median(service)
            used = statistics.median(python_used) / statistics.median(service_used)
            print(f"| {dtype} | {threads} | {args.batch / medians[0]:.2f} | {args.batch / medians[1]:.2f} | "
                  f"**{medians[0] / medians[1]:.2f} x**, {min(python) / min(service):.2f} x | {used:.2f} x |",
                  flush=True)


if __name__ == "__main__":
    main()
