"""A collection becomes a graph: the whole run on both workers."""

from __future__ import annotations

import time

import pytest
from deployment import Deployment, wait_for
from llm_script import BAD_ANSWER
from llm_server import corpus

from fileintel.errors import ConflictError
from fileintel.graph.asking import ASKED_AGAIN
from fileintel.store import collections, documents, graph, retrieval, runs, versions, work, workers
from fileintel.store.engine import rows
from fileintel.tasks import bells
from fileintel.tasks.index import BAD_ANSWER_ATTEMPTS


def test_graph_is_the_one_the_texts_state(deployment: Deployment) -> None:
    texts = corpus(6, 5)
    collection = deployment.collection("stated", texts.texts)
    run = deployment.build(collection)
    assert run.state == "complete", run.error
    titles = {entity.title for entity in graph.entities(run.id, limit=1000)}
    assert titles == set(texts.entities)
    counts = graph.counts(run.id)
    assert counts["relationships"] > 0
    assert counts["reports"] == counts["communities"] >= 6
    assert collections.get(collection.id).published_version == run.id


def test_a_second_build_asks_nothing_and_gives_the_same_graph(deployment: Deployment) -> None:
    collection = deployment.collection("again", corpus(4, 5, padding=1).texts)
    first = deployment.build(collection)
    before = graph.entities_by_number(first.id), graph.relationships_by_number(first.id), graph.reports(first.id)
    deployment.llm.reset()
    second = deployment.build(collection)
    assert second.state == "complete" and second.id != first.id
    assert second.calls == 0 and second.calls_remembered == first.calls + first.calls_remembered > 0
    assert sum(kind["count"] for kind in deployment.llm.stats()["kinds"].values()) == 0
    after = graph.entities_by_number(second.id), graph.relationships_by_number(second.id), graph.reports(second.id)
    assert after == before


def test_a_second_request_joins_the_running_build(deployment: Deployment) -> None:
    collection = deployment.collection("joined", corpus(3, 5, padding=2).texts)
    deployment.llm.configure(hold=True)
    run = bells.start_index(collection.id)
    assert bells.start_index(collection.id).id == run.id
    deployment.llm.configure(hold=False)
    assert deployment.finish(run).state == "complete"


def test_summaries_and_the_reports_of_160_communities_run_all_at_once(deployment: Deployment) -> None:
    collection = deployment.collection("wide", ["\n\n".join(corpus(165, 5).texts)])
    # Half of the summaries wait, and reports wait for no summaries but their own. What is answered takes its time: a
    # worker that sees a busy machine answer many calls no faster than few asks few at once.
    deployment.llm.configure(latency=2.0, hold=True, hold_kinds="report", hang_rate=0.5, fault_kinds="summarize")
    deployment.llm.reset()
    run = bells.start_index(collection.id)
    wait_for(lambda: deployment.llm.kind("report")["in_flight"], 120, "a first report")
    assert deployment.llm.kind("summarize")["in_flight"]
    deployment.llm.configure(hang_rate=0.0)
    wait_for(lambda: deployment.llm.kind("report")["in_flight"] >= 160, 120, "all reports at once")
    deployment.llm.configure(hold=False)
    run = deployment.finish(run)
    assert run.state == "complete", run.error
    assert deployment.llm.stats()["kinds"]["report"]["repeated"] == 0


def test_no_greenlet_holds_the_hub_during_a_build(deployment: Deployment) -> None:
    collection = deployment.collection("hub", ["\n\n".join(corpus(60, 5, padding=3).texts)])
    deployment.llm.configure(latency=0.1)
    assert deployment.build(collection).state == "complete"
    time.sleep(3)  # one heartbeat more
    (gevent,) = deployment.workers("graphrag_gevent")
    assert gevent["longest_stall_ms"] < 50, gevent["stalled_by"]


