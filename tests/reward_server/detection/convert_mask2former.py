"""A random Mask2Former written as mmdet would, and back by tools/convert_rewards, for mask2former_test.cc.

usage: convert_mask2former.py FOLDER     makes FOLDER/converted; fails if it is not the model that was written
"""

import pathlib
import subprocess
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

ROOT = pathlib.Path(__file__).parents[3]
transformers.utils.logging.disable_progress_bar()
LABELS = ["circle", "square", "triangle"]


def as_mmdet(weights, depths, encoder_layers, decoder_layers):
    """mmdet's names, by hand."""
    swin, pixel = "model.pixel_level_module.encoder.", "model.pixel_level_module.decoder."
    mask = "model.transformer_module."
    names, fused, unfolded = {}, {}, {}
    names |= {"backbone.patch_embed.projection": swin + "embeddings.patch_embeddings.projection",
              "backbone.patch_embed.norm": swin + "embeddings.norm"}
    for s, depth in enumerate(depths):
        names[f"backbone.norm{s}"] = f"{swin}hidden_states_norms.stage{s + 1}"
        for b in range(depth):
            ours, theirs = f"{swin}encoder.layers.{s}.blocks.{b}.", f"backbone.stages.{s}.blocks.{b}."
            names |= {theirs + "norm1": ours + "layernorm_before", theirs + "norm2": ours + "layernorm_after",
                      theirs + "attn.w_msa.proj": ours + "attention.output.dense",
                      theirs + "ffn.layers.0.0": ours + "intermediate.dense",
                      theirs + "ffn.layers.1": ours + "output.dense"}
            table = "relative_position_bias_table"
            names[theirs + "attn.w_msa." + table] = ours + "attention.self." + table
            for part in ("weight", "bias"):
                fused[f"{theirs}attn.w_msa.qkv.{part}"] = [f"{ours}attention.self.{n}.{part}"
                                                           for n in ("query", "key", "value")]
        if s + 1 < len(depths):
            for part in ("norm.weight", "norm.bias", "reduction.weight"):
                unfolded[f"backbone.stages.{s}.downsample.{part}"] = f"{swin}encoder.layers.{s}.downsample.{part}"
    head = "panoptic_head.pixel_decoder."
    for level in range(3):
        names |= {f"{head}input_convs.{level}.conv": f"{pixel}input_projections.{level}.0",
                  f"{head}input_convs.{level}.gn": f"{pixel}input_projections.{level}.1"}
    for i in range(encoder_layers):
        ours, theirs = f"{pixel}encoder.layers.{i}.", f"{head}encoder.layers.{i}."
        for part in ("sampling_offsets", "attention_weights", "value_proj", "output_proj"):
            names[f"{theirs}attentions.0.{part}"] = f"{ours}self_attn.{part}"
        names |= {theirs + "norms.0": ours + "self_attn_layer_norm", theirs + "norms.1": ours + "final_layer_norm",
                  theirs + "ffns.0.layers.0.0": ours + "fc1", theirs + "ffns.0.layers.1": ours + "fc2"}
    names |= {head + "level_encoding.weight": pixel + "level_embed",
              head + "lateral_convs.0.conv": pixel + "adapter_1.0",
              head + "lateral_convs.0.gn": pixel + "adapter_1.1", head + "output_convs.0.conv": pixel + "layer_1.0",
              head + "output_convs.0.gn": pixel + "layer_1.1", head + "mask_feature": pixel + "mask_projection"}
    head = "panoptic_head."
    for i in range(decoder_layers):
        ours, theirs = f"{mask}decoder.layers.{i}.", f"{head}transformer_decoder.layers.{i}."
        names |= {theirs + "attentions.0.attn.in_proj_weight": ours + "cross_attn.in_proj_weight",
                  theirs + "attentions.0.attn.in_proj_bias": ours + "cross_attn.in_proj_bias",
                  theirs + "attentions.0.attn.out_proj": ours + "cross_attn.out_proj",
                  theirs + "attentions.1.attn.out_proj": ours + "self_attn.out_proj",
                  theirs + "norms.0": ours + "cross_attn_layer_norm", theirs + "norms.1": ours + "self_attn_layer_norm",
                  theirs + "norms.2": ours + "final_layer_norm",
                  theirs + "ffns.0.layers.0.0": ours + "fc1", theirs + "ffns.0.layers.1": ours + "fc2"}
        for part in ("weight", "bias"):
            fused[f"{theirs}attentions.1.attn.in_proj_{part}"] = [f"{ours}self_attn.{n}_proj.{part}" for n in "qkv"]
    names |= {head + "transformer_decoder.post_norm": mask + "decoder.layernorm",
              head + "query_embed": mask + "queries_embedder",
              head + "query_feat": mask + "queries_features", head + "level_embed": mask + "level_embed",
              head + "cls_embed": "class_predictor"}
    for i in range(3):
        names[f"{head}mask_embed.{2 * i}"] = f"{mask}decoder.mask_predictor.mask_embedder.{i}.0"
    state = {theirs: torch.cat([weights[name] for name in ours]) for theirs, ours in fused.items()}
    for theirs, ours in names.items():
        if ours in weights:
            state[theirs] = weights[ours]
        state |= {f"{theirs}.{part}": weights[f"{ours}.{part}"]
                  for part in ("weight", "bias") if f"{ours}.{part}" in weights}
    for theirs, ours in unfolded.items():
        # Where mmdet's unfold puts each value of transformers' order: [column, row, channel], numbered, through unfold.
        channels = weights[ours].shape[-1] // 4
        numbers = torch.arange(4 * channels).view(2, 2, channels).permute(2, 1, 0)[None].float()
        state[theirs] = weights[ours][..., F.unfold(numbers, 2).flatten().long()]
    state["backbone.stages.0.blocks.0.attn.w_msa.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)
    return state


def main(out):
    torch.manual_seed(0)
    swin = SwinConfig(embed_dim=16, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, mlp_ratio=2.5,
                      out_features=["stage1", "stage2", "stage3", "stage4"])
    config = Mask2FormerConfig(backbone_config=swin, feature_size=32, mask_feature_size=24, hidden_dim=32,
                               encoder_layers=2, decoder_layers=4, num_attention_heads=4, num_queries=7,
                               dim_feedforward=40, encoder_feedforward_dim=48, id2label=dict(enumerate(LABELS)),
                               label2id={name: i for i, name in enumerate(LABELS)})
    model = Mask2FormerForUniversalSegmentation(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.2)
    model.save_pretrained(out / "published")
    weights = load_file(out / "published/model.safetensors")
    state = as_mmdet(weights, swin.depths, 2, 3)
    torch.save({"meta": {"CLASSES": tuple(LABELS), "epoch": 50}, "state_dict": state}, out / "mmdet.pth")
    (out / "labels.txt").write_text("\n".join(LABELS) + "\n")
    tool = [sys.executable, ROOT / "tools/convert_rewards", "mask2former", out / "mmdet.pth", out / "converted"]
    # The tool knows COCO's classes; ours are others.
    assert subprocess.run(tool, stderr=subprocess.PIPE).returncode == 65
    subprocess.run([*tool, "--labels", out / "labels.txt"], check=True, stdout=subprocess.DEVNULL)
    converted = load_file(out / "converted/model.safetensors")
    unused = {name for name in weights if ".swin.layernorm." in name}  # of a head that a backbone does not have
    assert set(converted) == set(weights) - unused, set(converted) ^ (set(weights) - unused)
    for name, tensor in converted.items():
        assert torch.equal(tensor, weights[name]), name
    again = Mask2FormerForUniversalSegmentation.from_pretrained(out / "converted").eval()
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(pixels).masks_queries_logits, model(pixels).masks_queries_logits)


if __name__ == "__main__":
    with torch.no_grad():
        main(pathlib.Path(sys.argv[1]))
