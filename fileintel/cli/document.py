"""`fileintel document`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileintel.cli import output
from fileintel.cli.collection import Name, confirm
from fileintel.errors import DocumentError

if TYPE_CHECKING:
    from fileintel.cli.client import Api

app = typer.Typer(help="Add, list, show and delete documents.")
DocumentId = Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="The document's name or id.", show_default=False)]
# Why a path cannot be sent at all.
_UNUSABLE = "urn:fileintel:file"
# What a file can be refused for while the next one is welcome.
_ITS_OWN_FAULT = (409, 413, 415, 422)


class RefusedError(DocumentError):
    """Some of the files given could not be taken or read."""

    title = "refused documents"
    exit_code = 1

    def __init__(self, failed: list[_Added], given: int) -> None:
        first = failed[0].trouble
        told = f"{failed[0].path}: {first['title']}: {first['detail']}"
        if given > 1:
            told = f"{len(failed)} of {given} documents could not be taken: {told}"
        else:  # what is wrong with the one file is what went wrong
            self.problem = {**first, "detail": told}
        if all(added.problem and added.problem["type"] == _UNUSABLE for added in failed):
            self.exit_code = 2  # what was named was never there to be sent
        super().__init__(told)


@dataclass
class _Added:
    path: str
    name: str
    created: bool = False
    document: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    # Whether another document of that name stays beside it.
    beside: bool = False

    @property
    def state(self) -> str:
        if self.document is None:
            return "refused"
        return str(self.document["state"])

    @property
    def reason(self) -> str | None:
        if self.problem is not None:
            return str(self.problem["detail"])
        return None if self.document is None else self.document["error"]

    @property
    def trouble(self) -> dict[str, Any]:
        """The problem for which it was refused, or that reading it met."""
        if self.problem is not None or self.document is None:
            return self.problem or {}
        code = self.document["error_code"] or "internal"
        return _problem(self.document["error"] or "it could not be read", code, code.replace("-", " "))

    @property
    def failed(self) -> bool:
        return self.state in ("refused", "failed")


def _problem(detail: str, code: str = "file", title: str = "unusable file") -> dict[str, Any]:
    return {"type": f"urn:fileintel:{code}", "title": title, "status": 422, "detail": detail}


def _files(paths: list[Path], recursive: bool) -> Iterator[tuple[Path, str | None]]:
    """Yield each file and why it cannot be sent, if so; hidden files inside folders are passed over."""
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            yield path, f"{error.strerror or 'it cannot be read'}: check the path"
            continue
        if stat.S_ISREG(mode):
            yield path, None
        elif not stat.S_ISDIR(mode):
            yield path, "neither a file nor a folder"
        elif not recursive:
            yield path, "a folder: add --recursive for what is in it"
        else:
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    if not name.startswith(".") and (Path(folder) / name).is_file():
                        yield Path(folder) / name, None


def _send(api: Api, collection: str, path: Path, bar: Any, replace: bool) -> _Added:
    from fileintel.cli.client import ApiError

    # A file name is bytes and need not be UTF-8.
    name = os.fsencode(path.name).decode("utf-8", "replace")
    added = _Added(os.fsencode(path).decode("utf-8", "replace"), name)
    try:
        added.document, added.created = api.upload(collection, path, name, bar.sent, replace=replace)
        added.beside = added.created and not replace and _is_ambiguous(api, collection, name)
    except ApiError as error:
        if error.status not in _ITS_OWN_FAULT:
            raise
        added.problem = error.problem
    except OSError as error:
        added.problem = _problem(error.strerror or "cannot be read")
    return added


def _is_ambiguous(api: Api, collection: str, name: str) -> bool:
    from fileintel.cli.client import ApiError, part

    try:
        api.get(f"/collections/{part(collection)}/documents/{part(name)}")
    except ApiError as error:
        return error.status == 409
    return False


@app.command()
def add(
    collection: Name,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, or folders.", show_default=False)],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Take the files in folders.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place, once read, of documents of the same name.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until each is read.")] = False,
    as_json: output.Json = False,
) -> None:
    """Add documents to a collection; those refused are told at the end, the rest go on."""
    from fileintel.cli import progress
    from fileintel.cli.client import connect, part

    with connect() as api:
        api.get(f"/collections/{part(collection)}")
        files = list(_files(paths, recursive))
        results: list[_Added] = []
        with progress.Uploads(len(files), quiet=as_json) as bar:
            for path, trouble in files:
                bar.begins(path.name)
                if trouble is None:
                    added = _send(api, collection, path, bar, replace)
                else:
                    shown = os.fsencode(path).decode("utf-8", "replace")
                    added = _Added(shown, path.name, problem=_problem(trouble))
                results.append(added)
                bar.ends()
        if wait:
            progress.wait_for_documents(api, collection, results, quiet=as_json)
    _report(results, as_json)


def _report(results: list[_Added], as_json: bool) -> None:
    failed = [added for added in results if added.failed]
    if as_json:
        members = ("path", "name", "created", "document", "problem")
        listed = [{member: getattr(added, member) for member in members} for added in results]
        output.print_json({"documents": listed, "failed": len(failed)})
    else:
        rows = [
            (a.path, a.state if a.created or a.document is None else f"{a.state} (was there)", a.reason, _id(a))
            for a in results
        ]
        output.table(("file", "state", "reason", "id"), rows)
        for added in results:
            if added.beside:
                output.note(f"another {added.name} is there too: add with --replace takes its place")
    if failed:
        raise RefusedError(failed, len(results))


def _id(added: _Added) -> str | None:
    return None if added.document is None else added.document["id"]


@app.command("list")
def list_(collection: Name, as_json: output.Json = False) -> None:
    """List a collection's documents."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        found = api.items(f"/collections/{part(collection)}/documents")
    if as_json:
        output.print_json(found)
        return
    output.table(
        ("name", "state", "pages", "text units", "size", "id", "reason"),
        [
            (d["name"], d["state"], d["pages"], d["text_units"], output.amount(d["size"]), d["id"], d["error"])
            for d in found
        ],
    )


@app.command()
def show(collection: Name, document: DocumentId, as_json: output.Json = False) -> None:
    """Show a document."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        found = api.get(f"/collections/{part(collection)}/documents/{part(document)}")
    if as_json:
        output.print_json(found)
        return
    output.facts(
        {
            "name": found["name"],
            "id": found["id"],
            "title": found["title"],
            "type": found["media_type"],
            "size": output.amount(found["size"]),
            "state": found["state"],
            "reason": found["error"],
            "pages": found["pages"],
            "text units": found["text_units"],
            "added": output.moment(found["created_at"]),
            "sha256": found["sha256"],
        }
    )


@app.command()
def delete(
    collection: Name,
    document: DocumentId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: output.Json = False,
) -> None:
    """Delete a document: at once from basic answers, from the graph with the next build."""
    from fileintel.cli.client import connect, part

    where = f"/collections/{part(collection)}/documents/{part(document)}"
    with connect() as api:
        found = api.get(where)
        confirm(f"delete {found['name']}?", yes or as_json)
        # By its id: another of that name may have come meanwhile.
        api.delete(f"/collections/{part(collection)}/documents/{part(found['id'])}")
    if as_json:
        output.print_json({"deleted": found["id"]})
    else:
        output.line(f"deleted {found['name']}")
