"""How well sentences of the sources answer a question: wording, meaning, and the kind of thing asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from spacy.tokens import Doc

from fileintel.llm.embedded.language import (
    STOP_WORDS,
    Reader,
    Sentence,
    sentences,
    shorten,
    stem,
    terms,
    word_set,
    words,
)
from fileintel.llm.embedded.minilm import MiniLM, Vectors
from fileintel.llm.embedded.question import Question

_DECISIVE = frozenset(("date", "number", "rate", "person", "expansion", "definition", "path", "address"))
_MAX_CANDIDATES = 28  # sentences embedded for one question
_MAX_PARSED = 14  # of them, those whose named entities are looked up
_MAX_CHARACTERS = 600  # of a sentence that is embedded
_MAX_WORDS = 900  # different words of the sources compared with the question's
_SYNONYM = 0.6  # cosine of two words' vectors from which one stands for the other
_CONTRARIES = tuple(
    frozenset(stem(word) for word in word_set(group))
    for group in (
        "north south east west northern southern eastern western northeast northwest southeast southwest",
        "left right", "maximum minimum maximal minimal most least", "before after", "old new young", "input output",
        "upper lower upstairs downstairs", "winter summer spring autumn", "internal external", "open close",
        "mother father daughter son sister brother wife husband", "male female man woman boy girl king queen",
        "january february march april may june july august september october november december",
        "monday tuesday wednesday thursday friday saturday sunday", "day week month year hour minute second decade",
        "black white red green blue yellow brown grey orange purple", "enable disable", "increase decrease rise fall",
        "start stop end begin finish", "buy sell", "win lose", "arrive depart arrival departure", "morning evening",
        "first second third fourth fifth sixth seventh eighth ninth tenth last", "install remove uninstall delete add",
        "employer employee", "import export", "read write", "public private", "success failure", "source binary",
        "inside outside", "hot cold warm cool", "birth death born die", "stable testing unstable experimental",
    )
)  # fmt: skip
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_NUMBER_WORD = re.compile(
    r"\d|\b(?:one (?:second|minute|hour|day|week|month|year|percent|time)|two|three|four|five|six|seven|eight|nine|ten|"
    r"eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|"
    r"hundred|thousand|million|billion|dozen|half|twice|once|single)\b",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\b(?:because|since|so that|in order to|due to|therefore|thus|as a result|to avoid|to prevent|hence|reason|caused|"
    r"allows?|otherwise|owing to)\b",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"\b(?:(?:every|each|per|a|once|twice)\s+(?:\w+\s+)?(?:second|minute|hour|day|night|week|month|quarter|year|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday|spring|summer|autumn|winter)s?|"
    r"annual(?:ly)?|yearly|monthly|weekly|daily|hourly|nightly|quarterly|(?:once|twice|times) (?:a|an|per))\b",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"[`\"“]|(?<![\w-])--?[a-z]|\b[a-z]+(?:-[a-z]+)+\b|\(\d\)|\b(?:run|command|tool|use|using)\b|\$ ")
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PATH = re.compile(r"(?:^|\s)[~/][\w.-]+(?:/[\w.-]*)*|https?://|\bon page\b")


class Source(BaseModel):
    """A numbered passage an answer may quote."""

    number: int
    text: str
    document: str = ""
    heading: str | None = None


@dataclass(slots=True)
class Candidate:
    """A sentence of a source with what speaks for it; all measures run from 0 to 1."""

    source: Source
    order: int  # of the source among the sources
    place: int  # of the sentence in its source
    sentence: Sentence
    wording: float = 0.0  # share of the question's weight found in the sentence
    setting: float = 0.0  # the same, with what stands around it counted in part
    claim: float = 0.0  # share of what the question claims that stands in the sentence or around it
    meaning: float = 0.0  # cosine of question and sentence
    fit: float = 0.0  # whether it holds the kind of thing asked for
    news: float = 0.0  # whether it says more than the question does
    prose: float = 0.0  # whether it reads like a sentence, not like a table's row or a program
    vector: Vectors | None = None

    lacks_name: bool = False  # whether its source never has a name of the question that only some sources have
    decisive: bool = False  # whether the kind asked for is one a sentence plainly has or lacks

    @property
    def score(self) -> float:
        """The order in which sentences are quoted; the shares were found on questions about real manuals."""
        said = 0.30 * self.wording + 0.30 * self.setting + 0.25 * self.claim + 0.42 * max(0.0, self.meaning)
        form = (0.5 if self.decisive else 0.3) * self.fit + 0.1 * self.news + 0.1 * self.prose
        early = 0.1 / (1 + self.order)  # the search's own order says something too
        return (said + form + early) / 1.87 - 0.15 * self.lacks_name


@dataclass(frozen=True, slots=True)
class Evidence:
    """The best candidates, the best first; all sentences by source; the stems that occur anywhere."""

    candidates: tuple[Candidate, ...]
    per_source: tuple[tuple[Sentence, ...], ...]
    vocabulary: frozenset[str]
    text: str  # all of the sources, with headings and documents' names
    likeness: Mapping[str, Mapping[str, float]]


def gather(question: Question, sources: Sequence[Source], reader: Reader, minilm: MiniLM) -> Evidence:
    """Weigh the sources' sentences for a question."""
    per_source = [tuple(sentences(source.text)) for source in sources]
    bags = [[frozenset(terms(s.text)) for s in found] for found in per_source]
    headings = [frozenset(terms(source.heading or "")) for source in sources]
    titles = [frozenset(terms(re.sub(r"[_.-]+", " ", source.document))) for source in sources]
    vocabulary = frozenset().union(*(bag for found in bags for bag in found), *headings, *titles)
    likeness = _likeness(question, sources, minilm)
    weights = _weights(question, bags, likeness)
    lacking = _lacking(question, [headings[n].union(titles[n], *bags[n]) for n in range(len(sources))])
    claims = {term.stem: term.claim for term in question.terms}
    found: list[Candidate] = []
    for order, source in enumerate(sources):
        for place, sentence in enumerate(per_source[order]):
            bag = bags[order][place]
            said = {key: _presence(near, bag) for key, near in likeness.items()}
            around = _around(bags[order], place, per_source[order], headings[order], titles[order], likeness)
            found.append(
                Candidate(
                    source,
                    order,
                    place,
                    sentence,
                    wording=_share(weights, said),
                    setting=_share(weights, around),
                    claim=_share(claims, around),
                    fit=text_fit(question, sentence.text),
                    lacks_name=lacking[order],
                    decisive=question.kind in _DECISIVE,
                    news=min(1.0, len(bag - question.stems) / 2),
                    prose=_prose(sentence),
                )
            )
    kept = sorted(found, key=lambda c: (-_promise(c), c.order, c.place))[:_MAX_CANDIDATES]
    _read_meaning(question, kept, minilm)
    _read_kind(question, kept, reader)
    kept.sort(key=lambda c: (-c.score, c.order, c.place))
    text = "\n".join(f"{source.document}\n{source.heading or ''}\n{source.text}" for source in sources)
    return Evidence(tuple(kept), tuple(per_source), vocabulary, text, likeness)


