"""What a bench runs on, and the one switch that restricts both sides alike. Import it before torch.

FLOWAWR_CPU (or --cpu of a bench) names an instruction set: the service's programs follow it by themselves; here the
variables of LibTorch, oneDNN and MKL are set for the Python side, the same as common/process/processor.cc sets them.
"""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("baseline", "sse4", "avx2", "avx512", "avx512_bf16")
_SWITCHES = {
    "baseline": ("default", "SSE41", "SSE4_2"),
    "sse4": ("default", "SSE41", "SSE4_2"),
    "avx2": ("avx2", "AVX2", "AVX2"),
    "avx512": ("avx512", "AVX512_CORE", "AVX512"),
    "avx512_bf16": ("avx512", "AVX512_CORE_BF16", "AVX512"),
}


def add_option(parser):
    parser.add_argument("--cpu", choices=NAMES, default=os.environ.get("FLOWAWR_CPU") or None,
                        help="keep both sides to this instruction set; default: FLOWAWR_CPU, or all that the "
                             "processor has")


def restrict(name):
    """For this process and those that it starts. Before torch is imported: its libraries read the variables at first
    use."""
    if not name:
        return
    if name not in _SWITCHES:
        raise SystemExit(f"FLOWAWR_CPU={name} is no instruction set; choose from {', '.join(NAMES)}")
    os.environ["FLOWAWR_CPU"] = name
    for variable, value in zip(("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"),
                               _SWITCHES[name]):
        os.environ[variable] = value


def model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def cores():
    """Those that this process may use, as the service counts them."""
    return int(subprocess.run([ROOT / "scripts/cores"], check=True, stdout=subprocess.PIPE).stdout)


def describe(threads):
    """For the head of every table."""
    name = os.environ.get("FLOWAWR_CPU") or "all its instructions"
    return f"{model()}, {name}, {threads} thread{'' if threads == 1 else 's'}, {cores()} usable cores"
