"""Writes a Stable Diffusion 3 pipeline folder with random weights, made and saved by diffusers' and transformers' own
classes.

usage: random_pipeline.py FOLDER [--size sd35-medium] [--dtype bfloat16] [--layers N] [--t5-layers N]
                          [--only transformer vae ...] [--shard 2GB] [--seed 1] [--device cuda]

What the parity tests and benchmarks of the true sizes run on: the published weights need a licence and 16 GB, their
shapes do not. Weights are drawn so that every layer matters (no gate near zero) and nothing overflows. Tokenizers,
scheduler and vocabulary come from models/tiny-sd3; embeddings have the published sizes.

T5-XXL is written with 4 of its 24 layers unless --t5-layers says otherwise (a layer holds 193 million parameters).
"""

import argparse
import json
import math
import pathlib
import shutil

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

EMBEDDED = pathlib.Path(__file__).parents[1] / "models/tiny-sd3"
COPIED = "scheduler tokenizer tokenizer_2 tokenizer_3".split()

TRANSFORMERS = {
    "sd35-medium": dict(num_layers=24, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=384,
                        qk_norm="rms_norm", dual_attention_layers=tuple(range(13))),
    "sd35-large": dict(num_layers=38, num_attention_heads=38, caption_projection_dim=2432, pos_embed_max_size=192,
                       qk_norm="rms_norm"),
    "sd3-medium": dict(num_layers=24, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=192),
}
COMMON = dict(sample_size=128, patch_size=2, in_channels=16, out_channels=16, attention_head_dim=64,
              joint_attention_dim=4096, pooled_projection_dim=2048)
VAE = dict(in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4,
           up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
           act_fn="silu", latent_channels=16, norm_num_groups=32, sample_size=1024, scaling_factor=1.5305,
           shift_factor=0.0609, force_upcast=True, use_quant_conv=False, use_post_quant_conv=False)
CLIP_L = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768,
              hidden_act="quick_gelu")
CLIP_G = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20,
              projection_dim=1280, hidden_act="gelu")
T5_XXL = dict(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_heads=64, feed_forward_proj="gated-gelu",
              is_encoder_decoder=False, use_cache=False)


def randomise(model):
    """In place; matrices keep the size of what goes through them, norms stay near one."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            fan_in = parameter[0].numel()
            is_table = "embed" in name and "proj" not in name and parameter.dim() == 2 and "linear" not in name
            of_table = 1 if "T5" in type(model).__name__ else 0.02
            parameter.data.normal_(0, of_table if is_table else fan_in**-0.5)
        elif "norm" in name and name.endswith("weight"):
            parameter.data.normal_(1, 0.1)
        else:
            parameter.data.normal_(0, 0.02)
    return model.requires_grad_(False)


def clip(config):
    ids = json.loads((EMBEDDED / "text_encoder/config.json").read_text())
    return CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=49408, max_position_embeddings=77, layer_norm_eps=1e-5, bos_token_id=ids["bos_token_id"],
        eos_token_id=ids["eos_token_id"], pad_token_id=ids["pad_token_id"], **config))


def components(options):
    changes = dict(TRANSFORMERS[options.size])
    if options.layers:
        changes["num_layers"] = options.layers
        if "dual_attention_layers" in changes:
            changes["dual_attention_layers"] = tuple(range(math.ceil(options.layers * 13 / 24)))
    return {
        "transformer": lambda: SD3Transformer2DModel(**COMMON, **changes),
        "vae": lambda: AutoencoderKL(**VAE),
        "text_encoder": lambda: clip(CLIP_L),
        "text_encoder_2": lambda: clip(CLIP_G),
        "text_encoder_3": lambda: T5EncoderModel(T5Config(num_layers=options.t5_layers, **T5_XXL)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--size", choices=TRANSFORMERS, default="sd35-medium")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--layers", type=int, help="of the transformer, instead of the size's own")
    parser.add_argument("--t5-layers", type=int, default=4)
    parser.add_argument("--only", nargs="+", metavar="COMPONENT", help="leaves the others out, and model_index.json")
    parser.add_argument("--shard", default="10GB", help="largest file of a component")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="that draws the weights: a GPU is many times faster")
    options = parser.parse_args()

    torch.set_default_dtype(getattr(torch, options.dtype))
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, make in components(options).items():
        if options.only and name not in options.only:
            continue
        torch.manual_seed(options.seed)
        with torch.device(options.device):
            model = randomise(make())
        model.save_pretrained(options.folder / name, max_shard_size=options.shard)
        print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
        del model
    if not options.only:
        for name in COPIED:
            shutil.copytree(EMBEDDED / name, options.folder / name, dirs_exist_ok=True)
        shutil.copy(EMBEDDED / "model_index.json", options.folder)


if __name__ == "__main__":
    main()
