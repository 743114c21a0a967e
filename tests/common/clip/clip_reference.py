"""Small random CLIP models and what the real classes make of pictures and texts. usage: OUT_FOLDER

Each OUT_FOLDER/NAME is a model folder with expected/expected.safetensors beside the weights: pixels, image_embeds,
text_embeds (of random_clip.TEXTS, which texts.json holds), in f32 and (..._bf16) in bf16."""

import copy
import json
import os
import sys

import torch
from random_clip import TEXTS, add_tokenizer, features, hf_model, make_tokenizer, open_clip_model, save_open_clip
from safetensors.torch import save_file
from transformers import AutoTokenizer

out = sys.argv[1]
torch.manual_seed(21)
torch.set_num_threads(1)
vocab = make_tokenizer(f"{out}/tokenizer")
tokenizer = AutoTokenizer.from_pretrained(f"{out}/tokenizer")
ids = torch.tensor(tokenizer(TEXTS, padding="max_length", truncation=True, max_length=77)["input_ids"])
with open(f"{out}/texts.json", "w", encoding="utf-8") as file:
    json.dump(TEXTS, file)


@torch.no_grad()
def finish(name, model, side, **expected):
    folder = f"{out}/{name}"
    add_tokenizer(folder, f"{out}/tokenizer")
    pixels = torch.randn(24 if side < 100 else 4, 3, side, side)
    images, texts = features(model, pixels, ids)
    low = copy.deepcopy(model).to(torch.bfloat16)
    low_images, low_texts = features(low, pixels, ids)
    os.makedirs(f"{folder}/expected")
    save_file({"pixels": pixels, "image_embeds": images, "text_embeds": texts, "image_embeds_bf16": low_images.float(),
               "text_embeds_bf16": low_texts.float(), "logit_scale": model.logit_scale.exp().reshape(1)},
              f"{folder}/expected/expected.safetensors")


def hf(name, shard="1GB", old_config=False, vision=None, **fields):
    model = hf_model(vocab, vision=vision, **fields)
    model.save_pretrained(f"{out}/{name}", max_shard_size=shard)
    if old_config:  # as published before transformers 4.30: a tower's fields twice, the second time without defaults
        path = f"{out}/{name}/config.json"
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        for tower in ("vision", "text"):
            config[f"{tower}_config_dict"] = dict(config[f"{tower}_config"])
            config[f"{tower}_config"] = {"num_hidden_layers": 1}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
    finish(name, model, model.config.vision_config.image_size)


def open_clip(name, stem="open_clip_model", **fields):
    model, config = open_clip_model(vocab, **fields)
    save_open_clip(model, config, f"{out}/{name}", stem)
    finish(name, model, config["vision_cfg"]["image_size"])


GELU = {"hidden_act": "gelu"}
hf("hf_quick_gelu")
# A head of 80.
hf("hf_gelu", vision={**GELU, "hidden_size": 160, "intermediate_size": 320, "layer_norm_eps": 1e-4}, text=GELU)
hf("hf_one_layer", vision={"num_hidden_layers": 1}, text={"num_hidden_layers": 1})
hf("hf_sharded", shard="100KB")
hf("hf_old_config", old_config=True)
hf("hf_legacy_eos", text={"eos_token_id": 2})
hf("hf_257_tokens", vision={"image_size": 224, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4})
open_clip("open_clip_gelu", vision={"mlp_ratio": 3.5})
open_clip("open_clip_quick_gelu", stem="open_clip_pytorch_model", quick_gelu=True)
open_clip("open_clip_257_tokens", vision={"image_size": 224, "width": 160, "head_width": 80}, text={"layers": 4})
