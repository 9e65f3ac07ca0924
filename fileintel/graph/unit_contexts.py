"""The context of each community report of the fast method: the text units its relationships were found in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fileintel.graph.contexts import csv_rows
from fileintel.model import Community, Entity
from fileintel.protocols import Tokenizer

_FETCHED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class UnitReportContext:
    """What a community's report is written from: the prompt's text, its entities and the texts shown."""

    community: Community
    text: str
    entities: tuple[Entity, ...]
    unit_texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    text: str
    degree: int


def unit_report_contexts(
    communities: Sequence[Community],
    entities: Sequence[Entity],
    *,
    units: Callable[[Sequence[str]], Mapping[str, tuple[int, str]]],
    tokenizer: Tokenizer,
    max_tokens: int,
) -> Iterator[UnitReportContext]:
    """Yield every community's context: its text units in CSV, cut at the last that keeps it within `max_tokens`.

    As in GraphRAG's text_unit_context the units stand by the summed degrees of the community's entities in them, most
    first. `units` gives the numbers and texts of text units by id, and is asked for no more than a context needs.
    Numbers begin at 1: GraphRAG takes 0 for none, and leaves such a unit out. The first unit stays whatever its
    length, where GraphRAG would then show all of them.
    """
    by_id = {entity.id: entity for entity in entities}
    for community in communities:
        members = [by_id[entity] for entity in community.entity_ids]
        degrees: Counter[str] = Counter()
        for entity in members:
            for unit in entity.text_unit_ids:
                degrees[unit] += entity.degree
        ordered = sorted(community.text_unit_ids, key=lambda unit: -degrees[unit])
        rows = _rows(ordered, degrees, units, tokenizer, max_tokens)
        # The longest prefix that fits.
        fits, too_many = 1, len(rows) + 1
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if tokenizer.count(_table(rows[:middle])) <= max_tokens:
                fits = middle
            else:
                too_many = middle
        shown = rows[:fits]
        yield UnitReportContext(community, _table(shown), tuple(members), tuple(row.text for row in shown))


def _rows(
    ordered: Sequence[str],
    degrees: Mapping[str, int],
    units: Callable[[Sequence[str]], Mapping[str, tuple[int, str]]],
    tokenizer: Tokenizer,
    max_tokens: int,
) -> list[_Row]:
    """The rows of units in order, up to one that is surely beyond `max_tokens`."""
    rows: list[_Row] = []
    tokens = 0
    for start in range(0, len(ordered), _FETCHED_AT_ONCE):
        some = ordered[start : start + _FETCHED_AT_ONCE]
        found = units(some)
        for unit in some:
            # A document may be deleted while the run is under way.
            if unit in found:
                number, text = found[unit]
                rows.append(_Row(number, text, degrees[unit]))
                tokens += tokenizer.count(text)
        if tokens > 2 * max_tokens:
            break
    return rows


def _table(rows: Sequence[_Row]) -> str:
    header = ("id", "text", "entity_degree")
    return "-----SOURCES-----\n" + csv_rows(header, [(row.number, row.text, row.degree) for row in rows])
