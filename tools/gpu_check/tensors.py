"""Reads the f32 tensors of a safetensors file, and compares two such files, with nothing but Python."""

import array
import json
import math
import sys


def read(path):
    """name -> array of floats, of the tensors that are F32."""
    assert sys.byteorder == "little"
    data = memoryview(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(bytes(data[8 : 8 + length])).items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = array.array("f", data[8 + length + begin : 8 + length + end].tobytes())
    return tensors


def relative_error(actual, expected):
    """||actual - expected|| / ||expected|| over all of both, which must hold the same tensors."""
    if {n: len(t) for n, t in actual.items()} != {n: len(t) for n, t in expected.items()} or not expected:
        return math.inf
    error = math.fsum((a - b) ** 2 for name in expected for a, b in zip(actual[name], expected[name]))
    norm = math.fsum(b * b for tensor in expected.values() for b in tensor)
    return math.sqrt(error / norm) if norm else math.inf
