"""Reads case.toml, and judges an answer by what is known to be true in the case."""

from __future__ import annotations

import re
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
    """A question to the case: all of `all_of` and one of `any_of` stand in a right answer, cited from `where`."""

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
    if faults:
        return faults
    leading = [c for c in answer["citations"] if any(place.holds(c) for place in question.where)]
    if not leading:
        faults.append("no citation leads to " + " or ".join(map(str, question.where)))
    elif not any(_bears_out(question, citation, answer["text"]) for citation in leading):
        faults.append(f"no citation of {' or '.join(map(str, question.where))} holds the fact: {question.fact}")
    return faults


def _bears_out(question: Question, citation: Mapping[str, Any], answer_text: str) -> bool:
    """Whether the fact stands in the citation's own words, or in the statement that its mark directly follows."""
    for words in (citation["quote"], *_statements(answer_text, int(citation["number"]))):
        plain = _plain(words)
        if all(_plain(fact) in plain for fact in question.all_of) and (
            not question.any_of or any(_plain(fact) in plain for fact in question.any_of)
        ):
            return True
    return False


def _statements(text: str, number: int) -> list[str]:
    """Return what stands between a mark of this number and the marks before it, for each place it is put."""
    found: list[str] = []
    said = ""
    for piece in re.split(r"((?:\s*\[\d+\])+)", text):
        marks = re.findall(r"\[(\d+)\]", piece)
        if not (marks and not re.sub(r"\s*\[\d+\]", "", piece)):
            said = piece
        elif str(number) in marks:
            found.append(said)
    return found


def _plain(text: str) -> str:
    """Case, line breaks, curly quotes and the hyphen's variants are no matter of truth."""
    for odd, even in (("’", "'"), ("‑", "-"), ("–", "-"), ("\u00a0", " "), ("\u202f", " ")):
        text = text.replace(odd, even)
    return " ".join(text.casefold().split())
