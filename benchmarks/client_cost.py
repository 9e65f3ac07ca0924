"""Measure what one chat call costs this process in CPU: many greenlets through one OpenAIClient.

`python benchmarks/client_cost.py --in-flight 200 --calls 4000 --prompt-bytes 6144 --latency 0.35` prints JSON.
The scripted server runs as a process of its own; its CPU is reported apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--prompt-bytes", type=int, default=6144)
    parser.add_argument("--latency", type=float, default=0.35)
    parser.add_argument("--threads", action="store_true", help="threads instead of greenlets")
    parser.add_argument("--limiter", action="store_true", help="take every call through a Limiter too")
    parser.add_argument("--profile", action="store_true", help="print where the CPU goes to stderr")
    options = parser.parse_args()
    if not options.threads:
        from gevent import monkey

        monkey.patch_all()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    print(json.dumps(measure(options), indent=1))


def measure(options: argparse.Namespace) -> dict[str, object]:
    import contextlib
    import itertools
    import threading

    from llm_server import running

    from fileintel.llm.client import OpenAIClient
    from fileintel.llm.limiter import Limiter
    from fileintel.llm.transport import PooledTransport
    from fileintel.model import ChatRequest, Message

    filler = "the quick brown fox jumps over the lazy dog " * (options.prompt_bytes // 44 + 1)
    counter = itertools.count()
    failures: list[BaseException] = []
    limiter = Limiter(options.in_flight)

    def work(client: OpenAIClient, calls: int) -> None:
        while (number := next(counter)) < calls:
            prompt = f"{number} {filler}"[: options.prompt_bytes]
            slot = limiter.slot() if options.limiter else contextlib.nullcontext()
            try:
                with slot:
                    client.complete(ChatRequest("scripted", (Message("user", prompt),)))
            except Exception as error:
                failures.append(error)

    def run(client: OpenAIClient, calls: int) -> None:
        nonlocal counter
        counter = itertools.count()
        workers = [threading.Thread(target=work, args=(client, calls)) for _ in range(options.in_flight)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    with running(latency=options.latency, **server_options()) as server:
        client = OpenAIClient(server.base_url, transport=PooledTransport(connections=options.in_flight), timeout=60)
        run(client, options.in_flight)  # connections made, modules loaded
        server.reset()
        server_cpu = server.stats()["cpu_seconds"]
        profiler = None
        if options.profile:
            import cProfile

            profiler = cProfile.Profile()
            profiler.enable()
        cpu, wall = time.process_time(), time.monotonic()
        run(client, options.calls)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        if profiler is not None:
            import pstats

            profiler.disable()
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(35)
        stats = server.stats()
        server_cpu = stats["cpu_seconds"] - server_cpu
    return {
        "in_flight": options.in_flight,
        "calls": options.calls,
        "failures": len(failures),
        "first_failure": str(failures[0]) if failures else None,
        "wall_seconds": round(wall, 3),
        "ideal_seconds": round(options.calls / options.in_flight * options.latency, 3),
        "client_cpu_ms_per_call": round(cpu * 1000 / options.calls, 3),
        "server_cpu_ms_per_call": round(server_cpu * 1000 / options.calls, 3),
        "mean_in_flight_at_server": round(stats["mean_in_flight"], 1),
        "peak_in_flight_at_server": stats["peak"],
        "limit_at_the_end": limiter.limit if options.limiter else None,
    }


def server_options() -> dict[str, object]:
    """The server's Python and loop: uvloop where `make bench` has made the environment that holds it."""
    python = ROOT / "benchmarks" / ".venv" / "bin" / "python"
    return {"python": str(python), "uvloop": True} if python.exists() else {}


if __name__ == "__main__":
    main()
