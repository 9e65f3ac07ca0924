"""Finding the words of a source that bear out a statement."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”’]*|\n\s*\n|\n(?=\s*(?:[-*•#|–]|\d{1,3}[.)])\s)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|Nr|Fig|Vol|pp|vs|cf|al|approx|ca|Inc|Ltd|Co|Corp|e\.g|i\.e|z\.B)"
    r"|\bd\.h)$"
)
_QUOTED = re.compile(r"“([^”]{8,})”|\"([^\"]{8,})\"|«([^»]{8,})»|„([^“”]{8,})[“”]")
_STOP_MARKS = re.compile(r"[.!?…。！？]+[\"'”’»)]*")
_BRACKETS = {")": "(", "]": "[", "}": "{", "）": "（", "］": "［"}
_LONGEST = 400
_WORTH_A_SENTENCE = 0.2  # what a second sentence must add to be quoted too
_SHORTEST_EXACT = 3
_STEM = 6
_STOP_WORDS = """
    a an and are as at be been but by for from had has have he her his in into is it its no not of on or she
    so such that the their them then there these they this those to was were which while who whom will with
    would
"""
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Quote:
    """A stretch of a source's text, `start` to `end`, and how well it bears out the statement (0 to 1)."""

    start: int
    end: int
    support: float


def sentences(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence without the white space around it, none longer than 400 characters."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if _ends_abbreviated(text, start, match):
            continue
        spans += _pieces(text, start, match.end())
        start = match.end()
    return spans + _pieces(text, start, len(text))


def _ends_abbreviated(text: str, start: int, match: re.Match[str]) -> bool:
    return match.group() == "." and bool(_ABBREVIATION.search(text[max(start, match.start() - 8) : match.start()]))


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Cut what has no sentence ends (tables, lists) at line breaks, else at spaces."""
    spans = []
    while end - start > _LONGEST:
        at = max(text.rfind("\n", start + 1, start + _LONGEST), -1)
        if at < start + _LONGEST // 4:
            at = text.rfind(" ", start + 1, start + _LONGEST)
        if at <= start:
            at = start + _LONGEST
        spans.append((start, at))
        start = at
    spans.append((start, end))
    trimmed = []
    for low, high in spans:
        piece = text[low:high]
        low += len(piece) - len(piece.lstrip())
        high -= len(piece) - len(piece.rstrip())
        if low < high:
            trimmed.append((low, high))
    return trimmed


def words(text: str) -> list[str]:
    """Return the text's words in lower case (each CJK character is one)."""
    return _WORD.findall(text.casefold())


def _terms(text: str) -> set[str]:
    return {word[:_STEM] for word in words(text) if word not in _STOP}


class QuoteFinder:
    """Finds quotes in one text; what it learns of the text serves all statements put to it."""

    def __init__(self, text: str) -> None:
        self._text = text
        matches = list(_WORD.finditer(text))
        self._words = [match.group().casefold() for match in matches]
        self._places = [match.span() for match in matches]
        self._sentences = sentences(text)
        self._terms = [_terms(text[start:end]) for start, end in self._sentences]

    def exact(self, statement: str) -> Quote | None:
        """Return where the very words of the statement stand in the text; None when they don't, or are few."""
        span = self._exact(statement)
        return None if span is None else Quote(*span, support=1.0)

    def find(self, statement: str) -> Quote | None:
        """Return the part of the text that best bears out the statement; None when the text has no sentence.

        The very words if the statement quotes them or repeats the text, else the one or two neighbouring sentences
        that share the most of the statement's telling words. Without any shared word: the first sentence, support 0.
        """
        quoted = [next(group for group in groups if group) for groups in _QUOTED.findall(statement)]
        for candidate in (*quoted, statement):
            if (span := self._exact(candidate)) is not None:
                return Quote(*span, support=1.0)
        spans = self._sentences
        if not spans:
            return None
        wanted = _terms(statement)
        found = [terms & wanted for terms in self._terms]
        held_by = Counter(term for terms in found for term in terms)
        # A word that stands in few sentences says more about which one is meant.
        weight = {term: math.log(1 + len(spans) / (held_by[term] or 1)) for term in wanted}
        total = sum(weight.values()) or 1.0

        def support(terms: set[str]) -> float:
            # Sorted, so that equal sets give equal sums.
            return sum(weight[term] for term in sorted(terms)) / total

        best = max(range(len(spans)), key=lambda i: (support(found[i]), -i))
        alone = support(found[best])
        quote = Quote(*spans[best], support=alone)
        for low, high in ((best - 1, best), (best, best + 1)):
            if low < 0 or high >= len(spans) or spans[high][1] - spans[low][0] > _LONGEST:
                continue
            both = support(found[low] | found[high])
            if both >= max(quote.support, alone + _WORTH_A_SENTENCE):
                quote = Quote(spans[low][0], spans[high][1], both)
        return quote

    def _exact(self, statement: str) -> tuple[int, int] | None:
        """Where the statement's words stand in the text in the same order, whatever the punctuation between them."""
        wanted = words(statement)
        if len(wanted) < _SHORTEST_EXACT:
            return None
        at = -1
        while True:
            try:
                at = self._words.index(wanted[0], at + 1)
            except ValueError:
                return None
            if self._words[at : at + len(wanted)] == wanted:
                return _with_ends(self._text, self._places[at][0], self._places[at + len(wanted) - 1][1])


def _with_ends(text: str, start: int, end: int) -> tuple[int, int]:
    """The stretch with what belongs to its words at both ends: the brackets that it opens or closes, the full stop."""
    end = _closed(text, start, end)
    if (stop := _STOP_MARKS.match(text, end)) is not None:
        end = _closed(text, start, stop.end())
    for closing, opening in _BRACKETS.items():
        if text.count(closing, start, end) > text.count(opening, start, end) and text[:start].endswith(opening):
            start -= 1
    return start, end


def _closed(text: str, start: int, end: int) -> int:
    """The end after the brackets that close what was opened since `start`."""
    while end < len(text) and (opening := _BRACKETS.get(text[end])) is not None:
        if text.count(opening, start, end) <= text.count(text[end], start, end):
            break
        end += 1
    return end
