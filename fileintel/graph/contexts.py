"""The context of each community report: its entities and relationships as GraphRAG's tables of text.

GraphRAG's `build_local_context` (graphrag 3.3) rebuilds frames, CSV and token counts for every edge it adds; this
module gives the same strings in one pass over the graph and one token count per community that fits.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fileintel.model import Community, Edge, Entity, Relationship, entity_id
from fileintel.protocols import Tokenizer


@dataclass(frozen=True, slots=True)
class ReportContext:
    """What a community's report is written from: the prompt's text, and the rows in it."""

    community: Community
    text: str
    entities: tuple[Entity, ...]
    relationships: tuple[Relationship, ...]


def brought_relationships(
    communities: Sequence[Community], edges: Sequence[Edge]
) -> Iterator[tuple[Community, tuple[str, ...]]]:
    """Yield each community with the ids of the relationships that its entities bring into its context.

    As in GraphRAG each entity brings at most one: the first (in the order of `edges`) among those at the community's
    level that starts from it, else the first that ends in it.
    """
    levels: dict[int, list[Community]] = defaultdict(list)
    for community in communities:
        levels[community.level].append(community)
    ids = {title: entity_id(title) for title in {end for edge in edges for end in (edge.source, edge.target)}}
    ends = [(ids[edge.source], ids[edge.target], edge.id) for edge in edges]
    for level in sorted(levels):
        at_level = {entity for community in levels[level] for entity in community.entity_ids}
        starting: dict[str, str] = {}
        ending: dict[str, str] = {}
        for source, target, edge in ends:
            if source in at_level and target in at_level:
                starting.setdefault(source, edge)
                ending.setdefault(target, edge)
        for community in levels[level]:
            brought = (starting.get(entity) or ending.get(entity) for entity in community.entity_ids)
            yield community, tuple(dict.fromkeys(edge for edge in brought if edge is not None))


def report_context(
    community: Community,
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    *,
    tokenizer: Tokenizer,
    max_tokens: int,
) -> ReportContext:
    """The context of one community from its entities and the relationships these bring.

    Relationships stand by combined degree, each preceded by its entities; the context is cut at the last
    relationship that keeps it within `max_tokens`.
    """
    members = {entity.title: entity for entity in entities}
    edges = sorted(relationships, key=lambda edge: (-edge.combined_degree, edge.human_readable_id))
    context = _context(community, members, edges)
    # A token is a byte at least, so that a short text fits uncounted.
    if len(context.text.encode()) <= max_tokens or tokenizer.count(context.text) <= max_tokens:
        return context
    # The longest prefix that fits; the first relationship stays whatever its length, as in GraphRAG.
    fits, too_many = 1, len(edges)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if tokenizer.count(_context(community, members, edges[:middle]).text) <= max_tokens:
            fits = middle
        else:
            too_many = middle
    return _context(community, members, edges[:fits])


def _context(community: Community, members: Mapping[str, Entity], edges: Sequence[Relationship]) -> ReportContext:
    shown: dict[str, Entity] = {}
    rows: dict[str, Relationship] = {}
    for edge in edges:
        for end in (edge.source, edge.target):
            if end in members:
                shown.setdefault(end, members[end])
        rows.setdefault(edge.id, edge)
    tables = []
    if shown:
        header = ("human_readable_id", "title", "description", "degree")
        tables.append(
            "-----Entities-----\n"
            + csv_rows(
                header,
                [(e.human_readable_id, e.title, e.description, e.degree) for e in shown.values()],
            )
        )
    if rows:
        header5 = ("human_readable_id", "source", "target", "description", "combined_degree")
        tables.append(
            "-----Relationships-----\n"
            + csv_rows(
                header5,
                [(r.human_readable_id, r.source, r.target, r.description, r.combined_degree) for r in rows.values()],
            )
        )
    return ReportContext(community, "\n\n".join(tables), tuple(shown.values()), tuple(rows.values()))


def csv_rows(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their header in CSV as pandas writes it, to the byte."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return written.getvalue()
