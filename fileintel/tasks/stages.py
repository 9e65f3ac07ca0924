"""What each step of an index run plans and does: the pure stages of `graph` between the store and the models."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from fileintel.errors import ConflictError
from fileintel.graph.cluster import create_communities
from fileintel.graph.extract import extract_graph, extraction_json
from fileintel.graph.merge import merge_entity, merge_relationship, relationship_id
from fileintel.graph.report import community_report
from fileintel.graph.summarize import summarize_descriptions
from fileintel.model import WorkItem, entity_id
from fileintel.protocols import ChatModel
from fileintel.store import graph, graph_writing, index_steps, mentions, runs, sources, versions, work
from fileintel.tasks import claims, fast, models
from fileintel.tasks.report_planning import plan_reports

T = TypeVar("T")
ONE = "all"
EMBEDDING_BATCH = 32
# Rows of the graph written in one statement.
ROWS_AT_ONCE = 1000


class NotYet(Exception):
    """The item cannot be done before something else has settled; ask again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not before {seconds} s")
        self.seconds = seconds


# --- plans: each enters a step's items and yields how many are new, 0 when the others can't be known yet ------


def _one(step: str) -> Callable[[int], Iterator[int]]:
    def plan(run_id: int) -> Iterator[int]:
        yield from _new(work.enter(run_id, step, [(ONE, {})]))

    return plan


def _plan_extract(run_id: int) -> Iterator[int]:
    yield from _new(graph_writing.plan_extraction(run_id, "extract_graph"))


def _plan_summaries(run_id: int) -> Iterator[int]:
    yield from _new(graph_writing.plan_summaries(run_id))


def _new(items: int) -> Iterator[int]:
    if items:
        yield items


def _plan_embeddings(run_id: int) -> Iterator[int]:
    """Batches of entities and reports, as they become complete."""
    # Looked at first: what ends meanwhile is there the next time.
    states = index_steps.states(run_id)
    if states.get("summarize_descriptions") == "done" and states["create_community_reports"] == "open":
        # The LLM waits for the contexts that are being written now; vectors can be made while it answers.
        yield 0
        return
    graph_writing.take_summaries(run_id)
    graph_writing.take_reports(run_id)
    yield from _new(graph_writing.plan_embeddings(run_id, EMBEDDING_BATCH))
    if not states["finalize_graph"] == states["create_community_reports"] == "done":
        yield 0


PLANS: Mapping[str, Callable[[int], Iterator[int]]] = {
    **{
        step: _one(step)
        for step in ("create_base_text_units", "merge", "finalize_graph", "create_communities", "publish")
    },
    "extract_graph": _plan_extract,
    fast.PHRASES: fast.plan_phrases,
    claims.STEP: claims.plan_claims,
    "summarize_descriptions": _plan_summaries,
    "create_community_reports": plan_reports,
    "generate_text_embeddings": _plan_embeddings,
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
        # Runs that an earlier release began do not say.
        form=parameters.get("extraction_format", "tuples"),
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
        from_text_units=fast.is_fast(parameters),
    )
    return {
        "id": report.id,
        "level": report.level,
        "title": report.title,
        "summary": report.summary,
        "full_content": report.full_content,
        "rank": report.rank,
        "rank_explanation": report.rank_explanation,
        "findings": [{"summary": f.summary, "explanation": f.explanation} for f in report.findings],
        **({"unreadable": report.unreadable} if report.unreadable else {}),
    }


ASK: Mapping[str, Callable[[WorkItem, ChatModel, Mapping[str, Any]], dict[str, Any]]] = {
    "extract_graph": _extract,
    claims.STEP: claims.ask_claims,
    "summarize_descriptions": _summarize,
    "create_community_reports": _report,
}


# --- computing, on the main worker -----------------------------------------------------------


def _base_text_units(item: WorkItem) -> dict[str, Any]:
    collection = runs.get(item.run_id).collection_id
    if sources.unsettled(collection):
        raise NotYet(seconds=0.25)
    units = sources.count_text_units(collection)
    if not units:
        raise ConflictError("no document of the collection could be read: see their errors, then index again")
    return {"text_units": units}


def _merge(item: WorkItem) -> dict[str, Any]:
    version = item.run_id
    if fast.is_fast(runs.parameters(version)):
        return fast.make_noun_graph(version)
    entities = relationships = 0
    with mentions.gathered(version) as gathered:
        connection = gathered.connection
        graph_writing.clear(connection, version)
        numbering = graph_writing.Numbering(connection, version)
        for nouns in _batches(gathered.entities()):
            numbers = numbering.of([entity_id(noun.title) for noun in nouns])
            graph_writing.add_entities(
                connection,
                version,
                (
                    merge_entity(noun.title, noun.said, number=number, degree=noun.degree)
                    for noun, number in zip(nouns, numbers, strict=True)
                ),
            )
            entities += len(nouns)
        for pairs in _batches(gathered.relationships()):
            numbers = numbering.of([relationship_id(pair.source, pair.target) for pair in pairs])
            graph_writing.add_relationships(
                connection,
                version,
                (
                    merge_relationship(
                        pair.source, pair.target, pair.said, number=number, combined_degree=pair.combined_degree
                    )
                    for pair, number in zip(pairs, numbers, strict=True)
                ),
            )
            relationships += len(pairs)
        orphans = gathered.orphans
    return {"entities": entities, "relationships": relationships, "orphans": orphans}


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, ROWS_AT_ONCE)):
        yield batch


def _finalize(item: WorkItem) -> dict[str, Any]:
    graph_writing.take_summaries(item.run_id)
    return {}


def _cluster(item: WorkItem) -> dict[str, Any]:
    parameters = runs.parameters(item.run_id)
    base = parameters.get("base_version")
    before = None
    if base is not None and not parameters.get("recluster"):
        earlier = runs.parameters(base)
        if all(parameters.get(name) == earlier.get(name) for name in ("max_cluster_size", "method")):
            before = graph.edges(base), graph.communities(base, limit=10_000_000)
    communities = create_communities(
        graph.edges(item.run_id), max_cluster_size=parameters["max_cluster_size"], before=before
    )
    graph_writing.save_communities(item.run_id, communities)
    return {"communities": len(communities)}


def _embed(item: WorkItem) -> dict[str, Any]:
    table, ids = item.input["table"], item.input["ids"]
    if not ids:
        return {}
    texts = graph.texts_to_embed(item.run_id, table, ids)
    remembered = models.remember_vectors(list(texts.values()))
    graph_writing.save_embeddings(item.run_id, table, {key: remembered[text] for key, text in texts.items()})
    return {}


def _publish(item: WorkItem) -> dict[str, Any]:
    if runs.get(item.run_id).claims:
        claims.save_claims(item.run_id)
    versions.index_vectors(item.run_id)
    versions.publish(item.run_id)
    return {}


COMPUTE: Mapping[str, Callable[[WorkItem], dict[str, Any]]] = {
    "create_base_text_units": _base_text_units,
    fast.PHRASES: fast.find_phrases,
    "merge": _merge,
    "finalize_graph": _finalize,
    "create_communities": _cluster,
    "generate_text_embeddings": _embed,
    "publish": _publish,
}
