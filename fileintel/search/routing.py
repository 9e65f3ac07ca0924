"""Choosing the search mode a question needs, by its wording and by the entities it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_WHOLE = (
    r"(?:collection|corpus|dataset|data\s?set|archive|library|knowledge\s?base"
    r"|documents?|files?|texts?|reports?|papers?|material)"
)

# On the whole, whoever is named.
_STRONG: tuple[tuple[str, str], ...] = (
    (
        r"\b(?:main|key|major|central|common|recurring|overarching|principal|dominant|top)\s+(?:\w+\s+){0,2}?"
        r"(?:themes?|topics?|subjects?|issues?|ideas|messages?|findings|takeaways|trends?|concerns?|storylines?)\b",
        "asks for themes",
    ),
    (r"\bwhat\s+(?:\w+\s+)?(?:themes?|topics?|subjects?)\b", "asks for themes"),
    (
        r"\b(?:across|throughout|in|of|over|from)\s+(?:all|the\s+entire|the\s+whole|every|each)\s+"
        rf"(?:of\s+)?(?:the\s+|these\s+)?{_WHOLE}\b",
        "asks across all documents",
    ),
    (rf"\bacross\s+(?:the\s+)?{_WHOLE}\b", "asks across the documents"),
    (
        rf"\b(?:summari[sz]e|sum\s+up|outline|describe|characteri[sz]e|overview\s+of|summary\s+of|gist\s+of)\s+"
        rf"(?:of\s+)?(?:all|everything|(?:(?:all|the\s+whole|the\s+entire|the|this|these|my|our)\s+)+"
        rf"(?:of\s+)?(?:the\s+|these\s+)?{_WHOLE})\b",
        "asks for a summary of the collection",
    ),
    (
        rf"\bwhat\s+(?:is|are|'s)\s+(?:the|this|these|all\s+the|all\s+these)\s+{_WHOLE}\s+(?:all\s+)?about\b",
        "asks what the collection is about",
    ),
    (r"\b(?:big\s+picture|bird'?s[- ]eye)\b", "asks for the big picture"),
)

# On the whole, unless an entity of the graph is named.
_WEAK: tuple[tuple[str, str], ...] = (
    (r"\boverall\b|\bin\s+general\b|\bgenerally\b|\bas\s+a\s+whole\b", "asks overall"),
    (
        r"\b(?:what|who|which)\s+(?:\w+\s+){0,3}?(?:are|were)\s+the\s+(?:most|least|biggest|largest|main|key|major)\b",
        "asks for the most of all",
    ),
    (r"\bwhich\s+(?:\w+\s+){1,3}?(?:are|were|is|was)\s+(?:the\s+)?(?:most|least)\b", "asks for the most of all"),
    (r"\b(?:trends?|patterns?|themes?)\b", "asks for trends"),
    (r"\bwhat\s+(?:kinds?|types?|sorts?)\s+of\b", "asks for kinds"),
    (r"\b(?:list|name)\s+all\b|\bhow\s+do\s+the\s+(?:documents|reports|papers)\b", "asks for all of a kind"),
)

_RELATION: tuple[tuple[str, str], ...] = (
    (
        r"\b(?:relat(?:ed|es?|ion|ions|ionships?)|connect(?:ed|s|ions?)?"
        r"|link(?:ed|s)?|ties?|tied|associated|affiliat\w+)\b",
        "asks for a relation",
    ),
    (
        r"\bwho(?:m|se)?\s+(?:is|was|are|were|did|does|has|had"
        r"|owns?|leads?|led|founded|works?|worked|runs?|ran|knows?|knew)\b",
        "asks who somebody is or did",
    ),
    (
        r"\b(?:role|part|position|involvement)\b.{0,60}?\b(?:play|played|plays|had|has|have|of|in|did|does)\b",
        "asks for a role",
    ),
    (r"\bwhat\s+(?:role|part)\b", "asks for a role"),
    (
        r"\b(?:work(?:s|ed)?|met|meet|deal(?:s|t|ings)?|cooperat\w+|collaborat\w+|interact\w*)\s+(?:together\s+)?with\b",
        "asks for dealings",
    ),
    (r"\b(?:between|involved\s+(?:in|with)|influenc\w+|responsible\s+for|belongs?\s+to)\b", "asks for a connection"),
    (
        r"\b(?:tell\s+me\s+about|what\s+(?:is|was)\s+known\s+about|what\s+do\s+we\s+know\s+(?:about|of))\b",
        "asks about somebody or something",
    ),
)

_COMPILED = {
    name: tuple((re.compile(pattern, re.IGNORECASE), reason) for pattern, reason in rules)
    for name, rules in (("strong", _STRONG), ("weak", _WEAK), ("relation", _RELATION))
}
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_COMMON_WORDS = """
    about after agency association bank board center centre city club college commission committee company
    council court day department division foundation general group house institute international museum
    national new north office old park party police port press project programme program research river
    royal school service society south state street team trust union university west east what when where
    which who whom whose how why
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class Route:
    """The mode a question is answered in, why, and the entities of the graph it names."""

    mode: Literal["basic", "local", "global"]
    reasons: tuple[str, ...]
    entities: tuple[str, ...] = ()


