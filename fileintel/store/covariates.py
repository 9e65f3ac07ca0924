"""The claims of an index version, as far as the collection still holds the text units that make them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from fileintel.model import Claim
from fileintel.store.engine import as_json, rows, run, transaction
from fileintel.store.graph_writing import Numbering

# What a deleted document claimed is gone with it, also from the version that is still published.
_HELD = """
    SELECT c.id, c.number AS human_readable_id, c.text_unit_id, c.subject, c.object, c.type, c.status, c.start_date,
           c.end_date, c.description, c.source_text
    FROM covariates c
    WHERE c.version = :v AND EXISTS (
        SELECT 1 FROM document_text_units u JOIN documents d ON d.id = u.document_id
        WHERE u.text_unit_id = c.text_unit_id AND d.state = 'ready'
          AND d.collection_id = (SELECT collection_id FROM index_runs WHERE id = :v))
"""


def claims(version: int, limit: int = 100, offset: int = 0, search: str | None = None) -> list[Claim]:
    """A version's claims in their own order; `search` matches subjects and objects."""
    found = rows(
        _HELD + " AND (CAST(:search AS text) IS NULL OR c.subject ILIKE :search OR c.object ILIKE :search)"
        " ORDER BY c.number, c.id LIMIT :limit OFFSET :offset",
        v=version,
        search=None if search is None else "%" + search.replace("%", r"\%").replace("_", r"\_") + "%",
        limit=limit,
        offset=offset,
    )
    return [Claim(**claim) for claim in found]


def claims_about(version: int, subjects: Sequence[str], limit: int = 1000) -> list[Claim]:
    """The claims whose subject is one of these entities (by title), in their own order."""
    found = rows(
        _HELD + " AND c.subject = ANY(:subjects) ORDER BY c.number, c.id LIMIT :limit",
        v=version,
        subjects=list(subjects),
        limit=limit,
    )
    return [Claim(**claim) for claim in found]


def save_claims(version: int, claims_: Iterable[Claim], at_once: int = 1000) -> None:
    """Write a version's claims under the collection's numbers, replacing what an interrupted try left.

    Numbers stand in prompts: a claim that comes or goes must not renumber the others.
    """
    left = iter(claims_)
    with transaction() as connection:
        run(connection, "DELETE FROM covariates WHERE version = :v", v=version)
        numbering = Numbering(connection, version)
        while some := list(itertools.islice(left, at_once)):
            numbers = numbering.of([claim.id for claim in some])
            _insert(connection, version, some, numbers)


def _insert(connection: Connection, version: int, some: Sequence[Claim], numbers: Sequence[int]) -> None:
    run(
        connection,
        """INSERT INTO covariates (version, id, number, text_unit_id, subject, object, type, status, start_date,
               end_date, description, source_text)
           SELECT :v, id, number, text_unit_id, subject, object, type, status, start_date, end_date, description,
               source_text
           FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS c(id text, number int, text_unit_id text, subject text,
               object text, type text, status text, start_date text, end_date text, description text,
               source_text text)""",
        v=version,
        it=as_json(
            [
                {
                    "id": c.id,
                    "number": number,
                    "text_unit_id": c.text_unit_id,
                    "subject": c.subject,
                    "object": c.object,
                    "type": c.type,
                    "status": c.status,
                    "start_date": c.start_date,
                    "end_date": c.end_date,
                    "description": c.description,
                    "source_text": c.source_text,
                }
                for c, number in zip(some, numbers, strict=True)
            ]
        ),
    )
