"""What diffusers' AutoencoderKL computes, for vae_test.cc.

usage: vae_reference.py FOLDER     one folder a case: a model, its inputs and the expected results
"""

import pathlib
import sys

import bf16_products  # noqa: F401
import diffusers
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

torch.set_num_threads(1)
diffusers.utils.logging.set_verbosity_error()

BASE = dict(
    block_out_channels=(8, 16, 24), layers_per_block=1, latent_channels=5, norm_num_groups=4,
    down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    scaling_factor=1.3, shift_factor=0.2, use_quant_conv=False, use_post_quant_conv=False,
)
CASES = {
    "attention": {},
    "plain": dict(mid_block_add_attention=False),
    "quant_convs": dict(use_quant_conv=True, use_post_quant_conv=True, layers_per_block=2, shift_factor=None),
    "sd3_like": dict(block_out_channels=(16, 32, 32), latent_channels=16, layers_per_block=2, norm_num_groups=8),
    "embedded": None,
}
EMBEDDED = pathlib.Path(__file__).parents[3] / "models/tiny-sd3/vae"


@torch.no_grad()
def make(name, folder):
    torch.manual_seed(sum(map(ord, name)))
    if CASES[name] is None:
        model = AutoencoderKL.from_pretrained(EMBEDDED)
    else:
        model = AutoencoderKL(**{**BASE, **CASES[name]})
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder / "vae")
    config = model.config
    latents = torch.randn(3, config.latent_channels, 12, 8)
    images = torch.rand(3, 3, 48, 32)
    decoded, mean = decode_and_encode(model, latents, images, torch.float32)
    decoded_bf16, mean_bf16 = decode_and_encode(model.to(torch.bfloat16), latents, images, torch.bfloat16)
    save_file(dict(latents=latents, images=images, decoded=decoded, mean=mean, decoded_bf16=decoded_bf16,
                   mean_bf16=mean_bf16),
              folder / "case.safetensors")


def decode_and_encode(model, latents, images, dtype):
    config, shift = model.config, model.config.shift_factor or 0.0
    decoded = model.decode((latents / config.scaling_factor + shift).to(dtype)).sample.float()
    mean = model.encode((images * 2 - 1).to(dtype)).latent_dist.mean.float()
    return (decoded / 2 + 0.5).clamp(0, 1), ((mean - shift) * config.scaling_factor).contiguous()


if __name__ == "__main__":
    for case in CASES:
        folder = pathlib.Path(sys.argv[1]) / case
        folder.mkdir()
        make(case, folder)
