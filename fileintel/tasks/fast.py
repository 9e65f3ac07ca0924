"""What the fast method puts in place of the standard one's steps: noun phrases, their graph, reports on text units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fileintel.errors import ConflictError
from fileintel.graph import fast
from fileintel.graph.unit_contexts import UnitReportContext, unit_report_contexts
from fileintel.model import Community, Relationship, WorkItem
from fileintel.store import graph, graph_writing, noun_phrases, sources, work
from fileintel.tasks import models

PHRASES = "extract_graph_nlp"
# Text units whose noun phrases one item finds: about a second of CPU, so that processes share a step evenly.
PHRASE_BATCH = 16
# Rows that the extractive model is shown of a community: it chooses a handful of sentences.
MOST_ROWS = 200


def is_fast(parameters: Mapping[str, Any]) -> bool:
    """Whether a run with these parameters is one of the fast method."""
    return bool(parameters.get("method") == "fast")


def plan_phrases(run_id: int) -> Iterator[int]:
    """Enter batches of text units."""
    new = noun_phrases.plan(run_id, PHRASES, PHRASE_BATCH)
    if new:
        yield new


def find_phrases(item: WorkItem) -> dict[str, Any]:
    """Find the noun phrases of a batch's text units, those that were read before from memory."""
    units, analyzer = item.input["units"], fast.analyzer()
    found = noun_phrases.recall(analyzer, units)
    fresh = {
        unit: fast.noun_phrases(text)
        for unit, text in sources.texts([unit for unit in units if unit not in found]).items()
    }
    if fresh:
        noun_phrases.remember(analyzer, fresh)
        found |= fresh
    # A unit is missing when its document was deleted while the run was under way.
    return {"phrases": [[unit, found[unit]] for unit in units if unit in found]}


def make_noun_graph(run_id: int) -> dict[str, Any]:
    """Write the noun graph of all of the run's text units; raises ConflictError when nothing is left of it."""
    made = fast.noun_graph(
        (unit, phrases) for _, batch in work.outputs(run_id, PHRASES) for unit, phrases in batch["phrases"]
    )
    if not made.relationships:
        raise ConflictError(
            "the fast method found no two noun phrases that stand together in the text units: add documents, or build "
            "with the method standard"
        )
    graph_writing.save_graph(run_id, made.entities, made.relationships)
    return {"entities": len(made.entities), "relationships": len(made.relationships), "orphans": 0}


def report_items(
    run_id: int, communities: Sequence[Community], parameters: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield an item for each of the run's communities, with a context of its text units."""
    staged = models.staged(parameters["chat_model"])
    entities = graph.entities_with(run_id, list({entity for c in communities for entity in c.entity_ids}))
    for context in unit_report_contexts(
        communities,
        entities,
        units=lambda ids: sources.numbered_texts(run_id, ids),
        tokenizer=models.tokenizer(),
        max_tokens=parameters["report_max_input_tokens"],
    ):
        given: dict[str, Any] = {"level": context.community.level, "context": context.text}
        if staged:
            given["rows"] = _rows(context, graph.relationships_with(run_id, context.community.relationship_ids))
        yield str(context.community.number), given


def _rows(context: UnitReportContext, related: Sequence[Relationship]) -> dict[str, Any]:
    central = sorted(context.entities, key=lambda e: (-e.degree, e.human_readable_id))[:MOST_ROWS]
    strongest = sorted(related, key=lambda r: (-r.weight, r.human_readable_id))[:MOST_ROWS]
    return {
        "entities": [{"title": e.title, "type": e.type, "description": "", "degree": e.degree} for e in central],
        "relationships": [{"source": r.source, "target": r.target, "weight": r.weight} for r in strongest],
        "texts": list(context.unit_texts),
    }
