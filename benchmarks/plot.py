"""Draws a run of the benchmarks: `.venv/bin/python plot.py results/full.json` writes results/full.svg beside it.

Runs in the contestants' environment, which has matplotlib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# The same measurements give the same file.
matplotlib.rcParams["svg.hashsalt"] = "fileintel"
from matplotlib import pyplot  # noqa: E402

OURS, OTHERS = "#0b7a75", "#b8b8b8"


def bars(axes: Any, title: str, values: dict[str, float], unit: str, *, logarithmic: bool = False) -> None:
    """One horizontal bar for each value, ours in colour, the number at its end."""
    names = list(values)[::-1]
    colours = [OURS if name.startswith("FileIntel") else OTHERS for name in names]
    drawn = axes.barh(names, [values[name] for name in names], color=colours)
    axes.bar_label(drawn, labels=[f"{values[name]:,.3g} {unit}" for name in names], padding=3, fontsize=8)
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xticks([])
        axes.minorticks_off()
    axes.set_xlim(right=axes.get_xlim()[1] * (4 if logarithmic else 1.25))


def panels(raw: dict[str, Any]) -> list[tuple[str, dict[str, float], str, bool]]:
    """Return (title, values, unit, logarithmic) of each panel that the measurements give."""
    drawn: list[tuple[str, dict[str, float], str, bool]] = []
    if "reports" in raw:
        ours, stock = raw["reports"]["ours"], raw["reports"]["stock"]
        what = f"{raw['reports']['communities']} community reports"
        slow = {"FileIntel": ours["3.5"]["report_seconds"]}
        for setup, name in (("prefork_slow", "stock in a prefork task"), ("sequential_slow", "stock, one at a time")):
            if setup in stock:
                slow[name] = stock[setup]["seconds"]
        drawn.append((f"{what}, 3.5 s per call (logarithmic)", slow, "s", True))
        if "0.35" in ours:
            fast = {"FileIntel": ours["0.35"]["report_seconds"]}
            for setup, name in (("wide_fast", "stock, 200 at once"), ("default_fast", "stock, 25 at once")):
                if setup in stock:
                    fast[name] = stock[setup]["seconds"]
            drawn.append((f"{what}, 0.35 s per call (logarithmic)", fast, "s", True))
    if "index" in raw:
        index = raw["index"]
        values = {"FileIntel": index["ours"]["total_seconds"]}
        for name, label in (
            ("tuned_lean", "LightRAG, tuned, aiohttp"),
            ("tuned", "LightRAG, tuned"),
            ("default", "LightRAG"),
        ):
            values[label] = index["lightrag"][name]["seconds"]
        values["stock GraphRAG"] = index["stock"]["seconds"]
        title = (
            f"Whole index, {index['corpus']['text_units']} text units, {index['latency']:g} s per call (logarithmic)"
        )
        drawn.append((title, values, "s", True))
    if "replay" in raw:
        values = {"FileIntel": raw["replay"]["ours"]["seconds"]}
        values |= {f"bare replay, {number} at once": seconds for number, seconds in raw["replay"]["replays"].items()}
        drawn.append(("The same prompts replayed by a bare client", values, "s", False))
    if "workers" in raw:
        workers = raw["workers"]["workers"]
        values = {f"FileIntel, workers: {number}": made["calls_per_second"] for number, made in workers.items()}
        drawn.append(("extract_graph on several workers", values, "calls/s", False))
    if "throughput" in raw:
        values = {
            f"FileIntel, {int(units):,} units": size["seconds"] * 1000 / int(units)
            for units, size in raw["throughput"]["sizes"].items()
        }
        drawn.append(("Time per text unit at zero latency", values, "ms", False))
    return drawn


def main() -> None:
    """Draw one panel under the other."""
    results = Path(sys.argv[1])
    drawn = panels(json.loads(results.read_text(encoding="utf-8")))
    if not drawn:
        return
    heights = [len(values) + 1.2 for _, values, _, _ in drawn]
    figure, axes = pyplot.subplots(
        len(drawn), figsize=(8, 0.32 * sum(heights)), gridspec_kw={"height_ratios": heights}, squeeze=False
    )
    for place, (title, values, unit, logarithmic) in zip(axes[:, 0], drawn, strict=True):
        bars(place, title, values, unit, logarithmic=logarithmic)
    figure.tight_layout()
    figure.savefig(results.with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
