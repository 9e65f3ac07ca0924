"""A graph merged in memory out of extractions, as the store's gathering merges a build's: for estimates."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fileintel.graph.merge import merge_entity, merge_relationship, relationship_id
from fileintel.model import (
    Edge,
    Entity,
    EntityMention,
    Extraction,
    Relationship,
    RelationshipMention,
    entity_id,
)


@dataclass(frozen=True, slots=True)
class Preview:
    """Entities and relationships by their numbers."""

    entities: tuple[Entity, ...]
    relationships: tuple[Relationship, ...]

    @property
    def edges(self) -> list[Edge]:
        """What is clustered."""
        return [Edge(r.id, r.source, r.target, r.weight) for r in self.relationships]


def preview(extractions: Iterable[tuple[str, Extraction]], known: Mapping[str, int]) -> Preview:
    """Merge (text unit id, extraction) pairs, given in the collection's own order.

    `known` are the numbers the collection's graphs have given so far, by id; new things are numbered beyond them.
    """
    entities: dict[str, list[tuple[str, EntityMention]]] = defaultdict(list)
    relationships: dict[tuple[str, str], list[tuple[str, RelationshipMention]]] = defaultdict(list)
    for unit, extraction in extractions:
        for mention in extraction.entities:
            entities[mention.title].append((unit, mention))
        for related in extraction.relationships:
            relationships[related.source, related.target].append((unit, related))
    ends = [pair for pair in relationships if pair[0] in entities and pair[1] in entities]
    degrees = Counter(end for pair in {(min(pair), max(pair)) for pair in ends} for end in pair)
    fresh = itertools.count(1 + max(known.values(), default=-1))
    numbers = {id_: known[id_] if id_ in known else next(fresh) for id_ in map(entity_id, entities)}
    numbers |= {id_: known[id_] if id_ in known else next(fresh) for id_ in (relationship_id(*pair) for pair in ends)}
    return Preview(
        tuple(
            sorted(
                (
                    merge_entity(title, said, number=numbers[entity_id(title)], degree=degrees[title])
                    for title, said in entities.items()
                ),
                key=lambda entity: entity.human_readable_id,
            )
        ),
        tuple(
            sorted(
                (
                    merge_relationship(
                        *pair,
                        relationships[pair],
                        number=numbers[relationship_id(*pair)],
                        combined_degree=degrees[pair[0]] + degrees[pair[1]],
                    )
                    for pair in ends
                ),
                key=lambda relationship: relationship.human_readable_id,
            )
        ),
    )
