"""Reads pictures of the shapes world by a rule, to check the detector: connected pieces of ink, each of the colour that
is nearest and of the class whose outline covers it best. For pictures on white without overlaps. Needs: pip install
scipy."""

import numpy as np
from PIL import Image
from scipy import ndimage

import shapes

INK = 90  # levels below white, in any channel
SMALLEST = 12  # pixels of a piece
PALETTE = np.array(list(shapes.COLOURS.values()), float)


def _cut(mask):
    """(the mask within its box, the box: left, top, right, bottom)."""
    rows, columns = np.where(mask.any(1))[0], np.where(mask.any(0))[0]
    box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return mask[box[1] : box[3], box[0] : box[2]], box


OUTLINES = {shape: _cut(shapes.masks([shapes.Object("red", shape, 24, 24, 14)], 4)[0])[0] for shape in shapes.SHAPES}


def _class_of(piece):
    def likeness(outline):
        height, width = piece.shape
        scaled = np.asarray(Image.fromarray(outline.astype(np.uint8) * 255).resize((width, height), Image.BOX)) >= 128
        stretch = width / height * outline.shape[0] / outline.shape[1]
        return (scaled & piece).sum() / (scaled | piece).sum() * min(stretch, 1 / stretch) ** 0.5

    return max(shapes.SHAPES, key=lambda shape: likeness(OUTLINES[shape]))


def read(image):
    """uint8 [H, W, 3] -> a list of (class, colour, box)."""
    pieces, count = ndimage.label((255 - image.astype(int)).max(-1) > INK)
    found = []
    for i in range(1, count + 1):
        mask = pieces == i
        if mask.sum() < SMALLEST:
            continue
        inner = ndimage.binary_erosion(mask)
        colour = np.median(image[inner if inner.any() else mask].astype(float), 0)
        nearest = np.square(PALETTE - colour).sum(-1).argmin()
        piece, box = _cut(mask)
        found.append((_class_of(piece), list(shapes.COLOURS)[nearest], box))
    return found
