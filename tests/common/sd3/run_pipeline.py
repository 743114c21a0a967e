"""Runs StableDiffusion3Pipeline for the pipeline test. usage: PIPELINE_FOLDER NOISE_FILE OUT_FILE [--without-t5]"""
import sys

import diffusers
import torch
import transformers
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file

for library in (diffusers, transformers):  # prompts too long are part of the test
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
absent = {"text_encoder_3": None, "tokenizer_3": None} if "--without-t5" in sys.argv else {}
pipeline = StableDiffusion3Pipeline.from_pretrained(sys.argv[1], **absent)
pipeline.set_progress_bar_config(disable=True)
prompts = ['a sign that says "CAT"', 'a sign that says "DOG"', "", "caf\u00e9 \U0001f600! " * 9]
with torch.no_grad():
    embeds, _, pooled, _ = pipeline.encode_prompt(prompts, None, None, do_classifier_free_guidance=False,
                                                  max_sequence_length=32)
images = pipeline(prompts, height=32, width=64, guidance_scale=1.0, num_inference_steps=8, max_sequence_length=32,
                  latents=load_file(sys.argv[2])["noise"], output_type="pt").images
save_file({"prompt_embeds": embeds.contiguous(), "pooled": pooled.contiguous(), "images": images.contiguous()},
          sys.argv[3])
