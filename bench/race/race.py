#!/usr/bin/env python3
"""Reruns the race of the training methods: same base, prompts, seeds and number of images; learning rates tuned alike.

    .venv/bin/python bench/race/race.py list                      # settings, methods and what is done of them
    .venv/bin/python bench/race/race.py run on_policy two_steps   # tunes where it must, then trains; no name: all
    .venv/bin/python bench/race/race.py report                    # table.md, results.csv and a plot a setting

A training that is finished is not run again, one that was interrupted goes on where it was: Ctrl-C and start again at
will. Everything lies in runs/race (--folder). --methods, --seeds and --set narrow or change what runs; trainings with
other --set values belong into another --folder. Needs scripts/build; `report` needs matplotlib for its plots.
"""

import argparse
import csv
import json
import resource
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FLOWAWR = ROOT / "build/release/bin/flowawr"
SETTINGS = Path(__file__).with_name("settings.yaml")


def processor_seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Training:
    """One run directory and the command that fills it."""

    def __init__(self, folder, config, assignments):
        self.folder, self.config, self.assignments = folder, config, assignments

    def records(self):
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]  # the last may be half written

    def evaluations(self):
        found = [line for line in self.records() if line["kind"] == "evaluation" and line["reward_mean"] is not None]
        return sorted(found, key=lambda line: line["update"])

    def cost_file(self):
        return self.folder.with_name(self.folder.name + ".processor_seconds")

    def processor_seconds(self):
        """Of all its processes, over its resumes: unlike wall time the same on a machine that does other things
        besides."""
        return float(self.cost_file().read_text()) if self.cost_file().exists() else 0.0

    def is_finished(self):
        return any(line["kind"] == "evaluation" and line["set"] == "final" for line in self.records())

    def train(self):
        if self.is_finished():
            return
        command = [FLOWAWR, "run", self.config, "--run-dir", self.folder]
        if (self.folder / "metrics.jsonl").exists():
            command.append("--resume")
        for assignment in self.assignments:
            command += ["--set", assignment]
        print("race:", self.folder.relative_to(ROOT) if self.folder.is_relative_to(ROOT) else self.folder, flush=True)
        log = self.folder.with_name(self.folder.name + ".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        before = processor_seconds_of_children()
        try:
            with open(log, "a") as output:
                run = subprocess.Popen([str(word) for word in command], cwd=ROOT, stdout=output, stderr=output)
            try:
                run.wait()
            except SystemExit:  # ours: the training saves and ends
                run.send_signal(signal.SIGINT)
                run.wait()
                raise
        finally:
            self.cost_file().write_text(f"{self.processor_seconds() + processor_seconds_of_children() - before:.1f}\n")
        if not self.is_finished():
            raise SystemExit(f"race: {self.folder} did not finish (exit {run.returncode}); see {log}")


class Race:
    def __init__(self, arguments):
        self.plan = yaml.safe_load(SETTINGS.read_text())
        self.folder = Path(arguments.folder).resolve()
        self.extra = arguments.set
        self.wanted_methods = arguments.methods or list(self.plan["methods"])
        self.seeds = arguments.seeds or self.plan["seeds"]
        for method in self.wanted_methods:
            if method not in self.plan["methods"]:
                raise SystemExit(f"race: no method {method}; there are {', '.join(self.plan['methods'])}")

    def settings(self, names):
        for name in names:
            if name not in self.plan["settings"]:
                raise SystemExit(f"race: no setting {name}; there are {', '.join(self.plan['settings'])}")
        return names or list(self.plan["settings"])

    def methods(self, setting):
        able = self.plan["settings"][setting].get("methods", list(self.plan["methods"]))
        return [method for method in able if method in self.wanted_methods]

    def training(self, setting, method, seed, rate, updates=None, kind="race"):
        chosen = self.plan["settings"][setting]
        assignments = [*self.plan["common"]["set"], *self.plan["methods"][method], *chosen.get("set", []),
                       f"seed={seed}", f"optimizer.learning_rate={rate}"]
        if updates is not None:
            assignments.append(f"train.updates={updates}")
        assignments += self.extra
        config = chosen.get("config", self.plan["common"]["config"])
        return Training(self.folder / setting / f"{kind}-{method}-{rate:g}-{seed}", config, assignments)

    def tuning(self, setting, method, rate):
        """The trainings that tell how good a learning rate is."""
        tune = self.plan["tune"]
        setting = self.plan["settings"][setting].get("tuned_in", setting)
        return [self.training(setting, method, seed, rate, tune["updates"], "tune") for seed in tune["seeds"]]

    def score(self, setting, method, rate):
        """The mean of all held-out rewards after the first update; None: not known yet."""
        trainings = self.tuning(setting, method, rate)
        if not all(training.is_finished() for training in trainings):
            return None
        return statistics.mean(line["reward_mean"] for training in trainings for line in training.evaluations()
                               if line["update"] > 0)

    def climb(self, setting, method):
        """The best learning rate and the rates that must still be tried to know it, one of the two."""
        ladder = self.plan["tune"]["learning_rates"]
        at = ladder.index(self.plan["tune"]["start"])
        while True:
            around = ladder[max(at - 1, 0):at + 2]
            scores = {rate: self.score(setting, method, rate) for rate in around}
            if missing := [rate for rate in around if scores[rate] is None]:
                return None, missing
            best = max(around, key=scores.get)
            if best == ladder[at]:
                return best, []
            at = ladder.index(best)

    def rate(self, setting, method):
        return self.climb(setting, method)[0]

    def run(self, names):
        for setting in self.settings(names):
            for method in self.methods(setting):
                while missing := self.climb(setting, method)[1]:
                    for rate in missing:
                        for training in self.tuning(setting, method, rate):
                            training.train()
            for seed in self.seeds:  # in turns: what the machine does besides meets all methods
                for method in self.methods(setting):
                    self.training(setting, method, seed, self.rate(setting, method)).train()

    def finished(self, setting, method):
        rate = self.rate(setting, method)
        if rate is None:
            return None, []
        trainings = [self.training(setting, method, seed, rate) for seed in self.seeds]
        return rate, [training for training in trainings if training.is_finished()]

    def list(self):
        for setting in self.plan["settings"]:
            done = {method: len(self.finished(setting, method)[1]) for method in self.methods(setting)}
            print(f"{setting:20}", "  ".join(f"{method} {count}/{len(self.seeds)}" for method, count in done.items()))

    def report(self):
        rows = []
        for setting in self.plan["settings"]:
            for method in self.methods(setting):
                rate, trainings = self.finished(setting, method)
                rows += [figures(setting, method, rate, training, self.plan["levels"]) for training in trainings]
        if not rows:
            raise SystemExit("race: nothing is finished yet")
        with open(self.folder / "results.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        table = markdown(rows, self.plan["levels"])
        (self.folder / "table.md").write_text(table)
        print(table)
        for setting in dict.fromkeys(row["setting"] for row in rows):
            plot(self, setting)


def figures(setting, method, rate, training, levels):
    """One row of results.csv: when a training first reached each level, and where it ended."""
    records, evaluations = training.records(), training.evaluations()
    updates = {line["update"]: line for line in records if line["kind"] == "update"}
    row = {"setting": setting, "method": method, "learning_rate": rate, "folder": training.folder.name}
    for level in levels:
        first = next((line for line in evaluations if line["reward_mean"] >= level), None)
        update = first["update"] if first else None
        row[f"updates_to_{level}"] = update
        row[f"images_to_{level}"] = updates[update]["samples_trained"] if update else 0 if first else None
        row[f"seconds_to_{level}"] = round(first["elapsed_s"], 1) if first else None
    row["first"], row["final"] = evaluations[0]["reward_mean"], evaluations[-1]["reward_mean"]
    row["best"] = max(line["reward_mean"] for line in evaluations)
    drifts = [line["kl"] for line in updates.values() if line.get("kl") is not None]
    row["drift"] = drifts[-1] if drifts else None
    row["processor_seconds"] = training.processor_seconds()
    row["updates"] = max(updates)
    return row


def markdown(rows, levels):
    """Means over the seeds, of processor time the median; a level that not all of them reached is shown with how many
    did."""
    lines = ["| setting | method | learning rate | seeds | " + " | ".join(f"updates to {level}" for level in levels) +
             " | best | final | drift | processor s an update |", "|" + "---|" * (8 + len(levels))]
    for key in dict.fromkeys((row["setting"], row["method"]) for row in rows):
        of = [row for row in rows if (row["setting"], row["method"]) == key]
        cells = [*key, f"{of[0]['learning_rate']:g}", str(len(of))]
        for level in levels:
            reached = [row[f"updates_to_{level}"] for row in of if row[f"updates_to_{level}"] is not None]
            mean = f"{statistics.mean(reached):.0f}" if reached else "–"
            cells.append(mean if len(reached) in (0, len(of)) else f"{mean} ({len(reached)} of {len(of)})")
        for column in ("best", "final"):
            values = [row[column] for row in of]
            spread = f" ± {statistics.stdev(values) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        drifts = [row["drift"] for row in of if row["drift"] is not None]
        cells.append(f"{statistics.mean(drifts):.4f}" if drifts else "–")
        cells.append(f"{statistics.median(row['processor_seconds'] / row['updates'] for row in of):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(race, setting):
    """Held-out reward by images: the mean of the seeds as a line, their range as a band."""
    try:
        import matplotlib
    except ImportError:
        print("race: no plots without matplotlib (pip install matplotlib)", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    for method in race.methods(setting):
        rate, trainings = race.finished(setting, method)
        curves = [{line["update"]: line["reward_mean"] for line in training.evaluations()} for training in trainings]
        if not curves:
            continue
        updates = sorted(set.intersection(*(set(curve) for curve in curves)))
        values = [[curve[update] for curve in curves] for update in updates]
        line, = axes.plot(updates, [statistics.mean(of) for of in values], label=f"{method} (learning rate {rate:g})")
        axes.fill_between(updates, [min(of) for of in values], [max(of) for of in values], alpha=0.15,
                          color=line.get_color(), linewidth=0)
    axes.set(xlabel="updates", ylabel="held-out reward", title=setting.replace("_", " "))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(race.folder / f"{setting}.svg")
    pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["list", "run", "report"])
    parser.add_argument("settings", nargs="*", metavar="SETTING")
    parser.add_argument("--folder", default=ROOT / "runs/race", help="where everything lies (%(default)s)")
    parser.add_argument("--methods", nargs="+", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: those of settings.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every training")
    arguments = parser.parse_args()
    race = Race(arguments)
    signal.signal(signal.SIGINT, lambda *_: sys.exit("race: interrupted; start it again to go on"))
    {"list": race.list, "run": lambda: race.run(arguments.settings), "report": race.report}[arguments.command]()


if __name__ == "__main__":
    main()
