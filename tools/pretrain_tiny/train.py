#!/usr/bin/env python3
"""Pretrains models/tiny-sd3 or models/tiny-shapes stage by stage; each stage skips itself when its result is in the
work folder, and one that was stopped goes on.

    python tools/pretrain_tiny/train.py --world words --work /tmp/pretrain/words --out models/tiny-sd3
    python tools/pretrain_tiny/train.py --world shapes --work /tmp/pretrain/shapes --out models/tiny-shapes

Stages: vae, latents, transformer (with the text encoders). Words then have misspell, a short further training on
captions with more noise, so that the base draws crisp letters but often the wrong ones. Shapes have neat, a longer one
on shapes in the cells of a grid, so that they get crisp too; bind, the same again from the full learning rate; order,
on shapes that are where their prompt puts them; heed, the same with captions that are all true, as captions of which a
share is wrong hardly teach so small a model which of two shapes has which colour; and stray, a short one with wrong
captions again, so that the base knows what was asked for and often draws something else. evaluate.py and geneval.py
give the figures of the results.
"""

import argparse
import json
import os
import random

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline

import components
import shapes
import training
import world as words

WORLDS = {"words": words, "shapes": shapes}


def pictures(draw, subjects, rng):
    images = np.stack([draw(subject, rng) for subject in subjects])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def autocast(args):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16)


def train_vae(args, world, vae):
    rng = random.Random(args.seed)
    vae.to(memory_format=torch.channels_last)
    pool = pictures(world.draw, [world.random_subject(rng) for _ in range(8000)], rng)

    def loss_of(step):
        x = pool[torch.randint(len(pool), (32,))].contiguous(memory_format=torch.channels_last)
        with autocast(args):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        difference = y.float() - x
        mse = difference.square().mean()
        loss = mse + 0.5 * difference.abs().mean() + 1e-3 * posterior.kl().mean() / x[0].numel()
        return loss, {"mse": mse.item()}

    training.run("vae", f"{args.work}/vae.pt", vae, loss_of, steps=args.vae_steps, lr=2e-3, warmup=50, floor=0.01)


@torch.no_grad()
def make_latents(args, world, vae, name, draw, count=None):
    """(posterior means of `count` or else `args.pictures` pictures, not scaled; two noisy captions of each; its true
    one)."""
    path = f"{args.work}/{name}.pt"
    if not os.path.exists(path):
        rng = random.Random(args.seed + 1)
        vae.eval()
        latents, captions, true = [], [], []
        for _ in range(0, count or args.pictures, 500):
            batch = [world.random_subject(rng) for _ in range(500)]
            latents.append(vae.encode(pictures(draw, batch, rng)).latent_dist.mean)
            captions += [[world.noisy_caption(subject, rng) for _ in range(2)] for subject in batch]
            true += [world.caption(subject) for subject in batch]
        torch.save({"latents": torch.cat(latents), "captions": captions, "true": true}, path)
    stored = torch.load(path)
    return stored["latents"], stored["captions"], stored["true"]


