"""One image's answer, and how whatever a reward gives becomes one: a number within its bounds, or a typed error.

The bounds are those of common/scoring/score_bounds.h, which clients hold every server to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .reward import Image, Kind, Reward, RewardError

MAX_REWARD = 1e6
MAX_TEXT_BYTES = 1024  # of an error's message, of a detail
_MAX_DETAILS = 16
_MAX_KEY_BYTES = 64


@dataclass(frozen=True)
class Item:
    """An image to score, checked: its pixels are there."""

    image: Image
    prompt: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    reward: float = 0.0
    error: RewardError | None = None
    details: dict[str, str] = field(default_factory=dict)
    failure: BaseException | None = None  #: the exception behind the error, for the log


def cut(text: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """As UTF-8 can hold it, cut with "..." to the length."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - 3].decode("utf-8", "ignore") + "..."


def broken(message: str, failure: BaseException | None = None) -> Outcome:
    return Outcome(error=RewardError(cut(message), Kind.BROKEN), failure=failure)


def _describe(failure: BaseException) -> str:
    text = str(failure)
    return f"{type(failure).__name__}: {text}" if text else type(failure).__name__


def _of_exception(failure: BaseException, where: str) -> Outcome:
    if isinstance(failure, RewardError):
        return Outcome(error=RewardError(cut(str(failure)), failure.kind, failure.retry_after_s))
    return broken(f"{where} raised {_describe(failure)}", failure)


def of_result(result: Any) -> Outcome:
    """Of what a reward gave for one image."""
    if isinstance(result, RewardError):
        return _of_exception(result, "")
    details: Mapping[Any, Any] = {}
    if isinstance(result, tuple):
        if len(result) != 2 or not isinstance(result[1], Mapping):
            return broken(f"the reward gave a tuple of {len(result)}, expected (reward, details)")
        result, details = result
    if result is None or isinstance(result, (str, bytes, Mapping, Sequence)):
        return broken(f"the reward gave {_name(result)}, expected a number")
    try:
        reward = float(result)
    except Exception as failure:
        return broken(f"the reward gave {_name(result)}, expected a number: {_describe(failure)}", failure)
    if not math.isfinite(reward) or abs(reward) > MAX_REWARD:
        return broken(f"the reward gave {reward}, no number of at most {MAX_REWARD:.0f} in size; scale it")
    kept = sorted((str(key), value) for key, value in details.items())[:_MAX_DETAILS]
    return Outcome(reward, details={cut(key, _MAX_KEY_BYTES): cut(_detail(value)) for key, value in kept})


def _name(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _detail(value: object) -> str:
    # As the C++ scorers write them: marks of the report are made from `exact`: "true".
    return str(value).lower() if isinstance(value, bool) else str(value)


def _results_of(results: Any) -> list[Any]:
    if isinstance(results, (list, tuple)):
        return list(results)
    if hasattr(results, "tolist"):  # an array or tensor
        listed = results.tolist()
        if isinstance(listed, list):
            return listed
    raise TypeError(f"score() gave {_name(results)}, expected a list of one result an image")


def _call(reward: Reward, items: Sequence[Item]) -> list[Outcome]:
    """One call; an exception or a wrong count raises."""
    if reward.is_by_image:
        # Without the loop in Reward.score(): an exception would cost those before it.
        return [_score_one(reward, item) for item in items]
    results = _results_of(
        reward.score([i.image for i in items], [i.prompt for i in items], [dict(i.metadata) for i in items])
    )
    if len(results) != len(items):
        raise ValueError(f"{len(results)} results came for {len(items)} images")
    return [of_result(result) for result in results]


def _score_one(reward: Reward, item: Item) -> Outcome:
    try:
        return of_result(reward.score_one(item.image, item.prompt, dict(item.metadata)))
    except BaseException as failure:
        return _of_exception(failure, "score_one()")


def why_bad(reward: Reward, prompt: str, metadata: dict[str, str]) -> str | None:
    """What check() says; an exception of its own says something about the prompt, too: it would meet every image."""
    try:
        why = reward.check(prompt, dict(metadata))
    except RewardError as failure:
        return str(failure)
    except Exception as failure:
        return f"check() raised {_describe(failure)}"
    return None if why is None else str(why)


def score(reward: Reward, items: Sequence[Item], is_wanted: Callable[[int], bool]) -> list[Outcome]:
    """One outcome an item, in order; never raises, whatever the reward does.

    A batch that fails as a whole is scored again image by image, so that one image costs no other its reward; those
    that `is_wanted`, by position, says no to are left out of that.
    """
    outcomes: dict[int, Outcome] = {}
    for i, item in enumerate(items):
        if why := why_bad(reward, item.prompt, item.metadata):
            outcomes[i] = Outcome(error=RewardError(cut(why), Kind.BAD_INPUT))
    rest = [i for i in range(len(items)) if i not in outcomes]
    if rest:
        try:
            outcomes.update(zip(rest, _call(reward, [items[i] for i in rest]), strict=True))
        except BaseException as failure:
            if len(rest) == 1:
                outcomes[rest[0]] = _of_exception(failure, "score()")
            else:
                outcomes.update((i, _alone(reward, items[i], is_wanted(i))) for i in rest)
    return [outcomes[i] for i in range(len(items))]


def _alone(reward: Reward, item: Item, is_wanted: bool) -> Outcome:
    if not is_wanted:
        return broken("nobody waits for the result any more")
    try:
        return _call(reward, [item])[0]
    except BaseException as failure:
        return _of_exception(failure, "score()")
