"""A reward server of the usual kind: one worker, pickled pictures over HTTP, one request after the other.

    plain_server.py ocr|empty THREADS

Prints its port. A request is pickle of {"images": [PNG or uint8 array, ...], "prompts": [text, ...]}, the answer pickle
of {"scores": [float, ...]}. `ocr` is tools/pretrain_tiny's: Tesseract in this process (tesserocr), an engine a thread.
"""
import io
import pickle
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

kind, threads = sys.argv[1], int(sys.argv[2])
if kind == "ocr":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "pretrain_tiny"))
    from ocr import Reader

    score = Reader(threads).score
else:
    def score(images, prompts):
        return [1.0] * len(images)


def decoded(image):
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) if isinstance(image, bytes) else image


class Rewards(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        request = pickle.loads(self.rfile.read(int(self.headers["Content-Length"])))
        images = [decoded(image) for image in request["images"]]
        body = pickle.dumps({"scores": score(images, request["prompts"])})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = HTTPServer(("127.0.0.1", 0), Rewards)
print(server.server_address[1], flush=True)
server.serve_forever()
