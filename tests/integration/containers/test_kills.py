"""Each container of a running FileIntel is killed in the middle of a build, and the build completes all the same."""

from __future__ import annotations

import time
from typing import Any

import pytest
from deployment import wait_for
from external import EXTERNAL
from llm_server import corpus
from stack import SERVERS, WORKERS, Stack

COMMUNITIES = 40
OWN = [name for name in (*WORKERS, "api", *SERVERS) if name not in EXTERNAL.services()]


def text(padding: int, communities: int = COMMUNITIES) -> str:
    """A document whose graph has at least so many communities; another padding, other prompts."""
    return "\n\n".join(corpus(communities, 6, padding).texts)


def complete(deployment: Stack, name: str, run: dict[str, Any]) -> None:
    """The build ends well, and nothing is missing from what it published."""
    ended = deployment.finish(run)
    assert ended["state"] == "complete", ended
    counts = deployment.get(f"/collections/{name}/graph")["counts"]
    assert counts["reports"] == counts["communities"] >= COMMUNITIES


@pytest.mark.parametrize("victim", OWN)
def test_a_build_survives_docker_kill_of(deployment: Stack, victim: str) -> None:
    name = f"kill-{victim}"
    # One after the other, so that there is a middle.
    deployment.llm.configure(latency=1.0, slots=4)
    run = deployment.index(name, text(OWN.index(victim) + 1))
    deployment.extracted(5)
    before = deployment.llm.kind("extract")["answered"]
    deployment.kill(victim)
    time.sleep(1)
    deployment.again(victim)
    assert before < COMMUNITIES, "the build was over before the kill"
    deployment.llm.configure(latency=0.0, slots=0)
    complete(deployment, name, run)
    assert deployment.llm.stats()["kinds"]["extract"]["answered_again"] <= 200


def test_two_gevent_containers_share_a_build_and_one_over_its_limit_comes_back(deployment: Stack) -> None:
    limit = 1024**3
    began = time.time()
    second = "worker-graphrag-2"
    memory = {"CELERY_GRAPHRAG_MEMORY_LIMIT": "1G", "CELERY_GRAPHRAG_MEMORY_RESERVATION": "512M"}
    deployment.run("worker-graphrag", second, **memory)
    deployment.works(second)
    try:
        assert deployment.inspect(second)["HostConfig"]["Memory"] == deployment.kernel_limit(second) == limit
        # More text units than one worker asks about at once, so that it cannot take them all before the other comes.
        deployment.collection("shared", [text(20, communities=240)])
        deployment.llm.configure(hold=True)
        run = deployment.begin("shared")

        def holders() -> set[str]:
            """The hosts that have leased work of the build."""
            leased = deployment.rows(
                "SELECT DISTINCT host FROM work_items JOIN workers ON workers.id = leased_by"
                f" WHERE run_id = '{run['id']}' AND state = 'leased'"
            )
            return {row["host"] for row in leased}

        wait_for(lambda: holders() == {"worker-graphrag", second}, 120, "both gevent workers at work")
        # Its /tmp is memory, and counted as its own: so the kernel kills what is largest in it, which is the worker.
        restarts = deployment.inspect(second)["RestartCount"]
        fill = ["sh", "-c", "head -c 2G /dev/zero > /tmp/fill"]
        deployment.inner(second).exec_run(fill, detach=True)
        wait_for(lambda: deployment.inspect(second)["RestartCount"] > restarts, 120, "a restart by Docker")
        assert deployment.killed_for_memory(second, began)
        deployment.works(second, since=time.time() - 5)
        deployment.llm.configure(hold=False)
        complete(deployment, "shared", run)
    finally:
        deployment.llm.configure(hold=False)
        deployment.remove(second)
