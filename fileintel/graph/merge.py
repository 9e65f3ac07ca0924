"""merge: all text units' extractions become one graph, its descriptions still as they were said."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fileintel.model import Entity, Extraction, Relationship, content_hash


@dataclass(frozen=True, slots=True)
class MergedGraph:
    """Entities and relationships in order of first mention; `orphans` counts relationships left out because an
    end of theirs is no entity of any text unit (as GraphRAG leaves them out)."""

    entities: tuple[Entity, ...]
    relationships: tuple[Relationship, ...]
    orphans: int


@dataclass(slots=True)
class _Node:
    types: Counter[str] = field(default_factory=Counter)
    descriptions: dict[str, None] = field(default_factory=dict)
    text_units: dict[str, None] = field(default_factory=dict)
    frequency: int = 0


@dataclass(slots=True)
class _Edge:
    descriptions: dict[str, None] = field(default_factory=dict)
    text_units: dict[str, None] = field(default_factory=dict)
    weight: float = 0.0


def merge(extractions: Iterable[tuple[str, Extraction]]) -> MergedGraph:
    """Merge (text unit id, extraction) pairs, given in the collection's own order.

    Entities are one by title, relationships one by (source, target) with their weights added up, as in GraphRAG's
    extract_graph. GraphRAG keeps only the first type's mentions of a title; here the mentions of all types count
    and the type said most often wins, so that no text unit is lost.
    """
    nodes: dict[str, _Node] = {}
    edges: dict[tuple[str, str], _Edge] = {}
    for unit, extraction in extractions:
        for mention in extraction.entities:
            node = nodes.setdefault(mention.title, _Node())
            node.types[mention.type] += 1
            node.descriptions[mention.description] = None
            node.text_units[unit] = None
            node.frequency += 1
        for related in extraction.relationships:
            edge = edges.setdefault((related.source, related.target), _Edge())
            edge.descriptions[related.description] = None
            edge.text_units[unit] = None
            edge.weight += related.weight
    entities = tuple(
        Entity(
            id=content_hash("entity", title)[:32],
            human_readable_id=number,
            title=title,
            type=node.types.most_common(1)[0][0],
            description=_only(node.descriptions),
            text_unit_ids=tuple(node.text_units),
            frequency=node.frequency,
            descriptions=_said(node.descriptions),
        )
        for number, (title, node) in enumerate(nodes.items())
    )
    kept = [(ends, edge) for ends, edge in edges.items() if ends[0] in nodes and ends[1] in nodes]
    relationships = tuple(
        Relationship(
            id=content_hash("relationship", *ends)[:32],
            human_readable_id=number,
            source=ends[0],
            target=ends[1],
            description=_only(edge.descriptions),
            weight=edge.weight,
            combined_degree=0,
            text_unit_ids=tuple(edge.text_units),
            descriptions=_said(edge.descriptions),
        )
        for number, (ends, edge) in enumerate(kept)
    )
    return MergedGraph(entities, relationships, orphans=len(edges) - len(kept))


def _said(descriptions: dict[str, None]) -> tuple[str, ...]:
    return tuple(sorted(description for description in descriptions if description))


def _only(descriptions: dict[str, None]) -> str:
    said = _said(descriptions)
    return said[0] if len(said) == 1 else ""


def number_stably(merged: MergedGraph, known: Mapping[str, int]) -> MergedGraph:
    """Give entities and relationships the numbers they had in the collection's earlier graphs (`known`, by id).

    Numbers stand in the prompts of community reports: an entity that comes or goes must not change the prompts of
    communities it has nothing to do with. New ones get numbers never given before; both kinds are put in order.
    """
    return MergedGraph(_numbered(merged.entities, known), _numbered(merged.relationships, known), merged.orphans)


Numbered = TypeVar("Numbered", Entity, Relationship)


def _numbered(items: tuple[Numbered, ...], known: Mapping[str, int]) -> tuple[Numbered, ...]:
    # Beyond every number ever given, so that what was deleted and comes back meets nobody else under its own.
    fresh = itertools.count(1 + max(known.values(), default=-1))
    given = [replace(item, human_readable_id=known[item.id] if item.id in known else next(fresh)) for item in items]
    return tuple(sorted(given, key=lambda item: item.human_readable_id))
