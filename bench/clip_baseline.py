"""The Python side of bench/clip_scorers.py: PickScore's formula by transformers' CLIPModel, as public trainers score.

usage: [FLOWAWR_CPU=avx2] clip_baseline.py MODEL_FOLDER DTYPE THREADS BATCH SIDE

Prints "ready" when the model is loaded. For each line on standard input it scores BATCH new random pictures of SIDE x SIDE
pixels, all with that line as their prompt, and prints the seconds that took.
"""

import os
import sys
import time

import processor

processor.restrict(os.environ.get("FLOWAWR_CPU"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import AutoTokenizer, CLIPModel  # noqa: E402
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil  # noqa: E402

folder, dtype, threads, batch, side = sys.argv[1], getattr(torch, sys.argv[2]), *map(int, sys.argv[3:6])
torch.set_num_threads(threads)
model = CLIPModel.from_pretrained(folder, dtype=dtype).eval()
tokenizer, processor = AutoTokenizer.from_pretrained(folder), CLIPImageProcessorPil()
random = np.random.default_rng(1)


@torch.no_grad()
def score(images, prompts):
    pixels = torch.from_numpy(np.stack(processor(images=images)["pixel_values"])).to(dtype)
    tokens = tokenizer(prompts, padding=True, truncation=True, max_length=77, return_tensors="pt")
    pictures = model.get_image_features(pixels).pooler_output
    texts = model.get_text_features(**tokens).pooler_output
    pictures, texts = (x / x.norm(p=2, dim=-1, keepdim=True) for x in (pictures, texts))
    return (model.logit_scale.exp() * (texts @ pictures.T)).diag() / 26


print("ready", flush=True)
for line in sys.stdin:
    images = [Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(batch)]
    start = time.perf_counter()
    score(images, [line.strip()] * batch)
    print(f"{time.perf_counter() - start:.6f}", flush=True)
