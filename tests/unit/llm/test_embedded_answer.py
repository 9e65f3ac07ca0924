from __future__ import annotations

import json

import pytest

from fileintel.llm.embedded import REFUSAL
from fileintel.llm.embedded.language import Reader
from fileintel.llm.embedded.minilm import MiniLM
from fileintel.llm.embedded.question import understand
from fileintel.llm.embedded.stages import Models

SOURCES = [
    {"number": 1, "document": "chronicle.md", "heading": "The founding", "text": (
        "The Harbour Authority of Vessby was established in 1891 by Marta Lindqvist and the town council. "
        "She led it until 1912. Its first office stood in Kettle Street, beside the old customs house.")},
    {"number": 2, "document": "chronicle.md", "heading": "The fire", "text": (
        "The northern pier burned down in 1903 because sparks from a steam crane lit a store of tar. "
        "Forty ships were lost. The insurance paid 310,000 crowns.")},
    {"number": 3, "document": "manual.pdf", "heading": "Mooring > Fees", "text": (
        "Visitors pay 45 crowns a night for a berth of up to ten metres. Boats over ten metres pay double [4]. "
        "The harbour master inspects the moorings every Tuesday.")},
    {"number": 7, "document": "rebuild.docx", "heading": "Works", "text": (
        "Olaf Brandt, the chief engineer, rebuilt the northern pier with steel from Essen. "
        "Work on the pier was finished in May 1905, and the pier is 640 metres long.")},
]  # fmt: skip

ANSWERABLE = [
    ("Who founded the Harbour Authority?", "Marta Lindqvist", 1),
    ("When was the harbour authority established?", "1891", 1),
    ("Where was the first office of the authority?", "Kettle Street", 1),
    ("Why did the northern pier burn down?", "steam crane", 2),
    ("How many ships were lost in the fire?", "Forty", 2),
    ("How much does a berth cost per night?", "45 crowns", 3),
    ("How often are the moorings inspected?", "every Tuesday", 3),
    ("Who rebuilt the northern pier?", "Olaf Brandt", 7),
    ("How long is the pier?", "640 metres", 7),
    ("Who is the chief engineer?", "Olaf Brandt", 7),
]
UNANSWERABLE = [
    "Who founded the lighthouse museum?",
    "What is the salary of the harbour master?",
    "When was Olaf Brandt born?",
    "Who rebuilt the southern pier?",
    "What is the phone number of the harbour office?",
    "How many ships were lost in 1977?",
    "Who is the mayor of Hamburg?",
    "How do I bake bread?",
    "What colour is the crane?",
    "Did Ingrid Falk work for the authority?",
]


@pytest.fixture(scope="module")
def models() -> Models:
    return Models()


def ask(models: Models, question: str) -> str:
    return models.complete("answer", {"question": question, "sources": SOURCES})


@pytest.mark.parametrize(("question", "fact", "number"), ANSWERABLE)
def test_a_fact_is_quoted_with_its_mark(models: Models, question: str, fact: str, number: int) -> None:
    answer = ask(models, question)
    first = answer.split(f"[{number}]")[0]
    assert fact in first, answer


@pytest.mark.parametrize("question", UNANSWERABLE)
def test_what_the_documents_do_not_say_is_refused(models: Models, question: str) -> None:
    answer = ask(models, question)
    assert answer.startswith(REFUSAL), answer
    assert "\n" not in answer and "[" not in answer


def test_marks_in_a_source_do_not_pass_for_ours(models: Models) -> None:
    answer = ask(models, "What do boats over ten metres pay?")
    assert "pay double (4)." in answer and "(4) [3]" not in answer


def test_no_source_no_answer(models: Models) -> None:
    assert models.complete("answer", {"question": "Who rebuilt it?", "sources": []}).startswith(REFUSAL)
    assert ask(models, "?").startswith(REFUSAL)


REPORTS = [
    {"id": 4, "title": "Northern pier", "content": (
        "# Northern pier and Olaf Brandt\n\nOlaf Brandt, the chief engineer, rebuilt the northern pier with steel "
        "from Essen. [Data: Entities (3, 5)]\n\nRating: 7.5")},
    {"id": 9, "title": "Fees", "content": (
        "# Mooring fees\n\nVisitors pay 45 crowns a night for a berth of up to ten metres.\n\nRating: 3.0")},
]  # fmt: skip


def test_themes_are_taken_from_every_report(models: Models) -> None:
    question = "What are the main themes of these documents?"
    points = json.loads(models.complete("global_map", {"question": question, "reports": REPORTS}))["points"]
    assert [point["description"].rsplit("[", 1)[1] for point in points] == ["Data: Reports (4)]", "Data: Reports (9)]"]
    assert all(0 <= point["score"] <= 100 for point in points)
    inputs = {"question": question, "points": points, "sources": SOURCES}
    answer = models.complete("global_reduce", inputs)
    assert "steel from Essen. [7]" in answer and "ten metres. [3]" in answer
    assert "[Data" not in answer


def test_a_question_takes_points_from_the_reports_that_bear_on_it(models: Models) -> None:
    inputs = {"question": "What do visitors pay for a berth?", "reports": REPORTS}
    points = json.loads(models.complete("global_map", inputs))["points"]
    assert points and all("Reports (9)" in point["description"] for point in points)
    empty = models.complete("global_map", {"question": "Who grows tulips in Peru?", "reports": REPORTS})
    assert json.loads(empty) == {"points": []}
    assert models.complete("global_reduce", {"question": "?", "points": []}).startswith(REFUSAL)


