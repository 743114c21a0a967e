"""Adapters as peft, diffusers and the trainers of the field write them, and what they compute, for lora_import_test.cc.

usage: lora_import_reference.py FOLDER

Makes FOLDER/transformer, FOLDER/input.safetensors, and for each case FOLDER/CASE.safetensors with the velocity and, as
its metadata "path", where the adapter is.
"""

import json
import pathlib
import re
import sys

import bf16_products  # noqa: F401
import peft
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.loaders import SD3LoraLoaderMixin
from safetensors.torch import load_file, save_file
from transformer_reference import BASE, TARGETS, forward

ROOT = pathlib.Path(sys.argv[1])
TARGETS = TARGETS.split()
BLOCK_LINEARS = ["norm1.linear", "norm1_context.linear", "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj",
                 "ff_context.net.2"]
OTHER_LINEARS = [
    "timestep_embedder.linear_1", "timestep_embedder.linear_2", "text_embedder.linear_1", "text_embedder.linear_2",
    "context_embedder", "norm_out.linear", "proj_out",
]


def base_model():
    return SD3Transformer2DModel.from_pretrained(ROOT / "transformer")


def randomise_adapter(model):
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)


def config(r=4, alpha=6, targets=TARGETS, **more):
    return peft.LoraConfig(r=r, lora_alpha=alpha, target_modules=targets, init_lora_weights="gaussian", **more)


@torch.no_grad()
def expect(case, path, model):
    save_file({"velocity": forward(model, INPUT)}, ROOT / f"{case}.safetensors", {"path": str(path)})


def saved_by_peft(case, lora_config, dtype=None):
    """A PEFT folder; what peft makes of it."""
    model = peft.get_peft_model(base_model(), lora_config)
    randomise_adapter(model)
    folder = ROOT / case
    model.save_pretrained(folder)
    if dtype is not None:
        file = folder / "adapter_model.safetensors"
        save_file({key: value.to(dtype) for key, value in load_file(file).items()}, file)
    expect(case, folder, peft.PeftModel.from_pretrained(base_model(), folder))
    return folder


def peft_cases():
    saved_by_peft("peft_plain", config())
    saved_by_peft("peft_rslora", config(use_rslora=True))
    saved_by_peft("peft_bf16", config(), torch.bfloat16)
    saved_by_peft("peft_f16", config(), torch.float16)
    saved_by_peft("peft_pattern_of_targets", config(targets=r"transformer_blocks\.[01]\..*(to_q|net\.2)"))
    saved_by_peft("peft_all_linear", config(targets="all-linear"))
    saved_by_peft("peft_every_layer", config(targets=TARGETS + BLOCK_LINEARS + OTHER_LINEARS + ["pos_embed.proj"]))
    saved_by_peft("peft_ranks_and_alphas", config(
        rank_pattern={"to_q": 2, "^transformer_blocks.1.attn.to_v": 7, r"transformer_blocks\.[02]\.attn\.to_k": 3},
        alpha_pattern={"attn.to_out.0": 1, "transformer_blocks.0.attn.to_q": 9, "o_v": 1000},
    ))
    # The weights file itself; the same with the adapter's name in its keys, as a raw state dict has it.
    plain = ROOT / "peft_plain"
    expect("peft_file", plain / "adapter_model.safetensors", peft.PeftModel.from_pretrained(base_model(), plain))
    named = ROOT / "peft_named"
    named.mkdir()
    (named / "adapter_config.json").write_text((plain / "adapter_config.json").read_text())
    state = load_file(plain / "adapter_model.safetensors")
    save_file({key.replace(".weight", ".default.weight"): value for key, value in state.items()},
              named / "adapter_model.safetensors")
    expect("peft_named", named, peft.PeftModel.from_pretrained(base_model(), plain))


