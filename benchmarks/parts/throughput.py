"""Ours at zero latency on growing corpora: calls per second, CPU per call, time per text unit, peak memory.

With a server that answers at once nothing is waited for: what is left is what FileIntel itself costs. Each size runs
on fresh workers. Reading is measured apart from the index.
"""

from __future__ import annotations

from typing import Any

from benchmarks import BenchmarkError, say
from benchmarks.corpora import corpus, described
from benchmarks.ours import Build, installation, scripted
from benchmarks.profiles import Profile
from fileintel.llm.tokens import Tokenizer
from fileintel.store import collections, graph


def measure(profile: Profile) -> dict[str, Any]:
    """Return {"sizes": {text units: …}}."""
    found: dict[str, Any] = {"sizes": {}}
    first_person = 0
    with scripted() as llm, installation(llm) as running:
        for units in profile.sizes:
            # People of their own: no call of one size is remembered from another.
            made = corpus(units, Tokenizer(), units_per_document=50, first_person=first_person)
            first_person += len(made.entities)
            llm.prepare(made.units)
            with running.workers_running():
                collection, reading = running.read(f"units-{units}", made)
                build = running.measure(collection)
            counts = graph.counts(build.run.id)
            if counts["entities"] != len(made.entities) or counts["reports"] != counts["communities"]:
                raise BenchmarkError(f"the graph of {units} text units is not the corpus's: {counts}")
            found["sizes"][str(units)] = {
                "corpus": described(made),
                **build.described(),
                **counts,
                "reading_seconds": reading,
                "extract_calls_per_second": calls_per_second(build),
            }
            say(f"{units} text units: {build.seconds:.1f} s, {calls_per_second(build):.0f} calls/s in extract_graph")
            collections.delete(collection.id)
    return found


def calls_per_second(build: Build) -> float:
    """Chat calls of extract_graph per second, from the first one's start to the last one's end at the server."""
    kinds = [build.calls["kinds"][kind] for kind in ("extract", "glean") if kind in build.calls["kinds"]]
    seconds = max(kind["last_end"] for kind in kinds) - min(kind["first_start"] for kind in kinds)
    return float(sum(kind["count"] for kind in kinds) / seconds)
