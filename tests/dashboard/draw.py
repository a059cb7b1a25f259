"""Draws the dashboard as CloudWatch lays it out, from what `measure.py` has measured: `draw.py MEASURED.json PICTURE.svg`.

Grey in a legend: measured by AWS only. Texts remain texts, so that a test finds the title of each widget and the label of each metric.
"""

import json
import math
import re
import sys
import textwrap
from datetime import datetime, timezone

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

# Inches of a column and a row of the grid, and the space around what is in a widget.
COLUMN, ROW = 0.6, 0.42
COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b"]
BORDER, GREY, DARK, LINE = "#d5dbdb", "#98a2a5", "#16191f", "#b0413e"
STATES = {"OK": "#2e8540", "ALARM": "#d13212", "state: AWS only": GREY}
plt.rcParams |= {
    "axes.edgecolor": BORDER,
    "axes.linewidth": 0.6,
    # A short list, for it is repeated at each text.
    "font.monospace": ["DejaVu Sans Mono"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "lines.linewidth": 1.1,
    "lines.markersize": 2.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "dashboard",
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def statistic(name, values):
    """A statistic of CloudWatch; a percentile by the nearest rank."""
    if name.startswith("p"):
        return sorted(values)[math.ceil(len(values) * float(name[1:]) / 100) - 1]
    mean = sum(values) / len(values)
    return {"Average": mean, "Maximum": max(values), "Minimum": min(values), "SampleCount": len(values), "Sum": sum(values)}[name]


class Picture:
    def __init__(self, measured):
        self.begin, self.end = measured["begin"], measured["end"]
        self.points, self.failures = measured["points"], measured["failures"]
        self.dashboard, self.alarms = measured["dashboard"], measured["alarms"]
        self.height = max(widget["y"] + widget["height"] for widget in self.dashboard["widgets"])
        self.figure = plt.figure(figsize=(24 * COLUMN, self.height * ROW), facecolor="#f2f3f3")

    def series(self, name, resource, stat, period):
        """Pairs of a time and a value. Periods end with the measurement."""
        periods = {}
        for point, of, at, values in self.points:
            if (point, of) == (name, resource):
                periods.setdefault(int((self.end - at) // period), []).extend(values)
        return [(self.end - (at + 0.5) * period, statistic(stat, periods[at])) for at in sorted(periods, reverse=True)]

    def state(self, alarm):
        """The state of an alarm on one metric of the service; all others are for AWS to tell."""
        if alarm.get("Namespace") != "FlagSchedules":
            return "state: AWS only"
        resource = f"${{{alarm['Dimensions'][0]['Value']['Ref']}}}"
        series = self.series(alarm["MetricName"], resource, alarm["Statistic"], alarm["Period"])
        latest = [value for _, value in series[-alarm["EvaluationPeriods"]:]]
        breaches = {
            "GreaterThanThreshold": lambda value: value > alarm["Threshold"],
            "GreaterThanOrEqualToThreshold": lambda value: value >= alarm["Threshold"],
            "LessThanThreshold": lambda value: value < alarm["Threshold"],
        }[alarm["ComparisonOperator"]]
        return "ALARM" if latest and all(map(breaches, latest)) else "OK"

    def box(self, left, top, width, height):
        """A part of a widget in units of the grid, as matplotlib wants it."""
        return [left / 24, 1 - (top + height) / self.height, width / 24, height / self.height]

    def text(self, left, top, text, **style):
        self.figure.text(left / 24, 1 - top / self.height, text, va="center", **{"color": DARK} | style)

    def rectangle(self, left, top, width, height, **style):
        x, y, width, height = self.box(left, top, width, height)
        self.figure.add_artist(Rectangle((x, y), width, height, transform=self.figure.transFigure, zorder=-1, **style))

    def draw(self):
        for widget in self.dashboard["widgets"]:
            x, y, width, height = (widget[key] for key in ("x", "y", "width", "height"))
            self.rectangle(x + 0.08, y + 0.1, width - 0.16, height - 0.2, facecolor="white", edgecolor=BORDER, linewidth=0.8)
            self.text(x + 0.3, y + 0.6, widget["properties"]["title"], size=8.5, weight="bold")
            getattr(self, widget["type"])(x, y, width, height, widget["properties"])

    def alarm(self, x, y, width, height, properties):
        alarms = [self.alarms[arn[2:].split(".")[0]] for arn in properties["alarms"]]
        alarms = sorted(((self.state(alarm), alarm["AlarmName"]) for alarm in alarms), key=lambda one: one[0] != "ALARM")
        columns = 6
        rows = math.ceil(len(alarms) / columns)
        cell, high = (width - 0.5) / columns, (height - 1.3) / rows
        for at, (state, name) in enumerate(alarms):
            left, top = x + 0.25 + at % columns * cell, y + 1.05 + at // columns * high
            self.rectangle(left + 0.05, top + 0.08, cell - 0.1, high - 0.16, facecolor="white", edgecolor=STATES[state], linewidth=0.8)
            self.rectangle(left + 0.05, top + 0.08, 0.1, high - 0.16, facecolor=STATES[state], linewidth=0)
            self.text(left + 0.3, top + high * 0.36, name, size=7.5)
            self.text(left + 0.3, top + high * 0.68, state, size=6, color=STATES[state])

    def metric(self, x, y, width, height, properties):
        axes = self.figure.add_axes(self.box(x + 1.2, y + 1.2, width - 2.4, height - 2.75))
        right = axes.twinx() if "right" in properties["yAxis"] else None
        rows, stack = [], None
        for at, (_, name, _, resource, options) in enumerate(properties["metrics"]):
            color = options.get("color", COLORS[at % len(COLORS)])
            series = self.series(name, resource, options.get("stat", properties["stat"]), properties["period"])
            side = right if options.get("yAxis") == "right" else axes
            if series and properties.get("stacked"):
                values = [value for _, value in series]
                base = stack or [0] * len(values)
                stack = [low + value for low, value in zip(base, values)]
                side.fill_between([at for at, _ in series], base, stack, color=color, alpha=0.7, linewidth=0)
            elif series:
                side.plot(*zip(*series), color=color, marker="o" if len(series) < 20 else "")
            rows.append((options["label"], color if series else GREY))
        measured = any(color != GREY for _, color in rows)
        for line in properties.get("annotations", {}).get("horizontal", []) if measured else []:
            side = right if line.get("yAxis") == "right" else axes
            side.axhline(line["value"], color=LINE, linewidth=0.8, linestyle="--")
            side.annotate(line["label"], (0.01, line["value"]), xycoords=("axes fraction", "data"), size=6, color=LINE, va="bottom")
        self.scales(axes, right, properties)
        if not measured:
            axes.set_yticks([])
            axes.text(0.5, 0.5, "measured by AWS only", transform=axes.transAxes, ha="center", va="center", color=GREY, size=8)
        self.legend(x, y + height, width, rows)

    def scales(self, axes, right, properties):
        day = 86400
        days = int(re.fullmatch(r"-P(\d+)D", properties["start"])[1]) if "start" in properties else 0
        begin = self.end - days * day if days else self.begin
        step = 2 * day if days else max(60, round((self.end - self.begin) / 360) * 60)
        ticks = [at for at in (self.end - number * step for number in range(20)) if at >= begin]
        axes.set_xlim(begin, self.end)
        axes.set_xticks(ticks, [f"{(at - self.end) / (day if days else 60):.0f} {'d' if days else 'min'}" for at in ticks], size=6)
        for side, key in ((axes, "left"), (right, "right")):
            if side is None:
                continue
            side.set_ylim(0, max(1, side.dataLim.y1, *(line.get_ydata()[0] for line in side.lines if line.get_linestyle() == "--")) * 1.15)
            side.set_ylabel(properties["yAxis"][key]["label"], size=6, color=GREY)
            side.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
            side.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", " ")))
            side.tick_params(length=2, width=0.5, labelsize=6)
            side.spines["top"].set_visible(False)
        axes.grid(axis="y", color="#eaeded", linewidth=0.5)

    def legend(self, x, bottom, width, rows):
        """In lines from left to right, as many as fit beside each other."""
        left, top = x + 0.4, bottom - 0.95
        for label, color in rows:
            long = 0.55 + len(label) * 0.105
            if left + long > x + width - 0.2:
                left, top = x + 0.4, top + 0.42
            points = ((left / 24, (left + 0.25) / 24), (1 - top / self.height,) * 2)
            self.figure.add_artist(Line2D(*points, color=color, linewidth=2, transform=self.figure.transFigure))
            self.text(left + 0.33, top, label, size=6.5, color=GREY if color == GREY else DARK)
            left += long

    def log(self, x, y, width, height, properties):
        fields = re.search(r"fields (.*)", properties["query"])[1].split(", ")
        rows = [[cell(event, field) for field in fields] for event in self.failures]
        fit = int((height - 1.9) / 0.5)
        rows = rows[: min(fit, int(re.search(r"limit (\d+)", properties["query"])[1]))]
        lengths = [max(len(text) for text in column) + 2 for column in zip(fields, *rows)]
        left = x + 0.3
        for number, length in enumerate(lengths):
            for at, row in enumerate([fields, *rows]):
                head = {"weight": "bold"} if at == 0 else {"family": "monospace"}
                self.text(left, y + 1.4 + at * 0.5, row[number], size=4.6, **head)
            left += length * (width - 0.6) / sum(lengths)


def cell(event, field):
    for part in field.split("."):
        event = (event or {}).get(part)
    text = "" if event is None else str(event).lower() if isinstance(event, bool) else str(event)
    return textwrap.shorten(text, 44, placeholder="…") if field.endswith("message") else text.replace("$", r"\$")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        picture = Picture(json.load(file))
    picture.draw()
    drawn = datetime.fromtimestamp(picture.end, timezone.utc)
    metadata = {"Title": "The dashboard, with the metrics of a local stack", "Date": drawn.date().isoformat(), "Creator": None}
    picture.figure.savefig(sys.argv[2], metadata=metadata)


if __name__ == "__main__":
    main()
