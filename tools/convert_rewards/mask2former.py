"""mmdet's Mask2Former with a Swin backbone, as GenEval uses it, into transformers' layout."""

import json
import re

import torch

from pickles import ConversionError, load_tensors, write_folder

# By label, as mmdet and transformers name COCO's things.
COCO = ("person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
        "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,"
        "suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
        "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
        "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
        "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,"
        "toothbrush").split(",")
LEVELS, POINTS = 3, 4

# mmdet's names, as patterns, and transformers'. A list: the tensor is cut into as many equal parts, one a name.
_SWIN, _PIXEL = "model.pixel_level_module.encoder.", "model.pixel_level_module.decoder."
_MASK = "model.transformer_module."
_BLOCK = _SWIN + r"encoder.layers.\1.blocks.\2."
_LAYER = _MASK + r"decoder.layers.\1."
NAMES = [
    (r"backbone\.patch_embed\.projection\.", _SWIN + "embeddings.patch_embeddings.projection."),
    (r"backbone\.patch_embed\.norm\.", _SWIN + "embeddings.norm."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.norm1\.", _BLOCK + "layernorm_before."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.norm2\.", _BLOCK + "layernorm_after."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.relative_position_bias_table",
     _BLOCK + "attention.self.relative_position_bias_table"),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.qkv\.",
     [_BLOCK + f"attention.self.{part}." for part in ("query", "key", "value")]),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.proj\.", _BLOCK + "attention.output.dense."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.", _BLOCK + "intermediate.dense."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.1\.", _BLOCK + "output.dense."),
    (r"backbone\.stages\.(\d+)\.downsample\.", _SWIN + r"encoder.layers.\1.downsample."),
    (r"backbone\.norm(\d)\.", lambda match: f"{_SWIN}hidden_states_norms.stage{int(match[1]) + 1}."),
    (r"panoptic_head\.pixel_decoder\.input_convs\.(\d)\.conv\.", _PIXEL + r"input_projections.\1.0."),
    (r"panoptic_head\.pixel_decoder\.input_convs\.(\d)\.gn\.", _PIXEL + r"input_projections.\1.1."),
    (r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.attentions\.0\.",
     _PIXEL + r"encoder.layers.\1.self_attn."),
    (r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.norms\.0\.",
     _PIXEL + r"encoder.layers.\1.self_attn_layer_norm."),
    (r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.norms\.1\.",
     _PIXEL + r"encoder.layers.\1.final_layer_norm."),
    (r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.ffns\.0\.layers\.0\.0\.",
     _PIXEL + r"encoder.layers.\1.fc1."),
    (r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.ffns\.0\.layers\.1\.", _PIXEL + r"encoder.layers.\1.fc2."),
    (r"panoptic_head\.pixel_decoder\.level_encoding\.weight", _PIXEL + "level_embed"),
    (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.conv\.", _PIXEL + "adapter_1.0."),
    (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.gn\.", _PIXEL + "adapter_1.1."),
    (r"panoptic_head\.pixel_decoder\.output_convs\.0\.conv\.", _PIXEL + "layer_1.0."),
    (r"panoptic_head\.pixel_decoder\.output_convs\.0\.gn\.", _PIXEL + "layer_1.1."),
    (r"panoptic_head\.pixel_decoder\.mask_feature\.", _PIXEL + "mask_projection."),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.attentions\.0\.attn\.", _LAYER + "cross_attn."),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.attentions\.1\.attn\.in_proj_(weight|bias)",
     [_LAYER + rf"self_attn.{part}_proj.\2" for part in "qkv"]),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.attentions\.1\.attn\.out_proj\.",
     _LAYER + "self_attn.out_proj."),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.norms\.0\.", _LAYER + "cross_attn_layer_norm."),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.norms\.1\.", _LAYER + "self_attn_layer_norm."),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.norms\.2\.", _LAYER + "final_layer_norm."),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.ffns\.0\.layers\.0\.0\.", _LAYER + "fc1."),
    (r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.ffns\.0\.layers\.1\.", _LAYER + "fc2."),
    (r"panoptic_head\.transformer_decoder\.post_norm\.", _MASK + "decoder.layernorm."),
    (r"panoptic_head\.query_embed\.", _MASK + "queries_embedder."),
    (r"panoptic_head\.query_feat\.", _MASK + "queries_features."),
    (r"panoptic_head\.level_embed\.", _MASK + "level_embed."),
    (r"panoptic_head\.mask_embed\.([024])\.",
     lambda match: f"{_MASK}decoder.mask_predictor.mask_embedder.{int(match[1]) // 2}.0."),
    (r"panoptic_head\.cls_embed\.", "class_predictor."),
]
IGNORED = re.compile(r".*\.relative_position_index")  # follows from the size of the window


