from __future__ import annotations

import json
import re

import pytest

from fileintel.errors import InputError
from fileintel.llm.embedded.language import sentences, terms
from fileintel.llm.embedded.stages import Models
from fileintel.model import STAGES_VERSION, ChatRequest, Message, Stage, content_hash

TYPES = ["organization", "person", "geo", "event"]
HARBOUR = """# The founding

The Harbour Authority of Vessby was founded in 1891 by Dr. Marta Lindqvist and the town council. Lindqvist led it
until 1912. The harbour authority's northern pier burned down in the Great Fire of 1903, which destroyed forty ships.

- Olaf Brandt, the chief engineer, rebuilt the northern pier with steel from Krupp.
- The new northern pier was opened by the King of Sweden in Vessby on 4 May 1905.

Page 12
"""
MANUAL = """Installing packages

The dpkg program handles package files. A dependency graph tells apt which packages must come first, and apt
calls dpkg for each of them. When the dependency graph has a cycle, apt breaks it by configuring one package early.
Use `apt-get -f install` ##<|>## to repair a broken system.
"""


@pytest.fixture(scope="module")
def models() -> Models:
    return Models()


def records(answer: str) -> tuple[dict[str, tuple[str, str]], dict[tuple[str, str], tuple[str, int]]]:
    """Read an answer as GraphRAG's GraphExtractor does."""
    entities: dict[str, tuple[str, str]] = {}
    relationships: dict[tuple[str, str], tuple[str, int]] = {}
    assert answer.endswith("<|COMPLETE|>")
    for raw in answer.removesuffix("<|COMPLETE|>").split("##"):
        if not raw.strip():
            continue
        fields = re.sub(r"^\(|\)$", "", raw.strip()).split("<|>")
        if fields[0] == '"entity"':
            _, name, kind, description = fields
            entities[name] = (kind, description)
        else:
            assert fields[0] == '"relationship"'
            _, source, target, description, strength = fields
            relationships[source, target] = (description, int(strength))
    return entities, relationships


def test_names_and_relationships(models: Models) -> None:
    entities, relationships = records(models.complete("extract_graph", {"text": HARBOUR, "entity_types": TYPES}))
    assert entities["Marta Lindqvist"][0] == "PERSON"
    assert "Lindqvist" not in entities and "Dr. Marta Lindqvist" not in entities
    assert entities["Harbour Authority of Vessby"][0] == "ORGANIZATION"
    assert entities["Great Fire"][0] == "EVENT"
    assert entities["Vessby"][0] == "GEO"
    assert "founded in 1891" in entities["Marta Lindqvist"][1]
    assert not any(re.search(r"\d|^the ", name, re.IGNORECASE) for name in entities)
    pairs = {frozenset(pair) for pair in relationships}
    assert frozenset(("Marta Lindqvist", "Harbour Authority of Vessby")) in pairs
    assert len(pairs) == len(relationships)
    assert all(source in entities and target in entities for source, target in relationships)
    assert all(1 <= strength <= 10 for _, strength in relationships.values())


def test_a_manual_gives_its_terms(models: Models) -> None:
    entities, _ = records(models.complete("extract_graph", {"text": MANUAL, "entity_types": TYPES}))
    assert entities["dependency graph"][0] == "CONCEPT"
    assert entities["dpkg"][0] == "CONCEPT"


def test_types_that_were_not_asked_for_are_left_out(models: Models) -> None:
    entities, _ = records(models.complete("extract_graph", {"text": HARBOUR, "entity_types": ["person"]}))
    assert {kind for kind, _ in entities.values()} <= {"PERSON", "CONCEPT"}


PORT = """The Alder Queen berthed at Gannet Wharf and landed container MRNU 480217 for Lindholm Freight Ltd. Viktor
Lindholm had booked it in Osterby. The container stood in Warehouse Nine; the fire began in the container. From Osterby
it had come by way of the fish quay. Judge Whitcombe led the inquiry into the fire. The inquiry heard Samuel Oakes of
Keystone Marine Surveyors.

Organisation: Tolland University; Remark: closed
"""


