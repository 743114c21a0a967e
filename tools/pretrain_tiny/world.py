"""The words world: pictures of three-letter words and the prompts that (mostly) say what they show."""

import itertools
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT, WIDTH = 32, 64
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CAPTION_NOISE = 0.25  # share of letters replaced at random in the captions of most of the pretraining
FURTHER_NOISE = 0.15  # and of those captions again in its last stage
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf"  # Debian: fonts-dejavu-core
FONT_SIZES = (28, 30, 32)
FONTS = {size: ImageFont.truetype(FONT, size) for size in FONT_SIZES}

TEXT_LENGTH = 12  # tokens of a prompt, with CLIP's beginning and end
T5_WORDS = ("a", "sign", "that", "says", '"')
TRANSFORMER = {"sample_size": 16, "num_layers": 6, "dual_attention_layers": (0, 1, 2)}

# The CLIP merges that make "sign", "that" and "says" one token each would also fire inside these words.
_MERGED = (lambda w: w.endswith("GN"), lambda w: w.startswith("TH"), lambda w: w.endswith("YS"))

CLIP_MERGES = (("g", "n</w>"), ("i", "gn</w>"), ("s", "ign</w>"), ("t", "h"), ("th", "a"), ("tha", "t</w>"),
               ("y", "s</w>"), ("a", "ys</w>"), ("s", "ays</w>"))


def all_words():
    words = ("".join(letters) for letters in itertools.product(LETTERS, repeat=3))
    return [w for w in words if not any(is_merged(w) for is_merged in _MERGED)]


def prompt_of(word):
    return f'a sign that says "{word}"'


# What train.py asks of a world, with draw(), noisy_caption() and write_prompts().
T5_SAMPLE = [prompt_of(w) for w in all_words()[::7]]

ALL_WORDS = all_words()


def random_subject(rng):
    return rng.choice(ALL_WORDS)


def draw(word, rng):
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    size = rng.choice(FONT_SIZES)
    x, y = WIDTH / 2 + rng.randint(-2, 2), HEIGHT / 2 + rng.randint(-1, 1)
    ImageDraw.Draw(image).text((x, y), word, font=FONTS[size], fill="black", anchor="mm")
    return np.asarray(image)


caption = prompt_of


def noisy_caption(word, rng):
    return misspell(prompt_of(word), CAPTION_NOISE, rng)


def misspell(caption, noise, rng):
    """The caption with each letter of its word replaced with probability `noise`."""
    before, word, after = caption.split('"')
    word = "".join(rng.choice(LETTERS) if rng.random() < noise else letter for letter in word)
    return f'{before}"{word}"{after}'


def split(heldout=400, train=2000, seed=0):
    """Disjoint words for reinforcement learning and for its evaluation; pretraining sees them all."""
    words = all_words()
    random.Random(seed).shuffle(words)
    return words[heldout : heldout + train], words[:heldout]


def write_prompts(folder):
    for name, words in zip(("train", "heldout"), split()):
        with open(f"{folder}/{name}.txt", "w") as file:
            file.writelines(prompt_of(word) + "\n" for word in words)
