#!/usr/bin/env python3
"""Draws the boards from a Prometheus that watched a run, with matplotlib: the pictures of docs/monitoring.md.

usage: deploy/grafana/draw_dashboards.py HOST:PORT FOLDER [MINUTES [END [BOARD...]]]
MINUTES: how far back, 10; END: seconds since 1970, or `now`; BOARD: by its uid, all of them unless named.
Needs matplotlib.
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
import matplotlib.patches
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy
import PIL.Image

from dashboard_queries import Prometheus, boards, fill_in, legend

SCALES = {"bytes": (1024, ["B", "KiB", "MiB", "GiB", "TiB"]), "Bps": (1024, ["B/s", "KiB/s", "MiB/s", "GiB/s"])}
ENDINGS = {"ops": "/s", "watt": " W", "celsius": " °C"}
# Inches: of a column and a row of Grafana's grid, of the board's title, around a panel, of a legend's line and letter.
COLUMN, ROW, TITLE, GAP, LINE, LETTER = 0.66, 0.36, 0.5, 0.06, 0.15, 0.062
COLOURS = plt.get_cmap("tab20").colors[::2] + plt.get_cmap("tab20").colors[1::2]


def scale_of(value, unit):
    """What a value of that unit is divided by, and the name of what comes out."""
    if unit in SCALES:
        base, names = SCALES[unit]
        step = min(int(math.log(abs(value), base)), len(names) - 1) if abs(value) >= 1 else 0
        return base**step, f" {names[step]}"
    if unit == "s":
        for seconds, name in ((86400, " d"), (7200, " h"), (120, " min")):
            if abs(value) >= seconds:
                return {" d": 86400, " h": 3600, " min": 60}[name], name
        return 1, " s"
    return (0.01, "%") if unit == "percentunit" else (1, ENDINGS.get(unit, ""))


def show(value, unit, decimals=None):
    divisor, name = scale_of(value, unit)
    number = value / divisor
    if decimals is None and abs(number) >= 0.001:
        return f"{number:.3g}{name}"
    return f"{number:.{decimals or 0}f}{name}"


def date_of(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def on(figure, left, top, width, height):
    """Axes at a place in inches, from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes([left / across, 1 - (top + height) / down, width / across, height / down])


def frame(figure, title, left, top, width, height):
    axes = on(figure, left, top, width, height)
    axes.set_axis_off()
    axes.add_patch(matplotlib.patches.Rectangle((0, 0), 1, 1, facecolor="white", edgecolor="#d5d7da", linewidth=1.2,
                                                transform=axes.transAxes))
    axes.text(0.08 / width, 1 - 0.08 / height, title, ha="left", va="top", fontsize=9, transform=axes.transAxes)
    return axes


def draw_stat(axes, panel, prometheus, end):
    defaults, words = panel["fieldConfig"]["defaults"], []
    is_named = panel["options"]["textMode"] == "name"
    for target in panel["targets"]:
        for labels, value in prometheus.query(fill_in(target["expr"]), time=end):
            name = legend(target["legendFormat"], labels)
            figure = show(value, defaults["unit"], defaults.get("decimals"))
            words.append(name if is_named else f"{name} {figure}".strip())
    text = "\n".join(words[:4]) or textwrap.fill(defaults.get("noValue", "no data"), 16)
    axes.text(0.5, 0.4, text, ha="center", va="center", fontsize=10 if len(text) > 12 else 17,
              color="#1f60c4" if words else "gray", transform=axes.transAxes)


def marks_of(board, prometheus, start, end):
    """When what the board annotates began: [(time, colour)]."""
    began = []
    for annotation in board["annotations"]["list"]:
        for _, values in prometheus.range(fill_in(annotation["expr"]), start, end, 5):
            began += [(t, annotation["iconColor"]) for (t, _), before in zip(values, [(-math.inf, 0), *values])
                      if t - before[0] > 5]
    return began


def columns_for(names, width):
    """How many columns a legend of these names takes in that many inches."""
    for columns in range(len(names), 1, -1):
        longest = [max(map(len, column)) for column in numpy.array_split(names, columns)]  # as matplotlib splits them
        if sum(LETTER * letters + 0.35 for letters in longest) <= width:
            return columns
    return 1


def lines_of(panel, prometheus, start, end):
    """By legend: {time: value}."""
    step, lines = max((end - start) / 150, 5), {}
    for target in panel["targets"]:
        for labels, values in prometheus.range(fill_in(target["expr"]), start, end, step):
            lines[legend(target["legendFormat"], labels)] = dict(values)
    return lines


