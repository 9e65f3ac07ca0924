"""Answers by quoting: the sentences of the sources that bear a question out, with their marks, or a refusal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fileintel.llm.embedded import REFUSAL
from fileintel.llm.embedded.evidence import Candidate, Evidence, Source, gather
from fileintel.llm.embedded.language import Reader, terms, tidy
from fileintel.llm.embedded.minilm import MiniLM
from fileintel.llm.embedded.question import Question, Term, understand

# Below any of these the evidence is too weak; found on questions about real manuals, answerable and not.
MIN_CLAIM = 0.45
MIN_MEANING = 0.20
MIN_BOTH = 1.00
MIN_BOTH_PLAIN = 0.92  # where a number, a date or whatever else shows plainly is asked for and there
_MAX_QUOTES = 3
_CLOSE = 0.9  # of the best sentence's score, for another one to carry the answer with it
_NEARLY = 0.75  # of the best sentence's score, for another one to be quoted beside it
_MORE = 1  # sentences that may follow the one that was found
_MAX_PASSAGE = 400  # characters up to which they may
_ENDED = re.compile(r"[.!?…][\"'”’)\]]*$")
_MAX_QUOTE = 700  # characters
_POINTS_BACK = re.compile(
    r"^(?:it|its|this|that|these|those|they|their|he|she|his|her|such|however|but|also|moreover|therefore|thus)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the evidence carries an answer, and if not, why not, in a few words."""

    holds: bool
    reason: str


def answer(question: str, sources: Sequence[Source], reader: Reader, minilm: MiniLM) -> str:
    """Quote one to three sentences, each followed by its source's mark, or say that the documents do not answer."""
    (doc,) = reader.read([question], syntax=False)
    asked = understand(question, doc, minilm.rarity)
    evidence = gather(asked, sources, reader, minilm)
    judgement = judge(asked, evidence)
    if not judgement.holds:
        return f"{REFUSAL}: {judgement.reason}."
    return " ".join(f"{quote} [{number}]" for quote, number in _quotes(evidence))


def judge(question: Question, evidence: Evidence) -> Judgement:
    """Decide from wording, meaning and kind together: each alone is a poor judge of whether an answer is there."""
    if not evidence.candidates or not question.terms:
        return Judgement(False, "they say nothing about it")
    absent = [key for key in question.required if not _known(key, evidence.vocabulary)]
    if absent:
        return Judgement(False, f"they do not mention {_as_written(absent[0], question)}")
    for name, number in question.numbered:
        between = r"(?:\W{0,3}|[ ](?:[A-Z][\w/+-]*[ ]){1,2})"
        together = rf"\b(?i:{re.escape(name)}){between}{re.escape(number)}\b"
        if not re.search(together, evidence.text):
            return Judgement(False, f"they do not mention {name} {number}")
    best = evidence.candidates[0]
    if best.lacks_name:
        return Judgement(False, "no passage supports an answer well enough")
    unsaid = [t for t in question.terms if t.claim >= 0.5 and not _said_anywhere(t, evidence)]
    if unsaid:
        return Judgement(False, f"they say nothing about {unsaid[0].word}")
    if question.kind in ("date", "number", "rate") and best.fit == 0.0:
        return Judgement(False, f"they give no {'frequency' if question.kind == 'rate' else question.kind} for it")
    if not any(_carries(c) for c in evidence.candidates[:_MAX_QUOTES] if c.score >= _CLOSE * best.score):
        return Judgement(False, "no passage supports an answer well enough")
    return Judgement(True, "")


def _carries(candidate: Candidate) -> bool:
    both = MIN_BOTH_PLAIN if candidate.decisive and candidate.fit == 1.0 else MIN_BOTH
    return (
        not candidate.lacks_name
        and candidate.meaning >= MIN_MEANING
        and candidate.claim >= MIN_CLAIM
        and candidate.claim + candidate.meaning >= both
    )


def _said_anywhere(term: Term, evidence: Evidence) -> bool:
    return any(_known(key, evidence.vocabulary) for key in evidence.likeness[term.stem])


def _known(key: str, vocabulary: frozenset[str]) -> bool:
    return key in vocabulary or (
        len(key) > 4 and any(key in other or other in key for other in vocabulary if len(other) > 4)
    )


def _as_written(key: str, question: Question) -> str:
    return next((term.word for term in question.terms if term.stem == key), key)


def _quotes(evidence: Evidence) -> list[tuple[str, int]]:
    """Return up to three (quote, source number): the best, and others nearly as good that add something."""
    best = evidence.candidates[0]
    chosen: list[Candidate] = []
    passages: list[range] = []
    for candidate in evidence.candidates[:12]:
        if len(chosen) == _MAX_QUOTES:
            break
        if candidate is not best and (candidate.score < _NEARLY * best.score or candidate.sentence.is_heading):
            continue
        own = _passage(evidence, candidate)
        taken = {
            place
            for other, passage in zip(chosen, passages, strict=True)
            if other.order == candidate.order
            for place in passage
        }
        if candidate.place in taken or not _adds(candidate, chosen):
            continue
        # What an earlier quote has is not said again.
        start = max((place + 1 for place in own if place in taken and place < candidate.place), default=own.start)
        stop = min((place for place in own if place in taken and place > candidate.place), default=own.stop)
        chosen.append(candidate)
        passages.append(range(start, stop))
    return [
        (_quoted(evidence, candidate, passage), candidate.source.number)
        for candidate, passage in zip(chosen, passages, strict=True)
    ]


def _adds(candidate: Candidate, chosen: Sequence[Candidate]) -> bool:
    bag = frozenset(terms(candidate.sentence.text))
    for other in chosen:
        assert candidate.vector is not None and other.vector is not None
        other_bag = frozenset(terms(other.sentence.text))
        if float(np.dot(candidate.vector, other.vector)) > 0.92 or len(bag - other_bag) < 2:
            return False
    return True


def _passage(evidence: Evidence, candidate: Candidate) -> range:
    """Return the sentences to quote with a candidate, by their places in the source.

    With the one before it where it points back; with what it announces; and with the one that goes on from it, since
    what is asked for often stands in the sentence after the one that speaks of it.
    """
    found = evidence.per_source[candidate.order]
    start = end = candidate.place
    if _POINTS_BACK.match(found[start].text) and start > 0 and found[start - 1].block == found[start].block:
        start -= 1
    length = sum(len(sentence.text) for sentence in found[start : end + 1])
    while end + 1 < len(found):
        following = found[end + 1]
        # A heading, a colon, or no full stop at all: what is announced follows, in a paragraph of its own.
        announces = found[end].is_heading or not _ENDED.search(found[end].text)
        goes_on = following.block == found[end].block and not following.is_heading and end - candidate.place < _MORE
        if not (announces or goes_on) or (length + len(following.text) > _MAX_PASSAGE and not found[end].is_heading):
            break
        end += 1
        length += len(following.text)
    return range(start, end + 1)


def quote_of(evidence: Evidence, candidate: Candidate) -> str:
    """Return the sentence as quoted: with those around it that it points back to, announces or leads over to."""
    return _quoted(evidence, candidate, _passage(evidence, candidate))


def _quoted(evidence: Evidence, candidate: Candidate, passage: range) -> str:
    found = evidence.per_source[candidate.order]
    texts = [f"{found[place].text.rstrip('.')}:" if found[place].is_heading else found[place].text for place in passage]
    text = tidy(" ".join(texts))
    return text if len(text) <= _MAX_QUOTE else text[: _MAX_QUOTE - 1].rsplit(None, 1)[0] + "…"
