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
MIN_CLAIM = 0.55
MIN_MEANING = 0.30
MIN_BOTH = 1.05
_MAX_QUOTES = 3
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
    if best.meaning < MIN_MEANING or best.claim < MIN_CLAIM or best.claim + best.meaning < MIN_BOTH:
        return Judgement(False, "no passage supports an answer well enough")
    return Judgement(True, "")


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
    chosen = [best]
    for candidate in evidence.candidates[1:12]:
        if len(chosen) == _MAX_QUOTES:
            break
        if candidate.score >= 0.8 * best.score and not candidate.sentence.is_heading and _adds(candidate, chosen):
            chosen.append(candidate)
    return [(quote_of(evidence, candidate), candidate.source.number) for candidate in chosen]


def _adds(candidate: Candidate, chosen: Sequence[Candidate]) -> bool:
    bag = frozenset(terms(candidate.sentence.text))
    for other in chosen:
        assert candidate.vector is not None and other.vector is not None
        other_bag = frozenset(terms(other.sentence.text))
        if float(np.dot(candidate.vector, other.vector)) > 0.92 or len(bag - other_bag) < 3:
            return False
    return True


def quote_of(evidence: Evidence, candidate: Candidate) -> str:
    """Return the sentence as quoted: with the one before it where it points back, and the ones a colon announces."""
    found = evidence.per_source[candidate.order]
    text = candidate.sentence.text
    place = candidate.place
    if candidate.sentence.is_heading and place + 1 < len(found):
        text = f"{text.rstrip('.')}: {found[place + 1].text}"
    elif _POINTS_BACK.match(text) and place > 0 and found[place - 1].block == found[place].block:
        text = f"{found[place - 1].text} {text}"
    following = place + 1
    while text.endswith(":") and following < len(found) and len(text) < 200:
        text = f"{text} {found[following].text}"
        following += 1
    text = tidy(text)
    return text if len(text) <= _MAX_QUOTE else text[: _MAX_QUOTE - 1].rsplit(None, 1)[0] + "…"
