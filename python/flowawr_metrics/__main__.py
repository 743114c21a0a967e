"""python -m flowawr_metrics RUN_DIR --to wandb|mlflow|csv"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from flowawr_metrics.reader import follow, read
from flowawr_metrics.sinks import CsvSink, MlflowSink, Sink, WandbSink

# As the other programs of the service end.
_EXIT_CODES = {errno.ENOENT: 66, errno.ENOSPC: 75, errno.EDQUOT: 75, errno.EACCES: 77, errno.EPERM: 77, errno.EROFS: 77}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\nRun with --help for more information.\n")


def _drop_standard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m flowawr_metrics",
        description="Hands the figures of a FlowAWR run to Weights & Biases, to MLflow or to a table.",
        epilog="wandb and mlflow are yours to install (pip install wandb, pip install mlflow-skinny) and to log in to. "
        "Reads the run's folder alone and writes nothing there.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="the folder of the run")
    parser.add_argument("--to", choices=["wandb", "mlflow", "csv"], required=True)
    parser.add_argument("--follow", action="store_true", help="go on until the run has been evaluated at its end")
    parser.add_argument("--project", default="flowawr", help="of W&B, or experiment of MLflow; default: %(default)s")
    parser.add_argument("--out", metavar="FILE", help="of csv; default: standard output")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        return _hand_over(options)
    except OSError as error:
        if error.errno is None:  # a library's own kind, which says more by its trace
            raise
        _drop_standard_output()  # what it still holds would fail once more at the end
        print(f"{error.filename or options.out or 'standard output'}: {error.strerror}", file=sys.stderr)
        return _EXIT_CODES.get(error.errno, 70)


def _hand_over(options: argparse.Namespace) -> int:
    if not options.follow and not (options.run_dir / "metrics.jsonl").exists():
        print(
            f"{options.run_dir} has no metrics.jsonl: it is no folder of a run, or its run has not been evaluated yet "
            "(--follow waits for it)",
            file=sys.stderr,
        )
        return 66
    with ExitStack() as stack:
        sink: Sink
        try:
            if options.to == "wandb":
                sink = WandbSink(options.run_dir, options.project)
            elif options.to == "mlflow":
                sink = MlflowSink(options.run_dir, options.project)
            else:
                out = stack.enter_context(open(options.out, "w", newline="")) if options.out else sys.stdout
                sink = CsvSink(out)
        except ImportError as error:
            package = "mlflow-skinny" if options.to == "mlflow" else options.to
            print(f"{options.to} is not installed here ({error}): pip install {package}", file=sys.stderr)
            return 69
        try:
            for record in follow(options.run_dir) if options.follow else read(options.run_dir):
                sink.add(record)
            sink.finish()
        except KeyboardInterrupt:
            sink.finish()
        except BrokenPipeError:  # whoever read the table has seen enough
            _drop_standard_output()
    return 0


if __name__ == "__main__":
    sys.exit(main())
