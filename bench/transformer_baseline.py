"""Times diffusers' SD3Transformer2DModel with a peft LoRA, and AutoencoderKL: the Python side of transformer_bench.cc.

usage: [FLOWAWR_CPU=avx2] transformer_baseline.py [--threads 1] [--batch 16] [--repeats 30] [--model models/tiny-sd3]
                                                  [--device cuda]

Prints milliseconds of the fastest and of the median repeat, for sampling (adapter merged, no gradients) and for
training (adapter beside the base, forward and backward), and for decoding latents to pictures. --json prints every
repeat instead.
bench/transformer.py runs this and the service in turns.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

import processor

processor.restrict(os.environ.get("FLOWAWR_CPU"))

import peft  # noqa: E402
import torch  # noqa: E402
from diffusers import AutoencoderKL, SD3Transformer2DModel  # noqa: E402

TARGETS = "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out"


def milliseconds(step, options):
    def finished_step():
        step()
        if options.device != "cpu":
            torch.accelerator.synchronize(torch.device(options.device))

    for _ in range(3):
        finished_step()
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        finished_step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--batch", type=int, default=16)
    arguments.add_argument("--repeats", type=int, default=30)
    arguments.add_argument("--text-tokens", type=int, default=24)
    arguments.add_argument("--model", type=pathlib.Path, default=pathlib.Path("models/tiny-sd3"))
    arguments.add_argument("--device", default="cpu", help="as torch names it")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = options.device

    model = SD3Transformer2DModel.from_pretrained(options.model / "transformer").requires_grad_(False).to(device)
    config = model.config
    model.add_adapter(peft.LoraConfig(r=16, lora_alpha=32, init_lora_weights="gaussian",
                                      target_modules=TARGETS.split()))
    inputs = dict(
        hidden_states=torch.randn(options.batch, config.in_channels, 8, 16, device=device),
        encoder_hidden_states=torch.randn(options.batch, options.text_tokens, config.joint_attention_dim,
                                          device=device),
        pooled_projections=torch.randn(options.batch, config.pooled_projection_dim, device=device),
        timestep=torch.full((options.batch,), 700.0, device=device),
    )

    def train():
        model(**inputs, return_dict=False)[0].square().mean().backward()
        model.zero_grad()

    @torch.no_grad()
    def sample():
        model(**inputs, return_dict=False)

    times = {"training": milliseconds(train, options)}
    model.fuse_lora()
    model.unload_lora()
    times["sampling"] = milliseconds(sample, options)

    vae = AutoencoderKL.from_pretrained(options.model / "vae").to(device)
    latents = torch.randn(options.batch, vae.config.latent_channels, 8, 16, device=device)

    @torch.no_grad()
    def decode():
        vae.decode(latents, return_dict=False)

    times["decoding"] = milliseconds(decode, options)
    if options.json:
        print(json.dumps(times))
        return
    print(processor.describe(options.threads) if device == "cpu" else device)
    for name, repeats in times.items():
        print(f"{name}: min {min(repeats):.1f} ms, median {statistics.median(repeats):.1f} ms")


if __name__ == "__main__":
    main()
