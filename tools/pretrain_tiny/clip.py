#!/usr/bin/env python3
"""Trains the CLIP of models/tiny-rewards in two stages: on pairs of pictures and prompts of both worlds, then on
preferences.

    python tools/pretrain_tiny/clip.py --work /tmp/pretrain --words models/tiny-sd3 --shapes models/tiny-shapes \\
        --out models/tiny-rewards/clip

pairs: contrastive, in groups of a prompt and three that differ from it in a part or two, each with a picture; beside
them cut-out shapes on grey against GenEval's colour prompts, as GenEval asks for them.
preferences: PickScore's loss, the cross-entropy of softmax(score of one picture, score of the other). The rule: of two
pictures for a prompt, the one that shows more of the prompt's parts (letters; class, colour, count, relation) is
preferred, and of two that show equally many the sharper and cleaner one, or neither.
"""

import argparse
import random

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

import components
import degrade
import shapes
import training
import world as words

SIDE, PATCH, TEXT_LENGTH = 48, 8, 20
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
VOCABULARY = dict.fromkeys([*shapes.T5_WORDS, *shapes.GENEVAL_COLOURS, "sign", "that", "says", "colored", "object"])
COLOUR_PROMPTS = ("a photo of a {c} {s}", "a photo of a {c}-colored {s}", "a photo of a {c} object")  # GenEval's
KINDS = [(c, s) for c in shapes.GENEVAL_COLOURS for s in shapes.SHAPES]
GREY = (153, 153, 153)  # GenEval's #999 around what it has cut out
GROUP = 4


def make_clip(vocabulary, eos):
    text = CLIPTextConfig(vocab_size=vocabulary, hidden_size=96, intermediate_size=384, num_hidden_layers=3,
                          num_attention_heads=4, max_position_embeddings=TEXT_LENGTH, hidden_act="gelu",
                          projection_dim=64, bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos)
    vision = CLIPVisionConfig(hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
                              image_size=SIDE, patch_size=PATCH, hidden_act="gelu", projection_dim=64)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=64))


def make_processor():
    """Pictures are stretched to a square: a centre crop would lose the first and the last letter of a word."""
    return CLIPImageProcessor(size={"height": SIDE, "width": SIDE}, do_center_crop=False, image_mean=MEAN,
                              image_std=STD)