def train_transformer(args, pipeline, latents, captions, stage, steps, lr, batch=None, **curve):
    batch = batch or args.batch
    modules = torch.nn.ModuleDict({name: getattr(pipeline, name) for name in
                                   ("transformer", "text_encoder", "text_encoder_2", "text_encoder_3")})
    torch.manual_seed(args.seed + 2)
    ids = [torch.stack(side) for side in zip(*(components.tokenize(pipeline, side) for side in zip(*captions)))]

    def loss_of(step):
        rows = torch.randint(len(latents), (batch,))
        side = torch.randint(2, (1,)).item()
        x0, noise = latents[rows], torch.randn(batch, *latents.shape[1:])
        sigma = torch.sigmoid(torch.randn(batch))
        sigma = 3 * sigma / (1 + 2 * sigma)
        t = sigma[:, None, None, None]
        with autocast(args):
            embeds, pooled = components.encode(pipeline, [one[side][rows] for one in ids])
            velocity = pipeline.transformer(hidden_states=(1 - t) * x0 + t * noise, timestep=sigma * 1000,
                                            encoder_hidden_states=embeds, pooled_projections=pooled,
                                            return_dict=False)[0]
        return (velocity.float() - (noise - x0)).square().mean(), {}

    training.run(stage, f"{args.work}/{stage}.pt", modules, loss_of, steps=steps, lr=lr,
                 **{"warmup": 200, "average_rate": 0.002, **curve})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=WORLDS, default="words")
    parser.add_argument("--work", required=True, help="folder for intermediate results")
    parser.add_argument("--out", required=True, help="where the pipeline goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vae-steps", type=int, default=1400)
    parser.add_argument("--pictures", type=int, default=30000)
    parser.add_argument("--steps", type=int, default=3400)
    parser.add_argument("--misspell-steps", type=int, default=400, help="words only")
    parser.add_argument("--neat-steps", type=int, default=1600, help="shapes only")
    parser.add_argument("--bind-steps", type=int, default=4000, help="shapes only")
    parser.add_argument("--order-steps", type=int, default=1000, help="shapes only")
    parser.add_argument("--heed-steps", type=int, default=1500, help="shapes only")
    parser.add_argument("--stray-steps", type=int, default=300, help="shapes only")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=False, help="autocast")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    os.makedirs(args.work, exist_ok=True)
    world = WORLDS[args.world]
    pipeline = components.make_pipeline(args.out, world)
    train_vae(args, world, pipeline.vae)
    latents, captions, _ = make_latents(args, world, pipeline.vae, "latents", world.draw)
    shift, scale = latents.mean().item(), 1 / latents.std().item()
    pipeline.vae.register_to_config(scaling_factor=scale, shift_factor=shift)
    latents = (latents - shift) * scale
    train_transformer(args, pipeline, latents, captions, "transformer", args.steps, args.lr)
    if world is words:
        rng = random.Random(args.seed + 3)
        misspelt = [[words.misspell(caption, words.FURTHER_NOISE, rng) for caption in pair] for pair in captions]
        train_transformer(args, pipeline, latents, misspelt, "misspell", args.misspell_steps, args.lr / 4)
    else:
        latents, captions, _ = make_latents(args, world, pipeline.vae, "neat_latents", world.draw_neat)
        latents = (latents - shift) * scale
        train_transformer(args, pipeline, latents, captions, "neat", args.neat_steps, args.lr)
        train_transformer(args, pipeline, latents, captions, "bind", args.bind_steps, args.lr)
        latents, captions, true = make_latents(args, world, pipeline.vae, "orderly_latents", world.draw_orderly, 8000)
        latents = (latents - shift) * scale
        curve = {"batch": 16, "warmup": 50, "floor": 0.03, "average_rate": 0.004}
        train_transformer(args, pipeline, latents, captions, "order", args.order_steps, 0.7 * args.lr, **curve)
        train_transformer(args, pipeline, latents, [[caption] * 2 for caption in true], "heed", args.heed_steps,
                          0.6 * args.lr, **curve)
        rng = random.Random(args.seed + 3)
        strayed = [[shapes.misread(caption, shapes.FURTHER_NOISE, rng) for _ in range(2)] for caption in true]
        train_transformer(args, pipeline, latents, strayed, "stray", args.stray_steps, 0.25 * args.lr, **curve)
    pipeline.save_pretrained(args.out)
    with open(f"{args.out}/flowawr.json", "w") as file:  # sample_size can say squares only; diffusers passes over it
        json.dump({"height": world.HEIGHT, "width": world.WIDTH, "max_sequence_length": world.TEXT_LENGTH}, file,
                  indent=2)
    StableDiffusion3Pipeline.from_pretrained(args.out)
    os.makedirs(f"{args.out}/prompts", exist_ok=True)
    world.write_prompts(f"{args.out}/prompts")


if __name__ == "__main__":
    main()
