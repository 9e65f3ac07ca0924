"""create_community_reports, planned: each community's context as soon as all it is made of is described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fileintel.graph.contexts import ReportContext, brought_relationships, report_context
from fileintel.model import Community, Entity, Relationship
from fileintel.store import graph, graph_writing, index_steps, runs, work
from fileintel.tasks import fast, models

STEP = "create_community_reports"
# Communities whose rows are held at once, and which are asked for while the next ones' contexts are written.
AT_ONCE = 50


def plan_reports(run_id: int) -> Iterator[int]:
    """Enter an item for each community that is described; yield how many are new, and 0 at the end if others wait."""
    entered = work.keys(run_id, STEP)
    parameters = runs.parameters(run_id)
    communities = graph.communities(run_id, limit=10_000_000)
    if fast.is_fast(parameters):
        # Text units wait for nothing.
        left = [community for community in communities if str(community.number) not in entered]
        for start in range(0, len(left), AT_ONCE):
            items = fast.report_items(run_id, left[start : start + AT_ONCE], parameters)
            yield work.enter(run_id, STEP, items, first_rank=len(entered) + start)
        return
    summarizing = index_steps.states(run_id)["summarize_descriptions"] != "done"
    unfinished = work.keys(run_id, "summarize_descriptions", unfinished=True) if summarizing else set()
    graph_writing.take_summaries(run_id)
    brought = [
        (community, relationships)
        for community, relationships in brought_relationships(communities, graph.edges(run_id))
        if str(community.number) not in entered
    ]
    ready = [found for found in brought if unfinished.isdisjoint((*found[0].entity_ids, *found[1]))]
    for start in range(0, len(ready), AT_ONCE):
        some = ready[start : start + AT_ONCE]
        yield work.enter(run_id, STEP, _items(run_id, some, parameters), first_rank=len(entered) + start)
    if len(ready) < len(brought):
        yield 0


def _items(
    run_id: int, some: list[tuple[Community, tuple[str, ...]]], parameters: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    entities = {e.id: e for e in graph.entities_with(run_id, list({id_ for c, _ in some for id_ in c.entity_ids}))}
    relationships = {r.id: r for r in graph.relationships_with(run_id, list({id_ for _, ids in some for id_ in ids}))}
    for community, ids in some:
        yield str(community.number), report_input(community, ids, entities, relationships, parameters)


def report_input(
    community: Community,
    brought: Sequence[str],
    entities: Mapping[str, Entity],
    relationships: Mapping[str, Relationship],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """What a community's report is written from, as its work item holds it: its entities and the relationships they
    brought (ids), both looked up by id."""
    context = report_context(
        community,
        [entities[id_] for id_ in community.entity_ids],
        [relationships[id_] for id_ in brought],
        tokenizer=models.tokenizer(),
        max_tokens=parameters["report_max_input_tokens"],
    )
    given: dict[str, Any] = {"level": community.level, "context": context.text}
    if models.staged(parameters["chat_model"]):
        given["rows"] = _rows(context)
    return given


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
