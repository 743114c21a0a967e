"""What StableDiffusion3Pipeline makes of a small random pipeline in the published layout, for pipeline_parity_test.cc.

usage: pipeline_reference.py OUT_FOLDER NOISE_FILE
Writes OUT_FOLDER/model and OUT_FOLDER/model-without-t5; OUT_FOLDER/embeds.safetensors: for each of them, length and
type the embeddings of PROMPTS; OUT_FOLDER/images.safetensors: latents and images drawn from NOISE_FILE, with guidance
and without.
"""
import json
import os
import pathlib
import sys

import bf16_products  # noqa: F401
import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from learnt_tokenizers import train_clip, train_t5
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer)

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tools"))
from random_pipeline import randomise  # noqa: E402

torch.set_num_threads(1)
torch.manual_seed(21)
for library in (diffusers.utils, transformers):
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
out = pathlib.Path(sys.argv[1])
PROMPTS = json.loads((pathlib.Path(__file__).parent / "pipeline_prompts.json").read_text(encoding="utf-8"))
LENGTHS = (77, 128, 256)


def clip(vocab, width, heads, activation):
    return randomise(CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=len(vocab), hidden_size=width, intermediate_size=4 * width, projection_dim=width,
        num_hidden_layers=3, num_attention_heads=heads, max_position_embeddings=77, hidden_act=activation,
        bos_token_id=vocab["<|startoftext|>"], eos_token_id=vocab["<|endoftext|>"], pad_token_id=1)))


def make_model():
    corpus = [open(__file__, encoding="utf-8").read(), *PROMPTS["prompts"], *PROMPTS["negative"]] * 3
    vocab = train_clip(out / "clip", corpus, 1500, pad_token="<|endoftext|>")
    vocab_2 = train_clip(out / "clip_2", corpus, 1500)
    t5_size = train_t5(out / "t5", corpus, 700)
    transformer = randomise(SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=3, attention_head_dim=32,
        num_attention_heads=4, joint_attention_dim=160, caption_projection_dim=128, pooled_projection_dim=112,
        pos_embed_max_size=24, dual_attention_layers=(0, 1), qk_norm="rms_norm"))
    vae = randomise(AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 32, 32), layers_per_block=1, latent_channels=16, norm_num_groups=8, sample_size=128,
        scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False))
    t5 = randomise(T5EncoderModel(T5Config(
        vocab_size=t5_size, d_model=160, d_kv=32, d_ff=320, num_layers=3, num_heads=5, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False, use_cache=False)))
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer, vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=clip(vocab, 48, 3, "quick_gelu"), tokenizer=CLIPTokenizer.from_pretrained(out / "clip"),
        text_encoder_2=clip(vocab_2, 64, 4, "gelu"), tokenizer_2=CLIPTokenizer.from_pretrained(out / "clip_2"),
        text_encoder_3=t5, tokenizer_3=T5Tokenizer.from_pretrained(out / "t5"))
    pipeline.save_pretrained(out / "model")
    for name, source in (("tokenizer", "clip"), ("tokenizer_2", "clip_2"), ("tokenizer_3", "t5")):
        # Beside tokenizer.json, as published folders have them.
        for file in ("vocab.json", "merges.txt", "spiece.model"):
            if (out / source / file).exists() and not (out / "model" / name / file).exists():
                (out / "model" / name / file).write_bytes((out / source / file).read_bytes())


def make_model_without_t5():
    (out / "model-without-t5").mkdir()
    index = json.loads((out / "model/model_index.json").read_text())
    index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (out / "model-without-t5/model_index.json").write_text(json.dumps(index))
    for part in "transformer vae scheduler text_encoder text_encoder_2 tokenizer tokenizer_2".split():
        os.symlink(out.absolute() / "model" / part, out / "model-without-t5" / part)


def load(model, dtype):
    absent = {"text_encoder_3": None, "tokenizer_3": None} if model == "model-without-t5" else {}
    pipeline = StableDiffusion3Pipeline.from_pretrained(out / "model", dtype=dtype, **absent)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def encode():
    results = {}
    for model in ("model", "model-without-t5"):
        for suffix, dtype in (("", torch.float32), ("_bf16", torch.bfloat16)):
            pipeline = load(model, dtype)
            for length in LENGTHS:
                embeds, negative, pooled, negative_pooled = pipeline.encode_prompt(
                    PROMPTS["prompts"], None, None, negative_prompt=PROMPTS["negative"], max_sequence_length=length)
                for key, value in (("embeds", embeds), ("pooled", pooled)):
                    results[f"{model}/{length}/{key}{suffix}"] = value.float().contiguous()
                for key, value in (("embeds", negative), ("pooled", negative_pooled)):
                    results[f"negative-{model}/{length}/{key}{suffix}"] = value.float().contiguous()
    save_file(results, out / "embeds.safetensors")


def draw():
    noises, results = load_file(sys.argv[2]), {}
    for model in ("model", "model-without-t5"):
        pipeline = load(model, torch.float32)
        for size, noise in noises.items():
            for scale in (1.0, 4.5):
                def run(output_type):
                    return pipeline(
                        PROMPTS["prompts"], negative_prompt=PROMPTS["negative"], height=8 * noise.shape[2],
                        width=8 * noise.shape[3], guidance_scale=scale, num_inference_steps=6, max_sequence_length=128,
                        latents=noise, output_type=output_type).images.contiguous()

                results[f"{model}/{size}/{scale}/latents"] = run("latent")
                results[f"{model}/{size}/{scale}/images"] = run("pt")
    save_file(results, out / "images.safetensors")


make_model()
make_model_without_t5()
encode()
draw()
