"""scripts/gpu-check without a GPU: every step on the pretend device, Python's side on the CPU, and what it says of
failures."""

import json
import os
import pathlib
import subprocess
import sys
import time
import types

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("FLOWAWR_BUILD_DIR", ROOT / "build/release"))
sys.path.insert(0, str(ROOT / "tools/gpu_check"))

import aims  # noqa: E402
import kernels  # noqa: E402
import machine  # noqa: E402
import step  # noqa: E402

NEED_A_GPU = {"kernels/alone", "kernels/memcheck", "kernels/racecheck", "kernels/synccheck", "bench/compiled",
              "bench/kernels"}


def gpu_check(*arguments, root=ROOT):
    """The process, and its JSON if it wrote one. As on a machine without a GPU, whatever this one has."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    return subprocess.run([root / "scripts/gpu-check", *map(str, arguments)], capture_output=True, text=True, env=env)


def run(folder, *arguments, root=ROOT):
    file = folder / "report.json"
    build = [] if "--build" in arguments else ["--build", BUILD]
    done = gpu_check("run", *arguments, "--json", file, "--work", folder, "--minutes", 60, *build, root=root)
    return done, json.loads(file.read_text()) if file.exists() else None


def verdicts(report):
    return {result["name"]: result["verdict"] for result in report["steps"]}


def test_without_a_gpu_it_says_so_in_one_line_and_ends_as_for_a_bad_configuration():
    done = gpu_check("run", "--build", BUILD)
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1 and "sees no CUDA device" in done.stderr
    assert gpu_check("run", "--build", BUILD, "--device", "gpu").returncode == 78
    assert gpu_check("run", "--build", BUILD, "--device", "cpu", "--only", "nothing").returncode == 64


def test_every_step_goes_through_on_the_pretend_device(tmp_path):
    done, report = run(tmp_path, "--device", "fake:0")
    assert done.returncode == 0, done.stderr
    assert set(report) == {"schema", "device", "is_quick", "torch", "devices", "bundle", "seconds", "steps", "aims"}
    assert report["schema"] == 1 and report["device"] == "fake:0" and report["is_quick"] and report["bundle"] is None
    for result in report["steps"]:
        assert set(result) == {"name", "title", "verdict", "said", "figures", "seconds"}
        assert result["said"], result["name"]
    # Without diffusers, which knows nothing of the pretend device, there is nothing to count operations of.
    expected_skips = NEED_A_GPU | {"bench/flops"}
    assert {name for name, verdict in verdicts(report).items() if verdict == "skipped"} == expected_skips
    figures = {result["name"]: result["figures"] for result in report["steps"]}
    for test in ("parity/models", "parity/gradient", "parity/rewards", "parity/scorers"):
        assert all(0 <= entry["error"] < entry["bound"] for entry in figures[test]["errors"].values()), test
    assert 0 < figures["parity/training"]["error"] < figures["parity/training"]["bound"]
    assert figures["bench/ranks"]["one_s"] > 0 and figures["bench/ranks"]["two_s"] > 0
    for by_batch in figures["bench/scoring"].values():
        assert set(by_batch) == {"1", "8", "32"} and all(rate > 0 for rate in by_batch.values())
    assert {aim["verdict"] for aim in report["aims"]} == {"not judged"}
    for name in verdicts(report):
        assert f"| {name} |" in done.stdout


def test_the_python_side_is_measured_on_the_cpu(tmp_path):
    done, report = run(tmp_path, "--device", "cpu", "--only", "bench/sampling-2")
    assert done.returncode == 0, done.stderr
    assert set(verdicts(report)) == {"bench/weights", "bench/flops", "bench/peak", "bench/sampling-2"}
    figures = report["steps"][-1]["figures"]
    assert figures["ratio"] == pytest.approx(figures["diffusers"]["median_s"] / figures["service"]["median_s"])
    assert 0 < figures["service"]["share_of_peak"] < 1.5


def test_a_failed_step_is_named_and_stops_no_other(tmp_path):
    build = tmp_path / "build"
    for program in BUILD.joinpath("bin").iterdir():
        build.joinpath("bin").mkdir(parents=True, exist_ok=True)
        build.joinpath("bin", program.name).symlink_to(program)
    tests = build / "tests"
    tests.mkdir()
    for folder in ("learner", "reward_server", "testing"):
        tests.joinpath(folder).symlink_to(BUILD / "tests" / folder)
    broken = tests / "common/sd3/device_test"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\necho it is broken; exit 3\n")
    broken.chmod(0o755)
    done, report = run(tmp_path, "--device", "cpu", "--build", build, "--only", "parity/models", "parity/rewards")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "gpu-check: failed: parity/models"
    assert verdicts(report) == {"parity/models": "failed", "parity/rewards": "passed"}
    assert "it is broken" in report["steps"][0]["said"]


def test_a_bundle_runs_from_where_it_was_unpacked(tmp_path):
    version = ".".join(map(str, sys.version_info[:2]))
    folder = tmp_path / "gpu-check"
    packed = gpu_check("pack", folder, "--build", BUILD, "--python", version, "--no-packages")
    assert packed.returncode == 0, packed.stderr
    done, report = run(tmp_path, "--device", "cpu", "--only", "facts", "--build", folder / "build/release", root=folder)
    assert done.returncode == 0, done.stderr
    assert report["bundle"]["torch"] == report["torch"].split("+")[0]
    wanted = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**wanted, "torch": "2.0.0"}))
    done, _ = run(tmp_path, "--device", "cpu", "--build", folder / "build/release", root=folder)
    assert done.returncode == 78 and "was made for torch 2.0.0" in done.stderr


def test_what_is_not_built_is_named(tmp_path):
    done = gpu_check("pack", tmp_path / "bundle", "--build", tmp_path)
    assert done.returncode == 66 and "bin/flowawr-learner" in done.stderr and "gpu_check" in done.stderr


# The machinery, with steps of the test's own.

def sleeps(shell):
    shell.call(["sleep", "60"])


def says(shell):
    return "compared", {}


def test_a_step_that_takes_too_long_is_ended_and_the_next_one_runs(tmp_path):
    started = time.monotonic()
    done = step.run([step.Step("a/b", "", 0.2, sleeps), step.Step("c", "", 60, says)], tmp_path, budget_s=60)
    assert [result["verdict"] for result in done] == ["failed", "passed"]
    assert done[0]["said"].startswith("sleep 60: not done") and time.monotonic() - started < 30


def test_nothing_is_begun_when_the_whole_time_is_over(tmp_path):
    (done,) = step.run([step.Step("a", "", 60, says)], tmp_path, budget_s=1)
    assert done["verdict"] == "skipped" and "no time is left" in done["said"]


def test_a_step_that_cannot_read_its_results_has_failed(tmp_path):
    (done,) = step.run([step.Step("a", "", 60, lambda shell: {}["absent"])], tmp_path, budget_s=60)
    assert done["verdict"] == "failed" and "absent" in done["said"]


@pytest.fixture
def with_kernels(tmp_path, monkeypatch):
    """A machine with a GPU and CUDA's kernels, as far as these steps look; compute-sanitizer ends with what is set."""
    def program(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    program(tmp_path / kernels.CHECK, "echo 2 kernels, 8 comparisons, worst 3e-07")
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    here = types.SimpleNamespace(has_gpu=True, build=tmp_path, facts={"folder": "/nowhere"},
                                 program=lambda path: tmp_path / path, programs_environment=lambda: None)

    def check(sanitizer):
        program(tmp_path / "tools/compute-sanitizer", sanitizer)
        return step.run(kernels.steps(here), tmp_path / "work", budget_s=60)

    return check


def test_kernels_are_checked_alone_and_sanitized(with_kernels):
    done = with_kernels('[ "$1" = --tool ] && shift 4 && "$@" && echo "========= ERROR SUMMARY: 0 errors"')
    assert [result["verdict"] for result in done] == ["passed"] * 4, done
    assert done[0]["said"] == "2 kernels, 8 comparisons, worst 3e-07"
    assert done[1]["said"] == "ERROR SUMMARY: 0 errors"


def test_what_the_sanitizer_finds_fails(with_kernels):
    done = with_kernels('echo "========= ERROR SUMMARY: 2 errors"; exit 86')
    assert [result["verdict"] for result in done] == ["passed", "failed", "failed", "failed"]
    assert "2 errors" in done[1]["said"]


def test_a_sanitizer_that_checked_nothing_is_no_pass(with_kernels):
    assert [result["verdict"] for result in with_kernels("exit 0")][1:] == ["failed"] * 3


def test_aims_are_reached_or_not_by_what_was_measured_and_else_not_judged():
    def passed(name, **figures):
        return {"name": name, "verdict": "passed", "figures": figures}

    results = [passed("bench/sampling-24", service={"share_of_peak": 0.7, "rows_per_s": 100.0}, ratio=1.4),
               {"name": "bench/graphs", "verdict": "skipped", "figures": {}},
               passed("bench/training", ratio=1.6, memory_ratio=0.9)]
    judged = {aim["name"]: aim for aim in aims.judge(results, types.SimpleNamespace(is_quick=False))}
    assert judged["sampling at batch 24: share of the bfloat16 peak"]["verdict"] == "reached"
    assert judged["sampling at batch 24: times faster than diffusers"]["verdict"] == "not reached"
    assert judged["training step: memory, of peft's"]["verdict"] == "reached"
    small = judged["an image at batch 1 with graphs: times the seconds of one at batch 24"]
    assert small["verdict"] == "not judged" and small["why"] == "not measured: bench/graphs"
    assert judged["two ranks: times faster than one"]["verdict"] == "not judged"


def test_libtorchs_openmp_runtime_is_found_under_another_name(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    torch = tmp_path / "torch"
    for folder in (torch, tmp_path / "lib"):
        folder.mkdir()
    with pytest.raises(machine.Unfit):
        machine._link_openmp("libgomp-1.so.1", torch)
    (torch / "libgomp-2.so.1").write_text("")
    machine._link_openmp("libgomp-1.so.1", torch)
    assert (tmp_path / "lib/libgomp-1.so.1").resolve() == (torch / "libgomp-2.so.1").resolve()
