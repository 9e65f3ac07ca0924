from __future__ import annotations

import logging

import pytest

from fileintel.errors import ModelAnswerError, ModelServerError
from fileintel.graph.asking import ASKED_AGAIN
from fileintel.graph.graphrag_model import GraphRagModel, drive
from fileintel.graph.summarize import summarize_descriptions
from fileintel.llm.tokens import Tokenizer
from fileintel.model import Stage


def summarize(chat, descriptions, name="ALICE", max_input_tokens=4000, staged=False):
    return summarize_descriptions(
        name,
        descriptions,
        chat=chat,
        model="m",
        tokenizer=Tokenizer(),
        max_length=50,
        max_input_tokens=max_input_tokens,
        staged=staged,
    )


def test_short_descriptions_take_one_call(chat):
    asked = chat("  Both.\n")
    assert summarize(asked, ["b said", "a said"]) == "Both."
    (request,) = asked.requests
    assert '["a said", "b said"]' in request.messages[0].content
    assert '"ALICE"' in request.messages[0].content
    assert request.stage is None


def test_a_relationship_is_named_by_its_ends_in_their_order(chat):
    asked = chat("Both.")
    summarize(asked, ["x", "y"], name=("ZOE", "ALICE"))
    assert '["ZOE", "ALICE"]' in asked.requests[0].messages[0].content


def test_long_descriptions_are_summarized_in_rounds_that_carry_on_the_last_summary(chat):
    descriptions = [f"{number:02} " + "says a word about the harbour " * 20 for number in range(12)]
    asked = chat(rule=lambda request: f"round {len(asked.requests)}")
    assert summarize(asked, descriptions, max_input_tokens=700) == f"round {len(asked.requests)}"
    assert len(asked.requests) > 2
    prompts = [request.messages[0].content for request in asked.requests]
    assert all(f"round {number}" in prompt for number, prompt in enumerate(prompts[1:], 1))
    for number in range(12):
        assert sum(f'"{number:02} says' in prompt for prompt in prompts) == 1
    assert all(Tokenizer().count(prompt) < 1000 for prompt in prompts)


def test_staged_takes_one_call_whatever_the_length(chat):
    descriptions = [f"{number:02} " + "says a word about the harbour " * 20 for number in range(12)]
    asked = chat("Both.")
    summarize(asked, descriptions, name=("A", "B"), max_input_tokens=700, staged=True)
    (request,) = asked.requests
    inputs = {"name": ["A", "B"], "descriptions": descriptions, "max_length": 50}
    assert request.stage == Stage("summarize_descriptions", inputs)


@pytest.mark.parametrize("answer", ["", " \n", "<think>Alice, Alice… what was she", "```\n```", '""'])
def test_an_answer_without_text_is_asked_for_once_more_and_then_refused(chat, answer):
    asked = chat(answer, "Both.")
    assert summarize(asked, ["a", "b"]) == "Both."
    assert asked.requests[1].messages[0] == asked.requests[0].messages[0]
    with pytest.raises(ModelAnswerError, match="summary is empty, also when asked again") as raised:
        summarize(chat(answer, answer), ["a", "b"])
    assert raised.value.raw == f"{answer}{ASKED_AGAIN}{answer}"


@pytest.mark.parametrize(
    "answer",
    [
        "<think>Hm, <b>two</b> of them.</think>\n\nBoth said it.",
        "Let me see.\n</think>\nBoth said it.",
        "<|channel|>analysis<|message|>Two.<|end|><|start|>assistant<|channel|>final<|message|>Both said it.<|return|>",
        "```\nBoth said it.\n```",
        "```text\nBoth said it.```",
        '"Both said it."',
        "“Both said it.”",
        '```json\n{"description": "Both said it."}\n```',
    ],
)
def test_what_stands_around_a_summary_is_left_out(chat, answer):
    assert summarize(chat(answer), ["a", "b"]) == "Both said it."


@pytest.mark.parametrize(
    "answer",
    [
        '"Yes," said both, "it is."',
        "Use ```code``` here.",
        "Both said a<b, and </think is no tag.",
        '{"one": "a", "two": "b"}',
        "{not JSON}",
        "Ha, ha, ha, ha, ha, ha, ha!",
    ],
)
def test_what_belongs_to_a_summary_stays(chat, answer):
    assert summarize(chat(answer), ["a", "b"]) == answer


def test_endless_repetition_is_cut_to_its_first_round(chat):
    sentence = "The harbour belongs to Alice, who has run it for years. "
    summary = summarize(chat("She is known. " + sentence * 400 + sentence[:20]), ["a", "b"])
    assert summary.startswith("She is known. The harbour belongs to Alice, who has run it for")
    assert len(summary) <= len("She is known. " + sentence)


def test_errors_of_the_chat_model_are_raised_and_not_logged(chat, caplog):
    error = ModelServerError("busy")
    with caplog.at_level(logging.DEBUG), pytest.raises(ModelServerError) as raised:
        summarize(chat(error), ["a", "b"])
    assert raised.value is error
    assert not caplog.records


# --- the model object and its driver ---------------------------------------------------------


class Pause:
    def __await__(self):
        yield


async def suspending():
    await Pause()


async def adding(one, other):
    return one + other


async def failing():
    raise KeyError("gone")


def test_drive_runs_to_the_end_and_returns_the_result():
    assert drive(adding(1, 2)) == 3


def test_drive_raises_what_the_coroutine_raises():
    with pytest.raises(KeyError, match="gone"):
        drive(failing())


def test_drive_refuses_a_coroutine_that_suspends_and_closes_it():
    coroutine = suspending()
    with pytest.raises(RuntimeError, match="must block"):
        drive(coroutine)
    assert coroutine.cr_frame is None


def test_the_model_takes_a_prompt_or_messages_and_ignores_what_it_does_not_know(chat):
    asked = chat("one", "two")
    model = GraphRagModel(asked, "m", stage=None)
    assert drive(model.completion_async(messages="hello", temperature=1)).content == "one"
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert drive(model.completion_async(messages=messages)).formatted_response is None
    assert [[(m.role, m.content) for m in request.messages] for request in asked.requests] == [
        [("user", "hello")],
        [("system", "s"), ("user", "u")],
    ]


def test_the_chat_models_error_passes_those_who_catch_exceptions(chat):
    error = ModelServerError("busy")

    async def swallowing():
        try:
            return await GraphRagModel(chat(error), "m", stage=None).completion_async(messages="hello")
        except Exception:
            return "swallowed"

    with pytest.raises(ModelServerError) as raised:
        drive(swallowing())
    assert raised.value is error


def test_graphrag_counts_with_our_tokenizer(chat):
    tokenizer = Tokenizer()
    model = GraphRagModel(chat(), "m", stage=None, tokenizer=tokenizer)
    assert model.tokenizer.num_tokens("a harbour") == tokenizer.count("a harbour")
    assert model.tokenizer.decode(model.tokenizer.encode("a harbour")) == "a harbour"
