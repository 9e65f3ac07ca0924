"""What the scripted model server answers to the prompts of GraphRAG, LightRAG and ours, from the prompt alone.

Extraction rule: a name is a run of capitalised words ("Alice", "Harbour Bank"; a leading "The", "In", … is not one).
In each sentence all names are entities, described by that sentence, and the first name is related to each other one:
"Alice knows Bob and Carol." gives ALICE-BOB and ALICE-CAROL, and the claim about ALICE that it is so. `corpus()`
writes texts whose graph is so known.
"""

from __future__ import annotations

import array
import base64
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
_LIGHTRAG_TEXT = "---Input Text---\n```\n"
_LIGHTRAG_SUMMARY_INPUT = re.compile(r"(?:Entity|Relation) Name: (.*)\n\nDescription List:\n\n```\n((?s:.*))\n```")
_TABLE = re.compile(r"-----Entities-----\n[^\n]*\n((?:\d+,[^\n]*\n?)+)")
_UNIT_ROW = re.compile(r"(?m)^(\d+),\"?(.*)")
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
    """Tell what a chat asks for: extract, glean, loop, claims, glean_claims, summarize, report, map, rate, expand,
    primer, follow_up, reduce, answer or other."""
    messages = first_asked(messages)
    last = messages[-1]["content"] if messages else ""
    if last.startswith("MANY entities were missed"):
        return "glean_claims"
    if last.startswith("MANY entities and relationships were missed"):
        return "glean"
    if last.startswith("It appears some entities"):
        return "loop"
    if "Description List:" in last:
        return "summarize"
    if "-Real Data-" in last and "Entity_types:" in last:
        return "extract"
    if "-Real Data-" in last and "Claim description:" in last:
        return "claims"
    if _LIGHTRAG_TEXT in last:
        return "extract"
    if last.startswith("---Task---") and "last extraction task" in last[:200]:
        return "glean"
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


@functools.lru_cache(maxsize=400_000)
def _told(sentence: str) -> tuple[str, ...]:
    return tuple(names_in(sentence))


def graph_of(text: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Return each name with the first sentence about it, and each related pair with the first that relates it."""
    described: dict[str, str] = {}
    related: dict[tuple[str, str], str] = {}
    for sentence in _SENTENCE.split(text):
        names = _told(sentence)
        if not names:
            continue
        said = sentence.strip()
        for name in names:
            described.setdefault(name, said)
        for other in names[1:]:
            related.setdefault((names[0], other), said)
    return described, related


def _type_of(name: str) -> str:
    return _TYPE_OF_LAST_WORD.get(name.rsplit(" ", 1)[-1], "PERSON")


@functools.lru_cache(maxsize=20_000)
def extract(text: str) -> str:
    """Return GraphRAG's tuple records for the text by the rule of this file."""
    described, related = graph_of(text)
    records = [f'("entity"<|>{name.upper()}<|>{_type_of(name)}<|>{sentence})' for name, sentence in described.items()]
    records += [
        f'("relationship"<|>{a.upper()}<|>{b.upper()}<|>{sentence}<|>5)' for (a, b), sentence in related.items()
    ]
    return "\n##\n".join(records) + "\n<|COMPLETE|>"


def claims(text: str) -> str:
    """Return GraphRAG's claim records: each sentence claims of its first name what it says, against its second."""
    records = []
    for sentence in _SENTENCE.split(text.strip()):
        names = names_in(sentence)
        if names:
            subject, object_ = (name.upper() for name in [*names, "none"][:2])
            said = sentence.strip()
            records.append(f"({subject}<|>{object_}<|>STATEMENT<|>TRUE<|>NONE<|>NONE<|>It is said: {said}<|>{said})")
    return "\n##\n".join(records) + "\n<|COMPLETE|>"


@functools.lru_cache(maxsize=20_000)
def extract_for_lightrag(text: str) -> str:
    """Return the same graph in the rows that LightRAG asks for."""
    described, related = graph_of(text)
    rows = [f"entity<|#|>{name}<|#|>{_type_of(name).title()}<|#|>{about}" for name, about in described.items()]
    rows += [f"relation<|#|>{a}<|#|>{b}<|#|>acquaintance<|#|>{about}" for (a, b), about in related.items()]
    return "\n".join(rows) + "\n<|COMPLETE|>"


def report(text: str) -> str:
    """Return a community report (JSON) over the last table of entities of the prompt, else over its text units."""
    # The prompt's examples hold such tables too: the last one is the real one.
    table = _TABLE.search(text, max(0, text.rfind("-----Entities-----\n")))
    rows = [row.split(",", 2) for row in table.group(1).strip().splitlines()] if table else _named_sources(text)
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


def _named_sources(text: str) -> list[list[str]]:
    found = _UNIT_ROW.findall(text.rsplit("-----SOURCES-----", 1)[-1]) if "-----SOURCES-----" in text else []
    return [[number, *names_in(unit)[:1], unit] for number, unit in found if names_in(unit)]


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
        if _LIGHTRAG_TEXT in last:
            return extract_for_lightrag(last.rsplit(_LIGHTRAG_TEXT, 1)[1].split("\n```", 1)[0])
        real = last.rsplit("-Real Data-", 1)[1]
        body = real.split("Text:", 1)[1].rsplit("######################", 1)[0]
        return extract(body.strip())
    if kind in ("glean", "glean_claims"):
        return "<|COMPLETE|>"
    if kind == "claims":
        return claims(last.rsplit("-Real Data-", 1)[1].split("Text:", 1)[1].rsplit("Output:", 1)[0])
    if kind == "loop":
        return "N"
    if kind == "summarize":
        found = _SUMMARY_INPUT.search(last) or _LIGHTRAG_SUMMARY_INPUT.search(last)
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


def embeddings(body: dict[str, Any], dimensions: int) -> dict[str, Any]:
    """Return the answer to a request for embeddings."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors: list[Any] = [embed(text, body.get("dimensions") or dimensions) for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(array.array("f", vector).tobytes()).decode() for vector in vectors]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    tokens = sum(map(len, texts)) // 4
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": body.get("model", ""), "data": data, "usage": usage}