def _lacking(question: Question, sources: Sequence[frozenset[str]]) -> list[bool]:
    """Return for each source whether it lacks a name of the question that fewer than half of the sources have."""
    having = {key: sum(key in stems for stems in sources) for key in question.required}
    telling = [key for key, count in having.items() if 0 < count < len(sources) / 2]
    return [any(key not in stems for key in telling) for stems in sources]


def _promise(candidate: Candidate) -> float:
    """Return what speaks for a sentence before any model has read it."""
    return candidate.wording + candidate.setting + 0.3 * candidate.fit + 0.1 * candidate.prose


def _likeness(question: Question, sources: Sequence[Source], minilm: MiniLM) -> dict[str, dict[str, float]]:
    """Return for each question term the stems that stand for it in the sources: itself 1, near synonyms less."""
    plain = [term for term in question.terms if term.word.isalpha() and term.word.lower() == term.word]
    near: dict[str, dict[str, float]] = {term.stem: {term.stem: 1.0} for term in question.terms}
    seen = dict.fromkeys(
        word.lower() for source in sources for word in words(f"{source.heading or ''} {source.text}") if word.isalpha()
    )
    vocabulary = sorted(word for word in seen if len(word) > 2 and word not in STOP_WORDS)[:_MAX_WORDS]
    if not plain or not vocabulary:
        return near
    vectors = minilm.embed_words([*(term.word for term in plain), *vocabulary])
    for term, row in zip(plain, vectors[: len(plain)] @ vectors[len(plain) :].T, strict=True):
        for word, cosine in zip(vocabulary, row, strict=True):
            key = stem(word)
            if cosine >= _SYNONYM and not _contrary(term.stem, key):
                near[term.stem][key] = max(near[term.stem].get(key, 0.0), 0.6 if cosine < 0.7 else 0.8)
    return near


