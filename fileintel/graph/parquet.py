"""An index as the Parquet tables that GraphRAG 3.3 writes, so that its own tools open them.

Names, order and types of columns are those of graphrag.data_model.schemas; what GraphRAG has no column for stays out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

Row = Mapping[str, Any]
# Rows of one row group: what is in memory of a table at any time.
GROUP = 5_000
# What neighbouring text units share is so many characters long; fewer may agree by chance.
_SHORTEST_OVERLAP = 16
_LONGEST_OVERLAP = 4_000


def schemas() -> dict[str, Any]:
    """The Arrow schema of each table, by its name."""
    import pyarrow as pa

    text, whole, ids = pa.string(), pa.int64(), pa.list_(pa.string())
    finding = pa.struct([("explanation", text), ("summary", text)])
    return {
        "documents": pa.schema(
            [
                ("id", text),
                ("human_readable_id", whole),
                ("title", text),
                ("text", text),
                ("text_unit_ids", ids),
                ("creation_date", text),
                ("raw_data", text),
            ]
        ),
        "text_units": pa.schema(
            [
                ("id", text),
                ("human_readable_id", whole),
                ("text", text),
                ("n_tokens", whole),
                ("document_id", text),
                ("entity_ids", ids),
                ("relationship_ids", ids),
                ("covariate_ids", ids),
            ]
        ),
        "entities": pa.schema(
            [
                ("id", text),
                ("human_readable_id", whole),
                ("title", text),
                ("type", text),
                ("description", text),
                ("text_unit_ids", ids),
                ("frequency", whole),
                ("degree", whole),
            ]
        ),
        "relationships": pa.schema(
            [
                ("id", text),
                ("human_readable_id", whole),
                ("source", text),
                ("target", text),
                ("description", text),
                ("weight", pa.float64()),
                ("combined_degree", whole),
                ("text_unit_ids", ids),
            ]
        ),
        "communities": pa.schema(
            [
                ("id", text),
                ("human_readable_id", whole),
                ("community", whole),
                ("level", whole),
                ("parent", whole),
                ("children", pa.list_(whole)),
                ("title", text),
                ("entity_ids", ids),
                ("relationship_ids", ids),
                ("text_unit_ids", ids),
                ("period", text),
                ("size", whole),
            ]
        ),
        "community_reports": pa.schema(
            [
                ("id", text),
                ("human_readable_id", whole),
                ("community", whole),
                ("level", whole),
                ("parent", whole),
                ("children", pa.list_(whole)),
                ("title", text),
                ("summary", text),
                ("full_content", text),
                ("rank", pa.float64()),
                ("rating_explanation", text),
                ("findings", pa.list_(finding)),
                ("full_content_json", text),
                ("period", text),
                ("size", whole),
            ]
        ),
        "covariates": pa.schema(
            [
                ("id", text),
                ("human_readable_id", whole),
                ("covariate_type", text),
                ("type", text),
                ("description", text),
                ("subject_id", text),
                ("object_id", text),
                ("status", text),
                ("start_date", text),
                ("end_date", text),
                ("source_text", text),
                ("text_unit_id", text),
            ]
        ),
    }


def _document(number: int, row: Row) -> Row:
    raw = {name: row[name] for name in ("sha256", "media_type", "pages", "title")}
    return {
        **row,
        "human_readable_id": number,
        "title": row["name"],
        "text": joined(row["texts"]),
        "creation_date": row["created_at"].isoformat(),
        "raw_data": json.dumps(raw, ensure_ascii=False),
    }


def _text_unit(number: int, row: Row) -> Row:
    return {**row, "human_readable_id": number}


def _numbered(_number: int, row: Row) -> Row:
    return {**row, "human_readable_id": row["number"]}


def _community(_number: int, row: Row) -> Row:
    number = row["number"]
    return {
        **row,
        "human_readable_id": number,
        "community": number,
        # GraphRAG's readers take a community's title for its name and want it to be the only one of that name.
        "title": f"Community {number}",
        "period": row["made_at"].date().isoformat(),
        "size": len(row["entity_ids"]),
    }


def _report(_number: int, row: Row) -> Row:
    findings = [{"summary": f["summary"], "explanation": f["explanation"]} for f in row["findings"]]
    whole = {
        "title": row["title"],
        "summary": row["summary"],
        "findings": findings,
        "rating": row["rank"],
        "rating_explanation": row["rank_explanation"],
    }
    return {
        **row,
        "human_readable_id": row["community"],
        "rating_explanation": row["rank_explanation"],
        "findings": findings,
        "full_content_json": json.dumps(whole, ensure_ascii=False),
        "period": row["made_at"].date().isoformat(),
    }


def _covariate(_number: int, row: Row) -> Row:
    # GraphRAG's subject_id and object_id hold names, not ids of entities.
    return {
        **row,
        "human_readable_id": row["number"],
        "covariate_type": "claim",
        "subject_id": row["subject"],
        "object_id": row["object"],
    }


_ROWS: Mapping[str, Callable[[int, Row], Row]] = {
    "documents": _document,
    "text_units": _text_unit,
    "entities": _numbered,
    "relationships": _numbered,
    "communities": _community,
    "community_reports": _report,
    "covariates": _covariate,
}


def write_table(name: str, rows: Iterable[Row], file: IO[bytes]) -> int:
    """Write rows as they come from the store as GraphRAG's table of that name; returns how many there were.

    A row group is written as soon as it is full, so memory holds GROUP rows at most.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = schemas()[name]
    written = 0
    with pq.ParquetWriter(file, schema) as writer:
        for group in _groups(rows):
            made = [_ROWS[name](written + place, row) for place, row in enumerate(group)]
            writer.write_table(pa.table({c: [row[c] for row in made] for c in schema.names}, schema=schema))
            written += len(group)
    return written


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while group := list(islice(left, GROUP)):
        yield group


def joined(texts: Sequence[str]) -> str:
    """A document's text out of its text units': what neighbours share stands once."""
    parts: list[str] = []
    before = ""
    for text in texts:
        lengths = range(min(len(before), len(text), _LONGEST_OVERLAP), _SHORTEST_OVERLAP - 1, -1)
        shared = next((length for length in lengths if before.endswith(text[:length])), 0)
        parts.append(text[shared:] if shared or not parts else "\n\n" + text)
        before = text
    return "".join(parts)
