from __future__ import annotations

import json
import logging

import pytest

from fileintel.errors import ModelAnswerError, ModelRequestError, ModelServerError
from fileintel.graph.extract import LONGEST_TITLE, extract_graph, extraction_json, extraction_of, read_records
from fileintel.model import EntityMention, Extraction, RelationshipMention, Stage

TYPES = ["person", "geo"]
ALICE = '("entity"<|>alice<|>person<|>Alice is the harbour master.)'
BERGEN = '("entity"<|>Bergen<|>geo<|>A port.)'
LIVES = '("relationship"<|>Alice<|>Bergen<|>Alice lives in Bergen.<|>8)'
WELL_FORMED = f"{ALICE}\n##\n{BERGEN}\n##\n{LIVES}\n<|COMPLETE|>"
FOUND = Extraction(
    entities=(
        EntityMention("ALICE", "PERSON", "Alice is the harbour master."),
        EntityMention("BERGEN", "GEO", "A port."),
    ),
    relationships=(RelationshipMention("ALICE", "BERGEN", "Alice lives in Bergen.", 8.0),),
)


def extract(chat, max_gleanings=0, staged=False, text="Alice lives in Bergen."):
    return extract_graph(text, chat=chat, model="m", entity_types=TYPES, max_gleanings=max_gleanings, staged=staged)


def test_a_well_formed_answer_is_read_whole(chat):
    assert extract(chat(WELL_FORMED)) == FOUND


@pytest.mark.parametrize(
    "answer",
    [
        f"```\n{WELL_FORMED}\n```",
        f"```text\n{ALICE}\n##\n{BERGEN}\n##\n{LIVES}\n```",
        f"Here they are:\n\n{WELL_FORMED}",
        f"{ALICE}\n{BERGEN}\n{LIVES}\n<|COMPLETE|>",
        f"{ALICE}##{BERGEN}##{LIVES}##<|COMPLETE|>",
        f'{ALICE}##("entity"<|>cut off##{BERGEN}##{LIVES}##("relationship"<|>Alice',
    ],
    ids=["fenced", "fenced, no end mark", "prose before", "no borders", "end mark apart", "broken records"],
)
def test_what_local_models_break_is_mended(chat, answer):
    assert extract(chat(answer)) == FOUND


@pytest.mark.parametrize("max_gleanings", [0, 1])
@pytest.mark.parametrize("answer", ["I would rather talk about the weather.", "", "```json\n{}\n```", LIVES])
def test_an_answer_without_entity_and_end_mark_is_refused_with_what_was_said(chat, answer, max_gleanings):
    # The end mark of a gleaning says nothing about the first answer.
    with pytest.raises(ModelAnswerError) as raised:
        extract(chat(answer, "<|COMPLETE|>"), max_gleanings)
    assert answer in raised.value.raw


def test_an_end_mark_alone_means_that_nothing_was_found(chat):
    assert extract(chat("<|COMPLETE|>")) == Extraction((), ())


@pytest.mark.parametrize("error", [ModelServerError("busy"), ModelRequestError("too long"), RuntimeError("a bug")])
@pytest.mark.parametrize("before", [[], [WELL_FORMED]], ids=["first call", "gleaning"])
def test_errors_of_the_chat_model_are_raised_and_not_logged(chat, error, before, caplog):
    asked = chat(*before, error)
    with caplog.at_level(logging.DEBUG), pytest.raises(type(error)) as raised:
        extract(asked, max_gleanings=3)
    assert raised.value is error
    assert len(asked.requests) == len(before) + 1
    assert not caplog.records


@pytest.mark.parametrize(
    ("max_gleanings", "said", "calls"),
    [
        (0, [], 1),
        (1, ["g"], 2),
        (2, ["g", "N"], 3),
        (2, ["g", "Y", "g"], 4),
        (3, ["g", "Y", "g", "N"], 5),
        (3, ["g", "Y", "g", "Y", "g"], 6),
    ],
)
def test_gleanings_go_on_as_long_as_the_model_says_yes(chat, max_gleanings, said, calls):
    asked = chat(WELL_FORMED, *(f"{BERGEN}\n<|COMPLETE|>" if word == "g" else word for word in said))
    found = extract(asked, max_gleanings)
    assert len(asked.requests) == calls
    # The first record after an end mark counts as well.
    assert len(found.entities) == 2 + said.count("g")
    assert found.relationships == FOUND.relationships


def test_staged_sends_the_stage_and_unstaged_none(chat):
    text = "  Alice lives in Bergen.\n"
    asked = chat(WELL_FORMED, WELL_FORMED)
    extract(asked, text=text, staged=True)
    extract(asked, text=text)
    assert asked.requests[0].stage == Stage("extract_graph", {"text": text.strip(), "entity_types": TYPES})
    assert asked.requests[1].stage is None
    assert asked.requests[0].messages == asked.requests[1].messages
    assert asked.requests[0].key != asked.requests[1].key


@pytest.mark.parametrize(
    ("strength", "weight"),
    [
        ("7", 7.0),
        (" 2.5 ", 2.5),
        ("strong", 1.0),
        ("", 1.0),
        ("nan", 1.0),
        ("inf", 1.0),
        ("1e300", 1.0),
        ("-5", 1.0),
        ("0", 0.0),
    ],
)
def test_a_strength_that_cannot_be_clustered_is_one(strength, weight):
    (related,) = read_records(f'("relationship"<|>A<|>B<|>d<|>{strength})').relationships
    assert related.weight == weight


def test_nameless_and_endless_titles_are_left_out():
    endless = "X" * (LONGEST_TITLE + 1)
    answer = "##".join(
        [
            '("entity"<|> <|>GEO<|>d)',
            f'("entity"<|>{endless}<|>GEO<|>d)',
            '("relationship"<|>A<|><|>d<|>1)',
            f'("relationship"<|>{endless}<|>B<|>d<|>1)',
        ]
    )
    assert read_records(answer) == Extraction((), ())


def test_control_characters_and_html_escapes_are_cleaned():
    (entity,) = read_records('("entity"<|>R&amp;D\x00<|>geo<|>über\x07 "alles" \u6f22)').entities
    assert entity == EntityMention("R&D", "GEO", 'über "alles" \u6f22')


def test_an_extraction_survives_storage():
    assert extraction_of(json.loads(json.dumps(extraction_json(FOUND)))) == FOUND
