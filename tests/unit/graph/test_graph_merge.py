from __future__ import annotations

import random

import pytest
from merging import Graph, merge

from fileintel.model import EntityMention, Extraction, RelationshipMention


def entity(title, description="d", type="PERSON"):
    return EntityMention(title, type, description)


def related(source, target, description="r", weight=1.0):
    return RelationshipMention(source, target, description, weight)


def unit(*mentions):
    return Extraction(
        tuple(m for m in mentions if isinstance(m, EntityMention)),
        tuple(m for m in mentions if isinstance(m, RelationshipMention)),
    )


UNITS = [
    ("u1", unit(entity("A", "a1"), entity("B", "b1"), related("A", "B", "r1", 2.0), related("A", "GHOST"))),
    (
        "u2",
        unit(entity("B", "b2"), entity("A", "a1", "GEO"), related("A", "B", "r2", 3.0), related("B", "A", "r3", 4.0)),
    ),
    ("u3", unit(entity("A", "", "GEO"), entity("C"), related("C", "C", "itself"))),
]


def test_entities_are_one_by_title_with_everything_said_of_them():
    merged = merge(UNITS)
    assert [e.title for e in merged.entities] == ["A", "B", "C"]
    assert [e.human_readable_id for e in merged.entities] == [0, 1, 2]
    a, b, _ = merged.entities
    assert (a.frequency, a.text_unit_ids, a.descriptions, a.description) == (3, ("u1", "u2", "u3"), ("a1",), "a1")
    assert (b.frequency, b.text_unit_ids, b.descriptions, b.description) == (2, ("u1", "u2"), ("b1", "b2"), "")


def test_relationships_are_one_by_direction_and_their_weights_add_up():
    merged = merge(UNITS)
    assert [(r.source, r.target, r.weight) for r in merged.relationships] == [
        ("A", "B", 5.0),
        ("B", "A", 4.0),
        ("C", "C", 1.0),
    ]
    assert merged.relationships[0].descriptions == ("r1", "r2")
    assert merged.relationships[0].text_unit_ids == ("u1", "u2")
    assert [r.human_readable_id for r in merged.relationships] == [0, 1, 2]


def test_a_relationship_to_what_no_text_unit_names_is_an_orphan():
    merged = merge(UNITS)
    assert merged.orphans == 1
    assert "GHOST" not in {end for r in merged.relationships for end in (r.source, r.target)}


def test_an_end_named_in_another_text_unit_is_no_orphan():
    merged = merge([("u1", unit(entity("A"), related("A", "B"))), ("u2", unit(entity("B")))])
    assert (len(merged.relationships), merged.orphans) == (1, 0)


@pytest.mark.parametrize(
    ("types", "winner"), [(["PERSON", "GEO", "GEO"], "GEO"), (["EVENT", "GEO"], "EVENT"), (["GEO", "EVENT"], "GEO")]
)
def test_the_type_said_most_often_wins_and_the_first_among_equals(types, winner):
    (found,) = merge((f"u{i}", unit(entity("A", type=type))) for i, type in enumerate(types)).entities
    assert found.type == winner


def test_mentions_twice_in_one_unit_name_the_unit_once():
    merged = merge([("u", unit(entity("A", "x"), entity("A", "y"), related("A", "A"), related("A", "A")))])
    assert (merged.entities[0].text_unit_ids, merged.entities[0].frequency) == (("u",), 2)
    assert (merged.relationships[0].text_unit_ids, merged.relationships[0].weight) == (("u",), 2.0)


def test_nothing_merges_to_nothing():
    assert merge([]) == Graph((), (), 0)


def test_the_same_input_gives_the_same_graph_and_the_order_of_units_changes_no_id():
    assert merge(UNITS) == merge(iter(UNITS))
    by_id = {e.id: (e.title, e.descriptions, e.frequency) for e in merge(UNITS).entities}
    edges = {r.id: (r.source, r.target, r.descriptions, r.weight) for r in merge(UNITS).relationships}
    for seed in range(5):
        shuffled = random.Random(seed).sample(UNITS, len(UNITS))
        merged = merge(shuffled)
        assert {e.id: (e.title, e.descriptions, e.frequency) for e in merged.entities} == by_id
        assert {r.id: (r.source, r.target, r.descriptions, r.weight) for r in merged.relationships} == edges
    assert len({*by_id, *edges}) == len(by_id) + len(edges)


def test_degrees_count_undirected_edges():
    merged = merge(UNITS)
    # A-B and B-A are one edge; an edge from C to itself ends in C twice.
    assert [(e.title, e.degree) for e in merged.entities] == [("A", 1), ("B", 1), ("C", 2)]
    assert [r.combined_degree for r in merged.relationships] == [2, 2, 4]
