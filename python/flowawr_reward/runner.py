"""Runs one reward: a bounded queue of images across all requests, and the threads that score them in batches.

    score() x requests --images--> queue (bounded) --batches--> threads x Reward.score() --outcomes--> score() returns

Requests take turns, an image each: a large one does not hold up the small ones behind it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .metrics import ScorerSeries
from .outcome import Item, Outcome, broken, score
from .reward import Kind, Reward, RewardError

log = logging.getLogger("flowawr_reward")

_LOG_PAUSE_S = 10.0  # between two tracebacks of one reward


class TooLate(Exception):
    """The deadline passed before all images were scored."""


class Gone(Exception):
    """Nobody waits for the answer any more, or the server stops."""


@dataclass(frozen=True)
class RunnerOptions:
    batch: int = 1  #: images of one call
    threads: int = 1  #: calls side by side
    wait_s: float = 0.005  #: for a batch to fill; a reward that works image by image never waits
    max_queued: int = 1024  #: images; more are OVERLOADED
    max_image_s: float = 30.0  #: of scoring, for each image of a batch; longer: BROKEN, and the reward is stuck


@dataclass(eq=False)
class Request:
    """One score() call. Its fields are guarded by the runner's lock, but for `done`."""

    items: Sequence[Item | RewardError]
    deadline: float  # on time.monotonic()
    outcomes: list[Outcome | None]
    unsettled: int
    begun: float = field(default_factory=time.monotonic)
    queued: deque[int] = field(default_factory=deque)  # items that no thread has taken yet
    end: Exception | None = None  # why it was given up
    done: threading.Event = field(default_factory=threading.Event)  # settled or given up


class _Call:
    """A batch that a thread is at."""

    def __init__(self, entries: list[tuple[Request, int]], items: list[Item]) -> None:
        self.entries, self.items = entries, items
        self.start = time.monotonic()
        self.is_overdue = False  # its images are settled: whatever comes of it is thrown away

    def is_wanted(self, i: int) -> bool:
        return not self.entries[i][0].done.is_set()


