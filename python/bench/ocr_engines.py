"""The scorer `ocr` (Tesseract) and examples/paddle_ocr.py (PaddleOCR) on the same pictures: prints the table of
docs/rewards.md. Both are asked as reward servers; times are CPU seconds of the servers and what they start.

    PYTHONPATH=python:python/examples .venv/bin/python python/bench/ocr_engines.py [--samples FOLDER]

FOLDER: pictures that `flowawr sample` made, each with its prompt.
"""

import argparse
import os
import random
import string
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flowawr_reward import protocol

ROOT = Path(__file__).resolve().parents[2]
MONO = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf"  # Debian: fonts-dejavu-core
FONTS = [MONO, *(f"/usr/share/fonts/truetype/dejavu/DejaVu{name}.ttf" for name in ("Sans", "Sans-Bold", "Serif"))]
WORDS = (
    "OPEN CLOSED COFFEE BAKERY EXIT LIBRARY FRESH MARKET HOTEL GARDEN SUNDAY MUSIC TICKETS HARBOUR NIGHT PIZZA".split()
)


def drawn_words(count):
    """As the tiny world draws them: 32 x 64, black on white."""
    rng = random.Random(1)
    for word in ["".join(rng.choices(string.ascii_uppercase, k=3)) for _ in range(count)]:
        image = Image.new("RGB", (64, 32), "white")
        position = 32 + rng.randint(-2, 2), 16 + rng.randint(-1, 1)
        font = ImageFont.truetype(MONO, rng.choice((28, 30, 32)))
        ImageDraw.Draw(image).text(position, word, font=font, fill="black", anchor="mm")
        yield image, word


def scenes(count, side=512):
    """One or two words on a sign, somewhere on a ground of coloured noise and shapes, turned a little."""
    rng, noise = random.Random(2), np.random.default_rng(2)
    for _ in range(count):
        coarse = noise.integers(40, 216, (16, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(image)
        for _ in range(6):
            x, y, size = rng.randrange(side), rng.randrange(side), rng.randrange(20, 120)
            draw.ellipse((x, y, x + size, y + size), fill=tuple(rng.randrange(256) for _ in range(3)))
        text = " ".join(rng.sample(WORDS, rng.choice((1, 2))))
        font = ImageFont.truetype(rng.choice(FONTS), rng.randrange(24, 44))
        width, height = (int(value) + 24 for value in draw.textbbox((0, 0), text, font=font)[2:])
        is_dark = rng.random() < 0.5
        sign = Image.new("RGBA", (width, height), (24, 40, 80, 255) if is_dark else (245, 240, 225, 255))
        ImageDraw.Draw(sign).text((width / 2, height / 2), text, "white" if is_dark else "black", font, anchor="mm")
        sign = sign.rotate(rng.uniform(-6, 6), Image.Resampling.BICUBIC, expand=True)
        image.paste(sign, (rng.randrange(side - sign.width), rng.randrange(side - sign.height)), sign)
        yield image, text


def samples(folder):
    for path in sorted(Path(folder).glob("*.png")):
        image = Image.open(path)
        if prompt := image.text.get("prompt"):
            yield image.convert("RGB"), prompt.split('"')[1]


class Engine:
    """A reward server's process."""

    def __init__(self, command, scorer):
        folder = tempfile.mkdtemp()
        self.process = subprocess.Popen([*command, "--endpoint-file", f"{folder}/endpoint"], stderr=subprocess.DEVNULL)
        while not os.path.exists(f"{folder}/endpoint"):
            if self.process.poll() is not None:
                raise SystemExit(f"{command[0]} ended")
        with open(f"{folder}/endpoint") as file:
            endpoint = file.read().strip()
        self.scorer = scorer
        self.request, response = protocol.methods()["Score"]
        self.call = grpc.insecure_channel(endpoint).unary_unary(
            f"/{protocol.SERVICE}/Score",
            request_serializer=self.request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def score(self, image, text):
        item = {"image_rgb": image.tobytes(), "height": image.height, "width": image.width}
        (result,) = self.call(self.request(scorer=self.scorer, items=[{**item, "metadata": {"target": text}}])).results
        assert not result.HasField("error"), result.error
        return result.reward, result.details["exact"] == "true"

    def cpu_seconds(self):
        children = f"/proc/{self.process.pid}/task"
        pids = {str(self.process.pid)}
        for thread in os.listdir(children):
            pids |= set(Path(children, thread, "children").read_text().split())
        ticks = sum(sum(map(int, Path("/proc", pid, "stat").read_text().rsplit(")")[1].split()[11:13])) for pid in pids)
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.terminate()
        self.process.wait()


def compare(name, pictures, tesseract, paddle):
    server = ROOT / "build/release/bin/flowawr-reward-server"
    for label, command, scorer in (
        (f"`ocr`, Tesseract, {tesseract}", [server, "--scorer", f"ocr,{tesseract}", "--threads", "1"], "ocr"),
        (
            f"`paddle_ocr`, PP-OCRv4, layout={paddle}",
            [sys.executable, "-m", "flowawr_reward", "--reward", f"paddle_ocr:PaddleOcr(layout='{paddle}')"],
            "paddle_ocr",
        ),
    ):
        engine = Engine(list(map(str, command)), scorer)
        engine.score(*pictures[0])
        before = engine.cpu_seconds()
        results = [engine.score(*picture) for picture in pictures]
        cost = (engine.cpu_seconds() - before) / len(pictures) * 1e3
        reward, exact = np.mean(results, axis=0)
        print(f"| {name} | {label} | {exact:.3f} | {reward:.3f} | {cost:.1f} |", flush=True)
        engine.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", metavar="FOLDER")
    folder = parser.parse_args().samples
    print("| pictures | engine | exact | reward | ms of CPU |\n|---|---|---|---|---|")
    words = list(drawn_words(787))
    compare(f"{len(words)} drawn words", words, "layout=line", "line")
    if folder:
        drawn = list(samples(folder))
        compare(f"{len(drawn)} samples of the embedded model", drawn, "layout=line", "line")
    wide = list(scenes(200))
    compare(f"{len(wide)} signs in scenes of 512 x 512", wide, "layout=sparse", "scene")


if __name__ == "__main__":
    main()
