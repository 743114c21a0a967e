"""The hand-written CUDA kernels, by the program that compares each of them: alone, and under compute-sanitizer."""

import os
import shutil
from pathlib import Path

from step import Failure, ROOT, Skip, Step

TOOLS = ("memcheck", "racecheck", "synccheck")
CHECK = "bin/flowawr_cuda_check"
SANITIZER_FOUND = 86  # our --error-exitcode: none of the check's own


def _check_program(machine):
    if not machine.has_gpu:
        raise Skip("CUDA's kernels need a CUDA device")
    if not (machine.build / CHECK).exists():
        raise Skip(f"this build has none (no {CHECK}): it was configured without FLOWAWR_CUDA")
    return machine.program(CHECK)


def _sanitizer(machine):
    # Where a bundle has it, where a toolkit has it, where NVIDIA's wheel puts it.
    beside_torch = Path(machine.facts["folder"]).parent.glob("nvidia/*/bin")
    places = [*(ROOT / "sanitizer").glob("nvidia/*/bin"), *os.get_exec_path(), "/usr/local/cuda/bin", *beside_torch]
    found = shutil.which("compute-sanitizer", path=os.pathsep.join(str(place) for place in places))
    if not found:
        raise Skip("there is no compute-sanitizer here (NVIDIA's wheel nvidia-cuda-sanitizer-api has it)")
    return found


def alone(machine):
    def work(shell):
        _, output = shell.call([_check_program(machine)], machine.programs_environment())
        lines = output.strip().splitlines()
        if not lines:
            raise Failure(f"{CHECK} said nothing of what it compared")
        return lines[-1], {"output": lines}

    return work


def sanitized(machine, tool):
    def work(shell):
        command = [_sanitizer(machine), "--tool", tool, "--error-exitcode", SANITIZER_FOUND, _check_program(machine)]
        code, output = shell.call(command, machine.programs_environment(), may_fail=True)
        summary = [line.strip("= ") for line in output.splitlines() if "SUMMARY" in line]
        if code != 0 or not summary:
            raise Failure(f"compute-sanitizer --tool {tool}: ended with {code}\n{output[-3000:]}")
        return summary[-1], {}

    return work


def steps(machine):
    checks = [Step("kernels/alone", "every hand-written kernel", 60, alone(machine))]
    for tool in TOOLS:
        checks.append(Step(f"kernels/{tool}", f"the same, compute-sanitizer's {tool}", 60, sanitized(machine, tool)))
    return checks
