"""Measure community reports of one build: how many calls one gevent worker keeps in flight, how long all take.

`python benchmarks/report_generation.py --communities 165 --latency 0.35` starts Postgres, the broker, a scripted LLM
server and both workers, builds one collection and prints JSON. `latencies` is the step's time, from the first call's
start to the last one's end, divided by the time of one call: with room for all at once its ideal is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "integration")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--communities", type=int, default=165)
    parser.add_argument("--latency", type=float, default=0.35)
    options = parser.parse_args()
    print(json.dumps(measure(options.communities, options.latency), indent=1))


def measure(communities: int, latency: float) -> dict[str, object]:
    import llm_server
    from deployment import Deployment, environment

    from fileintel.embedded.services import services

    with tempfile.TemporaryDirectory(prefix="fileintel-bench-") as folder:
        os.chmod(folder, 0o755)
        with services(Path(folder), keep=False) as urls, llm_server.running(latency=latency) as llm:
            values = {
                **urls,
                "OPENAI_BASE_URL": llm.base_url,
                "FILEINTEL_CHAT_MODEL": "scripted",
                "FILEINTEL_EMBEDDING_MODEL": "scripted-embedding",
                "FILEINTEL_STATE_DIR": folder,
                "FILEINTEL_MAX_GLEANINGS": "0",
                "CELERY_WORKER_CONCURRENCY": "2",
            }
            with environment(values):
                from fileintel.store import engine, graph, migrations

                migrations.migrate()
                running = Deployment(llm, Path(folder))
                try:
                    running.start("main")
                    running.start("graphrag")
                    texts = llm_server.corpus(communities, 5).texts
                    collection = running.collection("bench", ["\n\n".join(texts)])
                    llm.reset()
                    run = running.build(collection)
                    time.sleep(3)  # one heartbeat more, for the longest stall
                    (worker,) = running.workers("graphrag_gevent")
                    counts = graph.counts(run.id)
                finally:
                    running.stop()
                    engine.dispose()
            kinds = llm.stats()["kinds"]
    report = kinds["report"]
    seconds = report["last_end"] - report["first_start"]
    return {
        "state": run.state,
        "communities": counts["communities"],
        "latency_s": latency,
        "report_calls": report["count"],
        "peak_in_flight": report["peak"],
        "mean_in_flight": round(report["mean_in_flight"], 1),
        "step_s": round(seconds, 3),
        "latencies": round(seconds / latency, 2),
        "longest_hub_stall_ms": round(float(worker["longest_stall_ms"]), 1),
        "calls": {kind: tally["count"] for kind, tally in kinds.items()},
        "repeated_calls": sum(tally["repeated"] for tally in kinds.values()),
    }


if __name__ == "__main__":
    main()
