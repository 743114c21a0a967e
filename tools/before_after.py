#!/usr/bin/env python3
"""Makes the README's pictures from finished runs: the same noise drawn before and after, and what the scorer found.

    .venv/bin/python tools/before_after.py runs/demo docs/images/before-after.png
    .venv/bin/python tools/before_after.py runs/demo-geneval docs/images/shapes-before-after.png
"""

import json
import re
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS, GAP, LABEL, LINE = 8, 10, 62, 16
SIDES = {"ocr": 1.5, "geneval": 2.5}  # pixels of the picture for one of the model's
RIGHT, WRONG, INK = "#137a41", "#b3261e", "#000000"


def captions(sample):
    """(what was asked for, what was found, whether it is right), texts as lists of lines."""
    details = sample["details"]
    if "text" in details:
        word = re.search('"(.*)"', sample["prompt"])[1]
        return [f'"{word}"'], [details["text"]], details["text"] == word
    wanted = sample["prompt"].removeprefix("a photo of ")
    wanted = broken(wanted, r" (?=left of|right of|above|below|and )")
    return wanted, broken(details["found"], ", "), details["exact"] == "true"


def broken(text, where):
    return re.split(where, text, maxsplit=1)


def main():
    run, out = Path(sys.argv[1]), sys.argv[2]
    font = ImageFont.truetype("DejaVuSans.ttf", 13)
    rows = [("before", run / "images/base"), ("after", run / "images/final")]
    samples = [[json.loads((folder / f"{column:03}.json").read_text()) for column in range(COLUMNS)]
               for _, folder in rows]
    scale = SIDES["ocr" if "text" in samples[0][0]["details"] else "geneval"]
    first = Image.open(rows[0][1] / "000.png")
    width, height = round(first.width * scale), round(first.height * scale)
    texts = [[captions(sample) for sample in row] for row in samples]
    lines = max(max(len(wanted), len(found)) for row in texts for wanted, found, _ in row)
    band = LINE * lines + 8
    step = GAP + max(width, *(int(font.getlength(line)) for row in texts for text in row for part in text[:2]
                              for line in part))
    picture = Image.new("RGB", (LABEL + COLUMNS * step, band + len(rows) * (height + band)), "white")
    draw = ImageDraw.Draw(picture)

    def write(text, middle, top, ink):
        draw.multiline_text((middle, top + band / 2), "\n".join(text), ink, font, anchor="mm", align="center",
                            spacing=2)

    for row, (name, folder) in enumerate(rows):
        top = band + row * (height + band)
        draw.text((6, top + height / 2), name, INK, font, anchor="lm")
        for column, (wanted, found, right) in enumerate(texts[row]):
            middle = LABEL + column * step + step / 2
            drawn = Image.open(folder / f"{column:03}.png").resize((width, height), Image.Resampling.BICUBIC)
            picture.paste(drawn, (round(middle - width / 2), top))
            draw.rectangle([round(middle - width / 2) - 1, top - 1, round(middle + width / 2), top + height],
                           outline="#cccccc")
            if row == 0:
                write(wanted, middle, 0, INK)
            write(found, middle, top + height, RIGHT if right else WRONG)
    picture.save(out)


if __name__ == "__main__":
    main()
