"""What the fast method puts in place of the standard one's steps: noun phrases, their graph, reports on text units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fileintel.errors import ConflictError
from fileintel.graph import fast
from fileintel.graph.merge import MergedGraph, number_stably
from fileintel.graph.unit_contexts import UnitReportContext, number_units, unit_report_contexts
from fileintel.model import Relationship, WorkItem
from fileintel.store import graph, noun_phrases, runs, sources, work
from fileintel.tasks import models

# Text units whose noun phrases one item finds: about a second of CPU, so that processes share a step evenly.
PHRASE_BATCH = 16
# Rows that the extractive model is shown of a community: it chooses a handful of sentences.
MOST_ROWS = 200
# Beside entities and relationships, which are numbered under their ids.
_UNIT = "text_unit:"


def plan_phrases(run_id: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Batches of text units."""
    units = sources.text_unit_ids(runs.get(run_id).collection_id)
    for start in range(0, len(units), PHRASE_BATCH):
        yield f"units:{start}", {"units": units[start : start + PHRASE_BATCH]}


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


def make_noun_graph(run_id: int) -> MergedGraph:
    """Make the run's noun graph of all its text units' phrases, and number text units for the reports' contexts.

    Raises ConflictError when nothing is left of it.
    """
    batches = work.outputs(run_id, "extract_graph_nlp")
    found = [(unit, phrases) for _, batch in batches for unit, phrases in batch["phrases"]]
    known = graph.numbers(run_id)
    merged = number_stably(fast.noun_graph(found), known)
    if not merged.relationships:
        raise ConflictError(
            "the fast method found no two noun phrases that stand together in the text units: add documents, or build "
            "with the method standard"
        )
    numbers = number_units([unit for unit, _ in found], _unit_numbers(known))
    graph.save_numbers(run_id, {_UNIT + unit: number for unit, number in numbers.items()})
    return merged


def text_reports(run_id: int, parameters: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The run's communities, each with a context of its text units."""
    entities = graph.entities_by_number(run_id)
    staged = models.staged(parameters["chat_model"])
    related = {r.id: r for r in graph.relationships_by_number(run_id)} if staged else {}
    for context in unit_report_contexts(
        graph.communities(run_id, limit=10_000_000),
        entities,
        numbers=_unit_numbers(graph.numbers(run_id)),
        texts=sources.texts,
        tokenizer=models.tokenizer(),
        max_tokens=parameters["report_max_input_tokens"],
    ):
        given: dict[str, Any] = {"level": context.community.level, "context": context.text}
        if staged:
            given["rows"] = _rows(context, [related[edge] for edge in context.community.relationship_ids])
        yield str(context.community.number), given


def _rows(context: UnitReportContext, related: Sequence[Relationship]) -> dict[str, Any]:
    central = sorted(context.entities, key=lambda e: (-e.degree, e.human_readable_id))[:MOST_ROWS]
    strongest = sorted(related, key=lambda r: (-r.weight, r.human_readable_id))[:MOST_ROWS]
    return {
        "entities": [{"title": e.title, "type": e.type, "description": "", "degree": e.degree} for e in central],
        "relationships": [{"source": r.source, "target": r.target, "weight": r.weight} for r in strongest],
        "texts": list(context.unit_texts),
    }


def _unit_numbers(numbers: Mapping[str, int]) -> dict[str, int]:
    return {key.removeprefix(_UNIT): number for key, number in numbers.items() if key.startswith(_UNIT)}
