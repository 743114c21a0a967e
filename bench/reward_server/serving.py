#!/usr/bin/env python3
"""This reward server and one of the usual kind, on the same pictures, engine or model and threads, in turns.

    ninja -C build/release flowawr_reward_bench_server flowawr_reward_load
    .venv/bin/python bench/reward_server/serving.py [--only ocr empty pickscore] [--seconds 5] [--repeats 3]
                                                     [--json FILE]

- ocr: words of three letters, 8 a call: images a second with 8 clients at once;
- pickscore: drawn pictures of 512 x 512, 4 a call, by a CLIP of ViT-B/32's size with random weights, float32: the same
  with 4 clients;
- both: the time of a call when calls come at random at a rate, each server at seven tenths of what it can do, and both
  at seven tenths of what the usual one can do; and where the time of this server's calls goes;
- empty: milliseconds of a call whose scorer does nothing, from pixels to rewards, one client: the overhead. The usual
  client makes JPEGs of its pictures; `arrays` is the same without.
Needs: scripts/setup --tests; pip install flask gunicorn requests; pip install --no-binary tesserocr tesserocr (from
source, so that it takes the system's Tesseract, as this server does).
"""
import argparse
import io
import itertools
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


def processor_seconds(process):
    """Of a process and of its children: (own, theirs)."""
    ticks = [0, 0]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if process.pid in (int(stat.parent.name), int(fields[1])):
            ticks[int(stat.parent.name) != process.pid] += int(fields[11]) + int(fields[12])
    return [t / os.sysconf("SC_CLK_TCK") for t in ticks]


BLOCK = 16  # pixels
numbers = itertools.count()


def new_picture(image):
    """One that was not sent before, as flowawr_reward_load makes them: a number in 32 blocks along its upper edge."""
    changed, number = image.copy(), next(numbers)
    if image.shape[1] >= 32 * BLOCK:
        for bit in range(32):
            if number >> bit & 1:
                changed[:BLOCK, BLOCK * bit:BLOCK * (bit + 1)] ^= 128
    return changed


