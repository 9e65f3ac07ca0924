"""Documents and their text units."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from fileintel.errors import ConflictError, NotFoundError
from fileintel.model import Document, DocumentState, ParsedDocument, TextUnit
from fileintel.store.engine import as_json, execute, row, rows, run, transaction

_SELECT = """
    SELECT d.id, d.collection_id, d.name, d.sha256, d.size, d.media_type, d.title, d.state, d.pages,
           (SELECT count(*) FROM document_text_units u WHERE u.document_id = d.id)::int AS text_units,
           d.error_code, d.error, d.created_at
    FROM documents d
"""


def add(collection_id: str, *, name: str, sha256: str, size: int, replace: bool = False) -> tuple[Document, bool]:
    """Enter an uploaded file; the same bytes in the same collection again give the document there and False.

    A document whose reading had failed is queued again, since a new upload is a new try. With `replace` it takes the
    place of all documents of its name entered before, in one transaction with becoming ready; raises ConflictError
    when the collection holds the bytes under another name.
    """
    document_id = str(uuid.uuid4())
    with transaction() as connection:
        run(
            connection,
            """INSERT INTO documents (id, collection_id, name, sha256, size)
               VALUES (:id, :collection, :name, :sha256, :size)
               ON CONFLICT (collection_id, sha256) DO UPDATE SET
                   state = 'queued', attempts = 0, leased_by = NULL, error = NULL, error_code = NULL,
                   name = excluded.name, rung_at = now()
               WHERE documents.state = 'failed'""",
            id=document_id,
            collection=collection_id,
            name=name,
            sha256=sha256,
            size=size,
        )
        found = (
            run(
                connection,
                _SELECT + "WHERE d.collection_id = :collection AND d.sha256 = :sha256",
                collection=collection_id,
                sha256=sha256,
            )
            .mappings()
            .one()
        )
        if replace:
            if found["name"] != name:
                raise ConflictError(
                    f"the collection holds these bytes already as '{found['name']}': "
                    f"delete '{name}' instead of replacing it"
                )
            run(connection, "UPDATE documents SET replaces_until = now() WHERE id = :id", id=found["id"])
            if found["state"] == "ready":
                _replace(connection, found["id"])
                _changed(connection, found["id"])
    return _document(dict(found)), found["id"] == document_id


def get(document_id: str) -> Document:
    """The document of that id; raises NotFoundError."""
    found = row(_SELECT + "WHERE d.id = :id", id=document_id)
    if found is None:
        raise NotFoundError(f"there is no document '{document_id[:80]}'")
    return _document(found)


def named(collection_id: str, name_or_id: str) -> list[Document]:
    """A collection's document of that id, else those of that name."""
    found = rows(
        _SELECT + "WHERE d.collection_id = :c AND (d.id = :it OR d.name = :it) ORDER BY d.id = :it DESC, d.created_at",
        c=collection_id,
        it=name_or_id,
    )
    listed = [_document(document) for document in found]
    return listed[:1] if listed and listed[0].id == name_or_id else listed


def list_for(
    collection_id: str, *, state: DocumentState | None = None, limit: int | None = None, offset: int = 0
) -> list[Document]:
    """A collection's documents by name, of one state if it is given; up to `limit` of them from `offset` on."""
    found = rows(
        _SELECT
        + """WHERE d.collection_id = :c AND (CAST(:state AS text) IS NULL OR d.state = :state)
             ORDER BY d.name, d.id LIMIT CAST(:limit AS bigint) OFFSET :offset""",
        c=collection_id,
        state=state,
        limit=limit,
        offset=offset,
    )
    return [_document(document) for document in found]


def unfinished() -> list[Document]:
    """All documents not read yet, oldest first."""
    found = rows(_SELECT + "WHERE d.state IN ('queued', 'processing') ORDER BY d.created_at, d.id")
    return [_document(document) for document in found]


def states(collection_id: str) -> dict[str, int]:
    """How many documents of a collection are in each state; states without any are left out."""
    found = rows(
        "SELECT state, count(*)::int AS n FROM documents WHERE collection_id = :c GROUP BY state", c=collection_id
    )
    return {counted["state"]: counted["n"] for counted in found}


