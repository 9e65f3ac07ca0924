"""Both methods of building an index, and claims, from the command line to what questions see."""

from __future__ import annotations

import pytest
from deployment import V2, Api, Deployment, problem, wait_for
from llm_server import corpus

from fileintel.demo.case import DOCUMENTS
from fileintel.errors import ConflictError, InputError
from fileintel.graph import fast
from fileintel.model import Collection, IndexRun
from fileintel.store import covariates, documents, graph, noun_phrases, queries, retrieval, runs, sources, versions
from fileintel.tasks import bells, methods

FACT = "Greta Lind signed the harbour contract. Harbour Bank paid Greta Lind in May."


def build(deployment: Deployment, collection: Collection, **how: object) -> IndexRun:
    run = deployment.finish(bells.start_index(collection.id, how))
    assert run.state == "complete", (run.error, runs.failures(run.id))
    return run


def asked(deployment: Deployment) -> dict[str, int]:
    """How many chats of each kind were answered since the last reset."""
    kinds = deployment.llm.stats()["kinds"]
    return {kind: tally["count"] for kind, tally in kinds.items() if tally["count"] and kind != "embedding"}


def case(deployment: Deployment, name: str) -> Collection:
    texts = [
        (DOCUMENTS / f"{document}").read_text(encoding="utf-8")
        for document in ("council-minutes.md", "fire-service-log.txt", "letters-oakes-lindholm.txt")
    ]
    return deployment.collection(name, texts)


def test_the_fast_method_asks_for_reports_alone(deployment: Deployment) -> None:
    collection = case(deployment, "fast")
    deployment.llm.reset()
    run = build(deployment, collection, method="fast")
    assert (run.method, run.claims) == ("fast", False)
    counts = graph.counts(run.id)
    assert asked(deployment) == {"report": run.calls} and counts["claims"] == 0
    assert run.calls == counts["reports"] == counts["communities"] > 5
    entities = graph.entities_by_number(run.id)
    assert "MARGARET SLOANE" in {entity.title for entity in entities}
    assert all(e.type == "NOUN PHRASE" and not e.description and e.frequency > 1 for e in entities)
    held = list({unit for r in graph.relationships_by_number(run.id) for unit in r.text_unit_ids})
    assert 1 < len(retrieval.units(collection.id, held)) == len(held) <= sources.count_text_units(collection.id)
    assert sum(e.degree for e in entities) == 2 * counts["relationships"]
    assert {step.step for step in runs.progress(run.id)} >= {"extract_graph_nlp", "create_community_reports"}
    assert "extract_graph" not in {step.step for step in runs.progress(run.id)}
    assert [version.method for version in versions.list_for(collection.id)] == ["fast"]


def test_a_second_fast_build_reads_nothing_again_and_gives_the_same_graph(deployment: Deployment) -> None:
    collection = case(deployment, "fast-again")
    first = build(deployment, collection, method="fast")
    before = graph.entities_by_number(first.id), graph.relationships_by_number(first.id), graph.reports(first.id)
    units = list({unit for e in before[0] for unit in e.text_unit_ids})
    assert noun_phrases.recall(fast.analyzer(), units).keys() == set(units)
    second = build(deployment, collection)
    assert second.method == "fast" and second.calls == 0
    after = graph.entities_by_number(second.id), graph.relationships_by_number(second.id), graph.reports(second.id)
    assert after == before
    third = build(deployment, collection, method="standard")
    assert third.method == "standard" and asked(deployment)["extract"] > 0
    assert {e.type for e in graph.entities_by_number(third.id)} != {"NOUN PHRASE"}


def test_questions_are_answered_from_a_fast_graph(deployment: Deployment) -> None:
    collection = case(deployment, "fast-asked")
    build(deployment, collection, method="fast")
    for mode in ("local", "global"):
        _, query = deployment.ask(collection, "What did Margaret Sloane say at the meeting?", mode)
        assert query.answer is not None and query.answer.citations, (mode, query.error)


def test_text_without_phrases_in_common_is_refused_by_name(deployment: Deployment) -> None:
    collection = deployment.collection("fast-empty", ["A lonely harbour master waited.", "Nothing else happened."])
    run = deployment.finish(bells.start_index(collection.id, {"method": "fast"}))
    assert run.state == "failed"
    assert "standard" in runs.failures(run.id)[0]["error"]


