"""Whose token may call what: the rules of common/rpc/access.h and token_book.h, for the methods that are served
here."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable

from .refused import Refused, read_option_file

log = logging.getLogger("flowawr_reward")

GRACE_S = 60.0  #: how long a token that was taken out of its file is still known
_LOOK_EVERY_S = 1.0
_DATE_STEP_S = 2.0  # file systems date in steps of up to this
_MIN_TOKEN_CHARS = 16
_MAX_TOKENS = 8
_MAX_FILE_BYTES = 4096

ROLES = {
    "all": ("--token-file", "of all rights"),
    "actor": ("--actor-token-file", "the actors'"),
    "reward": ("--reward-token-file", "of reward users"),
    "operator": ("--operator-token-file", "an operator's"),
    "read_only": ("--read-only-token-file", "for looking only"),
}
_SCORES = {"actor", "reward", "operator"}
_SERVICE = "/flowawr.v1.RewardService/"
_METHODS = {
    f"{_SERVICE}Score": _SCORES,
    f"{_SERVICE}CheckPrompts": _SCORES,
    f"{_SERVICE}ListScorers": {*_SCORES, "read_only"},
    f"{_SERVICE}LoadScorer": {"operator"},
    f"{_SERVICE}UnloadScorer": {"operator"},
    f"{_SERVICE}ReloadScorer": {"operator"},
    "/grpc.health.v1.Health/Check": {*_SCORES, "read_only"},
    "/grpc.health.v1.Health/Watch": {*_SCORES, "read_only"},
}


def why_not(role: str, method: str) -> str:
    """Why a token of this role may not call that; empty: it may."""
    if role == "all" or role in _METHODS.get(method, set()):
        return ""
    wanted = sorted(_METHODS.get(method, set())) or ["all rights"]
    return (
        f"the token is {ROLES[role][1]}; {method.rpartition('/')[2]} needs one of: {', '.join(wanted)}; set "
        "network.token_file, where you call from, to the file of such a token"
    )


def read_tokens(path: str, option: str = "--token-file") -> list[str]:
    """One a line; blanks and empty lines are left out. Refused says what is wrong, never a token."""
    content = read_option_file(path, option, _MAX_FILE_BYTES)
    tokens = [line.strip() for line in content.decode("latin-1").split("\n") if line.strip()] or [""]
    if len(tokens) > _MAX_TOKENS:
        raise Refused(f"{option}: {path} holds {len(tokens)} tokens, expected at most {_MAX_TOKENS}")
    for token in tokens:
        if len(token) < _MIN_TOKEN_CHARS:
            raise Refused(
                f"{option}: the token in {path} has {len(token)} characters, expected at least {_MIN_TOKEN_CHARS}; "
                "make one with: openssl rand -hex 32"
            )
        if not all("!" <= character <= "~" for character in token):
            raise Refused(f"{option}: the token in {path} must be one word of visible ASCII characters")
    return tokens


class FileStamps:
    """Whether files were written anew since somebody looked, links that lead elsewhere now included."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = list(paths)
        self._seen: list[tuple[float, ...]] | None = None

    def look(self) -> bool:
        stamps = [self._stamp(path) for path in self._paths]
        if stamps == self._seen:
            return False
        # While the last writing is so recent that a further one could bear the same date, look again next time.
        is_settled = all(max(stamp[-2:], default=0) < time.time() - _DATE_STEP_S for stamp in stamps)
        self._seen = stamps if is_settled else None
        return True

    @staticmethod
    def _stamp(path: str) -> tuple[float, ...]:
        try:
            stat = os.stat(path)
        except OSError:
            return ()
        return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_ctime)


class TokenBook:
    """Keeps digests only, and keeps them true while the files change; a file that cannot be used changes nothing.
    Thread-safe."""

    def __init__(self, files: dict[str, str], now: Callable[[], float] = time.monotonic) -> None:
        self._files = {role: path for role, path in files.items() if path}
        self._now = now
        self._lock = threading.Lock()
        self._stamps = FileStamps(self._files.values())
        self._stamps.look()
        self._looked = now()
        self._entries = self._read()
        self._last_problem = ""

    @property
    def is_open(self) -> bool:
        """There is no token file: everybody may call."""
        return not self._files

    def role_of(self, token: bytes) -> str | None:
        digest = hashlib.sha256(token).digest()
        with self._lock:
            if self._now() - self._looked >= _LOOK_EVERY_S:
                self._refresh()
            found = self._find(digest)
            if found is None:
                self._refresh()
                found = self._find(digest)
            return found

    def _read(self) -> dict[bytes, tuple[str, float]]:
        entries: dict[bytes, tuple[str, float]] = {}
        for role, path in self._files.items():
            for token in read_tokens(path, ROLES[role][0]):
                digest = hashlib.sha256(token.encode()).digest()
                if entries.get(digest, (role,))[0] != role:
                    raise Refused(
                        f"{ROLES[entries[digest][0]][0]} and {ROLES[role][0]} hold the same token; every role needs "
                        "its own"
                    )
                entries[digest] = (role, float("inf"))
        return entries

    def _find(self, digest: bytes) -> str | None:
        found = None
        for known, (role, _) in self._entries.items():  # all of them, whichever it is
            if hmac.compare_digest(known, digest):
                found = role
        return found

    def _refresh(self) -> None:
        self._looked = self._now()
        self._entries = {key: entry for key, entry in self._entries.items() if entry[1] > self._looked}
        if not self._stamps.look():
            return
        try:
            entries = self._read()
        except Refused as refused:
            if str(refused) != self._last_problem:
                log.warning("tokens stay as they were: %s", refused)
            self._last_problem = str(refused)
            return
        self._last_problem = ""
        for digest, (role, until) in self._entries.items():
            if digest not in entries:
                entries[digest] = (role, min(until, self._looked + GRACE_S))
        self._entries = entries
