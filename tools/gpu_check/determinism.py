"""The same twice: whether it gives the same bytes, and whether anything differs without model.deterministic."""

import service
from step import Failure, Step


def _names_of_differing(one, other):
    files = sorted({path.name for folder in (one, other) for path in folder.iterdir()})
    return [name for name in files if _bytes(one / name) != _bytes(other / name)], len(files)


def _bytes(path):
    return path.read_bytes() if path.exists() else None


def sampling(machine):
    def work(shell):
        first, second = (service.draw(machine, shell, machine.device, name) for name in ("first", "second"))
        differing, files = _names_of_differing(first, second)
        if differing:
            raise Failure(f"{len(differing)} of {files} files differ between two samplings: {', '.join(differing)}")
        return f"{files} files of two samplings: the same bytes", {"files": files}

    return work


def _two_trainings(machine, shell, deterministic):
    setting = f"model.deterministic={deterministic}"
    return [service.train(machine, shell, [machine.device], f"run-{i}", setting) for i in (1, 2)]


def training(machine):
    def work(shell):
        first, second = (run.adapter.read_bytes() for run in _two_trainings(machine, shell, "true"))
        if first != second:
            raise Failure("two trainings with model.deterministic gave different adapters")
        return f"adapters of two trainings with model.deterministic: the same {len(first)} bytes", {"bytes": len(first)}

    return work


def without(machine):
    def work(shell):
        first, second = (run.adapter.read_bytes() for run in _two_trainings(machine, shell, "false"))
        differ = first != second
        return f"adapters of two trainings without: {'different' if differ else 'the same'} bytes", {"differ": differ}

    return work


def steps(machine):
    return [
        Step("determinism/sampling", "`flowawr sample` twice", 60, sampling(machine)),
        Step("determinism/training", "`flowawr run` twice with model.deterministic", 90, training(machine)),
        Step("determinism/without", "`flowawr run` twice with model.deterministic: false", 90, without(machine)),
    ]