def test_kill_of_the_gevent_worker_repeats_only_calls_in_flight(deployment: Deployment) -> None:
    collection = deployment.collection("killed", ["\n\n".join(corpus(400, 8).texts)])
    deployment.llm.configure(hold=True, hold_kinds="extract", hold_after=60)
    deployment.llm.reset()
    run = bells.start_index(collection.id)

    def sixty_answered() -> bool:
        extract = deployment.llm.kind("extract")
        return extract["answered"] == 60 and extract["in_flight"] > 0

    wait_for(sixty_answered, 120, "some extractions")
    deployment.kill("graphrag")
    # What a worker has claimed and not stored is what it has in flight.
    in_flight = next(step.leased for step in runs.progress(run.id) if step.step == "extract_graph")
    deployment.llm.configure(hold=False)
    deployment.start("graphrag")
    ended = deployment.finish(run, 240)
    assert ended.state == "complete", ended.error
    extract = deployment.llm.stats()["kinds"]["extract"]
    assert extract["distinct"] == 400
    assert 0 < extract["repeated"] <= in_flight <= 200, extract


def test_passing_faults_cost_retries_and_nothing_else(deployment: Deployment) -> None:
    collection = deployment.collection("faulty", corpus(5, 5, padding=5).texts)
    deployment.llm.configure(fail_first=1)
    run = deployment.build(collection)
    assert run.state == "complete", run.error
    counts = graph.counts(run.id)
    assert counts["reports"] == counts["communities"]


def test_unusable_answers_fail_the_run_by_name_and_leave_what_is_published(deployment: Deployment) -> None:
    collection = deployment.collection("garbled", corpus(3, 5, padding=6).texts)
    first = deployment.build(collection)
    deployment.upload(collection, "more.txt", corpus(9, 5, padding=7).texts[8].encode())
    deployment.settle(collection)
    deployment.llm.configure(bad_answer_rate=1.0)
    deployment.llm.reset()
    run = deployment.build(collection)
    assert run.state == "failed"
    assert run.error is not None and "extract_graph" in run.error
    failed = runs.failures(run.id)
    # Twice, and each time asked again once.
    assert failed and all(item["attempts"] == BAD_ANSWER_ATTEMPTS for item in failed)
    assert all(item["error"].endswith("also when asked again") for item in failed)
    assert deployment.llm.stats()["kinds"]["extract"]["count"] == 2 * BAD_ANSWER_ATTEMPTS * len(failed)
    kept = rows("SELECT raw_answer FROM work_items WHERE run_id = :id AND state = 'failed'", id=run.id)
    assert all(item["raw_answer"] == f"{BAD_ANSWER}{ASKED_AGAIN}{BAD_ANSWER}" for item in kept)
    assert collections.get(collection.id).published_version == first.id
    deployment.llm.configure(bad_answer_rate=0.0)
    deployment.llm.reset()
    retried = deployment.finish(bells.retry_run(run.id))
    assert retried.state == "complete", retried.error
    assert deployment.llm.stats()["kinds"]["extract"]["count"] == len(failed)
    assert collections.get(collection.id).published_version == run.id
    with pytest.raises(ConflictError):
        bells.retry_run(run.id)


def test_questions_can_go_back_to_an_earlier_version(deployment: Deployment) -> None:
    texts = corpus(3 + versions.KEPT_VERSIONS, 5, padding=11).texts
    collection = deployment.collection("versions", texts[:3])
    builds = [deployment.build(collection).id]
    for number, text in enumerate(texts[3:]):
        deployment.upload(collection, f"more-{number}.txt", text.encode())
        deployment.settle(collection)
        builds.append(deployment.build(collection).id)
    # The oldest goes when the last run is tidied up after, which is a task of its own.
    wait_for(lambda: len(versions.list_for(collection.id)) == versions.KEPT_VERSIONS, 120, "the oldest version removed")
    kept = versions.list_for(collection.id)
    assert [version.version for version in kept] == builds[:0:-1]
    assert [version.version for version in kept if version.published] == builds[-1:]
    assert kept[0].entities == 30 and kept[0].reports == kept[0].communities
    versions.roll_back(collection.id, builds[1])
    _, query = deployment.ask(collection, "Who knows whom?", "local")
    assert query.answer.index_version == builds[1]
    with pytest.raises(ConflictError):
        versions.roll_back(collection.id, builds[0])


