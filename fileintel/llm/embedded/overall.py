"""The answer to a question on the whole collection: the sources' own sentences, found by question and map points."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from fileintel.llm.embedded import REFUSAL
from fileintel.llm.embedded.evidence import Candidate, Source, text_fit
from fileintel.llm.embedded.language import Reader, Sentence, sentences, shorten, stem, terms, tidy, word_set
from fileintel.llm.embedded.minilm import MiniLM, Vectors
from fileintel.llm.embedded.question import Question, Term, understand

MAX_QUOTES = 6
_MAX_SENTENCES = 240  # of all sources together
_MAX_CHARACTERS = 600  # of a sentence that is embedded
_SAME_MEANING = 0.86  # cosine from which two sentences say the same
_NEW_TERMS = 3  # what a further sentence must add
_NEAR_HEADING = 0.3  # cosine from which a heading says something about a question
_CLOSE = 0.45  # share of the next best sentence's worth that a further one must have
_MIN_FURTHER = 0.85
# Below either of these no sentence bears on the question.
_MIN_MEANING = 0.28
_MIN_BEST = 0.45
# A question made of such words alone asks for an overview: everything bears on it.
_OVERVIEW = frozenset(
    stem(word)
    for word in word_set(
        "main major top key important central theme topic subject overview summary summarise summarize overall general "
        "document collection text corpus dataset data file report content discuss describe about cover talk mention "
        "idea point issue story happen people organisation organization place event actor finding conclusion whole "
        "person say deal concern involve tell source material information archive"
    )
)
_TABLE_ROW = re.compile(r"^[\w ]{1,30}: [^;]{0,200}; [\w ]{1,30}: ")
_POINTS_BACK = re.compile(
    r"^(?:it|its|this|that|these|those|they|their|he|she|his|her|such|however|but|also|moreover|therefore|thus)\b",
    re.IGNORECASE,
)
_MAX_QUOTE = 400  # characters up to which a sentence is given what a colon at its end announces
_REFERENCE = re.compile(r"\s*\[Data:[^\]]*\]")


_Texts = Sequence[Sequence[Sentence]]  # the sentences of each source


class Point(BaseModel):
    """A point of the map stage: what a report says towards the question, and how much it matters (0-100)."""

    description: str
    score: float = 0.0


def focus(question: str) -> frozenset[str]:
    """Return the stems of what a question asks about; none when it asks for an overview."""
    return frozenset(terms(question)) - _OVERVIEW


def spoken(text: str) -> bool:
    """Whether a sentence says something by itself: no heading, no row of a table, no question, no by-line."""
    return (
        len(text.split()) >= 6
        and text.rstrip("\"'”’)]")[-1:] in ".!:;…"
        and not _TABLE_ROW.match(text)
        and not text.isupper()
    )


def global_reduce(
    question: str, points: Sequence[Point], sources: Sequence[Source], reader: Reader, minilm: MiniLM
) -> str:
    """Quote the sources' sentences that answer best, each with the marks of the sources that hold it, or refuse.

    A point says which sentences matter; it is quoted itself only where no sources are given to quote from.
    """
    matters = _importance(points)
    if not sources:
        return _points_alone(points)
    (doc,) = reader.read([question], syntax=False)
    asked = understand(question, doc, minilm.rarity)
    texts = [sentences(source.text) for source in sources]
    able = [
        Candidate(sources[order], order, place, sentence)
        for order, found in enumerate(texts)
        for place, sentence in enumerate(found)
        if not sentence.is_heading and spoken(sentence.text)
    ][:_MAX_SENTENCES]
    if focus(question):
        absent = _absent(asked, sources)
        if absent:
            return f"{REFUSAL}: they do not mention {absent}."
        chosen = _focused(asked, able, texts, matters, minilm)
    else:
        chosen = _overview(asked, able, matters, minilm)
    if not chosen:
        return f"{REFUSAL}: no passage bears on it."
    quotes = [(candidate, _quote(candidate, texts)) for candidate in chosen]
    return " ".join(f"{quote} {_marks(candidate, quote, sources)}" for candidate, quote in quotes)


def _points_alone(points: Sequence[Point]) -> str:
    told: dict[str, None] = {}
    for point in sorted(points, key=lambda point: -point.score):
        if point.score > 0 and len(told) < MAX_QUOTES:
            told[tidy(_REFERENCE.sub("", point.description))] = None
    told.pop("", None)
    return " ".join(told) if told else f"{REFUSAL}: no community report bears on it."


def _plain(text: str) -> str:
    """Return what two writings of one sentence have in common: the words, in order."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _importance(points: Sequence[Point]) -> dict[str, float]:
    """Return for each sentence of the points how much its point matters (0-1)."""
    found: dict[str, float] = {}
    for point in points:
        for sentence in sentences(_REFERENCE.sub("", point.description)):
            key = _plain(sentence.text)
            found[key] = max(found.get(key, 0.0), min(100.0, point.score) / 100)
    return found


