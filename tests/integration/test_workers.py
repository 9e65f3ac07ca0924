"""Which worker serves what."""

from __future__ import annotations

import json
import subprocess
import sys

from deployment import Deployment


def test_two_workers_serve_seven_queues(deployment: Deployment) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "fileintel.tasks.app", "inspect", "active_queues", "--json"],
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
