"""The store on a real Postgres."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import Deployment, environment, wait_for

from fileintel.errors import ConflictError
from fileintel.model import ChatAnswer, Collection
from fileintel.settings import load
from fileintel.store import blobs, collections, documents, memo, migrations, retrieval, runs, work, workers
from fileintel.store.engine import execute, row
from fileintel.store.work import Spent
from fileintel.tasks import steps


@pytest.fixture
def held(deployment: Deployment) -> Iterator[Collection]:
    """A collection with one run whose items nobody but the test works on: no bell is rung for it."""
    made = collections.create(f"held-{uuid.uuid4()}")
    yield made
    collections.delete(made.id)


def start(collection: Collection, items: int) -> int:
    run, new = runs.start(
        collection.id, step="summarize_descriptions", chat_model="m", embedding_model="e", parameters={}
    )
    assert new
    # In hand, as far as the reaper can see, so that no worker is sent to it.
    execute("UPDATE index_runs SET rung_at = now() + interval '1 hour' WHERE id = :id", id=run.id)
    work.plan(run.id, run.step, ((f"item-{n:03}", {"n": n}) for n in range(items)))
    execute("UPDATE index_runs SET rung_at = now() + interval '1 hour' WHERE id = :id", id=run.id)
    return run.id


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
    advanced: list[bool] = []

    def puller(name: str) -> None:
        item = work.claim(run_id, "summarize_descriptions", name)
        while item is not None:
            claimed.append(item.key)
            item = work.finish_and_claim(item, name, {"n": item.input["n"]}, Spent(calls=1))
        advanced.append(runs.advance(run_id, "summarize_descriptions", "finalize_graph"))

    threads = [threading.Thread(target=puller, args=(f"puller-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == [f"item-{n:03}" for n in range(200)]
    assert advanced.count(True) == 1
    run = runs.get(run_id)
    assert (run.step, run.calls) == ("finalize_graph", 200)


def test_an_item_is_tried_five_times_then_failed_and_so_is_its_run(held: Collection) -> None:
    run_id = start(held, 1)
    for attempt in range(work.MAX_ATTEMPTS):
        item = work.claim(run_id, "summarize_descriptions", "me")
        assert item is not None and item.attempts == attempt + 1
        work.give_back(item, "me", error=f"no {attempt}", spent=Spent(), final=False)
    assert work.claim(run_id, "summarize_descriptions", "me") is None
    assert not runs.advance(run_id, "summarize_descriptions", "finalize_graph")
    run = runs.get(run_id)
    assert run.state == "failed" and "summarize_descriptions" in str(run.error)
    assert runs.failures(run_id)[0]["error"] == "no 4"


def test_a_lost_lease_writes_no_result_but_keeps_the_answer(held: Collection) -> None:
    run_id = start(held, 1)
    item = work.claim(run_id, "summarize_descriptions", "first")
    assert item is not None
    execute("UPDATE work_items SET leased_by = 'second' WHERE run_id = :id", id=run_id)
    key = uuid.uuid4().hex
    work.finish_and_claim(item, "first", {"late": True}, Spent(calls=1, answers={key: ("m", ChatAnswer("kept"))}))
    assert work.outputs(run_id, "summarize_descriptions") == []
    remembered = memo.recall(key)
    assert remembered is not None and remembered.content == "kept" and remembered.remembered


def test_the_reaper_frees_what_the_dead_held_and_leaves_the_living_alone(held: Collection) -> None:
    run_id = start(held, 2)
    dead, alive = f"dead-{uuid.uuid4()}", f"alive-{uuid.uuid4()}"
    for name in (dead, alive):
        workers.beat(name, name=name, host="h", pid=os.getpid(), in_flight=0, call_limit=0, longest_stall_ms=0.0, by="")
        assert work.claim(run_id, "summarize_descriptions", name) is not None
    execute("UPDATE workers SET seen_at = now() - interval '31 seconds' WHERE id = :id", id=dead)
    wait_for(lambda: work.pending(run_id, "summarize_descriptions") == 1, 30, "the reaper's turn")
    leased = row("SELECT leased_by FROM work_items WHERE run_id = :id AND state = 'leased'", id=run_id)
    assert leased is not None and leased["leased_by"] == alive
    workers.leave(alive)
    assert work.pending(run_id, "summarize_descriptions") == 2


def test_only_one_run_of_a_collection_at_a_time(held: Collection) -> None:
    first = start(held, 1)
    run, new = runs.start(held.id, step=steps.FIRST, chat_model="m", embedding_model="e", parameters={})
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
            migrations.migrate()
            memo.remember_embeddings("m", {"text": [1.0] + [0.0] * 7})
            assert len(memo.recall_embeddings("m", ["text"])["text"]) == 8
        engine.dispose()
