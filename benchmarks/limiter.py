"""Measure how near the limiter comes to a server's best throughput, on servers it knows nothing of.

`python benchmarks/limiter.py` prints JSON; `--quick` takes under a minute instead of ten. Each server has a best
concurrency that is known by construction. Six hundred greenlets ask it without end through the limiter (ceiling 600)
and the client, as the gevent worker does, for 60 s; then as many bare greenlets as are best ask a fresh server of the
same kind. The fraction is the throughput of the last sixth of the one divided by the throughput of the other. Every
trial is a process of its own, and so is its server.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CEILING = 600
SPREAD = 0.6  # answers differ in length
PROMPT = "Which of these names belong together? " * 3


@dataclass(frozen=True)
class Kind:
    """A server: its options, those it gets half-way, and the concurrency that is best at the end."""

    best: int
    options: dict[str, Any]
    later: dict[str, Any] = field(default_factory=dict)
    queues: bool = True  # more calls than are best wait and do no harm


KINDS = {
    "best 8": Kind(8, {"latency": 0.5, "slots": 8}),
    "best 32": Kind(32, {"latency": 0.5, "slots": 32}),
    "best 128": Kind(128, {"latency": 0.5, "slots": 128}),
    "best 512": Kind(512, {"latency": 1.0, "slots": 512}),
    "slows sharply": Kind(64, {"latency": 0.5, "thrash_above": 64}, queues=False),
    "answers 429": Kind(64, {"latency": 0.5, "overload_above": 64, "retry_after": 1.0}, queues=False),
    "capacity drops": Kind(
        32, {"latency": 0.3, "thrash_above": 128}, {"latency": 0.3, "thrash_above": 32}, queues=False
    ),
    "capacity rises": Kind(128, {"latency": 0.5, "slots": 32}, {"latency": 0.5, "slots": 128}),
}
QUICK = ("best 128", "answers 429")


def measure(quick: bool = False) -> dict[str, Any]:
    """Return a row for each server, `limiter_worst_fraction` and `limiter_refused_share` (at the 429 server)."""
    rows = []
    for name in QUICK if quick else KINDS:
        command = [sys.executable, str(Path(__file__)), "--server", name, "--seconds", "18" if quick else "60"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=240)
        rows.append(json.loads(done.stdout))
    refused = [row["refused_share"] for row in rows if "overload_above" in KINDS[row["server"]].options]
    return {
        "limiter_worst_fraction": min(row["fraction"] for row in rows),
        "limiter_refused_share": max(refused),
        "ceiling": CEILING,
        "servers": rows,
    }


def measure_server(name: str, seconds: float) -> dict[str, Any]:
    """Return one server's row; to be called in a process where gevent has patched everything."""
    import gevent
    from llm_server import running

    from fileintel.llm.limiter import Limiter

    kind = KINDS[name]
    limiter = Limiter(CEILING)
    limits: list[int] = []
    with running(spread=SPREAD, **kind.options) as server:
        crowd = Crowd(server.base_url, CEILING, limiter)
        for step in range(12):
            if step == 6 and kind.later:
                server.configure(**kind.later)
            gevent.sleep(max(0.0, crowd.began + seconds * (step + 1) / 12 - time.monotonic()))
            limits.append(limiter.limit)
        crowd.end()
        stats = server.stats()
    throughput = crowd.throughput(seconds * 5 / 6, seconds)
    fixed = []
    warm_up = 3 * float(kind.options["latency"])
    options = {**kind.options, **kind.later}
    for concurrency in [kind.best, round(1.25 * kind.best)] if kind.queues else [kind.best]:
        with running(spread=SPREAD, **options) as server:
            crowd = Crowd(server.base_url, concurrency, None)
            gevent.sleep(warm_up + 4.0)
            crowd.end()
            fixed.append(crowd.throughput(warm_up, warm_up + 4.0))
    return {
        "server": name,
        "best_concurrency": kind.best,
        "fraction": round(throughput / max(fixed), 3),
        "calls_per_second": round(throughput, 1),
        "best_calls_per_second": round(max(fixed), 1),
        "refused_share": round(stats["failed"] / stats["count"], 4),
        "calls": stats["count"],
        "peak_in_flight": stats["peak"],
        "limits": limits,
        "seconds": seconds,
    }


class Crowd:
    """Greenlets that ask a server without end, each its own questions, through a limiter or freely."""

    def __init__(self, base_url: str, size: int, limiter: Any) -> None:
        import gevent

        from fileintel.llm.client import OpenAIClient
        from fileintel.llm.transport import PooledTransport

        self.began = time.monotonic()
        self.answered: list[float] = []
        self._client = OpenAIClient(base_url, transport=PooledTransport(connections=size), timeout=120)
        self._limiter = limiter
        self._greenlets = [gevent.spawn(self._ask, number) for number in range(size)]

    def _ask(self, number: int) -> None:
        import contextlib

        from fileintel.model import ChatRequest, Message
        from fileintel.tasks.models import patiently

        asked = 0
        while True:
            asked += 1
            request = ChatRequest("scripted", (Message("user", f"{PROMPT}{number} {asked}"),))

            def call(request: ChatRequest = request) -> None:
                with contextlib.nullcontext() if self._limiter is None else self._limiter.slot():
                    self._client.complete(request)

            patiently(call)
            self.answered.append(time.monotonic() - self.began)

    def throughput(self, since: float, until: float) -> float:
        """Answers per second between two times after the beginning."""
        return sum(since < at <= until for at in self.answered) / (until - since)

    def end(self) -> None:
        """Stop asking; raises what ended a greenlet before."""
        import gevent

        for greenlet in self._greenlets:
            if greenlet.exception is not None:
                raise greenlet.exception
        gevent.killall(self._greenlets)
        self._client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two servers, for a shorter time")
    parser.add_argument("--server", choices=KINDS, help="only this one")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the trial with --server")
    options = parser.parse_args()
    if options.server is None:
        print(json.dumps(measure(options.quick), indent=1))
        return
    from gevent import monkey

    monkey.patch_all()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    print(json.dumps(measure_server(options.server, options.seconds)))


if __name__ == "__main__":
    main()
