"""A reward server of the usual kind: Flask, pickled pictures over HTTP, one request after the other in one worker.

    BENCH_SCORER=ocr|pickscore|empty BENCH_THREADS=2 [BENCH_MODEL=FOLDER] \\
        gunicorn --chdir bench/reward_server --workers 1 plain_server:app

A request is pickle of {"images": [JPEG bytes or uint8 array, ...], "prompts": [text, ...]}, the answer pickle of
{"scores": [float, ...]}. `ocr` is tools/pretrain_tiny's: Tesseract in this process (tesserocr), an engine a thread;
`pickscore` is transformers' CLIPModel.
"""
import io
import os
import pickle
import sys
from pathlib import Path

import flask
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def scorer(kind, threads):
    if kind == "ocr":
        sys.path.insert(0, str(ROOT / "tools" / "pretrain_tiny"))
        from ocr import Reader

        return Reader(threads).score
    if kind == "pickscore":
        sys.path.insert(0, str(ROOT / "bench"))
        from python_baseline.pickscore import PickScore

        return PickScore(os.environ["BENCH_MODEL"], "float32", threads).score
    return lambda images, prompts: [1.0] * len(images)


score = scorer(os.environ["BENCH_SCORER"], int(os.environ["BENCH_THREADS"]))
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
