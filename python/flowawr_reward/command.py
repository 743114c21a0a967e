"""The command line of a reward server: what a reward's own script has through serve(), and `flowawr-reward`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from .adapter import from_function, resolve
from .refused import Refused
from .reward import Reward
from .server import Server, ServerOptions
from .version import VERSION

log = logging.getLogger("flowawr_reward")

_USAGE = 64  # exit codes as of the project's other commands
_FOOTER = """SIGTERM or Ctrl-C answers what is under way and exits 0. Exit codes: 1 the reward failed to load; 64 wrong
usage; 66 a file is missing; 73 the address is taken; 77 refused; 78 a file is no good."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_USAGE, f"{self.prog}: {message}\nRun with --help for more information.\n")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is no whole number of {least} to {most}")
        return int(text)

    return number


def _number(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is no number of {least:g} to {most:g}")
        return value

    return number


def _make_parser(description: str) -> argparse.ArgumentParser:
    parser = _Parser(
        description=description,
        epilog=_FOOTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    own = ServerOptions()
    add = parser.add_argument
    add("--listen", metavar="HOST:PORT", default=own.listen, help="port 0: any free one (%(default)s)")
    add("--endpoint-file", metavar="FILE", default="", help="file to write that address to, once serving")
    add("--metrics", metavar="HOST:PORT", default=own.metrics, help="where /metrics listens (%(default)s)")
    add("--metrics-endpoint-file", metavar="FILE", default="", help="file to write that address to")
    add("--tls-cert", metavar="PEM", default="", help="with --tls-key switches TLS on")
    add("--tls-key", metavar="PEM", default="", help="the key of --tls-cert")
    add("--tls-ca", metavar="PEM", default="", help="the authority that the actors trust: checks --tls-cert against it")
    add("--mutual-tls", action="store_true", help="clients must show a certificate that --tls-ca vouches for")
    add("--token-file", metavar="FILE", default="", help="holds the token that every call must carry")
    for role, may in (
        ("actor", "ask for scores"),
        ("reward", "ask for scores"),
        ("operator", "call everything that is here"),
        ("read-only", "list the rewards"),
    ):
        add(f"--{role}-token-file", metavar="FILE", default="", help=f"likewise; with that token a call may {may}")
    add("--insecure", action="store_true", help="allow listening outside loopback without TLS")
    add("--threads", metavar="N", type=_whole(1, 256), help="calls of each reward side by side (what the reward says)")
    add(
        "--max-batch",
        "--batch",
        metavar="N",
        type=_whole(1, 4096),
        help="images of one call of score() (what the reward says)",
    )
    add("--max-wait-ms", "--wait-ms", metavar="MS", type=_number(0, 60_000), default=own.max_wait_ms,
        help="for a batch to fill (%(default)g)")  # fmt: skip
    add("--max-queued", "--queue", metavar="N", type=_whole(1, 1_000_000), default=own.max_queued,
        help="images that may wait for a reward; more are told OVERLOADED (%(default)s)")  # fmt: skip
    add("--max-image-side", metavar="N", type=_whole(16, 65536), default=own.max_image_side,
        help="pixels; larger images are told BAD_INPUT (%(default)s)")  # fmt: skip
    add("--max-image-seconds", metavar="S", type=_number(0.1, 3600), default=own.max_image_seconds,
        help="scoring an image longer is given up: BROKEN (%(default)g)")  # fmt: skip
    add("--max-message-mib", metavar="N", type=_whole(1, 1024), default=own.max_message_mib,
        help="larger messages are refused (%(default)s)")  # fmt: skip
    add("--max-pending-mib", metavar="N", type=_whole(1, 1 << 20), default=own.max_pending_mib,
        help="of requests held at once; more are refused (%(default)s)")  # fmt: skip
    add("--log-level", choices=["debug", "info", "warning", "error"], default="info", help="(%(default)s)")
    add("--version", action="version", version=VERSION)
    return parser


def _options_of(values: argparse.Namespace) -> ServerOptions:
    names = {field.name for field in dataclasses.fields(ServerOptions)}
    return ServerOptions(**{name: value for name, value in vars(values).items() if name in names})


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    layout = "%(asctime)s.%(msecs)03d flowawr-reward %(levelname)s %(message)s"
    handler.setFormatter(logging.Formatter(layout, "%Y-%m-%dT%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(level.upper())
    log.propagate = False


def _serve_until_signal(rewards: Sequence[Reward], options: ServerOptions) -> None:
    stop, is_serving = threading.Event(), threading.Event()

    def on_signal(*_: object) -> None:
        stop.set()
        if not is_serving.is_set():  # a load may take minutes
            raise SystemExit(0)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
    server = Server(*rewards, options=options)
    is_serving.set()
    stop.wait()
    log.info("stopping: what is under way is answered first")
    if not server.stop():
        log.warning("a call of a reward has not returned; leaving without it")
        logging.shutdown()
        os._exit(0)  # its thread may hold what a tidy end waits for


def _run(prog: str, rewards: Sequence[Reward], options: ServerOptions) -> None:
    try:
        _serve_until_signal(rewards, options)
    except Refused as refused:
        print(f"{prog}: {refused}", file=sys.stderr)
        raise SystemExit(refused.exit_code) from None


def serve(*rewards: Reward, options: ServerOptions | None = None) -> None:
    """Serves until SIGTERM or Ctrl-C. Without `options`, reads them from the command line, where --help tells them.

    Exits with a message when it cannot serve; an exception of a reward's load() is the caller's.
    """
    prog = os.path.basename(sys.argv[0])
    if options is None:
        names = ", ".join(reward.name for reward in rewards)
        values = _make_parser(f"Serves {names} to FlowAWR training runs.").parse_args()
        _log_to_stderr(values.log_level)
        options = _options_of(values)
    _run(prog, rewards, options)


_DESCRIPTION = """Serves rewards written in Python to FlowAWR training runs.

A reward function of a public trainer, (images, prompts, metadata) -> scores, as it is:
  flowawr-reward --function my_rewards:sharpness
One that a factory makes, called with what stands in the brackets:
  flowawr-reward --function "flow_grpo.rewards:pickscore_score(device='cuda')" --name pickscore
A class of your own that derives flowawr_reward.Reward:
  flowawr-reward --reward my_rewards:Sharpness"""


def main() -> None:
    """`flowawr-reward`."""
    parser = _make_parser(_DESCRIPTION)
    add = parser.add_argument
    add("--function", metavar="MODULE:NAME[(...)]", action="append", default=[], help="may be repeated")
    add("--reward", metavar="MODULE:CLASS[(...)]", action="append", default=[], help="may be repeated")
    add("--name", metavar="NAME", action="append", default=[], help="of the functions' rewards, in order (theirs)")
    add("--images", choices=["torch", "numpy", "pil"], default="torch",
        help="what functions get: float tensors [N,3,H,W] of 0 to 1, uint8 arrays [N,H,W,3] or a list of PIL images "
        "(%(default)s)")  # fmt: skip
    add("--key", metavar="KEY", help="of the score, where a function gives several by name")
    values = parser.parse_args()
    _log_to_stderr(values.log_level)
    if not values.function and not values.reward:
        parser.error("give --function or --reward: there is nothing to serve")
    if len(values.name) > len(values.function):
        parser.error(f"{len(values.name)} names for {len(values.function)} functions")
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        names = [*values.name, *[None] * len(values.function)]
        rewards: list[Reward] = [
            from_function(resolve(text), name=name, images=values.images, key=values.key)
            for text, name in zip(values.function, names, strict=False)
        ]
        for text in values.reward:
            made = resolve(text)
            made = made() if isinstance(made, type) else made
            if not isinstance(made, Reward):
                parser.error(f"--reward {text} is a {type(made).__name__}, no flowawr_reward.Reward")
            rewards.append(made)
    except ValueError as error:
        parser.error(str(error))
    _run(parser.prog, rewards, _options_of(values))
