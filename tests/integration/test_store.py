"""The store on a real Postgres."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import Deployment, beat, environment, wait_for
from llm_script import corpus, extract
from merging import Graph, merge

from fileintel.errors import ConfigurationError, ConflictError
from fileintel.graph.extract import extraction_json
from fileintel.graph.merge import merge_entity, merge_relationship
from fileintel.graph.records import read_records
from fileintel.model import ChatAnswer, Collection, Extraction, RelationshipMention
from fileintel.settings import load
from fileintel.store import (
    blobs,
    collections,
    documents,
    index_steps,
    memo,
    mentions,
    migrations,
    retrieval,
    runs,
    work,
    workers,
)
from fileintel.store.engine import execute, row
from fileintel.store.work import Outcome, Spent
from fileintel.tasks import steps


@pytest.fixture
def held(deployment: Deployment) -> Iterator[Collection]:
    """A collection with one run whose items nobody but the test works on: no bell is rung for it."""
    made = collections.create(f"held-{uuid.uuid4()}")
    yield made
    collections.delete(made.id)


STEP = "create_community_reports"


def start(collection: Collection, items: int) -> int:
    run, new = runs.start(
        collection.id, steps=[(STEP, ()), ("next", (STEP,))], chat_model="m", embedding_model="e", parameters={}
    )
    assert new
    for name in ("planner", "me"):
        beat(name)
    # In hand, as far as the reaper can see, so that no worker is sent to it.
    execute("UPDATE index_steps SET rung_at = now() + interval '1 hour' WHERE run_id = :id", id=run.id)
    assert index_steps.claim_plan(run.id, STEP, "planner")
    assert work.enter(run.id, STEP, ((f"item-{n:03}", {"n": n}) for n in range(items))) == items
    assert index_steps.finish_plan(run.id, STEP, "planner")
    execute("UPDATE index_steps SET rung_at = now() + interval '1 hour' WHERE run_id = :id", id=run.id)
    return run.id


def test_one_look_at_a_plan_is_arranged_and_a_bell_during_one_asks_for_another(held: Collection) -> None:
    run = runs.get(start(held, 0))
    for name in ("one", "two", "three"):
        beat(name)
    execute("UPDATE index_steps SET state = 'open' WHERE run_id = :id AND step = :step", id=run.id, step=STEP)
    claimed = index_steps.claim_plan(run.id, STEP, "one")
    assert claimed
    assert index_steps.claim_plan(run.id, STEP, "two") is None

    first = index_steps.pause_plan(run.id, STEP, "one", claimed)
    assert first
    assert first[1]  # rung by the second

    claimed = index_steps.claim_plan(run.id, STEP, "two")
    assert claimed
    second = index_steps.pause_plan(run.id, STEP, "two", claimed)
    assert second
    assert not second[1]
    assert index_steps.pause_plan(run.id, STEP, "two", claimed) is None

    assert index_steps.claim_plan(run.id, STEP, "three", first[0]) is None
    assert index_steps.claim_plan(run.id, STEP, "three", second[0])


def test_migrations_may_run_twice_and_from_two_hosts(deployment: Deployment) -> None:
    failures: list[BaseException] = []

    def migrate() -> None:
        try:
            assert migrations.migrate() == migrations.head()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert migrations.current() == migrations.head()


def test_each_item_is_claimed_once_and_the_step_advances_once(held: Collection) -> None:
    run_id = start(held, 200)
    claimed: list[str] = []
    advanced: list[list[str] | None] = []

    def puller(name: str) -> None:
        # The workers' reaper takes what is leased by a name it does not know.
        beat(name)
        items = work.exchange(None, run_id, STEP, name)
        while items:
            claimed.append(items[0].key)
            done = Outcome(items[0], {"n": items[0].input["n"]}, Spent(calls=1))
            items = work.exchange(done, run_id, STEP, name)
        advanced.append(index_steps.advance(run_id, STEP))

    threads = [threading.Thread(target=puller, args=(f"puller-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == [f"item-{n:03}" for n in range(200)]
    assert sorted(advanced, key=str) == [None] * 7 + [["next"]]
    run = runs.get(run_id)
    assert (run.step, run.calls) == ("next", 200)


def test_an_item_is_tried_five_times_then_failed_and_so_is_its_run(held: Collection) -> None:
    run_id = start(held, 1)
    for attempt in range(work.MAX_ATTEMPTS):
        item = work.claim(run_id, STEP, "me")
        assert item is not None and item.attempts == attempt + 1
        work.exchange(Outcome(item, None, Spent(), error=f"no {attempt}"), run_id, STEP, "me", most=0)
    assert work.claim(run_id, STEP, "me") is None
    assert index_steps.advance(run_id, STEP) is None
    run = runs.get(run_id)
    assert run.state == "failed" and STEP in str(run.error)
    assert runs.failures(run_id)[0]["error"] == "no 4"


def test_a_lost_lease_writes_no_result_but_keeps_the_answer(held: Collection) -> None:
    run_id = start(held, 1)
    item = work.claim(run_id, STEP, "first")
    assert item is not None
    execute("UPDATE work_items SET leased_by = 'second' WHERE run_id = :id", id=run_id)
    key = uuid.uuid4().hex
    spent = Spent(calls=1, answers={key: ("m", ChatAnswer("kept"))})
    work.exchange(Outcome(item, {"late": True}, spent), run_id, STEP, "first")
    assert list(work.outputs(run_id, STEP)) == []
    remembered = memo.recall(key)
    assert remembered is not None and remembered.content == "kept" and remembered.remembered


def test_postgres_gathers_what_merging_in_memory_comes_to(held: Collection) -> None:
    texts = corpus(8, 5).texts
    extractions = [(f"unit{n}", read_records(extract(text))) for n, text in enumerate([*texts, *texts[::2]])]
    orphan = RelationshipMention(extractions[0][1].entities[0].title, "NOBODY", "an orphan", 2.0)
    turned = [RelationshipMention(r.target, r.source, "turned", 1.5) for r in extractions[3][1].relationships]
    extractions.append(("unit99", Extraction(extractions[3][1].entities[:2], (*turned, orphan))))
    run, _ = runs.start(held.id, steps=[("extract_graph", ())], chat_model="m", embedding_model="e", parameters={})
    execute("UPDATE index_steps SET rung_at = now() + interval '1 hour' WHERE run_id = :id", id=run.id)
    beat("me")
    work.enter(run.id, "extract_graph", [(unit, {}) for unit, _ in extractions])
    items = {item.key: item for item in work.exchange(None, run.id, "extract_graph", "me", most=100)}
    for unit, extraction in extractions:
        work.exchange(Outcome(items[unit], extraction_json(extraction), Spent()), run.id, "extract_graph", "me", most=0)
    with mentions.gathered(run.id) as gathered:
        entities = [
            merge_entity(noun.title, noun.said, number=number, degree=noun.degree)
            for number, noun in enumerate(gathered.entities())
        ]
        relationships = [
            merge_relationship(p.source, p.target, p.said, number=number, combined_degree=p.combined_degree)
            for number, p in enumerate(gathered.relationships())
        ]
        orphans = gathered.orphans
    assert Graph(tuple(entities), tuple(relationships), orphans) == merge(extractions)
    assert orphans == 1


def test_the_reaper_frees_what_the_dead_held_and_leaves_the_living_alone(held: Collection) -> None:
    run_id = start(held, 2)
    dead, alive = f"dead-{uuid.uuid4()}", f"alive-{uuid.uuid4()}"
    for name in (dead, alive):
        beat(name)
        assert work.claim(run_id, STEP, name) is not None
    execute("UPDATE workers SET seen_at = now() - interval '31 seconds' WHERE id = :id", id=dead)

    def freed() -> bool:
        beat(alive)
        return work.pending(run_id, STEP) == 1

    wait_for(freed, 120, "the reaper's turn")
    leased = row("SELECT leased_by FROM work_items WHERE run_id = :id AND state = 'leased'", id=run_id)
    assert leased is not None and leased["leased_by"] == alive
    workers.leave(alive)
    assert work.pending(run_id, STEP) == 2


def test_only_one_run_of_a_collection_at_a_time(held: Collection) -> None:
    first = start(held, 1)
    order = steps.order({"method": "standard", "claims": False})
    run, new = runs.start(held.id, steps=order, chat_model="m", embedding_model="e", parameters={})
    assert (run.id, new) == (first, False)
    runs.cancel(first)
    with pytest.raises(ConflictError):
        runs.cancel(first)


def test_deleting_a_document_leaves_what_another_one_holds(deployment: Deployment) -> None:
    shared, own = "Shared paragraph about herons on the marsh.", "Own paragraph about otters in the river."
    left = deployment.collection(f"left-{uuid.uuid4()}", [shared, own])
    right = deployment.collection(f"right-{uuid.uuid4()}", [shared])
    for document in documents.list_for(left.id):
        documents.delete(document.id)
    assert retrieval.matching_units(left.id, "herons otters", 10) == []
    assert len(retrieval.matching_units(right.id, "herons", 10)) == 1
    assert row("SELECT 1 FROM text_units WHERE text LIKE '%about otters in the river%'") is None
    collections.delete(right.id)
    assert row("SELECT 1 FROM text_units WHERE text LIKE '%about herons on the marsh%'") is None


def test_files_of_deleted_documents_are_removed_after_a_margin(deployment: Deployment) -> None:
    collection = deployment.collection(f"swept-{uuid.uuid4()}", ["A file that stays.", "A file that goes."])
    stays, goes = documents.list_for(collection.id)
    documents.delete(goes.id)
    blobs.remove_unreferenced(load().blob_dir)
    assert blobs.path(goes.sha256).exists()
    long_ago = time.time() - 7200
    for document in (stays, goes):
        os.utime(blobs.path(document.sha256), (long_ago, long_ago))
    assert blobs.remove_unreferenced(load().blob_dir) >= 1
    assert blobs.path(stays.sha256).exists() and not blobs.path(goes.sha256).exists()


def test_another_length_of_vectors_needs_a_migration_and_new_embeddings(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from fileintel.embedded.services import services
    from fileintel.store import engine

    folder: Path = tmp_path_factory.mktemp("dimensions")
    engine.dispose()
    with services(folder, keep=False) as urls, environment({**urls, "FILEINTEL_STATE_DIR": str(folder)}):
        migrations.migrate()
        with environment({"FILEINTEL_EMBEDDING_DIMENSIONS": "8"}):
            # Nothing is lost yet.
            migrations.migrate()
            memo.remember_embeddings("m", {"text": [1.0] + [0.0] * 7})
            assert len(memo.recall_embeddings("m", ["text"])["text"]) == 8
        with pytest.raises(ConfigurationError, match="holds vectors of 8 dimensions"):
            migrations.migrate()
        with environment({"FILEINTEL_EMBEDDING_DIMENSIONS": "8"}):
            assert len(memo.recall_embeddings("m", ["text"])["text"]) == 8
        migrations.migrate(change_dimensions=True)
        assert memo.recall_embeddings("m", ["text"]) == {}
        engine.dispose()
