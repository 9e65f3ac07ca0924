"""Communities after a change: what the change does not touch stays, and what comes of it is a proper hierarchy."""

from __future__ import annotations

import random

import pytest
from llm_script import corpus, extract
from merging import Graph, merge

from fileintel.graph.cluster import create_communities
from fileintel.graph.records import read_records
from fileintel.model import Community, Edge


def graph_of(texts: list[str]) -> Graph:
    return merge((f"unit{number}", read_records(extract(text))) for number, text in enumerate(texts))


def known(communities: list[Community]) -> dict[int, tuple[int, int, frozenset[str]]]:
    return {c.number: (c.level, c.parent, frozenset(c.entity_ids)) for c in communities}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(corpus(100).texts)


@pytest.fixture(scope="module")
def before(texts) -> tuple[list[Edge], list[Community]]:
    edges = graph_of(texts).edges
    return edges, create_communities(edges, max_cluster_size=10)


def is_hierarchy(communities: list[Community], edges: list[Edge]) -> None:
    by_number = {c.number: c for c in communities}
    assert len(by_number) == len(communities)
    for community in communities:
        if community.level:
            parent = by_number[community.parent]
            assert (parent.level, community.number in parent.children) == (community.level - 1, True)
            assert set(community.entity_ids) < set(parent.entity_ids)
        ids = {r for r in community.relationship_ids}
        assert ids
        reached = connected([edge for edge in edges if edge.id in ids])
        assert len(reached) == 1 and len(next(iter(reached))) == community.size
    for level in {c.level for c in communities}:
        members = [entity for c in communities if c.level == level for entity in c.entity_ids]
        assert len(members) == len(set(members))


def connected(edges: list[Edge]) -> list[set[str]]:
    parts: list[set[str]] = []
    for edge in edges:
        touching = [part for part in parts if part & {edge.source, edge.target}]
        parts = [part for part in parts if part not in touching] + [{edge.source, edge.target}.union(*touching)]
    return parts


def test_the_same_graph_keeps_everything(before):
    edges, communities = before
    assert create_communities(edges, max_cluster_size=10, before=before) == communities


EDITS = {
    "two newcomers": lambda texts: [*texts[:50], texts[50] + " Zacharias knows Wilhelmina.", *texts[51:]],
    "a newcomer between two": lambda texts: [
        *texts[:50],
        f"{texts[50]} Zacharias knows {texts[20].split()[0]}. Zacharias trusts {texts[50].split()[0]}.",
        *texts[51:],
    ],
    "one text gone": lambda texts: [*texts[:77], *texts[78:]],
    "half a text gone": lambda texts: [*texts[:10], ". ".join(texts[10].split(". ")[::2]), *texts[11:]],
    "a new text": lambda texts: [*texts, corpus(102).texts[101]],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_small_change_moves_few_communities(texts, before, edit):
    edges = graph_of(edit(texts)).edges
    communities = create_communities(edges, max_cluster_size=10, before=before)
    is_hierarchy(communities, edges)
    stayed = known(communities).items() & known(before[1]).items()
    assert len(stayed) >= 0.95 * len(before[1])
    entities = {entity for c in communities if c.level == 0 for entity in c.entity_ids}
    assert len(entities) == len({end for edge in edges for end in (edge.source, edge.target)})
    # The order in which edges come decides nothing.
    mixed = random.Random(3).sample(edges, len(edges))
    assert known(create_communities(mixed, max_cluster_size=10, before=before)) == known(communities)


def test_a_community_that_falls_apart_is_two():
    def ring(names: str) -> list[Edge]:
        return [Edge(a + b, a, b, 1.0) for a, b in zip(names, names[1:] + names[0], strict=True)]

    far = [Edge(f"{n}{m}", f"F{n}", f"F{m}", 1.0) for n in range(30) for m in range(n) if (n + m) % 3]
    bridge = [Edge("CD", "C", "D", 5.0)]
    edges = [*ring("ABC"), *ring("DEF"), *bridge, *far]
    communities = create_communities(edges, max_cluster_size=50)
    assert any(c.size == 6 for c in communities)
    later = create_communities([*ring("ABC"), *ring("DEF"), *far], max_cluster_size=50, before=(edges, communities))
    assert sorted(c.size for c in later if c.size < 10) == [3, 3]


def test_a_community_that_grows_too_large_is_divided():
    texts = list(corpus(30).texts)
    edges = graph_of(texts).edges
    communities = create_communities(edges, max_cluster_size=10)
    names = corpus(31).texts[30].split(" ")
    hub = texts[5].split()[0]
    more = " ".join(f"{hub} knows {name.strip('.')}." for name in names if name[0].isupper())
    later_edges = graph_of([*texts, more, corpus(31).texts[30]]).edges
    later = create_communities(later_edges, max_cluster_size=10, before=(edges, communities))
    is_hierarchy(later, later_edges)
    assert all(c.size <= 10 or c.children for c in later)


def test_after_a_large_change_all_is_clustered_anew(texts, before):
    edges = graph_of(texts[:60]).edges
    assert known(create_communities(edges, max_cluster_size=10, before=before)) == known(
        create_communities(edges, max_cluster_size=10)
    )
