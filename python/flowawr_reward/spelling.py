"""The arithmetic of OCR rewards, for engines of your own: the rule of the scorer `ocr` (docs/rewards.md).

The wanted text is the prompt's metadata `target`, else the first part of the prompt in double quotes. The reward is
1 - min(d, n) / n, n the wanted text's length, d its Levenshtein distance from what was read; 0 when it is part of that.
"""

from __future__ import annotations

import re
import unicodedata

from .reward import Metadata

_QUOTED = re.compile('"([^"]*)"|“([^”]*)”|„([^“”]*)[“”]')
_MAX_LENGTH = 4096  # the distance is quadratic


def why_no_target(prompt: str, metadata: Metadata) -> str | None:
    """For Reward.check()."""
    target = _find_target(prompt, metadata)
    if target is None:
        return f'the prompt has no double-quoted text and no metadata "target": {prompt[:200]}'
    length = len(normalise(target))
    if length == 0:
        return f"the text that the image should show is empty, in the prompt: {prompt[:200]}"
    if length > _MAX_LENGTH:
        return f"the text that the image should show has {length} characters; at most {_MAX_LENGTH} are accepted"
    return None


def spelling_reward(text: str, prompt: str, metadata: Metadata) -> tuple[float, dict[str, object]]:
    """Of an image that shows `text`. ValueError where why_no_target() says why."""
    if why := why_no_target(prompt, metadata):
        raise ValueError(why)
    target = _find_target(prompt, metadata) or ""
    wanted, read = normalise(target), normalise(text)
    # A text that long is at least its surplus length away: cutting it keeps the reward at 0.
    distance = 0 if wanted in read else _levenshtein(wanted, read[: 2 * len(wanted)])
    details = {"text": text, "target": target, "distance": distance, "exact": wanted == read}
    return 1 - min(distance, len(wanted)) / len(wanted), details


def normalise(text: str) -> str:
    """As texts are compared: NFKC, case folded, without white space and what is invisible by design."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(each for each in folded if not each.isspace() and unicodedata.category(each) != "Cf")


def _find_target(prompt: str, metadata: Metadata) -> str | None:
    if "target" in metadata:
        return metadata["target"]
    quoted = _QUOTED.search(prompt)
    return next(part for part in quoted.groups() if part is not None) if quoted else None


def _levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
