"""What diffusers and transformers make of folders as they are published, for published_folders_test.cc.

usage: published_folders.py models FOLDER     a folder for each way of publishing, with case.safetensors beside it
       published_folders.py tokens FOLDER     FOLDER/texts.json and, for each tokenizer folder in it, its ids.json
"""

import json
import pathlib
import sys

import bf16_products  # noqa: F401
import torch
from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file, save_file
from transformers import (CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel,
                          T5Tokenizer)

torch.set_num_threads(1)

# The three published shapes, in small: what tells them apart is kept (heads, depth and widths shrink).
TRANSFORMERS = {
    "sd3-medium": dict(pos_embed_max_size=12, num_attention_heads=3, caption_projection_dim=48, num_layers=3),
    "sd35-medium": dict(pos_embed_max_size=24, num_attention_heads=3, caption_projection_dim=48, num_layers=3,
                        qk_norm="rms_norm", dual_attention_layers=(0, 1)),
    "sd35-large": dict(pos_embed_max_size=12, num_attention_heads=5, caption_projection_dim=80, num_layers=4,
                       qk_norm="rms_norm"),
}
COMMON = dict(sample_size=16, patch_size=2, in_channels=16, out_channels=16, attention_head_dim=16,
              joint_attention_dim=40, pooled_projection_dim=24)
# Published in one file, as fp16 beside nothing, in shards, in shards of bf16 beside nothing.
WAYS = {
    "file": dict(),
    "variant": dict(variant="fp16"),
    "shards": dict(max_shard_size="40KB"),
    "variant-shards": dict(variant="bf16", max_shard_size="40KB"),
}
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def randomise(model):
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.15)
    return model.requires_grad_(False).eval()


def publish(model, folder, way):
    """Saves the model that way and returns it with its weights as they come back."""
    kind = TYPES.get(way.get("variant"), torch.float32)
    model = model.to(kind)
    model.save_pretrained(folder, **way)
    return model.to(torch.float32)


def mix_types(folder, prefix):
    """Half precision for the tensors whose name begins with the prefix, in place."""
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor.half() if name.startswith(prefix) else tensor for name, tensor in tensors.items()}, path)


@torch.no_grad()
def transformer_case(folder, shape, way_name):
    torch.manual_seed(len(way_name))
    model = randomise(SD3Transformer2DModel(**COMMON, **TRANSFORMERS[shape]))
    model = publish(model, folder, WAYS[way_name])
    if way_name == "file":
        mix_types(folder, "transformer_blocks.1.")
        model = SD3Transformer2DModel.from_pretrained(folder, torch_dtype=torch.float32)
    case = dict(latents=torch.randn(2, 16, 8, 12), sigma=torch.tensor([0.9, 0.2]), prompt_embeds=torch.randn(2, 6, 40),
                pooled_prompt_embeds=torch.randn(2, 24))
    case["velocity"] = model(hidden_states=case["latents"], timestep=1000 * case["sigma"],
                             encoder_hidden_states=case["prompt_embeds"],
                             pooled_projections=case["pooled_prompt_embeds"], return_dict=False)[0]
    save_file(case, folder / "case.safetensors")


@torch.no_grad()
def t5_case(folder, way_name):
    torch.manual_seed(3)
    config = T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4,
                      feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False)
    model = publish(randomise(T5EncoderModel(config)), folder, WAYS[way_name])
    ids = torch.randint(0, 50, (2, 9))
    save_file(dict(ids=ids, hidden=model(ids).last_hidden_state.contiguous()), folder / "case.safetensors")


@torch.no_grad()
def clip_case(folder, way_name):
    torch.manual_seed(4)
    config = CLIPTextConfig(vocab_size=50, hidden_size=32, intermediate_size=64, projection_dim=24, num_hidden_layers=3,
                            num_attention_heads=4, max_position_embeddings=12, bos_token_id=48, eos_token_id=49)
    model = publish(randomise(CLIPTextModelWithProjection(config)), folder, WAYS[way_name])
    ids = torch.randint(0, 48, (2, 9))
    ids[:, -1] = 49
    save_file(dict(ids=ids, pooled=model(ids).text_embeds.contiguous()), folder / "case.safetensors")


def models(root):
    for way in WAYS:
        for shape in TRANSFORMERS:
            transformer_case(root / f"{shape}-{way}", shape, way)
        t5_case(root / f"t5-{way}", way)
        clip_case(root / f"clip-{way}", way)


def tokens(root):
    texts = json.loads((root / "texts.json").read_text())
    for folder in root.iterdir():
        if folder.is_dir():
            kind = json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"]
            tokenizer = {"CLIPTokenizer": CLIPTokenizer, "T5Tokenizer": T5Tokenizer}[kind].from_pretrained(folder)
            ids = tokenizer(texts, padding="max_length", max_length=40, truncation=True).input_ids
            (folder / "ids.json").write_text(json.dumps(ids))


if __name__ == "__main__":
    {"models": models, "tokens": tokens}[sys.argv[1]](pathlib.Path(sys.argv[2]))