def named_entities(question: str, titles: Iterable[str]) -> tuple[str, ...]:
    """Return those entity titles that the question names, whole or by one telling capitalised word ("Halden" for
    "MARTA HALDEN"); of titles within each other the longest, in the given order."""
    words = [word.removesuffix("'s").removesuffix("’s") for word in _WORD.findall(question)]
    folded = [word.casefold() for word in words]
    text = f" {' '.join(folded)} "
    # A capital says nothing at the beginning of the question; everywhere in one typed in capitals, even less.
    capitalised = {
        word.casefold() for at, word in enumerate(words) if at > 0 and word[0].isupper() and not question.isupper()
    }
    whole: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    for title in titles:
        wanted = [word.casefold() for word in _WORD.findall(title)]
        if not wanted or title in whole:
            continue
        if f" {' '.join(wanted)} " in text and (len(wanted) > 1 or len(wanted[0]) > 2 or title in question):
            whole[title] = " ".join(wanted)
            continue
        if len(wanted) > 1:
            for word in wanted:
                if len(word) > 3 and word not in _COMMON and word in capitalised:
                    parts.setdefault(word, []).append(title)
    longest = [t for t, w in whole.items() if not any(w != o and f" {w} " in f" {o} " for o in whole.values())]
    covered = {word for title in longest for word in whole[title].split()}
    # One word names one entity, the first given (nearest to the question); not two that share a family name.
    by_part = [titles_of[0] for word, titles_of in parts.items() if word not in covered]
    return tuple(dict.fromkeys([*longest, *by_part]))


def _first(kind: str, question: str) -> str | None:
    return next((reason for pattern, reason in _COMPILED[kind] if pattern.search(question)), None)


def route_by_graph(question: str, *, entity_titles: Iterable[str] = ()) -> Route:
    """Choose between the modes that read the graph for a question asked in mode graph: global for one on the whole
    collection, local for any other."""
    chosen = route(question, has_graph=True, entity_titles=entity_titles)
    return chosen if chosen.mode != "basic" else Route("local", chosen.reasons, chosen.entities)


def route(question: str, *, has_graph: bool, entity_titles: Iterable[str] = ()) -> Route:
    """Choose the mode for a question asked in mode auto.

    Never drift, which costs tens of calls: that is for who asks to say. `entity_titles` are titles of the published
    graph the question may mean (those nearest to it by embedding will do). Global for a question on the whole
    collection, local for one on named entities, basic otherwise and wherever there is no graph.
    """
    if not has_graph:
        return Route("basic", ("there is no published graph",))
    entities = named_entities(question, entity_titles)
    naming = ("names " + ", ".join(entities),) if entities else ()
    relation = _first("relation", question)
    strong = _first("strong", question)
    if strong and not (relation and len(entities) >= 2):
        return Route("global", (strong, *naming), entities)
    if len(entities) >= 2:
        return Route("local", (*((relation,) if relation else ()), *naming), entities)
    if entities and relation:
        return Route("local", (relation, *naming), entities)
    weak = _first("weak", question)
    if weak and not entities:
        return Route("global", (weak,), entities)
    if entities:
        return Route("basic", (*naming, "asks for a fact, not for a relation"), entities)
    return Route("basic", ("names no entity of the graph and does not ask about the whole",), entities)