def delete(document_id: str) -> None:
    """Remove a document; text units no other document holds go with it, so no answer can quote them."""
    with transaction() as connection:
        held = text_units_of(connection, "u.document_id = :it", document_id)
        _changed(connection, document_id)
        if run(connection, "DELETE FROM documents WHERE id = :id", id=document_id).rowcount == 0:
            raise NotFoundError(f"there is no document '{document_id[:80]}'")
        delete_unheld(connection, held)


def _changed(connection: Connection, document_id: str) -> None:
    """Note that a graph of the document's collection is out of date."""
    run(
        connection,
        """UPDATE collections SET changed_at = clock_timestamp()
           WHERE id = (SELECT collection_id FROM documents WHERE id = :id)""",
        id=document_id,
    )


def text_units_of(connection: Connection, which: str, it: str) -> list[str]:
    """Ids of the text units that documents hold of which the condition on document_text_units `u` is true."""
    held = run(connection, f"SELECT DISTINCT u.text_unit_id FROM document_text_units u WHERE {which}", it=it)
    return list(held.scalars())


def delete_unheld(connection: Connection, text_unit_ids: list[str]) -> None:
    """Remove those of the text units that no document holds any more."""
    run(
        connection,
        """DELETE FROM text_units t WHERE t.id = ANY(:held)
           AND NOT EXISTS (SELECT 1 FROM document_text_units u WHERE u.text_unit_id = t.id)""",
        held=text_unit_ids,
    )


def claim(document_id: str, worker: str) -> Document | None:
    """Lease a queued document to a worker for reading; None when there is nothing to do."""
    with transaction() as connection:
        touched = run(
            connection,
            """UPDATE documents SET state = 'processing', leased_by = :worker, attempts = attempts + 1
               WHERE id = :id AND state = 'queued'""",
            id=document_id,
            worker=worker,
        ).rowcount
    return get(document_id) if touched else None


def claim_next(worker: str) -> Document | None:
    """Lease the longest queued document that nobody else is taking to a worker for reading; None without any."""
    found = row(
        """UPDATE documents SET state = 'processing', leased_by = :worker, attempts = attempts + 1
           WHERE id = (SELECT id FROM documents WHERE state = 'queued' ORDER BY created_at, id
                       LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING id""",
        worker=worker,
    )
    return None if found is None else get(found["id"])


def save_text_units(document_id: str, parsed: ParsedDocument, units: Sequence[TextUnit]) -> None:
    """Store what was read of a document; it stays in processing until its text units are embedded."""
    with transaction() as connection:
        run(connection, "DELETE FROM document_text_units WHERE document_id = :id", id=document_id)
        run(
            connection,
            """INSERT INTO text_units (id, text, n_tokens)
               SELECT id, text, n_tokens FROM jsonb_to_recordset(CAST(:units AS jsonb))
                   AS u(id text, text text, n_tokens int)
               ORDER BY id ON CONFLICT DO NOTHING""",
            units=as_json([{"id": u.id, "text": u.text, "n_tokens": u.n_tokens} for u in units]),
        )
        run(
            connection,
            """INSERT INTO document_text_units (document_id, ordinal, text_unit_id, anchors)
               SELECT :document, ordinal, unit, anchors FROM jsonb_to_recordset(CAST(:units AS jsonb))
                   AS u(ordinal int, unit text, anchors jsonb)""",
            document=document_id,
            units=as_json(
                [
                    {
                        "ordinal": u.ordinal,
                        "unit": u.id,
                        "anchors": [[a.offset, a.page, a.heading] for a in u.anchors],
                    }
                    for u in units
                ]
            ),
        )
        run(
            connection,
            "UPDATE documents SET media_type = :media_type, title = :title, pages = :pages WHERE id = :id",
            id=document_id,
            media_type=parsed.media_type,
            title=parsed.title,
            pages=parsed.page_count,
        )


