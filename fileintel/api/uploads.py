"""Receiving documents: streamed to disk, hashed on the way, never whole in memory."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from fileintel.errors import DocumentError, DocumentTooLargeError, EmptyDocumentError, InputError
from fileintel.store.blobs import BlobWriter

MAX_NAME_BYTES = 255
MAX_FORM_FILES = 1_000
# Boundaries and part headers of a form come on top of its files.
_FORM_OVERHEAD_BYTES = 1 << 20
# Hashing and writing leave the event loop for a thread, in pieces large enough to make that worth while.
_BATCH_BYTES = 1 << 20

Result = TypeVar("Result", covariant=True)
Entered = TypeVar("Entered")
Enter = Callable[[str, str, int], None]
Refuse = Callable[[str, DocumentError], None]

_BIDI_CONTROLS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class FileNameError(DocumentError):
    """The file's name cannot be used."""

    title = "bad file name"


class Receiver(Protocol[Result]):
    """Takes a request's body piece by piece, in worker threads, one call at a time."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> Result:
        """Take note that the body is complete."""

    def abort(self) -> None:
        """Drop what is unfinished; harmless after `finish`."""


def clean_name(name: str) -> str:
    """Return a file's name without path, control characters and newlines; raises when nothing or too much is left."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    visible = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp"))
    cleaned = " ".join(_BIDI_CONTROLS.sub("", visible).split())
    if cleaned in ("", ".", ".."):
        raise FileNameError("the file has no name: give one such as `report.pdf`")
    if len(cleaned.encode()) > MAX_NAME_BYTES:
        raise FileNameError(f"the file's name is over {MAX_NAME_BYTES} bytes: shorten it")
    return cleaned


def name_of(request: Request) -> str:
    """Return the name a raw upload carries in `?name=` or in Content-Disposition."""
    given = request.query_params.get("name")
    if given is None and "content-disposition" in request.headers:
        header = Message()
        header["Content-Disposition"] = request.headers["content-disposition"]
        given = header.get_filename()
    if given is None:
        raise FileNameError("the file has no name: give `?name=report.pdf` or Content-Disposition with a filename")
    return clean_name(given)


class RawReceiver(Generic[Entered]):
    """One document as the whole body; gives what `enter(sha256, size)` makes of it."""

    def __init__(self, directory: Path, limit: int, enter: Callable[[str, int], Entered]) -> None:
        self._directory = directory
        self._limit = limit
        self._enter = enter
        self._writer: BlobWriter | None = None

    def feed(self, data: bytes) -> None:
        """Write the next bytes; raises DocumentTooLargeError."""
        if self._writer is None:
            self._writer = BlobWriter(self._directory, self._limit)
        self._writer.write(data)

    def finish(self) -> Entered:
        """Name the blob and enter it; raises EmptyDocumentError."""
        if self._writer is None:
            raise EmptyDocumentError("the file is empty: it has 0 bytes")
        sha256, size, _ = self._writer.commit()
        return self._enter(sha256, size)

    def abort(self) -> None:
        """Remove the unfinished file."""
        if self._writer is not None:
            self._writer.abort()


class FormReceiver:
    """A multipart/form-data body of any number of files.

    Each file is handed to `enter(name, sha256, size)` as soon as it is complete; one with a bad name, without
    bytes or with more than `limit` of them goes to `refuse(name, error)` and the rest go on. Fields that are no
    files are passed over.
    """

    def __init__(self, content_type: str, directory: Path, limit: int, enter: Enter, refuse: Refuse) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise InputError("the form's Content-Type names no boundary")
        self._directory = directory
        self._limit = limit
        self._enter = enter
        self._refuse = refuse
        self._files = 0
        self._ended = False
        self._field = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._given: str | None = None
        self._name: str | None = None
        self._writer: BlobWriter | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._data_begins,
                    "on_part_data": self._data,
                    "on_part_end": self._part_ends,
                    "on_end": self._form_ends,
                },
            )
        except FormParserError as error:
            raise InputError(f"the form cannot be read: {error}") from error

    def feed(self, data: bytes) -> None:
        """Parse the next bytes; raises InputError on a malformed form."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InputError(f"the form cannot be read: {error}") from error

    def finish(self) -> None:
        """Check that the form came to its end and held a file."""
        if not self._ended:
            raise InputError("the form ends before its closing boundary")
        if self._files == 0:
            raise InputError("the form holds no file: send each as a part with a filename")

    def abort(self) -> None:
        """Remove the unfinished file."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None

    def _part_begins(self) -> None:
        self._headers = {}
        self._field = self._value = b""
        self._given = self._name = None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _data_begins(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        given = options.get(b"filename")
        if given is None:
            return
        self._files += 1
        if self._files > MAX_FORM_FILES:
            raise InputError(f"the form holds more than {MAX_FORM_FILES} files: send several requests")
        self._given = _decoded(given)
        try:
            self._name = clean_name(self._given)
        except FileNameError as error:
            self._refuse(self._given, error)
            return
        self._writer = BlobWriter(self._directory, self._limit)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._writer is None or self._name is None:
            return
        try:
            self._writer.write(memoryview(data)[start:end])
        except DocumentTooLargeError as error:
            self._writer = None  # it removed what it had written; the rest of this file is passed over
            self._refuse(self._name, error)

    def _part_ends(self) -> None:
        if self._writer is None or self._name is None:
            return
        writer, self._writer = self._writer, None
        try:
            sha256, size, _ = writer.commit()
        except EmptyDocumentError as error:
            self._refuse(self._name, error)
            return
        self._enter(self._name, sha256, size)

    def _form_ends(self) -> None:
        self._ended = True


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    # What browsers do to these three in a form's file names (WHATWG HTML, multipart/form-data encoding).
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def form_limit(file_limit: int) -> int:
    """Return the most bytes a form may have: as many files as it may hold, each of the size a file may have."""
    return MAX_FORM_FILES * file_limit + _FORM_OVERHEAD_BYTES


async def receive(request: Request, receiver: Receiver[Result], limit: int) -> Result:
    """Feed a request's body to `receiver`; raises DocumentTooLargeError as soon as it announces or has too much."""
    too_large = DocumentTooLargeError(f"the upload is over the limit of {limit} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    received = 0
    waiting = bytearray()
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise too_large
            waiting += chunk
            if len(waiting) >= _BATCH_BYTES:
                await run_in_threadpool(receiver.feed, bytes(waiting))
                waiting.clear()
        if waiting:
            await run_in_threadpool(receiver.feed, bytes(waiting))
        return await run_in_threadpool(receiver.finish)
    finally:
        await run_in_threadpool(receiver.abort)
