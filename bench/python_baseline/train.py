#!/usr/bin/env python3
"""FlowAWR on the tiny pipeline as a straightforward Python loop: diffusers, peft, one process.

The other side of bench/training.py. Writes JSON lines: one an update, one an evaluation.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from peft import LoraConfig

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
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True, help="JSON lines")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--timesteps", type=int, default=3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=float, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--kl-beta", type=float, default=1e-4)
    parser.add_argument("--evaluate-every", type=int, default=5)
    parser.add_argument("--evaluation-prompts", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    policy, reader = Policy(args.model, args.rank, args.alpha, 12), ocr.Reader(args.threads)
    transformer = policy.transformer
    train, heldout = (Path(args.model, "prompts", f"{n}.txt").read_text().splitlines() for n in ("train", "heldout"))
    heldout = heldout[: args.evaluation_prompts]
    channels, height, width = transformer.config.in_channels, 8, 16
    parameters = [p for p in transformer.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=1e-4)
    sigmas = sigmas_of(policy.pipeline.scheduler, args.steps)
    trainable = torch.tensor(sigmas[: int(args.steps * 0.99)])
    evaluation_noise = torch.randn(len(heldout), channels, height, width)
    seconds = dict.fromkeys(("sample", "score", "train", "evaluate"), 0.0)
    log, clock = open(args.out, "w", buffering=1), time.perf_counter()

    def lap(stage):
        nonlocal clock
        now = time.perf_counter()
        seconds[stage] += now - clock
        clock = now

    def evaluate(update):
        rewards = []
        for start in range(0, len(heldout), 64):
            prompts = heldout[start : start + 64]
            x0 = policy.sample(evaluation_noise[start : start + 64], *policy.encode(prompts), sigmas, "dpm")
            rewards += reader.score(policy.decode(x0), prompts)
        lap("evaluate")
        trained = sum(v for k, v in seconds.items() if k != "evaluate")
        line = {"kind": "evaluation", "update": update, "reward_mean": float(np.mean(rewards)),
                "exact_share": float(np.mean([r == 1 for r in rewards])), "seconds": dict(seconds), "elapsed_s": trained}
        print(json.dumps(line), file=log)
        print(f"update {update} held-out {line['reward_mean']:.3f} exact {line['exact_share']:.3f} {trained:.0f} s",
              flush=True)

    evaluate(0)
    for update in range(1, args.updates + 1):
        prompts = [train[i] for i in torch.randperm(len(train))[: args.groups]]
        embeds, pooled = policy.encode(prompts)
        embeds, pooled = (t.repeat_interleave(args.samples, 0) for t in (embeds, pooled))
        noise = torch.randn(args.groups * args.samples, channels, height, width)
        x0 = policy.sample(noise, embeds, pooled, sigmas, "dpm")
        images = policy.decode(x0)
        lap("sample")
        rewards = reader.score(images, [p for p in prompts for _ in range(args.samples)])
        rewards = torch.tensor(rewards).view(args.groups, args.samples)
        lap("score")

        energy = energies(rewards).view(-1, 1, 1, 1)
        draws = torch.stack([torch.randperm(len(trainable))[: args.timesteps] for _ in range(len(x0))])
        total = 0.0
        if rewards.std(1).max() > 0:
            optimizer.zero_grad()
            for j in range(args.timesteps):
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
                loss = (loss + args.kl_beta * (v - v_ref).square().mean()) / args.timesteps
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        lap("train")
        line = {"kind": "update", "update": update, "reward_mean": rewards.mean().item(), "loss": total,
                "seconds": dict(seconds)}
        print(json.dumps(line), file=log)
        if update % args.evaluate_every == 0:
            evaluate(update)


if __name__ == "__main__":
    main()
