"""Draws words as the tiny world does (32 x 64, black on white): draw_words.py FOLDER WORD... writes FOLDER/WORD.png.

A count instead of words draws that many random three-letter words.
"""

import random
import string
import sys

from PIL import Image, ImageDraw, ImageFont

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf"  # Debian: fonts-dejavu-core

folder, words = sys.argv[1], sys.argv[2:]
rng = random.Random(1)
if words[0].isdigit():
    words = ["".join(rng.choices(string.ascii_uppercase, k=3)) for _ in range(int(words[0]))]
for word in words:
    image = Image.new("RGB", (64, 32), "white")
    position = 32 + rng.randint(-2, 2), 16 + rng.randint(-1, 1)
    font = ImageFont.truetype(FONT, rng.choice((28, 30, 32)))
    ImageDraw.Draw(image).text(position, word, font=font, fill="black", anchor="mm")
    image.save(f"{folder}/{word}.png")
