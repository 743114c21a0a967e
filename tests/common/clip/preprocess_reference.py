"""Pictures of many sizes and what Pillow, transformers and torch make of them. usage: OUT_FILE SIDE

For picture i of the file: image.i [H, W, 3] bytes; resized.i, Pillow's bicubic of the shortest edge; and the pixels of
clip_preprocess.h's kinds.

Resizing and cropping in torch are torchvision's, without needing it: equal to the bit to torchvision 0.29.1 when this
was written."""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SIDE = int(sys.argv[2])
SIZES = [(224, 224), (512, 512), (300, 200), (97, 401), (1, 1), (5, 3), (225, 224), (224, 225), (768, 1024), (64, 64),
         (32, 64), (223, 447), (449, 224), (450, 223), (3, 190), (1023, 33), (112, 224)]
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

random = np.random.default_rng(3)


def picture(height, width, kind):
    if kind == 0:  # noise, the hardest to round alike
        return random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:  # edges from black to white: the filter overshoots
        return np.where(random.random((height, width, 3)) < 0.5, 0, 255).astype(np.uint8)
    y, x = np.mgrid[0:height, 0:width] / max(height, width, 2)
    return np.stack([255 * y, 255 * x, 255 * (x + y) / 2], -1).astype(np.uint8)


def shortest(height, width):
    if height <= width:
        return SIDE, int(SIDE * width / height)
    return int(SIDE * height / width), SIDE


def center_crop(x):  # torchvision's
    height, width = x.shape[-2:]
    top, left = int(round((height - SIDE) / 2.0)), int(round((width - SIDE) / 2.0))
    return x[..., top:top + SIDE, left:left + SIDE]


def unit(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def longest(x):
    height, width = x.shape[-2:]
    scale = SIDE / float(max(height, width))
    size = [max(1, round(edge * scale)) for edge in (height, width)]
    if scale != 1.0:
        x = F.interpolate(x[None], size, mode="bicubic", align_corners=False, antialias=True)[0]
    pad_h, pad_w = SIDE - size[0], SIDE - size[1]
    return F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2])


processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
stretching = CLIPImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_center_crop=False)
tensors = {}
for i, size in enumerate(SIZES):
    pixels = picture(*size, i % 3)
    image = Image.fromarray(pixels)
    height, width = shortest(*size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    tensors[f"image.{i}"] = torch.from_numpy(pixels)
    tensors[f"resized.{i}"] = torch.from_numpy(np.array(small))
    tensors[f"clip_processor.{i}"] = torch.as_tensor(np.array(processor(images=image)["pixel_values"][0])).float()
    across = image.resize((SIDE, size[0]), Image.Resampling.BICUBIC)  # left to itself, Pillow 13 may go down first
    tensors[f"stretched.{i}"] = torch.as_tensor(np.array(stretching(images=across)["pixel_values"][0])).float()
    tensors[f"open_clip.{i}"] = (center_crop(unit(small)) - MEAN) / STD
    bilinear = F.interpolate(unit(image)[None], (height, width), mode="bilinear", align_corners=False,
                             antialias=True)[0]
    tensors[f"tensor_shortest.{i}"] = (center_crop(bilinear) - MEAN) / STD
    tensors[f"tensor_longest.{i}"] = (longest(unit(image)) - MEAN) / STD
save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, sys.argv[1])
