"""Markdown tables of a run of the benchmarks: `python -m benchmarks.tables benchmarks/results/full.json`.

With `--write docs/benchmarks.md` they replace what stands there between the two marks: nothing is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import TARGETS, met

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
Raw = Mapping[str, Any]


def markdown(raw: Raw) -> str:
    """Return all tables that the measurements give."""
    sections = [_head(raw), _figures(raw)]
    for part, section in (
        ("reports", _reports),
        ("index", _index),
        ("replay", _replay),
        ("throughput", _throughput),
        ("workers", _workers),
        ("incremental", _incremental),
        ("limiter", _limiter),
    ):
        if part in raw:
            sections.append(section(raw[part]))
    return "\n\n".join(sections)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers and stand on the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(map(_shown, row)) + " |" for row in rows]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if value == 0:
            return "0"
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _head(raw: Raw) -> str:
    machine, seconds = raw["machine"], sum(raw["seconds"].values())
    return (
        f"Measured on {machine['date']} at revision {machine['revision']}: {machine['cores']} cores, "
        f"{machine['memory_gb']:.0f} GB, Python {machine['python']}, load before the run {machine['load_before']:.1f}; "
        f"profile {raw['profile']}, {seconds / 60:.0f} minutes."
    )


def _figures(raw: Raw) -> str:
    rows = []
    for name, value in raw["figures"].items():
        way, bound = TARGETS[name]
        sign = {"<=": "≤", ">=": "≥"}[way]
        rows.append((f"`{name}`", value, f"{sign} {bound:g}", "met" if met(name, value) else "not met"))
    return "### The figures\n\n" + table(("figure", "measured", "wanted", ""), rows)


def _reports(found: Raw) -> str:
    levels = " + ".join(str(number) for number in found["levels"].values())
    rows: list[Sequence[object]] = []
    for latency, ours in found["ours"].items():
        rows.append(
            (
                "FileIntel, one worker",
                float(latency),
                200,
                ours["report_seconds"],
                ours["mean_in_flight"].get("report"),
                ours["communities"],
            )
        )
        whole = ours["whole_build"]
        mean = whole["mean_in_flight"].get("report")
        rows.append(
            (
                "the same, after the last summary of a whole build",
                float(latency),
                200,
                whole["report_seconds"],
                mean,
                ours["communities"],
            )
        )
    names = {
        "sequential_slow": ("stock GraphRAG", 1),
        "prefork_slow": ("stock GraphRAG in a prefork Celery task", 25),
        "default_fast": ("stock GraphRAG", 25),
        "wide_fast": ("stock GraphRAG", 200),
    }
    for setup, made in found["stock"].items():
        name, concurrency = names[setup]
        rows.append(
            (name, made["latency"], concurrency, made["seconds"], made["mean_in_flight"], made["community_reports"])
        )
    rows.sort(key=lambda row: (-float(str(row[1])), float(str(row[3]))))
    head = ("", "s per call", "concurrency", "seconds", "mean in flight", "reports")
    return f"### Community reports of {found['communities']} communities ({levels} by level)\n\n" + table(head, rows)


def _index(found: Raw) -> str:
    ours = found["ours"]
    rows: list[Sequence[object]] = [
        ("FileIntel, one worker", ours["total_seconds"], ours["chat_calls"], ours["mean_in_flight"].get("extract")),
    ]
    names = {
        "default": "LightRAG, defaults",
        "tuned": "LightRAG, all concurrencies at 200",
        "tuned_lean": "LightRAG, all at 200, a client of ours for its OpenAI functions",
    }
    rows += [
        (names[name], made["seconds"], made["chat_calls"], made["mean_in_flight"])
        for name, made in found["lightrag"].items()
    ]
    stock = found["stock"]
    rows.append(("stock GraphRAG, defaults", stock["seconds"], stock["chat_calls"], stock["mean_in_flight"]))
    rows.sort(key=lambda row: float(str(row[1])))
    title = f"### Whole index, {found['corpus']['text_units']} text units, {found['latency']:g} s per call"
    said = f"Of ours {ours['reading_seconds']:.1f} s are the reading of the documents."
    return f"{title}\n\n{table(('', 'seconds', 'chat calls', 'mean in flight'), rows)}\n\n{said}"


def _replay(found: Raw) -> str:
    ours = found["ours"]["seconds"]
    best = min(found["replays"].values())
    rows: list[Sequence[object]] = [("FileIntel, one worker", ours, ours / best)]
    rows += [
        (f"bare client, {concurrency} at once", seconds, seconds / best)
        for concurrency, seconds in found["replays"].items()
    ]
    size = f"{found['corpus']['text_units']} text units, {found['prompts']:,} requests"
    title = f"### Replay of {size}, {found['latency']:g} s per call, at most {found['slots']} served at once"
    return f"{title}\n\n{table(('', 'seconds', 'of the best replay'), rows)}"


def _throughput(found: Raw) -> str:
    rows = []
    for units, size in found["sizes"].items():
        gevent = size["worker_cpu_seconds"]["graphrag-1"]
        rows.append(
            (
                f"{int(units):,} text units",
                size["seconds"],
                size["seconds"] * 1000 / int(units),
                size["reading_seconds"],
                size["chat_calls"],
                size["extract_calls_per_second"],
                gevent * 1000 / size["chat_calls"],
                size["peak_rss_mb"]["graphrag-1"],
                size["peak_rss_mb"]["main"],
                size["server_cpu_seconds"] * 1000 / size["chat_calls"],
            )
        )
    head = (
        "",
        "index, s",
        "ms per unit",
        "reading, s",
        "chat calls",
        "calls/s in extract_graph",
        "worker CPU, ms per call",
        "graphrag worker's peak, MB",
        "a main process's peak, MB",
        "server CPU, ms per call",
    )
    return "### Growing corpora at zero latency, one graphrag worker\n\n" + table(head, rows)


def _workers(found: Raw) -> str:
    one = found["workers"]["1"]["calls_per_second"]
    rows = [
        (f"{number} graphrag workers", made["calls_per_second"], made["calls_per_second"] / one, made["peak"])
        for number, made in found["workers"].items()
    ]
    title = f"### Several workers on one server without a limit, {found['latency']:g} s per call"
    return f"{title}\n\n{table(('', 'calls/s', 'of one worker', 'peak in flight'), rows)}"


def _incremental(found: Raw) -> str:
    first = found["first"]["calls"]
    rows = [
        (name, found[key]["calls"], f"{found[key]['calls'] / first:.1%}")
        for key, name in (("first", "first build"), ("edited", "one edited"), ("deleted", "one deleted"))
    ]
    gone = found["deleted"]
    return (
        f"### {found['corpus']['documents']} documents of {found['corpus']['text_units']} text units, changed\n\n"
        + table(("", "calls, chat and embedding", "of the first build"), rows)
        + f"\n\n{gone['people']} people stood in the deleted document alone; traces of them left in the published "
        f"graph, its reports, the text units and the answers: {len(gone['traces'])}."
    )


def _limiter(found: Raw) -> str:
    rows = [
        (
            row["server"],
            row["best_concurrency"],
            row["calls_per_second"],
            row["best_calls_per_second"],
            row["fraction"],
            f"{row['refused_share']:.1%}",
        )
        for row in found["servers"]
    ]
    head = ("server", "best concurrency", "calls/s with the limiter", "calls/s at best", "fraction", "calls refused")
    return "### The limiter on servers it does not know\n\n" + table(head, rows)


def replaced(page: str, tables: str) -> str:
    """Return the page with the tables between its marks; raises ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def main() -> int:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args()
    tables = markdown(json.loads(given.results.read_text(encoding="utf-8")))
    if given.write is None:
        print(tables)
    else:
        given.write.write_text(replaced(given.write.read_text(encoding="utf-8"), tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
