"""Our stages beside stock GraphRAG's on one corpus: whatever an upgrade of GraphRAG changes in them shows here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from llm_script import answer, corpus, kind_of
from merging import Graph, merge

from fileintel.graph.cluster import create_communities
from fileintel.graph.contexts import ReportContext, brought_relationships, report_context
from fileintel.graph.extract import extract_graph
from fileintel.graph.graphrag_model import GraphRagTokenizer
from fileintel.graph.records import read_records
from fileintel.graph.report import community_report
from fileintel.graph.summarize import summarize_descriptions
from fileintel.llm.tokens import Tokenizer
from fileintel.model import ChatRequest, Community, Edge, Entity, Extraction, Relationship, entity_id

TYPES = ["organization", "person", "geo", "event"]
TOKENIZER = Tokenizer()
COMMUNITIES = 160
# What stands in descriptions that models wrote: CSV's own characters, other scripts, nothing, a lot.
AWKWARD = (
    'He said "no", twice; then: ""',
    "first line\nsecond, line\n\n- a list",
    "Grüße aus Ålesund, 漢字とかな, 🏴‍☠️ emoji",
    "  spaces around  ",
    "",
    "carriage\r\nreturns\rand\ttabs",
    "a,b,,c|d;e",
    "=1+1",
    "nan",
    "None",
    "1987",
    "a long story about the harbour and its masters " * 40,
    "-----Entities-----\nhuman_readable_id,title",
)


def say(messages: list[dict[str, str]]) -> str:
    """Answer by the script; records stand apart from the end mark, beside which stock GraphRAG damages them."""
    kind = kind_of(messages)
    said = answer(kind, messages)
    if kind == "extract":
        first, second = said.split('("entity"<|>')[1:3]
        pair = f"{first.split('<|>')[0]}<|>{second.split('<|>')[0]}"
        said = said.removesuffix("<|COMPLETE|>") + (
            f'##\n("relationship"<|>{pair}<|>They met, said "both".<|>2.5)\n##\n'
            f'("relationship"<|>{pair}<|>Again &amp; again.<|>often)\n##\n'
            f'("relationship"<|>{first.split("<|>")[0]}<|>NOBODY<|>An orphan.<|>3)\n##\n<|COMPLETE|>'
        )
    if kind == "glean":
        known = messages[1]["content"].split('("entity"<|>')[1].split("<|>")[0]
        said = f'##\n("entity"<|>{known}<|>PERSON<|>Gleaned.)\n##\n("entity"<|>Late Fire<|>PERSON<|>)\n##\n<|COMPLETE|>'
    return said


class StockModel:
    """The model as stock GraphRAG's operations ask it; keeps each request's messages and form."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[tuple[str, str], ...], dict[str, Any] | None]] = []
        self.tokenizer = GraphRagTokenizer(TOKENIZER)

    async def completion_async(self, *, messages: Any, response_format: Any = None) -> Any:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        form = None if response_format is None else response_format.model_json_schema()
        self.asked.append((tuple((m["role"], m["content"]) for m in messages), form))
        said = say(messages)
        formatted = None if response_format is None else response_format.model_validate_json(said)
        return SimpleNamespace(content=said, formatted_response=formatted)


