#!/usr/bin/env python3
"""This reward server and one of the usual kind, on the same pictures, engine and threads, in turns.

    ninja -C build/release flowawr_reward_bench_server flowawr_reward_load
    .venv/bin/python bench/reward_server/serving.py [--seconds 5] [--repeats 3] [--json FILE]

- ocr: images a second of words of three letters, 8 a call, as many clients as keep it busy;
- empty: milliseconds of a call whose scorer does nothing, one client, pictures as they travel to each: the overhead;
- open: the time of a call when calls come at 70% of what the server can do, and at the same rate to the usual one.
Needs: scripts/setup --tests, pip install tesserocr.
"""
import argparse
import http.client
import io
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "build/release/bin"


class Plain:
    """The usual server and its clients: a connection is made a call, as `requests.post` does."""

    def __init__(self, kind, threads):
        self.process = subprocess.Popen([sys.executable, ROOT / "bench/reward_server/plain_server.py", kind, str(threads)],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def call(self, images, prompts):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", "/", pickle.dumps({"images": images, "prompts": prompts}))
        scores = pickle.loads(connection.getresponse().read())["scores"]
        connection.close()
        return scores

    def load(self, images, prompts, clients, seconds, rate=0):
        rng, lock, times = np.random.default_rng(1), threading.Lock(), []
        start = time.perf_counter()
        end = start + seconds
        due = list(np.cumsum(rng.exponential(1 / rate, int(2 * rate * seconds)))) if rate else []
        rewards = []

        def client():
            while True:
                with lock:
                    if rate and (not due or start + due[0] >= end):
                        return
                    at = start + due.pop(0) if rate else time.perf_counter()
                if at >= end:
                    return
                time.sleep(max(at - time.perf_counter(), 0))
                scores = self.call(images, prompts)
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
        return {"images_per_s": len(images) * len(times) / seconds, "p50_ms": at(.5), "p90_ms": at(.9), "p99_ms": at(.99),
                "mean_reward": statistics.mean(rewards)}

    def stop(self):
        self.process.kill()
        self.process.wait()


class Ours:
    def __init__(self, scorer, threads):
        self.scorer = scorer
        self.process = subprocess.Popen([BIN / "flowawr_reward_bench_server", "--scorer", scorer, "--threads", str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def load(self, clients, seconds, rate=0, **options):
        arguments = [a for name, value in options.items() for a in (f"--{name}", str(value))]
        done = subprocess.run([BIN / "flowawr_reward_load", "--server", self.address, "--scorer", self.scorer, "--clients",
                               str(clients), "--seconds", str(seconds), "--rate", str(rate), *arguments],
                              stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def processor_seconds(self):
        """Of the server and of its readers, which are children of it."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(stat.parent.name) == self.process.pid or int(fields[1]) == self.process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / 100

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def ocr(options, folder):
    words = sorted(Path(folder).glob("*.png"))[:8]
    images = [png(Image.open(file)) for file in words]
    prompts = [f'a sign that says "{file.stem}"' for file in words]
    plain, ours = Plain("ocr", options.threads), Ours("ocr", options.threads)
    before = ours.processor_seconds()
    mine = ours.load(8, options.seconds, folder=folder, images=8)
    mine["processor_ms_per_image"] = 1000 * (ours.processor_seconds() - before) / (mine["images_per_s"] * options.seconds)
    theirs = plain.load(images, prompts, 8, options.seconds)
    rate = .7 * mine["images_per_s"] / 8
    open_load = ours.load(8, options.seconds, rate=rate, folder=folder, images=8)
    # The same share of what it can do: at our rate its queue would only grow.
    open_theirs = plain.load(images, prompts, 64, options.seconds, rate=.7 * theirs["images_per_s"] / 8)
    plain.stop()
    ours.stop()
    return {"ocr": {"ours": mine, "plain": theirs, "ratio": mine["images_per_s"] / theirs["images_per_s"]},
            "open at 70%": {"ours": open_load, "plain": open_theirs, "ratio": open_theirs["p99_ms"] / open_load["p99_ms"]}}


def empty(options):
    rows = {}
    for side, count in ((64, 8), (512, 4)):
        plain, ours = Plain("empty", options.threads), Ours("empty", options.threads)
        images = [png(Image.new("RGB", (side, side), "gray"))] * count
        mine = ours.load(1, options.seconds, images=count, side=side)
        theirs = plain.load(images, [""] * count, 1, options.seconds)
        raw = plain.load([np.full((side, side, 3), 127, np.uint8)] * count, [""] * count, 1, options.seconds)
        plain.stop()
        ours.stop()
        rows[f"empty, {count} of {side}x{side}"] = {"ours": mine, "plain": theirs, "ratio": theirs["p50_ms"] / mine["p50_ms"]}
        rows[f"empty, {count} of {side}x{side}, arrays"] = {"ours": mine, "plain": raw, "ratio": raw["p50_ms"] / mine["p50_ms"]}
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
        figure = "images_per_s" if name == "ocr" else "p99_ms" if name.startswith("open") else "p50_ms"
        mine, theirs, ratio = (statistics.median(f(run[name]) for run in runs) for f in
                               (lambda r: r["ours"][figure], lambda r: r["plain"][figure], lambda r: r["ratio"]))
        print(f"| {name}, {figure} | {mine:.3g} | {theirs:.3g} | {ratio:.2f}x |")
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
