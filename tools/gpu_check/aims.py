"""What the service is to reach on an H100, held against what a check has measured."""

import dataclasses
from typing import Callable

REACHED, MISSED, NOT_JUDGED = "reached", "not reached", "not judged"


@dataclasses.dataclass
class Aim:
    name: str
    wanted: float
    at_least: bool
    steps: tuple  # whose figures it is read from
    read: Callable  # from those figures, in that order


def _seconds_an_image(figures):
    return 1 / figures["service"]["rows_per_s"]


AIMS = [
    Aim("sampling at batch 24: share of the bfloat16 peak", 0.6, True, ("bench/sampling-24",),
        lambda s: s["service"]["share_of_peak"]),
    Aim("sampling at batch 24: times faster than diffusers", 1.5, True, ("bench/sampling-24",), lambda s: s["ratio"]),
    Aim("sampling at batch 24: times faster than torch.compile", 1.0, True, ("bench/sampling-24", "bench/compiled"),
        lambda s, c: c["torch.compile"]["median_s"] / s["service"]["median_s"]),
    Aim("an image at batch 1 with graphs: times the seconds of one at batch 24", 1.3, False,
        ("bench/graphs", "bench/sampling-24"), lambda one, many: _seconds_an_image(one) / _seconds_an_image(many)),
    Aim("training step: times faster than peft", 1.5, True, ("bench/training",), lambda t: t["ratio"]),
    Aim("training step: memory, of peft's", 1.0, False, ("bench/training",), lambda t: t["memory_ratio"]),
    Aim("two ranks: times faster than one", 1.9, True, ("bench/ranks",), lambda r: r["ratio"]),
]


def judge(results, machine):
    """One entry an aim; not judged where nothing was measured that could be."""
    by_name = {result["name"]: result for result in results}
    judged = []
    for aim in AIMS:
        entry = {"name": aim.name, "wanted": aim.wanted, "at_least": aim.at_least, "measured": None}
        judged.append(entry)
        entry["verdict"], entry["why"] = NOT_JUDGED, None
        if machine.is_quick:
            entry["why"] = "aims are for GPUs and true sizes"
            continue
        missing = [name for name in aim.steps if by_name.get(name, {}).get("verdict") != "passed"]
        if missing:
            entry["why"] = f"not measured: {', '.join(missing)}"
            continue
        try:
            measured = aim.read(*(by_name[name]["figures"] for name in aim.steps))
        except KeyError as absent:
            entry["why"] = f"not measured: {absent.args[0]}"
            continue
        entry["measured"] = measured
        is_reached = measured >= aim.wanted if aim.at_least else measured <= aim.wanted
        entry["verdict"] = REACHED if is_reached else MISSED
    return judged
