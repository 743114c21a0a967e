"""What StableDiffusion3Pipeline makes of a small random transformer, for guidance_test.cc. usage: FOLDER

Writes FOLDER/transformer and FOLDER/cases.safetensors: embeddings of two prompts and two negative prompts, and for each
size and guidance scale the initial and the final latents of two images.
"""
import sys

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors.torch import save_file

SIZES = [(8, 8), (16, 24), (40, 4), (6, 40), (32, 34)]  # of the latents; the position table is 20 patches square
SCALES = [1.0, 4.5]

diffusers.utils.logging.set_verbosity_error()
torch.manual_seed(11)
transformer = SD3Transformer2DModel(
    sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=16,
    num_attention_heads=3, joint_attention_dim=24, caption_projection_dim=48, pooled_projection_dim=20,
    pos_embed_max_size=20, dual_attention_layers=(0,), qk_norm="rms_norm")
for key, parameter in transformer.named_parameters():
    is_scale = "norm" in key and parameter.dim() == 1 and "linear" not in key
    torch.nn.init.normal_(parameter, mean=1.0 if is_scale else 0.0, std=0.3 if is_scale else 0.12)
transformer.save_pretrained(f"{sys.argv[1]}/transformer")
pipeline = StableDiffusion3Pipeline(
    transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), vae=None, text_encoder=None, tokenizer=None,
    text_encoder_2=None, tokenizer_2=None, text_encoder_3=None, tokenizer_3=None)
pipeline.set_progress_bar_config(disable=True)

tensors = {"prompt_embeds": torch.randn(2, 7, 24), "pooled_prompt_embeds": torch.randn(2, 20),
           "negative_prompt_embeds": torch.randn(2, 7, 24), "negative_pooled_prompt_embeds": torch.randn(2, 20)}
embeds = dict(tensors)
for height, width in SIZES:
    noise = torch.randn(2, 4, height, width)
    tensors[f"{height}x{width}/noise"] = noise
    for scale in SCALES:
        tensors[f"{height}x{width}/{scale}"] = pipeline(
            **embeds, height=height * 8, width=width * 8, guidance_scale=scale, num_inference_steps=5, latents=noise,
            output_type="latent").images.contiguous()
save_file(tensors, f"{sys.argv[1]}/cases.safetensors")
