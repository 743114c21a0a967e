#!/usr/bin/env python3
"""Mask2Former-Swin-S with random weights: transformers' class against this service, in turns.

    ninja -C build/release flowawr_mask2former_bench
    .venv/bin/python bench/mask2former.py [--cpu avx2] [--threads 2] [--batch 1] [--side 800] [--rounds 5]
                                          [--device cuda]

Both read the same folder and run the same number of pictures at the same size with the same threads; a round is one
batch by each, the first one of each is not counted. Prints a row for docs/performance.md: medians, pictures a second,
and how much faster the service is.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import processor

SERVICE = processor.ROOT / "build/release/bin/flowawr_mask2former_bench"


def make_model(folder):
    import transformers
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    transformers.utils.logging.disable_progress_bar()
    labels = {i: f"class {i}" for i in range(80)}
    config = Mask2FormerConfig(id2label=labels, label2id={name: i for i, name in labels.items()})
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)


class Service:
    def __init__(self, folder, args):
        sizes = [str(args.threads), str(args.batch), str(args.side)]
        self.process = subprocess.Popen([SERVICE, folder, args.dtype, *sizes, args.device],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("the service's side did not start")

    def run(self):
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


class Transformers:
    def __init__(self, folder, args):
        import torch
        from transformers import Mask2FormerForUniversalSegmentation

        self.torch = torch
        torch.set_num_threads(args.threads)
        dtype = getattr(torch, args.dtype)
        self.model = Mask2FormerForUniversalSegmentation.from_pretrained(folder, dtype=dtype).eval().to(args.device)
        self.pixels = torch.randn(args.batch, 3, args.side, args.side, dtype=dtype)

    def run(self):
        with self.torch.inference_mode():
            start = time.perf_counter()
            # Up with the pictures and down with what was found, as the service does.
            found = self.model(pixel_values=self.pixels.to(self.model.device))
            found.class_queries_logits.cpu(), found.masks_queries_logits.cpu()
            return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    processor.add_option(parser)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu", help="where both sides compute, e.g. cuda:0")
    args = parser.parse_args()
    processor.restrict(args.cpu)

    with tempfile.TemporaryDirectory() as folder:
        make_model(pathlib.Path(folder))
        sides = {"transformers": Transformers(folder, args), "this service": Service(folder, args)}
        seconds = {name: [] for name in sides}
        for i in range(args.rounds + 1):
            for name, side in sides.items():
                taken = side.run()
                if i > 0:
                    seconds[name].append(taken)
        sides["this service"].process.stdin.close()
        sides["this service"].process.wait()
    theirs, ours = (statistics.median(seconds[name]) for name in sides)
    where = processor.describe(args.threads) if args.device == "cpu" else args.device
    print(f"{where}; {args.rounds} rounds in turns\n")
    print("| pictures | dtype | transformers | this service | faster by: median, fastest |\n|---|---|---|---|---|")
    fastest = min(seconds["transformers"]) / min(seconds["this service"])
    print(f"| {args.batch} of {args.side} x {args.side} | {args.dtype} | {args.batch / theirs:.2f}/s | "
          f"{args.batch / ours:.2f}/s | **{theirs / ours:.2f} x**, {fastest:.2f} x |")


if __name__ == "__main__":
    main()
