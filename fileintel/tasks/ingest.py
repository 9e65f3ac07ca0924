"""Reading documents: bytes to text units, text units to vectors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from fileintel.documents import parse_in_limits, split
from fileintel.errors import DocumentError, FileIntelError, ServiceError
from fileintel.model import Document
from fileintel.settings import load
from fileintel.store import blobs, documents
from fileintel.tasks import bells, models, process
from fileintel.tasks.app import app

logger = logging.getLogger(__name__)
EMBEDDING_BATCH = 32
# The main worker's processes serve questions too: a long document is embedded in turns.
TURN_SECONDS = 5.0


@app.task(name="ingest.document", queue="document_processing")
def read_document(document_id: str) -> None:
    """Read one queued document, unless another message for it was faster.

    While its vectors are waited for, the next ones in the queue are parsed, one at a time.
    """
    worker = process.worker_id()
    end = time.monotonic() + TURN_SECONDS
    document = documents.claim(document_id, worker)
    at_once = models.embeddings_at_once()
    with ThreadPoolExecutor(at_once, thread_name_prefix="embed") as threads:
        waiting: set[Future[None]] = set()
        while document is not None:
            if _settled(document, _parse):
                waiting.add(threads.submit(_finish, document))
            if at_once == 1 or time.monotonic() > end:
                return
            if len(waiting) >= at_once:
                _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            document = documents.claim_next(worker)


def _finish(document: Document) -> None:
    """Embed a parsed document for a turn; it is ready then, or queued again."""

    def embed(document: Document) -> None:
        if _embed(document):
            documents.finish(document.id)
        else:
            documents.postpone(document.id)
            bells.ring_document(document.id)

    _settled(document, embed)


def _settled(document: Document, work: Callable[[Document], None]) -> bool:
    """Whether the work on a document was done; what stopped it is kept with the document."""
    try:
        work(document)
    except DocumentError as error:
        documents.fail(document.id, error.code, str(error))
    except ServiceError as error:
        logger.warning("%s: %s; it will be tried again", document.name, error)
        documents.release(document.id)
    except FileIntelError as error:
        documents.fail(document.id, error.code, f"{document.name}: {error}")
    except Exception as error:
        logger.exception("reading %s", document.id)
        documents.fail(
            document.id, "internal", f"{document.name}: reading failed ({type(error).__name__}): report this"
        )
    else:
        return True
    return False


def _parse(document: Document) -> None:
    if documents.has_text_units(document.id) or documents.copy_text_units(document):
        return
    settings = load()
    parsed = parse_in_limits(
        blobs.path(document.sha256),
        document.name,
        seconds=float(settings.parser_seconds),
        memory_bytes=settings.parser_memory.bytes,
    )
    units = split(
        parsed,
        tokenizer=models.tokenizer(),
        max_tokens=settings.text_unit_tokens,
        overlap=settings.text_unit_overlap,
    )
    documents.save_text_units(document.id, parsed, units)


def _embed(document: Document) -> bool:
    """Embed for a turn; whether all is embedded."""
    model = models.embedding_model()
    end = time.monotonic() + TURN_SECONDS
    while batch := documents.units_to_embed(document.id, model.name, EMBEDDING_BATCH):
        if time.monotonic() > end:
            return False
        remembered = models.remember_vectors([text for _, text in batch])
        documents.save_embeddings(model.name, {unit: remembered[text] for unit, text in batch})
    return True
