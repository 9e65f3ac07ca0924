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
from fileintel.llm.embedded.answer import quote_of
from fileintel.llm.embedded.evidence import Candidate, Evidence, Source, gather, text_fit
from fileintel.llm.embedded.language import Reader, Sentence, sentences, shorten, stem, terms, tidy, word_set
from fileintel.llm.embedded.minilm import MiniLM, Vectors
from fileintel.llm.embedded.question import Question, Term, understand

MAX_QUOTES = 6
_MAX_ADDED = 40  # sentences looked at beside those found by the question's words
_MAX_CHARACTERS = 600  # of a sentence that is embedded
_SAME_MEANING = 0.86  # cosine from which two sentences say the same
_NEW_TERMS = 3  # what a further sentence must add
_NEAR_HEADING = 0.3  # cosine from which a heading says something about a question
_CLOSE = 0.55  # share of the next best sentence's worth that a further one must have
_MIN_WORTH = 0.55
# Below any of these the sources do not bear on the question.
_MIN_MEANING = 0.25
_MIN_CLAIM = 0.3
_MIN_BOTH = 0.75
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
_REFERENCE = re.compile(r"\s*\[Data:[^\]]*\]")


DEBUG = True
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
    if focus(question):
        evidence = gather(asked, sources, reader, minilm)
        absent = _refusal(asked, evidence)
        if absent:
            return f"{REFUSAL}: {absent}."
        chosen = _focused(asked, evidence, matters, minilm)
    else:
        per_source = tuple(tuple(sentences(source.text)) for source in sources)
        evidence = Evidence((), per_source, frozenset(), "", {})
        chosen = _overview(asked, sources, per_source, matters)
    if not chosen:
        return f"{REFUSAL}: no passage bears on it."
    return " ".join(f"{quote_of(evidence, c)} {_marks(c, sources, evidence)}" for c in chosen)


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


def _refusal(asked: Question, evidence: Evidence) -> str:
    """Return why the sources cannot answer, or nothing.

    Milder than for a question of fact: an answer about a whole collection need not stand in one sentence.
    """
    for key in asked.required:
        if key not in evidence.vocabulary:
            return f"they do not mention {next((t.word for t in asked.terms if t.stem == key), key)}"
    if not any(
        c.meaning >= _MIN_MEANING and c.claim >= _MIN_CLAIM and c.claim + c.meaning >= _MIN_BOTH
        for c in evidence.candidates
    ):
        return "no passage bears on it"
    return ""


@dataclass(slots=True)
class _Rated:
    candidate: Candidate
    bag: frozenset[str]
    vector: Vectors
    worth: float = 0.0


def _focused(asked: Question, evidence: Evidence, matters: Mapping[str, float], minilm: MiniLM) -> list[Candidate]:
    """Return the sentence that answers best, and those that bear on the question and on what that one speaks of.

    A list in one sentence ("four failings: ...") is gone into by sentences that no longer share the question's words:
    the best sentence is put beside the question, as in relevance feedback.
    """
    pool, under = _pool(asked, evidence, minilm)
    if not pool:
        return []
    bags = [frozenset(terms(sentence.text)) for found in evidence.per_source for sentence in found]
    rare = _rarity(bags)
    vectors = np.array([candidate.vector for candidate in pool])
    # What all these sentences have in common (the collection's subject) tells none from the other.
    common = vectors.mean(axis=0)
    telling = _telling(asked, evidence)
    whole = minilm.embed([asked.text, " ".join(term.word for term in telling)])
    question, phrase = _apart(whole, common)
    wanted = frozenset(term.stem for term in telling)
    rated = [
        _Rated(candidate, frozenset(terms(candidate.sentence.text)), row)
        for candidate, row in zip(pool, _apart(vectors, common), strict=True)
    ]
    for entry, heading in zip(rated, under, strict=True):
        said = matters.get(_plain(entry.candidate.sentence.text), 0.0)
        near = 0.4 * float(question @ entry.vector) + 0.8 * float(phrase @ entry.vector)
        words = _covered(wanted, entry.bag, rare) + 0.3 * _covered(asked.stems, entry.bag, rare)
        entry.worth = near + words + 0.6 * heading + 0.2 * said
    rated.sort(key=lambda r: (-r.worth, r.candidate.order, r.candidate.place))
    # Of those nearly as good as the best, the one that says most beyond the question.
    able = [entry for entry in rated if float(whole[0] @ entry.candidate.vector) >= _MIN_MEANING] or rated
    near_best = [entry for entry in able if entry.worth >= 0.9 * able[0].worth]
    best = max(near_best, key=lambda entry: (min(12, len(entry.bag - asked.stems)), entry.worth))
    for entry in rated:
        follows = float(best.vector @ entry.vector) + _covered(best.bag - asked.stems, entry.bag, rare)
        entry.worth += 0.7 * follows
    rated.sort(key=lambda r: (-r.worth, r.candidate.order, r.candidate.place))
    chosen = [best]
    rest = [entry for entry in rated if entry is not best]
    for further in rest:
        if len(chosen) == MAX_QUOTES or further.worth < max(_MIN_WORTH, _CLOSE * rest[0].worth):
            break
        if all(_adds(further, other) for other in chosen):
            chosen.append(further)
    if DEBUG:
        for e in rated[:12]: print(f"    # {e.worth:.2f} {e.candidate.sentence.text[:110]}")
    return [entry.candidate for entry in chosen]


