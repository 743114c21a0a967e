"""Checks a.png and a.jpg against a.rgb with Pillow, and writes PNGs of other kinds beside their RGB bytes.
usage: FOLDER"""
import sys

import numpy
from PIL import Image, PngImagePlugin

folder = sys.argv[1]
png = Image.open(f"{folder}/a.png")
expected = open(f"{folder}/a.rgb", "rb").read()
assert png.mode == "RGB" and png.size == (40, 24), (png.mode, png.size)
assert png.tobytes() == expected
assert png.text == {"prompt": 'caf\u00e9 "CAT"', "reward": "0.5"}, png.text
odd = Image.open(f"{folder}/odd.png")
assert odd.text == {"prompt": "a\ufffdb\ufffdc"}, odd.text

jpeg = Image.open(f"{folder}/a.jpg")
assert jpeg.format == "JPEG" and jpeg.mode == "RGB" and jpeg.size == (40, 24), (jpeg.format, jpeg.mode, jpeg.size)


def save_jpeg(name, image=None, **options):
    """The JPEG, drawn anew where `image` is given, and what Pillow reads in it."""
    if image is not None:
        image.save(f"{folder}/{name}.jpg", quality=90, **options)
    open(f"{folder}/{name}.jpg.rgb", "wb").write(Image.open(f"{folder}/{name}.jpg").convert("RGB").tobytes())


save_jpeg("a")
save_jpeg("gray", png.convert("L"))
save_jpeg("progressive", png, progressive=True)
save_jpeg("cmyk", png.convert("CMYK"))
text = PngImagePlugin.PngInfo()
text.add_text("latin", "caf\u00e9")
text.add_text("packed", "x" * 5000, zip=True)
text.add_itxt("prompt", '\u732b "CAT"')
png.save(f"{folder}/text.png", pnginfo=text)


def save(name, image, rgb):
    image.save(f"{folder}/{name}.png")
    open(f"{folder}/{name}.png.rgb", "wb").write(rgb)


palette = png.quantize(16)
save("palette", palette, palette.convert("RGB").tobytes())
opaque = numpy.asarray(png)
visible = (numpy.arange(24)[:, None] + numpy.arange(40)) % 2 == 0
rgba = numpy.dstack([opaque, numpy.where(visible, 255, 0).astype("uint8")])
save("alpha", Image.fromarray(rgba, "RGBA"), numpy.where(visible[..., None], opaque, 255).astype("uint8").tobytes())
black_and_white = (visible * 65535).astype("uint16")
save("gray16", Image.fromarray(black_and_white),
     numpy.repeat((visible * 255).astype("uint8")[..., None], 3, 2).tobytes())