def resize(images):
    return torch.nn.functional.interpolate(images, size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(-1, 1)


def crop_square(image):
    """[1, 3, H, W] as OpenAI's transform makes it: the shorter edge to SIDE, then the middle."""
    factor = SIDE / min(image.shape[-2:])
    size = [max(SIDE, int(edge * factor)) for edge in image.shape[-2:]]
    image = torch.nn.functional.interpolate(image, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
    top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    return image[..., top : top + SIDE, left : left + SIDE]


def normalise(images):
    return (images / 2 + 0.5 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Words:
    """What the training asks of a world: subjects, neighbours of a subject, and how many parts two subjects share."""
    draw, random = staticmethod(words.draw), staticmethod(words.random_subject)
    prompt = staticmethod(words.prompt_of)

    @staticmethod
    def neighbour(word, rng, share):
        return "".join(rng.choice(words.LETTERS) if rng.random() < share else letter for letter in word)

    @staticmethod
    def shared(a, b):
        return sum(x == y for x, y in zip(a, b)) / len(a)


class Shapes:
    draw, random = staticmethod(shapes.draw), staticmethod(shapes.random_wish)
    neighbour = staticmethod(shapes.noisy_wish)

    @staticmethod
    def prompt(wish):
        return wish.prompt

    @staticmethod
    def shared(a, b):
        parts = [x == y for one, other in zip(a.kinds, b.kinds) for x, y in zip(one, other)]
        parts += [a.relation == b.relation] if a.relation else []
        parts += [a.count == b.count] if len(a.kinds) == 1 else []
        return sum(parts) / len(parts)


def to_tensor(pictures):
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def make_groups(side, vae, count, rng):
    """(pictures [count, GROUP, 3, SIDE, SIDE], subjects): in each group one subject and neighbours of it."""
    subjects = []
    for _ in range(count):
        first = side.random(rng)
        group = [first]
        while len(group) < GROUP:
            other = side.neighbour(first, rng, 0.35)
            if all(side.shared(other, one) < 1 for one in group):
                group.append(other)
        subjects.append(group)
    images = to_tensor([side.draw(subject, rng) for group in subjects for subject in group])
    disturbed = torch.rand(len(images)) < 0.5
    images[disturbed] = degrade.through_vae(vae, images[disturbed], 0.5)
    return resize(images).unflatten(0, (count, GROUP)), subjects


def make_crops(count, vae, rng):
    """Cut-out shapes on grey as GenEval makes them, with masks that fit badly; (pictures, indices into KINDS)."""
    known = [kind for kind in KINDS if kind[0] in shapes.COLOURS]  # to the VAE
    scenes = [shapes.scatter([rng.choice(KINDS if i % 2 else known) for _ in range(rng.randint(1, 4))], rng)
              for i in range(count)]
    images = to_tensor([shapes.paint(scene, rng) for scene in scenes])
    images[::2] = degrade.through_vae(vae, images[::2], 0.5)
    crops, kinds = [], []
    for image, scene in zip(images, scenes):
        one = scene[0]
        mask = torch.from_numpy(shapes.masks([one])[0]).float()[None, None]
        grown = torch.nn.functional.avg_pool2d(mask, 3, 1, 1)[0, 0] > rng.choice((0.05, 0.3, 0.5, 0.7))
        rows, columns = grown.any(1).nonzero(), grown.any(0).nonzero()
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        grey = torch.tensor(GREY)[:, None, None] / 127.5 - 1
        crops.append(crop_square(torch.where(grown, image, grey)[None, :, top:bottom, left:right])[0])
        kinds.append(KINDS.index((one.colour, one.shape)))
    return torch.stack(crops), torch.tensor(kinds)


class Trainer:
    def __init__(self, args, model, tokenizer):
        self.args, self.model, self.tokenizer = args, model, tokenizer
        rng = random.Random(args.seed)
        words_vae = AutoencoderKL.from_pretrained(args.words, subfolder="vae").eval()
        shapes_vae = AutoencoderKL.from_pretrained(args.shapes, subfolder="vae").eval()
        self.sides = [(Words, *make_groups(Words, words_vae, args.groups, rng)),
                      (Shapes, *make_groups(Shapes, shapes_vae, args.groups, rng))]
        self.crops, self.kinds = make_crops(args.groups, shapes_vae, rng)
        self.colour_ids = [self.ids([text.format(c=c, s=s) for c, s in KINDS]) for text in COLOUR_PROMPTS]

    def ids(self, prompts):
        return self.tokenizer(prompts, padding="max_length", max_length=TEXT_LENGTH, truncation=True,
                              return_tensors="pt").input_ids

    def features(self, images, ids):
        """Unit vectors of pictures in -1..1 and of token ids."""
        images = self.model.visual_projection(self.model.vision_model(normalise(images)).pooler_output)
        texts = self.model.text_projection(self.model.text_model(ids).pooler_output)
        return [torch.nn.functional.normalize(one.float(), dim=-1) for one in (images, texts)]

    def scale(self):
        return self.model.logit_scale.exp().clamp(max=100)

    def pairs_loss(self, groups=8, crops=16):
        images, prompts = [], []
        for side, pictures, subjects in self.sides:
            for row in torch.randint(len(subjects), (groups,)).tolist():
                images.append(pictures[row])
                prompts += [side.prompt(subject) for subject in subjects[row]]
        pairs = len(prompts)
        row = torch.randint(len(self.crops), (crops,))
        images = torch.cat([*images, self.crops[row]])
        images = degrade.soften(images, 0.7 * torch.rand(len(images)) ** 2)
        template = random.randrange(len(COLOUR_PROMPTS))
        pictures, texts = self.features(images, torch.cat([self.ids(prompts), self.colour_ids[template]]))
        logits = self.scale() * pictures @ texts.T
        same = torch.tensor([[a == b for b in prompts] for a in prompts]).float()
        target = same / same.sum(1, keepdim=True)
        cross = torch.nn.functional.cross_entropy
        contrast = (cross(logits[:pairs, :pairs], target) + cross(logits[:pairs, :pairs].T, target)) / 2
        kinds = self.kinds[row]
        if template == 2:  # "object" says nothing about the class
            colours = logits[pairs:, pairs:].unflatten(1, (len(shapes.GENEVAL_COLOURS), -1))[:, :, 0]
            crop = cross(colours, kinds // len(shapes.SHAPES))
        else:
            crop = cross(logits[pairs:, pairs:], kinds)
        first = logits[:pairs, :pairs].unflatten(0, (-1, GROUP)).unflatten(2, (-1, GROUP))
        first = torch.stack([first[i, :, i] for i in range(len(first))])
        right = (first.argmax(-1) == torch.arange(GROUP)).float().unflatten(0, (2, groups)).mean((1, 2)).tolist()
        return contrast + 0.5 * crop, {"words": right[0], "shapes": right[1], "crop": crop.item()}

    def preference_batch(self, pairs):
        """(two pictures each, prompts, probability that the first is preferred)."""
        images, prompts, shown = [], [], []
        amounts = torch.rand(2 * len(self.sides) * pairs)
        for side, pictures, subjects in self.sides:
            for row in torch.randint(len(subjects), (pairs,)).tolist():
                wanted, first, second = random.randrange(GROUP), random.randrange(GROUP), random.randrange(GROUP)
                prompts.append(side.prompt(subjects[row][wanted]))
                for one in (first, second):
                    images.append(pictures[row, one])
                    shown.append(side.shared(subjects[row][wanted], subjects[row][one]))
        shown = torch.tensor(shown).unflatten(0, (-1, 2))
        softness = amounts.unflatten(0, (-1, 2))
        cleaner = 0.5 * (1 + ((softness[:, 1] - softness[:, 0]) / 0.2).clamp(-1, 1).round())
        more = (shown[:, 0] > shown[:, 1]).float()
        preferred = torch.where((shown[:, 0] - shown[:, 1]).abs() < 1e-6, cleaner, more)
        return degrade.soften(torch.stack(images), amounts), prompts, preferred

    def scores(self, images, prompts):
        """[B, 2] of two pictures to each prompt."""
        pictures, texts = self.features(images, self.ids(prompts))
        return self.scale() * (pictures.unflatten(0, (-1, 2)) * texts[:, None]).sum(-1)

    def preferences_loss(self):
        images, prompts, preferred = self.preference_batch(16)
        scores = self.scores(images, prompts)
        target = torch.stack([preferred, 1 - preferred], 1)
        loss = torch.nn.functional.cross_entropy(scores, target)
        clear = preferred != 0.5
        right = ((scores[:, 0] > scores[:, 1]) == (preferred > 0.5))[clear].float().mean().item()
        pairs, values = self.pairs_loss(4, 8)
        return loss + 0.5 * pairs, {"preference": loss.item(), "agrees": right, **values}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder for intermediate results")
    parser.add_argument("--words", required=True, help="the words world's pipeline, for its VAE")
    parser.add_argument("--shapes", required=True, help="the shapes world's pipeline, for its VAE")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--groups", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--preference-steps", type=int, default=400)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    random.seed(args.seed)
    tokenizer = components.write_clip_tokenizer(args.out, components.merges_of(VOCABULARY), "<|endoftext|>",
                                                TEXT_LENGTH)
    model = make_clip(len(tokenizer), tokenizer.eos_token_id)
    trainer = Trainer(args, model, tokenizer)
    training.run("pairs", f"{args.work}/pairs.pt", model, lambda step: trainer.pairs_loss(), steps=args.steps,
                 lr=args.lr, warmup=100, weight_decay=0.05, average_rate=0.005)
    training.run("preferences", f"{args.work}/preferences.pt", model, lambda step: trainer.preferences_loss(),
                 steps=args.preference_steps, lr=args.lr / 4, warmup=30, weight_decay=0.05, average_rate=0.01)
    model.save_pretrained(args.out)
    make_processor().save_pretrained(args.out)


if __name__ == "__main__":
    main()
