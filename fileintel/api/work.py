"""The route of work in progress."""

from __future__ import annotations

from fastapi import APIRouter

from fileintel.api import problems, shapes
from fileintel.api.access import Reader, reaches
from fileintel.store import documents as document_store
from fileintel.store import queries as query_store
from fileintel.store import runs as run_store

router = APIRouter(tags=["work"], responses=problems.documented(401, 403, 503))


@router.get(
    "/tasks",
    responses=shapes.example(200, {"index_runs": [shapes.RUN], "documents": [], "queries": []}, "Work in progress"),
)
def list_work(key: Reader) -> shapes.WorkInProgress:
    """List what is being done: index runs, documents being read, questions being answered."""
    documents = [document for document in document_store.unfinished() if reaches(key, document.collection_id)]
    runs = [run for run in run_store.running() if reaches(key, run.collection_id)]
    queries = [query for query in query_store.unfinished() if reaches(key, query.collection_id)]
    return shapes.WorkInProgress(index_runs=runs, documents=documents, queries=queries)
