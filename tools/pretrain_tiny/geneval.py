#!/usr/bin/env python3
"""GenEval in plain Python with the twins of models/tiny-rewards: the strict reward of a pipeline, tag by tag.

    python tools/pretrain_tiny/geneval.py models/tiny-shapes --rewards models/tiny-rewards [--picture base.png]
        [--adapter runs/tiny-geneval/export/pytorch_lora_weights.safetensors] [--drawn]

--drawn scores pictures as they should be instead of generated ones: what a perfect generator would get. Beside the
reward stands what a rule reads in the same pictures (reader.py), and how often both say the same.
"""

import argparse
import json
import math
import random

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from PIL import Image
from transformers import AutoTokenizer, CLIPModel, Mask2FormerForUniversalSegmentation

import clip
import detector
import reader
import shapes

THRESHOLD, COUNTING_THRESHOLD = 0.6, 0.6  # GenEval has .3 and .9, for another detector
MOST_OF_A_CLASS = 16


class Judge:
    def __init__(self, folder):
        self.detector = Mask2FormerForUniversalSegmentation.from_pretrained(f"{folder}/detector").eval()
        self.clip = CLIPModel.from_pretrained(f"{folder}/clip").eval()
        tokenizer = AutoTokenizer.from_pretrained(f"{folder}/clip")
        self.colours = {}
        with torch.no_grad():
            for shape in shapes.SHAPES:
                prompts = [t.format(c=c, s=shape) for c in shapes.GENEVAL_COLOURS for t in clip.COLOUR_PROMPTS]
                ids = tokenizer(prompts, padding="max_length", max_length=clip.TEXT_LENGTH,
                                return_tensors="pt").input_ids
                texts = self.clip.text_projection(self.clip.text_model(ids).pooler_output)
                texts = torch.nn.functional.normalize(texts, dim=-1).unflatten(0, (-1, len(clip.COLOUR_PROMPTS)))
                self.colours[shape] = torch.nn.functional.normalize(texts.mean(1), dim=-1)

    @torch.no_grad()
    def detect(self, images):
        """images [B, 3, H, W] in -1..1 -> a list of (class, score, mask, box) for each, best first."""
        output = self.detector(pixel_values=detector.normalise(images))
        masks = torch.nn.functional.interpolate(output.masks_queries_logits, size=images.shape[-2:], mode="bilinear")
        classes = output.class_queries_logits.softmax(-1)[..., :-1]
        result = []
        for logits, mask in zip(classes, masks):
            found = []
            for query, index in (logits > 0.05).nonzero().tolist():
                inside = mask[query] > 0
                if inside.any():
                    score = (logits[query, index] * mask[query].sigmoid()[inside].mean()).item()
                    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
                    box = [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]
                    found.append((shapes.SHAPES[index], score, inside, box))
            result.append(sorted(found, key=lambda one: -one[1]))
        return result

    @torch.no_grad()
    def colour_of(self, image, one):
        shape, _, mask, (left, top, right, bottom) = one
        grey = torch.tensor(clip.GREY)[:, None, None] / 127.5 - 1
        cut = torch.where(mask, image, grey)[None, :, top:bottom, left:right]
        seen = self.clip.vision_model(clip.normalise(clip.crop_square(cut)))
        features = self.clip.visual_projection(seen.pooler_output)
        return list(shapes.GENEVAL_COLOURS)[(features @ self.colours[shape].T).argmax().item()]

    def objects(self, image, detections, metadata):
        """(class, colour, box) of the detections that count; colours of those classes alone that are asked for."""
        threshold = COUNTING_THRESHOLD if metadata["tag"] == "counting" else THRESHOLD
        asked = [clause["class"] for clause in metadata["include"]]
        return [(one[0], self.colour_of(image, one), one[3])
                for one in detections if one[0] in asked and one[1] > threshold]


