"""The shapes world: pictures of coloured shapes, and prompts in GenEval's wording that (mostly) say what they show."""

import dataclasses
import json
import math
import random

import numpy as np
from PIL import Image, ImageDraw

import components

HEIGHT = WIDTH = 48
SHAPES = ("circle", "square", "triangle", "star")
COLOURS = {"red": (218, 36, 36), "orange": (246, 136, 24), "yellow": (246, 218, 36), "green": (36, 160, 66),
           "blue": (44, 88, 222), "purple": (142, 54, 186)}
FURTHER_COLOURS = {"pink": (250, 150, 196), "brown": (126, 76, 36), "black": (20, 20, 20), "white": (246, 246, 246)}
GENEVAL_COLOURS = {**COLOURS, **FURTHER_COLOURS}  # the ten that GenEval tells apart; the pictures have the first six
NUMBERS = ("one", "two", "three", "four")
RELATIONS = ("left of", "right of", "above", "below")
TAGS = {"colors": 0.1, "counting": 0.3, "color_attr": 0.3, "position": 0.3}  # and their shares
# Of the prompt files; why: models/tiny-shapes/README.md.
TRAINED_TAGS = {"colors": 0.1, "counting": 0.4, "color_attr": 0.5}
CAPTION_NOISE = 0.12  # probability that a class, a colour, a count or a relation of a caption is drawn anew
FURTHER_NOISE = 0.2  # the same, of the captions of its last stage
SUPERSAMPLING = 4
CELLS = 3  # of a row and of a column of the neat pictures
# Of the orderly pictures, by count.
PLACES = {1: ((24, 24),), 2: ((12, 24), (36, 24)), 3: ((24, 12), (12, 36), (36, 36)),
          4: ((12, 12), (36, 12), (12, 36), (36, 36)), "left of": ((12, 24), (36, 24)),
          "right of": ((36, 24), (12, 24)),
          "above": ((24, 12), (24, 36)), "below": ((24, 36), (24, 12))}  # and by relation

TEXT_LENGTH = 14  # tokens of the longest prompt, with CLIP's beginning and end
T5_WORDS = ("a an photo of red orange yellow green blue purple two three four circle square triangle star circles "
            "squares triangles stars and left right above below").split()
TRANSFORMER = {"sample_size": 12, "num_layers": 4, "dual_attention_layers": ()}


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a prompt asks for: `count` objects of one kind, or (relation or `and`) one object of each of two kinds."""
    kinds: tuple  # (colour, class), one or two
    count: int = 1
    relation: str = ""  # of the first kind to the second; empty: no matter where

    @property
    def tag(self):
        if len(self.kinds) == 1:
            return "colors" if self.count == 1 else "counting"
        return "position" if self.relation else "color_attr"

    @property
    def prompt(self):
        (colour, shape), *others = self.kinds
        article = "an" if colour == "orange" else "a"
        text = f"a photo of {article} {colour} {shape}"
        if self.count > 1:
            text = f"a photo of {NUMBERS[self.count - 1]} {colour} {shape}s"
        for colour, shape in others:
            text += f" {self.relation or 'and'} {'an' if colour == 'orange' else 'a'} {colour} {shape}"
        return text

    @property
    def metadata(self):
        """GenEval's own fields."""
        include = [{"class": shape, "count": self.count, "color": colour} for colour, shape in self.kinds]
        if self.relation:
            include.reverse()
            include[1]["position"] = [self.relation, 0]
        line = {"tag": self.tag, "include": include}
        if self.tag == "counting":
            line["exclude"] = [{"class": self.kinds[0][1], "count": self.count + 1}]
        return {**line, "prompt": self.prompt}


