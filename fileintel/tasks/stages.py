"""What each step of an index run plans and does: the pure stages of `graph` between the store and the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fileintel.errors import ConflictError
from fileintel.graph.cluster import create_communities
from fileintel.graph.contexts import ReportContext, report_contexts
from fileintel.graph.extract import extract_graph, extraction_json, extraction_of
from fileintel.graph.finalize import finalize_graph
from fileintel.graph.merge import merge, number_stably
from fileintel.graph.report import community_report
from fileintel.graph.summarize import summarize_descriptions
from fileintel.model import CommunityReport, Finding, WorkItem
from fileintel.protocols import ChatModel
from fileintel.store import graph, runs, sources, versions, work
from fileintel.tasks import claims, fast, models

Items = Iterator[tuple[str, dict[str, Any]]]
ONE = "all"
EMBEDDING_BATCH = 32


class NotYet(Exception):
    """The item cannot be done before something else has settled; ask again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not before {seconds} s")
        self.seconds = seconds


def is_fast(parameters: Mapping[str, Any]) -> bool:
    """Whether a run with these parameters is one of the fast method."""
    return bool(parameters.get("method") == "fast")


# --- plans: a step's items (key, input) ------------------------------------------------------


def _one(_run_id: int) -> Items:
    yield ONE, {}


def _plan_extract(run_id: int) -> Items:
    for unit in sources.text_unit_ids(runs.get(run_id).collection_id):
        yield unit, {}


def _plan_summaries(run_id: int) -> Items:
    for entity in graph.entities_by_number(run_id):
        if len(entity.descriptions) > 1:
            yield entity.id, {"name": entity.title, "descriptions": list(entity.descriptions)}
    for relationship in graph.relationships_by_number(run_id):
        if len(relationship.descriptions) > 1:
            ends = [relationship.source, relationship.target]
            yield relationship.id, {"name": ends, "descriptions": list(relationship.descriptions)}


def _plan_reports(run_id: int) -> Items:
    parameters = runs.parameters(run_id)
    if is_fast(parameters):
        yield from fast.text_reports(run_id, parameters)
        return
    contexts = report_contexts(
        graph.communities(run_id, limit=10_000_000),
        graph.entities_by_number(run_id),
        graph.relationships_by_number(run_id),
        tokenizer=models.tokenizer(),
        max_tokens=parameters["report_max_input_tokens"],
    )
    staged = models.staged(parameters["chat_model"])
    for context in contexts:
        given: dict[str, Any] = {"level": context.community.level, "context": context.text}
        if staged:
            given["rows"] = _rows(context)
        yield str(context.community.number), given


def _rows(context: ReportContext) -> dict[str, Any]:
    return {
        "entities": [
            {"title": e.title, "type": e.type, "description": e.description, "degree": e.degree}
            for e in context.entities
        ],
        "relationships": [
            {"source": r.source, "target": r.target, "description": r.description, "weight": r.weight}
            for r in context.relationships
        ],
    }


def _save_reports(run_id: int) -> None:
    graph.save_reports(
        run_id,
        [
            CommunityReport(
                community=int(key),
                **{**output, "findings": tuple(Finding(*finding) for finding in output["findings"])},
            )
            for key, output in work.outputs(run_id, "create_community_reports")
        ],
    )


def _plan_embeddings(run_id: int) -> Items:
    _save_reports(run_id)
    for table, ids in (
        ("entities", [entity.id for entity in graph.entities_by_number(run_id)]),
        ("community_reports", [report.id for report in graph.reports(run_id, limit=10_000_000)]),
    ):
        for start in range(0, len(ids), EMBEDDING_BATCH):
            yield f"{table}:{start}", {"table": table, "ids": ids[start : start + EMBEDDING_BATCH]}


PLANS: Mapping[str, Callable[[int], Items]] = {
    "create_base_text_units": _one,
    "extract_graph": _plan_extract,
    "extract_graph_nlp": fast.plan_phrases,
    "extract_covariates": claims.plan_claims,
    "merge": _one,
    "summarize_descriptions": _plan_summaries,
    "finalize_graph": _one,
    "create_communities": _one,
    "create_community_reports": _plan_reports,
    "generate_text_embeddings": _plan_embeddings,
    "publish": _one,
}


# --- asking the LLM, on the gevent worker ----------------------------------------------------