def strict(objects, metadata):
    """(1 or 0, the first thing that is wrong)."""
    matched = []
    for clause in metadata["include"]:
        found = [one for one in objects if one[0] == clause["class"]][:MOST_OF_A_CLASS]
        if len(found) != clause["count"]:
            return 0, "count"
        if any(one[1] != clause["color"] for one in found):
            return 0, "colour"
        if "position" in clause:
            relation, other = clause["position"]
            if any(relation not in relations(a, b) for a in found for b in matched[other]):
                return 0, "position"
        matched.append(found)
    return 1, ""


def relations(a, b):
    """Of object a to object b: GenEval's rule."""
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]) for box in (a[2], b[2])]
    offset = [centres[0][i] - centres[1][i] for i in (0, 1)]
    reduced = [math.copysign(max(abs(o) - 0.1 * (centres[0][2 + i] + centres[1][2 + i]), 0), o)
               for i, o in enumerate(offset)]
    length = math.hypot(*offset)
    if not any(reduced) or not length:
        return set()
    x, y = (value / length for value in reduced)
    return {name for name, holds in (("left of", x < -0.5), ("right of", x > 0.5), ("above", y < -0.5),
                                     ("below", y > 0.5)) if holds}


def generate(args, prompts):
    pipeline = StableDiffusion3Pipeline.from_pretrained(args.model)
    pipeline.set_progress_bar_config(disable=True)
    if args.adapter:
        pipeline.load_lora_weights(args.adapter)
    images, generator = [], torch.Generator().manual_seed(args.seed)
    for start in range(0, len(prompts), 100):
        images.append(pipeline(prompts[start : start + 100], height=shapes.HEIGHT, width=shapes.WIDTH,
                               guidance_scale=1.0, num_inference_steps=args.steps,
                               max_sequence_length=shapes.TEXT_LENGTH, generator=generator, output_type="np").images)
    return (np.concatenate(images) * 255).round().astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rewards", required=True)
    parser.add_argument("--adapter", help="LoRA file or folder that diffusers loads")
    parser.add_argument("--prompts", help="default: MODEL/prompts/heldout.jsonl")
    parser.add_argument("--drawn", action="store_true")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", help="write a grid of the first 48 images here")
    args = parser.parse_args()

    with open(args.prompts or f"{args.model}/prompts/heldout.jsonl") as file:
        lines = [json.loads(line) for line in file][: args.count]
    if args.drawn:
        wishes, rng = {wish.prompt: wish for wish in shapes.all_wishes()}, random.Random(args.seed)
        images = np.stack([shapes.draw(wishes[line["prompt"]], rng) for line in lines])
    else:
        images = generate(args, [line["prompt"] for line in lines])
    if args.picture:
        rows = [np.concatenate(images[i : i + 12], axis=1) for i in range(0, 48, 12)]
        Image.fromarray(np.concatenate(rows)).resize((1152, 384), Image.NEAREST).save(args.picture)
    judge, pixels = Judge(args.rewards), clip.to_tensor(images)
    results = [strict(judge.objects(image, found, line), line)
               for image, found, line in zip(pixels, judge.detect(pixels), lines)]
    read = [strict(reader.read(image), line)[0] for image, line in zip(images, lines)]
    for tag in [*shapes.TAGS, None]:
        chosen = [i for i, line in enumerate(lines) if tag in (None, line["tag"])]
        if not chosen:
            continue
        wrong = [results[i][1] for i in chosen if not results[i][0]]
        reasons = " ".join(f"{name} {wrong.count(name)}" for name in sorted(set(wrong)))
        reward, by_rule = (np.mean([one[i] for i in chosen]) for one in ([r for r, _ in results], read))
        same = np.mean([results[i][0] == read[i] for i in chosen])
        print(f"{tag or 'all':12} images {len(chosen):4}  strict {reward:.3f}  by rule {by_rule:.3f}  same {same:.3f}  "
              f"wrong: {reasons}")


if __name__ == "__main__":
    main()
