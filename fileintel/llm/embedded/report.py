"""Community reports by choosing sentences from what is said of a community's entities and relationships."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from pydantic import BaseModel

from fileintel.llm.embedded.language import sentences, shorten, tidy, words
from fileintel.llm.embedded.summarize import best_sentences, distinct

_MAX_SENTENCES = 160
_MAX_FINDINGS = 6
_MAX_NAMING = 4  # sentences that describe an entity which comes without a description


class ReportEntity(BaseModel):
    """An entity of a community as the report stage gets it."""

    title: str
    type: str = ""
    description: str = ""
    degree: float = 0


class ReportRelationship(BaseModel):
    """A relationship of a community as the report stage gets it."""

    source: str
    target: str
    description: str = ""
    weight: float = 1.0


def described(entities: Sequence[ReportEntity], texts: Sequence[str]) -> list[ReportEntity]:
    """Return the entities, those without a description described by the first sentences of the texts that name them.

    The fast method gives noun phrases, and the text units they stand in, in place of descriptions.
    """
    said = distinct([sentence.text for text in texts for sentence in sentences(text) if not sentence.is_heading])
    folded = [f" {' '.join(words(sentence)).casefold()} " for sentence in said]
    found = []
    for entity in entities:
        name = f" {' '.join(words(entity.title)).casefold()} "
        naming = [text for text, form in zip(said, folded, strict=True) if name.strip() and name in form]
        given = entity.description or " ".join(naming[:_MAX_NAMING])
        found.append(entity.model_copy(update={"description": given}))
    return found


def community_report(
    entities: Sequence[ReportEntity],
    relationships: Sequence[ReportRelationship],
    max_words: int,
    texts: Sequence[str] = (),
) -> str:
    """Return GraphRAG's report as JSON: title, summary, findings, rating (0-10) and its explanation.

    `texts` are text units that describe entities which have no description.
    """
    if texts:
        entities = described(entities, texts)
    links: dict[str, float] = {}
    for relationship in relationships:
        for end in (relationship.source, relationship.target):
            links[end] = links.get(end, 0.0) + relationship.weight
    central = sorted(
        entities, key=lambda e: (-links.get(e.title, 0.0), -e.degree, e.type.lower() == "concept", e.title)
    )
    strongest = sorted(relationships, key=lambda r: (-r.weight, r.source, r.target))
    spoken = [_spoken(entity) for entity in central]
    said = [sentence.text for entity in central for sentence in sentences(entity.description)]
    said += [sentence.text for relationship in strongest for sentence in sentences(relationship.description)]
    candidates = distinct(said[:_MAX_SENTENCES])
    named = [name for entity, name in zip(central, spoken, strict=True) if entity.type.lower() != "concept"]
    # A community is known by its names; terms only stand in where it has none.
    leading = (named or spoken)[:3]
    limit = max(40, max_words)
    summary = best_sentences(candidates, max_words=min(limit // 3, 110), about=leading, most=4)
    findings = _findings(central, strongest, spoken, limit, set())
    rating = _rating(len(entities), relationships)
    report = {
        "title": _capital(shorten(_joined(leading) or "Unnamed community", 120)),
        "summary": tidy(_opening(spoken, len(relationships)) + " " + " ".join(summary)),
        "findings": findings,
        "rating": rating,
        "rating_explanation": (
            f"Rated by structure alone: {len(entities)} entities and {len(relationships)} relationships "
            f"of total weight {sum(r.weight for r in relationships):g}."
        ),
    }
    return json.dumps(report, ensure_ascii=False)


def _spoken(entity: ReportEntity) -> str:
    """Return the title as its own description spells it; GraphRAG keeps titles in capitals."""
    at = entity.description.casefold().find(entity.title.casefold())
    found = entity.description[at : at + len(entity.title)] if at >= 0 else ""
    return tidy(found) or (tidy(entity.title).title() if entity.title.isupper() else tidy(entity.title))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _opening(spoken: Sequence[str], relationships: int) -> str:
    if not spoken:
        return "This community is empty."
    shown = _joined(spoken[:5])
    others = f" and {len(spoken) - 5} more" if len(spoken) > 5 else ""
    return f"This community is about {shown}{others}, tied by {relationships} relationship{'s' * (relationships != 1)}."


def _findings(
    central: Sequence[ReportEntity],
    strongest: Sequence[ReportRelationship],
    spoken: Sequence[str],
    limit: int,
    told: set[str],
) -> list[dict[str, str]]:
    """Return a finding per central entity: its best sentence, and what else is said of it and its neighbours."""
    findings: list[dict[str, str]] = []
    used = 0
    for entity, name in list(zip(central, spoken, strict=True))[: 2 * _MAX_FINDINGS]:
        own = [s.text for s in sentences(entity.description)]
        ties = [r for r in strongest if entity.title in (r.source, r.target)][:12]
        around = [s.text for r in ties for s in sentences(r.description)]
        fresh = [text for text in distinct([*own, *around]) if text not in told]
        chosen = best_sentences(fresh, max_words=110, about=[name], most=4)
        length = sum(len(text.split()) for text in chosen)
        if not chosen or (findings and used + length > limit) or len(findings) >= _MAX_FINDINGS:
            continue
        used += length
        told.update(chosen)
        lead = max(chosen, key=lambda text: (name.casefold() in text.casefold(), -chosen.index(text)))
        findings.append({"summary": f"{name}: {shorten(tidy(lead), 140)}", "explanation": tidy(" ".join(chosen))})
    return findings


def _rating(size: int, relationships: Sequence[ReportRelationship]) -> float:
    """Return 1-10 from the number of entities, how densely they are tied, and how strongly."""
    if not size:
        return 0.0
    weight = sum(r.weight for r in relationships)
    rating = 1.0 + 1.6 * math.log2(1 + size) * 0.6 + 1.2 * math.log10(1 + weight) + len(relationships) / size * 0.5
    return round(min(10.0, rating), 1)
