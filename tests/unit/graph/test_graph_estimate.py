from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from fileintel.errors import ModelAnswerError
from fileintel.graph.estimate import (
    DEFAULTS,
    EXTRACT,
    REPORT,
    SUMMARIZE,
    Measured,
    Rate,
    StepEstimate,
    Tally,
    asks_confirmation,
    estimate,
    extraction_further_calls,
    ratios,
    step_estimate,
)
from fileintel.graph.extract import extract_graph
from fileintel.graph.rehearsal import PIECE, rehearse
from fileintel.model import ChatAnswer, ChatRequest, Message


def step(calls: int, remembered: int, tokens_in: int = 0, tokens_out: int = 0) -> StepEstimate:
    return StepEstimate(EXTRACT, calls, remembered, tokens_in, tokens_out, True, "")


def test_steps_add_up_and_prices_are_per_million() -> None:
    steps = [step(10, 4, 2_000_000, 500_000), step(5, 5)]
    found = estimate(steps, price_input=0.5, price_output=2.0, rate=Rate(3.0, "measured"))
    assert (found.calls, found.remembered, found.to_make) == (15, 9, 6)
    assert found.cost == pytest.approx(2.0) and found.seconds == pytest.approx(2.0)


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    found = estimate([step(10, 4, 100, 100)], price_input=0.0, price_output=0.0, rate=None)
    assert found.cost is None and found.seconds is None
    free = estimate([step(4, 4)], price_input=0.0, price_output=0.0, rate=None)
    assert free.seconds == 0.0


def test_ratios_take_from_defaults_what_no_build_measured() -> None:
    measured = {EXTRACT: Measured(10, 10, 10, 20_000, 4_000), REPORT: Measured(10, 0, 5, 0, 0)}
    found = ratios(measured, "run 3", DEFAULTS)
    assert found.calls_per_unit[EXTRACT] == 2.0 and found.calls_per_unit[REPORT] == 0.5
    assert found.tokens_in[EXTRACT] == 2_000.0 and found.tokens_out[EXTRACT] == 400.0
    assert found.tokens_in[REPORT] == DEFAULTS.tokens_in[REPORT]
    assert found.calls_per_unit[SUMMARIZE] == DEFAULTS.calls_per_unit[SUMMARIZE]
    assert found.source == "run 3"


def test_units_not_extracted_bring_calls_by_ratio_and_make_a_step_inexact() -> None:
    known = ratios({REPORT: Measured(10, 5, 0, 5_000, 1_000)}, "run 3", DEFAULTS)
    exact = step_estimate(REPORT, Tally(7, 2.0, 900.0, [100] * 7), known, basis="graph")
    assert (exact.calls, exact.remembered, exact.to_make, exact.exact) == (9, 7, 2, True)
    assert (exact.tokens_in, exact.tokens_out) == (900, 200)
    more = step_estimate(REPORT, Tally(7, 2.0, 900.0, []), known, unknown_units=20, basis="graph")
    assert (more.to_make, more.exact) == (12, False) and "run 3" in more.basis
    assert (more.tokens_in, more.tokens_out) == (900 + 10_000, 12 * 200)


def test_a_sample_is_blown_up_and_is_no_exact_count() -> None:
    found = step_estimate(EXTRACT, Tally(3, 5.0, 50.0, []), DEFAULTS, scale=4.0, basis="sample")
    assert (found.calls, found.remembered, found.tokens_in, found.exact) == (32, 12, 200, False)


@pytest.mark.parametrize(
    ("gleanings", "mean", "further"), [(0, 3.0, 0.0), (1, None, 1.0), (1, 1.5, 0.5), (2, 2.5, 1.5), (3, None, 2.0)]
)
def test_calls_beside_the_first(gleanings: int, mean: float | None, further: float) -> None:
    few = ratios({EXTRACT: Measured(10, 10, 0, 1, 1)}, "", DEFAULTS)
    assert extraction_further_calls(EXTRACT, gleanings, mean, few) == further


def test_thresholds() -> None:
    def ask(**more: Any) -> str | None:
        given: dict[str, Any] = {"above_calls": 0, "above_cost": 0.0, "unread": 0, **more}
        return asks_confirmation(100, 5.0, **given)

    assert ask() is None and ask(unread=3) is None
    assert ask(above_calls=100) is None and "100" in str(ask(above_calls=99))
    assert ask(above_cost=5.0) is None and "5.00" in str(ask(above_cost=4.9))
    assert "3 documents" in str(ask(above_calls=1000, unread=3))


# --- rehearsal


class Memo:
    """Remembers what it is told and counts how often it is asked."""

    def __init__(self) -> None:
        self.held: dict[str, ChatAnswer] = {}
        self.lookups: list[int] = []

    def __call__(self, keys: Sequence[str]) -> dict[str, ChatAnswer]:
        self.lookups.append(len(keys))
        return {key: self.held[key] for key in keys if key in self.held}


def request(text: str) -> ChatRequest:
    return ChatRequest("m", (Message("user", text),))


def two_calls(chat: Any, *, name: str) -> str:
    first = chat.complete(request(name)).content
    return str(chat.complete(request(name + first)).content)


def test_a_rehearsal_finds_the_first_call_that_is_not_remembered() -> None:
    memo = Memo()
    for name in ("done", "half"):
        memo.held[request(name).key] = ChatAnswer("+", tokens_out=3)
    memo.held[request("done+").key] = ChatAnswer("end")
    done, half, new = rehearse([partial(two_calls, name=name) for name in ("done", "half", "new")], memo)
    assert done.done and done.result == "end" and len(done.answers) == 2
    assert not half.done and half.asked == request("half+") and [a.tokens_out for a in half.answers] == [3]
    assert not new.done and new.asked == request("new") and new.answers == ()


def test_lookups_are_few_and_set_based() -> None:
    memo = Memo()
    found = list(rehearse([partial(two_calls, name=str(n)) for n in range(2 * PIECE + 1)], memo))
    assert len(found) == 2 * PIECE + 1 and memo.lookups == [PIECE, PIECE, 1]


def test_remembered_answers_that_cannot_be_used_are_asked_anew() -> None:
    def unusable(chat: Any) -> str:
        raise ModelAnswerError("no form")

    [found] = rehearse([unusable], Memo())
    assert not found.done and found.asked is None and found.answers == ()


def test_the_requests_rehearsed_are_those_of_the_engine() -> None:
    class Asking:
        def __init__(self) -> None:
            self.keys: list[str] = []

        def complete(self, asked: ChatRequest) -> ChatAnswer:
            self.keys.append(asked.key)
            return ChatAnswer('("entity"<|>ALICE<|>PERSON<|>Alice)##<|COMPLETE|>', tokens_out=9)

        def stream(self, asked: ChatRequest) -> Any:
            raise NotImplementedError

    def work(chat: Any) -> Any:
        return extract_graph(
            "Alice knows Bob.", chat=chat, model="m", entity_types=["person"], max_gleanings=1, staged=False
        )

    asking, memo = Asking(), Memo()
    result = work(asking)
    memo.held = {asking.keys[0]: ChatAnswer('("entity"<|>ALICE<|>PERSON<|>Alice)##<|COMPLETE|>')}
    [half] = rehearse([work], memo)
    assert half.asked is not None and half.asked.key == asking.keys[1] and len(half.answers) == 1
    memo.held[asking.keys[1]] = memo.held[asking.keys[0]]
    [whole] = rehearse([work], memo)
    assert whole.result == result
