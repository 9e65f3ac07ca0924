"""Routes of questions and their answers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import StreamingResponse

from fileintel.api import problems, shapes, streams
from fileintel.api.access import ReadCollection, Reader, reaches
from fileintel.api.graph import published_version
from fileintel.errors import ConflictError, InputError, NotFoundError
from fileintel.model import Collection, Query
from fileintel.settings import load
from fileintel.store import documents as document_store
from fileintel.store import queries as store
from fileintel.tasks import bells

router = APIRouter(tags=["questions"], responses=problems.documented(401, 403, 404, 422, 503))

_EVENTS = (
    'event: delta\ndata: {"text": "It was signed by "}\n\n'
    ": still working\n\n"
    'event: answer\ndata: {"text": "It was signed by Ines Brandt [1].", "citations": [], "refused": false}\n\n'
)


def _query_for(key: Reader, query_id: Annotated[str, Path(alias="query", max_length=200)]) -> Query:
    missing = NotFoundError(f"there is no question {query_id!r}")
    try:
        query = store.get(query_id)
    except NotFoundError:
        raise missing from None
    if not reaches(key, query.collection_id):
        raise missing
    return query


ReadQuery = Annotated[Query, Depends(_query_for)]


def _refuse_unready(collection: Collection) -> None:
    """Raise ConflictError, with the cure, when no document of the collection can be asked."""
    states = document_store.states(collection.id).keys()
    name = collection.name
    if "ready" in states:
        return
    if not states:
        raise ConflictError(f"the collection {name!r} is empty: add files with `fileintel document add {name} PATH`")
    if states & {"queued", "processing"}:
        raise ConflictError(
            f"no document of {name!r} is ready yet: wait until they are read, see `fileintel document list {name}`"
        )
    raise ConflictError(f"no document of {name!r} could be read: `fileintel document list {name}` says why")


@router.post(
    "/collections/{collection}/queries",
    status_code=202,
    responses=shapes.example(202, {**shapes.QUERY, "state": "queued", "answer": None}, "Asked")
    | problems.documented(409),
)
def ask(collection: ReadCollection, wanted: shapes.NewQuery, response: Response) -> Query:
    """Put a question to a collection; the answer is at the returned id, and streams from its `/events`."""
    question = wanted.question.strip()
    if not question:
        raise InputError("the question is empty: ask something")
    if wanted.community_level is not None and wanted.mode == "basic":
        raise InputError("community_level does not go with mode basic, which reads no reports: leave it out")
    if wanted.dynamic_selection and wanted.mode not in ("global", "graph", "auto"):
        raise InputError(f"dynamic_selection goes with mode global, not {wanted.mode}: leave it out")
    _refuse_unready(collection)
    if wanted.mode not in ("basic", "auto"):
        published_version(collection)
    query = store.create(
        collection.id,
        question,
        wanted.mode,
        community_level=wanted.community_level,
        response_type=wanted.response_type,
        dynamic_selection=wanted.dynamic_selection,
    )
    bells.ring_query(query.id)
    response.headers["Location"] = f"/api/v2/queries/{query.id}"
    return query


@router.get("/queries/{query}", responses=shapes.example(200, shapes.QUERY, "The question and, when there, its answer"))
def show_query(query: ReadQuery) -> Query:
    """Show a question and what came of it."""
    return query


@router.get(
    "/queries/{query}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `delta` {text}…, `restart` {} if it begins anew, "
            "`waiting` {error, since} while a model server fails, `answer` or `error`",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENTS}},
        }
    },
)
async def follow_query(query: ReadQuery) -> StreamingResponse:
    """Stream an answer as it is written."""
    return streams.response(query.id, timeout=load().chat_timeout_seconds)
