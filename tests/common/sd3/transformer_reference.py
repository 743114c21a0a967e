"""What diffusers and peft compute, for transformer_test.cc.

usage: transformer_reference.py make FOLDER    one folder a case: a model, an adapter, inputs and the expected results
       transformer_reference.py check FOLDER   loads the adapters exported beside them with peft and with diffusers
"""

import copy
import json
import pathlib
import sys

import bf16_products  # noqa: F401
import diffusers
import peft
import torch
from diffusers import SD3Transformer2DModel
from diffusers.loaders import SD3LoraLoaderMixin
from safetensors.torch import load_file, save_file

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tools"))
from random_pipeline import randomise  # noqa: E402

torch.set_num_threads(1)
diffusers.utils.logging.set_verbosity_error()

TARGETS = "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out"
BASE = dict(
    sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=3, attention_head_dim=16,
    num_attention_heads=3, joint_attention_dim=24, caption_projection_dim=48, pooled_projection_dim=20,
    pos_embed_max_size=12, dual_attention_layers=(0, 2), qk_norm="rms_norm",
)
# As the published models, but narrow and shallow.
PUBLISHED = dict(
    in_channels=16, out_channels=16, num_layers=4, attention_head_dim=64, num_attention_heads=4, joint_attention_dim=96,
    caption_projection_dim=256, pooled_projection_dim=64, pos_embed_max_size=48, dual_attention_layers=(0, 1, 2),
)
# name: changes to the configuration, LoRA targets, latent height and width, text tokens, one prompt for all samples
CASES = {
    "dual": ({}, TARGETS, 8, 12, 7, False),
    "shared_prompt": ({}, TARGETS, 8, 8, 5, True),
    "some_targets": ({}, "attn.to_q attn.to_v attn2.to_k ff.net.0.proj ff_context.net.2", 6, 8, 5, False),
    # No kernel takes heads of 20: LibTorch's operations do the work.
    "plain": (dict(qk_norm=None, dual_attention_layers=(), attention_head_dim=20, caption_projection_dim=60,
                   out_channels=6), TARGETS, 4, 8, 3, False),
    "long": (dict(pos_embed_max_size=20, num_layers=2), TARGETS, 36, 32, 9, False),
    "sd35_like": (PUBLISHED, TARGETS, 24, 32, 77, False),
    "sd3_like": ({**PUBLISHED, "qk_norm": None, "dual_attention_layers": ()}, TARGETS, 32, 24, 77, False),
    "sd35_long": ({**PUBLISHED, "num_layers": 2, "dual_attention_layers": (0,)}, TARGETS, 64, 64, 333, False),
    "embedded": (None, TARGETS, 8, 16, 24, False),
}
EMBEDDED = pathlib.Path(__file__).parents[3] / "models/tiny-sd3/transformer"


def add_random_adapter(model, targets, std, rank=4, alpha=6):
    model.add_adapter(peft.LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=targets))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=std)


def forward(model, case):
    dtype = model.proj_out.weight.dtype
    return model(
        hidden_states=case["latents"].to(dtype), encoder_hidden_states=case["prompt_embeds"].to(dtype),
        pooled_projections=case["pooled_prompt_embeds"].to(dtype), timestep=1000 * case["sigma"], return_dict=False,
    )[0].float()


def in_bf16(model):
    """The base in bf16, an adapter left in f32, as people train."""
    low = copy.deepcopy(model).to(torch.bfloat16)
    for (key, parameter), exact in zip(low.named_parameters(), model.parameters()):
        if "lora_" in key:
            parameter.data = exact.data.clone()
    return low


def gradients_of(model, case):
    model.zero_grad()
    adapted = forward(model, case)
    (adapted * case["loss_weight"]).sum().backward()
    gradients = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in lora_parameters(model)}
    return adapted.detach(), gradients


def lora_parameters(model):
    return [("base_model.model." + key.replace(".default.", "."), p)
            for key, p in model.named_parameters() if "lora_" in key]


