"""A small random HF CLIP folder. usage: OUT_FOLDER [PROJECTION_DIM]"""

import sys

import torch
from random_clip import hf_model, make_tokenizer

torch.manual_seed(5)
fields = {"projection_dim": int(sys.argv[2])} if len(sys.argv) > 2 else {}
hf_model(make_tokenizer(sys.argv[1]), **fields).save_pretrained(sys.argv[1])
