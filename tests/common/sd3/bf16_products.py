"""Lets torch compute bfloat16 products in f32, rounded once, where the processor has no instructions for them, as the
service does (common/nn/products.h): there torch multiplies one element at a time, up to a hundred times slower, or
imitates the instructions.
Import it before the models are made."""

import functools
import os

import torch
import torch.nn.functional as F


def _widened(operation):
    @functools.wraps(operation)
    def compute(x, *args, **kwargs):
        if x.dtype != torch.bfloat16:
            return operation(x, *args, **kwargs)
        wide = [a.float() if torch.is_tensor(a) and a.dtype == torch.bfloat16 else a for a in (x, *args)]
        named = {k: a.float() if torch.is_tensor(a) and a.dtype == torch.bfloat16 else a for k, a in kwargs.items()}
        return operation(*wide, **named).to(torch.bfloat16)

    return compute


def _has_instructions():
    return os.environ.get("FLOWAWR_CPU") in (None, "", "avx512_bf16") and torch.cpu._is_avx512_bf16_supported()


if not _has_instructions():
    for name in ("linear", "conv2d", "scaled_dot_product_attention"):
        setattr(F, name, _widened(getattr(F, name)))
