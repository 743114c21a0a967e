#!/usr/bin/env python3
"""This reward server and one of the usual kind, on the same pictures, engine and threads, in turns.

    ninja -C build/release flowawr_reward_bench_server flowawr_reward_load
    .venv/bin/python bench/reward_server/serving.py [--seconds 5] [--repeats 3] [--json FILE]

- ocr: images a second of words of three letters, 8 a call, 8 clients; and the time of a call when calls come at a rate;
- empty: milliseconds of a call whose scorer does nothing, from pixels to rewards, one client: the overhead. The usual
  client makes JPEGs of its pictures; `arrays` is the same without.
Needs: scripts/setup --tests, pip install tesserocr flask gunicorn requests.
"""
import argparse
import io
import json
import os
import pickle
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import requests
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "build/release/bin"


class Plain:
    """The usual server, gunicorn's one worker, and its clients: pictures become JPEG or stay arrays, then pickle."""

    def __init__(self, scorer, threads):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}/"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--chdir", ROOT / "bench/reward_server", "--workers", "1", "--bind", address,
             "--log-level", "error", "plain_server:app"],
            env={**os.environ, "BENCH_SCORER": scorer, "BENCH_THREADS": str(threads)})
        while True:
            try:
                requests.get(self.url)
                return
            except requests.ConnectionError:
                time.sleep(.05)

    def call(self, session, images, prompts, as_jpeg):
        sent = [jpeg(image) for image in images] if as_jpeg else images
        return pickle.loads(session.post(self.url, pickle.dumps({"images": sent, "prompts": prompts})).content)["scores"]

    def load(self, images, prompts, clients, seconds, rate=0, as_jpeg=True):
        rng, lock, times = np.random.default_rng(1), threading.Lock(), []
        start = time.perf_counter()
        end = start + seconds
        due = list(np.cumsum(rng.exponential(1 / rate, int(2 * rate * seconds)))) if rate else []
        rewards = []

        def client():
            session = requests.Session()
            while True:
                with lock:
                    if rate and (not due or start + due[0] >= end):
                        return
                    at = start + due.pop(0) if rate else time.perf_counter()
                if at >= end:
                    return
                time.sleep(max(at - time.perf_counter(), 0))
                scores = self.call(session, images, prompts, as_jpeg)
                with lock:
                    times.append(time.perf_counter() - at)
                    rewards.extend(scores)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        times.sort()
        at = lambda q: 1000 * times[min(len(times) - 1, int(q * len(times)))]  # noqa: E731
        return {"images_per_s": len(images) * len(times) / seconds, "mean_reward": statistics.mean(rewards),
                "p50_ms": at(.5), "p90_ms": at(.9), "p99_ms": at(.99)}

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Ours:
    def __init__(self, scorer, threads):
        self.scorer = scorer
        command = [BIN / "flowawr_reward_bench_server", "--scorer", scorer, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def load(self, clients, seconds, rate=0, **options):
        arguments = [a for name, value in options.items() for a in (f"--{name}", str(value))]
        before = self.processor_seconds()
        done = subprocess.run([BIN / "flowawr_reward_load", "--server", self.address, "--scorer", self.scorer,
                               "--clients", str(clients), "--seconds", str(seconds), "--rate", str(rate), *arguments],
                              stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout)
        spent = [after - b for after, b in zip(self.processor_seconds(), before)]
        images = figures["calls"] * options["images"]
        return {**figures, "server_ms": 1000 * spent[0] / images, "readers_ms": 1000 * spent[1] / images}

    def processor_seconds(self):
        """Of the server, and of Tesseract, which is in children of it."""
        ticks = [0, 0]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if self.process.pid in (int(stat.parent.name), int(fields[1])):
                ticks[int(stat.parent.name) != self.process.pid] += int(fields[11]) + int(fields[12])
        return [t / os.sysconf("SC_CLK_TCK") for t in ticks]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def pair(ours, plain, figure):
    """The ratio is above 1 where ours is better."""
    ratio = ours[figure] / plain[figure]
    return {"ours": ours, "plain": plain, "figure": figure, "ratio": ratio if figure == "images_per_s" else 1 / ratio}


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def ocr(options, folder):
    words = sorted(Path(folder).glob("*.png"))[:8]
    images = [np.asarray(Image.open(file).convert("RGB")) for file in words]
    prompts = [f'a sign that says "{file.stem}"' for file in words]
    plain, ours = Plain("ocr", options.threads), Ours("ocr", options.threads)
    work = {"folder": folder, "images": 8}
    mine, theirs = ours.load(8, options.seconds, **work), plain.load(images, prompts, 8, options.seconds)
    # Seven tenths of what each can do; and at the rate of the usual one, which this one has time to spare for.
    rate = .7 * theirs["images_per_s"] / 8
    open_theirs = plain.load(images, prompts, 64, options.seconds, rate=rate)
    open_mine = ours.load(8, options.seconds, rate=.7 * mine["images_per_s"] / 8, **work)
    same_rate = ours.load(8, options.seconds, rate=rate, **work)
    plain.stop()
    ours.stop()
    return {"ocr": pair(mine, theirs, "images_per_s"), "ocr, each at 70% of its own": pair(open_mine, open_theirs, "p99_ms"),
            "ocr, both at 70% of the usual one's": pair(same_rate, open_theirs, "p99_ms")}


def empty(options):
    rows = {}
    for side, count in ((64, 8), (512, 4)):
        plain, ours = Plain("empty", options.threads), Ours("empty", options.threads)
        images = [np.full((side, side, 3), 127, np.uint8)] * count
        mine = ours.load(1, options.seconds, images=count, side=side)
        theirs = plain.load(images, [""] * count, 1, options.seconds)
        arrays = plain.load(images, [""] * count, 1, options.seconds, as_jpeg=False)
        plain.stop()
        ours.stop()
        rows[f"empty, {count} of {side}x{side}"] = pair(mine, theirs, "p50_ms")
        rows[f"empty, {count} of {side}x{side}, arrays"] = pair(mine, arrays, "p50_ms")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of the scorer, on both sides")
    parser.add_argument("--json", help="file for every run's figures")
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, ROOT / "tests/reward_server/scorers/draw_words.py", folder, "64"], check=True)
        for _ in range(options.repeats):
            runs.append({**ocr(options, folder), **empty(options)})
    print("| median of", options.repeats, "| this server | the usual one | ratio |\n|---|---|---|---|")
    for name in runs[0]:
        figure = runs[0][name]["figure"]
        mine, theirs, ratio = (statistics.median(f(run[name]) for run in runs) for f in
                               (lambda r: r["ours"][figure], lambda r: r["plain"][figure], lambda r: r["ratio"]))
        print(f"| {name}, {figure} | {mine:.3g} | {theirs:.3g} | {ratio:.2f}x |")
    spent = {name: statistics.median(run["ocr"]["ours"][name] for run in runs) for name in ("server_ms", "readers_ms")}
    print(f"\nProcessor time an image of ocr: {spent['readers_ms']:.2f} ms Tesseract, {spent['server_ms']:.2f} ms else")
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
