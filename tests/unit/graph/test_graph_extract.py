from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from fileintel.errors import ModelAnswerError, ModelRequestError, ModelServerError
from fileintel.graph.asking import ASKED_AGAIN
from fileintel.graph.extract import extract_graph, extraction_json, extraction_of
from fileintel.graph.structured import SCHEMA
from fileintel.model import EntityMention, Extraction, Message, RelationshipMention, Stage

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


def extract(chat, max_gleanings=0, staged=False, text="Alice lives in Bergen.", form="tuples"):
    return extract_graph(
        text, chat=chat, model="m", entity_types=TYPES, max_gleanings=max_gleanings, staged=staged, form=form
    )


def test_a_well_formed_answer_is_read_whole(chat):
    assert extract(chat(WELL_FORMED)) == FOUND


WEATHER = "I would rather talk about the weather."
MOSTLY_BROKEN = f'{ALICE}##("entity"<|>Bergen)##("relationship"<|>Alice<|>Bergen)##("place"<|>Oslo<|>A town.)'


@pytest.mark.parametrize("max_gleanings", [0, 1])
@pytest.mark.parametrize("answer", [WEATHER, "", "```json\n{}\n```", LIVES, "<think>Who is Alice? No entity"])
def test_two_answers_without_entity_and_end_mark_are_refused_with_what_was_said(chat, answer, max_gleanings):
    asked = chat(answer, f"{answer} Again.")
    with pytest.raises(ModelAnswerError, match="no entity and no end mark, also when asked again") as raised:
        extract(asked, max_gleanings)
    assert raised.value.raw == f"{answer}{ASKED_AGAIN}{answer} Again."
    # Nothing is gleaned from a text whose extraction failed.
    assert len(asked.requests) == 2


@pytest.mark.parametrize("answer", [WEATHER, "", LIVES, MOSTLY_BROKEN, ModelAnswerError("no text", raw="{}")])
def test_an_unusable_answer_is_asked_for_once_more_in_the_same_conversation(chat, answer):
    asked = chat(answer, WELL_FORMED)
    assert extract(asked) == FOUND
    first, again = (request.messages for request in asked.requests)
    assert again[:1] == first
    assert again[1] == Message("assistant", answer if isinstance(answer, str) and answer else "(no answer)")
    assert again[2].role == "user"
    assert asked.requests[0].key != asked.requests[1].key


def test_the_model_is_told_the_form_that_is_wanted_and_not_shown_a_long_answer_again(chat):
    asked = chat("blah " * 5000, WELL_FORMED)
    extract(asked)
    _, shown, correction = asked.requests[1].messages
    assert len(shown.content) == 2000
    assert '("entity"<|>NAME<|>TYPE<|>DESCRIPTION)' in correction.content
    assert "<|COMPLETE|> alone" in correction.content


def test_gleanings_go_on_from_the_corrected_answer(chat):
    asked = chat(WEATHER, WELL_FORMED, f"{BERGEN}\n<|COMPLETE|>")
    assert len(extract(asked, max_gleanings=1).entities) == 3
    said = [message.content for message in asked.requests[2].messages]
    assert said[1] == WELL_FORMED
    assert WEATHER not in said


@pytest.mark.parametrize(
    "nothing",
    [
        "No entities found.",
        "None",
        "N/A",
        "[]",
        "There are no entities of the given types in this text.",
        "I could not identify any people or places: the text doesn't mention them.",
        "Es wurden keine Entitäten gefunden.",
    ],
)
def test_that_nothing_was_found_may_be_said_in_words_twice(chat, nothing):
    asked = chat(nothing, nothing)
    assert extract(asked) == Extraction((), ())
    assert len(asked.requests) == 2
    assert extract(chat(nothing, "<|COMPLETE|>")) == Extraction((), ())
    assert extract(chat(nothing, WELL_FORMED)) == FOUND


@pytest.mark.parametrize(
    "nothing", ["No entities. " + " ".join(map(str, range(200))), '("person"<|>Alice<|>no relation found)']
)
def test_a_long_or_broken_answer_does_not_say_that_nothing_was_found(chat, nothing):
    with pytest.raises(ModelAnswerError):
        extract(chat(WEATHER, nothing))


@pytest.mark.parametrize("second", [WEATHER, "", MOSTLY_BROKEN])
def test_of_two_mostly_broken_answers_the_fuller_is_kept_and_what_it_lost_counted(chat, second):
    found = extract(chat(MOSTLY_BROKEN, second))
    assert [entity.title for entity in found.entities] == ["ALICE"]
    assert found.unreadable == 3


