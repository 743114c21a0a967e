"""An independent OCR reward: writes random (target, text, reward, distance) cases as JSON.

The distance is a memoised recursion over its definition, not the row-by-row table of the implementation.
"""

import functools
import json
import random
import sys
import unicodedata


def distance(a, b):
    @functools.cache
    def of(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return of(len(a), len(b))


def case(target, text):
    wanted, read = (
        unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", "".join(s.split())).casefold())
        for s in (target, text)
    )
    d = 0 if wanted in read else distance(wanted, read)
    return {"target": target, "text": text, "reward": 1 - min(d, len(wanted)) / len(wanted), "distance": d}


rng = random.Random(7)
cases = []
for alphabet in ("AB ", "ABCDEFG", "aBé ßÜÇжЩ日本\n", "AIJ1l"):
    while len(cases) % 100 != 99:
        target, text = ("".join(rng.choices(alphabet, k=rng.randint(0, 8))) for _ in range(2))
        if target.strip():
            cases.append(case(target, text))
    cases.append(case("HELLO", "well, hello there"))
json.dump(cases, open(sys.argv[1], "w"))
