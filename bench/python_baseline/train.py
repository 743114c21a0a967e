#!/usr/bin/env python3
"""FlowAWR on the tiny pipeline as a straightforward Python loop: diffusers, peft, one process.

The other side of bench/training.py. Takes what to do from the service's own configuration (`flowawr config FILE`, which
fills in every default). Writes JSON lines: one an update, one an evaluation. Its clock starts when the model is loaded.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import processor  # noqa: E402

processor.restrict(os.environ.get("FLOWAWR_CPU"))

import numpy as np
import torch
import yaml
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from peft import LoraConfig
from transformers import get_scheduler

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/pretrain_tiny"))
import ocr  # noqa: E402

TARGETS = ["attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj",
           "attn.add_v_proj", "attn.to_add_out"]


def sigmas_of(scheduler, steps):
    FlowMatchEulerDiscreteScheduler.set_timesteps(scheduler, steps)
    return scheduler.sigmas.tolist()


class Policy:
    def __init__(self, model, rank, alpha, length):
        self.pipeline = StableDiffusion3Pipeline.from_pretrained(model)
        self.transformer = self.pipeline.transformer.requires_grad_(False)
        self.transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian",
                                                target_modules=TARGETS))
        self.length = length

    @torch.no_grad()
    def encode(self, prompts):
        embeds, _, pooled, _ = self.pipeline.encode_prompt(prompts, prompts, prompts, do_classifier_free_guidance=False,
                                                           max_sequence_length=self.length)
        return embeds, pooled

    def velocity(self, x, sigma, embeds, pooled):
        return self.transformer(hidden_states=x, timestep=sigma * 1000, encoder_hidden_states=embeds,
                                pooled_projections=pooled, return_dict=False)[0]

    @torch.no_grad()
    def sample(self, x, embeds, pooled, sigmas, solver):
        """DPM-Solver++(2M) (first and last step first order) or Euler."""
        previous = None
        for i, (s, s_next) in enumerate(zip(sigmas, sigmas[1:])):
            v = self.velocity(x, torch.full((len(x),), s), embeds, pooled)
            if solver == "euler":
                x = x + (s_next - s) * v
                continue
            x0 = x - s * v
            if s_next == 0:
                x = x0
                continue
            lam = [np.log((1 - max(q, 0)) / q) if q < 1 else -np.inf for q in (s, s_next)]
            h = lam[1] - lam[0]
            update = (s_next / s) * x - (1 - s_next) * np.expm1(-h) * x0
            if previous is not None and np.isfinite(previous[1]):
                r = (lam[0] - previous[1]) / h
                update = update - 0.5 * (1 - s_next) * np.expm1(-h) * (x0 - previous[0]) / r
            x, previous = update, (x0, lam[0])
        return x

    @torch.no_grad()
    def decode(self, latents):
        vae = self.pipeline.vae
        images = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
        return ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def energies(rewards, temperature=1.0, hard=True):
    """[G, K] rewards -> energies."""
    advantage = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std() + 1e-4)
    q = torch.softmax(advantage.clamp(-5, 5) / temperature, dim=1) - 1 / rewards.shape[1]
    e = q / (q.std(1, keepdim=True) + 1e-4).clamp(min=1e-2) if hard else q * rewards.shape[1]
    return e.clamp(-3, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="complete YAML, as `flowawr config` prints it")
    parser.add_argument("--out", required=True, help="JSON lines")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    config = yaml.safe_load(Path(args.config).read_text())
    model, rollout, algorithm, train = (config[k] for k in ("model", "rollout", "algorithm", "train"))
    optimizer_config, evaluation = config["optimizer"], config["evaluation"]
    groups, samples = rollout["groups_per_batch"], rollout["samples_per_group"]
    steps, timesteps = config["sampler"]["steps"], train["timesteps_per_sample"]

    torch.set_num_threads(args.threads)
    torch.manual_seed(config["seed"])
    policy = Policy(model["path"], config["lora"]["rank"], config["lora"]["alpha"], model["max_sequence_length"])
    reader = ocr.Reader(args.threads)
    transformer = policy.transformer
    train_prompts, heldout = (Path(config["prompts"][n]).read_text().splitlines() for n in ("train", "heldout"))
    heldout = heldout[: evaluation["prompts"] or None]
    scale_factor = policy.pipeline.vae_scale_factor
    shape = (transformer.config.in_channels, model["height"] // scale_factor, model["width"] // scale_factor)
    parameters = [p for p in transformer.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in parameters]  # what is evaluated
    optimizer = torch.optim.AdamW(
        parameters, lr=optimizer_config["learning_rate"], betas=(optimizer_config["beta1"], optimizer_config["beta2"]),
        eps=float(optimizer_config["epsilon"]), weight_decay=optimizer_config["weight_decay"])
    schedule = get_scheduler(optimizer_config["schedule"], optimizer, num_warmup_steps=0,
                             num_training_steps=train["updates"])
    sigmas = sigmas_of(policy.pipeline.scheduler, steps)
    evaluation_sigmas = sigmas_of(policy.pipeline.scheduler, evaluation["steps"])
    trainable = torch.tensor(sigmas[: int(steps * train["timestep_fraction"])])
    evaluation_noise = torch.randn(len(heldout), *shape)
    seconds = dict.fromkeys(("sample", "score", "train", "evaluate"), 0.0)
    log, clock = open(args.out, "w", buffering=1), time.perf_counter()

    def lap(stage):
        nonlocal clock
        now = time.perf_counter()
        seconds[stage] += now - clock
        clock = now

    def swap_average():
        for p, a in zip(parameters, average):
            p.data, a.data = a.data, p.data

    def evaluate(update):
        rewards = []
        swap_average()
        for start in range(0, len(heldout), 64):
            prompts = heldout[start : start + 64]
            x0 = policy.sample(evaluation_noise[start : start + 64], *policy.encode(prompts), evaluation_sigmas,
                               evaluation["solver"])
            rewards += reader.score(policy.decode(x0), prompts)
        swap_average()
        lap("evaluate")
        elapsed = sum(seconds.values())
        line = {"kind": "evaluation", "update": update, "reward_mean": float(np.mean(rewards)),
                "exact_share": float(np.mean([r == 1 for r in rewards])), "seconds": dict(seconds),
                "elapsed_s": elapsed}
        print(json.dumps(line), file=log)
        print(f"update {update} held-out {line['reward_mean']:.3f} exact {line['exact_share']:.3f} {elapsed:.0f} s",
              flush=True)

    averaged = 0
    evaluate(0)
    for update in range(1, train["updates"] + 1):
        prompts = [train_prompts[i] for i in torch.randperm(len(train_prompts))[:groups]]
        embeds, pooled = policy.encode(prompts)
        embeds, pooled = (t.repeat_interleave(samples, 0) for t in (embeds, pooled))
        noise = torch.randn(groups * samples, *shape)
        x0 = policy.sample(noise, embeds, pooled, sigmas, config["sampler"]["solver"])
        images = policy.decode(x0)
        lap("sample")
        rewards = reader.score(images, [p for p in prompts for _ in range(samples)])
        rewards = torch.tensor(rewards).view(groups, samples)
        lap("score")

        energy = energies(rewards, algorithm["temperature"], algorithm["energy"] == "hard").view(-1, 1, 1, 1)
        draws = torch.stack([torch.randperm(len(trainable))[: timesteps] for _ in range(len(x0))])
        total = 0.0
        if rewards.std(1).max() > 0:
            optimizer.zero_grad()
            for j in range(timesteps):
                sigma = trainable[draws[:, j]]
                t = sigma.view(-1, 1, 1, 1)
                x = (1 - t) * x0 + t * torch.randn_like(x0)
                v = policy.velocity(x, sigma, embeds, pooled)
                with torch.no_grad():  # behaviour is current: v_old is v
                    x0_old = x - t * v
                    target = x0_old + energy * (x0 - x0_old)
                    transformer.disable_adapters()
                    v_ref = policy.velocity(x, sigma, embeds, pooled)
                    transformer.enable_adapters()
                x0_theta = x - t * v
                scale = (x0_theta - x0).detach().abs().mean((1, 2, 3)).clamp(min=1e-5)
                loss = ((x0_theta - target).square().mean((1, 2, 3)) / scale).mean()
                loss = (loss + algorithm["kl_beta"] * (v - v_ref).square().mean()) / timesteps
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(parameters, optimizer_config["max_grad_norm"])
            optimizer.step()
            decay = min((1 + averaged) / (10 + averaged), algorithm["average_decay_cap"])
            averaged += 1
            with torch.no_grad():
                for p, a in zip(parameters, average):
                    a.lerp_(p, 1 - decay)
        schedule.step()
        lap("train")
        line = {"kind": "update", "update": update, "reward_mean": rewards.mean().item(), "loss": total,
                "seconds": dict(seconds)}
        print(json.dumps(line), file=log)
        if update % evaluation["every_updates"] == 0:
            evaluate(update)


if __name__ == "__main__":
    main()
