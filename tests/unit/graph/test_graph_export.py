from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import networkx as nx
import pyarrow.parquet as pq
import pytest

from fileintel.graph import parquet
from fileintel.graph.graphml import write_graphml
from fileintel.graph.markdown import index_page, report_page
from fileintel.graph.parquet import joined, write_table

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ENTITY = {
    "id": "e1", "number": 4, "title": "A", "type": "PERSON", "description": "A | <b>", "text_unit_ids": ["u1"],
    "frequency": 1, "degree": 1,
}  # fmt: skip
OTHER = {**ENTITY, "id": "e2", "number": 5, "title": "B\x0c", "description": "x\x00y"}
EDGE = {
    "id": "r1", "number": 0, "source": "A", "target": "B\x0c", "description": "knows", "weight": 2.0,
    "combined_degree": 2, "text_unit_ids": ["u1"],
}  # fmt: skip
COMMUNITY = {
    "id": "c1", "number": 7, "level": 0, "parent": -1, "children": [], "entity_ids": ["e1", "e2"],
    "relationship_ids": ["r1"], "text_unit_ids": ["u1"], "made_at": AT,
}  # fmt: skip
REPORT = {
    "id": "p1", "community": 7, "level": 0, "title": "Ä [quay]", "summary": "s", "full_content": "# Ä\n", "rank": 7.5,
    "rank_explanation": "why", "findings": [{"summary": "s", "explanation": "e"}], "parent": -1, "children": [],
    "size": 2, "made_at": AT,
}  # fmt: skip
CLAIM = {
    "id": "k1", "number": 3, "type": "FRAUD", "description": "A paid B", "subject": "A", "object": "B",
    "status": "SUSPECTED", "start_date": "2026-01-02T00:00:00", "end_date": "NONE", "source_text": "A paid",
    "text_unit_id": "u1",
}  # fmt: skip


def written(name: str, *rows: Any) -> Any:
    file = io.BytesIO()
    assert write_table(name, iter(rows), file) == len(rows)
    return pq.read_table(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("name", list(parquet.schemas()))
def test_columns_are_graphrags_own_also_of_an_empty_table(name: str) -> None:
    from graphrag.data_model import schemas

    table = written(name)
    assert table.column_names == getattr(schemas, f"{name.upper()}_FINAL_COLUMNS")
    assert table.num_rows == 0


def test_rows_come_out_as_they_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP", 2)
    table = written("entities", ENTITY, OTHER, {**ENTITY, "number": 9})
    assert table.column("human_readable_id").to_pylist() == [4, 5, 9]
    assert table.column("text_unit_ids").to_pylist() == [["u1"]] * 3
    report = written("community_reports", REPORT).to_pylist()[0]
    assert report["findings"] == [{"explanation": "e", "summary": "s"}]
    assert (report["rank"], report["size"], report["period"]) == (7.5, 2, "2026-03-02")
    assert '"rating": 7.5' in report["full_content_json"]
    assert written("communities", COMMUNITY).to_pylist()[0]["title"] == "Community 7"


def test_claims_are_read_back_by_graphrags_own_reader() -> None:
    from graphrag.query.indexer_adapters import read_indexer_covariates

    table = written("covariates", CLAIM)
    row = table.to_pylist()[0]
    assert (row["covariate_type"], row["text_unit_id"], row["source_text"]) == ("claim", "u1", "A paid")
    (read,) = read_indexer_covariates(table.to_pandas())
    assert (read.id, read.short_id, read.subject_id, read.covariate_type) == ("k1", "3", "A", "FRAUD")
    assert read.attributes == {
        "object_id": "B",
        "status": "SUSPECTED",
        "start_date": "2026-01-02T00:00:00",
        "end_date": "NONE",
        "description": "A paid B",
    }


def test_a_text_unit_names_its_claims() -> None:
    unit = {
        "id": "u1", "text": "t", "n_tokens": 1, "document_id": "d", "entity_ids": [], "relationship_ids": [],
        "covariate_ids": ["k1"],
    }  # fmt: skip
    assert written("text_units", unit).to_pylist()[0]["covariate_ids"] == ["k1"]


def test_groups_are_written_as_they_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP", 2)
    file = io.BytesIO()
    write_table("entities", iter([ENTITY] * 5), file)
    assert pq.ParquetFile(io.BytesIO(file.getvalue())).num_row_groups == 3


def test_a_documents_text_holds_what_text_units_share_once() -> None:
    shared = "This sentence stands in both text units."
    assert joined([f"One. {shared}", f"{shared} Two."]) == f"One. {shared} Two."
    assert joined(["ends in a", "a begins"]) == "ends in a\n\na begins"
    assert joined([]) == ""


def test_graphml_is_read_back_by_networkx() -> None:
    file = io.BytesIO()
    write_graphml([ENTITY, OTHER], [EDGE], [COMMUNITY], file)
    read = nx.read_graphml(io.BytesIO(file.getvalue()))
    assert read.nodes["A"]["community_0"] == 7 and read.nodes["B"]["description"] == "xy"
    assert read.edges["A", "B"]["weight"] == 2.0


def test_markdown_pages_and_their_index() -> None:
    name, page = report_page(REPORT)
    assert name == "00007-a-quay.md" and page.startswith("# Ä\n") and "rank 7.5, 2 entities" in page
    index = "".join(index_page("minutes", [REPORT], [ENTITY]))
    assert "[Ä \\[quay\\]](communities/00007-a-quay.md)" in index and "### Level 0" in index
    assert "| A | PERSON | 1 | A \\| \\<b\\> |" in index
    assert report_page({**REPORT, "title": "港"})[0] == "00007.md"
