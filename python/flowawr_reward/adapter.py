"""Reward functions of other trainers, served as they are.

Public trainers write a reward as a function `(images, prompts, metadata) -> (scores, info)`: images a float tensor
[N, 3, H, W] of 0 to 1 (some take uint8 arrays [N, H, W, 3] or PIL images), prompts a list of N texts, metadata a list
of N dicts; and give scores as a list, array or tensor of N, alone or with something beside it, or several by name.
"""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .reward import Image, Metadata, Result, Reward, to_pil

ImageKind = Literal["torch", "numpy", "pil"]


def from_function(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    version: str = "",
    images: ImageKind = "torch",
    key: str | None = None,
    batch: int = 32,
    threads: int = 1,
    check: Callable[[str, Metadata], str | None] | None = None,
) -> Reward:
    """The function as a Reward.

    `name`: default, the function's own. `images`: what it is given; the pixels are those of the image exactly: x * 255
    rounds to them. A batch of images of several sizes becomes a call for each size. Metadata that are lists or
    objects, which come as JSON text, are decoded. Torch functions run without gradients.

    What it may give: N scores as a list, array or tensor, [N] or [N, 1]; a tuple of those and anything (of a dict in
    it, entries of N values become details of each image); or a dict of scores by name: `key` says which is the reward,
    else it is "avg", else the only one, and the others are details.
    """
    own = str(name or getattr(function, "__name__", ""))
    if own in ("", "<lambda>", "_fn", "inner", "wrapper"):
        raise ValueError(f"the function calls itself {own!r}: give the reward a name (--name)")
    if images == "torch":
        _torch()

    class FunctionReward(Reward):
        def check(self, prompt: str, metadata: Metadata) -> str | None:
            return None if check is None else check(prompt, metadata)

        def score(
            self, images_of: Sequence[Image], prompts: Sequence[str], metadata: Sequence[Metadata]
        ) -> Sequence[Result]:
            results: dict[int, Result] = {}
            for positions in _by_size(images_of):
                answer = _call(
                    function,
                    _convert([images_of[i] for i in positions], images),
                    [prompts[i] for i in positions],
                    [_decode(metadata[i]) for i in positions],
                )
                results.update(zip(positions, _results(answer, len(positions), key), strict=True))
            return [results[i] for i in range(len(images_of))]

    reward = FunctionReward()
    reward.name, reward.version, reward.batch, reward.threads = own, version or own, batch, threads
    return reward


def resolve(text: str) -> Any:
    """What "package.module:name" names; with brackets, "package.module:name(1, device='cpu')", what it returns when it
    is called with those literals. ValueError says what is wrong; errors within the module are its own."""
    module_name, _, expression = text.partition(":")
    try:
        node = ast.parse(expression, mode="eval").body
        call = node if isinstance(node, ast.Call) else None
        path = ast.unparse(call.func if call else node)
        arguments = [ast.literal_eval(each) for each in call.args] if call else []
        keywords = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords} if call else {}
        if not module_name or not all(part.isidentifier() for part in path.split(".")):
            raise ValueError
    except (SyntaxError, ValueError):
        raise ValueError(f"{text!r} is no MODULE:NAME or MODULE:NAME(ARGUMENTS), the arguments literals") from None
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise ValueError(f"there is no module {error.name!r} here: run it where it is, or install it") from None
        raise
    for part in path.split("."):
        if not hasattr(found, part):
            there = ", ".join(name for name in vars(found) if not name.startswith("_"))
            raise ValueError(f"{module_name} has no {path!r}; it has: {there[:500]}")
        found = getattr(found, part)
    return found(*arguments, **keywords) if call else found


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise ValueError("functions get torch tensors unless told otherwise, and torch is not here: pip install torch, "
                         "or --images numpy (images='numpy')") from None  # fmt: skip


def _by_size(images: Sequence[Image]) -> list[list[int]]:
    """Positions of the images of each size."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        sizes.setdefault(image.shape, []).append(i)
    return list(sizes.values())


def _convert(images: list[Image], kind: ImageKind) -> Any:
    if kind == "pil":
        return [to_pil(image) for image in images]
    stacked = np.stack(images)
    if kind == "numpy":
        return stacked
    return _torch().from_numpy(stacked).permute(0, 3, 1, 2).float().div(255)


def _decode(metadata: Metadata) -> dict[str, Any]:
    decoded: dict[str, Any] = dict(metadata)
    for name, value in metadata.items():
        if value[:1] in ("[", "{"):
            try:
                decoded[name] = json.loads(value)
            except ValueError:
                continue  # a text that begins so
    return decoded


def _call(function: Callable[..., Any], images: Any, prompts: list[str], metadata: list[dict[str, Any]]) -> Any:
    if isinstance(images, (list, np.ndarray)):
        return function(images, prompts, metadata)
    with _torch().no_grad():
        return function(images, prompts, metadata)


def _values(scores: Any) -> Any:
    """A list, where `scores` is a list, array or tensor of one dimension, or one of [N, 1]."""
    values = scores.tolist() if hasattr(scores, "tolist") else scores
    if isinstance(values, tuple):
        values = list(values)
    if isinstance(values, list) and all(isinstance(value, list) and len(value) == 1 for value in values):
        return [value[0] for value in values]
    return values


def _results(answer: Any, count: int, key: str | None) -> list[Result]:
    info: Mapping[Any, Any] = {}
    if isinstance(answer, tuple) and not (len(answer) == count and all(isinstance(x, (int, float)) for x in answer)):
        if not answer:
            raise TypeError("the function gave an empty tuple, expected scores")
        info = answer[1] if len(answer) > 1 and isinstance(answer[1], Mapping) else {}
        answer = answer[0]
    if isinstance(answer, Mapping):
        chosen = _choose(answer, key)
        info = {**info, **{name: value for name, value in answer.items() if name != chosen}}
        answer = answer[chosen]
    scores = _values(answer)
    if not isinstance(scores, list):
        raise TypeError(f"the function gave a {type(answer).__name__}, expected scores: a list, array or tensor")
    if len(scores) != count:
        raise ValueError(f"the function gave {len(scores)} scores for {count} images")
    details: list[dict[str, object]] = [{} for _ in scores]
    for name, of_all in info.items():
        values = _values(of_all)
        if isinstance(values, list) and len(values) == count:
            for each, value in zip(details, values, strict=True):
                each[str(name)] = f"{value:.6g}" if isinstance(value, float) else value
    return [(score, each) if each else score for score, each in zip(scores, details, strict=True)]


def _choose(scores: Mapping[Any, Any], key: str | None) -> Any:
    if key is None:
        key = "avg" if "avg" in scores else next(iter(scores)) if len(scores) == 1 else None
    if key not in scores:
        names = ", ".join(map(str, scores))
        wanted = "which is the reward is not said" if key is None else f"there is no {key!r}"
        raise ValueError(f"the function gave the scores {names}: {wanted} (--key)")
    return key
