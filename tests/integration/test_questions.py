"""Questions over a published graph, in every mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from deployment import Deployment, wait_for
from llm_server import corpus

from fileintel.model import Collection
from fileintel.store import queries, query_calls, retrieval
from fileintel.store.engine import row
from fileintel.tasks import bells, models

# Its communities of level 0 are larger than a cluster may be in places, so that there is a level 1.
TEXTS = corpus(30, 4, padding=5)


@pytest.fixture(scope="module")
def asked(deployment: Deployment) -> Collection:
    collection = deployment.collection("asked", TEXTS.texts)
    assert deployment.build(collection).state == "complete"
    deployment.renew("graphrag")
    return collection


def text_of(heard: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(data["text"] for kind, data in heard if kind == "delta")


def map_prompt(deployment: Deployment) -> str:
    return str(deployment.llm.stats("last")["kinds"]["map"]["last"]["messages"][0]["content"])


@pytest.mark.parametrize("mode", ["basic", "local", "global", "drift", "graph", "auto"])
def test_answer_streams_and_cites(deployment: Deployment, asked: Collection, mode: str) -> None:
    heard, query = deployment.ask(asked, "Who knows whom?", mode)
    assert query.state == "complete", query.error
    assert text_of(heard) == query.answer.text
    assert heard[-1][0] == "answer"
    assert query.answer.citations
    for citation in query.answer.citations:
        assert citation.document_name.startswith("asked-") and citation.quote
    assert query.answer.index_version is not None
    kept = row("SELECT count(*) AS n FROM query_calls WHERE query_id = :id", id=query.id)
    assert kept is not None and kept["n"] == 0


def test_graph_modes_need_a_graph(deployment: Deployment) -> None:
    collection = deployment.collection("ungraphed", ["Alice knows Bob. Bob knows Carol."])
    for mode in ("local", "drift"):
        _, query = deployment.ask(collection, "Who knows whom?", mode)
        assert query.state == "failed" and query.error_code == "conflict"
    _, query = deployment.ask(collection, "Who knows whom?", "auto")
    assert query.state == "complete" and query.answer.mode == "basic"


def test_drift_goes_from_reports_to_two_rounds_of_follow_up_questions(
    deployment: Deployment, asked: Collection
) -> None:
    deployment.llm.configure(hold=True, hold_kinds="follow_up")
    deployment.llm.reset()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(deployment.ask, asked, "Who advises whom, and who pays?", "drift")
        try:
            wait_for(lambda: deployment.llm.kind("follow_up")["in_flight"] > 1, 120, "a round's calls at the same time")
        finally:
            deployment.llm.configure(hold=False)
        _, query = asking.result()
    assert query.answer.mode == "drift" and query.answer.tokens_in > 0
    kinds = deployment.llm.stats()["kinds"]
    assert kinds["expand"]["count"] == 1 and 1 <= kinds["primer"]["count"] <= 5
    # Eight in each round; the scripted primer proposes one per report, each answer one more.
    assert 6 <= kinds["follow_up"]["count"] <= 16 and kinds["follow_up"]["repeated"] == 0
    assert kinds["answer"]["count"] == 1


def test_dynamic_selection_reads_what_the_ratings_lead_to(deployment: Deployment, asked: Collection) -> None:
    name = sorted(TEXTS.communities[2])[0].capitalize()
    deployment.llm.reset()
    _, query = deployment.ask(asked, f"What is known about {name}?", "global", dynamic_selection=True)
    assert query.state == "complete", query.error
    hierarchy = retrieval.hierarchy(query.answer.index_version)
    tops = [community for community in hierarchy if community.level == 0]
    kinds = deployment.llm.stats()["kinds"]
    assert len(tops) <= kinds["rate"]["count"] < len(hierarchy) + 1 and kinds["rate"]["repeated"] == 0
    assert kinds["map"]["count"] >= 1
    chosen = map_prompt(deployment)
    deployment.ask(asked, f"What is known about {name}?", "global")
    assert name.upper() in chosen and len(chosen) < len(map_prompt(deployment))


def test_community_level_and_response_type_reach_the_prompts(deployment: Deployment, asked: Collection) -> None:
    for mode in ("basic", "local", "global", "drift"):
        deployment.llm.reset()
        _, query = deployment.ask(asked, "Who knows whom?", mode, response_type="List of 3-7 points")
        assert query.state == "complete", query.error
        last = deployment.llm.stats("last")["kinds"]["answer"]["last"]
        assert "List of 3-7 points" in last["messages"][0]["content"], mode
    shown = []
    for level in (0, 5):
        deployment.llm.reset()
        deployment.ask(asked, "Who knows whom?", "global", community_level=level)
        shown.append(map_prompt(deployment))
    assert shown[0] != shown[1]


def test_twenty_questions_at_once_each_stream_their_own_answer(deployment: Deployment, asked: Collection) -> None:
    # One that knows of no reason to ask fewer at once.
    deployment.renew("graphrag")
    modes = ["basic", "local", "global", "drift"]
    names = sorted(name.capitalize() for name in TEXTS.entities)
    questions = [
        (modes[number % 4], f"What is known about {names[number]}?", {"dynamic_selection": number % 8 == 2})
        for number in range(20)
    ]
    # Every question's first call is held until all of them wait; the embeddings they plan with are known by then.
    models.embed([question for _, question, _ in questions])
    deployment.llm.configure(hold=True, piece_delay=0.01)
    deployment.llm.reset()
    with ThreadPoolExecutor(20) as pool:
        asking = [pool.submit(deployment.ask, asked, question, mode, **more) for mode, question, more in questions]
        try:
            wait_for(lambda: deployment.llm.stats()["in_flight"] >= 20, 120, "a call in flight for each question")
        finally:
            deployment.llm.configure(hold=False)
        answers = [each.result() for each in asking]
    deployment.llm.configure(piece_delay=0.0)
    for (mode, question, _), (heard, query) in zip(questions, answers, strict=True):
        assert query.state == "complete" and query.answer.mode == mode, (question, query.error)
        assert query.question == question and text_of(heard) == query.answer.text
        assert sum(kind == "delta" for kind, _ in heard) > 1
        assert query.answer.citations
    (worker,) = deployment.workers("gevent")
    # The contexts of one round of follow-up questions would take half a second; the rest is what a busy machine adds.
    assert worker["longest_stall_ms"] < 150, worker["stalled_by"]


def test_a_killed_worker_repeats_the_calls_in_flight_at_most(deployment: Deployment, asked: Collection) -> None:
    deployment.renew("graphrag")
    deployment.llm.reset()
    deployment.llm.configure(hang_rate=0.5, fault_kinds="follow_up")
    try:
        query = queries.create(asked.id, "Who visits whom, and who insures them?", "drift")
        bells.ring_query(query.id)

        def stuck() -> int:
            """How many calls hang, once all that are answered at all are stored."""
            asked_for = deployment.llm.kind("follow_up")
            missing = len(query_calls.unanswered(query.id))
            return missing if asked_for["answered"] and asked_for["in_flight"] == missing else 0

        hanging = wait_for(stuck, 120, "a round of which some calls hang")
        deployment.kill("graphrag")
    finally:
        deployment.llm.configure(hang_rate=0.0, fault_kinds="")
    deployment.start("graphrag")
    wait_for(lambda: queries.get(query.id).state in ("complete", "failed"), 180, "the answer")
    answer = queries.get(query.id).answer
    assert answer is not None and answer.mode == "drift" and answer.citations
    kinds = deployment.llm.stats()["kinds"]
    assert all(kinds[kind]["answered_again"] == 0 for kind in ("expand", "primer", "follow_up")), kinds
    assert kinds["follow_up"]["abandoned"] == kinds["follow_up"]["repeated"] == hanging


def test_an_unreadable_follow_up_answer_costs_its_finding_and_not_the_question(
    deployment: Deployment, asked: Collection
) -> None:
    deployment.llm.configure(bad_answer_rate=1.0, fault_kinds="follow_up")
    try:
        _, query = deployment.ask(asked, "Who trains whom?", "drift")
        assert query.state == "complete" and query.answer.citations
        deployment.llm.configure(fault_kinds="primer")
        _, query = deployment.ask(asked, "Who trains whom?", "drift")
        assert query.state == "failed" and query.error_code == "model-answer"
    finally:
        deployment.llm.configure(bad_answer_rate=0.0, fault_kinds="")
