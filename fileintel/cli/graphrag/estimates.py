"""`fileintel graphrag estimate`."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import typer

from fileintel.cli import output
from fileintel.cli.collection import Name
from fileintel.cli.graphrag.build import Claims, MethodOption

app = typer.Typer()


@app.command()
def estimate(
    collection: Name, method: MethodOption = None, claims: Claims = None, as_json: output.Json = False
) -> None:
    """Say what a build would ask of the LLM: calls, tokens, cost, time, and what is remembered already."""
    from fileintel.cli import progress
    from fileintel.cli.client import connect, part

    with connect() as api:
        wanted = {"method": method and method.value, "claims": claims}
        job = api.post(f"/collections/{part(collection)}/estimate", {k: v for k, v in wanted.items() if v is not None})
        found = progress.wait_for_job(api, job, quiet=as_json)["result"]
    if as_json:
        output.print_json(found)
    else:
        show(found, sys.stdout)


def show(found: dict[str, Any], file: TextIO) -> None:
    """Write an estimate for a person."""
    columns = ("step", "calls", "remembered", "to make", "tokens in", "tokens out", "")
    rows: list[list[object]] = [
        [
            step["step"],
            *(f"{step[n]:,}" for n in ("calls", "remembered", "to_make", "tokens_in", "tokens_out")),
            "exact" if step["exact"] else "about",
        ]
        for step in found["steps"]
    ]
    sums = (found[n] for n in ("calls", "remembered", "to_make", "tokens_in", "tokens_out"))
    rows.append(["all", *(f"{value:,}" for value in sums), ""])
    output.table(columns, rows, file)
    output.line("", file)
    cost, seconds, rate = found["cost"], found["seconds"], found["rate"]
    unpriced = "unknown: set FILEINTEL_PRICE_INPUT and FILEINTEL_PRICE_OUTPUT"
    output.line(f"cost  {unpriced if cost is None else f'about {cost:,.2f}'}", file)
    if not found["to_make"]:
        output.line("time  no call is to be made", file)
    elif seconds is None:
        output.line("time  unknown: no build has measured how fast this model's calls are answered", file)
    else:
        known = f"{rate['calls_per_second']:.3g} calls per second, {rate['basis']}"
        output.line(f"time  about {output.duration(seconds)} ({known})", file)
    if found["documents_unread"]:
        output.line(f"      without {output.counted(found['documents_unread'], 'document')} not read yet", file)
    for step in found["steps"]:
        output.line(f"from  {step['step']}: {step['basis']}", file)
