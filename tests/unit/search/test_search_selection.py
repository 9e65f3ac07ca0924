"""Which communities a question reads: our walk down the hierarchy against GraphRAG's own, on random ones."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace

import pytest

from fileintel.errors import ModelAnswerError
from fileintel.graph.lean import leave_out_litellm
from fileintel.model import Community, CommunityReport
from fileintel.search.selection import communities_at, parse_rating, rating_request, select


def community(number: int, level: int, parent: int, children: tuple[int, ...] = ()) -> Community:
    return Community(f"c{number}", number, level, parent, children, (), (), ())


TREE = [
    community(0, 0, -1, (3, 4)),
    community(1, 0, -1),
    community(2, 0, -1, (5,)),
    community(3, 1, 0, (6,)),
    community(4, 1, 0),
    community(5, 1, 2),
    community(6, 2, 3),
]


@pytest.mark.parametrize(
    ("level", "numbers"), [(0, [0, 1, 2]), (1, [1, 3, 4, 5]), (2, [1, 4, 5, 6]), (9, [1, 4, 5, 6])]
)
def test_communities_of_a_level(level, numbers):
    assert [c.number for c in communities_at(TREE, level)] == numbers


def walk(tree, rating_of, max_level):
    """Rate what is asked for until nothing is, and return (relevant, everything rated)."""
    ratings: dict[int, int] = {}
    for _ in range(20):
        selection = select(tree, ratings, max_level=max_level)
        if not selection.to_rate:
            return selection.relevant, ratings
        assert not set(selection.to_rate) & set(ratings)
        ratings |= {number: rating_of(number) for number in selection.to_rate}
    raise AssertionError("it never ends")


def test_children_of_relevant_communities_stand_for_them():
    relevant, rated = walk(TREE, lambda n: {0: 3, 3: 1}.get(n, 0), 2)
    assert relevant == (3,) and set(rated) == {0, 1, 2, 3, 4, 6}
    assert walk(TREE, lambda n: 5, 0) == ((0, 1, 2), {0: 5, 1: 5, 2: 5})


def test_while_nothing_is_relevant_the_next_level_is_rated_whole():
    relevant, rated = walk(TREE, lambda n: 2 if n == 5 else 0, 2)
    assert relevant == (5,) and set(rated) == {0, 1, 2, 3, 4, 5}
    assert walk(TREE, lambda n: 0, 2) == ((), dict.fromkeys(range(7), 0))
    assert walk([], lambda n: 0, 2) == ((), {})


def random_tree(seed: int) -> list[Community]:
    draw = random.Random(seed)
    levels: list[list[int]] = [list(range(draw.randint(1, 5)))]
    parent_of = dict.fromkeys(levels[0], -1)
    for _ in range(draw.randint(0, 3)):
        begin = len(parent_of)
        levels.append(list(range(begin, begin + draw.randint(1, 6))))
        parent_of |= {number: draw.choice(levels[-2]) for number in levels[-1]}
    return [
        community(n, level, parent_of[n], tuple(c for c, p in parent_of.items() if p == n))
        for level, numbers in enumerate(levels)
        for n in numbers
    ]


@pytest.mark.parametrize("seed", range(25))
def test_selection_is_graphrags(seed, monkeypatch):
    leave_out_litellm()
    from graphrag.query.context_builder import dynamic_community_selection as stock

    tree = random_tree(seed)
    rating_of = {c.number: random.Random(seed * 100 + c.number).choice((0, 0, 1, 4)) for c in tree}
    asked: list[int] = []

    async def rate(*, description, **_):
        asked.append(int(description))
        return {"rating": rating_of[int(description)], "llm_calls": 1, "prompt_tokens": 0, "output_tokens": 0}

    monkeypatch.setattr(stock, "rate_relevancy", rate)
    reports = [SimpleNamespace(community_id=str(c.number), full_content=str(c.number)) for c in tree]
    # The parents as GraphRAG compares them: by the names its reports have.
    communities = [
        SimpleNamespace(short_id=str(c.number), level=str(c.level), children=list(c.children), parent=str(c.parent))
        for c in tree
    ]
    deepest = max(c.level for c in tree)
    selector = stock.DynamicCommunitySelection(reports, communities, None, None, max_level=deepest)
    chosen, _ = asyncio.run(selector.select("?"))
    relevant, ratings = walk(tree, rating_of.__getitem__, deepest)
    assert sorted(relevant) == sorted(int(report.community_id) for report in chosen)
    assert sorted(ratings) == sorted(set(asked))


def test_rating():
    report = CommunityReport("r", 7, 0, "T", "S", "About {pumps}", 5.0, "", ())
    request = rating_request(" Which pumps? ", report, model="m")
    assert "About {pumps}" in request.messages[0].content and request.messages[1].content == "Which pumps?"
    assert request.stage.name == "rate_report" and request.stage.inputs["report"]["id"] == 7
    assert [parse_rating(f'{{"reason": "x", "rating": {value}}}') for value in ("3", '"4"', "-1", "9")] == [3, 4, 0, 5]
    for answer in ("", "5", '{"reason": "x"}', '{"rating": "high"}'):
        with pytest.raises(ModelAnswerError):
            parse_rating(answer)