def _absent(asked: Question, sources: Sequence[Source]) -> str:
    """Return a name or number of the question that no source has, or nothing."""
    known = {key for source in sources for key in terms(f"{source.document} {source.heading or ''} {source.text}")}
    missing = next((key for key in asked.required if key not in known), None)
    return next((term.word for term in asked.terms if term.stem == missing), missing or "")


@dataclass(slots=True)
class _Rated:
    candidate: Candidate
    bag: frozenset[str]
    vector: Vectors
    worth: float = 0.0


def _focused(
    asked: Question,
    able: Sequence[Candidate],
    texts: _Texts,
    matters: Mapping[str, float],
    minilm: MiniLM,
) -> list[Candidate]:
    """Return the sentence that answers best, and those that bear on the question and on what that one speaks of.

    A list in one sentence ("four failings: ...") is gone into by sentences that no longer share the question's words:
    the best sentence is put beside the question, as in relevance feedback.
    """
    if not able:
        return []
    telling = _telling(asked, texts)
    whole, part = minilm.embed([asked.text, " ".join(term.word for term in telling)])
    vectors = minilm.embed([shorten(candidate.sentence.text, _MAX_CHARACTERS) for candidate in able])
    for candidate, vector in zip(able, vectors, strict=True):
        candidate.vector = vector
        candidate.meaning = float(vector @ whole)
    # What all these sentences have in common (the collection's subject) tells none from the other.
    common = vectors.mean(axis=0)
    question, phrase = _apart(np.stack((whole, part)), common)
    rated = [
        _Rated(candidate, frozenset(terms(candidate.sentence.text)), row)
        for candidate, row in zip(able, _apart(vectors, common), strict=True)
    ]
    rare = _rarity([entry.bag for entry in rated])
    wanted = frozenset(term.stem for term in telling)
    headings = _headings(whole, able, texts, minilm)
    for entry, heading in zip(rated, headings, strict=True):
        said = matters.get(_plain(entry.candidate.sentence.text), 0.0)
        near = 0.4 * float(question @ entry.vector) + 0.8 * float(phrase @ entry.vector)
        words = _covered(wanted, entry.bag, rare) + 0.3 * _covered(asked.stems, entry.bag, rare)
        entry.worth = near + words + 0.6 * heading + 0.2 * said
    rated.sort(key=_order)
    near_enough = [entry for entry in rated if entry.candidate.meaning >= _MIN_MEANING]
    if not near_enough or near_enough[0].worth < _MIN_BEST:
        return []
    # Of those nearly as good as the best, the one that says most beyond the question.
    close = [entry for entry in near_enough if entry.worth >= 0.9 * near_enough[0].worth]
    best = max(close, key=lambda entry: (min(12, len(entry.bag - asked.stems)), entry.worth))
    for entry in rated:
        entry.worth += 0.6 * (float(best.vector @ entry.vector) + _covered(best.bag - asked.stems, entry.bag, rare))
    rated.sort(key=_order)
    rest = [entry for entry in rated if entry is not best]
    chosen = [best]
    for further in rest:
        if len(chosen) == MAX_QUOTES or further.worth < max(_MIN_FURTHER, _CLOSE * rest[0].worth):
            break
        if further.candidate.meaning >= _MIN_MEANING and all(_adds(further, other) for other in chosen):
            chosen.append(further)
    return [entry.candidate for entry in chosen]


def _order(entry: _Rated) -> tuple[float, int, int]:
    return -entry.worth, entry.candidate.order, entry.candidate.place


def _telling(asked: Question, texts: _Texts) -> list[Term]:
    """Return the question's terms that few sources have: what it asks beyond what the collection is all about."""
    bags = [frozenset(key for sentence in found for key in terms(sentence.text)) for found in texts]
    few = [term for term in asked.terms if 3 * sum(term.stem in bag for bag in bags) < len(bags)]
    return few or list(asked.terms)


