"""Reads a file with the published safetensors library, adds a tensor and writes another. usage: IN OUT"""
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

with safe_open(sys.argv[1], "pt") as file:
    tensors = {name: file.get_tensor(name).contiguous() for name in file.keys()}
    metadata = file.metadata()
assert metadata["format"] == "pt", metadata
tensors["added"] = torch.arange(6, dtype=torch.float32).reshape(2, 3)
save_file(tensors, sys.argv[2], metadata)
