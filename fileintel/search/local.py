"""Local search: what the graph knows around the entities of a question, beside the text units it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fileintel.model import ChatRequest, Community, CommunityReport, Entity, Relationship, Source, Stage
from fileintel.protocols import Tokenizer
from fileintel.search.plan import Plan
from fileintel.search.prompts import LOCAL_SYSTEM, answer_messages, in_form, stage_sources, without_data_marks
from fileintel.search.ranking import distinct, fuse, pack
from fileintel.search.tables import (
    GraphRagTokenizer,
    SourceMarks,
    cell,
    to_entities,
    to_relationships,
    to_reports,
    to_text_units,
)

# Of the room for entities and relationships; what the entities leave goes to the relationships.
_ENTITY_SHARE = 0.6
_TRIES = 4
# The header of the table of reports, and the marks and id in a row.
_ROW_FRAME = 32
# Joining two texts may cost a token or two more than their sum.
_SLACK = 8


@dataclass(frozen=True, slots=True)
class _Graph:
    """The graph around a question as given, and what of it goes into the prompt."""

    entities: Sequence[Entity]
    relationships: Sequence[Relationship]
    reports: Sequence[CommunityReport]
    communities: Sequence[Community]
    tokenizer: GraphRagTokenizer
    top_k_relationships: int
    listed: Sequence[Entity] | None = None  # the entities with a row of their own, once that is known
    summaries: bool = False  # whether reports are shown by their summaries


@dataclass(frozen=True, slots=True)
class LocalContext:
    """What the graph and the documents say around some entities: `tables` of the graph, numbered `sources`."""

    tables: str
    sources: tuple[Source, ...]
    candidates: int


def local_context(
    *,
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    reports: Sequence[CommunityReport],
    communities: Sequence[Community],
    units: Sequence[Source],
    tokenizer: Tokenizer,
    max_tokens: int = 12_000,
    text_unit_share: float = 0.5,
    report_share: float = 0.15,
    top_k_relationships: int = 10,
    max_sources: int = 40,
) -> LocalContext:
    """Choose what a prompt shows of the graph around `entities` and of the text units it was drawn from.

    `entities` come nearest to the question first; `relationships` are all that touch them; `communities` and
    `reports` those that hold them; `units` the entities' text units and, with their search score, the hits of basic
    search, in any order. `max_tokens` bounds tables and sources together: reports get at most `report_share` of it,
    sources at least `text_unit_share` and all that the tables leave.
    """
    if not 0 <= report_share + text_unit_share <= 1:
        raise ValueError("report_share and text_unit_share together must be between 0 and 1")
    graph = _Graph(entities, relationships, reports, communities, GraphRagTokenizer(tokenizer), top_k_relationships)
    candidates = distinct(_ranked(graph, units))

    # Which source numbers a row may name is known only when the sources are packed, and how much room they have only
    # when the tables are made. So make the tables once with the marks of all candidates, give the sources what is
    # left, and make the tables again of the same rows, which can only have become shorter.
    report_tokens = int(max_tokens * report_share)
    fact_tokens = int(max_tokens * (1 - report_share - text_unit_share))
    marks = SourceMarks(pack(candidates, tokenizer=tokenizer, max_tokens=max_tokens, max_sources=max_sources))
    report_table, graph = _report_table(graph, marks, report_tokens)
    fact_tables, graph = _fact_tables(graph, marks, fact_tokens)
    room = max_tokens - tokenizer.count(report_table) - tokenizer.count(fact_tables) - _SLACK
    sources = pack(candidates, tokenizer=tokenizer, max_tokens=room, max_sources=max_sources)
    marks = SourceMarks(sources)
    report_table, _ = _report_table(graph, marks, report_tokens)
    fact_tables, _ = _fact_tables(graph, marks, fact_tokens)
    tables = "\n\n".join(table for table in (report_table, fact_tables) if table)
    return LocalContext(tables, tuple(sources), len(candidates))


def plan_local(
    question: str,
    *,
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    reports: Sequence[CommunityReport],
    communities: Sequence[Community],
    units: Sequence[Source],
    tokenizer: Tokenizer,
    model: str,
    max_tokens: int = 12_000,
    max_answer_tokens: int | None = None,
    response_type: str | None = None,
) -> Plan:
    """Plan an answer from the graph around `entities` and its text units, chosen as `local_context` does."""
    context = local_context(
        entities=entities,
        relationships=relationships,
        reports=reports,
        communities=communities,
        units=units,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
    )
    system = in_form(LOCAL_SYSTEM, response_type)
    request = ChatRequest(
        model=model,
        messages=answer_messages(system, question, context.sources, [("graph_tables", context.tables)]),
        max_tokens=max_answer_tokens,
        stage=Stage(
            "answer", {"question": question, "sources": stage_sources(context.sources), "context": context.tables}
        ),
    )
    note = (
        f"{len(entities)} entities, {len(relationships)} relationships, "
        f"{len(context.sources)} of {context.candidates} units"
    )
    return Plan("local", question, context.sources, answer_request=request, notes=(note,))


def _ranked(graph: _Graph, units: Sequence[Source]) -> list[Source]:
    """The units in GraphRAG's order (by entity, then by how many of its relationships they bear out) fused with their
    order by score; with no scores it is GraphRAG's order, then the rest."""
    from graphrag.query.context_builder.source_context import count_relationships

    by_id = {unit.text_unit_id: unit for unit in units}
    text_units = {unit.id: unit for unit in to_text_units(list(by_id.values()))}
    relationships = to_relationships(graph.relationships, SourceMarks(()))
    by_entity: list[tuple[int, int, Source]] = []
    taken: set[str] = set()
    for rank, entity in enumerate(graph.entities):
        title = cell(entity.title)
        touching = [r for r in relationships if title in (r.source, r.target)]
        for unit_id in entity.text_unit_ids:
            if unit_id in by_id and unit_id not in taken:
                taken.add(unit_id)
                by_entity.append((rank, -count_relationships(touching, text_units[unit_id]), by_id[unit_id]))
    by_entity.sort(key=lambda entry: entry[:2])
    by_score = sorted((unit for unit in by_id.values() if unit.score > 0), key=lambda unit: -unit.score)
    fused = fuse([unit for _, _, unit in by_entity], by_score)
    named = {unit.text_unit_id for unit in fused}
    return fused + [unit for unit in by_id.values() if unit.text_unit_id not in named]


