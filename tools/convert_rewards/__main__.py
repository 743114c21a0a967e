"""Turns reward models that are published as pickles into folders of safetensors, which the reward server reads.

    .venv/bin/python tools/convert_rewards hpsv2 HPS_v2.1_compressed.pt OUT --tokenizer clip-vit-large-patch14
    .venv/bin/python tools/convert_rewards openclip open_clip_pytorch_model.bin OUT --tokenizer clip-vit-large-patch14
    .venv/bin/python tools/convert_rewards aesthetic sac+logos+ava1-l14-linearMSE.pth OUT
    .venv/bin/python tools/convert_rewards mask2former mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.pth OUT

A pickle can run any program when it is loaded; it is read with torch.load(weights_only=True), which builds tensors and
nothing else. Types of the tensors stay as they are, and so do their names, but mask2former's: docs/rewards.md lists
them. Needs torch and safetensors alone. OUT must not hold such a model yet.
"""

import argparse
import sys

import aesthetic
import mask2former
import open_clip
from pickles import ConversionError


def main():
    parser = argparse.ArgumentParser(prog="convert_rewards", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, module in (("hpsv2", open_clip), ("openclip", open_clip), ("aesthetic", aesthetic),
                         ("mask2former", mask2former)):
        options = kinds.add_parser(kind, help=module.__doc__.splitlines()[0])
        options.add_argument("checkpoint", help="the published file")
        options.add_argument("out", help="the folder to make")
        module.add_options(options)
        options.set_defaults(convert=module.convert)
    args = parser.parse_args()
    try:
        args.convert(args)
    except ConversionError as error:
        print(f"convert_rewards: {error}", file=sys.stderr)
        return 65  # a file is damaged, or not what it should be
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
