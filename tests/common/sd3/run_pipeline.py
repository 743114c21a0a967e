"""Runs StableDiffusion3Pipeline for the pipeline test. usage: PIPELINE_FOLDER NOISE_FILE OUT_FILE"""
import sys

import torch
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file

pipeline = StableDiffusion3Pipeline.from_pretrained(sys.argv[1])
pipeline.set_progress_bar_config(disable=True)
prompts = ['a sign that says "CAT"', 'a sign that says "DOG"', "", "caf\u00e9 \U0001f600! " * 9]
with torch.no_grad():
    embeds, _, pooled, _ = pipeline.encode_prompt(prompts, None, None, do_classifier_free_guidance=False, max_sequence_length=32)
images = pipeline(prompts, height=32, width=64, guidance_scale=1.0, num_inference_steps=8, max_sequence_length=32,
                  latents=load_file(sys.argv[2])["noise"], output_type="pt").images
save_file({"prompt_embeds": embeds.contiguous(), "pooled": pooled.contiguous(), "images": images.contiguous()}, sys.argv[3])
