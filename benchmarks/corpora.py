"""Corpora whose graph is known: documents of so many text units, entities in communities of several levels.

The graph: groups of four or five *neighbourhoods*, each one or two *circles* of six people who (nearly) all know each
other. Hierarchical Leiden finds the groups on its first level, the neighbourhoods on the second and, where a
neighbourhood has more than ten members, its two circles on the third: `hierarchy()` gives 17 + 71 + 80 = 168
communities. A text unit tells of seven or so acquaintances. Since a circle is told in three text units, nearly
everybody has several descriptions, which have to be summarised: per text unit there are two extractions (the second
is the gleaning that all of GraphRAG, LightRAG and FileIntel do by default), two summaries and half a report.

Every text unit is a paragraph of exactly `UNIT_TOKENS` tokens, its blank line included. So our splitter (at most 300
tokens), GraphRAG's (chunks of `UNIT_TOKENS`) and LightRAG's (split at blank lines), all without overlap, cut the same
documents into the same text units.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_script import graph_of, made_up_name

from fileintel.protocols import Tokenizer

UNIT_TOKENS = 280
CIRCLE = 6
# Acquaintances across the two circles of a neighbourhood, between neighbourhoods of a group, and between groups.
ACROSS, BETWEEN, ONWARD = 11, 2, 1
UNITS_PER_CIRCLE = 3

_VERBS = ("knows", "advises", "pays", "trains", "visits", "insures", "follows", "employs", "trusts", "supplies")
_HOW = (
    "since the year in which both kept the accounts of the same house",
    "through a letter that was never answered and never forgotten",
    "because of a debt that the two of them have shared for years",
    "as the minutes of the spring meeting say on their second page",
    "in a matter of timber and rope that was settled out of court",
    "after the long winter in which no ship could leave the bay",
    "although neither of them would say so in front of witnesses",
)
_FILLER = "The matter was written down in the usual way and put aside for later."


@dataclass(frozen=True)
class Corpus:
    """Documents of text units, and the graph that the scripted extraction finds in them (titles in capitals)."""

    documents: tuple[tuple[str, ...], ...]
    entities: frozenset[str]
    relationships: frozenset[tuple[str, str]]

    @property
    def units(self) -> tuple[str, ...]:
        """All text units in order."""
        return tuple(itertools.chain.from_iterable(self.documents))

    @property
    def texts(self) -> tuple[str, ...]:
        """The documents' whole texts."""
        return tuple("".join(f"{unit}\n\n" for unit in units) for units in self.documents)

    def write(self, folder: Path) -> None:
        """Write the documents into the folder `input` of a folder, and what is known of them beside it."""
        (folder / "input").mkdir(parents=True)
        for number, text in enumerate(self.texts):
            (folder / "input" / f"document-{number:05}.txt").write_text(text, encoding="utf-8")
        known = {
            "units": len(self.units),
            "unit_tokens": UNIT_TOKENS,
            "entities": len(self.entities),
            "relationships": sorted(self.relationships),
        }
        (folder / "known.json").write_text(json.dumps(known), encoding="utf-8")


@dataclass(frozen=True)
class Shape:
    """A graph before it is told: for each group the number of circles (1 or 2) of each of its neighbourhoods."""

    groups: tuple[tuple[int, ...], ...]

    @property
    def circles(self) -> int:
        """How many circles there are."""
        return sum(map(sum, self.groups))


def hierarchy() -> Shape:
    """The shape that clusters into 17, 71 and 80 communities on three levels, 168 in all."""
    return _shape(neighbourhoods=71, doubles=40, groups=17)


