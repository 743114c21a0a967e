"""Lets torch compute bfloat16 products in f32, rounded once, where the processor has no instructions for them: there it
multiplies one element at a time, up to a hundred times slower. Import it before the models are made."""

import functools

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


if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
    for name in ("linear", "conv2d", "scaled_dot_product_attention"):
        setattr(F, name, _widened(getattr(F, name)))
