"""Exports: a version's tables written into one archive beside the blobs, where the API finds it."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from fileintel.errors import ServiceError
from fileintel.graph.graphml import write_graphml
from fileintel.graph.markdown import index_page, report_page
from fileintel.graph.parquet import write_table
from fileintel.model import Job
from fileintel.store import blobs, collections, exports, runs


def write_export(job: Job) -> Mapping[str, Any]:
    """Write a job's archive; its parameters are `format` and `version`. The result tells name, files and bytes.

    The archive appears under its name when it is whole. Raises ServiceError when it cannot be written.
    """
    version, form = int(job.parameters["version"]), str(job.parameters["format"])
    collection = collections.get(job.collection_id)
    target = blobs.export_path(job.id)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix="export-", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                FORMATS[form](archive, collection.id, collection.name, version)
                files = archive.namelist()
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ServiceError(f"the export cannot be written: {error.strerror} (FILEINTEL_BLOB_DIR)") from error
    return {"format": form, "version": version, "files": files, "bytes": target.stat().st_size}


def _parquet(archive: zipfile.ZipFile, collection_id: str, _name: str, version: int) -> None:
    tables = {
        "documents": exports.documents(collection_id),
        "text_units": exports.text_units(collection_id, version),
        "entities": exports.entities(version),
        "relationships": exports.relationships(version),
        "communities": exports.communities(version),
        "community_reports": exports.reports(version),
    }
    if runs.parameters(version).get("claims"):
        tables["covariates"] = exports.covariates(collection_id, version)
    for name, rows in tables.items():
        with _member(archive, f"{name}.parquet", zipfile.ZIP_STORED) as file:  # Parquet is compressed already
            write_table(name, rows, file)


def _graphml(archive: zipfile.ZipFile, _collection_id: str, _name: str, version: int) -> None:
    with _member(archive, "graph.graphml") as file:
        write_graphml(exports.entities(version), exports.relationships(version), exports.communities(version), file)


def _markdown(archive: zipfile.ZipFile, _collection_id: str, name: str, version: int) -> None:
    for report in exports.reports(version):
        file_name, text = report_page(report)
        archive.writestr(f"communities/{file_name}", text)
    with _member(archive, "index.md") as file:
        for piece in index_page(
            f"{name}, index version {version}", exports.reports(version), exports.entities(version)
        ):
            file.write(piece.encode("utf-8", "replace"))


def _member(archive: zipfile.ZipFile, name: str, compression: int = zipfile.ZIP_DEFLATED) -> IO[bytes]:
    member = zipfile.ZipInfo(name)
    member.compress_type = compression
    return archive.open(member, "w", force_zip64=True)


FORMATS: Mapping[str, Callable[[zipfile.ZipFile, str, str, int], None]] = {
    "parquet": _parquet,
    "graphml": _graphml,
    "markdown": _markdown,
}
