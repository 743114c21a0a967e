"""The Python side of bench/clip_scorers.py: python_baseline/pickscore.py.

usage: [FLOWAWR_CPU=avx2] clip_baseline.py MODEL_FOLDER DTYPE THREADS BATCH SIDE [DEVICE]

Prints "ready" when the model is loaded. For each line on standard input it scores BATCH new random pictures of SIDE x
SIDE pixels, all with that line as their prompt, and prints the seconds that took and the processor's seconds.
"""

import os
import sys
import time

import processor

processor.restrict(os.environ.get("FLOWAWR_CPU"))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from python_baseline.pickscore import PickScore  # noqa: E402

folder, dtype, threads, batch, side = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
scorer = PickScore(folder, dtype, threads, *sys.argv[6:])
random = np.random.default_rng(1)

print("ready", flush=True)
for line in sys.stdin:
    images = [Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(batch)]
    start, used = time.perf_counter(), time.process_time()
    scorer.score(images, [line.strip()] * batch)
    print(f"{time.perf_counter() - start:.6f} {time.process_time() - used:.6f}", flush=True)
