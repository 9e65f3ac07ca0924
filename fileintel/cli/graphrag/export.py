"""`fileintel graphrag export`."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from fileintel.cli import output
from fileintel.cli.collection import Name
from fileintel.errors import InputError, ServiceError

app = typer.Typer()


@app.command()
def export(
    collection: Name,
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="A new or empty folder.", show_default=False)
    ],
    form: Annotated[
        Literal["parquet", "graphml", "markdown"],
        typer.Option("--format", help="GraphRAG's own tables, a graph for graph tools, or pages to read."),
    ] = "parquet",
    as_json: output.Json = False,
) -> None:
    """Write the published graph to files."""
    from fileintel.cli import progress
    from fileintel.cli.client import connect, part

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(f"{folder} is not empty: name a folder that is new or empty (--output)")
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}: name another (--output)") from error
    with connect() as api:
        job = api.post(f"/collections/{part(collection)}/exports", {"format": form})
        ended = progress.wait_for_job(api, job, quiet=as_json)
        try:
            with tempfile.TemporaryFile(dir=folder) as archive:
                api.download(f"/jobs/{ended['id']}/file", archive)
                with zipfile.ZipFile(archive) as packed:
                    packed.extractall(folder)
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}: make room, or name another") from error
        except zipfile.BadZipFile as error:
            raise ServiceError("the export came incomplete: export again") from error
    files = sorted(str(folder / name) for name in ended["result"]["files"])
    if as_json:
        output.print_json({"version": ended["result"]["version"], "files": files})
    else:
        output.line(f"index version {ended['result']['version']} is in {folder}: {output.counted(len(files), 'file')}")
