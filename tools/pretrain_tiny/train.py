#!/usr/bin/env python3
"""Pretrains models/tiny-sd3 stage by stage; each stage skips itself when its result is in the work folder.

    python tools/pretrain_tiny/train.py --work /tmp/pretrain_tiny --out models/tiny-sd3

Stages: vae, latents, transformer (with the text encoders), misspell (a short further training on captions with more
noise, so that the base draws crisp letters but often the wrong ones). evaluate.py gives the figures of the result.
"""

import argparse
import csv
import json
import math
import os
import random
import time

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline

import components
import world


def report(stage, step, steps, started, **values):
    elapsed = time.time() - started
    left = elapsed / step * (steps - step)
    figures = " ".join(f"{name} {value:.4f}" for name, value in values.items())
    print(f"[{stage}] {step}/{steps} {figures} | {elapsed:.0f} s, {left:.0f} s left", flush=True)


def warmup_cosine(step, steps, warmup, floor=0.05):
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def pictures(words, rng):
    images = np.stack([world.draw(word, rng) for word in words])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def autocast(args):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16)


def train_vae(args, pipeline):
    path = f"{args.work}/vae.pt"
    vae = pipeline.vae
    if os.path.exists(path):
        vae.load_state_dict(torch.load(path))
        return
    rng, words = random.Random(args.seed), world.all_words()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3, betas=(0.9, 0.99))
    vae.to(memory_format=torch.channels_last).train()
    pool = pictures([rng.choice(words) for _ in range(8000)], rng)
    started = time.time()
    for step in range(args.vae_steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * warmup_cosine(step, args.vae_steps, 50, 0.01)
        x = pool[torch.randint(len(pool), (32,))].contiguous(memory_format=torch.channels_last)
        with autocast(args):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        difference = y.float() - x
        mse = difference.square().mean()
        loss = mse + 0.5 * difference.abs().mean() + 1e-3 * posterior.kl().mean() / x[0].numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            report("vae", step + 1, args.vae_steps, started, mse=mse.item())
    torch.save(vae.state_dict(), path)


@torch.no_grad()
def make_latents(args, pipeline):
    """Posterior means of `args.pictures` words and their noisy captions; fixes the VAE's scaling and shift."""
    path = f"{args.work}/latents.pt"
    if not os.path.exists(path):
        rng, words = random.Random(args.seed + 1), world.all_words()
        pipeline.vae.eval()
        latents, captions = [], []
        started = time.time()
        for start in range(0, args.pictures, 500):
            batch = [rng.choice(words) for _ in range(500)]
            latents.append(pipeline.vae.encode(pictures(batch, rng)).latent_dist.mean)
            captions += [[world.noisy_caption(word, rng) for _ in range(2)] for word in batch]
        report("latents", args.pictures, args.pictures, started)
        torch.save({"latents": torch.cat(latents), "captions": captions}, path)
    stored = torch.load(path)
    latents = stored["latents"]
    shift, scale = latents.mean().item(), 1 / latents.std().item()
    pipeline.vae.register_to_config(scaling_factor=scale, shift_factor=shift)
    return (latents - shift) * scale, stored["captions"]


def train_transformer(args, pipeline, latents, captions, stage, steps, lr):
    path = f"{args.work}/{stage}.pt"
    modules = torch.nn.ModuleDict({name: getattr(pipeline, name) for name in
                                   ("transformer", "text_encoder", "text_encoder_2", "text_encoder_3")})
    if os.path.exists(path):
        modules.load_state_dict(torch.load(path)["average"])
        return
    torch.manual_seed(args.seed + 2)
    ids = [torch.stack(side) for side in zip(*(components.tokenize(pipeline, side) for side in zip(*captions)))]
    parameters = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.01)
    average = {name: value.detach().clone() for name, value in modules.state_dict().items()}
    modules.train()
    log = csv.writer(open(f"{args.work}/{stage}_loss.csv", "w"))
    log.writerow(["step", "loss", "seconds"])
    started, recent = time.time(), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * warmup_cosine(step, steps, 200)
        rows = torch.randint(len(latents), (args.batch,))
        side = torch.randint(2, (1,)).item()
        x0, noise = latents[rows], torch.randn(args.batch, *latents.shape[1:])
        sigma = torch.sigmoid(torch.randn(args.batch))
        sigma = 3 * sigma / (1 + 2 * sigma)
        t = sigma[:, None, None, None]
        with autocast(args):
            embeds, pooled = components.encode(pipeline, [one[side][rows] for one in ids])
            velocity = pipeline.transformer(hidden_states=(1 - t) * x0 + t * noise, timestep=sigma * 1000,
                                            encoder_hidden_states=embeds, pooled_projections=pooled, return_dict=False)[0]
        loss = (velocity.float() - (noise - x0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rate = max(0.002, 1 / (step + 1))
        with torch.no_grad():
            for name, value in modules.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, rate)
        recent.append(loss.item())
        if (step + 1) % 20 == 0:
            log.writerow([step + 1, round(sum(recent[-20:]) / 20, 5), round(time.time() - started, 1)])
        if (step + 1) % 100 == 0:
            report(stage, step + 1, steps, started, loss=sum(recent[-100:]) / 100)
    torch.save({"average": average, "step": steps}, path)
    modules.load_state_dict(average)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder for intermediate results")
    parser.add_argument("--out", required=True, help="where the pipeline goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vae-steps", type=int, default=1400)
    parser.add_argument("--pictures", type=int, default=30000)
    parser.add_argument("--steps", type=int, default=3400)
    parser.add_argument("--misspell-steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=False, help="autocast")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    os.makedirs(args.work, exist_ok=True)
    pipeline = components.make_pipeline(args.out)
    train_vae(args, pipeline)
    latents, captions = make_latents(args, pipeline)
    train_transformer(args, pipeline, latents, captions, "transformer", args.steps, args.lr)
    rng = random.Random(args.seed + 3)
    misspelt = [[world.misspell(caption, world.FURTHER_NOISE, rng) for caption in pair] for pair in captions]
    train_transformer(args, pipeline, latents, misspelt, "misspell", args.misspell_steps, args.lr / 4)
    pipeline.save_pretrained(args.out)
    with open(f"{args.out}/flowawr.json", "w") as file:  # sample_size can say squares only; diffusers passes over it
        json.dump({"height": world.HEIGHT, "width": world.WIDTH, "max_sequence_length": 12}, file, indent=2)
    StableDiffusion3Pipeline.from_pretrained(args.out)

    os.makedirs(f"{args.out}/prompts", exist_ok=True)
    for name, words in zip(("train", "heldout"), world.split()):
        with open(f"{args.out}/prompts/{name}.txt", "w") as file:
            file.writelines(world.prompt_of(word) + "\n" for word in words)


if __name__ == "__main__":
    main()
