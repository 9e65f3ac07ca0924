"""What a model really said: its answer without thinking, fences and endless repetition; cheap enough for a hub."""

from __future__ import annotations

import re

# No answer to one of our prompts is longer: what goes on beyond has lost its way.
MOST_CHARACTERS = 120_000
# Shorter or rarer repetition is a table's rule or a refrain, not a model that cannot stop.
_FEWEST_REPEATS = 5
_SHORTEST_REPETITION = 300
# The second finds loops whose end is a run of one character, such as indentation.
_PROBES = (32, 256)

_THOUGHT = re.compile(r"\s*<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
# Chat templates that open the block themselves leave only its end in the answer, on a line's end.
_THOUGHT_END = re.compile(r"</(?:think|thinking|thought|reasoning)>[ \t]*(?=\n|\Z)")
# gpt-oss through a server that does not take its channels apart.
_FINAL_CHANNEL = "<|channel|>final<|message|>"
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "'": "'", "‘": "’"}


def spoken(answer: str) -> str:
    """Return the answer without what the model thought aloud before it; an unfinished thought leaves nothing."""
    if "<" not in answer:
        return answer
    if _FINAL_CHANNEL in answer:
        return answer.rpartition(_FINAL_CHANNEL)[2].removesuffix("<|return|>")
    thought = _THOUGHT.match(answer)
    if thought is not None:
        return answer[thought.end() :]
    if "</" in answer:
        ended = _THOUGHT_END.search(answer)
        if ended is not None:
            return answer[ended.end() :]
    return answer


def without_repetition(answer: str) -> str:
    """Return the answer with the repetition it ends in cut down to its first round.

    A repetition is a stretch of any length that stands at least five times and over 300 characters in a row, the last
    one perhaps unfinished.
    """
    length = len(answer)
    for probe in _PROBES:
        if length < probe + 2:
            break
        at = answer.rfind(answer[-probe:], 0, length - 1)
        if at < 0:
            break
        period = length - probe - at
        # Where the text begins to equal itself one period later: true of every place after the first.
        low, high = 0, length - period
        while low < high:
            middle = (low + high) // 2
            if answer[middle : length - period] == answer[middle + period :]:
                high = middle
            else:
                low = middle + 1
        if length - low >= max(_FEWEST_REPEATS * period, _SHORTEST_REPETITION):
            return answer[: low + period]
    return answer


def unwrapped(answer: str) -> str:
    """Return a text answer without the fence or the one pair of quotes that stands around all of it."""
    text = answer.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text.partition("\n")[2][:-3].strip()
    closing = _QUOTES.get(text[:1])
    if closing is not None and len(text) > 1 and text.endswith(closing):
        inner = text[1:-1]
        if text[0] not in inner and closing not in inner:
            text = inner.strip()
    return text
