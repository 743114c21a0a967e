"""Models and adapters to merge, and what peft and diffusers make of them, for merged_transformer_test.cc.

usage: merged_transformer_reference.py make FOLDER
           FOLDER/f32 and FOLDER/bf16 are models, FOLDER/attention and FOLDER/every_layer adapters
       merged_transformer_reference.py check FOLDER DTYPE MERGED SCALE SCALE
           MERGED is the model of that type with both adapters, each with its scale
"""

import pathlib
import sys

import bf16_products  # noqa: F401
import peft
import torch
from diffusers import SD3Transformer2DModel
from transformer_reference import BASE, TARGETS

ROOT = pathlib.Path(sys.argv[2])
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
TARGETS = TARGETS.split()
EVERY_LAYER = TARGETS + [
    "norm1.linear", "norm1_context.linear", "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2",
    "timestep_embedder.linear_1", "text_embedder.linear_2", "context_embedder", "norm_out.linear", "proj_out",
    "pos_embed.proj",
]


def make():
    torch.manual_seed(6)
    base = SD3Transformer2DModel(**BASE)
    for parameter in base.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    for name, dtype in DTYPES.items():
        base.to(dtype).save_pretrained(ROOT / name)
    for name, targets in {"attention": TARGETS, "every_layer": EVERY_LAYER}.items():
        base = SD3Transformer2DModel(**BASE)
        model = peft.get_peft_model(base, peft.LoraConfig(r=3, lora_alpha=4, target_modules=targets))
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(ROOT / name)


@torch.no_grad()
def check(dtype, merged, scales):
    """peft's fusing, of the same weights in f32, rounded once."""
    exact = SD3Transformer2DModel.from_pretrained(ROOT / dtype, torch_dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(exact, ROOT / "attention", adapter_name="attention")
    model.load_adapter(ROOT / "every_layer", adapter_name="every_layer")
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            for adapter, scale in zip(("attention", "every_layer"), scales):
                module.set_scale(adapter, scale)
    exact = model.merge_and_unload(adapter_names=["attention", "every_layer"]).state_dict()
    ours = SD3Transformer2DModel.from_pretrained(merged, torch_dtype=DTYPES[dtype]).state_dict()
    if ours.keys() != exact.keys():
        sys.exit(f"other tensors: {ours.keys() ^ exact.keys()}")
    for key, tensor in ours.items():
        # As close as the nearest number of the type, and what two orders of an f32 sum may differ by.
        error = (tensor.float() - exact[key]).abs()
        bound = exact[key].abs() * (2.0**-8 if dtype == "bf16" else 0) + 1e-6
        if tensor.dtype != DTYPES[dtype] or not (error <= bound).all():
            sys.exit(f"{key} ({tensor.dtype}) is off by {error.max().item()}")


if sys.argv[1] == "make":
    make()
else:
    check(sys.argv[3], sys.argv[4], [float(scale) for scale in sys.argv[5:]])
