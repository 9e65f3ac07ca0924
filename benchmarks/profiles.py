"""How much is measured: the full profile, the quick one of under three minutes, one that only shows that all runs."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("reports", "index", "replay", "throughput", "workers", "incremental", "limiter")


@dataclass(frozen=True)
class Profile:
    """Sizes of one profile; text units, documents, seconds."""

    name: str
    parts: tuple[str, ...]
    # reports: latencies of ours; whether the contestants run too; 222 text units give the 168 communities
    report_latencies: tuple[float, ...]
    contestants: bool
    report_units: int = 222
    # index
    index_units: int = 250
    # replay
    replay_units: int = 1000
    replay_concurrencies: tuple[int, ...] = (64, 128, 256)
    # throughput
    sizes: tuple[int, ...] = (100, 1_000, 10_000)
    # workers
    worker_counts: tuple[int, ...] = (1, 2, 4)
    worker_units: int = 3_000
    # incremental
    documents: int = 100
    units_per_document: int = 10


FULL = Profile(name="full", parts=PARTS, report_latencies=(3.5, 0.35), contestants=True)
QUICK = Profile(
    name="quick",
    parts=("reports", "throughput", "incremental"),
    report_latencies=(3.5,),
    contestants=False,
    sizes=(1_000,),
    documents=20,
)
# Figures of it mean nothing.
SMOKE = Profile(
    name="smoke",
    parts=tuple(part for part in PARTS if part != "limiter"),
    report_latencies=(3.5, 0.35),
    contestants=True,
    report_units=12,
    index_units=10,
    replay_units=40,
    replay_concurrencies=(64, 128),
    sizes=(20, 40),
    worker_counts=(1, 2),
    worker_units=100,
    documents=6,
    units_per_document=6,
)
PROFILES = {profile.name: profile for profile in (FULL, QUICK, SMOKE)}