def shape_for(units: int) -> Shape:
    """The shape whose circles fill so many text units, in the proportions of `hierarchy()`."""
    circles = max(1, units // UNITS_PER_CIRCLE)
    doubles = round(circles * 40 / 111)
    neighbourhoods = circles - doubles
    return _shape(neighbourhoods, doubles, max(1, round(neighbourhoods * 17 / 71)))


def _shape(neighbourhoods: int, doubles: int, groups: int) -> Shape:
    # Doubles are spread evenly, so every group is about as large as the next.
    sizes = [1 + ((i + 1) * doubles // neighbourhoods - i * doubles // neighbourhoods) for i in range(neighbourhoods)]
    borders = [i * neighbourhoods // groups for i in range(groups + 1)]
    return Shape(tuple(tuple(sizes[a:b]) for a, b in itertools.pairwise(borders)))


def acquaintances(shape: Shape) -> Iterator[tuple[int, int]]:
    """Yield the pairs of people who know each other, those of one circle together."""
    people = itertools.count()
    last_group: list[int] = []
    for group in shape.groups:
        neighbourhoods: list[list[int]] = []
        for circles in group:
            members = [[next(people) for _ in range(CIRCLE)] for _ in range(circles)]
            for circle in members:
                yield from (pair for pair in itertools.combinations(circle, 2) if pair != (circle[0], circle[-1]))
            if circles == 2:
                one, other = members
                yield from ((one[i % CIRCLE], other[(i + i // CIRCLE) % CIRCLE]) for i in range(ACROSS))
            neighbourhoods.append(list(itertools.chain.from_iterable(members)))
        for i, j in itertools.combinations(range(len(neighbourhoods)), 2):
            one, other = neighbourhoods[i], neighbourhoods[j]
            yield from ((one[(b + j) % len(one)], other[(b + 3 + i) % len(other)]) for b in range(BETWEEN))
        everyone = list(itertools.chain.from_iterable(neighbourhoods))
        if last_group:
            yield from ((last_group[5], everyone[2]) for _ in range(ONWARD))
        last_group = everyone


def corpus(
    units: int, tokenizer: Tokenizer, *, shape: Shape | None = None, units_per_document: int = 10, first_person: int = 0
) -> Corpus:
    """Write exactly so many text units about the shape's people, the same each time it is called.

    `first_person` numbers the people, so that two corpora share none. Raises ValueError if the shape's acquaintances
    do not fit into so many units.
    """
    shape = shape or shape_for(units)
    pairs = list(dict.fromkeys(acquaintances(shape)))
    told = _units([(a + first_person, b + first_person) for a, b in pairs], units, tokenizer)
    per = units_per_document
    names = {(made_up_name(a + first_person).upper(), made_up_name(b + first_person).upper()) for a, b in pairs}
    return Corpus(
        documents=tuple(tuple(told[start : start + per]) for start in range(0, len(told), per)),
        entities=frozenset(itertools.chain.from_iterable(names)),
        relationships=frozenset(names),
    )


def _units(pairs: Sequence[tuple[int, int]], units: int, tokenizer: Tokenizer) -> list[str]:
    if units > len(pairs):
        raise ValueError(f"{len(pairs)} acquaintances cannot fill {units} text units")
    borders = [i * len(pairs) // units for i in range(units + 1)]
    return [_padded(_tell(pairs[a:b], a), tokenizer) for a, b in itertools.pairwise(borders)]


def _tell(pairs: Sequence[tuple[int, int]], first: int) -> str:
    sentences = []
    for number, (a, b) in enumerate(pairs, first):
        verb, how = _VERBS[number % len(_VERBS)], _HOW[number % len(_HOW)]
        sentences.append(f"{made_up_name(a)} {verb} {made_up_name(b)} {how}.")
    return " ".join(sentences)


def _padded(text: str, tokenizer: Tokenizer) -> str:
    """The text with sentences that name nobody, so that with a blank line it has UNIT_TOKENS tokens."""

    def missing() -> int:
        return UNIT_TOKENS - tokenizer.count(text + "\n\n")

    filler = tokenizer.count(" " + _FILLER)
    if missing() < 2:
        raise ValueError(f"{text[:60]}… and what follows is longer than {UNIT_TOKENS} tokens")
    text += f" {_FILLER}" * max(0, missing() // filler - 1)
    # " again" is one token: a last sentence of them makes the number exact.
    text += " So it goes."
    text = text[:-1] + " again" * max(0, missing()) + "."
    if missing():
        raise ValueError(f"a text unit came out {-missing()} tokens too long: {text[:60]}…")
    return text


def graph_tables(corpus: Corpus) -> dict[str, list[dict[str, Any]]]:
    """Return the corpus's entities and relationships as GraphRAG has them before finalize_graph.

    They are described as the scripted server summarises them, so reports are written from the same words as after an
    extraction.
    """
    told: dict[Any, list[tuple[str, str]]] = {}
    for number, unit in enumerate(corpus.units):
        described, related = graph_of(unit)
        for name, about in described.items():
            told.setdefault(name.upper(), []).append((f"unit-{number}", about))
        for (a, b), about in related.items():
            told.setdefault((a.upper(), b.upper()), []).append((f"unit-{number}", about))

    def described_as(name: str, heard: Sequence[tuple[str, str]]) -> str:
        about = sorted({text for _, text in heard})
        if len(about) == 1:
            return about[0]
        return f"{json.dumps(name)} in all: {json.dumps(about)[:400]}"

    entities, relationships = [], []
    for name, heard in told.items():
        units = [unit for unit, _ in heard]
        if isinstance(name, str):
            about = described_as(name, heard)
            row = {"title": name, "type": "PERSON", "description": about, "text_unit_ids": units}
            entities.append({**row, "frequency": len(units)})
        else:
            about = described_as(f"{name[0]}, {name[1]}", heard)
            row = {"source": name[0], "target": name[1], "description": about, "text_unit_ids": units}
            relationships.append({**row, "weight": 5.0 * len(units)})
    return {"entities": entities, "relationships": relationships}


def clusters(relationships: Sequence[tuple[str, str]], max_cluster_size: int = 10) -> dict[int, int]:
    """Return how many communities GraphRAG's hierarchical Leiden finds on each level."""
    from graphrag.graphs.hierarchical_leiden import hierarchical_leiden

    edges = [(a, b, 5.0) for a, b in sorted(relationships)]
    found = hierarchical_leiden(edges, max_cluster_size=max_cluster_size, random_seed=0xDEADBEEF)
    levels: dict[int, set[int]] = {}
    for cluster in found:
        levels.setdefault(cluster.level, set()).add(cluster.cluster)
    return {level: len(members) for level, members in sorted(levels.items())}


def described(corpus: Corpus) -> dict[str, float]:
    """Return the corpus's sizes, for a table."""
    per_unit = len(corpus.entities) / len(corpus.units)
    return {
        "documents": len(corpus.documents),
        "text_units": len(corpus.units),
        "entities": len(corpus.entities),
        "relationships": len(corpus.relationships),
        "entities_per_unit": round(per_unit, 2),
    }
