"""What diffusers, transformers and peft compute with models of the true sizes, for full_size_test.cc.

usage: full_size_reference.py PART MODEL_FOLDER OUT_FOLDER
PART: transformer-f32 | transformer-bf16 | vae | clip | t5. One process a part: none needs more memory than one model.
"""

import pathlib
import sys

import bf16_products  # noqa: F401
import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, SD3Transformer2DModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModelWithProjection, T5EncoderModel
from transformer_reference import TARGETS, forward, gradients_of, lora_parameters
from vae_reference import decode_and_encode

import peft

part, model_folder, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
torch.set_num_threads(2)
for library in (diffusers.utils, transformers):
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
LATENTS = 64  # of 512 pixels
TEXT = 77 + 256


def transformer(dtype, case):
    model = SD3Transformer2DModel.from_pretrained(model_folder / "transformer", dtype=dtype).requires_grad_(False)
    with torch.no_grad():
        results = {"reference": forward(model, case)}
    model.add_adapter(peft.LoraConfig(r=32, lora_alpha=64, init_lora_weights="gaussian",
                                      target_modules=TARGETS.split()))
    generator = torch.Generator().manual_seed(8)
    for name, parameter in lora_parameters(model):
        parameter.data = parameter.data.float().normal_(0, 0.02, generator=generator)
    model.enable_gradient_checkpointing()
    model.train()
    results["adapted"], gradients = gradients_of(model, case)
    return results, gradients, {key: p.detach().contiguous() for key, p in lora_parameters(model)}


def transformer_f32():
    torch.manual_seed(7)
    case = dict(
        latents=torch.randn(1, 16, LATENTS, LATENTS), sigma=torch.tensor([0.7]),
        loss_weight=torch.randn(1, 16, LATENTS, LATENTS), prompt_embeds=torch.randn(1, TEXT, 4096),
        pooled_prompt_embeds=torch.randn(1, 2048),
    )
    results, gradients, adapter = transformer(torch.float32, case)
    save_file({**case, **results}, out / "transformer.safetensors")
    save_file(adapter, out / "adapter.safetensors")
    save_file(gradients, out / "gradients.safetensors")


def transformer_bf16():
    results, gradients, _ = transformer(torch.bfloat16, load_file(out / "transformer.safetensors"))
    save_file(results, out / "transformer_bf16.safetensors")
    save_file(gradients, out / "gradients_bf16.safetensors")


@torch.no_grad()
def vae():
    torch.manual_seed(9)
    latents, images = torch.randn(1, 16, LATENTS, LATENTS), torch.rand(1, 3, 8 * LATENTS, 8 * LATENTS)
    model = AutoencoderKL.from_pretrained(model_folder / "vae", dtype=torch.float32)
    results = dict(latents=latents, images=images)
    results["decoded"], results["mean"] = decode_and_encode(model, latents, images, torch.float32)
    model.to(torch.bfloat16)
    results["decoded_bf16"], results["mean_bf16"] = decode_and_encode(model, latents, images, torch.bfloat16)
    save_file(results, out / "vae.safetensors")


@torch.no_grad()
def encoders(parts, ids, compute):
    for name, model_class in parts.items():
        results = {"ids": ids}
        for suffix, dtype in (("", torch.float32), ("_bf16", torch.bfloat16)):
            model = model_class.from_pretrained(model_folder / name, dtype=dtype)
            results |= {key + suffix: value.float().contiguous()
                        for key, value in compute(model(ids, output_hidden_states=True)).items()}
            del model
        save_file(results, out / f"{name}.safetensors")


def clip():
    end = transformers.AutoConfig.from_pretrained(model_folder / "text_encoder").eos_token_id
    ids = torch.randint(end + 1, 49408, (2, 77), generator=torch.Generator().manual_seed(10))
    ids[0, 76], ids[1, 12:] = end, end
    encoders({"text_encoder": CLIPTextModelWithProjection, "text_encoder_2": CLIPTextModelWithProjection}, ids,
             lambda output: {"hidden": output.hidden_states[-2], "pooled": output[0]})


def t5():
    ids = torch.randint(0, 32100, (2, 256), generator=torch.Generator().manual_seed(11))
    ids[1, 30:] = 0
    encoders({"text_encoder_3": T5EncoderModel}, ids, lambda output: {"hidden": output[0]})


if __name__ == "__main__":
    {"transformer-f32": transformer_f32, "transformer-bf16": transformer_bf16, "vae": vae, "clip": clip,
     "t5": t5}[part]()
