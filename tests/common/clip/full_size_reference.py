"""A random CLIP of a published size and what the real class makes of one picture and two texts, in f32 and bf16.

usage: full_size_reference.py SIZE LAYOUT OUT_FOLDER   (LAYOUT: hf | open_clip; the folder is a model folder then)"""

import json
import os
import pathlib
import sys

import torch
from open_clip_reference import OpenClip
from random_clip import add_tokenizer, features, randomise, save_open_clip
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPModel

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "tools"))
from random_clip_of_size import SIZES, TOKENIZER, make  # noqa: E402

size, layout, out = sys.argv[1:]
TEXTS = ["two red circles left of a green triangle", "a sign that says CAT " * 30]
torch.manual_seed(3)
torch.set_num_threads(2)


def open_clip_config():
    fields = SIZES[size]
    vision, text = fields["vision"], fields["text"]
    return {"embed_dim": fields["projection_dim"], "quick_gelu": vision.get("hidden_act") != "gelu",
            "vision_cfg": {"image_size": 224, "layers": vision["num_hidden_layers"], "width": vision["hidden_size"],
                           "head_width": vision["hidden_size"] // vision["num_attention_heads"],
                           "patch_size": vision["patch_size"]},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": text["hidden_size"],
                         "heads": text["num_attention_heads"], "layers": text["num_hidden_layers"]}}


def load(dtype):
    if layout == "hf":
        return CLIPModel.from_pretrained(out, dtype=dtype).eval()
    model = OpenClip(open_clip_config())
    model.load_state_dict(load_file(f"{out}/open_clip_model.safetensors"))
    return model.to(dtype).eval()


if layout == "hf":
    make(out, size)
else:
    save_open_clip(randomise(OpenClip(open_clip_config())), open_clip_config(), out)
    add_tokenizer(out, TOKENIZER)
ids = torch.tensor(AutoTokenizer.from_pretrained(out)(TEXTS, padding="max_length", truncation=True,
                                                      max_length=77)["input_ids"])
pixels = torch.randn(1, 3, 224, 224)
results = {"pixels": pixels}
with torch.no_grad():
    for suffix, dtype in (("", torch.float32), ("_bf16", torch.bfloat16)):
        results[f"image_embeds{suffix}"], results[f"text_embeds{suffix}"] = (
            x.float() for x in features(load(dtype), pixels, ids))
os.makedirs(f"{out}/expected")
save_file(results, f"{out}/expected/expected.safetensors")
with open(f"{out}/expected/texts.json", "w", encoding="utf-8") as file:
    json.dump(TEXTS, file)
