"""The whole index of 250 text units at 0.35 s per call: ours beside stock GraphRAG and LightRAG.

Everyone's time is from handing over the documents to the finished index; ours includes upload and reading. Everyone
extracts with its default of one gleaning; LightRAG writes no community reports and summarises only what is described
eight times or more, so it makes far fewer calls.
"""

from __future__ import annotations

from typing import Any

from benchmarks import BenchmarkError, say
from benchmarks.contest import compete
from benchmarks.corpora import UNIT_TOKENS, Corpus, corpus, described
from benchmarks.ours import installation, scripted
from benchmarks.profiles import Profile
from fileintel.llm.tokens import Tokenizer
from fileintel.store import graph

LATENCY = 0.35


def measure(profile: Profile) -> dict[str, Any]:
    """Return {"corpus", "ours", "stock", "lightrag": {"default", "tuned", "tuned_lean"}}."""
    made = corpus(profile.index_units, Tokenizer())
    found: dict[str, Any] = {"corpus": described(made), "latency": LATENCY, "ours": ours(made)}
    say(f"ours: {found['ours']['total_seconds']:.1f} s")
    found["lightrag"] = {}
    for name, options in (
        ("tuned", ("--tuned",)),
        ("tuned_lean", ("--tuned", "--lean-client")),
        ("default", ()),
    ):
        found["lightrag"][name] = lightrag(made, options)
        say(f"LightRAG, {name}: {found['lightrag'][name]['seconds']:.1f} s")
    found["stock"] = compete(
        "stock.py index", made, options=("--unit-tokens", str(UNIT_TOKENS)), latency=LATENCY, timeout=2400
    )
    say(f"stock: {found['stock']['seconds']:.1f} s")
    if found["stock"]["text_units"] != len(made.units) or found["stock"]["entities"] != len(made.entities):
        raise BenchmarkError(f"stock's graph is not the corpus's: {found['stock']}")
    return found


def ours(made: Corpus) -> dict[str, Any]:
    """Upload, read and index the corpus on one graphrag worker."""
    with scripted() as llm, installation(llm) as running:
        llm.prepare(made.units)
        with running.workers_running():
            # Nobody's imports are timed: here they happen when a worker's process reads its first document.
            running.read("before", corpus(24, Tokenizer(), units_per_document=2, first_person=len(made.entities)))
            llm.configure(latency=LATENCY)
            collection, reading = running.read("index", made)
            build = running.measure(collection)
        counts = graph.counts(build.run.id)
    if counts["entities"] != len(made.entities) or counts["reports"] != counts["communities"]:
        raise BenchmarkError(f"our graph is not the corpus's: {counts}")
    return {**build.described(), "reading_seconds": reading, "total_seconds": reading + build.seconds, **counts}


def lightrag(made: Corpus, options: tuple[str, ...]) -> dict[str, Any]:
    """Insert the corpus into LightRAG."""
    outcome = compete("lightrag_index.py", made, options=options, latency=LATENCY, timeout=1200)
    if outcome["entities"] != len(made.entities):
        raise BenchmarkError(f"LightRAG found {outcome['entities']} of {len(made.entities)} entities")
    return outcome
