"""Draws docs/benchmarks.svg from what bench.py measured.

usage: plot.py MEASURED_JSON SVG
"""

import json
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

# Readable on a light page and on a dark one: no background, and greys in the middle.
INK, FAINT, OURS, THEIRS = "#7d8590", "#7d859055", "#2f81f7", "#d2772e"
plt.rcParams.update({
    "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": FAINT,
    "svg.hashsalt": "airlock", "svg.fonttype": "none", "font.family": "sans-serif",
})  # fmt: skip


def bars(axes, rows, title, unit, log=False) -> None:
    """Horizontal bars, each with its figure; rows are (name, value, colour, text), the first on top."""
    names, values, colours, texts = zip(*reversed(rows))
    axes.barh(names, values, color=colours, height=0.62)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 3, max(values) * 10 ** (2 if len(rows) < 3 else 1))
    else:
        axes.set_xlim(0, max(values) * 1.3)
    for i, (value, text) in enumerate(zip(values, texts)):
        axes.annotate(text, (value, i), xytext=(5, 0), textcoords="offset points", va="center", color=INK)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xlabel(unit, fontsize=9)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def main() -> None:
    with open(sys.argv[1]) as file:
        m = json.load(file)
    first, warm, storm = m["first"], m["warm"], m["storm"]
    lookups = [
        ("first, official", statistics.median(first["official"]), THEIRS),
        ("first, Airlock", statistics.median(first["airlock"]), OURS),
        ("warm, official", warm["official"], THEIRS),
        ("warm, Airlock", warm["airlock"], OURS),
        ("warm, bare exchange", warm["bare"], INK),
    ]
    figure, (latency, reads, memory) = plt.subplots(3, 1, figsize=(7.6, 6.6), gridspec_kw={"height_ratios": [5, 2.2, 3]}, layout="constrained")
    bars(latency, [(name, s * 1e3, colour, milliseconds(s)) for name, s, colour in lookups],
         "A lookup from Python", "milliseconds, logarithmic", log=True)  # fmt: skip
    asked = storm["processes"] * storm["each"]
    bars(reads, [("asked", asked, INK, f"{asked:,} lookups in {storm['took']:.1f} s, {storm['failed']} failed"),
                 ("read from the vault", storm["reads"], OURS, f"{storm['reads']:,}, {storm['refused']} refused")],
         f"{storm['processes']} processes at once, {storm['each']} secrets each", "logarithmic", log=True)  # fmt: skip
    cloud = m["cloud"][0]
    bars(memory, [(f"agent, {storm['held']:,} secrets", storm["memory"], OURS, f"{storm['memory']:.1f} MiB"),
                  ("aim", 20e6 / 2**20, FAINT, "20 MB"),
                  ("local cloud", cloud["resident"], OURS, f"{cloud['resident']:.1f} MiB"),
                  ("aim ", 30e6 / 2**20, FAINT, "30 MB")],
         "Resident memory", "MiB")  # fmt: skip
    figure.savefig(sys.argv[2], transparent=True, metadata={"Date": None, "Title": "Benchmarks of Airlock"})


if __name__ == "__main__":
    main()
