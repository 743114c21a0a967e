"""The RewardService of reward.proto over runners. What comes from outside is checked here."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

from . import protocol
from .outcome import Item, Outcome, cut, why_bad
from .reward import Kind, RewardError
from .runner import Gone, Runner, TooLate

MAX_CALLS = 512  # each holds a thread of the server
_MAX_SCORING = 448  # of them, so that some stay free for whoever lists or checks
_MAX_ITEMS = 4096
_MAX_TEXT_BYTES = 64 << 10  # of a prompt, and of its metadata

_Score, _Result, _Error, _Info, _Fault = map(
    protocol.message, ("ScoreResponse", "ScoreResult", "ScoreError", "ScorerInfo", "PromptFault")
)


class Service:
    """Thread-safe."""

    def __init__(self, runners: Mapping[str, Runner], max_side: int, max_pending_bytes: int) -> None:
        self._runners, self._max_side, self._max_pending_bytes = runners, max_side, max_pending_bytes
        self._lock = threading.Lock()
        self._scoring = 0  # Score calls under way
        self._pending_bytes = 0  # of their requests
        self._calls = 0  # of all kinds

    def add_to(self, server: Any) -> None:
        handlers = {}
        for name, (request, response) in protocol.methods().items():
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                self._counted(getattr(self, name)),
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(protocol.SERVICE, handlers),))

    def is_idle(self) -> bool:
        """No handler is at work."""
        with self._lock:
            return self._calls == 0

    def _counted(self, method: Any) -> Any:
        def call(request: Any, context: Any) -> Any:
            with self._lock:
                self._calls += 1
            try:
                return method(request, context)
            finally:
                with self._lock:
                    self._calls -= 1

        return call

    # --- the calls of reward.proto

    def Score(self, request: Any, context: Any) -> Any:
        runner = self._find(request.scorer, context)
        self._check_count(len(request.items), "images", context)
        size = request.ByteSize()
        with self._lock:
            # One request always fits.
            is_too_much = self._scoring > 0 and self._pending_bytes + size > self._max_pending_bytes
            is_full = self._scoring >= _MAX_SCORING or is_too_much
            if not is_full:
                self._scoring += 1
                self._pending_bytes += size
        if is_full:
            message = f"{self._scoring} calls wait for their scores already; try again soon"
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        try:
            outcomes = self._score(runner, [self._item(item) for item in request.items], context)
        finally:
            with self._lock:
                self._scoring -= 1
                self._pending_bytes -= size
        response = _Score(scorer_version=_version(runner), weights_sha256=runner.reward.weights_sha256)
        response.results.extend(_result(outcome) for outcome in outcomes)
        return response

    def CheckPrompts(self, request: Any, context: Any) -> Any:
        runner = self._find(request.scorer, context)
        self._check_count(len(request.prompts), "prompts", context)
        response = protocol.message("CheckPromptsResponse")()
        for i, prompt in enumerate(request.prompts):
            if why := why_bad(runner.reward, prompt.text, dict(prompt.metadata)):
                response.faults.append(_Fault(index=i, message=cut(why)))
        return response

    def ListScorers(self, request: Any, context: Any) -> Any:
        infos = [_info(runner) for runner in self._runners.values()]
        return protocol.message("ListScorersResponse")(scorers=infos)

    def LoadScorer(self, request: Any, context: Any) -> Any:
        name = request.name or request.kind
        if name in self._runners:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"scorer {cut(name, 64)} is loaded")
        self._refuse_change(f"loading {cut(name, 64)}", context)

    def ReloadScorer(self, request: Any, context: Any) -> Any:
        self._find(request.name or request.kind, context)
        self._refuse_change("reloading it", context)

    def UnloadScorer(self, request: Any, context: Any) -> Any:
        self._find(request.name, context)
        self._refuse_change("unloading it", context)

    # --- within

    def _find(self, name: str, context: Any) -> Runner:
        runner = self._runners.get(name)
        if runner is None:
            near = difflib.get_close_matches(name[:64], self._runners, 1)
            message = f'no scorer "{cut(name, 64)}" is loaded here; there are: {", ".join(self._runners)}'
            context.abort(grpc.StatusCode.NOT_FOUND, message + (f'; did you mean "{near[0]}"?' if near else ""))
            raise AssertionError("abort() raises")
        return runner

    def _check_count(self, count: int, what: str, context: Any) -> None:
        if not 0 < count <= _MAX_ITEMS:
            message = f"a request holds 1 to {_MAX_ITEMS} {what}, not {count}"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)

    def _refuse_change(self, what: str, context: Any) -> None:
        names = ", ".join(self._runners)
        message = (
            f"this server's rewards are Python objects, made when it was started ({names}): {what} takes another "
            "server, or this one started anew; a run changes over by `flowawr reward swap`"
        )
        context.abort(grpc.StatusCode.UNIMPLEMENTED, message)

    def _item(self, item: Any) -> Item | RewardError:
        height, width = item.height, item.width
        if height == 0 or width == 0:
            return RewardError(f"the image is {height} x {width} pixels: nothing to score")
        if max(height, width) > self._max_side:
            return RewardError(
                f"the image is {height} x {width} pixels; at most {self._max_side} a side are accepted "
                "(--max-image-side of the reward server)"
            )
        rgb = item.image_rgb
        if len(rgb) != height * width * 3:
            return RewardError(
                f"the image has {len(rgb)} bytes, but {height} x {width} pixels of RGB take {height * width * 3}"
            )
        metadata = dict(item.metadata)
        prompt_bytes = len(item.prompt.encode())
        metadata_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
        if max(prompt_bytes, metadata_bytes) > _MAX_TEXT_BYTES:
            return RewardError(
                f"the prompt has {prompt_bytes} bytes and its metadata {metadata_bytes}; at most {_MAX_TEXT_BYTES} "
                "each are accepted"
            )
        return Item(np.frombuffer(rgb, np.uint8).reshape(height, width, 3), item.prompt, metadata)

    def _score(self, runner: Runner, items: list[Item | RewardError], context: Any) -> list[Outcome]:
        left = context.time_remaining()
        deadline = float("inf") if left is None else time.monotonic() + left
        code, end = grpc.StatusCode.UNAVAILABLE, "the server stops"
        try:
            request = runner.begin(items, deadline)
            # Called when the call ends, on the caller's side too: what nobody waits for is not computed.
            if not context.add_callback(lambda: runner.give_up(request, Gone("the caller has gone"))):
                runner.give_up(request, Gone("the caller has gone"))
            return runner.finish(request)
        except TooLate as error:
            code, end = grpc.StatusCode.DEADLINE_EXCEEDED, str(error)
        except Gone as error:
            code, end = grpc.StatusCode.UNAVAILABLE, str(error)
        context.abort(code, end)
        raise AssertionError("abort() raises")


def _result(outcome: Outcome) -> Any:
    if outcome.error is None:
        return _Result(reward=outcome.reward, details=outcome.details)
    error = outcome.error
    wait = min(max(float(error.retry_after_s), 0.0), 3600.0) if error.kind is Kind.OVERLOADED else 0.0
    return _Result(error=_Error(kind=error.kind.value, message=str(error), retry_after_s=wait))


def _version(runner: Runner) -> str:
    return runner.reward.version or runner.reward.name


def _info(runner: Runner) -> Any:
    reward, now = runner.reward, runner.describe()
    why_stuck = now.pop("why_stuck")
    return _Info(
        name=reward.name,
        kind="python",
        version=_version(runner),
        weights_sha256=reward.weights_sha256,
        memory_bytes=reward.memory_bytes,
        largest_batch=runner.batch,
        options=reward.options,
        health=_Info.STUCK if why_stuck else _Info.HEALTHY,
        health_message=why_stuck,
        **now,
    )
