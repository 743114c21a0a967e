"""Checks the service on this machine's GPU, or packs what a machine without compiler and network needs for that.

`run` compares the device with the CPU, the device with itself, the hand-written kernels with LibTorch, and the service
with diffusers and peft. It ends with 0 when every step passed or had nothing to do, 1 when one failed (the last line
names it; aims that are not reached fail nothing), 78 when the machine cannot be checked.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import aims
import bench
import bundle
import determinism
import facts
import kernels
import machine
import parity
import report
import step

FAILED_EXIT_CODE, INPUT_MISSING_EXIT_CODE, CONFIGURATION_EXIT_CODE, USAGE_EXIT_CODE = 1, 66, 78, 64
STOPPED_EXIT_CODE = 130


def run(args):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED_EXIT_CODE))  # so that what was started ends, too
    try:
        here = machine.Machine(args.build, args.device, args.quick)
    except machine.Unfit as reason:
        print(f"gpu-check: {reason}", file=sys.stderr)
        return CONFIGURATION_EXIT_CODE
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-check-", dir=args.work) as folder:
        shared = bench.Bench(here, Path(folder))
        steps = [*facts.steps(here), *parity.steps(here), *determinism.steps(here), *kernels.steps(here),
                 *bench.steps(shared)]
        chosen = step.select(steps, args.only)
        if not chosen:
            print(f"gpu-check: --only {' '.join(args.only)} names no step; there are {' '.join(s.name for s in steps)}",
                  file=sys.stderr)
            return USAGE_EXIT_CODE
        # The limits are a GPU's.
        results = step.run(chosen, Path(folder), 60 * args.minutes, patience=1 if here.has_gpu else 5)
    judged = aims.judge(results, here)
    whole = report.whole(here, results, judged, time.monotonic() - started)
    if args.json:
        args.json.write_text(report.as_json(whole))
    print(report.table(results, judged))
    failed = [result["name"] for result in results if result["verdict"] == step.FAILED]
    if failed:
        print(f"gpu-check: failed: {', '.join(failed)}", file=sys.stderr)
    return FAILED_EXIT_CODE if failed else 0


def pack(args):
    try:
        print(bundle.make(args.out, args.build, args.python, not args.no_packages, args.for_checkout))
    except bundle.NotBuilt as missing:
        print(f"gpu-check: {missing}", file=sys.stderr)
        return INPUT_MISSING_EXIT_CODE
    return 0


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE_EXIT_CODE, f"{self.prog}: {message}\n")


def main():
    parser = Parser(prog="gpu-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="run|pack")

    runs = commands.add_parser("run", help="check this machine")
    runs.add_argument("--device", default="auto",
                      help="default: the first GPU; cpu and fake:0 try the steps without one, in small sizes")
    runs.add_argument("--only", nargs="+", default=[], metavar="NAME", help="steps whose names begin with these")
    runs.add_argument("--quick", action="store_true",
                      help="the embedded model's sizes instead of the true ones; no aim is judged")
    runs.add_argument("--minutes", type=float, default=9.5, help="for all of it: what is under way then is ended")
    runs.add_argument("--json", type=Path, metavar="FILE", help="every figure, for programs")
    runs.add_argument("--work", type=Path, metavar="FOLDER",
                      help="for what is made on the way, up to 12 GB; default: the system's for temporary files")
    runs.set_defaults(do=run)

    packs = commands.add_parser("pack", help="make a bundle for another machine")
    packs.add_argument("out", type=Path, help="gpu-check.tar.xz, or a folder to make")
    packs.add_argument("--python", default="3.12", help="of that machine, which packages are taken for")
    packs.add_argument("--no-packages", action="store_true", help="without diffusers, peft and compute-sanitizer")
    packs.add_argument("--for-checkout", action="store_true", help="without what a checkout has: unpack it over one")
    packs.set_defaults(do=pack)

    for command in (runs, packs):
        command.add_argument("--build", type=Path, default=machine.default_build(),
                             help="the build folder, made with the machine's version of torch; default: build/cuda if "
                             "it is there, else build/release")
    args = parser.parse_args()
    args.build = args.build.resolve()
    return args.do(args)


if __name__ == "__main__":
    sys.exit(main())
