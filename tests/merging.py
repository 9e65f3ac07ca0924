"""A collection's mentions merged in memory: what the store's gathering by Postgres must come to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fileintel.graph.merge import merge_entity, merge_relationship
from fileintel.model import Edge, Entity, Extraction, Relationship


@dataclass(frozen=True)
class Graph:
    """A merged graph; `orphans` counts the relationships left out because an end is no entity."""

    entities: tuple[Entity, ...]
    relationships: tuple[Relationship, ...]
    orphans: int

    @property
    def edges(self) -> list[Edge]:
        return [Edge(r.id, r.source, r.target, r.weight) for r in self.relationships]

    def summarized(self, summaries: Mapping[str, str]) -> Graph:
        """The same with these descriptions, by id."""
        return replace(
            self,
            entities=tuple(replace(e, description=summaries.get(e.id, e.description)) for e in self.entities),
            relationships=tuple(replace(r, description=summaries.get(r.id, r.description)) for r in self.relationships),
        )


def merge(extractions: Iterable[tuple[str, Extraction]]) -> Graph:
    """What the store does with the product's merging of one noun, done in memory."""
    entities, relationships = defaultdict(list), defaultdict(list)
    for unit, extraction in extractions:
        for mention in extraction.entities:
            entities[mention.title].append((unit, mention))
        for related in extraction.relationships:
            relationships[related.source, related.target].append((unit, related))
    kept = [ends for ends in relationships if ends[0] in entities and ends[1] in entities]
    degrees: Counter[str] = Counter(end for pair in {tuple(sorted(ends)) for ends in kept} for end in pair)
    return Graph(
        tuple(
            merge_entity(title, said, number=number, degree=degrees[title])
            for number, (title, said) in enumerate(entities.items())
        ),
        tuple(
            merge_relationship(
                *ends, relationships[ends], number=number, combined_degree=degrees[ends[0]] + degrees[ends[1]]
            )
            for number, ends in enumerate(kept)
        ),
        orphans=len(relationships) - len(kept),
    )
