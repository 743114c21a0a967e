"""Runs diffusers' flow schedulers for the solver and sigma tests. usage: CASES_FILE OUT_FILE

CASES_FILE holds, for each case NAME, NAME.noise [1, ...], NAME.velocities [steps, ...] and NAME.schedule (steps, shift,
num_train_timesteps); OUT_FILE gets NAME.sigmas and the latents after each step, NAME.euler and NAME.dpm."""
import sys

import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file


def trajectory(scheduler, noise, velocities):
    latents, states = noise, []
    scheduler.set_begin_index(0)
    for timestep, velocity in zip(scheduler.timesteps, velocities):
        latents = scheduler.step(velocity[None], timestep, latents, return_dict=False)[0]
        states.append(latents)
    return torch.cat(states)


cases, results = load_file(sys.argv[1]), {}
for name in sorted({key.split(".")[0] for key in cases}):
    noise, velocities = cases[f"{name}.noise"], cases[f"{name}.velocities"]
    steps, shift, train_steps = cases[f"{name}.schedule"].tolist()
    euler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=int(train_steps), shift=shift)
    euler.set_timesteps(int(steps))
    results[f"{name}.sigmas"] = euler.sigmas.float()
    results[f"{name}.euler"] = trajectory(euler, noise, velocities)
    # Its own flow sigmas are spaced otherwise than the pipeline's: it runs on those of the Euler scheduler.
    dpm = DPMSolverMultistepScheduler(num_train_timesteps=int(train_steps), prediction_type="flow_prediction",
                                      use_flow_sigmas=True, flow_shift=shift, algorithm_type="dpmsolver++",
                                      solver_order=2, solver_type="midpoint", final_sigmas_type="zero")
    dpm.set_timesteps(int(steps))
    dpm.sigmas = euler.sigmas.float()
    results[f"{name}.dpm"] = trajectory(dpm, noise, velocities)
save_file({key: value.contiguous() for key, value in results.items()}, sys.argv[2])