def _contrary(one: str, other: str) -> bool:
    """Whether two stems name alternatives: to a vector they are near, to a question they are the difference."""
    return one != other and any(one in group and other in group for group in _CONTRARIES)


def _presence(near: Mapping[str, float], bag: frozenset[str]) -> float:
    return max((strength for key, strength in near.items() if key in bag), default=0.0)


def _weights(
    question: Question, bags: Sequence[Sequence[frozenset[str]]], likeness: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return each question term's weight: rare in English and rare among these sentences weighs most."""
    total = sum(len(found) for found in bags)
    weights: dict[str, float] = {}
    for term in question.terms:
        having = sum(_presence(likeness[term.stem], bag) for found in bags for bag in found)
        idf = math.log((total + 1) / (having + 0.5)) / math.log(total + 2)
        weights[term.stem] = term.weight * (0.4 + 0.6 * idf)
    return weights


def _share(weights: Mapping[str, float], presence: Mapping[str, float]) -> float:
    whole = sum(weights.values())
    return sum(weight * presence.get(key, 0.0) for key, weight in weights.items()) / whole if whole else 0.0


def _around(
    bags: Sequence[frozenset[str]],
    place: int,
    found: Sequence[Sentence],
    heading: frozenset[str],
    title: frozenset[str],
    likeness: Mapping[str, Mapping[str, float]],
) -> dict[str, float]:
    """Return for each question term how far it counts as said by a sentence, given what stands around it."""
    counts: dict[str, float] = {}
    for key, near in likeness.items():
        best = max(0.7 * _presence(near, heading), 0.5 * _presence(near, title))
        for other, bag in enumerate(bags):
            distance = abs(other - place)
            reach = 1.0 if distance == 0 else 0.6 if distance == 1 else 0.35 if distance <= 3 else 0.15
            if other < place and found[other].is_heading:
                reach = max(reach, 0.6)
            if reach > best:
                best = max(best, reach * _presence(near, bag))
        counts[key] = best
    return counts


def _prose(sentence: Sentence) -> float:
    """Return how much a sentence reads like one: plain words in a row, a capital before and a full stop after."""
    text = sentence.text
    pieces = text.split()
    plain = sum(piece.strip("\"'“”‘’(),.;:!?").replace("-", "").isalpha() for piece in pieces) / max(1, len(pieces))
    ended = 0.3 if text.rstrip("\"'”’)]")[-1:] in ".!?:" else 0.0
    begun = 0.2 if text[:1].isupper() and len(pieces) > 4 else 0.0
    return 0.0 if sentence.is_heading else 0.5 * max(0.0, plain * 2 - 1) + ended + begun


def _read_meaning(question: Question, candidates: Sequence[Candidate], minilm: MiniLM) -> None:
    forms = minilm.embed([question.text, question.statement])
    vectors = minilm.embed([shorten(c.sentence.text, _MAX_CHARACTERS) for c in candidates])
    for candidate, vector in zip(candidates, vectors, strict=True):
        candidate.vector = vector
        candidate.meaning = float((forms @ vector).mean())


def _read_kind(question: Question, candidates: Sequence[Candidate], reader: Reader) -> None:
    """Look again for persons, places and dates where it matters, with named entities in place of patterns."""
    if question.kind not in ("person", "place", "date"):
        return
    best = sorted(candidates, key=lambda c: (-c.score, c.order, c.place))[:_MAX_PARSED]
    docs = reader.read([shorten(c.sentence.text, _MAX_CHARACTERS) for c in best], syntax=False)
    for candidate, doc in zip(best, docs, strict=True):
        candidate.fit = _entity_fit(question, doc)


def _entity_fit(question: Question, doc: Doc) -> float:
    asked = frozenset(terms(question.text))

    def new_entity(*labels: str) -> bool:
        return any(e.label_ in labels and not frozenset(terms(e.text)) <= asked for e in doc.ents)

    if question.kind == "person":
        if new_entity("PERSON"):
            return 1.0
        return 0.6 if new_entity("ORG", "NORP") or text_fit(question, doc.text) > 0.5 else 0.1
    if question.kind == "place":
        return 1.0 if new_entity("GPE", "LOC", "FAC") else text_fit(question, doc.text)
    return max(text_fit(question, doc.text), 0.8 * new_entity("DATE", "TIME"))


def text_fit(question: Question, text: str) -> float:
    """Return how plainly a text holds the kind of thing asked for, beyond what the question itself names (0-1)."""
    fresh = " ".join(word for word in words(text) if stem(word) not in question.stems)
    match question.kind:
        case "person":
            return 0.6 if re.search(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]+ [A-Z][a-z]+", fresh) else 0.1
        case "date":
            return 1.0 if _YEAR.search(fresh) else 0.0
        case "number":
            return 1.0 if _NUMBER_WORD.search(fresh) else 0.0
        case "rate":
            return 1.0 if _RATE.search(fresh) else 0.0
        case "place":
            if _PATH.search(text):
                return 1.0
            return 0.5 if re.search(r"\b(?:in|at|on|near|under|from) (?:the |a )?[\w/]+", text) else 0.1
        case "path":
            return 1.0 if _PATH.search(text) else 0.2
        case "address":
            if _ADDRESS.search(fresh):
                return 1.0
            return 0.6 if re.search(r"https?://|\b\d+ [A-Z]\w+|\b[A-Z][a-z]+ [A-Z][a-z]+", fresh) else 0.1
        case "command":
            return (0.8 if _COMMAND.search(text) else 0.3) + 0.2 * _names(question, text)
        case "reason":
            return 1.0 if _REASON.search(text) else 0.4
        case "expansion":
            return max((_spells(term.word, text) for term in question.terms), default=0.0)
        case "definition":
            spelt = max((_spells(term.word, text) for term in question.terms), default=0.0)
            return max(_defines(question, text), 0.8 * (spelt == 1.0))
    return 0.5 + 0.4 * _names(question, text) if question.asked else 0.6


def _names(question: Question, text: str) -> float:
    """Return 1 where a text speaks of the kind of thing asked for ("which package …": "the easy-rsa package")."""
    return 1.0 if question.asked and question.asked in terms(text) else 0.0


def _spells(short: str, text: str) -> float:
    """Return 1 where the initials of words in a row in `text` spell the abbreviation `short`."""
    if not 2 <= len(short) <= 8 or not short.isupper():
        return 0.0
    initials = "".join(word[0] for word in re.findall(r"[A-Za-z]+", text.replace(short, " "))).lower()
    return 1.0 if short.lower() in initials else 0.2


def _defines(question: Question, text: str) -> float:
    """Return how plainly a sentence says what the question's subject is."""
    subject = "|".join(re.escape(term.word.rstrip("s")) for term in question.terms) or "$^"
    named = rf"(?i)^(?:(?:the|an?)\s+)?[\"“']?(?:{subject})\w*[\"”']?(?:\s+(?:{subject})\w*)*(?:\s*\([^)]*\))?"
    if re.search(rf"{named},?\s+(?:is|are|was|were|means|refers to|stands for)\s+(?:an?|the|one|any)\b", text):
        return 1.0
    if re.search(rf"{named},?\s+(?:an?\b|is|are|means|refers|stands|allows|provides|consists|contains)", text):
        return 0.7
    if re.search(rf"(?i)\b(?:{subject})\w*\)?(?:, an?| is an?| are|:| means| refers to) ", text):
        return 0.5
    return 0.2
