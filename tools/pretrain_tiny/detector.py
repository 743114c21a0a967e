#!/usr/bin/env python3
"""Trains the detector of models/tiny-rewards: a Mask2Former over a Swin, in the layout in which Hugging Face publishes
them.

    python tools/pretrain_tiny/detector.py --work /tmp/pretrain --pipeline models/tiny-shapes \\
        --out models/tiny-rewards/detector

It sees drawn scenes, and scenes that went through the generator's VAE with disturbed latents, all softened at random.
Needs: pip install scipy, for the matching in the class's own loss.
"""

import argparse
import random

import torch
from diffusers import AutoencoderKL
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor, SwinConfig

import degrade
import shapes
import training

SIDE = 2 * shapes.HEIGHT  # pictures are enlarged, so that masks (a quarter of it) have enough points
SETTLED_NO_OBJECT_WEIGHT = 0.5  # in the second stage; the class's own .1 lets two queries share one object
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_detector():
    backbone = SwinConfig(image_size=SIDE, patch_size=4, embed_dim=24, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8],
                          window_size=6, drop_path_rate=0.0, out_features=["stage1", "stage2", "stage3", "stage4"])
    labels = dict(enumerate(shapes.SHAPES))
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(
        backbone_config=backbone, feature_size=64, mask_feature_size=64, hidden_dim=64, encoder_feedforward_dim=128,
        encoder_layers=2, decoder_layers=4, num_attention_heads=4, dropout=0.0, dim_feedforward=128, num_queries=12,
        train_num_points=576, id2label=labels, label2id={name: i for i, name in labels.items()}))


def make_processor():
    return Mask2FormerImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE}, size_divisor=32,
                                     image_mean=MEAN, image_std=STD)


def random_scene(rng):
    if rng.random() < 0.5:
        return shapes.place(shapes.random_wish(rng), rng)
    colours = list(shapes.COLOURS if rng.random() < 0.8 else shapes.GENEVAL_COLOURS)
    colours = [c for c in colours if c != "white"]
    return shapes.scatter([(rng.choice(colours), rng.choice(shapes.SHAPES)) for _ in range(rng.randint(1, 5))], rng)


def normalise(images):
    """[-1, 1] pictures as the processor would give them."""
    images = torch.nn.functional.interpolate(images / 2 + 0.5, size=(SIDE, SIDE), mode="bilinear")
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def make_scenes(count, vae, rng):
    """(pictures [N, 3, H, W], masks and classes of their objects); every second picture went through the VAE."""
    scenes = [random_scene(rng) for _ in range(count)]
    images = torch.stack([torch.from_numpy(shapes.paint(s, rng)) for s in scenes]).permute(0, 3, 1, 2) / 127.5 - 1
    images[::2] = degrade.through_vae(vae, images[::2], 0.6)
    masks = [torch.from_numpy(shapes.masks(s, SIDE // shapes.HEIGHT)) for s in scenes]
    return images, masks, [torch.tensor([shapes.SHAPES.index(o.shape) for o in s]) for s in scenes]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder for intermediate results")
    parser.add_argument("--pipeline", required=True, help="the shapes world's pipeline, for its VAE")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--settle-steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    model = make_detector()
    vae = AutoencoderKL.from_pretrained(args.pipeline, subfolder="vae").eval()
    images, masks, classes = make_scenes(args.scenes, vae, random.Random(args.seed))

    def loss_of(step):
        rows = torch.randint(len(images), (args.batch,))
        batch = degrade.soften(images[rows], torch.rand(args.batch) ** 2 * 0.6)
        result = model(pixel_values=normalise(batch), mask_labels=[masks[i].float() for i in rows],
                       class_labels=[classes[i] for i in rows])
        return result.loss, {}

    training.run("detector", f"{args.work}/detector.pt", model, loss_of, steps=args.steps, lr=args.lr, warmup=100,
                 floor=0.01, average_rate=0.005)
    model.criterion.empty_weight[-1] = SETTLED_NO_OBJECT_WEIGHT
    training.run("settle", f"{args.work}/settle.pt", model, loss_of, steps=args.settle_steps, lr=args.lr * 0.8,
                 warmup=50, floor=0.01, average_rate=0.005)
    model.save_pretrained(args.out)
    make_processor().save_pretrained(args.out)


if __name__ == "__main__":
    main()
