"""An OpenAI-compatible endpoint for the judge's tests. judge_server.py FOLDER: its port is written to FOLDER/port, and
what it was asked to FOLDER/requests, a JSON object a line.

The model's name says how it answers. A good one rates the picture by its brightness, 0 to 10, so that a right answer
shows that the picture came."""
import base64
import io
import json
import os
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

folder = sys.argv[1]
lock = threading.Lock()
asked = {}  # by model


def brightness(request):
    content = request["messages"][0]["content"]
    head, data = content[1]["image_url"]["url"].split(",", 1)
    assert head == "data:image/png;base64", head
    return round(float(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).mean()) / 25.5, 2)


def completion(text, finish_reason="stop"):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
                       "usage": {"prompt_tokens": 100, "completion_tokens": 20}})


class Judge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, code, body, headers=()):
        body = body.encode()
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model, rating = request["model"], brightness(request)
        with lock:
            asked[model] = asked.get(model, 0) + 1
            count = asked[model]
            with open(f"{folder}/requests", "a") as file:
                shown = dict(request, messages=request["messages"][0]["content"][0]["text"])
                file.write(json.dumps({"path": self.path, "key": self.headers.get("Authorization"),
                                       "time": time.monotonic(), "expect": self.headers.get("Expect"), "body": shown})
                           + "\n")
        if model == "good":
            self.answer(200, completion(f"The picture is rather bright, so 2 points off. Rating: {rating}/10"))
        elif model == "json":
            self.answer(200, completion("Here:\n```json\n" + json.dumps({"why": "so {}", "score": rating}) + "\n```"))
        elif model == "no-number":
            self.answer(200, completion("What a lovely picture."))
        elif model == "cut":
            self.answer(200, completion("I see", "length"))
        elif model == "beyond":
            self.answer(200, completion("11"))
        elif model == "html":
            self.answer(200, "<!doctype html><title>Welcome</title>")
        elif model == "half":
            self.answer(200, completion("7")[:40])
        elif model == "busy-once":
            if count == 1:
                self.answer(429, '{"error": {"message": "slow down"}}', [("Retry-After", "1")])
            else:
                self.answer(200, completion(str(rating)))
        elif model == "busy":
            self.answer(429, '{"error": {"message": "slow down"}}', [("Retry-After", "3600")])
        elif model == "busy-until-a-date":
            self.answer(503, "closed", [("Retry-After", formatdate(time.time() + 1800, usegmt=True))])
        elif model == "shaky":  # two failures, then an answer
            if count == 1:
                self.answer(502, "bad gateway")
            elif count == 2:
                self.answer(200, "<html>")
            else:
                self.answer(200, completion(str(rating)))
        elif model == "hangs-up":
            self.close_connection = True
            self.connection.close()
        elif model == "tells-the-key":
            self.answer(401, json.dumps({"error": {"message": "no such key: " + self.headers["Authorization"]}}))
        elif model == "repeats-the-key":
            self.answer(200, completion("I was sent " + self.headers["Authorization"]))
        elif model == "repeats-the-key-in-html":
            self.answer(200, "<p>" + self.headers["Authorization"])
        elif model == "elsewhere":
            self.answer(302, "", [("Location", "http://127.0.0.1:1/")])
        elif model == "endless":
            self.answer(200, "x" * (5 << 20))
        elif model == "silent":
            time.sleep(3600)
        else:
            self.answer(404, json.dumps({"error": {"message": f"no model {model}"}}))


server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
server.daemon_threads = True
with open(f"{folder}/port.new", "w") as file:
    file.write(str(server.server_address[1]))
os.rename(f"{folder}/port.new", f"{folder}/port")
server.serve_forever()
