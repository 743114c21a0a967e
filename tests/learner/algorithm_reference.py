"""The learner's arithmetic written a second time, sample by sample and in float64, from the formulas of
docs/algorithms.md and the papers; torch's AdamW; transformers' schedules.

usage: algorithm_reference.py signals|losses|lora|adamw|schedule FILE.safetensors
reads its inputs, writes FILE.safetensors.out

Methods come as the JSON of AlgorithmConfig, by name of the case in the file's metadata "config".
"""

import json
import math
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

METHODS = ("flow_awr", "diffusion_nft", "flow_grpo", "awm", "rwr")


def method_of(c):
    (name,) = [m for m in METHODS if m in c]
    return name, c[name]


def mean(values):
    return sum(values) / len(values)


def std(values):
    return math.sqrt(mean([(v - mean(values)) ** 2 for v in values]))


def clip(value, limit):
    return max(-limit, min(limit, value))


def softmax(values):
    weights = [math.exp(v - max(values)) for v in values]
    return [w / sum(weights) for w in weights]


def signals_of(advantages, c):
    """Of one group, from its clipped advantages."""
    name, o = method_of(c)
    k = len(advantages)
    if name == "flow_awr":
        q = [p - 1 / k for p in softmax([a / o["temperature"] for a in advantages])]
        e = [v / max(std(q) + 1e-4, 1e-2) for v in q] if o["energy"] == "HARD" else [k * v for v in q]
        return [clip(v, o["energy_clip"]) for v in e]
    if name == "rwr":
        return [k * p - 1 for p in softmax([a / o["temperature"] for a in advantages])]
    if name == "awm":
        return [a / c["advantage_clip"] * o["advantage_max"] for a in advantages]
    if name == "diffusion_nft":
        r = [max(0.0, min(1.0, a / c["advantage_clip"] / 2 + 0.5)) for a in advantages]
        return [2 * v - 1 for v in r]
    return advantages


def signals(rewards, c):
    """`rewards`: a list a group; NaN where there is none."""
    everything = [r for group in rewards for r in group if not math.isnan(r)]
    result = []
    for group in rewards:
        here = [r for r in group if not math.isnan(r)]
        if not here or len(set(here)) == 1:
            result.append([0.0] * len(group))
            continue
        scale = (std(here) if c["std_scope"] == "GROUP" else std(everything)) + 1e-4
        values = iter(signals_of([clip((r - mean(here)) / scale, c["advantage_clip"]) for r in here], c))
        result.append([0.0 if math.isnan(r) else next(values) for r in group])
    return result


def combined(rewards, weights, c, decoupled):
    """`rewards`: terms, groups, samples."""
    groups, samples = len(rewards[0]), len(rewards[0][0])
    result = [[0.0] * samples for _ in range(groups)]
    if not decoupled:
        def terms_of(g):
            return tuple(t for t in range(len(weights)) if any(not math.isnan(r) for r in rewards[t][g]))

        for terms in {terms_of(g) for g in range(groups)} - {()}:
            alike = [g for g in range(groups) if terms_of(g) == terms]
            total = [[sum(weights[t] * rewards[t][g][s] for t in terms) for s in range(samples)] for g in alike]
            for g, row in zip(alike, signals(total, c)):
                result[g] = row
        return result
    by_term = [signals(term, c) for term in rewards]
    for g in range(groups):
        for s in range(samples):
            has = [t for t in range(len(weights)) if not math.isnan(rewards[t][g][s])]
            norm = sum(abs(weights[t]) for t in has)
            if norm > 0:
                result[g][s] = sum(weights[t] * by_term[t][g][s] for t in has) / norm
    return result


def square(a, b):
    return (a - b).pow(2).mean()


def x0_loss(x, t, v, target, x0):
    predicted = x - t * v
    return square(predicted, target) / (predicted - x0).abs().mean().detach().clamp(min=1e-5)


