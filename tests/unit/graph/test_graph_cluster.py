from __future__ import annotations

import random
from dataclasses import replace

import pytest
from llm_script import corpus, extract
from merging import Graph, merge

from fileintel.graph.cluster import create_communities
from fileintel.graph.records import HIGHEST_STRENGTH, read_records
from fileintel.model import EntityMention, Extraction, RelationshipMention


@pytest.fixture(scope="module")
def graph() -> Graph:
    return merge((f"unit{number}", read_records(extract(text))) for number, text in enumerate(corpus(100).texts))


def cluster(graph, max_cluster_size=10):
    return create_communities(graph.edges, max_cluster_size=max_cluster_size)


def pairs(*ends: str, weight: float = 1.0) -> Graph:
    titles = dict.fromkeys("".join(ends))
    mentions = tuple(EntityMention(title, "PERSON", "d") for title in titles)
    return merge([("u", Extraction(mentions, tuple(RelationshipMention(a, b, "r", weight) for a, b in ends)))])


def test_no_relationships_no_communities():
    assert create_communities([], max_cluster_size=10) == []


def test_levels_parents_and_children_agree(graph):
    communities = cluster(graph)
    by_number = {c.number: c for c in communities}
    assert len(by_number) == len(communities)
    assert [(c.level, c.number) for c in communities] == sorted((c.level, c.number) for c in communities)
    assert {c.level for c in communities} == set(range(max(c.level for c in communities) + 1))
    assert len({c.level for c in communities}) > 1
    for community in communities:
        assert (community.parent == -1) == (community.level == 0)
        if community.level:
            parent = by_number[community.parent]
            assert parent.level == community.level - 1
            assert community.number in parent.children
            assert set(community.entity_ids) < set(parent.entity_ids)
        for child in community.children:
            assert by_number[child].parent == community.number
        assert community.size <= 10 or community.children
        assert community.title == f"Community {community.number}"


def test_a_community_holds_the_relationships_inside_it(graph):
    titles = {e.id: e.title for e in graph.entities}
    for community in cluster(graph):
        members = {titles[id] for id in community.entity_ids}
        inside = [r for r in graph.relationships if {r.source, r.target} <= members]
        assert inside
        assert community.relationship_ids == tuple(sorted(r.id for r in inside))


def test_every_entity_with_a_relationship_is_in_one_community_of_level_0(graph):
    top = [id for c in cluster(graph) if c.level == 0 for id in c.entity_ids]
    assert sorted(top) == sorted(e.id for e in graph.entities)


def test_the_same_graph_in_any_order_gives_the_same_communities(graph):
    def known(communities):
        return [
            (c.id, c.number, c.level, c.parent, c.children, sorted(c.entity_ids), c.relationship_ids)
            for c in communities
        ]

    expected = known(cluster(graph))
    assert len({id for id, *_ in expected}) == len(expected)
    for seed in range(3):
        shuffle = random.Random(seed)
        mixed = replace(
            graph,
            entities=tuple(shuffle.sample(graph.entities, len(graph.entities))),
            relationships=tuple(shuffle.sample(graph.relationships, len(graph.relationships))),
        )
        assert known(cluster(mixed)) == expected


def test_small_components_count_too():
    communities = cluster(pairs("AB", "BC", "CA", "XY"))
    assert sorted(c.size for c in communities) == [2, 3]


def test_an_entity_related_to_itself_alone_breaks_nothing():
    graph = pairs("AB", "BC", "CA", "ZZ")
    titles = {e.id: e.title for e in graph.entities}
    assert {"A", "B", "C"} in [{titles[id] for id in c.entity_ids} for c in cluster(graph)]


@pytest.mark.parametrize("weight", [0.0, 1e-9, HIGHEST_STRENGTH])
def test_odd_weights_break_nothing(weight):
    graph = pairs("AB", "BC", "CA", weight=weight)
    assert {id for c in cluster(graph) for id in c.entity_ids} <= {e.id for e in graph.entities}


def test_a_community_without_a_relationship_inside_is_left_out():
    mentions = tuple(EntityMention(title, "PERSON", "d") for title in "ABC")
    edges = (RelationshipMention("A", "B", "r", 0.0), RelationshipMention("B", "C", "r", 1.0))
    graph = merge([("u", Extraction(mentions, edges))])
    # Nothing ties A to B: GraphRAG's clustering leaves it alone.
    (community,) = cluster(graph)
    assert community.entity_ids == tuple(e.id for e in graph.entities if e.title in "BC")
