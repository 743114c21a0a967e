"""The service beside diffusers and peft on the same device, at Stable Diffusion 3.5 Medium's true size, and the aims.

Each measurement is a process of its own: bench/full_size.cc and bench/python_baseline/full_size.py, which say what each
kind is. Weights are random ones, made on the spot.
"""

import json
import os
import shutil
import statistics
import sys

import service
from step import Failure, ROOT, Skip, Step

LORA_RANK = 32
SIZE_OF_WEIGHTS = 12e9  # bytes, with room for the other folders of a check
MEMORY_OF_A_LARGE_BATCH = 64e9  # peft's loop takes some 4 GB a row without checkpointing
BATCHES_OF_A_SCORER = (1, 0, 32)  # 0: as many as it chooses itself
PYTHON_SIDE = ROOT / "bench/python_baseline/full_size.py"


class Bench:
    """What the steps of the bench share. Figures are by step, as they come in."""

    def __init__(self, machine, folder):
        self.machine = machine
        quick = machine.is_quick
        self.batches = (1, 2) if quick else (24, 1, 8)
        self.training_batch = 8 if machine.memory >= MEMORY_OF_A_LARGE_BATCH else 2
        self.seconds = 0.2 if quick else 5
        self.side = 8 if quick else 64  # of the latents; 64 is 512 pixels
        self.model = ROOT / service.MODEL if quick else folder / "sd35-medium"
        self.flops = {}  # of one row, by kind
        self.peak = None  # FLOP/s

    def _options(self, kind):
        options = ["--device", self.machine.device, "--seconds", self.seconds]
        if kind == "products":
            return options
        if not self.model.exists():
            raise Skip("there are no weights: bench/weights has failed")
        return options + ["--model", self.model, "--side", self.side]

    def service(self, shell, kind, *options, **environment):
        command = [self.machine.program("bin/flowawr_full_size_bench"), kind, *self._options(kind), *options]
        return self._figures(shell.call(command, self.machine.programs_environment(**environment)), options)

    def python(self, shell, kind, *options):
        command = [sys.executable, PYTHON_SIDE, kind, *self._options(kind), *options]
        return self._figures(shell.call(command, self.machine.python_environment()), options)

    def _figures(self, called, options):
        _, output = called
        found = json.loads(output.splitlines()[-1])
        if "wall" not in found:
            return found
        batch = options[options.index("--batch") + 1]
        median = statistics.median(found["wall"])
        figures = {"median_s": median, "runs": len(found["wall"]), "rows_per_s": batch / median,
                   "memory": found.get("peak_device_memory", found["peak_memory"])}
        return {**figures, **{key: found[key] for key in ("recorded",) if key in found}}

    def with_share(self, figures, kind, batch):
        if self.peak and kind in self.flops:
            figures["share_of_peak"] = batch * self.flops[kind] / figures["median_s"] / self.peak
        return figures


def _text(figures):
    share = f", {figures['share_of_peak']:.0%} of the peak" if "share_of_peak" in figures else ""
    time, memory = f"{1e3 * figures['median_s']:.3g} ms", f"{figures['memory'] / 1e9:.2f} GB"
    return f"{time}, {figures['rows_per_s']:.3g} rows/s, {memory}{share}"


def _beside(ours, theirs, name):
    """What is said of two sides, and their ratio: above 1, the service is faster."""
    ratio = theirs["median_s"] / ours["median_s"]
    return f"service {_text(ours)}; {name} {_text(theirs)}: {ratio:.2f} x", ratio


def weights(bench):
    def work(shell):
        if bench.machine.is_quick:
            return "the embedded model's", {}
        if shutil.disk_usage(bench.model.parent).free < SIZE_OF_WEIGHTS:
            room = f"{SIZE_OF_WEIGHTS / 1e9:.0f} GB"
            raise Failure(f"{bench.model.parent} has no room for {room}: name another folder by --work")
        whole_pipeline = len(bench.machine.devices) > 1  # for whole trainings by two ranks
        only = [] if whole_pipeline else ["--only", "transformer", "vae"]
        _, output = shell.call([sys.executable, ROOT / "tools/random_pipeline.py", bench.model, "--device",
                                bench.machine.device, *only], bench.machine.python_environment())
        return "; ".join(output.splitlines()), {}

    return work


