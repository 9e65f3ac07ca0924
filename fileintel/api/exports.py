"""Routes of exports: a main worker writes the archive, the API sends it in pieces."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from fileintel.api import jobs, problems, shapes
from fileintel.api.access import ReadCollection, Reader
from fileintel.api.graph import published_version
from fileintel.errors import ConflictError, NotFoundError
from fileintel.model import Job
from fileintel.store import blobs

router = APIRouter(tags=["exports"], responses=problems.documented(401, 403, 404, 409, 422, 503))


@router.post(
    "/collections/{collection}/exports",
    status_code=202,
    responses=shapes.example(202, {**shapes.EXPORT, "state": "queued", "result": None}, "It will be written"),
)
def start_export(collection: ReadCollection, wanted: shapes.NewExport, response: Response) -> Job:
    """Have the published index written as GraphRAG's Parquet tables, as GraphML or as Markdown."""
    parameters = {"format": wanted.format, "version": published_version(collection)}
    job = jobs.start(collection.id, "export", parameters)
    response.headers["Location"] = f"/api/v2/jobs/{job.id}"
    return job


@router.get(
    "/jobs/{job}/file",
    response_class=FileResponse,
    responses={200: {"description": "The archive", "content": {"application/zip": {"example": "(a ZIP archive)"}}}},
)
def download_export(key: Reader, job_id: jobs.JobId) -> FileResponse:
    """Download a written export as a ZIP archive."""
    job = jobs.job_for(key, job_id)
    if job.kind != "export" or job.state != "complete" or job.result is None:
        raise ConflictError(f"the job {job.id} has no file: it is {job.state} ({job.kind})")
    path = blobs.export_path(job.id)
    if not path.is_file():
        raise NotFoundError("the export's file is gone: export again")
    return FileResponse(path, media_type="application/zip", filename=f"{job.parameters['format']}.zip")
