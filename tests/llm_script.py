"""What the scripted model server answers, from the prompt alone, and a corpus whose graph is therefore known.

Extraction rule: a name is a run of capitalised words ("Alice", "Harbour Bank"; a leading "The", "In", … is not one).
In each sentence all names are entities, described by that sentence, and the first name is related to each other one:
"Alice knows Bob and Carol." gives ALICE-BOB and ALICE-CAROL. `corpus()` writes texts whose graph is so known.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# --- a corpus whose graph is known ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Texts and the graph that the extraction rule finds in them; titles are in capitals, as GraphRAG keeps them."""

    texts: tuple[str, ...]
    communities: tuple[frozenset[str], ...]
    relationships: frozenset[tuple[str, str]]

    @property
    def entities(self) -> frozenset[str]:
        """All titles."""
        return frozenset(itertools.chain.from_iterable(self.communities))


_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u")]
_VERBS = ("knows", "advises", "pays", "trains", "visits", "insures", "follows", "employs", "trusts", "supplies")


def made_up_name(number: int) -> str:
    """Return the `number`-th made-up name: one capitalised word, unlike any other number's (up to 24 million)."""
    parts = []
    rest = (number * 9973 + 4241) % len(_SYLLABLES) ** 4
    for _ in range(4):
        rest, index = divmod(rest, len(_SYLLABLES))
        parts.append(_SYLLABLES[index])
    return "".join(parts).capitalize()


def corpus(communities: int, size: int = 6, padding: int = 0) -> Corpus:
    """Write one text per community: all pairs of its `size` entities are related, and one edge leads to the next
    community, so that the graph is connected; `padding` sentences without names are added to each text.

    With max_cluster_size 10 and size 6, hierarchical Leiden makes at least `communities` communities of it.
    """
    members = [[made_up_name(c * size + i) for i in range(size)] for c in range(communities)]
    texts, relationships = [], set()
    for number, names in enumerate(members):
        pairs = list(itertools.combinations(names, 2))
        if communities > 1 and number < communities - 1:
            pairs.append((names[-1], members[number + 1][0]))
        sentences = [f"{a} {_VERBS[i % len(_VERBS)]} {b}." for i, (a, b) in enumerate(pairs)]
        sentences += ["The matter was written down in the usual way and put aside for later."] * padding
        texts.append(" ".join(sentences))
        relationships.update((a.upper(), b.upper()) for a, b in pairs)
    return Corpus(tuple(texts), tuple(frozenset(n.upper() for n in m) for m in members), frozenset(relationships))


# --- answers ----------------------------------------------------------------------------------------------------------

