"""Reading JSON out of what a model wrote around it."""

from __future__ import annotations

import json
import re
from typing import Any

from fileintel.errors import ModelAnswerError

LONGEST_ANSWER = 60_000
_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)


def read_json(answer: str, what: str) -> Any:
    """Return the first JSON value of the answer; raises ModelAnswerError, calling the answer `what`.

    Reads JSON inside fences, prose or reasoning, and JSON slightly broken or cut off.
    """
    text = _THINKING.sub("", answer).strip()
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    # Repairing what is lost in brackets takes long, and this runs on the gevent hub.
    if not starts or len(text) > LONGEST_ANSWER:
        raise ModelAnswerError(f"the {what} is not JSON", raw=answer[:2000])
    text = text[min(starts) :]
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (json.JSONDecodeError, RecursionError):
        # Imported here: only broken answers need it.
        from json_repair import repair_json

    try:
        return repair_json(text, return_objects=True, skip_json_loads=True)
    except ValueError as error:
        raise ModelAnswerError(f"the {what} is not JSON and cannot be repaired", raw=answer[:2000]) from error


def read_object(answer: str, what: str) -> dict[str, Any]:
    """Return the first JSON object of the answer; raises ModelAnswerError as `read_json` does, and for other values."""
    data = read_json(answer, what)
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        raise ModelAnswerError(f"the {what} is no JSON object", raw=answer[:2000])
    return data


def score_of(value: object, highest: int) -> int | None:
    """Return the score a model gave ("70", 70.4, "70%") as a whole number from 0 to `highest`; None when it is none."""
    try:
        score = round(float(str(value).strip().removesuffix("%")))
    except (ValueError, OverflowError):  # no number, or NaN or infinity
        return None
    return min(max(score, 0), highest)
