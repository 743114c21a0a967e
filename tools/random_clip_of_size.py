"""Writes a CLIP folder of a published size with random weights, by transformers' own class.

usage: random_clip_of_size.py FOLDER [--size vit-l-14] [--seed 1] [--device cuda]

What the parity tests and benchmarks of the true sizes run on: the published weights cannot be in the repository, their
shapes can. The tokenizer is models/tiny-sd3's; embeddings have the published sizes.
"""

import argparse
import json
import pathlib
import shutil

import torch
from transformers import CLIPConfig, CLIPModel

TOKENIZER = pathlib.Path(__file__).parents[1] / "models/tiny-sd3/tokenizer"

# openai/clip-vit-base-patch32, openai/clip-vit-large-patch14, yuvalkirstain/PickScore_v1.
SIZES = {
    "vit-b-32": dict(projection_dim=512,
                     vision=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=32),
                     text=dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8)),
    "vit-l-14": dict(projection_dim=768,
                     vision=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14),
                     text=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)),
    "vit-h-14": dict(projection_dim=1024,
                     vision=dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, patch_size=14,
                                 hidden_act="gelu"),
                     text=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                               hidden_act="gelu")),
}


def make(folder, size="vit-l-14", seed=1, device="cpu"):
    torch.manual_seed(seed)
    with open(TOKENIZER / "vocab.json", encoding="utf-8") as file:
        vocabulary = json.load(file)
    fields = SIZES[size]
    config = CLIPConfig(projection_dim=fields["projection_dim"], vision_config={"image_size": 224, **fields["vision"]},
                        text_config={**fields["text"], "bos_token_id": vocabulary["<|startoftext|>"],
                                     "eos_token_id": vocabulary["<|endoftext|>"]}, logit_scale_init_value=4.6052)
    with torch.device(device):
        model = CLIPModel(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name == "logit_scale":
            continue
        is_norm = "norm" in name or "layrnorm" in name
        mean = 1.0 if is_norm and name.endswith("weight") else 0.0
        torch.nn.init.normal_(parameter, mean=mean, std=min(0.2, parameter.shape[-1] ** -0.5))
    model.save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder")
    arguments.add_argument("--size", choices=SIZES, default="vit-l-14")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--device", default="cpu", help="that draws the weights: a GPU is many times faster")
    args = arguments.parse_args()
    make(args.folder, args.size, args.seed, args.device)
