"""Files that are or look like safetensors, and what the published library makes of each, for safetensors_test.cc.

usage: safetensors_verdicts.py FOLDER

FOLDER/verdicts.json: {file: {"opens": bool, "metadata", "shapes", "dtypes", "values"}}; values only where few and
finite.
"""

import json
import pathlib
import random
import struct
import sys

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FOLDER = pathlib.Path(sys.argv[1])
DTYPES = [
    "BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
    "I16", "U16", "F16",
    "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64", "F31", "C128", "I4", "f32", "",
]
verdicts = {}


def has_key_twice(pairs):
    """The one thing that is refused here although the library takes it: see safetensors_header.h."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise KeyError
    return dict(pairs)


def judge(name):
    path = FOLDER / name
    try:
        with safe_open(path, "pt") as file:
            keys = file.keys()
            verdict = {"opens": True, "metadata": file.metadata() or {}, "shapes": {}, "dtypes": {}, "values": {}}
            for key in keys:
                part = file.get_slice(key)
                verdict["shapes"][key] = part.get_shape()
                verdict["dtypes"][key] = part.get_dtype()
                try:
                    tensor = file.get_tensor(key)
                    if tensor.is_complex():
                        tensor = torch.view_as_real(tensor)
                    if tensor.dim() <= 64 and 0 < tensor.numel() < 100 and "F4" not in verdict["dtypes"][key]:
                        values = tensor.double().flatten()
                        is_bool = tensor.dtype == torch.bool
                        if values.isfinite().all() and (not is_bool or tensor.view(torch.uint8).max() < 2):
                            verdict["values"][key] = values.tolist()
                except Exception:  # a type or shape that torch does not have
                    pass
    except SafetensorError as error:
        verdict = {"opens": False, "why": str(error)[:200]}
    verdicts[name] = verdict


def write(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    name = f"{len(verdicts):05}.safetensors"
    (FOLDER / name).write_bytes(struct.pack("<Q", len(text)) + text + data)
    judge(name)


def entry(dtype, shape, begin, end, **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def every_dtype():
    for dtype in DTYPES:
        for shape in ([], [1], [2], [3], [4], [8], [2, 4], [0], [0, 4], [4, 0]):
            for size in (0, 1, 2, 3, 4, 6, 8, 16, 32, 64):
                write({"a": entry(dtype, shape, 0, size)}, bytes(range(1, size + 1)))


def by_its_own_writer():
    torch.manual_seed(1)
    tensors = {
        str(dtype): torch.randint(0, 100, (3, 4)).to(torch.float32).to(dtype)
        for dtype in (
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
            torch.float8_e8m0fnu, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.int64, torch.int32, torch.int16,
            torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64,
        )
    }
    tensors["four bits"] = torch.arange(8, dtype=torch.uint8).reshape(2, 4).view(torch.float4_e2m1fn_x2)
    for metadata in (None, {}, {"format": "pt"}):
        name = f"{len(verdicts):05}.safetensors"
        save_file(tensors, FOLDER / name, metadata)
        judge(name)


def by_hand():
    one = {"a": entry("U8", [1], 0, 1)}
    for metadata in (None, {}, {"a": "b"}, {"a": ""}, {"": "x"}, {"a": 1}, {"a": None}, [], "", 0, False, {"a": {}}):
        write({"__metadata__": metadata}, b"")
        write({"__metadata__": metadata, **one}, b"\1")
    for header in (b"", b"{}", b" {}", b"\n\t\r {}", b"{} ", b"{}\n", b"\x0b{}", b"\xef\xbb\xbf{}", b"{}\0", b"\0{}",
                   b"{} x", b"[]", b"null", b'"x"', b"{", b"}", b"{}{}", b"{,}", b'{"a"}', b"{'a':1}", b"//x\n{}",
                   b'{"__metadata__":{"a":"\xff"}}', b'{"__metadata__":{"a":"\\ud800"}}',
                   b'{"__metadata__":{"a":"\\ud83d\\ude00"}}', b'{"__metadata__":{"a":"\\u0000"}}'):
        write(header, b"")
    for value in (None, 1, [], {}, "x", True):
        write({"a": value}, b"")
    for more in ({"x": 1}, {"x": None}, {"x": {"y": [1, {"z": 2.5}]}}, {"strides": [1]}):
        write({"a": entry("U8", [1], 0, 1, **more)}, b"\1")
    for missing in ("dtype", "shape", "data_offsets"):
        whole = entry("U8", [1], 0, 1)
        del whole[missing]
        write({"a": whole}, b"\1")
    for shape in (None, 1, "1", [1.0], [-1], ["1"], [None], [True], [[1]], [1] * 9, [1] * 64, [1] * 65, [1] * 300,
                  [0, 2**62], [0, 2**63], [0, 2**64 - 1], [0, 2**64], [2**63, 2**63, 0], [0, 2**63, 2**63],
                  [2**32, 2**32], [2**61], [2**64 - 1], [0] * 70):
        write({"a": entry("U8", shape, 0, 1)}, b"\1")
        write({"a": entry("F64", shape, 0, 0)}, b"")
    for offsets in (None, [], [0], [0, 1, 2], [1, 0], [0, 2], [1, 2], [-1, 0], [0.0, 1.0], ["0", "1"], {"0": 1},
                    [2**63, 2**63 + 1]):
        write({"a": {"dtype": "U8", "shape": [1], "data_offsets": offsets}}, b"\1\2")
    for text in (b'{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}',
                 b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}',
                 b'{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}',
                 b'{"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'):
        write(text, b"\1")
    for name in ("", "n" * 2000, "\u00e9", "a\nb", "a\0b", "__metadata_", "weight "):
        write({name: entry("U8", [1], 0, 1)}, b"\1")
    for spans in (((0, 1), (1, 2)), ((1, 2), (0, 1)), ((0, 2), (1, 3)), ((0, 2), (0, 2)), ((0, 1), (2, 3)),
                  ((0, 0), (0, 2)), ((0, 2), (1, 1)), ((2, 2), (0, 2)), ((0, 0), (0, 0))):
        for size in (0, 2, 3):
            write({f"t{i}": entry("U8", [end - begin], begin, end) for i, (begin, end) in enumerate(spans)},
                  bytes(size))


def by_chance(count):
    """Valid files with a few bytes of the header changed."""
    rng = random.Random(7)
    alphabet = b'{}[]":,0123456789.-eE+ \\ntrufals_FIBUC"\x00\xff'
    while count > 0:
        header, at = {}, 0
        if rng.random() < 0.3:
            header["__metadata__"] = rng.choice([None, {}, {"format": "pt"}])
        for i in range(rng.randrange(4)):
            dtype, bits = rng.choice([("U8", 8), ("F4", 4), ("F6_E2M3", 6), ("F8_E8M0", 8), ("C64", 64), ("F32", 32),
                                      ("BF16", 16), ("I64", 64)])
            shape = [rng.randrange(5) for _ in range(rng.randrange(3))]
            size = bits
            for extent in shape:
                size *= extent
            header[f"t{i}"] = entry(dtype, shape, at, at + size // 8)
            at += size // 8
        text = bytearray(json.dumps(header, separators=(",", ":")).encode())
        for _ in range(rng.randrange(3)):
            text[rng.randrange(len(text))] = rng.choice(alphabet)
        try:
            json.loads(text.decode(), object_pairs_hook=has_key_twice)
        except KeyError:
            continue
        except ValueError:
            if count % 4:  # most of it is no JSON, which is the dull case
                continue
        write(bytes(text), bytes(max(0, at + rng.choice([0, 0, 0, 0, -1, 1]))))
        count -= 1


by_hand()
by_its_own_writer()
by_chance(1000)
every_dtype()
(FOLDER / "verdicts.json").write_text(json.dumps(verdicts))
