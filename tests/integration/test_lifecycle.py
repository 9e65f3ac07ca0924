"""Estimate, budget, check, export, replacement: through the API and the command line, on both workers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from deployment import V2, Api, Deployment, beat, environment, problem, settled, wait_for
from llm_server import corpus

from fileintel.model import Collection
from fileintel.store import budget, collections, documents, estimate, graph, index_steps, retrieval, runs, work
from fileintel.store.engine import execute, rows
from fileintel.tasks import bells, costs
from fileintel.tasks.estimate import estimate_build


def asked(deployment: Deployment) -> int:
    kinds = deployment.llm.stats()["kinds"]
    return sum(tally["count"] for kind, tally in kinds.items() if not kind.startswith("embed"))


STEP = "create_community_reports"


def unattended(collection: Collection, parameters: dict[str, Any]) -> int:
    """A run whose two items nobody but the test works on: no bell is rung for it."""
    run, _ = runs.start(collection.id, steps=[(STEP, ())], chat_model="m", embedding_model="e", parameters=parameters)
    execute("UPDATE index_steps SET rung_at = now() + interval '1 hour' WHERE run_id = :id", id=run.id)
    for name in ("planner", "me"):
        beat(name)
    assert index_steps.claim_plan(run.id, STEP, "planner")
    work.enter(run.id, STEP, [("0", {}), ("1", {})])
    assert index_steps.finish_plan(run.id, STEP, "planner")
    execute("UPDATE index_steps SET rung_at = now() + interval '1 hour' WHERE run_id = :id", id=run.id)
    return run.id


def test_an_estimate_is_what_the_build_then_asks(deployment: Deployment, api: Api) -> None:
    # No text unit that another test's collection has had extracted.
    texts = [f"{text} So it was before the estimate." for text in corpus(12, 5).texts]
    collection = deployment.collection("estimated", texts)
    deployment.llm.reset()
    before = api.cli("graphrag", "estimate", "estimated", "--json")
    assert before.code == 0, before.err
    extraction, summaries, reports = before.json["steps"]
    units = len(estimate.text_unit_ids(collection.id))
    assert (extraction["calls"], extraction["remembered"], extraction["exact"]) == (units, 0, True)
    assert not summaries["exact"] and not reports["exact"] and summaries["basis"]
    assert before.json["cost"] is None
    assert asked(deployment) == 0
    run = deployment.build(collection)
    assert run.state == "complete"
    # The scripted server counts tokens in its own way, so the prompts' are compared with what was sent.
    assert extraction["tokens_in"] > 12 * 1000
    after = api.cli("graphrag", "estimate", "estimated", "--json").json
    assert after["to_make"] == 0 and after["remembered"] == run.calls + run.calls_remembered and after["seconds"] == 0
    assert all(step["exact"] for step in after["steps"])
    shown = api.cli("graphrag", "estimate", "estimated")
    assert (
        shown.code == 0 and "no call is to be made" in shown.out and "unknown: set FILEINTEL_PRICE_INPUT" in shown.out
    )


def test_an_edit_is_estimated_from_what_is_remembered(deployment: Deployment) -> None:
    texts = list(corpus(20, 5, padding=22).texts)
    collection = deployment.collection("estimated-edit", texts)
    first = deployment.build(collection)
    documents.delete(next(d for d in documents.list_for(collection.id) if d.name == "estimated-edit-010.txt").id)
    deployment.upload(collection, "new.txt", (texts[10] + " Zacharias knows Wilhelmina.").encode())
    deployment.settle(collection)
    found = estimate_build(collection.id, bells.build_parameters())
    extraction, _, reports = found.steps
    units = len(estimate.text_unit_ids(collection.id))
    assert (extraction.to_make, extraction.remembered) == (1, units - 1)
    assert f"run {first.id}" in reports.basis
    second = deployment.build(collection)
    assert second.calls <= found.to_make * 2 + 3
    assert abs(found.calls - second.calls - second.calls_remembered) <= 0.2 * found.calls


def test_ten_thousand_units_are_looked_up_in_seconds(deployment: Deployment) -> None:
    collection = collections.create("estimated-large")
    execute(
        """WITH d AS (INSERT INTO documents (id, collection_id, name, sha256, size, state)
                      VALUES ('large', :c, 'large.txt', repeat('a', 64), 1, 'ready') RETURNING id),
           t AS (INSERT INTO text_units (id, text, n_tokens)
                 SELECT 'large-' || n, repeat('Alice knows Bob. ', 60) || n, 300 FROM generate_series(1, 10000) n
                 RETURNING id)
           SELECT 1""",
        c=collection.id,
    )
    execute(
        """INSERT INTO document_text_units (document_id, ordinal, text_unit_id, anchors)
           SELECT 'large', n, 'large-' || n, '[]' FROM generate_series(1, 10000) n"""
    )
    start = time.monotonic()
    found = estimate_build(collection.id, bells.build_parameters())
    took = time.monotonic() - start
    print(f"estimate of 10,000 text units: {took:.1f} s")
    assert found.steps[0].calls == 10_000 and took < 60
    collections.delete(collection.id)


def test_a_build_asks_before_it_costs_more_than_configured(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("asked-first", corpus(4, 5, padding=23).texts)
    of_other_tests = deployment.processes["api"]
    with environment({"FILEINTEL_CONFIRM_ABOVE_CALLS": "3", "FILEINTEL_PRICE_INPUT": "2"}):
        careful = deployment.serve()
        refused = careful.cli("graphrag", "index", "asked-first")
        assert refused.code == 2 and "--yes" in refused.err and runs.latest(collection.id) is None
        with careful.client() as client:
            answer = client.post(f"{V2}/collections/asked-first/index-runs")
            problem(answer, 409, "confirmation-needed")
            assert answer.json()["estimate"]["to_make"] > 3
        built = careful.cli("graphrag", "index", "asked-first", "--yes", "--wait")
        assert built.code == 0, built.err
        again = careful.cli("graphrag", "rebuild", "asked-first", "--fresh", "--wait", "--json")
        assert again.code == 0, again.err
        assert again.json["run"]["calls"] == 0
        assert runs.parameters(again.json["run"]["id"])["recluster"] is True
    deployment.processes["api"].terminate()
    deployment.processes["api"].wait(60)
    deployment.processes["api"] = of_other_tests


def test_a_budget_stops_a_build_that_then_goes_on_paying_nothing_twice(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("budgeted", corpus(40, 5, padding=24).texts)
    deployment.llm.reset()
    stopped = api.cli("graphrag", "index", "budgeted", "--budget", "25", "--wait")
    assert stopped.code == 1 and "budget of 25 calls" in stopped.err, stopped.err
    run = runs.latest(collection.id)
    assert run is not None and (run.state, run.error_code) == ("failed", "budget")
    # The run ends with the first call that is refused; answers on their way then are still to be written down.
    wait_for(lambda: not any(step.leased for step in runs.progress(run.id)), 120, "end of the calls in flight")
    assert runs.get(run.id).calls == asked(deployment) == 25
    poor = api.cli("graphrag", "retry", "budgeted")
    assert poor.code == 2 and "--budget" in poor.err
    assert api.cli("graphrag", "retry", "budgeted", "--budget", "1000").code == 0
    ended = deployment.finish(run)
    assert ended.state == "complete", ended.error
    tallies = deployment.llm.stats()["kinds"]
    assert sum(tally["repeated"] for kind, tally in tallies.items() if not kind.startswith("embed")) == 0
    assert ended.calls == asked(deployment)


def test_a_budget_in_money_is_overshot_by_calls_in_flight_at_most(deployment: Deployment) -> None:
    collection = deployment.collection("priced", [""" """.join(corpus(1, 5, padding=25).texts)])
    run_id = unattended(collection, {"budget_cost": 1.0})
    granted, spent = 0, 0.0
    while lot := budget.grant(run_id, cost=spent):
        granted, spent = granted + lot, lot * 0.1
        assert lot <= budget.LOT
    assert 10 <= granted <= 13
    runs.cancel(run_id)


def test_a_check_names_what_is_missing(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("checked", corpus(6, 5, padding=26).texts)
    assert api.cli("graphrag", "check", "checked").code == 1
    run = deployment.build(collection)
    whole = api.cli("graphrag", "check", "checked", "--json")
    assert whole.code == 0, whole.out
    assert whole.json["complete"] and all(check["total"] > 0 for check in whole.json["checks"])
    victim, (first, second) = graph.entities(run.id, limit=1)[0], graph.relationships(run.id, limit=2)
    spoil = {
        "communities reported": "DELETE FROM community_reports WHERE version = :v AND community = 0",
        "reports embedded": "UPDATE community_reports SET embedding = NULL WHERE version = :v AND community = 1",
        "entities embedded": "UPDATE entities SET embedding = NULL WHERE version = :v AND id = :e",
        "entities described": "UPDATE entities SET description = '' WHERE version = :v AND id = :e",
        "relationships described": "UPDATE relationships SET description = '' WHERE version = :v AND id = :first",
        "relationships' ends": "UPDATE relationships SET source = 'NOBODY' WHERE version = :v AND id = :second",
        "text units extracted": """DELETE FROM work_items WHERE step = 'extract_graph' AND run_id = :v
            AND key = (SELECT min(key) FROM work_items WHERE step = 'extract_graph' AND run_id = :v)""",
    }
    for name, sql in spoil.items():
        ids = {"v": run.id, "e": victim.id, "first": first.id, "second": second.id}
        execute(sql, **{key: value for key, value in ids.items() if f":{key}" in sql})
        found = api.cli("graphrag", "check", "checked", "--json")
        assert found.code == 1
        assert {c["name"]: c["missing"] for c in found.json["checks"]}[name] == 1, name
    documents.delete(documents.list_for(collection.id)[0].id)
    left = {c["name"]: c["missing"] for c in api.cli("graphrag", "check", "checked", "--json").json["checks"]}
    assert left["entities' text units"] >= 5 and left["relationships' text units"] >= 5


def test_failed_items_are_shown_with_the_answers_they_failed_for(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("check-failed", corpus(2, 5, padding=27).texts)
    deployment.llm.configure(bad_answer_rate=1.0)
    assert deployment.build(collection).state == "failed"
    plain = api.cli("graphrag", "check", "check-failed", "--json")
    assert plain.code == 1 and plain.json["version"] is None
    assert plain.json["failures"][0]["error"] and plain.json["failures"][0]["raw_answer"] is None
    full = api.cli("graphrag", "check", "check-failed", "--full")
    assert full.code == 1 and "weather" in full.out and "retry check-failed" in full.err
    deployment.llm.configure(bad_answer_rate=0.0)
    run = runs.latest(collection.id)
    assert run is not None
    assert api.cli("graphrag", "retry", "check-failed").code == 0
    assert deployment.finish(run).state == "complete"
    assert api.cli("graphrag", "check", "check-failed").code == 0


def test_status_tells_why_items_are_tried_again(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("retrying", corpus(2, 5, padding=28).texts)
    run_id = unattended(collection, {})
    item = work.claim(run_id, STEP, "me")
    assert item is not None
    failed = work.Outcome(item, None, work.Spent(), error="HTTP 500 from the server")
    work.exchange(failed, run_id, STEP, "me", most=0)
    status = api.cli("graphrag", "status", "retrying", "--json").json["progress"]
    assert [(i["key"], i["attempts"], i["error"]) for i in status["retrying"]] == [("0", 1, "HTTP 500 from the server")]
    assert "HTTP 500" in api.cli("graphrag", "status", "retrying").out
    runs.cancel(run_id)


@pytest.fixture(scope="module")
def exported(deployment: Deployment) -> Collection:
    collection = deployment.collection("exported", corpus(8, 6, padding=29).texts)
    assert deployment.build(collection).state == "complete"
    return collections.get(collection.id)


def test_stock_graphrag_reads_the_exported_tables(
    deployment: Deployment, api: Api, exported: Collection, tmp_path: Path
) -> None:
    import pandas as pd
    from graphrag.data_model import schemas
    from graphrag.query.indexer_adapters import (
        read_indexer_communities,
        read_indexer_entities,
        read_indexer_relationships,
        read_indexer_reports,
        read_indexer_text_units,
    )

    done = api.cli("graphrag", "export", "exported", "--format", "parquet", "--output", tmp_path / "new")
    assert done.code == 0, done.err
    tables = {path.stem: pd.read_parquet(path) for path in (tmp_path / "new").iterdir()}
    assert set(tables) == {
        "documents", "text_units", "entities", "relationships", "communities", "community_reports",
    }  # fmt: skip
    for name, table in tables.items():
        assert list(table.columns) == getattr(schemas, f"{name.upper()}_FINAL_COLUMNS"), name
    version = exported.published_version
    assert version is not None
    counts = graph.counts(version)
    entities = read_indexer_entities(tables["entities"], tables["communities"], None)
    assert {e.title for e in entities} == {e.title for e in graph.entities(version, limit=1000)}
    assert all(e.community_ids and e.description for e in entities)
    assert {e.id: list(e.text_unit_ids) for e in entities} == {
        e.id: list(e.text_unit_ids) for e in graph.entities(version, limit=1000)
    }
    assert len(read_indexer_relationships(tables["relationships"])) == counts["relationships"]
    reports = read_indexer_reports(tables["community_reports"], tables["communities"], None, True)
    assert len(reports) == counts["reports"] and all(r.full_content and r.rank is not None for r in reports)
    communities = read_indexer_communities(tables["communities"], tables["community_reports"])
    assert len(communities) == counts["communities"]
    units = read_indexer_text_units(tables["text_units"])
    assert {u.id for u in units} == set(estimate.text_unit_ids(exported.id))
    assert all(u.document_id for u in units)
    named = {(e.id, unit) for e in entities for unit in e.text_unit_ids}
    assert {(entity, u.id) for u in units for entity in u.entity_ids} == named
    again = api.cli("graphrag", "export", "exported", "--output", tmp_path / "new")
    assert again.code == 2 and "not empty" in again.err


def test_graphml_and_markdown(deployment: Deployment, api: Api, exported: Collection, tmp_path: Path) -> None:
    import networkx as nx

    assert exported.published_version is not None
    counts = graph.counts(exported.published_version)
    done = api.cli("graphrag", "export", "exported", "--format", "graphml", "--output", tmp_path / "g", "--json")
    read = nx.read_graphml(done.json["files"][0])
    assert (read.number_of_nodes(), read.number_of_edges()) == (counts["entities"], counts["relationships"])
    assert all("community_0" in facts for _, facts in read.nodes(data=True))
    assert api.cli("graphrag", "export", "exported", "--format", "markdown", "--output", tmp_path / "m").code == 0
    assert len(list((tmp_path / "m" / "communities").iterdir())) == counts["reports"]
    index = (tmp_path / "m" / "index.md").read_text()
    for page in (tmp_path / "m" / "communities").iterdir():
        assert f"(communities/{page.name})" in index


def test_one_community_whole(deployment: Deployment, api: Api, exported: Collection) -> None:
    assert exported.published_version is not None
    for community in graph.communities(exported.published_version):
        found = api.cli("graphrag", "community", "exported", str(community.number), "--json").json
        assert {e["id"] for e in found["entities"]} == set(community.entity_ids)
        assert {r["id"] for r in found["relationships"]} == set(community.relationship_ids)
        assert found["report"]["community"] == community.number
        assert [child["number"] for child in found["children"]] == sorted(community.children)
        assert (found["parent"] or {"number": -1})["number"] == community.parent
        break
    assert "full_content" not in api.cli("graphrag", "community", "exported", "0").out
    assert api.cli("graphrag", "community", "exported", "9999").code == 2


def test_a_document_takes_the_place_of_its_older_self(deployment: Deployment, api: Api, tmp_path: Path) -> None:
    collections.create("replaced")
    file = tmp_path / "minutes.txt"

    def add(text: str, *more: str) -> int:
        file.write_text(text)
        return api.cli("document", "add", "replaced", file, "--wait", *more).code

    assert add("Herons nest on the marsh.") == 0
    assert add("Otters swim in the river.") == 0
    with api.client() as client:
        collection = collections.get("replaced")
        assert len(documents.list_for(collection.id)) == 2
        assert api.cli("document", "delete", "replaced", "minutes.txt", "--yes").code == 2
        assert add("Badgers dig under the hill.", "--replace") == 0
        assert list(settled(client, "replaced")) == ["minutes.txt"]
        assert len(documents.list_for(collection.id)) == 1
        assert retrieval.matching_units(collection.id, "herons otters", 10) == []
        assert len(retrieval.matching_units(collection.id, "badgers", 10)) == 1
        # One that cannot be read takes no place.
        bad = client.post(
            f"{V2}/collections/replaced/documents",
            params={"name": "minutes.txt", "replace": "true"},
            content=b"%PDF-1.7",
        )
        assert bad.status_code in (201, 415)
        wait_for(lambda: all(d.state in ("ready", "failed") for d in documents.list_for(collection.id)), 120, "reading")
        assert len(retrieval.matching_units(collection.id, "badgers", 10)) == 1
        same = client.post(
            f"{V2}/collections/replaced/documents",
            params={"name": "other.txt", "replace": "true"},
            content=b"Badgers dig under the hill.",
        )
        assert "minutes.txt" in problem(same, 409, "conflict")
    for document in documents.list_for(collection.id):
        if document.state == "failed":
            documents.delete(document.id)
    assert api.cli("document", "delete", "replaced", "minutes.txt", "--yes").code == 0
    assert documents.list_for(collection.id) == []


def test_a_changed_collection_is_estimated_once_before_it_builds_itself(deployment: Deployment) -> None:
    collection = deployment.collection("careful", corpus(2, 5, padding=30).texts)
    first = deployment.build(collection)
    deployment.upload(collection, "more.txt", b"Zacharias knows Wilhelmina.")
    deployment.settle(collection)
    with environment({"FILEINTEL_CONFIRM_ABOVE_CALLS": "1"}):
        bells.build_again(collection.id)
        bells.build_again(collection.id)
    asked_for = rows("SELECT parameters FROM jobs WHERE collection_id = :c", c=collection.id)
    assert [job["parameters"] for job in asked_for] == [{"build": True}]
    # The workers of this deployment have no threshold: what is estimated there may begin.
    wait_for(lambda: runs.latest(collection.id).id != first.id, 120, "the build")  # type: ignore[union-attr]
    run = runs.latest(collection.id)
    assert run is not None and deployment.finish(run).state == "complete"


def test_thresholds_ask_by_the_settings() -> None:
    found = {"to_make": 10, "cost": 2.0, "documents_unread": 0}
    assert costs.asks_confirmation(found) is None
    with environment({"FILEINTEL_CONFIRM_ABOVE_COST": "1.5"}):
        assert "2.00" in str(costs.asks_confirmation(found))
