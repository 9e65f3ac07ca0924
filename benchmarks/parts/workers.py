"""One, two and four graphrag workers on one server without a limit: throughput of extract_graph.

A call takes 2 s, so that the 200 calls a worker has in flight are what bounds it, not this machine's two cores. The
throughput is all calls of the step divided by the time from the first one's start to the last one's end.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import BenchmarkError, say
from benchmarks.corpora import corpus, described
from benchmarks.ours import PATIENCE_SECONDS, cancelled, installation, scripted
from benchmarks.profiles import Profile
from fileintel.llm.tokens import Tokenizer
from fileintel.store import runs
from fileintel.tasks import bells

LATENCY = 2.0


def measure(profile: Profile) -> dict[str, Any]:
    """Return {"corpus", "latency", "workers": {number: {"calls", "seconds", "calls_per_second", "peak"}}}."""
    found: dict[str, Any] = {"latency": LATENCY, "workers": {}}
    first_person = 0
    with scripted() as llm, installation(llm) as running:
        for number in profile.worker_counts:
            made = corpus(profile.worker_units, Tokenizer(), units_per_document=50, first_person=first_person)
            first_person += len(made.entities)
            found["corpus"] = described(made)
            llm.prepare(made.units)
            llm.configure(latency=0.0)
            with running.workers_running(graphrag=number):
                collection, _ = running.read(f"workers-{number}", made)
                llm.configure(latency=LATENCY)
                llm.reset()
                run = bells.start_index(collection.id)
                _wait_for_extraction(run.id, len(made.units))
                stats = llm.stats()
                cancelled(run)
                llm.configure(latency=0.0)
            found["workers"][str(number)] = _throughput(stats)
            say(f"{number} workers: {found['workers'][str(number)]['calls_per_second']:.0f} calls/s")
    return found


def _throughput(stats: dict[str, Any]) -> dict[str, float]:
    asked = [stats["kinds"][kind] for kind in ("extract", "glean")]
    calls = sum(kind["count"] for kind in asked)
    seconds = max(kind["last_end"] for kind in asked) - min(kind["first_start"] for kind in asked)
    return {"calls": calls, "seconds": seconds, "calls_per_second": calls / seconds, "peak": stats["peak"]}


def _wait_for_extraction(run_id: int, units: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        done = next((step.done for step in runs.progress(run_id) if step.step == "extract_graph"), 0)
        if done == units:
            return
        time.sleep(0.25)
    raise BenchmarkError(f"extract_graph of run {run_id} was not done within {PATIENCE_SECONDS:.0f} s")
