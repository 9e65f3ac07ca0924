"""Community reports of a graph of 168 communities on three levels: ours beside stock GraphRAG in four set-ups.

Ours is the step as a user sees it: from the end of the step before it, whereupon its contexts are built, to the last
report stored; read from the run's own rows. Stock's is its workflow create_community_reports, contexts included, on
the graph of the same texts. At one latency all calls of a build take that long.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import BenchmarkError, say
from benchmarks.contest import compete
from benchmarks.corpora import Corpus, clusters, corpus, described, hierarchy
from benchmarks.ours import installation, scripted
from benchmarks.profiles import Profile
from fileintel.llm.tokens import Tokenizer
from fileintel.store import graph

UNITS = 222  # two for every circle
COMMUNITIES = 168  # of the shape `hierarchy()`
SLOW, FAST = 3.5, 0.35
# What a report is written from has to be there before: the reports' step begins when the last of these has ended.
BEFORE = ("merge", "summarize_descriptions", "finalize_graph", "create_communities")


def measure(profile: Profile) -> dict[str, Any]:
    """Return {"corpus", "communities", "levels", "ours": {latency: …}, "stock": {set-up: …}}."""
    made = _corpus(profile)
    levels = clusters(sorted(made.relationships))
    communities = sum(levels.values())
    if profile.report_units == UNITS and communities != COMMUNITIES:
        raise BenchmarkError(f"the corpus clusters into {levels}, not into {COMMUNITIES} communities")
    found: dict[str, Any] = {"corpus": described(made), "communities": communities, "levels": levels}
    found["ours"] = ours(profile, communities)
    found["stock"] = stock(made, communities) if profile.contestants else {}
    return found


def _corpus(profile: Profile, first_person: int = 0) -> Corpus:
    shape = hierarchy() if profile.report_units == UNITS else None
    return corpus(profile.report_units, Tokenizer(), shape=shape, first_person=first_person)


def ours(profile: Profile, communities: int) -> dict[str, Any]:
    """Build the index with every call taking so long, for each latency on fresh workers and about other people."""
    found = {}
    with scripted() as llm, installation(llm) as running:
        for number, latency in enumerate(profile.report_latencies):
            made = _corpus(profile, first_person=1000 * number)
            llm.prepare(made.units)
            llm.configure(latency=0.0)
            with running.workers_running():
                collection, _ = running.read(f"reports-{number}", made)
                llm.configure(latency=latency)
                build = running.measure(collection)
            counts = graph.counts(build.run.id)
            if counts["reports"] != counts["communities"] or counts["communities"] != communities:
                raise BenchmarkError(
                    f"ours wrote {counts['reports']} reports on {counts['communities']} communities, not {communities}"
                )
            seconds = step_seconds(build.steps)
            found[f"{latency:g}"] = {**build.described(), "report_seconds": seconds, **counts}
            say(f"ours, {latency:g} s per call: {seconds:.2f} s")
    return found


def step_seconds(steps: dict[str, dict[str, Any]]) -> float:
    """From the end of the last step that reports are made from to the last report stored."""
    reports = steps["create_community_reports"]
    begun = [
        steps[name]["finished"] for name in BEFORE if name in steps and steps[name]["finished"] <= reports["started"]
    ]
    return float(reports["finished"] - max(begun))


def stock(made: Corpus, communities: int) -> dict[str, Any]:
    """Time stock GraphRAG's workflow in the set-ups that the figures compare with."""
    setups: dict[str, dict[str, Any]] = {}
    for name, latency, concurrency, timeout in (
        ("default_fast", FAST, 25, 600),
        ("wide_fast", FAST, 200, 600),
        ("sequential_slow", SLOW, 1, 1800),
    ):
        setups[name] = compete(
            "stock.py reports",
            made,
            options=("--concurrency", str(concurrency)),
            latency=latency,
            timeout=timeout,
        )
        say(f"stock, concurrency {concurrency}, {latency:g} s per call: {setups[name]['seconds']:.1f} s")
    setups["prefork_slow"] = prefork(made)
    say(f"stock in a prefork Celery task, {SLOW:g} s per call: {setups['prefork_slow']['seconds']:.1f} s")
    for name, setup in setups.items():
        if setup["community_reports"] != communities:
            raise BenchmarkError(f"stock ({name}) wrote {setup['community_reports']} reports, not {communities}")
    return setups


def prefork(made: Corpus) -> dict[str, Any]:
    """Time the workflow at its default concurrency inside a task of a prefork Celery worker on a real broker."""
    from fileintel.embedded.services import services

    with tempfile.TemporaryDirectory(prefix="fileintel-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        with services(Path(folder), keep=False) as urls:
            broker = {"BROKER_URL": urls["REDIS_URL"]}
            return compete("prefork.py", made, latency=SLOW, timeout=1200, environment=broker)
