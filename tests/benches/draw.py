"""Draws the pictures of docs/performance.md from what `make bench` has measured: `draw.py RESULTS PICTURES`, two folders.

Of each version of PostgreSQL that has results, `RESULTS/<version>.json`. A picture whose subject has not been measured is left as it is.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

import cost

COLORS = ["#1f77b4", "#d95f02", "#2ca02c"]
GREY, DARK, LINE = "#6b7578", "#16191f", "#d5dbdb"
plt.rcParams |= {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": DARK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    # White, also where the page is dark.
    "figure.facecolor": "white",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "svg.hashsalt": "performance",
    "text.color": DARK,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def number(value, _=None):
    return f"{value:,.0f}".replace(",", "\u202f")


def time(ms, _=None):
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def logarithmic(axis, low, high, factors, formatter):
    """Ticks at these factors of the powers of ten between two values."""
    ticks = [factor * 10.0**power for power in range(-3, 9) for factor in factors]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(formatter))


def note(axes, text, y):
    """Below a horizontal line."""
    place = {"xycoords": ("axes fraction", "data"), "xytext": (0, -3), "textcoords": "offset points"}
    axes.annotate(text, (0.01, y), size=7, color=GREY, va="top", **place)


class Pictures:
    def __init__(self, results, folder):
        self.folder = folder
        files = sorted(results.glob("*.json"), key=lambda file: -int(file.stem))
        if not files:
            sys.exit(f"{results} has no results: run `make bench` first")
        self.results = {int(file.stem): json.loads(file.read_text("utf-8")) for file in files}

    def of(self, *subjects):
        """What each version has of these subjects, the newest version first."""
        for version, result in self.results.items():
            measured = [result[subject] for subject in subjects if subject in result]
            if measured:
                yield version, measured

    def start(self, title, x, y):
        figure, axes = plt.subplots(figsize=(7.4, 4.3))
        axes.set_title(title, pad=12)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.tick_params(length=2, width=0.5)
        return figure, axes

    def save(self, figure, name, machines):
        """With the machines at the bottom, for figures mean little without."""
        lines = list(dict.fromkeys(machines))
        figure.tight_layout(rect=(0, 0.01 + 0.025 * len(lines), 1, 1))
        figure.text(0.015, 0.012, "\n".join(lines), size=5.6, color=GREY, va="bottom")
        figure.savefig(self.folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)

    def tick(self):
        x, y = "due schedules, one for each flag", "time to apply them"
        figure, axes = self.start("A tick by the number of due schedules", x, y)
        machines, times, sizes = [], [], []
        for color, (version, measured) in zip(COLORS, self.of("scaling", "tick")):
            machines += [one["machine"] for one in measured]
            for series, label, style in (("service", "the service", "-"), ("floor", "SQL by hand", "--")):
                points = {due: ms for one in measured for due, ms in zip(one["series"]["due"], one["series"][series])}
                points = sorted(points.items())
                times += [ms for _, ms in points]
                sizes += [due for due, _ in points]
                axes.loglog(*zip(*points), color=color, linestyle=style, marker="o", label=f"PostgreSQL {version}, {label}")
        if not machines:
            return None
        limit = 85_000
        axes.axhline(limit, color=GREY, linewidth=0.8, linestyle=":")
        note(axes, "what one tick has time for: 85 s", limit)
        axes.set_ylim(min(times) / 2, limit * 2)
        logarithmic(axes.xaxis, min(sizes), max(sizes), [1], number)
        logarithmic(axes.yaxis, min(times) / 2, limit, [1], time)
        axes.legend(loc="lower right")
        return figure, machines

    def lateness(self):
        x, y = "from the planned time to the change", "share of changes that are not later"
        figure, axes = self.start("Lateness of changes that were planned a minute ahead", x, y)
        machines, times = [], []
        for color, (version, [measured]) in zip(COLORS, self.of("lateness")):
            machines.append(measured["machine"])
            for series, label, style in (("service", "the service", "-"), ("floor", "a client that waits", "--")):
                values = measured["series"][series]
                times += values
                axes.ecdf(values, color=color, linestyle=style, label=f"PostgreSQL {version}, {label}")
        if not machines:
            return None
        low, high = min(times) / 1.2, max(times) * 1.3
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        logarithmic(axes.xaxis, low, high, [1, 2, 5], time)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.0f} %"))
        axes.legend(loc="lower right")
        return figure, machines

    def cost(self):
        found = next(self.of("billed"), None)
        if found is None:
            return None
        _, [billed] = found
        model = cost.Model(billed["series"])
        x, y = "schedules a month, each with a create and a list", "US dollars a month"
        figure, axes = self.start("Cost of a stack by TICK_WATCH, without the database", x, y)
        loads = [10 ** (step / 20) for step in range(20, 141)]
        for color, setting in zip(COLORS, reversed(cost.SETTINGS)):
            axes.plot(loads, [model.month(setting, load) for load in loads], color=color, label=setting)
        fixed = model.fixed()
        axes.axhline(fixed, color=GREY, linewidth=0.8, linestyle=":")
        note(axes, f"metrics and alarms: {fixed:.2f}", fixed)
        axes.set_xscale("log")
        axes.set_xlim(loads[0], loads[-1])
        axes.set_ylim(0)
        logarithmic(axes.xaxis, loads[0], loads[-1], [1], number)
        axes.legend(loc="upper left", title="TICK_WATCH", alignment="left")
        prices = "List prices of us-east-1, arm64, November 2026, without the free tier; memory of template.yaml."
        return figure, [f"Durations: {billed['machine']}", prices]


def main():
    results, folder = map(pathlib.Path, sys.argv[1:])
    pictures = Pictures(results, folder)
    for name in ("tick", "lateness", "cost"):
        drawn = getattr(pictures, name)()
        if drawn is None:
            print(f"not measured, and left as it is: {folder / name}.svg", file=sys.stderr)
            continue
        figure, machines = drawn
        pictures.save(figure, name, machines)
        print(f"drawn: {folder / name}.svg", file=sys.stderr)


if __name__ == "__main__":
    main()