_STOP = frozenset(
    re.findall(
        r"\w+",
        "A An And As At After Before But By For From He Her His How I If In Is It Its No Not Of On Or She So That The"
        " Their Then There These They This To We What When Where Which Who Why With You",
    )
)
_NAME = re.compile(r"\b[A-Z][\w'’]*(?:[ -][A-Z][\w'’]*)*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_ENTITY_TYPES = re.compile(r"Entity_types:\s*(.*)")
_SUMMARY_INPUT = re.compile(r"Entities:\s*(.*)\nDescription List:\s*(.*)")
_TABLE = re.compile(r"-----Entities-----\n[^\n]*\n((?:\d+,[^\n]*\n?)+)")
_REPORT_ROW = re.compile(r"(?m)^(\d+)[,|]\s*\"?([^,|\n\"]*)")
_REPORT_TITLE = re.compile(r"(?m)^# (.+)$")
_SOURCE_ROW = re.compile(r"-----Sources-----\nid\|text\n(\d+)\|(.*)")
_FIRST_SOURCE = re.compile(
    r"(?mi)^[\s#*\-]*(?:<source[^>\n]*\b1\b[^>\n]*>|source\s*[\[(#]?1\b[\])]?:?|\[1\]|\(1\)|1[.:)])[ \t]*"
    r"(.*(?:\n.*){0,3})"
)
_TYPE_OF_LAST_WORD = {
    **dict.fromkeys(("Bank", "Ltd", "Institute", "Company", "University", "Council"), "ORGANIZATION"),
    **dict.fromkeys(("City", "Harbour", "Island", "River", "Valley", "Street"), "GEO"),
    **dict.fromkeys(("Festival", "Congress", "Flood", "Trial", "Fire"), "EVENT"),
}
BAD_ANSWER = "I would rather talk about the weather."


def first_asked(messages: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return a chat as it was before its model was told that its answer cannot be used."""
    corrected = len(messages) >= 3 and re.match(r"(Your|\d+ of your) ", messages[-1]["content"]) is not None
    return messages[:-2] if corrected else messages


def kind_of(messages: Sequence[dict[str, Any]]) -> str:
    """Tell what a chat asks for: extract, glean, loop, summarize, report, map, rate, expand, primer, follow_up, reduce,
    answer or other."""
    messages = first_asked(messages)
    last = messages[-1]["content"] if messages else ""
    if last.startswith("MANY entities and relationships were missed"):
        return "glean"
    if last.startswith("It appears some entities"):
        return "loop"
    if "Description List:" in last:
        return "summarize"
    if "-Real Data-" in last and "Entity_types:" in last:
        return "extract"
    text = "\n".join(message["content"] for message in messages)
    if text.startswith("You write a made-up answer"):
        return "expand"
    if '"rating": the relevancy rating' in text:
        return "rate"
    if "'follow_up_queries'" in text:
        return "primer" if "'intermediate_answer'" in text else "follow_up"
    if '"rating_explanation"' in text:
        return "report"
    if '"points"' in text and '"score"' in text:
        return "map"
    if "nalyst" in text and ("---Analyst Reports---" in text or "----Analyst" in text):
        return "reduce"
    return "answer" if "[n]" in text or "[1]" in text else "other"


def names_in(sentence: str) -> list[str]:
    """Return the sentence's names in order, each once."""
    found: dict[str, None] = {}
    for match in _NAME.findall(sentence):
        words = match.split(" ")
        while words and words[0] in _STOP:
            words = words[1:]
        if words:
            found[" ".join(words)] = None
    return list(found)


def extract(text: str) -> str:
    """Return GraphRAG's tuple records for the text by the rule of this file."""
    described: dict[str, str] = {}
    related: dict[tuple[str, str], str] = {}
    for sentence in _SENTENCE.split(text):
        names = names_in(sentence)
        for name in names:
            described.setdefault(name, sentence.strip())
        for other in names[1:]:
            related.setdefault((names[0], other), sentence.strip())
    records = [
        f'("entity"<|>{name.upper()}<|>{_TYPE_OF_LAST_WORD.get(name.rsplit(" ", 1)[-1], "PERSON")}<|>{sentence})'
        for name, sentence in described.items()
    ]
    records += [
        f'("relationship"<|>{a.upper()}<|>{b.upper()}<|>{sentence}<|>5)' for (a, b), sentence in related.items()
    ]
    return "\n##\n".join(records) + "\n<|COMPLETE|>"


def report(text: str) -> str:
    """Return a community report (JSON) over the last entity table of the prompt."""
    tables = _TABLE.findall(text)
    rows = [row.split(",", 2) for row in tables[-1].strip().splitlines()] if tables else []
    rows = [[*row, "", ""][:3] for row in rows] or [["0", "COMMUNITY", "An empty community"]]
    listed = ", ".join(row[1] for row in rows[:10])
    findings = [
        {"summary": f"{title} belongs here", "explanation": f"{about.strip()} [Data: Entities ({number})]."}
        for number, title, about in rows[:5]
    ]
    return json.dumps(
        {
            "title": f"{rows[0][1]} and its community",
            "summary": f"A community of {listed}.",
            "rating": 5.0,
            "rating_explanation": "Every scripted community is rated alike.",
            "findings": findings,
        }
    )


def quote_first_source(text: str) -> str:
    """Answer with the first sentence of the source numbered 1 and its mark, or refuse when there is none."""
    found = _FIRST_SOURCE.search(text)
    if found is None:
        return "I cannot answer this from the documents: no source was given."
    lines = [line.strip() for line in found.group(1).splitlines() if line.strip()]
    # A source's first line may be its heading (document, page): the text is then on the next.
    line = next((line for line in lines if re.search(r"\w[.!?](\s|$)", line)), lines[-1] if lines else "")
    return f"The documents say: {_SENTENCE.split(line)[0].rstrip('.')} [1]."


def answer(kind: str, messages: Sequence[dict[str, Any]]) -> str:
    """Return the scripted answer to a chat of this kind."""
    messages = first_asked(messages)
    last = messages[-1]["content"] if messages else ""
    if kind == "extract":
        real = last.rsplit("-Real Data-", 1)[1]
        body = real.split("Text:", 1)[1].rsplit("######################", 1)[0]
        return extract(body)
    if kind == "glean":
        return "<|COMPLETE|>"
    if kind == "loop":
        return "N"
    if kind == "summarize":
        found = _SUMMARY_INPUT.search(last)
        return f"{found.group(1)} in all: {found.group(2)[:400]}" if found else last[-400:]
    text = "\n".join(message["content"] for message in messages)
    if kind == "report":
        return report(text)
    if kind == "map":
        row = _REPORT_ROW.search(text.rsplit("---Data tables---", 1)[-1])
        number, title = row.groups() if row else ("0", "Nothing")
        return json.dumps({"points": [{"description": f"{title} [Data: Reports ({number})]", "score": 60}]})
    if kind == "rate":
        # Relevant is what shares a name with the question; a question without names makes all of it so.
        names = {name.upper() for name in names_in(last)}
        described = text.split("---Information---", 1)[1].rsplit("---Question---", 1)[0].upper()
        return json.dumps(
            {"reason": "By its names.", "rating": 4 if not names or any(map(described.count, names)) else 0}
        )
    if kind == "expand":
        return f"# A report\n\n{last.rsplit('Question:', 1)[-1].strip()}"
    if kind == "primer":
        titles = _REPORT_TITLE.findall(text.split("The top-ranked community summaries:", 1)[-1])
        follow_ups = [f"What is known about {title}?" for title in titles[:5]]
        return json.dumps({"intermediate_answer": ", ".join(titles), "score": 70, "follow_up_queries": follow_ups})
    if kind == "follow_up":
        row = _SOURCE_ROW.search(text)
        said = f"{_SENTENCE.split(row.group(2))[0]} [Data: Sources ({row.group(1)})]" if row else "Nothing is known."
        more = [f"{last.rstrip('?')} and its neighbours?"] if "neighbours" not in last else []
        return json.dumps({"response": said, "score": 80 if row else 0, "follow_up_queries": more})
    if kind in ("answer", "reduce"):
        return quote_first_source(text)
    return f"You wrote {len(last)} characters."


@functools.lru_cache(maxsize=50_000)
def _bucket(word: str, dimensions: int) -> int:
    return zlib.crc32(word.encode()) % dimensions


def embed(text: str, dimensions: int) -> list[float]:
    """Return the text's hashed bag of words, of unit length: the more words shared, the higher the cosine."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        vector[_bucket(word, dimensions)] += 1.0
    norm = math.sqrt(sum(x * x for x in vector))
    if not norm:
        return [1.0] + vector[1:]
    return [x / norm for x in vector]