def test_a_few_broken_records_are_counted_and_not_asked_for_again(chat):
    asked = chat(f'{ALICE}##("entity"<|>cut off##{BERGEN}##{LIVES}##("relationship"<|>Alice')
    assert extract(asked) == replace(FOUND, unreadable=2)
    assert len(asked.requests) == 1


def test_an_answer_cut_off_at_its_length_is_counted(chat):
    class Short(chat):
        def complete(self, request):
            return replace(super().complete(request), finish_reason="length")

    assert extract(Short(WELL_FORMED.removesuffix("\n<|COMPLETE|>"))) == replace(FOUND, unreadable=1)
    assert extract(Short(WELL_FORMED)) == FOUND


def test_a_refused_second_question_keeps_the_first_answer(chat):
    with pytest.raises(ModelAnswerError, match="asked again, the prompt is too long") as raised:
        extract(chat(WEATHER, ModelRequestError("the prompt is too long")))
    assert raised.value.raw == WEATHER


def test_a_server_that_fails_at_the_second_question_is_no_bad_answer(chat):
    with pytest.raises(ModelServerError, match="busy"):
        extract(chat(WEATHER, ModelServerError("busy")))


def test_the_embedded_model_is_asked_once_since_it_would_say_the_same(chat):
    asked = chat(WEATHER)
    with pytest.raises(ModelAnswerError) as raised:
        extract(asked, staged=True)
    assert raised.value.raw == WEATHER


def test_thinking_and_endless_repetition_do_not_reach_the_next_question(chat):
    looping = f"<think>Hm.</think>\n{ALICE}\n##\n{BERGEN}\n##\n" + f"{LIVES}\n##\n" * 500
    asked = chat(looping, "<|COMPLETE|>")
    assert extract(asked, max_gleanings=1) == FOUND
    assert len(asked.requests[1].messages[1].content) < len(WELL_FORMED) + 20


AS_JSON = json.dumps(
    {
        "entities": [
            {"name": "Alice", "type": "person", "description": "Alice is the harbour master."},
            {"name": "Bergen", "type": "geo", "description": "A port."},
        ],
        "relationships": [
            {"source": "Alice", "target": "Bergen", "description": "Alice lives in Bergen.", "strength": 8}
        ],
    }
)
NOTHING_AS_JSON = '{"entities": [], "relationships": []}'


def test_json_is_asked_for_by_a_schema_with_graphrags_instructions(chat):
    from graphrag.prompts.index.extract_graph import GRAPH_EXTRACTION_PROMPT

    asked = chat(AS_JSON, NOTHING_AS_JSON, "Y", AS_JSON)
    text = "Alice {lives} in Bergen."
    found = extract(asked, max_gleanings=2, text=text, form="json")
    assert found == Extraction(FOUND.entities * 2, FOUND.relationships * 2)
    schemas = [request.json_schema for request in asked.requests]
    assert schemas == [SCHEMA, SCHEMA, None, SCHEMA]
    prompt = asked.requests[0].messages[0].content
    assert "<|>" not in prompt and "COMPLETE" not in prompt and "Example" not in prompt
    assert prompt.endswith(f"Entity_types: person,geo\nText: {text}\n######################\nOutput:")
    stock = [line for line in GRAPH_EXTRACTION_PROMPT.split("3. Return")[0].split("\n") if "Format each" not in line]
    assert [line.format(entity_types="person,geo") for line in stock if line.strip()] == [
        line for line in prompt.split("3. Answer")[0].split("\n") if line.strip()
    ]


def test_json_of_nothing_means_that_nothing_was_found(chat):
    asked = chat(NOTHING_AS_JSON)
    assert extract(asked, form="json") == Extraction((), ())
    assert len(asked.requests) == 1


def test_what_is_no_json_is_read_or_asked_for_again_as_json(chat):
    assert extract(chat(WELL_FORMED), form="json") == FOUND
    asked = chat(WEATHER, AS_JSON)
    assert extract(asked, form="json") == FOUND
    assert '{"name": string' in asked.requests[1].messages[2].content
    assert asked.requests[1].json_schema == SCHEMA


def test_the_embedded_model_is_never_asked_for_json(chat):
    asked = chat(WELL_FORMED)
    extract(asked, staged=True, form="json")
    assert asked.requests[0].json_schema is None
    assert "<|>" in asked.requests[0].messages[0].content


def test_an_end_mark_alone_means_that_nothing_was_found(chat):
    asked = chat("<|COMPLETE|>")
    assert extract(asked) == Extraction((), ())
    assert len(asked.requests) == 1


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


def test_an_extraction_survives_storage():
    for found in (FOUND, replace(FOUND, unreadable=3)):
        assert extraction_of(json.loads(json.dumps(extraction_json(found)))) == found
    assert "unreadable" not in extraction_json(FOUND)
