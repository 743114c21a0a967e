#!/usr/bin/env python3
"""Makes the README's picture from a finished run: the same noise drawn before and after, and what the scorer read.

    .venv/bin/python tools/before_after.py runs/demo docs/images/before-after.png
"""

import json
import re
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS, SCALE, GAP, LABEL, LINE = 8, 1.5, 10, 62, 24
RIGHT, WRONG, INK = "#137a41", "#b3261e", "#000000"


def main():
    run, out = Path(sys.argv[1]), sys.argv[2]
    font = ImageFont.truetype("DejaVuSans.ttf", 13)
    rows = [("before", run / "images/base"), ("after", run / "images/final")]
    first = Image.open(rows[0][1] / "000.png")
    width, height = round(first.width * SCALE), round(first.height * SCALE)
    picture = Image.new("RGB", (LABEL + COLUMNS * (width + GAP), LINE + len(rows) * (height + LINE)), "white")
    draw = ImageDraw.Draw(picture)
    for row, (name, folder) in enumerate(rows):
        top = LINE + row * (height + LINE)
        draw.text((6, top + height / 2), name, INK, font, anchor="lm")
        for column in range(COLUMNS):
            sample = json.loads((folder / f"{column:03}.json").read_text())
            word, read = re.search('"(.*)"', sample["prompt"])[1], sample["details"]["text"]
            left = LABEL + column * (width + GAP)
            drawn = Image.open(folder / f"{column:03}.png").resize((width, height), Image.Resampling.BICUBIC)
            picture.paste(drawn, (left, top))
            middle = left + width / 2
            if row == 0:
                draw.text((middle, LINE / 2), f'"{word}"', INK, font, anchor="mm")
            draw.text((middle, top + height + LINE / 2), read, RIGHT if read == word else WRONG, font, anchor="mm")
    picture.save(out)


if __name__ == "__main__":
    main()
