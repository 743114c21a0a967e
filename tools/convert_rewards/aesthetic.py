"""LAION's aesthetic MLP: linear layers on CLIP ViT-L/14's embedding of a picture."""

from pickles import ConversionError, check_shapes, load_tensors, write_folder

LAYERS = (0, 2, 4, 6, 7)  # the numbers between are the dropout of training


def add_options(options):
    del options


def convert(args):
    tensors = load_tensors(args.checkpoint)
    first = tensors.get("layers.0.weight")
    if first is None or first.dim() != 2:
        raise ConversionError(f'{args.checkpoint} is no aesthetic MLP: it has no tensor "layers.0.weight"')
    expected, width = {}, first.shape[1]
    for i in LAYERS:
        bias = tensors.get(f"layers.{i}.bias")
        out = 1 if i == LAYERS[-1] or bias is None else bias.numel()
        expected.update({f"layers.{i}.weight": (out, width), f"layers.{i}.bias": (out,)})
        width = out
    check_shapes(args.checkpoint, tensors, expected)
    write_folder(args.out, args.checkpoint, "model.safetensors", tensors, {})
