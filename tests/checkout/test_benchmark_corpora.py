"""The corpora of the benchmarks have the text units and the graph they say, however a contestant cuts them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from llm_script import graph_of

from benchmarks.corpora import UNIT_TOKENS, clusters, corpus, described, graph_tables, hierarchy, shape_for
from fileintel.documents.splitting import split
from fileintel.llm.tokens import Tokenizer
from fileintel.model import ParsedDocument, Section

TOKENIZER = Tokenizer()


@pytest.mark.parametrize("units", [3, 7, 100, 250])
def test_text_units_are_as_many_as_asked_for_and_tell_the_graph(units: int) -> None:
    made = corpus(units, TOKENIZER, units_per_document=10)
    assert len(made.units) == units
    assert len(made.documents) == -(-units // 10)
    entities, relationships = set(), set()
    for unit in made.units:
        described_, related = graph_of(unit)
        entities.update(name.upper() for name in described_)
        relationships.update((a.upper(), b.upper()) for a, b in related)
    assert entities == made.entities
    assert relationships == made.relationships
    assert described(made)["text_units"] == units


def test_everybody_cuts_the_documents_into_the_same_text_units() -> None:
    made = corpus(30, TOKENIZER, units_per_document=6)
    for units, text in zip(made.documents, made.texts, strict=True):
        tokens = TOKENIZER.encode(text)
        chunks = [TOKENIZER.decode(tokens[i : i + UNIT_TOKENS]).strip() for i in range(0, len(tokens), UNIT_TOKENS)]
        assert chunks == list(units)  # GraphRAG's way
        assert [part for part in text.split("\n\n") if part.strip()] == list(units)  # LightRAG's
        document = ParsedDocument("text/plain", None, (Section(text.rstrip()),))
        ours = split(document, tokenizer=TOKENIZER, max_tokens=300, overlap=0)
        assert [unit.text.strip() for unit in ours] == list(units)


def test_most_people_are_described_more_than_once_so_that_summaries_happen() -> None:
    made = corpus(100, TOKENIZER)
    told = Counter(name for unit in made.units for name in graph_of(unit)[0])
    assert sum(times > 1 for times in told.values()) > 0.9 * len(told)


def test_the_hierarchy_is_17_71_and_80_communities() -> None:
    made = corpus(222, TOKENIZER, shape=hierarchy())
    assert clusters(sorted(made.relationships)) == {0: 17, 1: 71, 2: 80}
    assert len(made.entities) == 666


def test_two_corpora_share_nobody_if_their_people_are_numbered_apart() -> None:
    one = corpus(20, TOKENIZER)
    other = corpus(20, TOKENIZER, first_person=len(one.entities))
    assert not one.entities & other.entities
    assert one == corpus(20, TOKENIZER)


def test_more_text_units_than_there_is_to_tell_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot fill"):
        corpus(1000, TOKENIZER, shape=shape_for(3))


def test_the_graph_as_a_table_is_described_as_after_summaries() -> None:
    made = corpus(20, TOKENIZER)
    tables = graph_tables(made)
    assert {row["title"] for row in tables["entities"]} == made.entities
    assert {(row["source"], row["target"]) for row in tables["relationships"]} == made.relationships
    assert all(row["frequency"] == len(row["text_unit_ids"]) for row in tables["entities"])
    assert any(" in all: [" in row["description"] for row in tables["entities"])


def test_a_corpus_is_written_as_documents(tmp_path: Path) -> None:
    made = corpus(4, TOKENIZER, units_per_document=2)
    made.write(tmp_path)
    written = [path.read_text(encoding="utf-8") for path in sorted((tmp_path / "input").iterdir())]
    assert written == list(made.texts)
