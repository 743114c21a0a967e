"""The same page by PIL: ocr_page_reference.py RGB_FILE HEIGHT WIDTH SCALE MARGIN OUT writes the grey bytes."""

import sys

from PIL import Image

source, height, width, scale, margin, out = sys.argv[1:]
height, width, scale, margin = int(height), int(width), int(scale), int(margin)
gray = Image.frombytes("RGB", (width, height), open(source, "rb").read()).convert("L")
large = gray.resize((width * scale, height * scale), Image.BICUBIC)
page = Image.new("L", (large.width + 2 * margin, large.height + 2 * margin), 255)
page.paste(large, (margin, margin))
open(out, "wb").write(page.tobytes())
