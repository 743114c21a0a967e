#!/usr/bin/env python3
"""Draws the boards from a Prometheus that watched a run, with matplotlib: the pictures of docs/monitoring.md.

usage: deploy/grafana/draw_dashboards.py HOST:PORT FOLDER [MINUTES [END]]
MINUTES: how far back, 10; END: seconds since 1970 instead of now. Needs matplotlib.
"""
import datetime
import math
import pathlib
import sys
import textwrap
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates
import matplotlib.pyplot as plt

from dashboard_queries import Prometheus, boards, fill_in, legend

SCALES = {"bytes": (1024, ["B", "KiB", "MiB", "GiB", "TiB"]), "Bps": (1024, ["B/s", "KiB/s", "MiB/s", "GiB/s"])}


def show(value, unit):
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit in SCALES:
        base, names = SCALES[unit]
        step = 0
        while abs(value) >= base and step + 1 < len(names):
            value, step = value / base, step + 1
        return f"{value:.3g} {names[step]}"
    if unit == "s":
        if abs(value) >= 86400:
            return f"{value / 86400:.3g} d"
        return f"{value / 60:.3g} min" if abs(value) >= 120 else f"{value:.3g} s"
    if unit == "ops":
        return f"{value:.3g}/s"
    return f"{value:.4g}"


def draw_stat(axes, panel, prometheus, end):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    words = []
    for target in panel["targets"]:
        for labels, value in prometheus.query(fill_in(target["expr"]), time=end):
            name = legend(target["legendFormat"], labels)
            only_name = "{{phase}}" in target["legendFormat"] or "{{cause}}" in target["legendFormat"]
            words.append(name if only_name else f"{name} {show(value, unit)}".strip())
    axes.set_axis_off()
    axes.text(0.5, 0.42, "\n".join(words[:3]) or "–", ha="center", va="center", fontsize=15 if len(words) < 2 else 10,
              color="#1f60c4", transform=axes.transAxes)


def draw_lines(axes, panel, prometheus, start, end):
    defaults = panel["fieldConfig"]["defaults"]
    unit, is_stacked = defaults["unit"], defaults["custom"]["stacking"]["mode"] == "normal"
    lines = {}
    for target in panel["targets"]:
        for labels, values in prometheus.range(fill_in(target["expr"]), start, end, max((end - start) / 150, 5)):
            lines[legend(target["legendFormat"], labels)] = dict(values)
    lines = {name: line for name, line in lines.items() if not is_stacked or any(v > 0 for v in line.values())}
    times = sorted({t for line in lines.values() for t in line})
    dates = [datetime.datetime.fromtimestamp(t, datetime.timezone.utc) for t in times]
    if is_stacked and lines:
        rows = [[0 if math.isnan(line.get(t, 0)) else line.get(t, 0) for t in times] for line in lines.values()]
        axes.stackplot(dates, rows, labels=list(lines), alpha=0.7, linewidth=0)
    else:
        for name, line in lines.items():
            axes.plot(dates, [line.get(t, math.nan) for t in times], label=name, linewidth=1.4)
    if not lines:
        axes.text(0.5, 0.5, "nothing to show", ha="center", va="center", color="gray", transform=axes.transAxes)
    axes.yaxis.set_major_formatter(lambda value, _: show(value, unit))
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    axes.set_xlim(datetime.datetime.fromtimestamp(start, datetime.timezone.utc),
                  datetime.datetime.fromtimestamp(end, datetime.timezone.utc))
    if defaults.get("min") == 0:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=7)
    if 0 < len(lines) <= 12:
        axes.legend(fontsize=6.5, loc="best", framealpha=0.6)


def draw(board, prometheus, start, end, file):
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
    figure = plt.figure(figsize=(16, rows * 0.42 + 0.5), facecolor="white")
    top = 0.5 / (rows * 0.42 + 0.5)
    figure.suptitle(board["title"], x=0.01, y=0.995, ha="left", va="top", fontsize=15)
    for panel in board["panels"]:
        at = panel["gridPos"]
        x, y, w, h = at["x"] / 24, at["y"] / rows, at["w"] / 24, at["h"] / rows
        height = 1 - top
        margin_x, low, high = 0.032, 0.9 / rows, 1.1 / rows
        axes = figure.add_axes([x + margin_x, height * (1 - y - h + low), w - margin_x - 0.008, height * (h - low - high)])
        axes.set_title("\n".join(textwrap.wrap(panel["title"], 60)), fontsize=9, loc="left")
        if panel["type"] == "stat":
            draw_stat(axes, panel, prometheus, end)
        else:
            draw_lines(axes, panel, prometheus, start, end)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def main():
    prometheus, folder = Prometheus(sys.argv[1]), pathlib.Path(sys.argv[2])
    minutes = float(sys.argv[3]) if len(sys.argv) > 3 else 10
    end = float(sys.argv[4]) if len(sys.argv) > 4 else time.time()
    folder.mkdir(parents=True, exist_ok=True)
    for board in boards():
        draw(board, prometheus, end - 60 * minutes, end, folder / f"{board['uid']}.png")


if __name__ == "__main__":
    main()
