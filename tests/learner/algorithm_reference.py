"""FlowAWR's energies and loss written a second time, sample by sample, from the formulas; torch's AdamW; transformers' schedules.

usage: algorithm_reference.py energies|loss|adamw|schedule FILE.safetensors     reads its inputs, writes FILE.safetensors.out
"""

import json
import math
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def mean(values):
    return sum(values) / len(values)


def std(values):
    return math.sqrt(mean([(v - mean(values)) ** 2 for v in values]))


def clip(value, limit):
    return max(-limit, min(limit, value))


def energies(rewards, c):
    """`rewards`: a list a group; NaN where there is none."""
    everything = [r for group in rewards for r in group if not math.isnan(r)]
    result = []
    for group in rewards:
        here = [r for r in group if not math.isnan(r)]
        if not here:
            result.append([0.0] * len(group))
            continue
        scale = (std(here) if c["group_std"] else std(everything)) + 1e-4
        advantages = [clip((r - mean(here)) / scale, c["advantage_clip"]) / c["temperature"] for r in here]
        weights = [math.exp(a) for a in advantages]
        q = [w / sum(weights) - 1 / len(here) for w in weights]
        e = [v / max(std(q) + 1e-4, 1e-2) for v in q] if c["hard"] else [len(here) * v for v in q]
        if len(set(advantages)) == 1:
            e = [0.0] * len(here)
        e = iter([clip(v, c["energy_clip"]) for v in e])
        result.append([0.0 if math.isnan(r) else next(e) for r in group])
    return result


def combined(rewards, weights, c):
    """`rewards`: terms, groups, samples."""
    groups, samples = len(rewards[0]), len(rewards[0][0])
    if not c["decoupled"]:
        def terms_of(g):
            return tuple(t for t in range(len(weights)) if any(not math.isnan(r) for r in rewards[t][g]))

        result = [[0.0] * samples for _ in range(groups)]
        for terms in {terms_of(g) for g in range(groups)} - {()}:
            alike = [g for g in range(groups) if terms_of(g) == terms]
            total = [[sum(weights[t] * rewards[t][g][s] for t in terms) for s in range(samples)] for g in alike]
            for g, row in zip(alike, energies(total, c)):
                result[g] = row
        return result
    by_term = [energies(term, c) for term in rewards]
    result = [[0.0] * samples for _ in range(groups)]
    for g in range(groups):
        for s in range(samples):
            has = [t for t in range(len(weights)) if not math.isnan(rewards[t][g][s])]
            norm = sum(abs(weights[t]) for t in has)
            if norm > 0:
                result[g][s] = sum(weights[t] * by_term[t][g][s] for t in has) / norm
    return result


def loss(x):
    """Row by row; the scale is detached, so autograd gives the gradient that training uses."""
    v_theta = x["v_theta"].clone().requires_grad_()
    rows = []
    for i in range(len(v_theta)):
        t, e = x["sigma"][i], x["energy"][i]
        old = x["x_t"][i] - t * x["v_old"][i]
        target = old + e * (x["x0"][i] - old)
        predicted = x["x_t"][i] - t * v_theta[i]
        scale = (predicted - x["x0"][i]).abs().mean().detach().clamp(min=1e-5)
        kl = (v_theta[i] - x["v_ref"][i]).pow(2).mean()
        rows.append(torch.stack([((predicted - target) ** 2).mean() / scale, kl]))
    rows = torch.stack(rows)
    total = rows[:, 0] + x["kl_beta"] * rows[:, 1]
    total.sum().backward()
    return {"loss": total.detach(), "policy": rows[:, 0].detach().clone(), "kl": rows[:, 1].detach().clone(),
            "gradient": v_theta.grad}


def adamw(x, c):
    parameters = x["parameters"].clone().requires_grad_()
    optimizer = torch.optim.AdamW([parameters], lr=c["lr"], betas=(c["beta1"], c["beta2"]), eps=c["eps"],
                                  weight_decay=c["weight_decay"])
    norms, history = [], []
    for gradient in x["gradients"]:
        parameters.grad = gradient.clone()
        norms.append(torch.nn.utils.clip_grad_norm_([parameters], c["max_norm"]))
        optimizer.step()
        history.append(parameters.detach().clone())
    state = optimizer.state[parameters]
    return {"norms": torch.stack(norms).double(), "history": torch.stack(history),
            "first_moment": state["exp_avg"], "second_moment": state["exp_avg_sq"]}


def schedule(c):
    """The learning rate of every update, by name of the schedule."""
    from transformers import get_scheduler

    result = {}
    for name in ("constant", "linear", "cosine"):
        optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=c["lr"])
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=0, num_training_steps=c["total"])
        rates = []
        for _ in range(c["total"]):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        result[name] = torch.tensor(rates, dtype=torch.float64)
    return result


def main():
    kind, path = sys.argv[1:]
    with safe_open(path, "pt") as file:
        x = {name: file.get_tensor(name) for name in file.keys()}
        config = json.loads(file.metadata().get("config", "{}"))
    if kind == "energies":
        cases = {}
        for name, case in config.items():
            result = combined(x["rewards"].tolist(), x["weights"].tolist(), case)
            cases[name] = torch.tensor(result, dtype=torch.float64)
        result = cases
    elif kind == "schedule":
        result = schedule(config)
    else:
        result = loss(x) if kind == "loss" else adamw(x, config)
    save_file(result, path + ".out")


if __name__ == "__main__":
    main()