def flops(bench):
    def work(shell):
        if not bench.machine.has_python_side:
            raise Skip("diffusers' classes are not counted for the pretend device")
        for kind in ("sample", "train"):
            bench.flops[kind] = bench.python(shell, "flops", "--counted", kind, "--batch", 1)["flops"]
        said = ", ".join(f"{kind} {count / 1e12:.3g} TFLOP a row" for kind, count in bench.flops.items())
        return said, dict(bench.flops)

    return work


def peak(bench):
    def work(shell):
        large = [] if bench.machine.is_quick else ["--large"]
        found = {"service": bench.service(shell, "products", *large)["flops_per_second"]}
        if bench.machine.has_python_side:
            found["torch"] = bench.python(shell, "products", *large)["flops_per_second"]
        bench.peak = max(found.values())
        said = ", ".join(f"{side} {value / 1e12:.3g} TFLOP/s" for side, value in found.items())
        return f"fastest bfloat16 products: {said}", {**found, "peak": bench.peak}

    return work


def sampling(bench, batch):
    def work(shell):
        ours = bench.with_share(bench.service(shell, "sample", "--batch", batch), "sample", batch)
        if not bench.machine.has_python_side:
            return f"service {_text(ours)}", {"service": ours}
        theirs = bench.with_share(bench.python(shell, "sample", "--batch", batch), "sample", batch)
        said, ratio = _beside(ours, theirs, "diffusers")
        return said, {"service": ours, "diffusers": theirs, "ratio": ratio}

    return work


def compiled(bench):
    def work(shell):
        batch = bench.batches[0]
        if not bench.machine.has_gpu:
            raise Skip("torch.compile is compared on GPUs alone")
        if not (shutil.which("gcc") or shutil.which("cc")):
            raise Skip("torch.compile needs a C compiler, and there is none here")
        theirs = bench.with_share(bench.python(shell, "sample", "--batch", batch, "--compile"), "sample", batch)
        return f"torch.compile {_text(theirs)}", {"torch.compile": theirs}

    return work


def training(bench):
    def work(shell):
        options = ["--batch", bench.training_batch, "--rank", LORA_RANK]
        ours = bench.with_share(bench.service(shell, "train", *options), "train", bench.training_batch)
        if not bench.machine.has_python_side:
            return f"service {_text(ours)}", {"service": ours}
        theirs = bench.with_share(bench.python(shell, "train", *options), "train", bench.training_batch)
        said, ratio = _beside(ours, theirs, "peft")
        memory_ratio = ours["memory"] / theirs["memory"]
        return said, {"service": ours, "peft": theirs, "ratio": ratio, "memory_ratio": memory_ratio}

    return work


def deterministic(bench):
    def work(shell):
        options = ["--batch", bench.training_batch, "--rank", LORA_RANK]
        free = bench.service(shell, "train", *options)
        strict = bench.service(shell, "train", *options, "--deterministic")
        cost = strict["median_s"] / free["median_s"] - 1
        figures = {"free": free, "strict": strict, "cost": cost}
        return f"a training step takes {cost:+.0%} with deterministic kernels", figures

    return work


def cuda_kernels(bench):
    def work(shell):
        if not bench.machine.has_cuda_kernels:
            raise Skip("there are no hand-written kernels for this device in this build")
        figures, said = {}, []
        for kind, batch in (("sample", bench.batches[0]), ("train", bench.training_batch)):
            with_them, without = (bench.service(shell, kind, "--batch", batch, FLOWAWR_CUDA_KERNELS=choice)
                                  for choice in ("on", "off"))
            ratio = without["median_s"] / with_them["median_s"]
            figures[kind] = {"with": with_them, "without": without, "ratio": ratio}
            said.append(f"{kind}, batch {batch}: {ratio:.2f} x by them")
        return "; ".join(said), figures

    return work


def decoding(bench):
    def work(shell):
        ours = bench.service(shell, "vae", "--batch", 8)
        if not bench.machine.has_python_side:
            return f"service {_text(ours)}", {"service": ours}
        theirs = bench.python(shell, "vae", "--batch", 8)
        said, ratio = _beside(ours, theirs, "diffusers")
        return said, {"service": ours, "diffusers": theirs, "ratio": ratio}

    return work