def _extract(item: WorkItem, chat: ChatModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
    if item.input["text"] is None:
        # Its document was deleted while the run was under way.
        return {"entities": [], "relationships": []}
    found = extract_graph(
        item.input["text"],
        chat=chat,
        model=parameters["chat_model"],
        entity_types=parameters["entity_types"],
        max_gleanings=parameters["max_gleanings"],
        staged=models.staged(parameters["chat_model"]),
    )
    return extraction_json(found)


def _summarize(item: WorkItem, chat: ChatModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
    name = item.input["name"]
    return {
        "description": summarize_descriptions(
            name if isinstance(name, str) else (name[0], name[1]),
            item.input["descriptions"],
            chat=chat,
            model=parameters["chat_model"],
            tokenizer=models.tokenizer(),
            max_length=parameters["summary_max_length"],
            max_input_tokens=parameters["summary_max_input_tokens"],
            staged=models.staged(parameters["chat_model"]),
        )
    }


def _report(item: WorkItem, chat: ChatModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
    report = community_report(
        int(item.key),
        item.input["level"],
        item.input["context"],
        chat=chat,
        model=parameters["chat_model"],
        max_length=parameters["report_max_length"],
        stage_inputs=item.input.get("rows"),
        from_text_units=is_fast(parameters),
    )
    return {
        "id": report.id,
        "level": report.level,
        "title": report.title,
        "summary": report.summary,
        "full_content": report.full_content,
        "rank": report.rank,
        "rank_explanation": report.rank_explanation,
        "findings": [[finding.summary, finding.explanation] for finding in report.findings],
    }


ASK: Mapping[str, Callable[[WorkItem, ChatModel, Mapping[str, Any]], dict[str, Any]]] = {
    "extract_graph": _extract,
    "extract_covariates": claims.ask_claims,
    "summarize_descriptions": _summarize,
    "create_community_reports": _report,
}


# --- computing, on the main worker -----------------------------------------------------------


def _base_text_units(item: WorkItem) -> dict[str, Any]:
    collection = runs.get(item.run_id).collection_id
    if sources.unsettled(collection):
        raise NotYet(seconds=1.0)
    units = len(sources.text_unit_ids(collection))
    if not units:
        raise ConflictError("no document of the collection could be read: see their errors, then index again")
    return {"text_units": units}


def _merge(item: WorkItem) -> dict[str, Any]:
    if is_fast(runs.parameters(item.run_id)):
        merged = fast.make_noun_graph(item.run_id)
    else:
        extracted = work.outputs(item.run_id, "extract_graph")
        merged = number_stably(
            merge((unit, extraction_of(stored)) for unit, stored in extracted), graph.numbers(item.run_id)
        )
    given = {entity.id: entity.human_readable_id for entity in merged.entities}
    given |= {relationship.id: relationship.human_readable_id for relationship in merged.relationships}
    graph.save_numbers(item.run_id, given)
    graph.save_entities_and_relationships(item.run_id, merged.entities, merged.relationships)
    return {"entities": len(merged.entities), "relationships": len(merged.relationships), "orphans": merged.orphans}


def _finalize(item: WorkItem) -> dict[str, Any]:
    summaries = {key: output["description"] for key, output in work.outputs(item.run_id, "summarize_descriptions")}
    entities, relationships = finalize_graph(
        graph.entities_by_number(item.run_id), graph.relationships_by_number(item.run_id), summaries
    )
    graph.save_entities_and_relationships(item.run_id, entities, relationships)
    return {}


def _cluster(item: WorkItem) -> dict[str, Any]:
    communities = create_communities(
        graph.entities_by_number(item.run_id),
        graph.relationships_by_number(item.run_id),
        max_cluster_size=runs.parameters(item.run_id)["max_cluster_size"],
    )
    graph.save_communities(item.run_id, communities)
    return {"communities": len(communities)}


def _embed(item: WorkItem) -> dict[str, Any]:
    table, ids = item.input["table"], item.input["ids"]
    if not ids:
        return {}
    texts = graph.texts_to_embed(item.run_id, table, ids)
    vectors = models.embed(list(texts.values()))
    graph.save_embeddings(item.run_id, table, {key: vectors[text] for key, text in texts.items()})
    return {}


def _publish(item: WorkItem) -> dict[str, Any]:
    if runs.get(item.run_id).claims:
        claims.save_claims(item.run_id)
    versions.publish(item.run_id)
    return {}


COMPUTE: Mapping[str, Callable[[WorkItem], dict[str, Any]]] = {
    "create_base_text_units": _base_text_units,
    "extract_graph_nlp": fast.find_phrases,
    "merge": _merge,
    "finalize_graph": _finalize,
    "create_communities": _cluster,
    "generate_text_embeddings": _embed,
    "publish": _publish,
}