def copy_text_units(document: Document) -> bool:
    """Take over the text units of a ready document with the same bytes; False when there is none."""
    with transaction() as connection:
        twin = run(
            connection,
            "SELECT id, media_type, title, pages FROM documents WHERE sha256 = :sha256 AND state = 'ready' LIMIT 1",
            sha256=document.sha256,
        ).first()
        if twin is None:
            return False
        run(
            connection,
            """INSERT INTO document_text_units (document_id, ordinal, text_unit_id, anchors)
               SELECT :document, ordinal, text_unit_id, anchors FROM document_text_units WHERE document_id = :twin
               ON CONFLICT DO NOTHING""",
            document=document.id,
            twin=twin.id,
        )
        run(
            connection,
            "UPDATE documents SET media_type = :media_type, title = :title, pages = :pages WHERE id = :id",
            id=document.id,
            media_type=twin.media_type,
            title=twin.title,
            pages=twin.pages,
        )
    return True


def units_to_embed(document_id: str, model: str, limit: int) -> list[tuple[str, str]]:
    """Up to `limit` (id, text) of a document's text units that carry no vector of this model."""
    found = rows(
        """SELECT DISTINCT t.id, t.text FROM document_text_units u JOIN text_units t ON t.id = u.text_unit_id
           WHERE u.document_id = :id AND (t.embedding IS NULL OR t.embedding_model IS DISTINCT FROM :model)
           ORDER BY t.id LIMIT :limit""",
        id=document_id,
        model=model,
        limit=limit,
    )
    return [(unit["id"], unit["text"]) for unit in found]


def save_embeddings(model: str, remembered: Mapping[str, str]) -> None:
    """Give text units (by id) the vectors of a model that are remembered under these keys."""
    with transaction() as connection:
        run(
            connection,
            """UPDATE text_units t SET embedding = m.embedding, embedding_model = :model
               FROM (SELECT k.id, m.embedding FROM jsonb_each_text(CAST(:keys AS jsonb)) AS k(id, key)
                     JOIN embedding_memo m ON m.key = k.key ORDER BY k.id) m
               WHERE t.id = m.id""",
            model=model,
            keys=as_json(dict(remembered)),
        )


def finish(document_id: str) -> None:
    """Mark a document as ready to be asked, in the place of those it replaces."""
    with transaction() as connection:
        run(
            connection,
            "UPDATE documents SET state = 'ready', leased_by = NULL, error = NULL, error_code = NULL WHERE id = :id",
            id=document_id,
        )
        _replace(connection, document_id)
        _changed(connection, document_id)


def _replace(connection: Connection, document_id: str) -> None:
    """Remove the documents whose place a ready one takes; it has taken it then."""
    older = list(
        run(
            connection,
            """SELECT o.id FROM documents d JOIN documents o
                   ON o.collection_id = d.collection_id AND o.name = d.name AND o.id <> d.id
                   AND o.created_at <= d.replaces_until
               WHERE d.id = :id AND d.replaces_until IS NOT NULL ORDER BY o.id FOR UPDATE OF o""",
            id=document_id,
        ).scalars()
    )
    for other in older:
        held = text_units_of(connection, "u.document_id = :it", other)
        run(connection, "DELETE FROM documents WHERE id = :id", id=other)
        delete_unheld(connection, held)
    run(connection, "UPDATE documents SET replaces_until = NULL WHERE id = :id", id=document_id)


def fail(document_id: str, code: str, error: str) -> None:
    """Mark a document as unreadable, with the reason its owner is shown."""
    execute(
        "UPDATE documents SET state = 'failed', leased_by = NULL, error_code = :code, error = :error WHERE id = :id",
        id=document_id,
        code=code,
        error=error,
    )


def has_text_units(document_id: str) -> bool:
    """Whether the document was parsed already."""
    return row("SELECT 1 FROM document_text_units WHERE document_id = :id LIMIT 1", id=document_id) is not None


def postpone(document_id: str) -> None:
    """Give a leased document back to the queue in the middle of its embedding, without counting the attempt."""
    execute(
        """UPDATE documents SET state = 'queued', leased_by = NULL, attempts = attempts - 1, rung_at = now()
           WHERE id = :id AND state = 'processing'""",
        id=document_id,
    )


def release(document_id: str) -> None:
    """Give a leased document back to the queue (its reading met an outage that a later try may cure)."""
    execute(
        """UPDATE documents SET state = 'queued', leased_by = NULL, rung_at = now()
           WHERE id = :id AND state = 'processing'""",
        id=document_id,
    )


def _document(found: Mapping[str, Any]) -> Document:
    return Document(**found)
