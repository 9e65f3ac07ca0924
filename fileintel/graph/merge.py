"""merge: all that text units say of an entity or a relationship becomes one, its descriptions still as said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fileintel.model import Entity, EntityMention, Relationship, RelationshipMention, content_hash, entity_id


def merge_entity(title: str, said: Iterable[tuple[str, EntityMention]], *, number: int, degree: int) -> Entity:
    """Merge (text unit id, mention) pairs of one title, given in the collection's own order.

    GraphRAG keeps only the first type's mentions of a title; here the mentions of all types count and the type said
    most often wins (the first among equals), so that no text unit is lost.
    """
    types: Counter[str] = Counter()
    descriptions: dict[str, None] = {}
    text_units: dict[str, None] = {}
    for unit, mention in said:
        types[mention.type] += 1
        descriptions[mention.description] = None
        text_units[unit] = None
    return Entity(
        id=entity_id(title),
        human_readable_id=number,
        title=title,
        type=types.most_common(1)[0][0],
        description=_only(descriptions),
        text_unit_ids=tuple(text_units),
        frequency=types.total(),
        degree=degree,
        descriptions=_said(descriptions),
    )


def relationship_id(source: str, target: str) -> str:
    """The id of the relationship between two titles, in this direction."""
    return content_hash("relationship", source, target)[:32]


def merge_relationship(
    source: str, target: str, said: Iterable[tuple[str, RelationshipMention]], *, number: int, combined_degree: int
) -> Relationship:
    """Merge (text unit id, mention) pairs of one (source, target), their weights added up as in GraphRAG."""
    descriptions: dict[str, None] = {}
    text_units: dict[str, None] = {}
    weight = 0.0
    for unit, mention in said:
        descriptions[mention.description] = None
        text_units[unit] = None
        weight += mention.weight
    return Relationship(
        id=relationship_id(source, target),
        human_readable_id=number,
        source=source,
        target=target,
        description=_only(descriptions),
        weight=weight,
        combined_degree=combined_degree,
        text_unit_ids=tuple(text_units),
        descriptions=_said(descriptions),
    )


def _said(descriptions: dict[str, None]) -> tuple[str, ...]:
    return tuple(sorted(description for description in descriptions if description))


def _only(descriptions: dict[str, None]) -> str:
    said = _said(descriptions)
    return said[0] if len(said) == 1 else ""