INQUIRY = [
    {"number": 1, "document": "log.csv", "text": (
        "date: 2021-11-12; vessel: Aske Trader; berth: Gannet Wharf; contents: paper; stored in: Warehouse Nine")},
    {"number": 2, "document": "history.txt", "text": (
        "A different fire had broken out in Warehouse Six in September. It was put out within an hour by the crew.")},
    {"number": 3, "document": "report.pdf", "text": (
        "Findings\n\nThree failings led to the fire at Warehouse Nine: a false declaration of the cargo, a worthless "
        "certificate and a closed sprinkler valve. Any one of them, put right, would have been enough.")},
    {"number": 4, "document": "briefing.txt", "text": (
        "A fire destroyed Warehouse Nine on Gannet Wharf on the night of 14 November. What caused the fire?")},
    {"number": 5, "document": "copy.pdf", "text": (
        "Three failings led to the fire at Warehouse Nine: a false declaration of the cargo, a worthless certificate "
        "and a closed sprinkler valve. This copy was made for the council.")},
]  # fmt: skip


def test_an_answer_on_the_whole_is_about_what_is_asked_and_marks_only_who_says_it(models: Models) -> None:
    question = "Which failings led to the fire at Warehouse Nine?"
    points = [
        {"description": "A fire destroyed Warehouse Nine on Gannet Wharf on the night of 14 November.", "score": 60}
    ]
    answer = models.complete("global_reduce", {"question": question, "points": points, "sources": INQUIRY})
    assert answer.startswith("Three failings led to the fire at Warehouse Nine: a false declaration")
    assert "closed sprinkler valve. [3][5]" in answer
    assert "[1]" not in answer and "Warehouse Six" not in answer
    assert answer == models.complete("global_reduce", {"question": question, "points": points, "sources": INQUIRY})


def test_an_overview_quotes_sentences_and_no_rows(models: Models) -> None:
    inputs = {"question": "What are the main themes of these documents?", "points": [], "sources": INQUIRY}
    answer = models.complete("global_reduce", inputs)
    assert "vessel:" not in answer and "What caused" not in answer
    assert answer.count("Three failings") == 1


@pytest.mark.parametrize("question", ["Which volcanoes erupted on Mars?", "How do penguins breed?"])
def test_what_no_document_speaks_of_is_refused_on_the_whole_too(models: Models, question: str) -> None:
    answer = models.complete("global_reduce", {"question": question, "points": [], "sources": INQUIRY})
    assert answer.startswith(REFUSAL) and "[" not in answer


@pytest.mark.parametrize(
    ("question", "kind", "asked"),
    [
        ("Whom should I write to about a lost berth?", "address", ""),
        ("On which mailing list are the fees discussed?", "address", "list"),
        ("Which text editor is there?", "thing", "editor"),
        ("What happens when a boat sinks?", "thing", ""),
        ("When was the pier rebuilt?", "date", ""),
    ],
)
def test_what_a_question_asks_for(question: str, kind: str, asked: str) -> None:
    (doc,) = Reader().read([question], syntax=False)
    understood = understand(question, doc, MiniLM().rarity)
    assert (understood.kind, understood.asked) == (kind, asked)


def test_a_verb_said_in_other_words_is_no_reason_to_refuse(models: Models) -> None:
    text = "The flood gauge showed a level of 7 metres. A bell warns the harbour."
    sources = [{"number": 1, "text": text, "document": "gauge"}]
    answer = models.complete("answer", {"question": "Which level did the flood gauge reach?", "sources": sources})
    assert "7 metres" in answer and "[1]" in answer


def test_a_report_is_rated_by_what_it_says_to_the_question(models: Models) -> None:
    def rating(question: str, report: dict[str, object]) -> int:
        return int(json.loads(models.complete("rate_report", {"question": question, "report": report}))["rating"])

    question = "Who rebuilt the northern pier?"
    ratings = [rating(question, report) for report in REPORTS]
    assert 1 <= ratings[0] <= 5 and ratings[1] == 0
    assert [rating("Who grows tulips in Peru?", report) for report in REPORTS] == [0] * len(REPORTS)
    assert [rating("What are the main themes?", report) for report in REPORTS] == [5] * len(REPORTS)


def test_drift_proposes_the_reports_that_bear_on_it_and_quotes_what_they_lead_to(models: Models) -> None:
    question = "Who rebuilt the northern pier?"
    primer = json.loads(models.complete("drift_primer", {"question": question, "reports": REPORTS}))
    assert primer["score"] > 0 and "[Data" not in primer["intermediate_answer"]
    assert primer["follow_up_queries"] == [f"{question} Northern pier"]
    inputs = {"question": "Why did the northern pier burn down?", "follow_up": "?", "sources": SOURCES}
    finding = json.loads(models.complete("drift_local", inputs))
    assert "steam crane" in finding["response"] and "[2]" in finding["response"] and finding["score"] > 0
    inputs["question"] = "Who is the mayor of Hamburg?"
    assert json.loads(models.complete("drift_local", inputs))["score"] == 0