def _telling(asked: Question, evidence: Evidence) -> list[Term]:
    """Return the question's terms that few sources have: what it asks beyond what the collection is all about."""
    having = {
        term.stem: sum(any(term.stem in terms(s.text) for s in found) for found in evidence.per_source)
        for term in asked.terms
    }
    few = [term for term in asked.terms if 3 * having[term.stem] < len(evidence.per_source)]
    return few or list(asked.terms)


def _pool(asked: Question, evidence: Evidence, minilm: MiniLM) -> tuple[list[Candidate], list[float]]:
    """Return the sentences to choose from, and for each how near the heading above it is to the question.

    They are those found by wording, those under a heading that speaks of what is asked, and those that share most
    with the best of them.
    """
    sources = {candidate.order: candidate.source for candidate in evidence.candidates}
    (question,) = minilm.embed([asked.text])
    above: dict[tuple[int, int], str] = {}
    for order in sources:
        heading = (sources[order].heading or "").rsplit(" > ", 1)[-1]
        for place, sentence in enumerate(evidence.per_source[order]):
            heading = sentence.text if sentence.is_heading else heading
            above[order, place] = heading
    headings = sorted(set(above.values()) - {""})
    near: dict[str, float] = {}
    if headings:
        vectors = minilm.embed(headings)
        common = vectors.mean(axis=0)
        close = _apart(vectors, common) @ _apart(question[None, :], common)[0]
        near = dict(zip(headings, close.tolist(), strict=True))
    found = {(c.order, c.place): c for c in evidence.candidates if spoken(c.sentence.text)}
    best = next(iter(found.values()), None)
    seed = frozenset(terms(best.sentence.text)) - asked.stems if best else frozenset()
    every = [
        (order, place, sentence)
        for order in sources
        for place, sentence in enumerate(evidence.per_source[order])
        if (order, place) not in found and not sentence.is_heading and spoken(sentence.text)
    ]
    bags = [frozenset(terms(sentence.text)) for *_, sentence in every]
    rare = _rarity(bags)
    more: list[tuple[float, int, int, Sentence]] = []
    for (order, place, sentence), bag in zip(every, bags, strict=True):
        promise = _covered(seed, bag, rare) + max(0.0, near.get(above[order, place], 0.0) - _NEAR_HEADING)
        if promise > 0.05:
            more.append((-promise, order, place, sentence))
    added = [Candidate(sources[order], order, place, s) for _, order, place, s in sorted(more)[:_MAX_ADDED]]
    texts = [shorten(candidate.sentence.text, _MAX_CHARACTERS) for candidate in added]
    for candidate, vector in zip(added, minilm.embed(texts), strict=True):
        candidate.vector = vector
    pool = [*found.values(), *added]
    return pool, [max(0.0, near.get(above[c.order, c.place], 0.0) - _NEAR_HEADING) for c in pool]


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
    asked: Question,
    sources: Sequence[Source],
    per_source: Sequence[Sequence[Sentence]],
    matters: Mapping[str, float],
) -> list[Candidate]:
    """Return sentences made of what most documents speak of, each of something new (the method known as SumBasic)."""
    able = [
        (Candidate(sources[order], order, place, sentence), frozenset(terms(sentence.text)))
        for order, found in enumerate(per_source)
        for place, sentence in enumerate(found)
        if not sentence.is_heading and spoken(sentence.text) and 8 <= len(sentence.text.split()) <= 45
    ]
    held: dict[str, set[str]] = {}
    for candidate, bag in able:
        for key in bag:
            held.setdefault(key, set()).add(candidate.source.document or str(candidate.source.number))
    documents = max(1, len({source.document or str(source.number) for source in sources}))
    common = {key: len(where) / documents for key, where in held.items()}
    chosen: list[Candidate] = []
    quoted: Counter[str] = Counter()
    while able and len(chosen) < MAX_QUOTES:

        def worth(entry: tuple[Candidate, frozenset[str]]) -> tuple[float, int, int]:
            candidate, bag = entry
            shared = sum(common[key] for key in sorted(bag)) / max(6, len(bag))
            shared *= 1 + matters.get(_plain(candidate.sentence.text), 0.0)
            if asked.kind == "person":
                shared *= 0.3 + text_fit(asked, candidate.sentence.text)
            return shared * 0.6 ** quoted[candidate.source.document], -candidate.order, -candidate.place

        best, bag = max(able, key=worth)
        chosen.append(best)
        quoted[best.source.document] += 1
        for key in bag:
            common[key] **= 2  # it has been said
        able = [entry for entry in able if len(entry[1] - bag) >= _NEW_TERMS]
    return chosen


def _marks(candidate: Candidate, sources: Sequence[Source], evidence: Evidence) -> str:
    """Return the marks of (at most two) sources that hold the very sentence, its own first."""
    wanted = _plain(candidate.sentence.text)
    others = [
        source.number
        for order, source in enumerate(sources)
        if order != candidate.order and any(_plain(s.text) == wanted for s in evidence.per_source[order])
    ]
    return "".join(f"[{number}]" for number in [candidate.source.number, *others[:1]])