def flow_awr(r, v, o, c):
    old = r["x"] - r["sigma"] * v["old"]
    policy = x0_loss(r["x"], r["sigma"], v["theta"], old + r["signal"] * (r["x0"] - old), r["x0"])
    return {"policy_loss": policy, "kl": square(v["theta"], v["ref"])}, policy


def diffusion_nft(r, v, o, c):
    b, share = o["beta"], (r["signal"] + 1) / 2
    positive = x0_loss(r["x"], r["sigma"], b * v["theta"] + (1 - b) * v["old"], r["x0"], r["x0"])
    negative = x0_loss(r["x"], r["sigma"], (1 + b) * v["old"] - b * v["theta"], r["x0"], r["x0"])
    policy = c["advantage_clip"] * (share * positive / b + (1 - share) * negative / b)
    return {"policy_loss": policy, "positive_loss": positive, "negative_loss": negative,
            "kl": square(v["theta"], v["ref"])}, policy


def clipped(advantage, ratio, width):
    return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - width, 1 + width))


def awm(r, v, o, c):
    t, p = r["sigma"], o["ghuber_power"]
    w = {"EVEN": lambda d: d, "SIGMA": lambda d: t * d, "SIGMA_SQUARED": lambda d: t * t * d,
         "HUBER": lambda d: t * ((d + 1e-10).sqrt() - 1e-5),
         "GHUBER": lambda d: t / p * ((d + 1e-10) ** p - 1e-10 ** p)}[o["weighting"]]
    u = r["noise"] - r["x0"]
    ratio = torch.exp(w(square(v["old"], u)) - w(square(v["theta"], u)))
    policy = clipped(r["signal"], ratio, o["clip_range"])
    old = square(v["theta"], v["old"])
    return {"policy_loss": policy, "ratio": ratio, "old_distance": old, "kl": square(v["theta"], v["ref"])}, \
        policy + o["old_beta"] * old


def rwr(r, v, o, c):
    matching = square(v["theta"], r["noise"] - r["x0"])
    policy = (1 + r["signal"]) * matching
    return {"policy_loss": policy, "matching_loss": matching, "kl": square(v["theta"], v["ref"])}, policy


def step_of(r, v, o):
    """Mean, deviation and noise rate of a sampler's step."""
    s, t, x = r["sigma"], r["sigma_next"], r["x"]
    if o["sde"] == "CPS":
        rate = t * math.sin(o["noise_level"] * math.pi / 2)
        x0, noise = x - s * v, x + (1 - s) * v
        return (1 - t) * x0 + (t * t - rate * rate).sqrt() * noise, rate, rate
    dt = t - s
    rate = o["noise_level"] * (s / (1 - (t if s == 1 else s))).sqrt()
    return x * (1 + rate**2 * dt / (2 * s)) + v * (1 + rate**2 * (1 - s) / (2 * s)) * dt, rate * (-dt).sqrt(), rate


def log_prob(r, v, o):
    mu, deviation, _ = step_of(r, v, o)
    if o["sde"] == "CPS":
        return -square(r["next"], mu)
    return torch.distributions.Normal(mu, deviation).log_prob(r["next"]).mean()


def flow_grpo(r, v, o, c):
    ratio = torch.exp(log_prob(r, v["theta"], o) - r["log_prob"])
    policy = clipped(r["signal"], ratio, o["clip_range"])
    mu, _, rate = step_of(r, v["theta"], o)
    kl = square(mu, step_of(r, v["ref"], o)[0]) / (2 * rate**2)
    return {"policy_loss": policy, "ratio": ratio, "kl": kl}, policy


def row_loss(r, v, c):
    """The loss of one row and the figures on its way."""
    name, o = method_of(c)
    figures, loss = globals()[name](r, v, o, c)
    return loss + o["kl_beta"] * figures["kl"], figures


ROW = ("x", "sigma", "signal", "x0", "noise", "next", "sigma_next", "log_prob")


