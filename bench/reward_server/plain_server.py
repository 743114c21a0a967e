"""A reward server of the usual kind: Flask, pickled pictures over HTTP, one request after the other in one worker.

    BENCH_SCORER=ocr|empty BENCH_THREADS=2 gunicorn --chdir bench/reward_server --workers 1 plain_server:app

A request is pickle of {"images": [JPEG bytes or uint8 array, ...], "prompts": [text, ...]}, the answer pickle of
{"scores": [float, ...]}. `ocr` is tools/pretrain_tiny's: Tesseract in this process (tesserocr), an engine a thread.
"""
import io
import os
import pickle
import sys
from pathlib import Path

import flask
import numpy as np
from PIL import Image

if os.environ["BENCH_SCORER"] == "ocr":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "pretrain_tiny"))
    from ocr import Reader

    score = Reader(int(os.environ["BENCH_THREADS"])).score
else:
    def score(images, prompts):
        return [1.0] * len(images)

app = flask.Flask(__name__)


def decoded(image):
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) if isinstance(image, bytes) else image


@app.post("/")
def rewards():
    request = pickle.loads(flask.request.data)
    return pickle.dumps({"scores": score([decoded(image) for image in request["images"]], request["prompts"])})


@app.get("/")
def ready():
    return "ready"