class Plain:
    """The usual server, gunicorn's one worker, and its clients: pictures become JPEG or stay arrays, then pickle."""

    def __init__(self, scorer, threads, model=""):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}/"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--chdir", ROOT / "bench/reward_server", "--workers", "1",
             "--bind", address,
             "--log-level", "error", "plain_server:app"],
            env={**os.environ, "BENCH_SCORER": scorer, "BENCH_THREADS": str(threads), "BENCH_MODEL": str(model)})
        while True:
            try:
                requests.get(self.url)
                return
            except requests.ConnectionError:
                time.sleep(.05)

    def call(self, session, images, prompts, as_jpeg):
        images = [new_picture(image) for image in images]
        sent = [jpeg(image) for image in images] if as_jpeg else images
        answer = session.post(self.url, pickle.dumps({"images": sent, "prompts": prompts}))
        return pickle.loads(answer.content)["scores"]

    def load(self, images, prompts, clients, seconds, rate=0, as_jpeg=True):
        rng, lock, times = np.random.default_rng(1), threading.Lock(), []
        used_before = sum(processor_seconds(self.process))
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
        used = sum(processor_seconds(self.process)) - used_before
        times.sort()
        at = lambda q: 1000 * times[min(len(times) - 1, int(q * len(times)))]  # noqa: E731
        return {"images_per_s": len(images) * len(times) / seconds, "mean_reward": statistics.mean(rewards),
                "cpu_ms": 1000 * used / len(images) / len(times), "p50_ms": at(.5), "p90_ms": at(.9), "p99_ms": at(.99)}

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Ours:
    def __init__(self, scorer, threads, model=""):
        self.scorer = scorer
        command = [BIN / "flowawr_reward_bench_server", "--scorer", f"{scorer},model={model}" if model else scorer,
                   "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def load(self, work, clients, seconds, rate=0):
        before, measured_before = processor_seconds(self.process), self.histograms()
        done = subprocess.run([BIN / "flowawr_reward_load", "--server", self.address, "--scorer", self.scorer,
                               "--clients", str(clients), "--seconds", str(seconds), "--rate", str(rate),
                               "--folder", work.folder, "--images", str(work.count)],
                              stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout)
        spent = [after - b for after, b in zip(processor_seconds(self.process), before)]
        images = figures["calls"] * work.count
        figures |= {"server_cpu_ms": 1000 * spent[0] / images, "readers_cpu_ms": 1000 * spent[1] / images,
                    "cpu_ms": 1000 * sum(spent) / images}
        for name, (total, count) in self.histograms().items():
            earlier = measured_before.get(name, (0, 0))
            figures[name] = (total - earlier[0]) / max(count - earlier[1], 1)
        return figures

    def histograms(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Work:
    """What a call asks: `count` of a folder's pictures, with what they show as their prompts."""

    def __init__(self, folder, count):
        self.folder, self.count = folder, count
        files = sorted(Path(folder).glob("*.png"))[:count]
        self.images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        self.prompts = [f'a sign that says "{file.stem}"' for file in files]


def draw_pictures(folder, side, count):
    """Soft shapes and a little noise: they cost a JPEG about what photographs do."""
    random = np.random.default_rng(1)
    for i in range(count):
        shapes = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
        picture = np.asarray(shapes) + random.normal(0, 3, (side, side, 1))
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(Path(folder) / f"{i}.png")


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def pair(ours, plain, figure):
    """The ratio is above 1 where ours is better."""
    ratio = ours[figure] / plain[figure]
    return {"ours": ours, "plain": plain, "figure": figure, "ratio": ratio if figure == "images_per_s" else 1 / ratio}


def serve(name, work, clients, seconds, options, model=""):
    plain, ours = Plain(name, options.threads, model), Ours(name, options.threads, model)
    for warm in (lambda: ours.load(work, 1, 1), lambda: plain.load(work.images, work.prompts, 1, 1)):
        warm()
    mine, theirs = ours.load(work, clients, seconds), plain.load(work.images, work.prompts, clients, seconds)
    # Calls a second at seven tenths of what each can do; and at the rate of the usual one.
    rate = .7 * theirs["images_per_s"] / work.count
    open_theirs = plain.load(work.images, work.prompts, 64, seconds, rate=rate)
    open_mine = ours.load(work, clients, seconds, rate=.7 * mine["images_per_s"] / work.count)
    same_rate = ours.load(work, clients, seconds, rate=rate)
    plain.stop()
    ours.stop()
    return {name: pair(mine, theirs, "images_per_s"),
            f"{name}, the server's processor time an image": pair(mine, theirs, "cpu_ms"),
            f"{name}, each at 70% of its own": pair(open_mine, open_theirs, "p99_ms"),
            f"{name}, both at 70% of the usual one's": pair(same_rate, open_theirs, "p99_ms")}


def ocr(options, folder):
    subprocess.run([sys.executable, ROOT / "tests/reward_server/scorers/draw_words.py", folder, "64"], check=True)
    return serve("ocr", Work(folder, 8), 8, options.seconds, options)


def pickscore(options, folder):
    model = ROOT / "build/clip-bench/vit-b-32"
    if not (model / "model.safetensors").exists():
        subprocess.run([sys.executable, ROOT / "tools/random_clip_of_size.py", model, "--size", "vit-b-32"], check=True)
    draw_pictures(folder, 512, 8)
    return serve("pickscore", Work(folder, 4), 4, 3 * options.seconds, options, model)


def empty(options, folder):
    rows = {}
    for side, count in ((64, 8), (512, 4)):
        pictures = Path(folder) / str(side)
        pictures.mkdir()
        draw_pictures(pictures, side, count)
        work = Work(pictures, count)
        plain, ours = Plain("empty", options.threads), Ours("empty", options.threads)
        mine = ours.load(work, 1, options.seconds)
        theirs = plain.load(work.images, work.prompts, 1, options.seconds)
        arrays = plain.load(work.images, work.prompts, 1, options.seconds, as_jpeg=False)
        plain.stop()
        ours.stop()
        rows[f"empty, {count} of {side}x{side}"] = pair(mine, theirs, "p50_ms")
        rows[f"empty, {count} of {side}x{side}, arrays"] = pair(mine, arrays, "p50_ms")
    return rows


def where_time_goes(runs):
    """Of this server's calls, in milliseconds: means, by its own histograms and what its clients saw."""
    rows = [name for name, row in runs[0].items() if row["figure"] in ("images_per_s", "p99_ms")]
    if not rows:
        return
    print("\n| this server, ms (median of the runs' means) | a call | before its scorer begins | in the scorer | "
          "message, network, the rest | processor an image: scorer's processes | server |\n"
          "|---|---|---|---|---|---|---|")
    for row in rows:
        at = lambda figure: statistics.median(run[row]["ours"][figure] for run in runs)  # noqa: E731
        call, request = at("mean_ms"), 1000 * at("flowawr_score_request_seconds")
        waited = min(1000 * at("flowawr_scorer_wait_seconds"), request)
        print(f"| {row} | {call:.2f} | {waited:.2f} | {request - waited:.2f} | {call - request:.2f} | "
              f"{at('readers_cpu_ms'):.2f} | {at('server_cpu_ms'):.2f} |")


SCORERS = {"ocr": ocr, "pickscore": pickscore, "empty": empty}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of the scorer, on both sides")
    parser.add_argument("--json", help="file for every run's figures")
    parser.add_argument("--only", nargs="+", choices=SCORERS, default=list(SCORERS))
    options = parser.parse_args()
    runs = []
    for _ in range(options.repeats):
        runs.append({})
        for name in options.only:
            with tempfile.TemporaryDirectory() as folder:
                runs[-1] |= SCORERS[name](options, folder)
    print("| median of", options.repeats, "| this server | the usual one | ratio |\n|---|---|---|---|")
    for name in runs[0]:
        figure = runs[0][name]["figure"]
        mine, theirs, ratio = (statistics.median(f(run[name]) for run in runs) for f in
                               (lambda r: r["ours"][figure], lambda r: r["plain"][figure], lambda r: r["ratio"]))
        print(f"| {name}, {figure} | {mine:.3g} | {theirs:.3g} | {ratio:.2f}x |")
    where_time_goes(runs)
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
