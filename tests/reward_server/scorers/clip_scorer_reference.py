"""Small random models of the CLIP-type rewards, pictures, and their scores by a straightforward Python scorer of each
kind.

usage: OUT_FOLDER

OUT_FOLDER has the folders clip (HF), hps (OpenCLIP, converted by tools/convert_rewards of hps.pt), head (converted of
head.pth) and nan (HF, one weight is NaN); pictures.safetensors with bytes [H, W, 3] by number; cases.json, a list of
{prompt, pickscore, clipscore, clipscore_open_clip, hpsv2, aesthetic}."""

import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests/common/clip"))
from random_clip import add_tokenizer, features, hf_model, make_tokenizer, open_clip_model, randomise  # noqa: E402
from transformers import AutoTokenizer, CLIPModel  # noqa: E402
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil  # noqa: E402

out = sys.argv[1]
torch.manual_seed(8)
torch.set_num_threads(1)
SIDE = 56
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
PROMPTS = ["a photo of a cat", "two red circles", 'a sign that says "CAT"', "it's a dog, José!", "x", "cat " * 120]
SIZES = [(64, 64), (32, 64), (97, 41), (56, 56), (200, 120), (57, 58)]

vocab = make_tokenizer(f"{out}/tokenizer")
clip = hf_model(vocab)
clip.save_pretrained(f"{out}/clip")
add_tokenizer(f"{out}/clip", f"{out}/tokenizer")

open_clip, _ = open_clip_model(vocab)
torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in open_clip.state_dict().items()}}, f"{out}/hps.pt")


class Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(40, 32), torch.nn.Dropout(0.2), torch.nn.Linear(32, 16), torch.nn.Dropout(0.2),
            torch.nn.Linear(16, 12), torch.nn.Dropout(0.1), torch.nn.Linear(12, 8), torch.nn.Linear(8, 1))


head = randomise(Head())
for parameter in head.parameters():
    parameter.mul_(3)  # or all pictures score about the same
torch.save(head.state_dict(), f"{out}/head.pth")


def convert(*arguments):
    subprocess.run([sys.executable, ROOT / "tools/convert_rewards", *arguments], check=True, stdout=subprocess.DEVNULL)


convert("hpsv2", f"{out}/hps.pt", f"{out}/hps", "--tokenizer", f"{out}/tokenizer", "--head-width", "32",
        "--text-heads", "3")
convert("aesthetic", f"{out}/head.pth", f"{out}/head")

spoilt = load_file(f"{out}/clip/model.safetensors")
spoilt["visual_projection.weight"][0, 0] = math.nan
clip.save_pretrained(f"{out}/nan")
add_tokenizer(f"{out}/nan", f"{out}/tokenizer")
save_file(spoilt, f"{out}/nan/model.safetensors", metadata={"format": "pt"})

clip = CLIPModel.from_pretrained(f"{out}/clip").eval()
tokenizer = AutoTokenizer.from_pretrained(f"{out}/clip")
processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def unit(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def crop(x):
    height, width = x.shape[-2:]
    top, left = int(round((height - SIDE) / 2.0)), int(round((width - SIDE) / 2.0))
    return x[..., top:top + SIDE, left:left + SIDE]


def clipscore_pixels(image):
    x = unit(image)
    height, width = x.shape[-2:]
    size = (SIDE, int(SIDE * width / height)) if height <= width else (int(SIDE * height / width), SIDE)
    return (crop(F.interpolate(x[None], size, mode="bilinear", antialias=True)[0]) - MEAN) / STD


def hps_pixels(image):
    x = unit(image)
    scale = SIDE / max(x.shape[-2:])
    size = [round(edge * scale) for edge in x.shape[-2:]]
    if scale != 1.0:
        x = F.interpolate(x[None], size, mode="bicubic", antialias=True)[0]
    pad_h, pad_w = SIDE - size[0], SIDE - size[1]
    return (F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2]) - MEAN) / STD


@torch.no_grad()
def cosine(model, pixels, prompt):
    ids = torch.tensor(tokenizer([prompt], padding=True, truncation=True, max_length=77)["input_ids"])
    picture, text = (F.normalize(x, dim=-1) for x in features(model, pixels[None], ids))
    return (picture * text).sum().item(), picture


cases, pictures = [], {}
for i, ((height, width), prompt) in enumerate(zip(SIZES, PROMPTS)):
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(i).integers(0, 80, (height, width, 3))
    pixels = np.clip(np.stack([3 * x, 2 * y, x + y], -1) % 256 + noise, 0, 255).astype(np.uint8)
    pictures[str(i)] = torch.from_numpy(pixels)
    image = Image.fromarray(pixels)
    processed = torch.as_tensor(np.array(processor(images=image)["pixel_values"][0])).float()
    similar, picture = cosine(clip, processed, prompt)
    cases.append({
        "prompt": prompt,
        "pickscore": clip.logit_scale.exp().item() * similar / 26,
        "clipscore": clip.logit_scale.exp().item() * cosine(clip, clipscore_pixels(image), prompt)[0] / 100,
        "clipscore_open_clip": (open_clip.logit_scale.exp().item()
                                * cosine(open_clip, clipscore_pixels(image), prompt)[0] / 100),
        "hpsv2": cosine(open_clip, hps_pixels(image), prompt)[0],
        "aesthetic": head.layers(picture).item(),
    })
save_file(pictures, f"{out}/pictures.safetensors")
with open(f"{out}/cases.json", "w", encoding="utf-8") as file:
    json.dump(cases, file)
