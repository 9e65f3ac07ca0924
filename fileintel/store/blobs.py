"""Documents' bytes on disk: written once, named by their SHA-256, never half there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from fileintel.errors import DocumentTooLargeError, EmptyDocumentError, NotFoundError, ServiceError
from fileintel.settings import load
from fileintel.store.engine import rows

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def path(sha256: str) -> Path:
    """Return where the blob of this SHA-256 (64 hex digits) lies, whether or not it is there."""
    return _path_in(Path(load().blob_dir), sha256)


def _path_in(directory: Path, sha256: str) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise NotFoundError(f"no blob can be named {sha256!r}: 64 hexadecimal digits are")
    return directory / sha256[:2] / sha256[2:4] / sha256


def export_path(job_id: str) -> Path:
    """Where the archive of an export lies, whether or not it is there."""
    return Path(load().blob_dir) / "exports" / f"{job_id}.zip"


def remove_exports(kept: Iterable[str], *, older_than: float = 3600.0) -> int:
    """Remove the archives of exports that are none of `kept`, and what killed ones left; returns how many."""
    names = {export_path(job_id).name for job_id in kept}
    removed = 0
    for left in (Path(load().blob_dir) / "exports").glob("*"):
        with contextlib.suppress(FileNotFoundError):  # another worker sweeps too
            if left.name not in names and time.time() - left.stat().st_mtime >= older_than:
                left.unlink()
                removed += 1
    return removed


def _incoming(directory: Path) -> Path:
    return directory / "incoming"


class BlobWriter:
    """Receives one document's bytes into a temporary file of `directory`, and names it by its hash at the end.

    Every writer ends in `commit` or `abort`; `abort` after either is harmless.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        """Open the temporary file; `limit` is the most bytes the document may have."""
        self._directory = Path(directory)
        self._limit = limit
        self._hash = hashlib.sha256()
        self._size = 0
        folder = _incoming(self._directory)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix="upload-", dir=folder)
        except OSError as error:
            raise _storage_error(error) from error
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._temporary: Path | None = Path(name)

    @property
    def size(self) -> int:
        """How many bytes were written so far."""
        return self._size

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk; raises DocumentTooLargeError before a byte beyond the limit is written."""
        if self._size + len(chunk) > self._limit:
            self.abort()
            raise DocumentTooLargeError(f"the file is over the limit of {self._limit} bytes")
        self._hash.update(chunk)
        view = memoryview(chunk)
        try:
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            self.abort()
            raise _storage_error(error) from error
        self._size += len(chunk)

    def commit(self) -> tuple[str, int, Path]:
        """Make the blob durable under its name and return (sha256, size, path); raises EmptyDocumentError."""
        if self._temporary is None:
            raise ValueError("this blob was committed or aborted already")
        if self._size == 0:
            self.abort()
            raise EmptyDocumentError("the file is empty: it has 0 bytes")
        sha256 = self._hash.hexdigest()
        target = _path_in(self._directory, sha256)
        try:
            # The bytes must be on disk before the name is: a row may point at the name from then on.
            os.fsync(self._file.fileno())
            self._file.close()
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(self._temporary, target)
            _sync_folder(target.parent)
        except OSError as error:
            self.abort()
            raise _storage_error(error) from error
        self._temporary = None
        return sha256, self._size, target

    def abort(self) -> None:
        """Remove the temporary file."""
        self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None


def sweep(directory: Path, *, older_than: float = 86_400.0) -> int:
    """Remove temporary files that a killed upload left `older_than` seconds ago or more; returns how many."""
    folder = _incoming(Path(directory))
    if not folder.is_dir():
        return 0
    removed = 0
    for left in folder.glob("upload-*"):
        try:
            if time.time() - left.stat().st_mtime >= older_than:
                left.unlink()
                removed += 1
        except FileNotFoundError:  # its upload ended meanwhile
            continue
    return removed


def remove_unreferenced(directory: Path, *, older_than: float = 3600.0) -> int:
    """Remove blobs that no document has any more and that are `older_than` seconds old; returns how many.

    The age is a margin: a blob is there shortly before the row of its document is.
    """
    old: dict[str, Path] = {}
    for blob in Path(directory).glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - blob.stat().st_mtime >= older_than:
                old[blob.name] = blob
    held = {
        found["sha256"]
        for found in rows("SELECT DISTINCT sha256 FROM documents WHERE sha256 = ANY(:names)", names=list(old))
    }
    unreferenced = [blob for name, blob in old.items() if name not in held]
    for blob in unreferenced:
        blob.unlink(missing_ok=True)
    return len(unreferenced)


def check_writable(directory: Path) -> None:
    """Write and remove a small file where uploads go; raises ServiceError when that fails."""
    probe = BlobWriter(directory, 1)
    try:
        probe.write(b"x")
    finally:
        probe.abort()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(error: OSError) -> ServiceError:
    reason = "it is full" if error.errno in _NO_ROOM else (error.strerror or type(error).__name__)
    return ServiceError(f"the document store cannot be written: {reason} (FILEINTEL_BLOB_DIR)")
