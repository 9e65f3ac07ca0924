"""Which communities' reports a question reads: those of a level, or those the LLM finds relevant on its way down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fileintel.errors import ModelAnswerError
from fileintel.model import ChatRequest, Community, CommunityReport, Message, Stage
from fileintel.search.json_answers import read_object, score_of

# GraphRAG's threshold: whatever is not plainly irrelevant is read.
THRESHOLD = 1
_HIGHEST = 5

# The keys in the prompt's order: the reason is written before the rating it is to lead to.
RATING_SCHEMA: Mapping[str, Any] = {
    "title": "rating",
    "type": "object",
    "properties": {"reason": {"type": "string"}, "rating": {"type": "integer"}},
    "required": ["reason", "rating"],
    "additionalProperties": False,
}


def communities_at(communities: Sequence[Community], level: int) -> list[Community]:
    """Return the communities of a level, and of coarser ones those that were not divided further."""
    reached = [community for community in communities if community.level <= level]
    divided = {community.parent for community in reached}
    return [c for c in reached if c.level == level or c.number not in divided]


@dataclass(frozen=True, slots=True)
class Selection:
    """How far dynamic selection has come: community numbers to be rated next, or else the ones found relevant."""

    to_rate: tuple[int, ...]
    relevant: tuple[int, ...]


def select(
    communities: Sequence[Community], ratings: Mapping[int, int], *, max_level: int, threshold: int = THRESHOLD
) -> Selection:
    """Go down the hierarchy by the ratings known so far: GraphRAG's dynamic community selection, without its calls.

    `communities` are those with reports. Begins at level 0; the children of a relevant community are rated next, and
    a relevant child stands for its parent. While nothing at all is relevant, whole levels down to `max_level` are
    rated.
    """
    known = {community.number: community for community in communities if community.level <= max_level}
    level, relevant = 0, dict[int, None]()
    queue = [community.number for community in known.values() if community.level == 0]
    while queue:
        unrated = tuple(number for number in queue if number not in ratings)
        if unrated:
            return Selection(unrated, ())
        children: list[int] = []
        for number in queue:
            if ratings[number] >= threshold:
                relevant[number] = None
                relevant.pop(known[number].parent, None)
                children += [child for child in known[number].children if child in known]
        queue, level = list(dict.fromkeys(children)), level + 1
        if not queue and not relevant and level <= max_level:
            queue = [community.number for community in known.values() if community.level == level]
    return Selection((), tuple(relevant))


def rating_request(question: str, report: CommunityReport, *, model: str, structured: bool = True) -> ChatRequest:
    """Return the call that rates a report's use for the question, from 0 to 5, by GraphRAG's prompt."""
    from graphrag.query.context_builder.rate_prompt import RATE_QUERY

    system = RATE_QUERY.format(description=report.full_content, question=question.strip())
    return ChatRequest(
        model=model,
        messages=(Message("system", system), Message("user", question.strip())),
        json_schema=RATING_SCHEMA if structured else None,
        stage=Stage(
            "rate_report",
            {
                "question": question,
                "report": {"id": report.community, "title": report.title, "content": report.full_content},
            },
        ),
    )


def parse_rating(answer: str) -> int:
    """Return the rating of an answer, 0 to 5; raises ModelAnswerError when there is none."""
    rating = score_of(read_object(answer, "rating").get("rating"), _HIGHEST)
    if rating is None:
        raise ModelAnswerError("the rating is no number", raw=answer[:2000])
    return rating
