"""Why a server does not start."""

from __future__ import annotations

from pathlib import Path


class Refused(Exception):
    """The server cannot start as it was asked to; `exit_code` as of the project's commands."""

    def __init__(self, message: str, exit_code: int = 78) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def read_option_file(path: str, option: str, most_bytes: int) -> bytes:
    """What the file holds that `option` names; Refused with the option when it cannot be had."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise Refused(f"{option}: {path} does not exist", 66) from None
    except OSError as error:
        raise Refused(f"{option}: {path} cannot be read: {error.strerror}", 77) from None
    if len(content) > most_bytes:
        raise Refused(f"{option}: {path} has {len(content)} bytes, too many")
    return content
