"""The OCR reward in Python: 1 - min(distance, length) / length between the quoted word and what Tesseract reads."""

import concurrent.futures
import os
import queue

os.environ.setdefault("OMP_THREAD_LIMIT", "1")
import tesserocr  # noqa: E402  (reads OMP_THREAD_LIMIT when it loads)
from PIL import Image  # noqa: E402

TESSDATA = "/usr/share/tesseract-ocr/5/tessdata"  # Debian: tesseract-ocr-eng
SCALE, MARGIN = 2, 20  # pixels; a picture is enlarged and put on white, as Tesseract expects room around a line


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def reward(target, text):
    target, text = target.replace(" ", "").lower(), "".join(text.split()).lower()
    distance = 0 if target in text else levenshtein(target, text)
    return 1 - min(distance, len(target)) / len(target)


class Reader:
    """A pool of engines, one a thread."""

    def __init__(self, threads=2):
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._engines = queue.SimpleQueue()
        for _ in range(threads):
            engine = tesserocr.PyTessBaseAPI(path=TESSDATA, lang="eng", psm=tesserocr.PSM.SINGLE_LINE)
            engine.SetVariable("tessedit_char_whitelist", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
            self._engines.put(engine)

    def _read(self, pixels):
        image = Image.fromarray(pixels)
        image = image.resize((image.width * SCALE, image.height * SCALE), Image.BICUBIC)
        page = Image.new("RGB", (image.width + 2 * MARGIN, image.height + 2 * MARGIN), "white")
        page.paste(image, (MARGIN, MARGIN))
        engine = self._engines.get()
        try:
            engine.SetImage(page)
            return engine.GetUTF8Text()
        finally:
            engine.ClearAdaptiveClassifier()
            self._engines.put(engine)

    def read(self, images):
        """Texts of uint8 images [N, H, W, 3]."""
        return list(self._pool.map(self._read, images))

    def score(self, images, prompts):
        return [reward(p.split('"')[1], text) for p, text in zip(prompts, self.read(images))]
