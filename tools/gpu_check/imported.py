"""Prints NAME==VERSION of every package that the Python side of the bench imports, as they are installed here.

It is run once on the embedded model. The packages say that they need more, for command lines and downloads, and import
more where it happens to be installed: neither is wanted. torch and what it needs are left out: the other machine has
them.
"""

import contextlib
import importlib.metadata
import io
import os
import re
import runpy
import sys

from packaging.requirements import Requirement

from step import ROOT

ON_THE_EMBEDDED_MODEL = ["--model", str(ROOT / "models/tiny-sd3"), "--side", "8", "--seconds", "0"]
PYTHON_SIDE = ("diffusers", "transformers", "peft")
RUNS = [["sample"], ["train"], ["vae"], ["products"], ["flops", "--counted", "train"]]


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


def comes_with(name, found=None):
    found = set() if found is None else found
    if normal(name) not in found:
        found.add(normal(name))
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                comes_with(requirement.name, found)
    return found


def main():
    os.environ["DIFFUSERS_VERBOSITY"] = "error"
    for run in RUNS:
        sys.argv = ["full_size.py", *run, *ON_THE_EMBEDDED_MODEL]
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(str(ROOT / "bench/python_baseline/full_size.py"), run_name="__main__")
    for tool in ("random_pipeline.py", "random_clip_of_size.py"):
        runpy.run_path(str(ROOT / "tools" / tool))
    owners = importlib.metadata.packages_distributions()
    modules = {name.partition(".")[0] for name in sys.modules}
    imported = {normal(owner) for module in modules for owner in owners.get(module, [])}
    names = imported & set().union(*(comes_with(side) for side in PYTHON_SIDE)) - comes_with("torch")
    for name in sorted(names):
        print(f"{name}=={importlib.metadata.version(name)}")


if __name__ == "__main__":
    main()
