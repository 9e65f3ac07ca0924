"""create_community_reports, planned: each community's context as soon as all it is made of is described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fileintel.graph.contexts import ReportContext, brought_relationships, report_context
from fileintel.model import Community
from fileintel.store import graph, graph_writing, index_steps, runs, work
from fileintel.tasks import models

STEP = "create_community_reports"
# Communities whose rows are held at once.
AT_ONCE = 250


def plan_reports(run_id: int) -> Iterator[int]:
    """Enter an item for each community that is described; yield how many are new, and 0 at the end if others wait."""
    entered = work.keys(run_id, STEP)
    summarizing = index_steps.states(run_id)["summarize_descriptions"] != "done"
    unfinished = work.keys(run_id, "summarize_descriptions", unfinished=True) if summarizing else set()
    graph_writing.take_summaries(run_id)
    brought = [
        (community, relationships)
        for community, relationships in brought_relationships(
            graph.communities(run_id, limit=10_000_000), graph.edges(run_id)
        )
        if str(community.number) not in entered
    ]
    ready = [found for found in brought if unfinished.isdisjoint((*found[0].entity_ids, *found[1]))]
    parameters = runs.parameters(run_id)
    for start in range(0, len(ready), AT_ONCE):
        some = ready[start : start + AT_ONCE]
        yield work.enter(run_id, STEP, _items(run_id, some, parameters), first_rank=len(entered) + start)
    if len(ready) < len(brought):
        yield 0


def _items(
    run_id: int, some: list[tuple[Community, tuple[str, ...]]], parameters: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    staged = models.staged(parameters["chat_model"])
    entities = {e.id: e for e in graph.entities_with(run_id, list({id_ for c, _ in some for id_ in c.entity_ids}))}
    relationships = {r.id: r for r in graph.relationships_with(run_id, list({id_ for _, ids in some for id_ in ids}))}
    for community, ids in some:
        context = report_context(
            community,
            [entities[id_] for id_ in community.entity_ids],
            [relationships[id_] for id_ in ids],
            tokenizer=models.tokenizer(),
            max_tokens=parameters["report_max_input_tokens"],
        )
        given: dict[str, Any] = {"level": community.level, "context": context.text}
        if staged:
            given["rows"] = _rows(context)
        yield str(community.number), given


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