def test_names_say_what_they_name(models: Models) -> None:
    entities, _ = records(models.complete("extract_graph", {"text": PORT, "entity_types": TYPES}))
    kinds = {name: kind for name, (kind, _) in entities.items()}
    assert kinds["Gannet Wharf"] == kinds["Warehouse Nine"] == kinds["Osterby"] == "GEO"
    assert kinds["Lindholm Freight Ltd"] == kinds["Keystone Marine Surveyors"] == "ORGANIZATION"
    assert kinds["MRNU 480217"] == "CONCEPT"
    assert kinds["Viktor Lindholm"] == "PERSON"


def test_common_nouns_stand_back_where_there_are_names(models: Models) -> None:
    entities, _ = records(models.complete("extract_graph", {"text": PORT, "entity_types": TYPES}))
    assert not {"fire", "container", "inquiry", "Inquiry", "Organisation", "Remark"} & set(entities)


def test_a_unit_stays_within_its_bounds(models: Models) -> None:
    text = " ".join(
        f"Anna{c} Berg{c} met the Quartz{c} Company in Oslo with the {c} rescue team." for c in "abcdefghijklmnop"
    )
    entities, relationships = records(models.complete("extract_graph", {"text": text, "entity_types": TYPES}))
    assert 5 <= len(entities) <= 15
    assert len(relationships) <= 25


@pytest.mark.parametrize("text", ["", "   \n", "12 13 14\n|||", "…", "a"])
def test_text_without_names_gives_an_empty_graph(models: Models, text: str) -> None:
    assert models.complete("extract_graph", {"text": text, "entity_types": TYPES}) == "<|COMPLETE|>"


def test_every_stage_gives_the_same_bytes_again(models: Models) -> None:
    other = Models()
    report = {"entities": [{"title": "A", "description": "A is a town."}], "relationships": []}
    for name, inputs in (
        ("extract_graph", {"text": HARBOUR, "entity_types": TYPES}),
        ("summarize_descriptions", {"name": "pier", "descriptions": [HARBOUR, MANUAL], "max_length": 50}),
        ("community_report", report),
        ("answer", {"question": "Who rebuilt the pier?", "sources": [{"number": 1, "text": HARBOUR}]}),
    ):
        assert models.complete(name, inputs) == other.complete(name, inputs)


def test_a_summary_chooses_and_does_not_repeat(models: Models) -> None:
    descriptions = [
        "The northern pier is a steel pier in Vessby.",
        "The northern pier is a pier of steel in Vessby.",
        "It was rebuilt by Olaf Brandt after the Great Fire of 1903.",
        "Gulls are seen there in the winter months, when the fishing boats stay at home.",
    ]
    inputs = {"name": "NORTHERN PIER", "descriptions": descriptions, "max_length": 30}
    summary = models.complete("summarize_descriptions", inputs)
    assert len(summary.split()) <= 30
    assert summary.count("in Vessby") == 1
    assert all(sentence.text in " ".join(descriptions) for sentence in sentences(summary))


@pytest.mark.parametrize("descriptions", [["12"], ["the of"], []])
def test_a_summary_is_never_empty(models: Models, descriptions: list[str]) -> None:
    assert models.complete("summarize_descriptions", {"name": ["A", "B"], "descriptions": descriptions})


def entity(title: str, description: str, degree: int) -> dict[str, object]:
    return {"title": title, "type": "CONCEPT", "description": description, "degree": degree}


def relationship(source: str, target: str, description: str, weight: float) -> dict[str, object]:
    return {"source": source, "target": target, "description": description, "weight": weight}


def test_a_report_says_who_and_what(models: Models) -> None:
    inputs = {
        "entities": [
            entity("OLAF BRANDT", "Olaf Brandt is the chief engineer.", 3),
            entity("VESSBY", "Vessby is a harbour town in Sweden.", 1),
            entity("NORTHERN PIER", "The northern pier burned in 1903.", 2),
        ],
        "relationships": [
            relationship("OLAF BRANDT", "NORTHERN PIER", "Olaf Brandt rebuilt the northern pier.", 6),
            relationship("NORTHERN PIER", "VESSBY", "The northern pier lies in Vessby.", 2),
        ],
        "max_length": 300,
    }
    report = json.loads(models.complete("community_report", inputs))
    assert set(report) == {"title", "summary", "findings", "rating", "rating_explanation"}
    assert "Northern pier" in report["title"] and "Olaf Brandt" in report["title"]
    assert "rebuilt the northern pier" in report["summary"]
    assert report["findings"] and all(set(finding) == {"summary", "explanation"} for finding in report["findings"])
    assert 0 <= report["rating"] <= 10
    inputs["entities"][0]["type"] = "PERSON"  # type: ignore[index]
    assert json.loads(models.complete("community_report", inputs))["title"] == "Olaf Brandt"
    assert json.loads(models.complete("community_report", {"entities": [], "relationships": []}))["rating"] == 0


