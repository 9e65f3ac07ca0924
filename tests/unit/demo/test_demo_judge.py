from __future__ import annotations

from typing import Any

import pytest

from fileintel.demo.case import Place, Question, documents, judge, load_case

QUESTION = Question(
    id="alarm",
    question="When was the alarm raised?",
    mode="basic",
    demo=False,
    answerable=True,
    all_of=("23:40",),
    any_of=("Daniel Frost", "the watchman"),
    where=(Place("report.pdf", page=4), Place("log.txt")),
)
SAID = "Daniel Frost raised the alarm at 23:40."


def citation(number: int, document: str, quote: str, page: int | None = None) -> dict[str, Any]:
    return {"number": number, "document_name": document, "page": page, "heading": None, "quote": quote}


def answer(text: str, *citations: dict[str, Any]) -> dict[str, Any]:
    return {"text": text, "refused": False, "citations": list(citations)}


def test_a_fact_in_the_citation_s_own_words_is_right() -> None:
    assert judge(QUESTION, answer(f"{SAID} [1]", citation(1, "report.pdf", SAID, 4))) == []


def test_a_fact_that_the_mark_directly_follows_is_right() -> None:
    cited = citation(2, "report.pdf", "The alarm came twenty minutes before midnight.", 4)
    other = citation(1, "log.txt", "Smoke was seen.")
    assert judge(QUESTION, answer(f"Smoke was seen. [1] {SAID} [3][2]", other, cited)) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (answer("Nobody knows. [1]", citation(1, "log.txt", SAID)), "lacks the known fact '23:40'"),
        (answer("It was at 23:40. [1]", citation(1, "log.txt", SAID)), "'Daniel Frost' or 'the watchman'"),
        (answer(SAID), "no citation leads to report.pdf, page 4"),
        (answer(f"{SAID} [1]", citation(1, "report.pdf", SAID, 3)), "no citation leads to"),
        (
            answer(f"{SAID} [1] It rained. [2]", citation(1, "news.txt", SAID), citation(2, "log.txt", "It rained.")),
            "holds the fact",
        ),
        ({"text": "I cannot", "refused": True, "citations": []}, "it was refused"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], fault: str) -> None:
    assert any(fault in said for said in judge(QUESTION, given))


def test_the_case_s_places_are_its_documents() -> None:
    names = {path.name for path in documents()}
    for question in load_case().questions:
        assert {place.document for place in question.where} <= names
        assert bool(question.where) == question.answerable
