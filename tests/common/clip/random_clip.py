"""Random CLIP folders of either layout, by the real classes, with a tokenizer like the published one."""

import os
import pathlib
import shutil
import sys

import torch
import transformers
from open_clip_reference import OpenClip, save_config
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "sd3"))
import bf16_products  # noqa: E402, F401
from learnt_tokenizers import train_clip  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TEXTS = ["a photo of a cat", "", "two red circles left of a green triangle", "It's “12”  o'clock, José!",
         "a very long text " * 40, "x", "a sign that says <|endoftext|> here", "dog"]


def make_tokenizer(folder, pad_token="!"):
    """Returns the number of ids."""
    corpus = [text.replace("<|endoftext|>", "") for text in TEXTS] * 3 + ["the quick brown fox jumps over the lazy dog"]
    return len(train_clip(folder, corpus, 400, pad_token))


def add_tokenizer(folder, tokenizer):
    for file in os.listdir(tokenizer):
        shutil.copy(f"{tokenizer}/{file}", f"{folder}/{file}")


def randomise(model):
    """Away from initial values that hide mistakes: norms of ones, biases of zeros."""
    for name, parameter in model.named_parameters():
        if name == "logit_scale":
            continue
        is_norm = any(part in name for part in ("norm", "layrnorm", "ln_")) and name.endswith("weight")
        std = min(0.2, parameter.shape[-1] ** -0.5)
        torch.nn.init.normal_(parameter, mean=1.0 if is_norm else 0.0, std=std)
    return model.eval().requires_grad_(False)


def hf_model(vocab, vision=None, text=None, **fields):
    return randomise(CLIPModel(CLIPConfig(
        vision_config={"hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 3, "num_attention_heads": 2,
                       "image_size": 56, "patch_size": 14, **(vision or {})},
        text_config={"vocab_size": vocab, "hidden_size": 48, "intermediate_size": 120, "num_hidden_layers": 3,
                     "num_attention_heads": 3, "bos_token_id": vocab - 2, "eos_token_id": vocab - 1, **(text or {})},
        **{"projection_dim": 40, "logit_scale_init_value": 4.4, **fields})))


def open_clip_model(vocab, quick_gelu=False, vision=None, text=None):
    config = {"embed_dim": 40, "quick_gelu": quick_gelu,
              "vision_cfg": {"image_size": 56, "layers": 3, "width": 64, "head_width": 32, "patch_size": 14,
                             **(vision or {})},
              "text_cfg": {"context_length": 77, "vocab_size": vocab, "width": 48, "heads": 3, "layers": 2,
                           **(text or {})}}
    return randomise(OpenClip(config)), config


def save_open_clip(model, config, folder, stem="open_clip_model"):
    os.makedirs(folder)
    save_config(folder, config)
    save_file(model.state_dict(), f"{folder}/{stem}.safetensors")


def features(model, pixels, ids):
    """Projected embeddings of either class, not normalised."""
    if isinstance(model, OpenClip):
        return model.encode_image(pixels), model.encode_text(ids)
    return (model.get_image_features(pixels.to(model.dtype)).pooler_output, model.get_text_features(ids).pooler_output)