def _headings(question: Vectors, able: Sequence[Candidate], texts: _Texts, minilm: MiniLM) -> list[float]:
    """Return for each sentence how much nearer to the question the heading above it is than headings are on average."""
    above: dict[tuple[int, int], str] = {}
    for candidate in able:
        found = texts[candidate.order]
        over = next((s.text for s in reversed(found[: candidate.place]) if s.is_heading), None)
        above[candidate.order, candidate.place] = over or (candidate.source.heading or "").rsplit(" > ", 1)[-1]
    named = sorted(set(above.values()) - {""})
    if not named:
        return [0.0] * len(able)
    vectors = minilm.embed(named)
    common = vectors.mean(axis=0)
    close = _apart(vectors, common) @ _apart(question[None, :], common)[0]
    near = dict(zip(named, close.tolist(), strict=True))
    return [max(0.0, near.get(above[c.order, c.place], 0.0) - _NEAR_HEADING) for c in able]


def _apart(vectors: Vectors, common: Vectors) -> Vectors:
    """Return unit vectors of what sets each row apart from `common`."""
    rest = vectors - common
    apart: Vectors = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-6)
    return apart


def _rarity(bags: Sequence[frozenset[str]]) -> dict[str, float]:
    count = Counter(key for bag in bags for key in bag)
    return {key: math.log(1.1 * len(bags) / number) for key, number in count.items()}


def _covered(wanted: Iterable[str], bag: frozenset[str], rare: Mapping[str, float]) -> float:
    """Return the share of the wanted stems' weight that a sentence has."""
    keys = sorted(wanted)
    whole = sum(rare.get(key, 0.0) for key in keys)
    return sum(rare.get(key, 0.0) for key in keys if key in bag) / whole if whole else 0.0


def _adds(further: _Rated, chosen: _Rated) -> bool:
    assert further.candidate.vector is not None and chosen.candidate.vector is not None
    same = float(np.dot(further.candidate.vector, chosen.candidate.vector))
    return same < _SAME_MEANING and len(further.bag - chosen.bag) >= _NEW_TERMS


def _overview(
    asked: Question, able: Sequence[Candidate], matters: Mapping[str, float], minilm: MiniLM
) -> list[Candidate]:
    """Return sentences near the middle of what all documents say, each away from those before it."""
    if not able:
        return []
    left = [c for c in able if 8 <= len(c.sentence.text.split()) <= 45] or list(able)
    vectors = minilm.embed([shorten(c.sentence.text, _MAX_CHARACTERS) for c in left])
    documents = sorted({c.source.document for c in left})
    rows = [[n for n, c in enumerate(left) if c.source.document == document] for document in documents]
    # Every document counts the same, however long it is.
    middle = np.mean([vectors[of].mean(axis=0) for of in rows], axis=0)
    worth = vectors @ (middle / max(float(np.linalg.norm(middle)), 1e-6))
    for number, candidate in enumerate(left):
        worth[number] += 0.15 * matters.get(_plain(candidate.sentence.text), 0.0)
        if asked.kind == "person":
            worth[number] += 0.3 * text_fit(asked, candidate.sentence.text)
    said = np.zeros(len(left), dtype=np.float32)
    quoted: Counter[str] = Counter()
    chosen: list[Candidate] = []
    while len(chosen) < min(MAX_QUOTES, len(left)):
        again = np.array([0.1 * quoted[c.source.document] for c in left], dtype=np.float32)
        number = int(np.argmax(worth - 0.7 * said - again))
        if said[number] > _SAME_MEANING:
            break
        chosen.append(left[number])
        quoted[left[number].source.document] += 1
        said = np.maximum(said, vectors @ vectors[number])
    return chosen


def _quote(candidate: Candidate, texts: _Texts) -> str:
    """Return the sentence, with the one before it where it points back, and with what its colon announces."""
    found, place = texts[candidate.order], candidate.place
    text = found[place].text
    if _POINTS_BACK.match(text) and place > 0 and found[place - 1].block == found[place].block:
        text = f"{found[place - 1].text} {text}"
    while text.endswith(":") and place + 1 < len(found) and len(text) + len(found[place + 1].text) < _MAX_QUOTE:
        place += 1
        text = f"{text} {found[place].text}"
    return tidy(text)


def _marks(candidate: Candidate, quote: str, sources: Sequence[Source]) -> str:
    """Return the marks of (at most two) sources that hold all of what is quoted, its own first."""
    wanted = _plain(quote)
    others = [s.number for order, s in enumerate(sources) if order != candidate.order and wanted in _plain(s.text)]
    return "".join(f"[{number}]" for number in [candidate.source.number, *others[:1]])