def set_scale(axes, defaults, lines):
    """Ticks at round numbers of the unit, whole ones of what is counted, and room above what never moves."""
    greatest = max((v for line in lines.values() for v in line.values() if not math.isnan(v)), default=0)
    low, high = axes.get_ylim()
    if defaults.get("min") == 0:
        low, high = 0, max(high, 1.05 * greatest, defaults["custom"].get("axisSoftMax", 0))
        if greatest == 0 and "axisSoftMax" not in defaults["custom"]:
            high = 1
    axes.set_ylim(low, high)
    divisor, name = scale_of(max(abs(low), abs(high)), defaults["unit"])
    is_whole = defaults.get("decimals") == 0 or name == " B"
    locator = matplotlib.ticker.MaxNLocator(5, integer=is_whole, steps=[1, 2, 2.5, 5, 10])
    ticks = [divisor * tick for tick in locator.tick_values(low / divisor, high / divisor)]
    axes.set_yticks([tick for tick in ticks if low <= tick <= high])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / divisor:.6g}{name}")


def draw_lines(figure, panel, lines, marks, start, end, left, top, width, height):
    defaults = panel["fieldConfig"]["defaults"]
    is_stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    columns = columns_for(list(lines), width - 0.4)
    legend_height = LINE * math.ceil(len(lines) / columns) + 0.05
    axes = on(figure, left + 0.62, top + 0.3, width - 0.72, height - 0.55 - legend_height)
    axes.set_prop_cycle(color=COLOURS)
    times = sorted({t for line in lines.values() for t in line})
    dates = [date_of(t) for t in times]
    if is_stacked and lines:
        rows = [[0 if math.isnan(line.get(t, 0)) else line.get(t, 0) for t in times] for line in lines.values()]
        axes.stackplot(dates, rows, labels=list(lines), colors=COLOURS, alpha=0.7, linewidth=0)
        lines = {"all": {t: sum(column) for t, column in zip(times, zip(*rows))}}
    else:
        for name, line in lines.items():
            axes.plot(dates, [line.get(t, math.nan) for t in times], label=name, linewidth=1.4)
    if not lines:
        axes.text(0.5, 0.5, defaults.get("noValue", "no data"), ha="center", va="center", color="gray",
                  transform=axes.transAxes)
        axes.set_yticks([])
    else:
        set_scale(axes, defaults, lines)
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(-0.02, -0.22 / (height - 0.55 - legend_height)),
                    ncols=columns, frameon=False, borderaxespad=0, borderpad=0, handlelength=1, columnspacing=1.2,
                    labelspacing=0.25, handletextpad=0.5)
    for at, colour in marks:
        axes.axvline(date_of(at), color=colour, linewidth=0.8, linestyle="--")
    axes.xaxis.set_major_locator(matplotlib.dates.MinuteLocator(interval=max(1, round((end - start) / 60 / width))))
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    axes.set_xlim(date_of(start), date_of(end))
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=7, length=2, color="gray")
    for side in axes.spines.values():
        side.set_color("#c0c0c0")


def draw(board, prometheus, start, end, file):
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
    figure = plt.figure(figsize=(24 * COLUMN + GAP, rows * ROW + TITLE + GAP), facecolor="#f4f5f5")
    figure.suptitle(board["title"], x=0.01, y=1 - 0.12 / (rows * ROW + TITLE), ha="left", va="top", fontsize=15)
    marks = marks_of(board, prometheus, start, end)
    for panel in board["panels"]:
        at = panel["gridPos"]
        place = (at["x"] * COLUMN + GAP, TITLE + at["y"] * ROW, at["w"] * COLUMN - GAP, at["h"] * ROW - GAP)
        axes = frame(figure, panel["title"], *place)
        if panel["type"] == "stat":
            draw_stat(axes, panel, prometheus, end)
        else:
            draw_lines(figure, panel, lines_of(panel, prometheus, start, end), marks, start, end, *place)
    figure.set_dpi(80)
    figure.canvas.draw()
    picture = PIL.Image.fromarray(numpy.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    picture.quantize(64, dither=PIL.Image.Dither.NONE).save(file, optimize=True)  # a quarter of the bytes
    plt.close(figure)


def main():
    prometheus, folder = Prometheus(sys.argv[1]), pathlib.Path(sys.argv[2])
    minutes = float(sys.argv[3]) if len(sys.argv) > 3 else 10
    end = float(sys.argv[4]) if len(sys.argv) > 4 and sys.argv[4] != "now" else time.time()
    folder.mkdir(parents=True, exist_ok=True)
    for board in boards():
        if not sys.argv[5:] or board["uid"] in sys.argv[5:]:
            draw(board, prometheus, end - 60 * minutes, end, folder / f"{board['uid'].replace('flowawr', 'board')}.png")


if __name__ == "__main__":
    main()
