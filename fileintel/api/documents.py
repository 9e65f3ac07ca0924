"""Routes of documents."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.encoders import jsonable_encoder

from fileintel.api import problems, shapes, uploads
from fileintel.api.access import ReadCollection, WriteCollection
from fileintel.api.collections import Limit, Offset
from fileintel.errors import ConflictError, DocumentError, FileIntelError, NotFoundError, UnsupportedDocumentError
from fileintel.model import Collection, Document, DocumentState
from fileintel.settings import load
from fileintel.store import documents as store
from fileintel.tasks import bells

router = APIRouter(tags=["documents"], responses=problems.documented(401, 403, 404, 422, 503))
DocumentId = Annotated[str, Path(alias="document", max_length=300, description="the document's id, or its name")]
Replace = Annotated[
    bool, Query(description="once ready, take the place of the documents of this name that were there before")
]
State = Annotated[DocumentState | None, Query(description="only documents in this state")]

_FORM_SCHEMA = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}
_UPLOAD_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": "name",
            "in": "query",
            "description": "the file's name, for a raw body (or Content-Disposition)",
            "schema": {"type": "string"},
            "example": "minutes-2021.pdf",
        }
    ],
    "requestBody": {
        "required": True,
        "description": "the file's bytes as they are, or a form with any number of files",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {"schema": _FORM_SCHEMA},
        },
    },
}
_FORM_EXAMPLE = {
    "documents": [{"name": "minutes-2021.pdf", "created": True, "document": shapes.DOCUMENT, "problem": None}],
    "refused": 0,
}


def _taken(description: str) -> dict[str, Any]:
    examples = {"raw body": {"value": shapes.DOCUMENT}, "form": {"value": _FORM_EXAMPLE}}
    return {"description": description, "content": {"application/json": {"examples": examples}}}


def _enter(collection: Collection, name: str, sha256: str, size: int, replace: bool) -> tuple[Document, bool]:
    document, created = store.add(collection.id, name=name, sha256=sha256, size=size, replace=replace)
    # A document still queued is rung for again: the first bell may have been lost, and a second one does no harm.
    if created or document.state == "queued":
        bells.ring_document(document.id)
    return document, created


@router.get(
    "/collections/{collection}/documents",
    responses=shapes.page_example(shapes.DOCUMENT, "Documents by name"),
)
def list_documents(
    collection: ReadCollection, state: State = None, limit: Limit = 100, offset: Offset = 0
) -> shapes.Page[Document]:
    """List a collection's documents."""
    return shapes.page(store.list_for(collection.id, state=state, limit=limit + 1, offset=offset), limit, offset)


@router.post(
    "/collections/{collection}/documents",
    status_code=201,
    response_model=Document | shapes.UploadedForm,
    responses={
        **problems.documented(409, 413, 415),
        200: _taken("The collection held these bytes already"),
        201: _taken("Taken in; reading it has been queued"),
    },
    openapi_extra=_UPLOAD_BODY,
)
async def add_document(
    request: Request, response: Response, collection: WriteCollection, replace: Replace = False
) -> Document | shapes.UploadedForm | Response:
    """Take in a document, streamed: the raw body with `?name=…`, or the files of a form."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedDocumentError("send the file's own bytes, without Content-Encoding")
    settings = load()
    directory, limit = FilePath(settings.blob_dir), settings.max_document_bytes
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await _add_form(request, response, collection, directory, limit, replace)
    name = uploads.name_of(request)

    receiver = uploads.RawReceiver(
        directory, limit, lambda sha256, size: _enter(collection, name, sha256, size, replace)
    )
    document, created = await uploads.receive(request, receiver, limit)
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/api/v2/collections/{collection.id}/documents/{document.id}"
    return document


async def _add_form(
    request: Request, response: Response, collection: Collection, directory: FilePath, limit: int, replace: bool
) -> shapes.UploadedForm | Response:
    parts: list[shapes.UploadedPart] = []
    refusals: list[DocumentError] = []
    path = request.url.path

    def enter(name: str, sha256: str, size: int) -> None:
        document, created = _enter(collection, name, sha256, size, replace)
        parts.append(shapes.UploadedPart(name=name, created=created, document=document))

    def refuse(name: str, error: DocumentError) -> None:
        refusals.append(error)
        parts.append(shapes.UploadedPart(name=name, created=False, problem=problems.of(error, path)))

    receiver = uploads.FormReceiver(request.headers["content-type"], directory, limit, enter, refuse)
    try:
        await uploads.receive(request, receiver, uploads.form_limit(limit))
    except FileIntelError as error:
        # Files that came before the trouble are in: the caller is told which.
        return problems.answer(error, path, documents=jsonable_encoder(parts))
    if len(refusals) == len(parts):
        return problems.answer(refusals[0], path, documents=jsonable_encoder(parts))
    response.status_code = 201 if any(part.created for part in parts) else 200
    return shapes.UploadedForm(documents=parts, refused=len(refusals))


def _document_in(collection: Collection, document_id: str) -> Document:
    found = store.named(collection.id, document_id)
    if not found:
        raise NotFoundError(f"the collection {collection.name!r} has no document {document_id!r}")
    if len(found) > 1:
        ids = ", ".join(document.id for document in found[:5])
        raise ConflictError(f"{len(found)} documents are named {document_id!r}: say which by its id ({ids})")
    return found[0]


@router.get(
    "/collections/{collection}/documents/{document}",
    responses=shapes.example(200, shapes.DOCUMENT, "The document") | problems.documented(409),
)
def show_document(collection: ReadCollection, document_id: DocumentId) -> Document:
    """Show a document: its state, and why it could not be read if it couldn't."""
    return _document_in(collection, document_id)


@router.delete("/collections/{collection}/documents/{document}", status_code=204, responses=problems.documented(409))
def delete_document(collection: WriteCollection, document_id: DocumentId) -> None:
    """Remove a document: at once from basic answers, from the graph with the next build."""
    store.delete(_document_in(collection, document_id).id)