def add_options(options):
    options.add_argument("--labels", help="a file with a class a line, by label; default: COCO's 80 things")


def merged(tensor):
    """Of 2 x 2 neighbours, mmdet's order is channel, row, column (that of torch's unfold); transformers' column, row,
    channel."""
    return tensor.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)


def to_transformers(path, tensors):
    converted, unknown = {}, []
    for name, tensor in tensors.items():
        if IGNORED.fullmatch(name):
            continue
        pattern, new = next(((p, n) for p, n in NAMES if re.match(p, name)), (None, None))
        if new is None:
            unknown.append(f'tensor "{name}" {list(tensor.shape)} is unexpected')
            continue
        if ".downsample." in name:
            tensor = merged(tensor)
        names = new if isinstance(new, list) else [new]
        for new_name, part in zip(names, tensor.chunk(len(names))):
            converted[re.sub(pattern, new_name, name, count=1)] = part
    if unknown:
        raise ConversionError(f"{path}:\n  " + "\n  ".join(unknown[:20]))
    return converted


def config_of(path, tensors, labels):
    """Every size follows from the tensors' shapes."""
    def shape(name):
        if name not in tensors:
            raise ConversionError(f'{path} is no Mask2Former of mmdet with a Swin backbone: there is nothing for '
                                  f'"{name}"')
        return tensors[name].shape

    def count(prefix):
        found = [int(match[1]) for name in tensors if (match := re.match(re.escape(prefix) + r"(\d+)\.", name))]
        return max(found, default=-1) + 1

    stages = range(4)
    tables = [shape(f"{_SWIN}encoder.layers.{s}.blocks.0.attention.self.relative_position_bias_table") for s in stages]
    embed = shape(_SWIN + "embeddings.norm.weight")[0]
    classes = shape("class_predictor.weight")[0] - 1
    if len(labels) != classes:
        raise ConversionError(f"{path} knows {classes} classes; {len(labels)} labels were given (see --labels)")
    offsets = shape(_PIXEL + "encoder.layers.0.self_attn.sampling_offsets.weight")
    backbone = {
        "model_type": "swin", "embed_dim": embed, "num_heads": [table[1] for table in tables],
        "depths": [count(f"{_SWIN}encoder.layers.{s}.blocks.") for s in stages],
        "window_size": (int(tables[0][0] ** 0.5 + 0.5) + 1) // 2,
        "mlp_ratio": shape(_SWIN + "encoder.layers.0.blocks.0.intermediate.dense.weight")[0] / embed,
        "qkv_bias": _SWIN + "encoder.layers.0.blocks.0.attention.self.query.bias" in tensors,
        "out_features": [f"stage{s + 1}" for s in stages],
    }
    return {
        "architectures": ["Mask2FormerForUniversalSegmentation"], "model_type": "mask2former",
        "backbone_config": backbone,
        "feature_size": offsets[1], "mask_feature_size": shape(_PIXEL + "mask_projection.weight")[0],
        "hidden_dim": shape(_MASK + "queries_features.weight")[1],
        "num_queries": shape(_MASK + "queries_features.weight")[0],
        "num_attention_heads": offsets[0] // (LEVELS * POINTS * 2),
        "encoder_layers": count(_PIXEL + "encoder.layers."), "decoder_layers": count(_MASK + "decoder.layers.") + 1,
        "encoder_feedforward_dim": shape(_PIXEL + "encoder.layers.0.fc1.weight")[0],
        "dim_feedforward": shape(_MASK + "decoder.layers.0.fc1.weight")[0],
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def convert(args):
    tensors = to_transformers(args.checkpoint, load_tensors(args.checkpoint))
    labels = COCO
    if args.labels:
        with open(args.labels, encoding="utf-8") as file:
            labels = file.read().splitlines()
    config = config_of(args.checkpoint, tensors, labels)
    # The loss's; transformers asks for it.
    tensors["criterion.empty_weight"] = torch.tensor([1.0] * len(labels) + [0.1])
    preprocessor = {"image_processor_type": "Mask2FormerImageProcessor", "do_resize": True, "resample": 2,
                    "size_divisor": 32,
                    "size": {"shortest_edge": 800, "longest_edge": 1333}, "do_rescale": True, "do_normalize": True,
                    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    files = {"config.json": json.dumps(config, indent=2).encode(),
             "preprocessor_config.json": json.dumps(preprocessor, indent=2).encode()}
    write_folder(args.out, args.checkpoint, "model.safetensors", tensors, files)
