"""The OCR reward by PaddleOCR's networks (PP-OCRv4), as the rapidocr-onnxruntime wheel ships them: no download.

    pip install './python[paddle-ocr]'
    python python/examples/paddle_ocr.py --listen 127.0.0.1:7000
    flowawr-reward --reward "paddle_ocr:PaddleOcr(layout='line')"   # in python/examples: small pictures of a word

Scored by another engine than the scorer `ocr`, so it has another name: their figures do not compare.
"""

import os
import queue

from rapidocr_onnxruntime import RapidOCR

from flowawr_reward import Reward, serve
from flowawr_reward.spelling import spelling_reward, why_no_target


class PaddleOcr(Reward):
    name = "paddle_ocr"
    threads = len(os.sched_getaffinity(0))  # an engine each, on one core: it leaves Python's lock

    def __init__(self, layout="scene"):
        """`layout`: scene finds the lines first, as PaddleOCR does by default; line reads the picture as one line."""
        self.layout, self.options = layout, {"layout": layout}
        self.version = f"rapidocr-onnxruntime PP-OCRv4 {layout}"

    def load(self):
        self.engines = queue.SimpleQueue()
        for _ in range(self.threads):
            # A picture is shrunk to 960 pixels, PaddleOCR's default, never enlarged.
            self.engines.put(RapidOCR(det_limit_type="max", det_limit_side_len=960, intra_op_num_threads=1))

    def check(self, prompt, metadata):
        return why_no_target(prompt, metadata)

    def score_one(self, image, prompt, metadata):
        return spelling_reward(self.read(image), prompt, metadata)

    def read(self, image):
        engine, bgr = self.engines.get(), image[:, :, ::-1]
        try:
            found, _ = engine(bgr, use_det=self.layout != "line", use_cls=False, use_rec=True)
        finally:
            self.engines.put(engine)
        return "".join(line[-2] for line in found or [])  # text and confidence come last, with a box before or without


if __name__ == "__main__":
    serve(PaddleOcr())
