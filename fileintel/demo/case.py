"""Reads case.toml, and judges an answer by what is known to be true in the case."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
DOCUMENTS = FOLDER / "documents"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fact stands: a document, and the page or a part of the heading it stands under if it has such."""

    document: str
    page: int | None = None
    heading: str | None = None

    def holds(self, citation: Mapping[str, Any]) -> bool:
        """Whether a citation (as the API gives it) points here."""
        if citation["document_name"] != self.document:
            return False
        if self.page is not None and citation["page"] != self.page:
            return False
        return self.heading is None or self.heading.casefold() in (citation["heading"] or "").casefold()

    def __str__(self) -> str:
        page = "" if self.page is None else f", page {self.page}"
        return self.document + page + ("" if self.heading is None else f", “{self.heading}”")


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the case; `all_of` and one of `any_of` stand in a right answer, which cites one of `where`."""

    id: str
    question: str
    mode: str
    demo: bool
    answerable: bool
    all_of: tuple[str, ...]
    any_of: tuple[str, ...]
    where: tuple[Place, ...]

    @property
    def fact(self) -> str:
        """The known fact in words; empty for a question that has none."""
        return ", ".join((*self.all_of, *((" or ".join(self.any_of),) if self.any_of else ())))


@dataclass(frozen=True, slots=True)
class Case:
    """The demonstration case."""

    title: str
    summary: str
    collection: str
    questions: tuple[Question, ...]
    truth: Mapping[str, Any]


def load_case() -> Case:
    """Read the case that is installed with the package."""
    data = tomllib.loads((FOLDER / "case.toml").read_text(encoding="utf-8"))
    questions = tuple(
        Question(
            id=entry["id"],
            question=entry["question"],
            mode=entry["mode"],
            demo=entry.get("demo", False),
            answerable=entry.get("answerable", True),
            all_of=tuple(entry.get("all", ())),
            any_of=tuple(entry.get("any", ())),
            where=tuple(Place(**place) for place in entry.get("where", ())),
        )
        for entry in data["questions"]
    )
    return Case(data["title"], data["summary"], data["collection"], questions, data["truth"])


def documents() -> Sequence[Path]:
    """The case's documents, by name."""
    return sorted(path for path in DOCUMENTS.iterdir() if path.is_file())


def judge(question: Question, answer: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with an answer (as the API gives it), a line for each fault; nothing when it is right."""
    if not question.answerable:
        return [] if answer["refused"] else ["the documents do not say this, and it was answered all the same"]
    if answer["refused"]:
        return [f"it was refused; the documents say: {question.fact}"]
    text = _plain(answer["text"])
    faults = [f"the answer lacks the known fact {fact!r}" for fact in question.all_of if _plain(fact) not in text]
    if question.any_of and not any(_plain(fact) in text for fact in question.any_of):
        faults.append("the answer lacks the known fact: " + " or ".join(map(repr, question.any_of)))
    if not any(place.holds(citation) for place in question.where for citation in answer["citations"]):
        faults.append("no citation leads to " + " or ".join(map(str, question.where)))
    return faults


def _plain(text: str) -> str:
    """Case, line breaks, curly quotes and the hyphen's variants are no matter of truth."""
    for odd, even in (("’", "'"), ("‑", "-"), ("–", "-"), ("\u00a0", " "), ("\u202f", " ")):
        text = text.replace(odd, even)
    return " ".join(text.casefold().split())
