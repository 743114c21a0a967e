"""The device's numbers against the CPU's: by the project's own tests of devices, by pictures, by a whole training."""

import json
import re

import service
import tensors
from step import Failure, Skip, Step

# Of several steps, each of which begins with the error of the one before.
SAMPLING_BOUND = 1e-3
# The reward is a size in whole bytes, and AdamW makes much of little; runs of other seeds are 1.4 apart.
TRAINING_BOUND = 0.3


def device_tests(machine, program, same_bits=None):
    """`same_bits`: what the tests compare on the device alone, bit by bit; else they report errors against the CPU."""
    def work(shell):
        report_file = shell.folder / "report.json"
        environment = machine.programs_environment(FLOWAWR_TEST_DEVICE=machine.device)
        code, output = shell.call([machine.program(program), f"--gtest_output=json:{report_file}", "--gtest_brief=1"],
                                  environment, may_fail=True)
        if not report_file.exists():
            raise Failure(f"{program} ended with {code} before its report was written\n{output[-2000:]}")
        return _judge(json.loads(report_file.read_text()), code, output, same_bits)

    return work


def _judge(report, exit_code, output, same_bits):
    tests = [test for suite in report["testsuites"] for test in suite["testsuite"]]
    failed = [f"{test['classname']}.{test['name']}" for test in tests if test.get("failures")]
    skipped = [test["name"] for test in tests if test["result"] == "SKIPPED"]
    errors = {}
    for test in tests:
        for key, value in test.items():
            if key.startswith("relative_error."):
                what = key.removeprefix("relative_error.")
                errors[f"{test['name']}: {what}"] = {"error": float(value), "bound": float(test[f"bound.{what}"])}
    if failed or exit_code != 0:
        first = next((f["failure"] for test in tests for f in test.get("failures", [])), f"it ended with {exit_code}")
        raise Failure(f"{len(failed)} of {len(tests)} tests failed: {', '.join(failed)}\n{first}")
    if len(skipped) == len(tests):
        raise Skip(re.search(r"Skipped\n(.*)", output)[1])
    if same_bits:
        return f"{len(tests) - len(skipped)} tests: {same_bits}", {"tests": len(tests), "skipped": skipped}
    if not errors:
        raise Failure(f"{len(tests)} tests passed, but none reported what it compared")
    name, worst = max(errors.items(), key=lambda item: item[1]["error"] / item[1]["bound"])
    said = (f"{len(tests) - len(skipped)} tests, {len(errors)} comparisons with the CPU; nearest its bound: {name}, "
            f"relative error {worst['error']:.2g} of {worst['bound']:.2g}")
    return said, {"tests": len(tests), "skipped": skipped, "errors": errors}


def sampling(machine):
    def work(shell):
        if machine.device == "cpu":
            raise Skip("the device is the CPU itself")
        there, here = (tensors.read(service.draw(machine, shell, device, name) / "latents.safetensors")
                       for device, name in ((machine.device, "there"), ("cpu", "here")))
        error = tensors.relative_error(there, here)
        how = f"latents after {service.STEPS_OF_A_PICTURE} steps, f32"
        said = f"{how}: relative error {error:.2g} of {SAMPLING_BOUND:.2g}"
        if error > SAMPLING_BOUND:
            raise Failure(said)
        return said, {"error": error, "bound": SAMPLING_BOUND}

    return work


def _trained(run):
    """The matrices that begin at zero, so that their distance is that of what was trained."""
    return {name: tensor for name, tensor in tensors.read(run.adapter).items() if "lora_B" in name}


def training(machine):
    def work(shell):
        if machine.device == "cpu":
            raise Skip("the device is the CPU itself")
        there, here = (service.train(machine, shell, [device], name)
                       for device, name in ((machine.device, "there"), ("cpu", "here")))
        error = tensors.relative_error(_trained(there), _trained(here))
        said = f"adapters after {len(here.updates)} updates of `flowawr run`: {error:.2g} apart of {TRAINING_BOUND:.2g}"
        if error > TRAINING_BOUND:
            raise Failure(said)
        return said, {"error": error, "bound": TRAINING_BOUND}

    return work


def steps(machine):
    return [
        Step("parity/models", "transformer, autoencoder, text encoders, sampling", 60,
             device_tests(machine, "tests/common/sd3/device_test")),
        Step("parity/gradient", "the gradient engine", 60,
             device_tests(machine, "tests/learner/learner_gradient_on_devices_test")),
        Step("parity/rewards", "CLIP and Mask2Former", 60,
             device_tests(machine, "tests/reward_server/detection/reward_models_on_device_test")),
        Step("parity/scorers", "scorers of one device side by side", 60,
             device_tests(machine, "tests/reward_server/scorers_on_device_test")),
        Step("parity/graphs", "steps that are recorded and replayed", 60,
             device_tests(machine, "tests/common/sd3/step_graphs_test", "the bits of steps that are not recorded")),
        Step("parity/recording", "other threads while one records", 30,
             device_tests(machine, "tests/common/tensor/device_graph_test", "what was recorded beside them is replayed")),
        Step("parity/sampling", "`flowawr sample` there and on the CPU", 60, sampling(machine)),
        Step("parity/training", "`flowawr run` there and on the CPU", 90, training(machine)),
    ]
