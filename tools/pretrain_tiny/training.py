"""What all trainings here share: the learning rate's curve, a report, and a loop that goes on where it was stopped."""

import math
import os
import time

import torch

CHECKPOINT_EVERY = 100  # steps


def warmup_cosine(step, steps, warmup, floor=0.05):
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def report(stage, step, steps, seconds_a_step, **values):
    figures = " ".join(f"{name} {value:.4f}" for name, value in values.items())
    print(f"[{stage}] {step}/{steps} {figures} | {seconds_a_step * 1000:.0f} ms a step, "
          f"{seconds_a_step * (steps - step):.0f} s left", flush=True)


def run(stage, path, modules, loss_of, *, steps, lr, warmup, floor=0.05, weight_decay=0.01, average_rate=0.0):
    """Trains `modules` until `path` has the result, and loads it; a stopped training goes on from `path`.part.

    loss_of(step) -> (loss, {name: number for the report}). average_rate: of the moving average that is the result,
    0: none.
    A resumed run draws other random numbers than one that was not stopped.
    """
    if os.path.exists(path):
        modules.load_state_dict(torch.load(path))
        return
    parameters = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay)
    average, first = {name: value.detach().clone() for name, value in modules.state_dict().items()}, 0
    if os.path.exists(path + ".part"):
        stored = torch.load(path + ".part")
        modules.load_state_dict(stored["modules"])
        optimizer.load_state_dict(stored["optimizer"])
        average, first = stored["average"], stored["step"]
        torch.manual_seed(first)
    modules.train()
    recent, started = [], time.time()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * warmup_cosine(step, steps, warmup, floor)
        loss, values = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rate = max(average_rate, 1 / (step + 1)) if average_rate else 1.0
        with torch.no_grad():
            for name, value in modules.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, rate)
        recent.append({"loss": loss.item(), **values})
        if (step + 1) % 100 == 0:
            means = {name: sum(r[name] for r in recent) / len(recent) for name in recent[0]}
            report(stage, step + 1, steps, (time.time() - started) / (step + 1 - first), **means)
            recent.clear()
        if (step + 1) % CHECKPOINT_EVERY == 0:
            torch.save({"modules": modules.state_dict(), "optimizer": optimizer.state_dict(), "average": average,
                        "step": step + 1}, path + ".part")
    torch.save(average, path)
    if os.path.exists(path + ".part"):
        os.remove(path + ".part")
    modules.load_state_dict(average)
