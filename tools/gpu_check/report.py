"""A check's results as JSON for programs and as tables for people."""

import json

SCHEMA = 1  # raised when a field changes its meaning or goes


def whole(machine, results, aims, seconds):
    return {"schema": SCHEMA, "device": machine.device, "is_quick": machine.is_quick, "torch": machine.facts["torch"],
            "devices": machine.facts["devices"], "bundle": machine.bundle, "seconds": round(seconds, 1),
            "steps": results, "aims": aims}


def as_json(report):
    return json.dumps(report, indent=1) + "\n"


def table(results, aims):
    lines = ["| step | verdict | what was compared | seconds |", "|---|---|---|---|"]
    for result in results:
        said = result["said"].splitlines()[0].replace("|", "\\|") if result["said"] else ""
        lines.append(f"| {result['name']} | {result['verdict']} | {said} | {result['seconds']:.0f} |")
    lines += ["", "| aim | wanted | measured | |", "|---|---|---|---|"]
    for aim in aims:
        wanted = f"{'at least' if aim['at_least'] else 'at most'} {aim['wanted']:g}"
        measured = "" if aim["measured"] is None else f"{aim['measured']:.2f}"
        why = f": {aim['why']}" if aim["why"] else ""
        lines.append(f"| {aim['name']} | {wanted} | {measured} | {aim['verdict']}{why} |")
    return "\n".join(lines)
