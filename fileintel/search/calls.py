"""Intermediate calls of a question: what each is for, and whether its answer can be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fileintel.model import ChatRequest
from fileintel.search.drift import parse_finding, parse_primer
from fileintel.search.global_ import parse_points
from fileintel.search.selection import parse_rating

CallKind = Literal["map", "rate", "expand", "primer", "follow_up"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose answer goes into a question's next round or its final prompt; `about` is plain JSON."""

    kind: CallKind
    request: ChatRequest
    about: Mapping[str, Any] = field(default_factory=dict)


def check(kind: str, answer: str) -> None:
    """Raise ModelAnswerError when the answer to a call of this kind cannot be read."""
    if kind == "map":
        parse_points(answer)
    elif kind == "rate":
        parse_rating(answer)
    elif kind == "primer":
        parse_primer(answer)
    elif kind == "follow_up":
        parse_finding(answer)
