"""create_community_reports, planned: each community's context as soon as all it is made of is described."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fileintel.graph.contexts import ReportContext, brought_relationships, report_context
from fileintel.model import Community
from fileintel.store import graph, graph_writing, index_steps, runs, work
from fileintel.tasks import models

STEP = "create_community_reports"
# Communities whose rows are held at once.
AT_ONCE = 250


class _Waiting:
    """Communities by what they still wait for: entities and relationships whose descriptions are being summarized."""

    def __init__(self, brought: list[tuple[Community, tuple[str, ...]]], unfinished: set[str]) -> None:
        self.ready: list[tuple[Community, tuple[str, ...]]] = []
        self._missing: dict[int, int] = {}
        self._for: dict[str, list[tuple[Community, tuple[str, ...]]]] = defaultdict(list)
        for community, relationships in brought:
            missing = unfinished.intersection((*community.entity_ids, *relationships))
            if not missing:
                self.ready.append((community, relationships))
                continue
            self._missing[community.number] = len(missing)
            for key in missing:
                self._for[key].append((community, relationships))

    def __bool__(self) -> bool:
        return bool(self._missing)

    def now(self, unfinished: set[str]) -> None:
        """Make ready what waits for nothing any more."""
        for key in self._for.keys() - unfinished:
            for community, relationships in self._for.pop(key):
                self._missing[community.number] -= 1
                if not self._missing[community.number]:
                    del self._missing[community.number]
                    self.ready.append((community, relationships))


def plan_reports(run_id: int) -> Iterator[int]:
    """Enter an item for each community, complete ones first; yield how many are new, 0 while all others wait."""
    entered = work.keys(run_id, STEP)
    communities = [c for c in graph.communities(run_id, limit=10_000_000)]
    brought = [
        found
        for found in brought_relationships(communities, graph.edges(run_id))
        if str(found[0].number) not in entered
    ]
    summarized = index_steps.states(run_id)["summarize_descriptions"] == "done"
    waiting = _Waiting(brought, set() if summarized else work.keys(run_id, "summarize_descriptions", unfinished=True))
    rank = len(entered)
    parameters = runs.parameters(run_id)
    while True:
        if waiting.ready:
            graph_writing.take_summaries(run_id)
        while waiting.ready:
            some, waiting.ready = waiting.ready[:AT_ONCE], waiting.ready[AT_ONCE:]
            yield work.enter(run_id, STEP, _items(run_id, some, parameters), first_rank=rank)
            rank += len(some)
        if not waiting:
            return
        yield 0
        waiting.now(work.keys(run_id, "summarize_descriptions", unfinished=True))


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