def test_claims_come_from_every_text_unit_and_lead_back_to_it(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("claims", [FACT, *corpus(3, 5, padding=2).texts])
    plain = build(deployment, collection)
    assert plain.claims is False and asked(deployment).get("claims", 0) == 0
    deployment.llm.reset()
    started = api.cli("graphrag", "index", "claims", "--claims", "--wait", "--json")
    assert started.code == 0, started.err
    run = started.json["run"]
    assert (run["method"], run["claims"], run["state"]) == ("standard", True, "complete")
    # The graph was known already: claims alone are asked for, once for each text unit.
    assert asked(deployment).get("claims") == sources.count_text_units(collection.id)
    assert "extract" not in asked(deployment)
    assert started.json["graph"]["counts"]["claims"] == len(covariates.claims(run["id"], limit=1000)) > 10

    shown = api.cli("graphrag", "claims", "claims", "--search", "harbour bank", "--json")
    assert shown.code == 0, shown.err
    (located,) = shown.json
    claim = located["claim"]
    assert (claim["subject"], claim["object"], claim["status"]) == ("HARBOUR BANK", "GRETA LIND", "TRUE")
    assert (
        claim["source_text"] == "Harbour Bank paid Greta Lind in May." and located["document_name"] == "claims-000.txt"
    )
    (unit,) = retrieval.units(collection.id, [claim["text_unit_id"]])
    assert claim["source_text"] in unit.text
    table = api.cli("graphrag", "claims", "claims")
    assert table.code == 0 and "HARBOUR BANK" in table.out and "claims-000.txt" in table.out
    listed = api.cli("graphrag", "versions", "claims", "--json").json
    assert [(v["method"], v["claims"] > 0) for v in listed] == [("standard", True), ("standard", False)]
    assert "with claims" in api.cli("graphrag", "status", "claims").out

    client = api.client()
    where = f"{V2}/collections/claims/claims"
    first = client.get(where, params={"limit": 2}).json()
    rest = client.get(where, params={"limit": 1000, "offset": first["next_offset"]}).json()
    numbers = [item["claim"]["human_readable_id"] for item in first["items"] + rest["items"]]
    assert numbers == sorted(set(numbers)) and len(numbers) == started.json["graph"]["counts"]["claims"]

    # Held, a question (whose vector is known) keeps its prompts to be looked at.
    _, answered = deployment.ask(collection, "What did Harbour Bank do?", "local")
    assert answered.state == "complete"
    deployment.llm.configure(hold=True)
    query = queries.create(collection.id, "What did Harbour Bank do?", "local")
    bells.ring_query(query.id)
    wait_for(lambda: queries.plan(query.id) is not None, 120, "prompts")
    prompts = str(queries.plan(query.id))
    assert "-----Claims-----" in prompts and "It is said: Harbour Bank" in prompts
    deployment.llm.configure(hold=False)
    wait_for(lambda: queries.get(query.id).state == "complete", 120, "answer")

    # What a deleted document claimed goes with it, before any other build; what comes next keeps its number.
    documents.delete(unit.document_id)
    left = covariates.claims(run["id"], limit=1000)
    assert "HARBOUR BANK" not in {c.subject for c in left} and left
    again = build(deployment, collection)
    assert again.claims is True
    assert covariates.claims(again.id, limit=1000) == left


def test_a_build_of_another_kind_is_not_joined(deployment: Deployment, api: Api) -> None:
    collection = deployment.collection("kinds", corpus(3, 5, padding=4).texts)
    deployment.llm.configure(hold=True)
    run = bells.start_index(collection.id)
    assert bells.start_index(collection.id).id == run.id
    assert bells.start_index(collection.id, {"method": "standard", "claims": False}).id == run.id
    with pytest.raises(ConflictError):
        bells.start_index(collection.id, {"method": "fast"})
    where = f"{V2}/collections/kinds/index-runs"
    assert str(run.id) in problem(api.client().post(where, json={"claims": True}), 409, "conflict")
    assert api.cli("graphrag", "index", "kinds", "--method", "fast").code == 2
    deployment.llm.configure(hold=False)
    assert deployment.finish(run).state == "complete"


def test_the_extractive_model_refuses_claims_and_drops_those_of_earlier_runs(deployment: Deployment) -> None:
    collection = deployment.collection("refused", corpus(2, 5, padding=4).texts)
    with pytest.raises(InputError, match="FILEINTEL_CHAT_MODEL"):
        methods.choose(collection.id, "fileintel-extractive", None, True)
    build(deployment, collection, claims=True)
    assert methods.choose(collection.id, "scripted", None, None) == ("standard", True)
    assert methods.choose(collection.id, "fileintel-extractive", None, None) == ("standard", False)
