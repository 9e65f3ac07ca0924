"""Our nouns as GraphRAG's, for its context builders; GraphRAG and pandas are imported when called (seconds)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fileintel.model import Claim, Community, CommunityReport, Entity, Relationship, Source
from fileintel.protocols import Tokenizer
from fileintel.search.prompts import one_line, without_data_marks, without_marks

if TYPE_CHECKING:
    import graphrag.data_model.community_report as graphrag_report
    import graphrag.data_model.covariate as graphrag_covariate
    import graphrag.data_model.entity as graphrag_entity
    import graphrag.data_model.relationship as graphrag_relationship
    import graphrag.data_model.text_unit as graphrag_text_unit

# As GraphRAG's prompts ask of its own references: no more than five ids each.
_MOST_MARKS = 5


class GraphRagTokenizer:
    """A FileIntel tokenizer as GraphRAG's context builders call it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the text's token numbers."""
        return self._tokenizer.encode(text)

    def decode(self, tokens: list[int]) -> str:
        """Return the text of token numbers."""
        return self._tokenizer.decode(tokens)

    def num_tokens(self, text: str) -> int:
        """Return how many tokens the text has."""
        return self._tokenizer.count(text)


def cell(text: str) -> str:
    """Return the text as one cell of GraphRAG's tables, which are split at "|" and line ends without quoting."""
    return one_line(without_marks(without_data_marks(text))).replace("|", "/")


class SourceMarks:
    """The marks of the sources that rows of the graph rest on."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._number = {source.text_unit_id: source.number for source in sources}

    def of(self, text_unit_ids: Iterable[str]) -> str:
        """Return up to five marks, "[1][4]", of those text units that are sources; "" when none is."""
        return "".join(f"[{number}]" for number in self.numbers(text_unit_ids)[:_MOST_MARKS])

    def numbers(self, text_unit_ids: Iterable[str]) -> list[int]:
        """Return the numbers of those text units that are sources, in order."""
        return sorted({self._number[unit] for unit in text_unit_ids if unit in self._number})


def to_entities(
    entities: Sequence[Entity], communities: Sequence[Community], marks: SourceMarks
) -> list[graphrag_entity.Entity]:
    """Return the entities with their communities' numbers, and the column "sources" of marks."""
    from graphrag.data_model.entity import Entity as GraphRagEntity

    member_of: dict[str, list[str]] = {}
    for community in communities:
        for entity_id in community.entity_ids:
            member_of.setdefault(entity_id, []).append(str(community.number))
    return [
        GraphRagEntity(
            id=entity.id,
            short_id=str(entity.human_readable_id),
            title=cell(entity.title),
            type=entity.type,
            description=cell(entity.description),
            community_ids=member_of.get(entity.id, []),
            text_unit_ids=list(entity.text_unit_ids),
            rank=entity.degree,
            attributes={"sources": marks.of(entity.text_unit_ids)},
        )
        for entity in entities
    ]


def to_relationships(
    relationships: Sequence[Relationship], marks: SourceMarks
) -> list[graphrag_relationship.Relationship]:
    """Return the relationships with the column "sources" of marks."""
    from graphrag.data_model.relationship import Relationship as GraphRagRelationship

    return [
        GraphRagRelationship(
            id=relationship.id,
            short_id=str(relationship.human_readable_id),
            source=cell(relationship.source),
            target=cell(relationship.target),
            weight=relationship.weight,
            description=cell(relationship.description),
            text_unit_ids=list(relationship.text_unit_ids),
            rank=relationship.combined_degree,
            attributes={"sources": marks.of(relationship.text_unit_ids)},
        )
        for relationship in relationships
    ]


def to_covariates(claims: Sequence[Claim], marks: SourceMarks) -> list[graphrag_covariate.Covariate]:
    """Return the claims with GraphRAG's columns of them and the column "sources" of marks."""
    from graphrag.data_model.covariate import Covariate

    return [
        Covariate(
            id=claim.id,
            short_id=str(claim.human_readable_id),
            subject_id=cell(claim.subject),
            text_unit_ids=[claim.text_unit_id],
            attributes={
                "object_id": cell(claim.object),
                "status": cell(claim.status),
                "start_date": cell(claim.start_date),
                "end_date": cell(claim.end_date),
                "description": cell(claim.description),
                "sources": marks.of([claim.text_unit_id]),
            },
        )
        for claim in claims
    ]


def to_text_units(sources: Sequence[Source]) -> list[graphrag_text_unit.TextUnit]:
    """Return the sources as text units."""
    from graphrag.data_model.text_unit import TextUnit as GraphRagTextUnit

    return [
        GraphRagTextUnit(
            id=source.text_unit_id, short_id=str(source.number), text=source.text, document_id=source.document_id
        )
        for source in sources
    ]


def to_reports(
    reports: Sequence[CommunityReport],
    *,
    contents: Mapping[str, str] | None = None,
    attributes: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[graphrag_report.CommunityReport]:
    """Return the reports, numbered by community; `contents` (by report id) replaces full contents, `attributes` (by
    community) adds columns."""
    from graphrag.data_model.community_report import CommunityReport as GraphRagReport

    return [
        GraphRagReport(
            id=report.id,
            short_id=str(report.community),
            title=cell(report.title),
            community_id=str(report.community),
            summary=without_marks(report.summary),
            full_content=without_marks((contents or {}).get(report.id, report.full_content)).replace("\r", ""),
            rank=report.rank,
            attributes=dict((attributes or {}).get(report.community, {})) or None,
        )
        for report in reports
    ]
