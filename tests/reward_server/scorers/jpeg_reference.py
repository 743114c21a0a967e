"""JPEG sizes by PIL: jpeg_reference.py RGB_FILE HEIGHT WIDTH QUALITY OUT writes the number of bytes."""

import io
import sys

from PIL import Image

source, height, width, quality, out = sys.argv[1:]
image = Image.frombytes("RGB", (int(width), int(height)), open(source, "rb").read())
buffer = io.BytesIO()
image.save(buffer, format="JPEG", quality=int(quality))
open(out, "w").write(str(buffer.tell()))
