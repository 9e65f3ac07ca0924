"""The context of each community report of the fast method: the text units its relationships were found in."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

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
    numbers: Mapping[str, int],
    texts: Callable[[Sequence[str]], Mapping[str, str]],
    tokenizer: Tokenizer,
    max_tokens: int,
) -> Iterator[UnitReportContext]:
    """Yield every community's context: its text units in CSV, cut at the last that keeps it within `max_tokens`.

    As in GraphRAG's text_unit_context the units stand by the summed degrees of the community's entities in them, most
    first. `numbers` are the text units' (by id), `texts` gives the texts of ids and is asked for no more than
    a context needs. The first unit stays whatever its length, where GraphRAG would then show all of them.
    """
    by_id = {entity.id: entity for entity in entities}
    for community in communities:
        members = [by_id[entity] for entity in community.entity_ids]
        degrees: Counter[str] = Counter()
        for entity in members:
            for unit in entity.text_unit_ids:
                degrees[unit] += entity.degree
        ordered = sorted(community.text_unit_ids, key=lambda unit: -degrees[unit])
        rows = _rows(ordered, numbers, degrees, texts, tokenizer, max_tokens)
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


def number_units(units: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """Number text units by id, from 1: those of the collection's earlier graphs (`known`) keep theirs.

    Numbers stand in the prompts of reports, so that a unit which comes or goes must not renumber the others; GraphRAG
    counts from 0, and then takes its first unit's number for none and leaves the unit out of every context.
    """
    fresh = count(1 + max(known.values(), default=0))
    return {unit: known[unit] if unit in known else next(fresh) for unit in units}


def _rows(
    units: Sequence[str],
    numbers: Mapping[str, int],
    degrees: Mapping[str, int],
    texts: Callable[[Sequence[str]], Mapping[str, str]],
    tokenizer: Tokenizer,
    max_tokens: int,
) -> list[_Row]:
    """The rows of units in order, up to one that is surely beyond `max_tokens`."""
    rows: list[_Row] = []
    tokens = 0
    for start in range(0, len(units), _FETCHED_AT_ONCE):
        some = units[start : start + _FETCHED_AT_ONCE]
        found = texts(some)
        for unit in some:
            # A document may be deleted while the run is under way.
            if unit in found:
                rows.append(_Row(numbers[unit], found[unit], degrees[unit]))
                tokens += tokenizer.count(found[unit])
        if tokens > 2 * max_tokens:
            break
    return rows


def _table(rows: Sequence[_Row]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(("id", "text", "entity_degree"))
    writer.writerows((row.number, row.text, row.degree) for row in rows)
    return "-----SOURCES-----\n" + written.getvalue()
