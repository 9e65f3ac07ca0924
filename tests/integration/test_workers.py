"""Which worker serves what, and what they say of the model server."""

from __future__ import annotations

import json
import subprocess
import sys

from deployment import Api, Deployment, wait_for
from llm_script import corpus

from fileintel.store import model_servers, queries
from fileintel.tasks import bells


def test_two_workers_serve_seven_queues(deployment: Deployment) -> None:
    # Whoever serves a queue is heard, for so many seconds: a busy worker may need more than Celery's one.
    inspect = ["inspect", "active_queues", "--json", "--timeout=10"]
    shown = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "fileintel.tasks.app", *inspect],
        capture_output=True,
        check=True,
        timeout=60,
    )
    served = {
        node.split("@")[0]: {queue["name"] for queue in queues} for node, queues in json.loads(shown.stdout).items()
    }
    assert served == {
        "main_prefork": {
            "default",
            "document_processing",
            "embedding_processing",
            "llm_processing",
            "rag_processing",
        },
        "graphrag_gevent": {"graphrag_indexing", "graphrag_queries"},
    }


def test_both_workers_answer_their_health_check(deployment: Deployment) -> None:
    for name in ("main", "graphrag"):
        command = [sys.executable, "-m", "fileintel", "worker", name, "--ping"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert asked.returncode == 0 and "1 node online" in asked.stdout, asked.stderr


def test_a_failing_model_server_is_named_wherever_one_waits_for_it(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("outage", corpus(3, 5, padding=14).texts)
    deployment.llm.configure(error_rate=1.0)
    run = bells.start_index(collection.id)
    asked = queries.create(collection.id, "Who knows whom?", "basic")
    bells.ring_query(asked.id)
    wait_for(model_servers.failing, 120, "a worker's word on the failing server")
    with api.client() as client:
        # The chat model's failure from one worker, the embedding model's from the other.
        shown = client.get(f"/api/v2/index-runs/{run.id}").json()["failing_model_servers"]
        assert all(deployment.llm.base_url in one["error"] and "HTTP 500" in one["error"] for one in shown)
        heard: list[str] = []
        with client.stream("GET", f"/api/v2/queries/{asked.id}/events") as stream:
            for line in stream.iter_lines():
                heard.append(line)
                if line.startswith("data:") and heard[-2] == "event: waiting":
                    break
    # Its first tries may have been given up before anybody followed.
    assert heard[-2] == "event: waiting" and "HTTP 500" in heard[-1]
    outcome = api.cli("health")
    assert outcome.code == 1 and "HTTP 500" in outcome.out and "(since" in outcome.out
    assert "HTTP 500" in api.cli("graphrag", "status", "outage").out
    deployment.llm.configure(error_rate=0.0)
    ended = deployment.finish(run)
    assert ended.state == "complete", ended.error
    wait_for(lambda: not model_servers.failing(), 120, "the end of the outage")
    assert api.cli("health").code == 0


def test_gevent_worker_refuses_to_block_its_hub(deployment: Deployment) -> None:
    """Without psycopg2's wait callback one query would stop 200 greenlets, so the worker does not start."""
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "from fileintel.store import engine; engine.cooperate_with_gevent = lambda: None\n"
        "from fileintel.tasks import app; app._prepare_worker()\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode != 0
    assert "wait callback" in ended.stderr