class Runner:
    """Thread-safe. Owns its threads, which are daemons: nothing can end a call that never returns."""

    def __init__(self, reward: Reward, series: ScorerSeries, options: RunnerOptions) -> None:
        self.reward, self.batch = reward, options.batch
        self._series, self._options = series, options
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._requests: set[Request] = set()
        self._turns: deque[Request] = deque()  # those with queued images; the first is served next
        self._queued_images = 0
        self._calls: set[_Call] = set()
        self._is_stopped = False
        self._images_scored = 0
        self._errors = 0
        self._last_used: float | None = None
        self._image_s: float | None = None  # of scoring an image, as of late
        self._last_traceback = -_LOG_PAUSE_S
        self._untold = 0  # failures since the last traceback
        series.memory_bytes.set(reward.memory_bytes)
        for number in range(options.threads):
            threading.Thread(target=self._work, name=f"{reward.name}-{number}", daemon=True).start()

    # --- for those who ask

    def begin(self, items: Sequence[Item | RewardError], deadline: float) -> Request:
        """Queues the images; what finds no room is OVERLOADED, what is an error already stays that. Gone once stopped.
        finish() must follow."""
        request = Request(items, deadline, [None] * len(items), len(items))
        with self._lock:
            if self._is_stopped:
                raise Gone("the server stops")
            self._last_used = time.monotonic()
            self._requests.add(request)
            for i, item in enumerate(items):
                if isinstance(item, RewardError):
                    self._settle(request, i, Outcome(error=item))
                elif self._is_stuck():
                    self._settle(request, i, broken(self._why_stuck()))
                elif self._queued_images >= self._options.max_queued:
                    self._settle(request, i, Outcome(error=self._overloaded()))
                else:
                    request.queued.append(i)
                    self._queued_images += 1
            if request.queued:
                self._turns.append(request)
                self._has_work.notify(min(len(request.queued), self._options.threads))
            self._series.queued_images.set(self._queued_images)
        return request

    def finish(self, request: Request) -> list[Outcome]:
        """Waits for all outcomes, in order. TooLate when the deadline passes first, Gone after give_up(): what had not
        been begun is never scored."""
        if not request.done.wait(min(max(request.deadline - time.monotonic(), 0), threading.TIMEOUT_MAX)):
            self.give_up(request, TooLate("the deadline passed before all images were scored"))
        with self._lock:
            self._requests.discard(request)
            self._series.request_seconds.observe(time.monotonic() - request.begun)
            if request.end is not None:
                raise request.end
            return [outcome for outcome in request.outcomes if outcome is not None]

    def give_up(self, request: Request, end: Exception) -> None:
        """Harmless when it is over already."""
        with self._lock:
            if request.done.is_set():
                return
            request.end = end
            if request.queued:
                self._turns.remove(request)
                self._forget_queued(request)
            request.done.set()

    # --- for those who watch

    def watch(self) -> bool:
        """Ends the waiting for calls that take too long, and says whether the reward can be asked. To be called several
        times a second."""
        with self._lock:
            now = time.monotonic()
            for call in self._calls:
                limit = self._options.max_image_s * len(call.items)
                if call.is_overdue or now - call.start < limit:
                    continue
                call.is_overdue = True
                log.error(
                    "reward %s: a call for %d image(s) has not returned for %.1f s: given up (--max-image-seconds)",
                    self.reward.name,
                    len(call.items),
                    now - call.start,
                )
                why = f"scoring takes more than {self._options.max_image_s:g} s an image (--max-image-seconds)"
                for request, i in call.entries:
                    self._settle(request, i, broken(why))
            if self._is_stuck():
                for request in list(self._turns):
                    for i in list(request.queued):
                        self._settle(request, i, broken(self._why_stuck()))
                    self._forget_queued(request)
                self._turns.clear()
            self._series.is_healthy.set(not self._is_stuck())
            return not self._is_stuck()

    def describe(self) -> dict[str, object]:
        """The fields of a ScorerInfo that change; `why_stuck` empty for a healthy one."""
        with self._lock:
            info: dict[str, object] = {
                "images_scored": self._images_scored,
                "errors": self._errors,
                "queued_images": self._queued_images,
                "why_stuck": self._why_stuck() if self._is_stuck() else "",
            }
            if self._last_used is not None:
                info["seconds_since_use"] = 0.0 if self._requests else time.monotonic() - self._last_used
            return info

    def stop(self) -> bool:
        """Gives up what is under way. False when a call has not returned: its thread lives on."""
        with self._lock:
            self._is_stopped = True
            requests = list(self._requests)
            self._has_work.notify_all()
        for request in requests:
            self.give_up(request, Gone("the server stops"))
        with self._lock:
            return not self._calls

    # --- within; all but _work() need the lock

    def _is_stuck(self) -> bool:
        return sum(call.is_overdue for call in self._calls) >= self._options.threads

    def _why_stuck(self) -> str:
        longest = time.monotonic() - min(call.start for call in self._calls if call.is_overdue)
        return f"reward {self.reward.name} is stuck: a call has not returned for {longest:.1f} s; restart its server"

    def _overloaded(self) -> RewardError:
        seconds = 0.0
        if self._image_s is not None:
            seconds = min(max(self._queued_images * self._image_s / self._options.threads / 2, 0.05), 30.0)
        return RewardError(f"{self._queued_images} images are waiting already", Kind.OVERLOADED, seconds)

    def _forget_queued(self, request: Request) -> None:
        self._queued_images -= len(request.queued)
        request.queued.clear()
        self._series.queued_images.set(self._queued_images)

    def _settle(self, request: Request, index: int, outcome: Outcome) -> None:
        if outcome.error is None:
            self._images_scored += 1
            self._series.images["reward"].inc()
        else:
            self._errors += 1
            self._series.images[outcome.error.kind.name.lower()].inc()
        request.outcomes[index] = outcome
        request.unsettled -= 1
        if request.unsettled == 0:
            request.done.set()

    def _take(self) -> _Call | None:
        """The next batch; None once stopped."""
        while True:
            while self._queued_images == 0 and not self._is_stopped:
                self._has_work.wait()
            if self._options.batch > 1:
                until = time.monotonic() + self._options.wait_s
                while self._queued_images < self._options.batch and not self._is_stopped:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._has_work.wait(left)
            if self._is_stopped:
                return None
            entries: list[tuple[Request, int]] = []
            items: list[Item] = []
            now = time.monotonic()
            while self._turns and len(items) < self._options.batch:
                request = self._turns.popleft()
                if now >= request.deadline:
                    request.end = TooLate("the deadline passed before all images were scored")
                    self._forget_queued(request)
                    request.done.set()
                    continue
                i = request.queued.popleft()
                item = request.items[i]
                assert isinstance(item, Item)
                entries.append((request, i))
                items.append(item)
                self._queued_images -= 1
                self._series.waited_seconds.observe(now - request.begun)
                if request.queued:
                    self._turns.append(request)
            if entries:
                self._series.queued_images.set(self._queued_images)
                if self._queued_images:
                    self._has_work.notify()
                call = _Call(entries, items)
                self._calls.add(call)
                return call

    def _work(self) -> None:
        while True:
            with self._lock:
                call = self._take()
            if call is None:
                return
            outcomes = score(self.reward, call.items, call.is_wanted)
            seconds = time.monotonic() - call.start
            self._series.seconds.observe(seconds)
            self._series.batch_images.observe(len(call.items))
            with self._lock:
                self._calls.discard(call)
                each = seconds / len(call.items)
                self._image_s = each if self._image_s is None else 0.8 * self._image_s + 0.2 * each
                if not call.is_overdue:
                    for (request, i), outcome in zip(call.entries, outcomes, strict=True):
                        self._settle(request, i, outcome)
            if call.is_overdue:
                log.warning("reward %s: the call that was given up returned after %.1f s", self.reward.name, seconds)
            self._tell(outcomes)

    def _tell(self, outcomes: list[Outcome]) -> None:
        """Failures, for the log: with a traceback now and then, not one an image."""
        failures = [outcome for outcome in outcomes if outcome.error and outcome.error.kind is Kind.BROKEN]
        if not failures:
            return
        now = time.monotonic()
        with self._lock:
            self._untold += len(failures)
            if now - self._last_traceback < _LOG_PAUSE_S:
                return
            count, self._untold, self._last_traceback = self._untold, 0, now
        last = failures[-1]
        cause = last.failure
        log.error(
            "reward %s: %d image(s) got no reward; the last: %s",
            self.reward.name,
            count,
            last.error,
            exc_info=(type(cause), cause, cause.__traceback__) if cause else None,
        )
