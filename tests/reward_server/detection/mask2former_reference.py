"""What transformers' Mask2FormerForUniversalSegmentation computes, for mask2former_test.cc.

usage: mask2former_reference.py FOLDER CASE...     one folder a case: a model, its input and what each part makes of it
"""

import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SWIN = dict(embed_dim=16, depths=[2, 2, 3, 1], num_heads=[1, 2, 2, 4], window_size=4, out_features=STAGES)
SMALL = dict(feature_size=32, mask_feature_size=24, hidden_dim=32, encoder_feedforward_dim=48, dim_feedforward=40,
             encoder_layers=2, decoder_layers=5, num_attention_heads=4, num_queries=9)
# The backbone, the rest, and the pictures [batch, height, width].
CASES = {
    "plain": (SWIN, SMALL, (2, 64, 96)),
    "padded": ({**SWIN, "window_size": 7}, SMALL, (1, 96, 160)),
    "projected": ({**SWIN, "qkv_bias": False, "mlp_ratio": 2.5},
                  {**SMALL, "hidden_dim": 64, "num_attention_heads": 2, "num_queries": 20}, (1, 96, 128)),
    # facebook/mask2former-swin-small-coco-instance
    "true_size": (dict(depths=[2, 2, 18, 2], out_features=STAGES), {}, (1, 224, 320)),
}


@torch.no_grad()
def make(name, folder):
    torch.manual_seed(sum(map(ord, name)))
    swin, rest, (batch, height, width) = CASES[name]
    labels = {i: f"class {i}" for i in range(80 if name == "true_size" else 5)}
    config = Mask2FormerConfig(backbone_config=SwinConfig(**swin), id2label=labels,
                               label2id={label: i for i, label in labels.items()}, **rest)
    model = Mask2FormerForUniversalSegmentation(config).eval()
    # The class begins with zeros and ones where training would move: no test could see an error there.
    for key, parameter in model.named_parameters():
        if parameter.dim() == 1 or key.endswith(("relative_position_bias_table", "sampling_offsets.weight",
                                                 "attention_weights.weight")):
            parameter.add_((0.02 if "sampling_offsets.weight" in key else 0.2) * torch.randn_like(parameter))
    model.save_pretrained(folder)
    pixels = torch.randn(batch, 3, height, width)
    found = compute(model, pixels)
    rounded = compute(model.bfloat16(), pixels.bfloat16())
    found.update({f"{key}_bf16": value.float() for key, value in rounded.items()})
    save_file({"pixels": pixels, **{key: value.contiguous() for key, value in found.items()}},
              folder / "case.safetensors")


def compute(model, pixels):
    level = model.model.pixel_level_module
    maps = level.encoder(pixels).feature_maps
    decoded = level.decoder(maps)
    out = model(pixel_values=pixels)
    found = {f"map_{i}": value for i, value in enumerate(maps)}
    found |= {f"level_{i}": value for i, value in enumerate(decoded.multi_scale_features)}
    return found | {"mask_features": decoded.mask_features, "class_logits": out.class_queries_logits,
                    "mask_logits": out.masks_queries_logits}


if __name__ == "__main__":
    for case in sys.argv[2:]:
        folder = pathlib.Path(sys.argv[1]) / case
        folder.mkdir()
        make(case, folder)
