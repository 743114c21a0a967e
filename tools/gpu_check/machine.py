"""What a check runs on: the programs, the Python that has torch, the device; and how each is started."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from step import ROOT

BUNDLE = ROOT / "bundle.json"  # there in an unpacked bundle alone: what its programs want

FACTS = """
import json, os, platform, torch
devices = []
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    devices.append({"name": p.name, "memory": p.total_memory, "compute_capability": f"{p.major}.{p.minor}",
                    "multiprocessors": p.multi_processor_count})
print(json.dumps({"torch": torch.__version__, "folder": os.path.dirname(torch.__file__), "cuda": torch.version.cuda,
                  "python": platform.python_version(), "devices": devices}))
"""


class Unfit(Exception):
    """Nothing can be checked here; the message says why, and what to do."""


def _facts():
    result = subprocess.run([sys.executable, "-c", FACTS], capture_output=True, text=True)
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise Unfit(f"{sys.executable} has no torch that works ($PYTHON names another Python): {last}")
    return json.loads(result.stdout.splitlines()[-1])


def _check_bundle(wanted, facts):
    """Programs need the LibTorch that they were built against, Python's packages the Python that they were made for."""
    has = {"torch": facts["torch"].split("+")[0], "python": ".".join(facts["python"].split(".")[:2])}
    for name, version in has.items():
        if version != wanted[name]:
            raise Unfit(f"this bundle was made for {name} {wanted[name]}, here is {facts[name]}: make one for it by "
                        "`scripts/gpu-check pack` (docs/gpu.md, \"Check a machine\")")
    name, glibc = os.confstr("CS_GNU_LIBC_VERSION").split()
    as_numbers = lambda version: [int(part) for part in version.split(".")]
    if as_numbers(glibc) < as_numbers(wanted["glibc"]):
        raise Unfit(f"this bundle's programs need {name} {wanted['glibc']}, here is {glibc}")


def _link_openmp(name, torch_libraries):
    """The programs ask for LibTorch's OpenMP runtime by a name that another build of it need not have."""
    if name is None or (torch_libraries / name).exists():
        return
    others = sorted(torch_libraries.glob("libgomp*.so.1"))
    if not others:
        raise Unfit(f"{torch_libraries} has no OpenMP runtime (libgomp*.so.1): the programs need the torch of a wheel, "
                    "which brings its own")
    link = ROOT / "lib" / name
    link.unlink(missing_ok=True)
    link.symlink_to(others[0])


def _device(name, facts, build):
    """`name` as the programs spell it."""
    if name == "cpu":
        return name
    if re.fullmatch(r"fake(:[01])?", name):
        if not _fake_library(build).exists():
            raise Unfit(f"{name}: {_fake_library(build)} is not there: scripts/build flowawr_fake_device")
        return name if ":" in name else "fake:0"
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", name)
    if not match:
        raise Unfit(f"--device {name}: expected cuda, cuda:1, ..., cpu or fake:0")
    index, there = int(match[1] or 0), len(facts["devices"])
    if index >= there:
        sees = f"sees {there} CUDA device{'s' if there > 1 else ''}" if there else "sees no CUDA device"
        raise Unfit(f"--device {name}: torch {facts['torch']} {sees}; `flowawr doctor` says what is missing, "
                    "`scripts/gpu-check run --device cpu` tries every step without a GPU")
    return f"cuda:{index}"


def _fake_library(build):
    return build / "tests/testing/fake_device/libflowawr_fake_device.so"


def default_build():
    """With CUDA's kernels where they were built."""
    cuda = ROOT / "build/cuda"
    return cuda if (cuda / "bin/flowawr").exists() else ROOT / "build/release"


class Machine:
    def __init__(self, build, device, is_quick):
        self.build = build
        self.facts = _facts()
        self.bundle = json.loads(BUNDLE.read_text()) if BUNDLE.exists() else None
        if self.bundle:
            _check_bundle(self.bundle, self.facts)
            _link_openmp(self.bundle["openmp"], Path(self.facts["folder"], "lib"))
        self.device = _device(device, self.facts, build)
        self._start_once()
        # The true sizes are for GPUs, and so are the aims.
        self.is_quick = is_quick or not self.has_gpu

    def _start_once(self):
        """What keeps a program from starting is the machine's, not a step's."""
        command = [self.build / "bin/flowawr", "--version"]
        try:
            result = subprocess.run(command, env=self.programs_environment(), capture_output=True, text=True)
        except OSError as error:
            raise Unfit(f"{error}: scripts/build gpu_check") from None
        if result.returncode != 0:
            raise Unfit(f"{command[0]} does not start: {result.stderr.strip() or result.returncode}")

    @property
    def has_gpu(self):
        return self.device.startswith("cuda")

    @property
    def has_cuda_kernels(self):
        return self.has_gpu and (self.build / "lib/libflowawr_cuda.so").exists()

    @property
    def devices(self):
        """All of the kind of `device`."""
        if self.has_gpu:
            return [f"cuda:{i}" for i in range(len(self.facts["devices"]))]
        return ["cpu"] if self.device == "cpu" else ["fake:0", "fake:1"]

    @property
    def memory(self):
        """Bytes of the GPU; 0: there is none."""
        return self.facts["devices"][int(self.device.partition(":")[2])]["memory"] if self.has_gpu else 0

    @property
    def has_python_side(self):
        """The pretend device is the service's programs' alone."""
        return not self.device.startswith("fake")

    def program(self, path):
        """`path` in the build folder. Unfit when it is not there."""
        program = self.build / path
        if not program.exists():
            raise Unfit(f"{program} is not there: scripts/build gpu_check")
        return program

    def programs_environment(self, **more):
        env = {**os.environ, "FLOWAWR_SOURCE_DIR": str(ROOT), "FLOWAWR_BUILD_DIR": str(self.build), **more}
        if self.bundle:  # programs of a checkout know where their libraries are
            places = [ROOT / "lib", self.build / "lib", f"{self.facts['folder']}/lib"]
            env["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, places))
        if self.device.startswith("fake"):
            env["LD_PRELOAD"] = str(_fake_library(self.build))
        return env

    def python_environment(self):
        """Of diffusers and peft: a bundle brings them along."""
        if not self.bundle:
            return None
        return {**os.environ, "PYTHONPATH": str(ROOT / "packages"), "HF_HUB_OFFLINE": "1"}
