"""Stochastic steps of Flow-GRPO and of coefficients-preserving sampling, from their formulas, in double precision.
usage: CASES_FILE OUT_FILE

CASES_FILE holds, for each case NAME, NAME.x, NAME.v, NAME.eps [B, ...], NAME.sigmas [B, 2] (from, to) and NAME.kind
(0: FLOW_SDE, 1: CPS; the noise level). OUT_FILE gets NAME.mean, NAME.next, NAME.std, NAME.rate, NAME.log_prob and
NAME.gradient: that of the sum of the log-probabilities by v, x' held fixed."""
import math
import sys

import torch
from safetensors.torch import load_file, save_file


def flow_sde(x, v, sigma, following, level):
    dt = following - sigma
    rate = level * torch.sqrt(sigma / (1 - torch.where(sigma == 1, following, sigma)))
    # mu = x + dt [v + s^2 / (2 sigma) (x + (1 - sigma) v)]
    mean = x + dt * (v + rate**2 / (2 * sigma) * (x + (1 - sigma) * v))
    return mean, rate * torch.sqrt(-dt), rate


def cps(x, v, sigma, following, level):
    picture, noise = x - sigma * v, x + (1 - sigma) * v
    std = following * math.sin(level * math.pi / 2)
    return (1 - following) * picture + torch.sqrt((following**2 - std**2).clamp(min=0)) * noise, std, std


def log_prob(kind, following, mean, std):
    dims = tuple(range(1, mean.dim()))
    if kind == 1:
        return -((following - mean) ** 2).mean(dims)
    return torch.distributions.Normal(mean, std.expand_as(mean)).log_prob(following).mean(dims)


cases, results = load_file(sys.argv[1]), {}
for name in sorted({key.split(".")[0] for key in cases}):
    x, v, eps, sigmas = (cases[f"{name}.{part}"].double() for part in ("x", "v", "eps", "sigmas"))
    kind, level = cases[f"{name}.kind"].tolist()
    v.requires_grad_(True)
    shape = (-1,) + (1,) * (x.dim() - 1)
    sigma, following = (sigmas[:, i].reshape(shape) for i in (0, 1))
    mean, std, rate = (cps if kind == 1 else flow_sde)(x, v, sigma, following, level)
    end = (mean + std * eps).detach()
    probable = log_prob(kind, end, mean, std)
    (gradient,) = torch.autograd.grad(probable.sum(), v)
    for part, value in {"mean": mean, "next": end, "std": std.flatten(), "rate": rate.flatten(), "log_prob": probable,
                        "gradient": gradient}.items():
        results[f"{name}.{part}"] = value.detach().contiguous().clone()
save_file(results, sys.argv[2])
