"""Community reports of a graph of 168 communities on three levels: ours beside stock GraphRAG in four set-ups.

Ours is the step as a user sees it: from the moment when all that reports are written from is there (communities and
summaries), whereupon contexts are built and items planned, to the last report stored; read from the run's own rows.
Stock's is its workflow create_community_reports, contexts included, on the graph of the same texts.

In a whole build many reports are asked for while the last summaries are still under way, which would give ours a head
start. So the figure is taken from a build whose extractions and summaries are remembered from an earlier one with
another length of reports: all reports are asked for at once, after nothing. What the step adds to a whole build, in
which every call takes that long, is measured too.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from deployment import environment

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
# What reports are written from.
BEFORE = ("merge", "summarize_descriptions", "create_communities")


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
    """Measure each latency on fresh workers and about other people."""
    found = {}
    with scripted() as llm, installation(llm) as running:
        for number, latency in enumerate(profile.report_latencies):
            remembered = _corpus(profile, first_person=2000 * number)
            new = _corpus(profile, first_person=2000 * number + 1000)
            llm.prepare(remembered.units + new.units)
            llm.configure(latency=0.0)
            with running.workers_running():
                collection, _ = running.read(f"remembered-{number}", remembered)
                other, _ = running.read(f"new-{number}", new)
                with environment({"FILEINTEL_REPORT_MAX_LENGTH": "1999"}):
                    running.measure(collection)
                llm.configure(latency=latency)
                # The worker knows the server from a whole build when the reports come, as in any build.
                whole = running.measure(other)
                alone = running.measure(collection)
            for build in (whole, alone):
                counts = graph.counts(build.run.id)
                if counts["reports"] != counts["communities"] or counts["communities"] != communities:
                    raise BenchmarkError(
                        f"ours wrote {counts['reports']} reports on {counts['communities']} communities"
                    )
            asked = {kind: tally["count"] for kind, tally in alone.calls["kinds"].items() if kind != "embedding"}
            if asked != {"report": communities}:
                raise BenchmarkError(f"not {communities} reports and nothing else were asked for, but {asked}")
            found[f"{latency:g}"] = {
                **alone.described(),
                "report_seconds": step_seconds(alone.steps),
                "communities": communities,
                "whole_build": {**whole.described(), "report_seconds": step_seconds(whole.steps)},
            }
            said = found[f"{latency:g}"]
            say(
                f"ours, {latency:g} s per call: {said['report_seconds']:.2f} s alone, "
                f"{said['whole_build']['report_seconds']:.2f} s in a whole build"
            )
    return found


def step_seconds(steps: dict[str, dict[str, Any]]) -> float:
    """From the end of the last step that reports are written from to the last report stored."""
    begun = max(steps[name]["finished"] for name in BEFORE if name in steps)
    return float(steps["create_community_reports"]["finished"] - begun)


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
