"""An OpenCLIP checkpoint (HPSv2.1 is one) with the configuration that its tensors tell and the tokenizer it needs.

Sizes follow from the tensors' shapes. Heads do not: published towers have heads of 64, and ViT-H's image tower of
80."""

import json
import math
import pathlib

from pickles import ConversionError, check_shapes, load_tensors, write_folder

TOKENIZER_FILES = ("tokenizer_config.json", "vocab.json", "merges.txt", "tokenizer.json", "special_tokens_map.json")


def add_options(options):
    options.add_argument("--tokenizer", required=True,
                         help="a folder with CLIP's tokenizer, e.g. of: hf download openai/clip-vit-large-patch14 "
                              "--include 'tokenizer*' vocab.json merges.txt")
    options.add_argument("--head-width", type=int, help="of the image tower; default: 80 for 1280 channels, else 64")
    options.add_argument("--text-heads", type=int, help="default: one for 64 channels")
    options.add_argument("--quick-gelu", action="store_true", help="for OpenAI's own weights")


def shape_of(path, tensors, name, dimensions):
    if name not in tensors or tensors[name].dim() != dimensions:
        raise ConversionError(f'{path} is no OpenCLIP model: it has no tensor "{name}" of {dimensions} dimensions')
    return tuple(tensors[name].shape)


def count_layers(tensors, prefix):
    return len({name[len(prefix):].split(".")[0] for name in tensors if name.startswith(prefix)})


def config_of(path, tensors, args):
    width, _, patch, _ = shape_of(path, tensors, "visual.conv1.weight", 4)
    tokens, _ = shape_of(path, tensors, "visual.positional_embedding", 2)
    _, embed_dim = shape_of(path, tensors, "visual.proj", 2)
    vocab, text_width = shape_of(path, tensors, "token_embedding.weight", 2)
    length, _ = shape_of(path, tensors, "positional_embedding", 2)
    inner, _ = shape_of(path, tensors, "visual.transformer.resblocks.0.mlp.c_fc.weight", 2)
    text_inner, _ = shape_of(path, tensors, "transformer.resblocks.0.mlp.c_fc.weight", 2)
    vision = {"image_size": math.isqrt(tokens - 1) * patch,
              "layers": count_layers(tensors, "visual.transformer.resblocks."),
              "width": width, "head_width": args.head_width or (80 if width == 1280 else 64), "patch_size": patch}
    text = {"context_length": length, "vocab_size": vocab, "width": text_width,
            "heads": args.text_heads or max(1, text_width // 64),
            "layers": count_layers(tensors, "transformer.resblocks.")}
    if inner != 4 * width:
        vision["mlp_ratio"] = inner / width
    if text_inner != 4 * text_width:
        text["mlp_ratio"] = text_inner / text_width
    config = {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text}
    return {**config, "quick_gelu": True} if args.quick_gelu else config


def transformer_shapes(prefix, width, layers, inner):
    block = {"ln_1.weight": (width,), "ln_1.bias": (width,), "ln_2.weight": (width,), "ln_2.bias": (width,),
             "attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,),
             "attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,),
             "mlp.c_fc.weight": (inner, width), "mlp.c_fc.bias": (inner,),
             "mlp.c_proj.weight": (width, inner), "mlp.c_proj.bias": (width,)}
    return {f"{prefix}{i}.{name}": shape for i in range(layers) for name, shape in block.items()}


def shapes_of(config):
    vision, text, embed = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    width, patch, text_width = vision["width"], vision["patch_size"], text["width"]
    norms = {"visual.ln_pre": width, "visual.ln_post": width, "ln_final": text_width}
    return {
        "visual.class_embedding": (width,),
        "visual.conv1.weight": (width, 3, patch, patch),
        "visual.positional_embedding": (1 + (vision["image_size"] // patch) ** 2, width),
        "visual.proj": (width, embed),
        "token_embedding.weight": (text["vocab_size"], text_width),
        "positional_embedding": (text["context_length"], text_width),
        "text_projection": (text_width, embed),
        "logit_scale": (),
        **{f"{name}.{part}": (size,) for name, size in norms.items() for part in ("weight", "bias")},
        **transformer_shapes("visual.transformer.resblocks.", width, vision["layers"],
                             int(width * vision.get("mlp_ratio", 4))),
        **transformer_shapes("transformer.resblocks.", text_width, text["layers"],
                             int(text_width * text.get("mlp_ratio", 4))),
    }


def convert(args):
    tensors = load_tensors(args.checkpoint)
    tensors.pop("attn_mask", None)  # a constant that old files hold
    config = config_of(args.checkpoint, tensors, args)
    check_shapes(args.checkpoint, tensors, shapes_of(config))
    folder = pathlib.Path(args.tokenizer)
    files = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}
    has_words = "tokenizer.json" in files or {"vocab.json", "merges.txt"} <= set(files)
    if "tokenizer_config.json" not in files or not has_words:
        raise ConversionError(f"{folder} has no CLIP tokenizer: tokenizer_config.json with vocab.json and merges.txt, "
                              "or with tokenizer.json")
    files["open_clip_config.json"] = json.dumps({"model_cfg": config}, indent=2).encode()
    write_folder(args.out, args.checkpoint, "open_clip_model.safetensors", tensors, files)
