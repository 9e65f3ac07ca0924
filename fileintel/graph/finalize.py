"""finalize_graph: summaries, degrees and numbers put on entities and relationships."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fileintel.model import Entity, Relationship


def finalize_graph(
    entities: Sequence[Entity], relationships: Sequence[Relationship], summaries: Mapping[str, str]
) -> tuple[list[Entity], list[Relationship]]:
    """Give every entity and relationship its description (`summaries` by id) and degree.

    A degree counts an entity's undirected edges; a relationship's combined degree adds up its ends', as in
    GraphRAG's finalize_graph.
    """
    degrees: Counter[str] = Counter()
    for low, high in {tuple(sorted((r.source, r.target))) for r in relationships}:
        degrees[low] += 1
        degrees[high] += 1
    return (
        [replace(e, description=summaries.get(e.id, e.description), degree=degrees[e.title]) for e in entities],
        [
            replace(
                r,
                description=summaries.get(r.id, r.description),
                combined_degree=degrees[r.source] + degrees[r.target],
            )
            for r in relationships
        ],
    )
