"""What this machine is: the card, its driver and clocks, torch, and what `flowawr doctor` says of them."""

import json
import shutil

from step import Step

CARD = ("name", "driver_version", "memory.total", "memory.used", "clocks.sm", "clocks.max.sm", "power.limit",
        "temperature.gpu")


def _cards(shell):
    """By nvidia-smi, where there is one."""
    if not shutil.which("nvidia-smi"):
        return []
    code, output = shell.call(["nvidia-smi", f"--query-gpu={','.join(CARD)}", "--format=csv,noheader"], may_fail=True)
    return [dict(zip(CARD, line.split(", "))) for line in output.splitlines()] if code == 0 else []


def machine_facts(machine):
    def work(shell):
        doctor = machine.program("bin/flowawr")
        _, output = shell.call([doctor, "doctor", "--json"], machine.programs_environment())
        cards = _cards(shell)
        said = f"{machine.device}, torch {machine.facts['torch']}, Python {machine.facts['python']}"
        said += "".join(f"; {card['name']}, driver {card['driver_version']}, {card['memory.total']}, "
                        f"{card['clocks.sm']} of {card['clocks.max.sm']}" for card in cards)
        return said, {"torch": machine.facts, "cards": cards, "doctor": json.loads(output)}

    return work


def steps(machine):
    return [Step("facts", "the machine, and `flowawr doctor`", 60, machine_facts(machine))]
