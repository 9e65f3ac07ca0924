"""The intermediate calls of questions: asked and answered row by row, so that a killed worker repeats none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fileintel.model import ChatAnswer
from fileintel.store.engine import execute, row, rows


@dataclass(frozen=True, slots=True)
class Answered:
    """An answered call: its round, what it was for (`kind` and what `about` adds), and what the LLM said."""

    round: int
    kind: str
    about: Mapping[str, Any]
    answer: str


def unanswered(query_id: str) -> list[tuple[int, int]]:
    """The calls of a question that have no answer yet, as (round, number)."""
    found = rows(
        "SELECT round, number FROM query_calls WHERE query_id = :id AND answer IS NULL ORDER BY round, number",
        id=query_id,
    )
    return [(call["round"], call["number"]) for call in found]


def call(query_id: str, round_: int, number: int) -> tuple[str, dict[str, Any]] | None:
    """One call's kind and request; None when the question has ended meanwhile, by another worker's hand."""
    found = row(
        "SELECT kind, request FROM query_calls WHERE query_id = :id AND round = :round AND number = :number",
        id=query_id,
        round=round_,
        number=number,
    )
    return None if found is None else (found["kind"], found["request"])


def save(query_id: str, round_: int, number: int, answer: ChatAnswer) -> None:
    """Store what a call was answered; the first answer stays."""
    execute(
        """UPDATE query_calls SET answer = :answer, tokens_in = :tokens_in, tokens_out = :tokens_out
           WHERE query_id = :id AND round = :round AND number = :number AND answer IS NULL""",
        id=query_id,
        round=round_,
        number=number,
        # Postgres takes neither NUL nor halves of surrogate pairs.
        answer=answer.content.replace("\x00", "").encode("utf-8", "replace").decode(),
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
    )


def answered(query_id: str, kind: str | None = None) -> list[Answered]:
    """The answered calls of a question (of one kind, or all), in the order they were planned."""
    found = rows(
        """SELECT round, kind, about, answer FROM query_calls
           WHERE query_id = :id AND answer IS NOT NULL AND (CAST(:kind AS text) IS NULL OR kind = :kind)
           ORDER BY round, number""",
        id=query_id,
        kind=kind,
    )
    return [Answered(**call) for call in found]


def tokens(query_id: str) -> tuple[int, int]:
    """The tokens in and out of all of a question's answered calls."""
    found = row(
        """SELECT COALESCE(sum(tokens_in), 0) AS tokens_in, COALESCE(sum(tokens_out), 0) AS tokens_out
           FROM query_calls WHERE query_id = :id""",
        id=query_id,
    )
    assert found is not None
    return int(found["tokens_in"]), int(found["tokens_out"])