def test_a_report_on_noun_phrases_quotes_the_texts_that_name_them(models: Models) -> None:
    titles = ("OLAF BRANDT", "SIGNAL HOUSE", "NOWHERE FOUND")
    inputs = {
        "entities": [{"title": title, "type": "NOUN PHRASE", "degree": 2} for title in titles],
        "relationships": [{"source": "OLAF BRANDT", "target": "SIGNAL HOUSE", "weight": 0.01}],
        "texts": [
            "# Signal house\n\nOlaf Brandt kept the lamp burning through the storm of 1903. It rained.",
            "The crew of the cutter slept in the signal house until the morning came.",
        ],
    }
    report = json.loads(models.complete("community_report", inputs))
    assert report["title"].startswith("Olaf Brandt") and len(report["findings"]) == 2
    assert "Olaf Brandt kept the lamp burning through the storm of 1903." in report["findings"][0]["explanation"]
    assert "slept in the signal house" in report["findings"][1]["explanation"]
    given = {**inputs, "entities": [{**inputs["entities"][0], "description": "Olaf Brandt is a keeper of goats."}]}
    described = json.loads(models.complete("community_report", given))
    assert "keeper of goats" in json.dumps(described) and "storm of 1903" not in json.dumps(described)
    with pytest.raises(InputError):
        models.complete("community_report", {**inputs, "texts": [3.5, {}]})


def test_bad_inputs_are_named(models: Models) -> None:
    with pytest.raises(InputError, match="no stage 'translate'"):
        models.complete("translate", {})
    with pytest.raises(InputError, match="stage answer: sources"):
        models.complete("answer", {"question": "Who?"})


def test_sentences() -> None:
    text = "Dr. Brandt came at 5 p.m. on Monday, i.e. late. He left.\n\n5.3. Tools\n\n- first item\n- second\nitem\n"
    text += "| a | b |"
    assert [s.text for s in sentences(text)] == [
        "Dr. Brandt came at 5 p.m. on Monday, i.e. late.", "He left.", "Tools", "first item", "second item", "a, b",
    ]  # fmt: skip
    assert [s.is_heading for s in sentences("# Title\nText follows here.")] == [True, False]
    assert terms("It was founded, not found: /etc/apt/sources.list")[:2] == ["found", "find"]


# What the index remembers of the extractive model's answers. Where this fails, its answers have changed: raise
# STAGES_VERSION, so that nobody's index mixes remembered answers with new ones, and put the new digest here.
REMEMBERED = (2, "05dabf29d7155702")


def test_changed_answers_have_a_version_of_their_own(models: Models) -> None:
    rows = [entity("OLAF BRANDT", "Olaf Brandt is the chief engineer.", 3), entity("VESSBY", "Vessby is a town.", 1)]
    ties = [relationship("OLAF BRANDT", "VESSBY", "Olaf Brandt lives in Vessby.", 6)]
    answers = [
        *(models.complete("extract_graph", {"text": t, "entity_types": TYPES}) for t in (HARBOUR, MANUAL, PORT)),
        models.complete(
            "summarize_descriptions", {"name": "PIER", "descriptions": [HARBOUR, MANUAL], "max_length": 50}
        ),
        models.complete("community_report", {"entities": rows, "relationships": ties, "max_length": 300}),
    ]
    assert (STAGES_VERSION, content_hash(answers)[:16]) == REMEMBERED
    stage = Stage("extract_graph", {"text": "A", "entity_types": []})
    asked = ChatRequest("m", (Message("user", "A"),), stage=stage)
    assert asked.key != ChatRequest("m", (Message("user", "A"),)).key
