"""Reads checkpoints without running what is in them, and writes folders whole or not at all."""

import hashlib
import os
import pathlib
import pickle
import shutil

import torch
from safetensors.torch import save_file


class ConversionError(Exception):
    pass


def load_tensors(path):
    """The tensors of a checkpoint by name: those of its `state_dict` if it has one, without "module." before them."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise ConversionError(f"{path} is not there") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        try:  # the format before torch 1.6 cannot be mapped
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            raise ConversionError(f"{path} is no checkpoint of tensors alone, or is cut short: {error}") from error
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("state_dict"), dict):
        checkpoint = checkpoint["state_dict"]
    if not isinstance(checkpoint, dict) or not checkpoint:
        raise ConversionError(f"{path} holds a {type(checkpoint).__name__}, not tensors by name")
    tensors = {}
    for name, value in checkpoint.items():
        if not isinstance(name, str) or not torch.is_tensor(value):
            raise ConversionError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor")
        tensors[name.removeprefix("module.")] = value
    return tensors


def check_shapes(path, tensors, expected):
    """Refuses tensors that are missing, not expected, or of another shape, with all of their names."""
    complaints = []
    for name, shape in expected.items():
        if name not in tensors:
            complaints.append(f'tensor "{name}" is missing (expected {list(shape)})')
        elif tuple(tensors[name].shape) != tuple(shape):
            complaints.append(f'tensor "{name}" is {list(tensors[name].shape)}, expected {list(shape)}')
    complaints += [f'tensor "{name}" {list(tensors[name].shape)} is unexpected'
                   for name in tensors if name not in expected]
    if complaints:
        raise ConversionError(f"{path}:\n  " + "\n  ".join(complaints[:20]) +
                              (f"\n  and {len(complaints) - 20} more" if len(complaints) > 20 else ""))


def write_folder(out, checkpoint, weights_name, tensors, files):
    """`files`: other files by name, as bytes. A folder that is there keeps what else is in it."""
    out = pathlib.Path(out)
    taken = [name for name in (weights_name, *files) if (out / name).exists()]
    if taken:
        raise ConversionError(f"{out} holds {', '.join(taken)} already")
    out.mkdir(parents=True, exist_ok=True)
    part = out / f".converting.{os.getpid()}"
    part.mkdir()
    try:
        with open(checkpoint, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, part / weights_name,
                  metadata={"format": "pt", "converted_from_sha256": digest})
        for name, content in files.items():
            (part / name).write_bytes(content)
        for name in (*files, weights_name):  # the weights last: a folder with them is whole
            os.replace(part / name, out / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