def losses(x, cases):
    """`log_prob_gap`, how far log_prob is from the one by v_theta, stands for log_prob itself."""
    result = {}
    for name, c in cases.items():
        method, o = method_of(c)
        v_theta = x["v_theta"].double().requires_grad_()
        rows, figures = [], {}
        for i in range(len(v_theta)):
            r = {key: x[key][i].double() for key in ROW if key in x}
            v = {"theta": v_theta[i], "old": x["v_old"][i].double(), "ref": x["v_ref"][i].double()}
            if method == "flow_grpo":
                # As the learner is given it: in float32.
                r["log_prob"] = (log_prob(r, v["theta"].detach(), o) + x["log_prob_gap"][i].double()).float().double()
                result.setdefault(f"{name}.log_prob", []).append(r["log_prob"])
            loss, of_row = row_loss(r, v, c)
            rows.append(loss)
            for key, value in of_row.items():
                figures.setdefault(key, []).append(value.detach())
        torch.stack(rows).sum().backward()
        result[f"{name}.loss"] = [row.detach() for row in rows]
        result[f"{name}.gradient"] = v_theta.grad
        result |= {f"{name}.{key}": values for key, values in figures.items()}
    return {key: torch.stack(value) if isinstance(value, list) else value for key, value in result.items()}


def lora(x, cases, metadata):
    """The gradient of the mean loss with respect to a LoRA adapter of diffusers' own transformer."""
    import peft
    from diffusers import SD3Transformer2DModel

    model = SD3Transformer2DModel.from_pretrained(metadata["model"])
    model.requires_grad_(False)
    targets = metadata["targets"].split()
    model.add_adapter(peft.LoraConfig(r=int(metadata["rank"]), lora_alpha=float(metadata["alpha"]),
                                      target_modules=targets))
    parameters = {key.replace(".default.", "."): p for key, p in model.named_parameters() if "lora_" in key}

    def adopt(policy):
        for key, p in parameters.items():
            p.data = x[f"{policy}.{key}"].clone()

    rows = len(x["x"])

    def velocity(prompt):
        return model(hidden_states=x["x"], timestep=1000 * x["sigma"], return_dict=False,
                     encoder_hidden_states=x[f"{prompt}prompt_embeds"].expand(rows, -1, -1),
                     pooled_projections=x[f"{prompt}pooled_prompt_embeds"].expand(rows, -1))[0]

    def guided(scale):
        if scale == 1:
            return velocity("")
        negative = velocity("negative_")
        return negative + scale * (velocity("") - negative)

    result = {}
    for name, c in cases.items():
        scale = c.pop("guidance")
        with torch.no_grad():
            adopt("old")
            old = guided(scale)
            model.disable_adapters()
            ref = guided(scale)
            model.enable_adapters()
        adopt("current")
        model.zero_grad()
        theta = guided(scale)
        rows_of = [{key: x[f"{name}.{key}" if f"{name}.{key}" in x else key][i] for key in ROW
                    if key in x or f"{name}.{key}" in x} for i in range(rows)]
        total = [row_loss(r, {"theta": theta[i], "old": old[i], "ref": ref[i]}, c)[0] for i, r in enumerate(rows_of)]
        torch.stack(total).mean().backward()
        result[f"{name}.loss"] = torch.stack(total).mean().detach()
        result |= {f"{name}.{key}": torch.zeros_like(p) if p.grad is None else p.grad.clone()
                   for key, p in parameters.items()}
    return result


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
        metadata = file.metadata()
        config = json.loads(metadata.get("config", "{}"))
    if kind == "signals":
        rewards, weights = x["rewards"].tolist(), x["weights"].tolist()
        result = {name + suffix: torch.tensor(combined(rewards, weights, c, decoupled), dtype=torch.float64)
                  for name, c in config.items() for suffix, decoupled in (("", False), (".decoupled", True))}
    elif kind == "losses":
        result = losses(x, config)
    elif kind == "lora":
        result = lora(x, config, metadata)
    elif kind == "schedule":
        result = schedule(config)
    else:
        result = adamw(x, config)
    save_file(result, path + ".out")


if __name__ == "__main__":
    main()
