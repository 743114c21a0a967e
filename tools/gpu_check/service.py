"""What the checks have the service's programs do with the embedded model: draw pictures, and train a little."""

import json
import statistics

from step import Failure

MODEL = "models/tiny-sd3"
STEPS_OF_A_PICTURE = 6
PROMPTS = ['a sign that says "CAT"', 'a sign that says "HOUSE"']


def draw(machine, shell, device, out):
    """The folder of the pictures and their latents, latents.safetensors: two prompts, guidance, f32."""
    folder = shell.folder / out
    command = [machine.program("bin/flowawr"), "sample", "--model", MODEL, "--device", device, "--out", folder,
               "--save-latents", folder / "latents.safetensors", "--count", 2, "--steps", STEPS_OF_A_PICTURE,
               "--guidance", 2, "--solver", "dpm_solver_pp_2m", "--seed", 7, "--height", 32, "--width", 64]
    for prompt in PROMPTS:
        command += ["--prompt", prompt]
    shell.call(command, machine.programs_environment())
    return folder


class Training:
    """One `flowawr run` that has ended well."""

    def __init__(self, run_dir):
        lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        self.updates = [line for line in lines if line["kind"] == "update"]
        self.adapter = run_dir / "export/peft/adapter_model.safetensors"

    def seconds(self, stage):
        """Of an update; the first one pays for what happens once."""
        return statistics.median(update["seconds"][stage] for update in self.updates[1:] or self.updates)


def train(machine, shell, devices, out, *settings, ranks=1):
    """The reward is a picture's size as JPEG: it needs no reading of text, and differs for every picture."""
    run_dir = shell.folder / out
    updates = 2 if machine.is_quick else 4
    names = f"[{', '.join(devices)}]"
    command = [machine.program("bin/flowawr"), "run", "configs/tiny-ocr.yaml", "--run-dir", run_dir]
    for setting in ["rewards.terms.0={scorer: jpeg_compressibility, options: {scale: 1}}", f"train.devices={names}",
                    f"local.actor_devices={names}", "local.reward_device=cpu", "local.actors=1", f"train.ranks={ranks}",
                    f"train.updates={updates}", "rollout.groups_per_batch=4", "rollout.samples_per_group=8",
                    "sampler.steps=4", "prompts.heldout=", "evaluation.every_updates=0", *settings]:
        command += ["--set", setting]
    shell.call(command, machine.programs_environment())
    training = Training(run_dir)
    if len(training.updates) != updates:
        raise Failure(f"{updates} updates were asked for, {len(training.updates)} were made: {run_dir}/metrics.jsonl")
    return training