@dataclasses.dataclass(frozen=True)
class Object:
    colour: str
    shape: str
    x: float
    y: float
    radius: float

    def outline(self):
        """Corner points; a circle has none."""
        if self.shape == "square":
            side = 0.88 * self.radius
            return [(self.x + a * side, self.y + b * side) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        corners, inner = (3, None) if self.shape == "triangle" else (5, 0.45)
        points = []
        for i in range(corners):
            for part, size in ((0, 1.15), (0.5, inner)):
                if size:
                    angle = 2 * math.pi * (i + part) / corners - math.pi / 2
                    points.append((self.x + size * self.radius * math.cos(angle),
                                   self.y + 0.1 * self.radius + size * self.radius * math.sin(angle)))
        return points


def all_wishes():
    kinds = [(c, s) for c in COLOURS for s in SHAPES]
    pairs = [(a, b) for a in kinds for b in kinds if a[1] != b[1]]
    return ([Wish((kind,), count) for kind in kinds for count in (1, 2, 3, 4)] + [Wish(pair) for pair in pairs] +
            [Wish(pair, relation=relation) for pair in pairs for relation in RELATIONS])


def random_wish(rng, tag=None):
    tag = tag or rng.choices(list(TAGS), list(TAGS.values()))[0]
    kind = lambda shape: (rng.choice(list(COLOURS)), shape)
    if tag in ("colors", "counting"):
        return Wish((kind(rng.choice(SHAPES)),), 1 if tag == "colors" else rng.randint(2, 4))
    return Wish(tuple(map(kind, rng.sample(SHAPES, 2))), relation=rng.choice(RELATIONS) if tag == "position" else "")


def noisy_wish(wish, rng, noise=CAPTION_NOISE):
    """The wish with each of its parts drawn anew with probability `noise`; two kinds stay of two classes."""
    redraw = lambda value, choices: rng.choice(choices) if rng.random() < noise else value
    kinds, shapes = [], []
    for colour, shape in wish.kinds:
        shape = redraw(shape, [s for s in SHAPES if s not in shapes
                               and s not in [k[1] for k in wish.kinds if k[1] != shape]])
        shapes.append(shape)
        kinds.append((redraw(colour, list(COLOURS)), shape))
    return Wish(tuple(kinds), redraw(wish.count, (1, 2, 3, 4)) if len(kinds) == 1 else 1,
                redraw(wish.relation, RELATIONS) if wish.relation else "")


def _holds(relation, a, b):
    along, across = (a.x - b.x, a.y - b.y) if relation in ("left of", "right of") else (a.y - b.y, a.x - b.x)
    forward = along if relation in ("right of", "below") else -along
    return forward > a.radius + b.radius + 2 and abs(across) < 0.4 * forward


def scatter(kinds, rng):
    """Objects of these kinds, apart from one another and within the picture."""
    sizes = (7.0, 9.5) if len(kinds) < 3 else (6.0, 7.5)
    while True:
        objects = []
        for colour, shape in kinds:
            for _ in range(30):
                radius = rng.uniform(*sizes)
                edge = 1.2 * radius + 0.5
                one = Object(colour, shape, rng.uniform(edge, WIDTH - edge), rng.uniform(edge, HEIGHT - edge), radius)
                if all(math.hypot(one.x - o.x, one.y - o.y) > 1.1 * (one.radius + o.radius) + 1.5 for o in objects):
                    objects.append(one)
                    break
        if len(objects) == len(kinds):
            return objects


def settle(kinds, rng):
    """The same, of nearly equal size in the cells of a 3 x 3 grid: less to learn about where things may be."""
    cells = rng.sample([(x, y) for x in range(CELLS) for y in range(CELLS)], len(kinds))
    near = lambda cell: (cell + 0.5) * WIDTH / CELLS + rng.uniform(-0.7, 0.7)
    return [Object(colour, shape, near(x), near(y), rng.uniform(6.2, 6.8))
            for (colour, shape), (x, y) in zip(kinds, cells)]


def order(wish, rng):
    """Objects as wished for, of nearly one size, in the places that go with count or relation: nothing is left to learn
    but what the prompt says."""
    kinds, near = wish.kinds * wish.count, lambda at: at + rng.uniform(-1, 1)
    return [Object(colour, shape, near(x), near(y), rng.uniform(8, 8.8))
            for (colour, shape), (x, y) in zip(kinds, PLACES[wish.relation or len(kinds)])]


def place(wish, rng, put=scatter):
    """Objects as wished for."""
    while True:
        objects = put(wish.kinds * wish.count, rng)
        if not wish.relation or _holds(wish.relation, *objects):
            return objects


def _fill(canvas, one, fill):
    s = SUPERSAMPLING
    if one.shape == "circle":
        canvas.ellipse([s * (one.x - one.radius), s * (one.y - one.radius), s * (one.x + one.radius),
                        s * (one.y + one.radius)], fill=fill)
    else:
        canvas.polygon([(s * x, s * y) for x, y in one.outline()], fill=fill)


def paint(objects, rng, background=(255, 255, 255)):
    """uint8 [H, W, 3]."""
    image = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING), background)
    canvas = ImageDraw.Draw(image)
    for one in objects:
        _fill(canvas, one, tuple(min(255, max(0, v + rng.randint(-8, 8))) for v in GENEVAL_COLOURS[one.colour]))
    return np.asarray(image.reduce(SUPERSAMPLING))


def masks(objects, enlarge=1):
    """bool [objects, enlarge * H, enlarge * W]."""
    result = np.zeros((len(objects), enlarge * HEIGHT, enlarge * WIDTH), bool)
    for i, one in enumerate(objects):
        image = Image.new("L", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))
        _fill(ImageDraw.Draw(image), one, 255)
        result[i] = np.asarray(image.reduce(SUPERSAMPLING // enlarge)) >= 128
    return result


# What train.py asks of a world.
T5_SAMPLE = [w.prompt for w in all_wishes()[::7]]
_WISHES = {wish.prompt: wish for wish in all_wishes()}
CLIP_MERGES = components.merges_of(T5_WORDS)


def random_subject(rng):
    return random_wish(rng)


def draw(wish, rng):
    return paint(place(wish, rng), rng)


def draw_neat(wish, rng):
    return paint(place(wish, rng, settle), rng)


def draw_orderly(wish, rng):
    return paint(order(wish, rng), rng)


def caption(wish):
    return wish.prompt


def noisy_caption(wish, rng):
    return noisy_wish(wish, rng).prompt


def misread(caption, noise, rng):
    """The caption of a wish that is like this caption's but for parts drawn anew with probability `noise`."""
    return noisy_wish(_WISHES[caption], rng, noise).prompt


def split(heldout=200, train=1000, seed=0):
    """Disjoint wishes for reinforcement learning and for its evaluation, each with the tags' shares; where a tag has
    too few wishes for its share, they come several times."""
    rng, sets = random.Random(seed), ([], [])
    for tag, share in TRAINED_TAGS.items():
        wishes = [w for w in all_wishes() if w.tag == tag]
        rng.shuffle(wishes)
        apart = min(round(heldout * share), len(wishes) // 4)
        for chosen, left, count in zip(sets, (wishes[apart:], wishes[:apart]), (train, heldout)):
            wanted = round(count * share)
            chosen += (left * math.ceil(wanted / len(left)))[:wanted]
    for chosen in sets:
        rng.shuffle(chosen)
    return sets


def write_prompts(folder):
    for name, wishes in zip(("train", "heldout"), split()):
        with open(f"{folder}/{name}.jsonl", "w") as file:
            file.writelines(json.dumps(wish.metadata) + "\n" for wish in wishes)
