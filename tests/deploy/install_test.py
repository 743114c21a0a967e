"""`cmake --install` gives a tree that works from any folder, without the sources and the build."""
import os
import re
import shutil
import subprocess

import pytest

from manifests import ROOT
from programs import BUILD, PROGRAMS

LIBRARIES = "lib/flowawr/torch/lib"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    staged, moved = tmp_path_factory.mktemp("staged") / "usr", tmp_path_factory.mktemp("moved") / "anywhere"
    done = subprocess.run(["cmake", "--install", BUILD, "--prefix", staged], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, f"{done.stderr}\nscripts/build installed?"
    staged.rename(moved)  # nothing may depend on where it was installed
    yield moved
    shutil.rmtree(moved)


def run(prefix, folder, *arguments, **options):
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": str(folder), "OMP_WAIT_POLICY": "PASSIVE", **options}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_trains_the_embedded_model_from_an_empty_folder(prefix, tmp_path):
    small = ["train.updates=1", "train.timesteps_per_sample=1", "rollout.groups_per_batch=1",
             "rollout.samples_per_group=2", "sampler.steps=2", "evaluation.every_updates=0",
             "evaluation.final_prompts=1", "evaluation.steps=2", "local.actors=1"]
    done = run(prefix, tmp_path, "flowawr", "run", "configs/tiny-ocr.yaml", *(f"--set={one}" for one in small))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs/tiny-ocr/export/peft/adapter_model.safetensors").exists()
    config = (tmp_path / "runs/tiny-ocr/config.yaml").read_text()
    assert f'path: "{prefix}/share/flowawr/models/tiny-sd3"' in config


@pytest.mark.parametrize("program", [*PROGRAMS, "flowawr-ocr-reader"])
def test_programs_look_for_libraries_beside_them_alone(prefix, program):
    told = subprocess.run(["readelf", "-d", prefix / "bin" / program], capture_output=True, text=True,
                          check=True).stdout
    assert re.findall(r"(?:RUNPATH|RPATH).*\[(.*)\]", told) == [f"$ORIGIN/../lib/flowawr:$ORIGIN/../{LIBRARIES}"]
    found = subprocess.run(["ldd", prefix / "bin" / program], capture_output=True, text=True, check=True).stdout
    assert "not found" not in found
    for line in found.splitlines():
        if re.search(r"libtorch|libc10", line):
            assert str(prefix) in os.path.realpath(line.split()[2]), line


def test_no_python_comes_along(prefix):
    names = [path.name for path in (prefix / LIBRARIES).iterdir()]
    assert "libtorch_cpu.so" in names and not [name for name in names if "python" in name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_manual_pages_and_completions_are_there(prefix, tmp_path, program):
    page = (prefix / f"share/man/man1/{program}.1").read_text()
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"):
        assert f".SH {section}\n" in page
    help_text = run(prefix, tmp_path, program, "--help").stdout
    for flag in re.findall(r"^  (?:-\w,)?(--[a-z-]+)", help_text, flags=re.M):
        assert flag.replace("-", "\\-") in page, flag
    completion = prefix / f"share/bash-completion/completions/{program}"
    subprocess.run(["bash", "-n", completion], check=True)
    assert "--help" in completion.read_text()
    assert (prefix / f"share/zsh/vendor-completions/_{program}").exists()
    assert (prefix / f"share/fish/vendor_completions.d/{program}.fish").exists()


def test_shipped_configurations_are_all_installed(prefix):
    shipped = {path.name for path in (ROOT / "configs").iterdir()}
    assert {path.name for path in (prefix / "share/flowawr/configs").iterdir()} == shipped
