from __future__ import annotations

import pytest

from fileintel.search import route
from fileintel.search.routing import named_entities, route_by_graph

TITLES = (
    "ANNA WEISS",
    "HALDEN WORKS",
    "NORVIK AG",
    "TOM REYES",
    "GRIMSBY",
    "PORT OF GRIMSBY",
    "MARIA WEISS",
    "THE GREAT FLOOD",
)

QUESTIONS = [
    ("What are the main themes?", "global"),
    ("What are the main topics in these documents?", "global"),
    ("What are the key recurring issues?", "global"),
    ("Summarise the collection", "global"),
    ("Summarize all documents.", "global"),
    ("Please summarise everything in two paragraphs", "global"),
    ("Give me an overview of the collection", "global"),
    ("What is this collection about?", "global"),
    ("What are these documents about?", "global"),
    ("Across all documents, which risks are mentioned?", "global"),
    ("Which organisations appear across the documents?", "global"),
    ("Overall, how did the region change?", "global"),
    ("What are the most important events?", "global"),
    ("Who are the most influential people?", "global"),
    ("Which people are the most connected?", "global"),
    ("What trends can be seen?", "global"),
    ("What kinds of organisations are described?", "global"),
    ("What are the main themes in the reports on Halden Works?", "global"),
    ("What topics come up in every report?", "global"),
    ("Give me the big picture.", "global"),
    ("How is Anna Weiss related to Norvik AG?", "local"),
    ("How are Halden Works and Norvik connected?", "local"),
    ("Who is Anna Weiss?", "local"),
    ("Who was Tom Reyes working for?", "local"),
    ("Who founded Halden Works?", "local"),
    ("What role did Tom Reyes play in the sale?", "local"),
    ("What was Reyes's role in the flood?", "local"),
    ("Tell me about Grimsby", "local"),
    ("Summarise the relationship between Anna Weiss and Tom Reyes across all documents", "local"),
    ("Overall, what links Halden Works to Grimsby?", "local"),
    ("Did Weiss work with Norvik?", "local"),
    ("Who is responsible for the Great Flood?", "local"),
    ("When did Halden Works open?", "basic"),
    ("How much did Norvik AG pay?", "basic"),
    ("What is the warranty period?", "basic"),
    ("Who is the minister of fisheries?", "basic"),
    ("How do I configure the network interface?", "basic"),
    ("What does section 4.2 require?", "basic"),
    ("Summarise chapter 3", "basic"),
    ("Which port does the server listen on?", "basic"),
    ("What is the main function of the valve?", "basic"),
    ("How is the pump related to the valve?", "basic"),
    ("", "basic"),
]


@pytest.mark.parametrize(("question", "mode"), QUESTIONS)
def test_routes(question, mode):
    chosen = route(question, has_graph=True, entity_titles=TITLES)
    assert chosen.mode == mode, chosen
    assert chosen.reasons
    assert chosen == route(question, has_graph=True, entity_titles=TITLES)


@pytest.mark.parametrize("question", [question for question, _ in QUESTIONS])
def test_without_a_graph_everything_is_basic(question):
    assert route(question, has_graph=False, entity_titles=TITLES).mode == "basic"


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("Where is the port of Grimsby?", ("PORT OF GRIMSBY",)),
        ("Is grimsby large?", ("GRIMSBY",)),
        ("What did Weiss say?", ("ANNA WEISS",)),
        ("What did Maria Weiss say?", ("MARIA WEISS",)),
        ("ANYTHING ON REYES", ()),
        ("Anna-Lena?", ()),
        ("Is it a weissbier?", ()),
        ("What happened at Norvik’s yard?", ("NORVIK AG",)),
    ],
)
def test_named_entities(question, named):
    assert named_entities(question, TITLES) == named


def test_by_the_graph_a_question_is_local_or_global():
    titles = ("MARTA HALDEN", "NORVIK AG")
    assert route_by_graph("What are the main themes?", entity_titles=titles).mode == "global"
    assert route_by_graph("How is Halden related to Norvik AG?", entity_titles=titles).mode == "local"
    fact = route_by_graph("How tall was Marta Halden?", entity_titles=titles)
    assert (fact.mode, fact.entities) == ("local", ("MARTA HALDEN",))
