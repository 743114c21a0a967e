"""Makes a bundle: a folder, or an archive of it, that is a checkout as far as `run` looks at it.

    build/release/   the programs and tests, stripped
    lib/             the shared libraries that they need, but for the system's and LibTorch's
    packages/        diffusers, peft and what they import, for the other machine's Python
    sanitizer/       compute-sanitizer
    bundle.json      which torch, Python and glibc it is for
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from step import ROOT

PROGRAMS = [
    "bin/flowawr", "bin/flowawr-actor", "bin/flowawr-learner", "bin/flowawr-reward-server",
    "bin/flowawr_clip_bench", "bin/flowawr_full_size_bench", "tests/common/sd3/device_test",
    "tests/common/sd3/step_graphs_test", "tests/common/tensor/device_graph_test",
    "tests/learner/learner_gradient_on_devices_test",
    "tests/reward_server/detection/reward_models_on_device_test", "tests/reward_server/scorers_on_device_test",
    "tests/testing/fake_device/libflowawr_fake_device.so",
]
OF_CUDA = ["bin/flowawr_cuda_check", "lib/libflowawr_cuda.so", "lib/libflowawr_graphs.so",
           "lib/libflowawr_nccl.so"]  # of a build with FLOWAWR_CUDA
FILES = ["scripts/gpu-check", "scripts/cores", "tools/gpu_check", "tools/random_clip_of_size.py",
         "tools/random_pipeline.py", "bench/processor.py", "bench/python_baseline/full_size.py", "models/tiny-sd3",
         "models/tiny-rewards", "configs/tiny-ocr.yaml"]
# glibc, and GCC's libraries, which may want a newer glibc than the programs do.
OF_THE_SYSTEM = re.compile(r"ld-linux.*|lib(c|m|mvec|dl|pthread|rt|resolv|util|anl|stdc\+\+|gcc_s)\.so\.\d+")
PLATFORMS = ["manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_25_x86_64", "manylinux_2_28_x86_64",
             "manylinux_2_34_x86_64"]
SANITIZER = "nvidia-cuda-sanitizer-api"
SANITIZER_SINCE = 13  # of CUDA: older ones have it in the toolkit alone


class NotBuilt(Exception):
    pass


def _output(*command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def _copy_stripped(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["strip", "--strip-unneeded", "-o", target, source], check=True)
    target.chmod(0o755)


def _libraries(programs, torch):
    """name -> file, of what the dynamic loader would take, but for the system's and LibTorch's."""
    found = {}
    for program in programs:
        for name, file in re.findall(r"^\s*(\S+) => (\S+)", _output("ldd", program), re.M):
            if file == "not":
                if name in _output("readelf", "--dynamic", program):
                    raise NotBuilt(f"{program} needs {name}, which is nowhere here")
                continue  # what LibTorch's libraries need, the other machine's LibTorch has
            if not OF_THE_SYSTEM.fullmatch(name) and not Path(file).resolve().is_relative_to(torch.resolve()):
                found[name] = Path(file)
    return found


def _glibc(files):
    """The oldest glibc that has all that the files use of it."""
    symbols = "".join(_output("objdump", "-T", file) for file in files)
    versions = {tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_(\d[\d.]*\d)", symbols)}
    return ".".join(map(str, max(versions)))


def _install(target, python, *packages):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps",
               "--no-compile", "--only-binary=:all:", "--python-version", python, "--target", target]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    subprocess.run(command + list(packages), check=True)


def _add_packages(folder, python, cuda):
    names = _output(sys.executable, ROOT / "tools/gpu_check/imported.py").split()
    _install(folder / "packages", python, *names)
    for tests in list((folder / "packages").rglob("tests")):
        shutil.rmtree(tests)
    if cuda and int(cuda.partition(".")[0]) >= SANITIZER_SINCE:
        _install(folder / "sanitizer", python, f"{SANITIZER}~={cuda}.0")
        for headers in (folder / "sanitizer").glob("nvidia/*/include"):
            shutil.rmtree(headers)


def _openmp(torch):
    """The name of LibTorch's OpenMP runtime, which often has a hash in it and need not be the same elsewhere."""
    return next((file.name for file in sorted((torch / "lib").glob("libgomp*.so.1"))), None)


def _fill(folder, build, python, with_packages, for_checkout):
    programs = PROGRAMS + [program for program in OF_CUDA if (build / program).exists()]
    missing = [program for program in programs if not (build / program).exists()]
    if missing:
        raise NotBuilt(f"{build} has no {', '.join(missing)}: cmake --build {build} --target gpu_check")
    torch = (build / "libtorch_headers/torch").resolve().parents[1]
    version = re.search(r"__version__ = '([^']+)'", (torch / "version.py").read_text())[1]
    cuda = re.search(r"^cuda[^=]*= '([^']+)'", (torch / "version.py").read_text(), re.M)
    for program in programs:
        _copy_stripped(build / program, folder / "build/release" / program)
    for name, file in _libraries([build / program for program in programs], torch).items():
        _copy_stripped(file, folder / "lib" / name)
    for file in [] if for_checkout else FILES:
        source, target = ROOT / file, folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    if with_packages:
        _add_packages(folder, python, cuda[1] if cuda else None)
    copied = [file for part in ("build", "lib") for file in (folder / part).rglob("*") if file.is_file()]
    wanted = {"torch": version.split("+")[0], "python": python, "glibc": _glibc(copied),
              "openmp": _openmp(torch)}
    (folder / "bundle.json").write_text(json.dumps(wanted, indent=1) + "\n")
    return wanted


def make(out, build, python, with_packages, for_checkout):
    """What was made, for people."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-", dir=out.resolve().parent) as temporary:
        folder = Path(temporary, "gpu-check")
        folder.mkdir()
        wanted = _fill(folder, build, python, with_packages, for_checkout)
        if out.name.endswith(".tar.xz"):
            subprocess.run(["tar", "--create", "--use-compress-program", "xz -T0 -6", "--file", out,
                            "--directory", temporary, folder.name], check=True)
        else:
            folder.rename(out)
    size = f", {out.stat().st_size / 2**20:.0f} MiB" if out.is_file() else ""
    return f"{out}: for torch {wanted['torch']}, Python {wanted['python']}, glibc {wanted['glibc']} or newer{size}"
