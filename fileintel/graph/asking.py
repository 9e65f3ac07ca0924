"""Asking a model, and once more in the same conversation when its answer cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from fileintel.errors import ModelAnswerError, ModelRequestError
from fileintel.model import ChatAnswer, ChatRequest, Message
from fileintel.protocols import ChatModel

T = TypeVar("T")

# How much of an unusable answer the model is shown again: enough to know what it did.
_SHOWN_CHARACTERS = 2000
# How much of each is kept with a failed item.
_KEPT_CHARACTERS = 9000
ASKED_AGAIN = "\n=== asked again ===\n"
NO_TEXT = "Your answer held no text. Answer now, directly, in the form that was asked for."


class UnusableError(ModelAnswerError):
    """An answer that cannot be used; `correction` tells the model what was wrong and what is wanted."""

    def __init__(self, message: str, *, raw: str, correction: str) -> None:
        super().__init__(message, raw=raw)
        self.correction = correction


def ask(chat: ChatModel, request: ChatRequest, read: Callable[[ChatAnswer, bool], T]) -> T:
    """Return what `read` makes of the answer, or of the answer to one corrective question.

    `read` is given an answer and whether it is the second, and raises UnusableError. An embedded model, which works
    from the stage, is asked once, since it would say the same.
    Raises the chat model's errors, and ModelAnswerError with both answers when neither can be used.
    """
    answer = None
    try:
        answer = chat.complete(request)
        return read(answer, False)
    except ModelAnswerError as error:
        if request.stage is not None:
            raise ModelAnswerError(str(error), raw=error.raw) from error
        first = error
    correction = first.correction if isinstance(first, UnusableError) else NO_TEXT
    said = "" if answer is None else answer.content.strip()
    # Chat templates refuse an empty message as well as two of the same role in a row.
    shown = said[:_SHOWN_CHARACTERS] or "(no answer)"
    again = replace(request, messages=(*request.messages, Message("assistant", shown), Message("user", correction)))
    try:
        return read(chat.complete(again), True)
    except ModelRequestError as error:
        raise ModelAnswerError(f"{first}; asked again, {error}", raw=first.raw) from error
    except ModelAnswerError as error:
        raw = first.raw[:_KEPT_CHARACTERS] + ASKED_AGAIN + error.raw[:_KEPT_CHARACTERS]
        raise ModelAnswerError(f"{error}, also when asked again", raw=raw) from error
