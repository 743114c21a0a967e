"""Steps of a check: each has a limit of its own, a verdict that says what was compared, and stops no other."""

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parents[2]
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
LINES_OF_A_FAILURE = 20
# With less left of the whole budget a step is not begun: it would only be cut off.
LEAST_S = 5


class Failure(Exception):
    """What a step compared is not as it should be, or could not be computed; the message says by how much or why."""


class Skip(Exception):
    """A step has nothing to do here; the message says why."""


@dataclasses.dataclass
class Step:
    name: str
    title: str
    limit_s: float
    # Gets a Shell; returns what was compared and by how much, and figures for the report. Raises Failure or Skip.
    work: Callable
    needs: tuple = ()  # names of steps whose results it uses


class Shell:
    """Runs the programs of one step, until the step's time is over."""

    def __init__(self, folder, deadline):
        self.folder, self._deadline = folder, deadline

    def call(self, command, env=None, may_fail=False, given=""):
        """(exit code, stdout) of `command`, run in the root with `given` on stdin. Failure when it fails and may not,
        or takes too long."""
        command = [str(word) for word in command]
        name = " ".join([Path(command[0]).name, *command[1:2]])
        with open(self.folder / "stderr", "w+", encoding="utf-8", errors="replace") as errors:
            # Its own group: what it has started ends with it.
            process = subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=errors, text=True, errors="replace", start_new_session=True)
            try:
                output, _ = process.communicate(given, timeout=max(self._deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                raise Failure(f"{name}: not done when the step's time was over\n{shlex.join(command)}") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
            errors.seek(0)
            told = errors.read()
        if process.returncode != 0 and not may_fail:
            lines = (output + told).strip().splitlines()[-LINES_OF_A_FAILURE:]
            last = lines[-1] if lines else "without a word"
            raise Failure("\n".join([f"{name} ended with {process.returncode}: {last}", shlex.join(command), *lines]))
        return process.returncode, output


def select(steps, wanted):
    """Those whose name begins with one of `wanted` (none: all), and what they need."""
    chosen = [step for step in steps if not wanted or step.name.startswith(tuple(wanted))]
    needed = {name for step in chosen for name in step.needs}
    return [step for step in steps if step in chosen or step.name in needed]


def _do(step, folder, limit_s, deadline):
    started = time.monotonic()
    folder.mkdir(parents=True)
    left_s = deadline - started
    said, figures = "", {}
    try:
        if left_s < LEAST_S:
            raise Skip("no time is left of the whole check's")
        said, figures = step.work(Shell(folder, started + min(limit_s, left_s)))
        verdict = PASSED
    except Skip as reason:
        verdict, said = SKIPPED, str(reason)
    except Failure as failure:
        verdict, said = FAILED, str(failure)
    except Exception as error:  # of the step's own reading of results: its failure, too, and no other step's
        verdict, said = FAILED, f"{type(error).__name__}: {error}"
    return {"name": step.name, "title": step.title, "verdict": verdict, "said": said, "figures": figures,
            "seconds": round(time.monotonic() - started, 2)}


def _tell(line):
    print(line, file=sys.stderr, flush=True)


def run(steps, folder, budget_s, patience=1):
    """What became of each step, in order; each gets `patience` times its limit. Progress goes to stderr."""
    started, done = time.monotonic(), []
    for step in steps:
        elapsed = time.monotonic() - started
        _tell(f"[{elapsed:3.0f} s] {step.name}: {step.title} (at most {patience * step.limit_s:.0f} s)")
        result = _do(step, folder / step.name.replace("/", "-"), patience * step.limit_s, started + budget_s)
        _tell(f"        {result['verdict']}: {result['said']}")
        done.append(result)
    return done