def _report_table(graph: _Graph, marks: SourceMarks, max_tokens: int) -> tuple[str, _Graph]:
    """GraphRAG's table of the reports whose communities hold the most of the entities, best first, and the graph with
    no other reports than those in it."""
    from graphrag.query.context_builder.community_context import build_community_context

    chosen = {entity.id for entity in graph.entities}
    holds = {c.number: len(chosen.intersection(c.entity_ids)) for c in graph.communities}
    ordered = sorted(
        (report for report in graph.reports if holds.get(report.community)),
        key=lambda report: (-holds[report.community], -report.rank, report.community),
    )
    if not ordered:
        return "", replace(graph, reports=[])
    reports = to_reports(
        ordered,
        contents={report.id: without_data_marks(report.full_content) for report in ordered},
        attributes={c.number: {"sources": marks.of(c.text_unit_ids)} for c in graph.communities},
    )
    # GraphRAG gives up when the first report alone is too long; its summary usually is not.
    # Asked beforehand, since it also logs a warning.
    for use_summary in (True,) if graph.summaries else (False, True):
        allowed = max_tokens
        first = reports[0].summary if use_summary else reports[0].full_content
        for _ in range(_TRIES):
            if graph.tokenizer.num_tokens(f"{reports[0].title} {first}") + _ROW_FRAME > allowed:
                break
            text, records = build_community_context(
                community_reports=reports,
                tokenizer=graph.tokenizer,  # type: ignore[arg-type]  # duck-typed, so that nothing is imported early
                use_community_summary=use_summary,
                shuffle_data=False,
                include_community_weight=False,
                max_context_tokens=allowed,
                single_batch=True,
            )
            table = "\n\n".join(text) if isinstance(text, list) else text
            # GraphRAG counts before it quotes the rows as CSV, so a table may come out longer than it was allowed.
            excess = graph.tokenizer.num_tokens(table) - max_tokens
            if table and excess <= 0:
                shown = set(records["reports"]["id"])
                kept = [report for report in ordered if str(report.community) in shown]
                return table, replace(graph, reports=kept, summaries=use_summary)
            if not table:
                break
            allowed -= excess
    return "", replace(graph, reports=[])


def _fact_tables(graph: _Graph, marks: SourceMarks, max_tokens: int) -> tuple[str, _Graph]:
    """GraphRAG's tables of the entities and of their relationships (first those among them, then those they share),
    and the graph with no others than those in them."""
    from graphrag.query.context_builder.local_context import build_entity_context, build_relationship_context

    listed = graph.entities if graph.listed is None else graph.listed
    entity_table, entity_rows = build_entity_context(
        selected_entities=to_entities(listed, graph.communities, marks),
        tokenizer=graph.tokenizer,  # type: ignore[arg-type]
        max_context_tokens=int(max_tokens * _ENTITY_SHARE),
        include_entity_rank=True,
    )
    tables = [entity_table] if len(entity_rows) else []
    room = max_tokens - sum(graph.tokenizer.num_tokens(table) for table in tables) - _SLACK
    # Relationships are those of all chosen entities, also of those whose own row found no room.
    relationship_table, relationship_rows = build_relationship_context(
        selected_entities=to_entities(graph.entities, graph.communities, marks),
        relationships=to_relationships(graph.relationships, marks),
        tokenizer=graph.tokenizer,  # type: ignore[arg-type]
        max_context_tokens=room,
        top_k_relationships=graph.top_k_relationships,
    )
    if len(relationship_rows):
        tables.append(relationship_table)
    shown = set(relationship_rows["id"]) if len(relationship_rows) else set()
    kept = [r for r in graph.relationships if str(r.human_readable_id) in shown]
    return "\n\n".join(tables), replace(graph, relationships=kept, listed=listed[: len(entity_rows)])
