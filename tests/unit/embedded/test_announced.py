from __future__ import annotations

import threading

import pytest

from fileintel.embedded import model_servers
from fileintel.embedded.model_servers import announced, failing


def test_each_error_is_said_once_and_the_end_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_servers, "LOOK_SECONDS", 0.001)
    looks = iter([[], ["chat away"], ["chat away"], None, ["chat away", "embedding away"], ["embedding away"], [], []])
    said: list[str] = []
    done = threading.Event()

    def look() -> list[str] | None:
        try:
            return next(looks)
        except StopIteration:
            done.set()
            return []

    with announced(look, said.append):
        assert done.wait(60)
    assert said == ["warning: chat away", "warning: embedding away", "the model servers answer again"]


def test_an_api_that_does_not_answer_tells_nothing() -> None:
    assert failing("127.0.0.1", 1, "key") is None