def test_builds_that_change_nothing_push_no_version_out(deployment: Deployment) -> None:
    texts = corpus(4, 5, padding=12).texts
    collection = deployment.collection("unchanged", texts[:3])
    first = deployment.build(collection).id
    deployment.upload(collection, "more.txt", texts[3].encode())
    deployment.settle(collection)
    builds = [deployment.build(collection).id for _ in range(versions.KEPT_VERSIONS + 1)]
    # The one just replaced may be read still.
    left = [builds[-1], builds[-2], first]
    wait_for(lambda: [version.version for version in versions.list_for(collection.id)] == left, 120, "repeats removed")


def test_cancel_ends_a_run(deployment: Deployment) -> None:
    collection = deployment.collection("cancelled", corpus(30, 5, padding=8).texts)
    deployment.llm.configure(hold=True)
    run = bells.start_index(collection.id)
    wait_for(lambda: runs.get(run.id).step == "extract_graph", 120, "extraction")
    assert runs.cancel(run.id).state == "cancelled"
    deployment.llm.configure(hold=False)
    assert deployment.build(collection).state == "complete"


def test_an_edit_asks_for_what_it_changes_and_no_more(deployment: Deployment) -> None:
    texts = list(corpus(40, 5, padding=12).texts)
    collection = deployment.collection("edited", texts)
    first = deployment.build(collection)
    assert not versions.changed_since(first.id)
    edited = next(d for d in documents.list_for(collection.id) if d.name == "edited-010.txt")
    documents.delete(edited.id)
    deployment.upload(collection, "edited-010.txt", (texts[10] + " Zacharias knows Wilhelmina.").encode())
    deployment.settle(collection)
    assert versions.changed_since(first.id)
    deployment.llm.reset()
    second = deployment.build(collection)
    assert not versions.changed_since(second.id)
    asked = {kind: tally["count"] for kind, tally in deployment.llm.stats()["kinds"].items()}
    assert asked["extract"] == 1
    assert asked["report"] < graph.counts(first.id)["communities"] / 2
    titles = {entity.title for entity in graph.entities(second.id, limit=1000)}
    assert titles == {entity.title for entity in graph.entities(first.id, limit=1000)} | {"ZACHARIAS", "WILHELMINA"}
    documents.delete(next(d for d in documents.list_for(collection.id) if d.name == "edited-010.txt").id)
    third = deployment.build(collection)
    titles = {entity.title for entity in graph.entities(third.id, limit=1000)}
    assert not titles & {"ZACHARIAS", "WILHELMINA"}
    traces = retrieval.matching_units(collection.id, "Zacharias Wilhelmina", 10)
    assert traces == []


def test_a_changed_collection_is_built_again_once_changes_settle(deployment: Deployment) -> None:
    texts = corpus(4, 5, padding=13).texts
    collection = deployment.collection("settling", texts[:3])
    first = deployment.build(collection)

    def named(settled_seconds: int) -> bool:
        found = wait_for(lambda: (workers.reap(work.MAX_ATTEMPTS, settled_seconds),), 120, "a turn at reaping")[0]
        return workers.Bell("collection", collection.id) in (found or [])

    assert not named(1)
    deployment.upload(collection, "settling-003.txt", texts[3].encode())
    deployment.settle(collection)
    assert not named(3600) and not named(0)
    wait_for(lambda: named(1), 120, "the collection being named")
    bells.ring(workers.Bell("collection", collection.id))
    second = deployment.finish(runs.list_for(collection.id)[0])
    assert (second.id > first.id, second.state) == (True, "complete")
    time.sleep(1.5)
    assert not named(1)
    for document in documents.list_for(collection.id):
        documents.delete(document.id)
    wait_for(lambda: named(1), 120, "the emptied collection being named")
    bells.ring(workers.Bell("collection", collection.id))
    assert collections.get(collection.id).published_version is None
    assert not named(1)