class Rows:
    """A table of GraphRAG's, in memory."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.written: list[dict[str, Any]] = []

    async def __aiter__(self):
        for row in self.rows:
            yield row

    async def write(self, row: dict[str, Any]) -> None:
        self.written.append(row)


@dataclass
class Ours:
    extractions: list[tuple[str, Extraction]]
    asked: list[Any]
    merged: Graph
    entities: list[Entity]
    relationships: list[Relationship]
    communities: list[Community]


def as_asked(requests: list[ChatRequest]) -> list[Any]:
    return [(tuple((m.role, m.content) for m in request.messages), request.json_schema) for request in requests]


def by_script(request: ChatRequest) -> str:
    return say([{"role": message.role, "content": message.content} for message in request.messages])


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    # Two texts speak of each entity, in two ways, and one edge of each stands in both directions.
    written = corpus(COMMUNITIES, size=6).texts
    told = [text.replace(" knows ", " has long known ") for text in written[::3]]
    turned = [f"{b.strip('.')} answers {a}." for a, _, b in (text.split(". ")[1].split(" ") for text in written[::4])]
    return [(f"unit{number:04}", text) for number, text in enumerate([*written, *told, *turned])]


@pytest.fixture(scope="module")
def ours(texts, chat) -> Ours:
    asked = chat(rule=by_script)
    extractions = [
        (unit, extract_graph(text, chat=asked, model="m", entity_types=TYPES, max_gleanings=1, staged=False))
        for unit, text in texts
    ]
    merged = merge(extractions)
    said = [*merged.entities, *merged.relationships]
    summarized = merged.summarized({one.id: f"{AWKWARD[i % len(AWKWARD)]}" for i, one in enumerate(said) if i % 3})
    # Titles, too, are what models wrote.
    renamed = {e.title: f'{e.title}, THE "Ö漢"' for e in summarized.entities[::5]}
    entities = [titled(e, renamed.get(e.title, e.title)) for e in summarized.entities]
    relationships = [
        replace(r, source=renamed.get(r.source, r.source), target=renamed.get(r.target, r.target))
        for r in summarized.relationships
    ]
    communities = create_communities(edges_of(relationships), max_cluster_size=10)
    return Ours(extractions, asked.requests, merged, entities, relationships, communities)


def titled(entity: Entity, title: str) -> Entity:
    return replace(entity, title=title, id=entity_id(title))


def edges_of(relationships: list[Relationship]) -> list[Edge]:
    return [Edge(r.id, r.source, r.target, r.weight) for r in relationships]


def contexts_of(ours: Ours, max_tokens: int) -> list[ReportContext]:
    entities, relationships = ({one.id: one for one in these} for these in (ours.entities, ours.relationships))
    return [
        report_context(
            community,
            [entities[id_] for id_ in community.entity_ids],
            [relationships[id_] for id_ in ids],
            tokenizer=TOKENIZER,
            max_tokens=max_tokens,
        )
        for community, ids in brought_relationships(ours.communities, edges_of(ours.relationships))
    ]


def frame(rows: list[Any], *columns: str) -> pd.DataFrame:
    return pd.DataFrame(
        [{column: list(v) if isinstance(v := getattr(row, column), tuple) else v for column in columns} for row in rows]
    )


def entities_frame(ours: Ours) -> pd.DataFrame:
    return frame(
        ours.entities, "id", "human_readable_id", "title", "type", "description", "text_unit_ids", "frequency", "degree"
    )


def relationships_frame(ours: Ours) -> pd.DataFrame:
    columns = (
        "id",
        "human_readable_id",
        "source",
        "target",
        "description",
        "weight",
        "combined_degree",
        "text_unit_ids",
    )
    return frame(ours.relationships, *columns)


def stock_communities(ours: Ours, use_lcc: bool = False) -> list[dict[str, Any]]:
    from graphrag.index.workflows.create_communities import create_communities as stock

    table = Rows([])
    entities = Rows([{"id": entity.id, "title": entity.title} for entity in ours.entities])
    asyncio.run(stock(table, entities, relationships_frame(ours), 10, use_lcc, seed=0xDEADBEEF))
    return table.written


def test_extractions_prompts_and_merge_equal_stock(texts, ours):
    from graphrag.callbacks.noop_workflow_callbacks import NoopWorkflowCallbacks
    from graphrag.config.enums import AsyncType
    from graphrag.index.operations.extract_graph.extract_graph import extract_graph as stock
    from graphrag.prompts.index.extract_graph import GRAPH_EXTRACTION_PROMPT

    model = StockModel()
    entities, relationships = asyncio.run(
        stock(
            pd.DataFrame(texts, columns=["id", "text"]),
            NoopWorkflowCallbacks(),
            text_column="text",
            id_column="id",
            model=model,  # type: ignore[arg-type]
            prompt=GRAPH_EXTRACTION_PROMPT,
            entity_types=TYPES,
            max_gleanings=1,
            num_threads=1,
            async_type=AsyncType.AsyncIO,
        )
    )
    assert model.asked == as_asked(ours.asked)
    assert len(model.asked) == 2 * len(texts)

    def said(descriptions: list[str]) -> tuple[str, ...]:
        return tuple(sorted({description for description in descriptions if description}))

    def units(ids: list[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(ids))

    assert [
        (e.title, e.type, e.descriptions, e.text_unit_ids, e.frequency, e.human_readable_id)
        for e in ours.merged.entities
    ] == [
        (row.title, row.type, said(row.description), units(row.text_unit_ids), row.frequency, row.Index)
        for row in entities.itertuples()
    ]
    assert [
        (r.source, r.target, r.descriptions, r.text_unit_ids, r.weight, r.human_readable_id)
        for r in ours.merged.relationships
    ] == [
        (row.source, row.target, said(row.description), units(row.text_unit_ids), row.weight, row.Index)
        for row in relationships.itertuples()
    ]
    assert any(len(e.descriptions) > 1 for e in ours.merged.entities)
    assert any(len(r.descriptions) > 1 for r in ours.merged.relationships)
    assert ours.merged.orphans > COMMUNITIES


def test_beside_the_end_mark_stock_loses_what_we_keep():
    from graphrag.index.operations.extract_graph.graph_extractor import GraphExtractor

    first = '("entity"<|>A<|>GEO<|>a)##("relationship"<|>A<|>B<|>r<|>8)\n<|COMPLETE|>'
    joined = first + '("entity"<|>B<|>GEO<|>b)\n<|COMPLETE|>'
    stock = GraphExtractor(model=None, prompt="", max_gleanings=1)  # type: ignore[arg-type]
    entities, relationships = stock._process_result(joined, "", "<|>", "##")
    assert (len(entities), list(relationships["weight"])) == (1, [1.0])
    found = read_records(joined)
    assert ([e.title for e in found.entities], [r.weight for r in found.relationships]) == (["A", "B"], [8.0])


def test_summaries_and_their_prompts_equal_stock(ours, chat):
    from graphrag.callbacks.noop_workflow_callbacks import NoopWorkflowCallbacks
    from graphrag.index.operations.summarize_descriptions.summarize_descriptions import summarize_descriptions as stock
    from graphrag.prompts.index.summarize_descriptions import SUMMARIZE_PROMPT

    # Two that take rounds, and some that don't.
    many = [f"{text} ({number})" for number in range(9) for text in AWKWARD]
    entities = [replace(ours.merged.entities[0], descriptions=tuple(many))]
    entities += [e for e in ours.merged.entities if len(e.descriptions) > 1][:20]
    relationships = [replace(ours.merged.relationships[0], descriptions=tuple(many[::2]))]
    relationships += [r for r in ours.merged.relationships if len(r.descriptions) > 1][:20]
    model = StockModel()
    stock_entities, stock_relationships = asyncio.run(
        stock(
            frame(entities, "title", "descriptions").rename(columns={"descriptions": "description"}),
            frame(relationships, "source", "target", "descriptions").rename(columns={"descriptions": "description"}),
            NoopWorkflowCallbacks(),
            model=model,  # type: ignore[arg-type]
            max_summary_length=500,
            max_input_tokens=1500,
            prompt=SUMMARIZE_PROMPT,
            num_threads=1,
        )
    )
    asked = chat(rule=by_script)
    names = [(e.title, e.descriptions) for e in entities]
    names += [((r.source, r.target), r.descriptions) for r in relationships]
    summaries = [
        summarize_descriptions(
            name,
            descriptions,
            chat=asked,
            model="m",
            tokenizer=TOKENIZER,
            max_length=500,
            max_input_tokens=1500,
            staged=False,
        )
        for name, descriptions in names
    ]
    assert as_asked(asked.requests) == model.asked
    assert len(model.asked) > len(names) + 2
    assert summaries == [s.strip() for s in [*stock_entities["description"], *stock_relationships["description"]]]


@pytest.mark.parametrize("use_lcc", [False, True])
def test_communities_equal_stock(ours, use_lcc):
    # Stock's largest component has its titles in capitals, so that others have no entity there.
    upper = replace_titles(ours)
    communities = create_communities(edges_of(upper.relationships), max_cluster_size=10, use_lcc=use_lcc)
    assert [
        (c.number, c.level, c.parent, list(c.children), c.title, list(c.entity_ids), c.size, list(c.relationship_ids))
        for c in communities
    ] == [
        (row["community"], row["level"], row["parent"], sorted(row["children"]), row["title"], row["entity_ids"])
        + (row["size"], row["relationship_ids"])
        for row in stock_communities(upper, use_lcc)
    ]
    assert len(communities) >= 150
    assert len({c.level for c in communities}) > 1


def replace_titles(ours: Ours) -> Ours:
    return Ours(
        ours.extractions,
        ours.asked,
        ours.merged,
        [titled(e, e.title.upper()) for e in ours.entities],
        [replace(r, source=r.source.upper(), target=r.target.upper()) for r in ours.relationships],
        ours.communities,
    )


def test_degrees_equal_stock(ours):
    from graphrag.index.workflows.finalize_graph import finalize_graph as stock

    merged = ours.merged
    entities = Rows([{"title": e.title} for e in merged.entities])
    relationships = Rows([{"source": r.source, "target": r.target} for r in merged.relationships])
    asyncio.run(stock(entities, relationships))  # type: ignore[arg-type]
    mine, edges = merged.entities, merged.relationships
    assert [(e.title, e.degree, e.human_readable_id) for e in mine] == [
        (row["title"], row["degree"], row["human_readable_id"]) for row in entities.written
    ]
    assert [(r.source, r.target, r.combined_degree, r.human_readable_id) for r in edges] == [
        (row["source"], row["target"], row["combined_degree"], row["human_readable_id"])
        for row in relationships.written
    ]


def stock_contexts(ours: Ours, max_tokens: int) -> dict[int, str]:
    from graphrag.callbacks.noop_workflow_callbacks import NoopWorkflowCallbacks
    from graphrag.index.operations.summarize_communities.explode_communities import explode_communities
    from graphrag.index.operations.summarize_communities.graph_context.context_builder import (
        build_level_context,
        build_local_context,
    )
    from graphrag.index.workflows.create_community_reports import _prep_edges, _prep_nodes

    communities = communities_frame(ours)
    nodes = _prep_nodes(explode_communities(communities, entities_frame(ours)))
    edges = _prep_edges(relationships_frame(ours))
    tokenizer: Any = GraphRagTokenizer(TOKENIZER)
    local = build_local_context(nodes, edges, None, tokenizer, NoopWorkflowCallbacks(), max_tokens)
    hierarchy = communities.explode("children").rename({"children": "sub_community"}, axis=1).dropna()
    found: dict[int, str] = {}
    for level in sorted(set(communities["level"])):
        # Stock builds the contexts of all levels before it has a single report.
        built = build_level_context(pd.DataFrame([]), hierarchy, local, tokenizer, level, max_tokens)
        found.update(zip(built["community"].astype(int), built["context_string"], strict=True))
    return found


def communities_frame(ours: Ours) -> pd.DataFrame:
    columns = ("id", "number", "level", "parent", "children", "entity_ids", "size")
    return frame(ours.communities, *columns).rename(columns={"number": "community"}).assign(period="2026-01-01")


@pytest.mark.parametrize("max_tokens", [8000, 1000, 300])
def test_report_contexts_equal_stock_to_the_byte(ours, max_tokens):
    mine = contexts_of(ours, max_tokens)
    stock = stock_contexts(ours, max_tokens)
    texts = {context.community.number: context.text for context in mine}
    assert texts.keys() == stock.keys()
    assert [number for number in stock if texts[number].encode() != stock[number].encode()] == []
    assert len(stock) >= 150
    for context in mine:
        assert all(f"\n{entity.human_readable_id}," in context.text for entity in context.entities)
    longest = max(TOKENIZER.count(text) for text in stock.values())
    whole = max(TOKENIZER.count(text) for text in stock_contexts_whole(ours))
    # Both cuts are tried: between relationships, and none though the first alone is too long.
    assert (longest == whole, longest > max_tokens) == {8000: (True, False), 1000: (False, False), 300: (False, True)}[
        max_tokens
    ]


def stock_contexts_whole(ours: Ours) -> list[str]:
    return [context.text for context in contexts_of(ours, 1_000_000)]


def test_reports_and_their_prompts_equal_stock(ours, chat):
    from graphrag.callbacks.noop_workflow_callbacks import NoopWorkflowCallbacks
    from graphrag.config.enums import AsyncType
    from graphrag.index.workflows.create_community_reports import create_community_reports as stock
    from graphrag.prompts.index.community_report import COMMUNITY_REPORT_PROMPT

    model = StockModel()
    rows = asyncio.run(
        stock(
            relationships_frame(ours),
            entities_frame(ours),
            communities_frame(ours),
            None,
            NoopWorkflowCallbacks(),
            model=model,  # type: ignore[arg-type]
            tokenizer=model.tokenizer,  # type: ignore[arg-type]
            prompt=COMMUNITY_REPORT_PROMPT,
            max_input_length=1000,
            max_report_length=2000,
            num_threads=1,
            async_type=AsyncType.AsyncIO,
        )
    )
    asked = chat(rule=by_script)
    reports = [
        community_report(
            context.community.number,
            context.community.level,
            context.text,
            chat=asked,
            model="m",
            max_length=2000,
            stage_inputs=None,
        )
        for context in contexts_of(ours, 1000)
    ]
    assert sorted(prompt for prompt, _form in as_asked(asked.requests)) == sorted(prompt for prompt, _ in model.asked)
    assert {str(form) for _prompt, form in as_asked(asked.requests)} == {str(form) for _prompt, form in model.asked}
    assert sorted(
        (r.community, r.level, r.title, r.summary, r.full_content, r.rank, r.rank_explanation) for r in reports
    ) == sorted(
        (row.community, row.level, row.title, row.summary, row.full_content, row.rank, row.rating_explanation)
        for row in rows.itertuples()
    )
