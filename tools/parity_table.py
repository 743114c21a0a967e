"""Turns what the parity tests measured into the table of docs/parity.md.

usage: parity_table.py MEASUREMENTS [--write docs/parity.md]

MEASUREMENTS is the folder that FLOWAWR_PARITY_DIR named while the tests ran (tests/testing/parity.h). A row shows the
worst of its cases. Without --write the table is printed; with it, it replaces what stands between the markers in that
file.
Run it with .venv's Python: the versions that it names are of the libraries there.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib

BEGIN, END = "<!-- parity table: begin (tools/parity_table.py) -->", "<!-- parity table: end -->"
LIBRARIES = "diffusers transformers peft tokenizers torch".split()
ORDER = ["Transformer", "Gradient", "VAE", "CLIP", "T5", "encode_prompt", "Ids", "Sigmas", "Euler", "DPM", "Flow-GRPO",
         "CPS", "Whole"]


def read(folder):
    lines, newest = [], 0.0
    for path in sorted(folder.glob("*.jsonl")):
        newest = max(newest, path.stat().st_mtime)
        lines += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not lines:
        raise SystemExit(f"{folder}: no measurements; run the tests with FLOWAWR_PARITY_DIR={folder}")
    return lines, newest


def excess(line):
    """How close a measurement comes to its bound; above 0 it is beyond it."""
    return line["measured"] - line["bound"] if line["at_most"] else line["bound"] - line["measured"]


def number(value):
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if 0.99 < value < 1:
        return f"1 - {1 - value:.1g}" if value > 0.99995 else f"{value:.4f}"
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.3g}"


def measured(line):
    if "ours" in line:
        return f"{line['ours']:.2g} / {line['theirs']:.2g} = {line['measured']:.2f}"
    return number(line["measured"])


def rank(key):
    part = key[0]
    return next((i for i, start in enumerate(ORDER) if part.startswith(start)), len(ORDER))


def table(lines, newest):
    rows = {}
    for line in lines:
        key = (line["part"], line["sizes"], line["against"], line["measure"], line["when"])
        rows.setdefault(key, []).append(line)
    broken = [line for line in lines if excess(line) > 0]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    day = datetime.datetime.fromtimestamp(newest, datetime.timezone.utc).strftime("%Y-%m-%d")
    text = [f"Measured {day} on {cpu()}, against {versions}. {len(lines)} comparisons, {len(broken)} beyond their "
            "bound.", "",
            "| What | Sizes | Against | Measure | Cases | Worst | Bound | Runs |", "|---|---|---|---|---|---|---|---|"]
    for key in sorted(rows, key=lambda k: (rank(k), k[4] == "slow")):
        part, sizes, against, measure, when = key
        worst = max(rows[key], key=excess)
        sign = "≤" if worst["at_most"] else "≥"
        text.append(f"| {part} | {sizes} | {against} | {measure} | {len(rows[key])} | {measured(worst)} | "
                    f"{sign} {number(worst['bound'])} | {when} |")
    return "\n".join(text)


def cpu():
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "a CPU")
    return f"{name}, {os.cpu_count()} cores{', AVX-512 BF16' if 'avx512_bf16' in info else ''}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", type=pathlib.Path)
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()
    made = table(*read(options.measurements))
    if options.write is None:
        print(made)
        return
    text = options.write.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{options.write}: expected the lines\n{BEGIN}\n{END}\nonce each")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    options.write.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