def trainer_cases():
    """FlowAWR and flow_grpo save their trained adapter into lora/; DiffusionNFT's has the slow one in lora/old beside
    it."""
    model = peft.get_peft_model(base_model(), config(r=8, alpha=16))
    model.add_adapter("old", config(r=8, alpha=16))
    randomise_adapter(model)
    for trainer, adapters in {"flowawr": ["default"], "diffusion_nft": None}.items():
        folder = ROOT / trainer / "checkpoints/checkpoint-100/lora"
        model.save_pretrained(folder, selected_adapters=adapters)
        expect(trainer, folder, peft.PeftModel.from_pretrained(base_model(), folder))
    expect("diffusion_nft_old", folder / "old", peft.PeftModel.from_pretrained(base_model(), folder / "old"))
    # flow_grpo with GARDO calls its adapter "learner", which peft puts into a folder of that name.
    model = peft.get_peft_model(base_model(), config(r=8, alpha=16), adapter_name="learner")
    randomise_adapter(model)
    folder = ROOT / "flow_grpo_gardo/checkpoints/checkpoint-100/lora"
    model.save_pretrained(folder, selected_adapters=["learner"])
    expect("flow_grpo_gardo", folder / "learner", peft.PeftModel.from_pretrained(base_model(), folder / "learner"))


def loaded_by_diffusers(file, **more):
    model = base_model()
    # The two steps of StableDiffusion3Pipeline.load_lora_weights, without a whole pipeline around the transformer.
    state, metadata = SD3LoraLoaderMixin.lora_state_dict(file, return_lora_metadata=True)
    SD3LoraLoaderMixin.load_lora_into_transformer(state, model, adapter_name="theirs", metadata=metadata)
    return model


def diffusers_cases():
    def adapted(**more):
        model = base_model()
        model.add_adapter(config(**more))
        randomise_adapter(model)
        return model, peft.utils.get_peft_model_state_dict(model)

    model, state = adapted()
    trained = {"transformer_lora_adapter_metadata": model.peft_config["default"].to_dict()}
    for case, metadata in {"diffusers": {}, "diffusers_metadata": trained}.items():
        StableDiffusion3Pipeline.save_lora_weights(ROOT / case, transformer_lora_layers=state, **metadata)
        file = ROOT / case / "pytorch_lora_weights.safetensors"
        expect(case, file, loaded_by_diffusers(file))
        expect(f"{case}_folder", ROOT / case, loaded_by_diffusers(file))
    model.save_lora_adapter(ROOT / "diffusers_model")
    alone = base_model()
    # Without use_safetensors this one reads the file, but not its metadata.
    alone.load_lora_adapter(ROOT / "diffusers_model", prefix=None, use_safetensors=True)
    expect("diffusers_model", ROOT / "diffusers_model", alone)

    def write(case, renamed, file="my_style.safetensors"):
        (ROOT / case).mkdir()
        save_file({key: value.contiguous() for key, value in renamed.items()}, ROOT / case / file)
        return ROOT / case / file

    def rename(state, old_a, old_b):
        return {
            "transformer." + key.replace(".lora_A.weight", old_a).replace(".lora_B.weight", old_b): value
            for key, value in state.items()
        }

    file = write("diffusers_down_up", rename(state, ".lora.down.weight", ".lora.up.weight"))
    expect("diffusers_down_up", file.parent, loaded_by_diffusers(file))
    _, some = adapted(targets=["attn.to_q", "attn.to_k", "attn.to_v"])
    processors = rename({key.replace(".to_", ".processor.to_"): value for key, value in some.items()},
                        "_lora.down.weight", "_lora.up.weight")
    file = write("diffusers_processors", processors)
    expect("diffusers_processors", file, loaded_by_diffusers(file))
    _, ranks = adapted(rank_pattern={"attn.to_q": 2, "attn.to_v": 5})
    file = write("diffusers_ranks", rename(ranks, ".lora_A.weight", ".lora_B.weight"))
    expect("diffusers_ranks", file, loaded_by_diffusers(file))

    # Alphas beside the matrices: SD3's loader does not take them out of the file, the model's does if it is given them.
    peft_names = rename(state, ".lora_A.weight", ".lora_B.weight")
    modules = sorted({key.split(".lora_")[0] for key in peft_names})
    alphas = {f"{module}.alpha": 1.0 + i % 3 for i, module in enumerate(modules)}
    file = write("alphas", peft_names | {key: torch.tensor(alpha) for key, alpha in alphas.items()})
    model = base_model()
    model.load_lora_adapter(dict(peft_names), prefix="transformer", network_alphas=alphas)
    expect("alphas", file, model)


