"""Why a server does not start."""

from __future__ import annotations


class Refused(Exception):
    """The server cannot start as it was asked to; `exit_code` as of the project's commands."""

    def __init__(self, message: str, exit_code: int = 78) -> None:
        super().__init__(message)
        self.exit_code = exit_code