def make(name, folder):
    changes, targets, height, width, tokens, shared = CASES[name]
    torch.manual_seed(sum(map(ord, name)))
    if changes is None:
        model = SD3Transformer2DModel.from_pretrained(EMBEDDED)
    else:
        model = SD3Transformer2DModel(**{**BASE, **changes})
    if name.startswith("sd3"):
        randomise(model)
    elif changes is not None:
        for key, parameter in model.named_parameters():
            spread = 0.5 if "norm" in key and parameter.dim() == 1 and "linear" not in key else 0.15
            torch.nn.init.normal_(parameter, mean=1.0 if spread == 0.5 else 0.0, std=spread)
    model.save_pretrained(folder / "transformer")
    model.requires_grad_(False)
    config = model.config
    rows = 1 if shared else 3
    case = dict(
        latents=torch.randn(3, config.in_channels, height, width),
        sigma=torch.tensor([0.9, 0.5, 0.05]),
        prompt_embeds=torch.randn(rows, tokens, config.joint_attention_dim).expand(3, -1, -1).contiguous(),
        pooled_prompt_embeds=torch.randn(rows, config.pooled_projection_dim).expand(3, -1).contiguous(),
    )
    with torch.no_grad():
        case["reference"] = forward(model, case)
        case["reference_bf16"] = forward(in_bf16(model), case)
    add_random_adapter(model, targets.split(), std=0.05 if name.startswith("sd3") else 0.2)
    case["loss_weight"] = torch.randn_like(case["reference"])
    case["adapted"], gradients = gradients_of(model, case)
    case["adapted_bf16"], gradients_bf16 = gradients_of(in_bf16(model), case)
    adapter = {key: parameter.detach().contiguous() for key, parameter in lora_parameters(model)}
    if shared:
        case["prompt_embeds"] = case["prompt_embeds"][:1].contiguous()
        case["pooled_prompt_embeds"] = case["pooled_prompt_embeds"][:1].contiguous()
    save_file(case, folder / "case.safetensors", {"targets": targets})
    save_file(adapter, folder / "adapter.safetensors")
    save_file(gradients, folder / "gradients.safetensors")
    save_file(gradients_bf16, folder / "gradients_bf16.safetensors")


def expect_same(what, actual, expected):
    error = ((actual - expected).norm() / expected.norm()).item()
    if not error < 1e-4:
        sys.exit(f"{folder.name}, {what}: relative error {error}")


@torch.no_grad()
def check(folder):
    case = load_file(folder / "case.safetensors")
    for key in ("prompt_embeds", "pooled_prompt_embeds"):
        case[key] = case[key].expand(3, *case[key].shape[1:])

    def load():
        return SD3Transformer2DModel.from_pretrained(folder / "transformer")

    expect_same("peft.PeftModel", forward(peft.PeftModel.from_pretrained(load(), folder / "peft"), case),
                case["adapted"])
    assert json.loads((folder / "peft/adapter_config.json").read_text())["base_model_name_or_path"] == "the-base"

    model = load()
    model.load_lora_adapter(folder / "pytorch_lora_weights.safetensors", prefix="transformer")
    expect_same("load_lora_adapter", forward(model, case), case["adapted"])

    model = load()
    # The two steps of StableDiffusion3Pipeline.load_lora_weights, without a whole pipeline around the transformer.
    state = SD3LoraLoaderMixin.lora_state_dict(folder / "pytorch_lora_weights.safetensors")
    SD3LoraLoaderMixin.load_lora_into_transformer(state, model, adapter_name="ours")
    expect_same("load_lora_weights", forward(model, case), case["adapted"])


if __name__ == "__main__":
    for name in CASES:
        folder = pathlib.Path(sys.argv[2]) / name
        if sys.argv[1] == "make":
            folder.mkdir()
            make(name, folder)
        else:
            check(folder)