# What wrappers and trainers put into names: the prefix of the whole, and what may stand in the middle.
WRAPPED = {
    "comfyui": ("diffusion_model.", None),
    "comfyui_model": ("model.diffusion_model.", None),
    "compiled": ("_orig_mod.", None),
    "compiled_pipeline": ("transformer._orig_mod.", None),
    "compiled_blocks": ("transformer.", "_orig_mod."),
    "distributed": ("module.", None),
    "distributed_compiled": ("module._orig_mod.", None),
    "fsdp": ("_fsdp_wrapped_module.", "_fsdp_wrapped_module._checkpoint_wrapped_module."),
    "bare": ("", None),
    "model": ("model.", None),
}


def wrapped_cases():
    model = base_model()
    model.add_adapter(config())
    randomise_adapter(model)
    state = peft.utils.get_peft_model_state_dict(model)
    # The plain file as diffusers reads it: alpha is the rank.
    plain = ROOT / "wrapped_plain.file.safetensors"
    save_file({f"transformer.{key}": value.contiguous() for key, value in state.items()}, plain)
    adapted = loaded_by_diffusers(plain)

    def write(case, renamed):
        file = ROOT / f"wrapped_{case}.file.safetensors"
        save_file({key: value.contiguous() for key, value in renamed.items()}, file)
        expect(f"wrapped_{case}", file, adapted)

    for case, (prefix, middle) in WRAPPED.items():
        renamed = {}
        for key, value in state.items():
            if middle is not None:
                key = re.sub(r"(transformer_blocks\.\d+\.)", lambda match: match[1] + middle, key)
            renamed[prefix + key] = value
        write(case, renamed)
    for case, prefix in {"kohya": "lora_unet_", "onetrainer": "lora_transformer_"}.items():
        renamed = {}
        for key, value in state.items():
            module, matrix = key.split(".lora_")
            name = prefix + module.replace(".", "_")
            renamed[f"{name}.lora_{'down' if matrix.startswith('A') else 'up'}.weight"] = value
            renamed[f"{name}.alpha"] = torch.tensor(4.0)
        write(case, renamed)
    # The same around what peft saves: it knows the wrapped names in its configuration, too.
    compiled = ROOT / "wrapped_peft"
    compiled.mkdir()
    theirs = ROOT / "peft_plain"
    their_config = json.loads((theirs / "adapter_config.json").read_text())
    their_state = load_file(theirs / "adapter_model.safetensors")
    def wrap(key):
        return key.replace("base_model.model.", "module.base_model.model._orig_mod.").replace(
            ".weight", ".default.weight")

    save_file({wrap(key): value for key, value in their_state.items()}, compiled / "adapter_model.safetensors")
    modules = {key.removeprefix("base_model.model.").split(".lora_")[0] for key in their_state}
    their_config["target_modules"] = sorted(f"_orig_mod.{module}" for module in modules)
    (compiled / "adapter_config.json").write_text(json.dumps(their_config))
    expect("wrapped_peft", compiled, peft.PeftModel.from_pretrained(base_model(), theirs))


def several():
    model = base_model()
    for name, lora_config in {
        "first": config(r=3, alpha=6), "second": config(r=5, alpha=2, targets=["to_q", "proj_out"], use_rslora=True)
    }.items():
        model.add_adapter(lora_config, adapter_name=name)
    randomise_adapter(model)
    for name in ("first", "second"):
        model.set_adapter(name)
        folder = ROOT / "several" / name
        folder.mkdir(parents=True)
        state = peft.utils.get_peft_model_state_dict(model, adapter_name=name)
        save_file({f"base_model.model.{key}": value for key, value in state.items()},
                  folder / "adapter_model.safetensors")
        model.peft_config[name].save_pretrained(folder)
    model.set_adapters(["first", "second"], [0.7, -0.4])
    expect("several", ROOT / "several", model)


torch.manual_seed(5)
base = SD3Transformer2DModel(**BASE)
for parameter in base.parameters():
    torch.nn.init.normal_(parameter, std=0.15)
base.save_pretrained(ROOT / "transformer")
INPUT = dict(
    latents=torch.randn(2, 4, 8, 12), sigma=torch.tensor([0.8, 0.1]), prompt_embeds=torch.randn(2, 7, 24),
    pooled_prompt_embeds=torch.randn(2, 20),
)
save_file(INPUT, ROOT / "input.safetensors")
peft_cases()
trainer_cases()
diffusers_cases()
wrapped_cases()
several()