def ranks(bench):
    def work(shell):
        devices = bench.machine.devices[:2]
        if len(devices) < 2:
            raise Skip(f"there is one device of the kind {bench.machine.device.split(':')[0]}")
        settings = ["train.threads=1"]
        if not bench.machine.is_quick:
            settings += [f"model.path={bench.model}", "model.dtype=bfloat16", "model.height=512", "model.width=512",
                         "model.max_sequence_length=128", f"lora.rank={LORA_RANK}", "train.micro_batch=8"]
        one = service.train(bench.machine, shell, devices[:1], "one", *settings).seconds("train")
        two = service.train(bench.machine, shell, devices, "two", *settings, ranks=2).seconds("train")
        said = f"gradient of an update: {one:.3g} s by one rank, {two:.3g} s by two, a device each: {one / two:.2f} x"
        return said, {"one_s": one, "two_s": two, "ratio": one / two}

    return work


def graphs(bench):
    def work(shell):
        machine = bench.machine
        if machine.has_gpu and not (machine.build / "lib/libflowawr_graphs.so").exists():
            raise Skip("this build has no libflowawr_graphs.so: it was configured without FLOWAWR_CUDA, or for LibTorch "
                       "before 2.13")
        with_them, without = (bench.service(shell, "sample", "--batch", 1, *option) for option in (["--graphs"], []))
        if machine.device != "cpu" and not with_them["recorded"]:
            raise Failure("no step was recorded; `flowawr_full_size_bench sample --graphs` says why in its log")
        said, ratio = _beside(with_them, without, "without graphs")
        return said, {"service": with_them, "without": without, "ratio": ratio}

    return work


def scoring(bench):
    def work(shell):
        machine, size = bench.machine, "vit-h-14"
        model = ROOT / "models/tiny-rewards/clip"
        if not machine.is_quick:
            model = shell.folder / size
            shell.call([sys.executable, ROOT / "tools/random_clip_of_size.py", model, "--size", size, "--device",
                        machine.device], machine.python_environment())
        figures, said = {}, []
        for dtype in ("float32", "bfloat16"):
            by_batch = dict(_pictures_per_s(machine, shell, model, dtype, batch) for batch in BATCHES_OF_A_SCORER)
            figures[dtype] = by_batch
            said.append(f"{dtype} {', '.join(f'{rate:.3g} by {batch}' for batch, rate in by_batch.items())}")
        return f"pictures/s: {'; '.join(said)}", figures

    return work


def _pictures_per_s(machine, shell, model, dtype, batch):
    """The size of the batches, and the median call's rate. The first calls embed the prompt and choose kernels."""
    calls, threads, side = 3, 1, 64
    if not machine.is_quick:
        calls, threads, side = 2 + max(5, 96 // (batch or 8)), min(8, os.cpu_count()), 512
    command = [machine.program("bin/flowawr_clip_bench"), "pickscore", model, dtype, threads, batch, side,
               machine.device]
    _, output = shell.call(command, machine.programs_environment(), given="a photo of a red circle\n" * calls)
    ready, *lines = output.splitlines()
    size = int(ready.split()[1])
    return size, size / statistics.median(float(line.split()[0]) for line in lines[2:])


def steps(bench):
    needs = ("bench/weights", "bench/flops", "bench/peak")
    return [
        Step("bench/weights", "random weights of the true size", 120, weights(bench)),
        Step("bench/flops", "operations of diffusers' classes, counted", 60, flops(bench), needs[:1]),
        Step("bench/peak", "the fastest matrix products", 60, peak(bench)),
        *[Step(f"bench/sampling-{batch}", f"a step of sampling, batch {batch}, beside diffusers", 90,
               sampling(bench, batch), needs) for batch in bench.batches],
        Step("bench/graphs", "a step of sampling, batch 1, recorded and replayed", 60, graphs(bench), needs[:1]),
        Step("bench/training", f"a training step, batch {bench.training_batch}, beside peft", 90, training(bench),
             needs),
        Step("bench/deterministic", "a training step with deterministic kernels", 60, deterministic(bench), needs[:1]),
        Step("bench/kernels", "with the hand-written kernels and without", 90, cuda_kernels(bench), needs[:1]),
        Step("bench/decoding", "decoding 8 pictures, beside diffusers", 60, decoding(bench), needs[:1]),
        Step("bench/scoring", "PickScore's reward by a ViT-H/14, pictures one by one and in batches", 180,
             scoring(bench)),
        Step("bench/compiled", f"a step of sampling, batch {bench.batches[0]}, by torch.compile", 120, compiled(bench),
             needs),
        Step("bench/ranks", "a gradient by two ranks beside one", 120, ranks(bench), needs[:1]),
    ]
