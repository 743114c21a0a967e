#!/usr/bin/env python3
"""Figures of a tiny pipeline: OCR reward and exact share on its held-out prompts.

    python tools/pretrain_tiny/evaluate.py models/tiny-sd3 [--picture base.png] \\
        [--adapter runs/demo/export/pytorch_lora_weights.safetensors]

Needs: pip install tesserocr, and Debian's tesseract-ocr-eng.
"""

import argparse
import math

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from PIL import Image

import ocr
import world


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--adapter", help="LoRA file or folder that diffusers loads")
    parser.add_argument("--prompts", help="default: MODEL/prompts/heldout.txt")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", help="write a grid of the first 32 images here")
    args = parser.parse_args()

    torch.set_num_threads(2)
    pipeline = StableDiffusion3Pipeline.from_pretrained(args.model)
    pipeline.set_progress_bar_config(disable=True)
    if args.adapter:
        pipeline.load_lora_weights(args.adapter)
    with open(args.prompts or f"{args.model}/prompts/heldout.txt") as file:
        prompts = file.read().splitlines()[: args.count]
    images, generator = [], torch.Generator().manual_seed(args.seed)
    for start in range(0, len(prompts), 100):
        images.append(pipeline(prompts[start : start + 100], height=world.HEIGHT, width=world.WIDTH, guidance_scale=1.0,
                               num_inference_steps=args.steps, max_sequence_length=12, generator=generator,
                               output_type="np").images)
    images = (np.concatenate(images) * 255).round().astype(np.uint8)
    rewards = ocr.Reader().score(images, prompts)
    exact = sum(r == 1 for r in rewards) / len(rewards)
    error = np.std(rewards) / math.sqrt(len(rewards))
    print(f"images {len(rewards)}  reward {np.mean(rewards):.3f} +- {error:.3f}  exact {exact:.3f}")
    if args.picture:
        rows = [np.concatenate(images[i : i + 8], axis=1) for i in range(0, 32, 8)]
        Image.fromarray(np.concatenate(rows)).resize((1024, 256)).save(args.picture)


if __name__ == "__main__":
    main()
