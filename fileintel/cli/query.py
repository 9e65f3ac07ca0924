"""`fileintel query`, and what `fileintel graphrag query` shares with it."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileintel.cli import output
from fileintel.cli.collection import Name
from fileintel.errors import FileIntelError, InputError, ServiceError

if TYPE_CHECKING:
    from fileintel.cli.client import Api

app = typer.Typer()
_LOOK_AGAIN_SECONDS = 1.0


class Mode(StrEnum):
    """How a question is answered."""

    AUTO = "auto"
    BASIC = "basic"
    LOCAL = "local"
    GLOBAL = "global"
    DRIFT = "drift"
    GRAPH = "graph"


class AnswerFailedError(FileIntelError):
    """A question could not be answered."""

    title = "unanswered question"


Question = Annotated[str, typer.Argument(help="What to ask.", show_default=False)]
ModeOption = Annotated[
    Mode,
    typer.Option(
        help="By text (basic), by the graph around entities (local), by reports (global), by both in several rounds "
        "(drift), or as fits: among the first three (auto), between local and global (graph)."
    ),
]
CommunityLevel = Annotated[
    int | None, typer.Option(min=0, max=100, help="Read reports of communities no finer than this; 0 is the coarsest.")
]
ResponseType = Annotated[
    str | None,
    typer.Option(help='Form and length of the answer, like "List of 3-7 points"; the embedded model only quotes.'),
]
Dynamic = Annotated[
    bool, typer.Option("--dynamic/--no-dynamic", help="For global: let the model choose the reports, coarsest first.")
]
Wait = Annotated[float, typer.Option(min=1, help="Wait at most so many seconds for the answer.")]


@app.command()
def query(
    collection: Name,
    question: Question,
    mode: ModeOption = Mode.AUTO,
    community_level: CommunityLevel = None,
    response_type: ResponseType = None,
    dynamic: Dynamic = False,
    wait: Wait = 600,
    as_json: output.Json = False,
) -> None:
    """Ask a collection a question; the answer streams, its citations follow."""
    from fileintel.cli.client import connect, part

    if not question.strip():
        raise InputError("the question is empty: ask something")
    if dynamic and mode not in (Mode.GLOBAL, Mode.GRAPH, Mode.AUTO):
        raise InputError(f"--dynamic goes with --mode global, not {mode.value}: leave it out")
    asked: dict[str, Any] = {"question": question, "mode": mode.value}
    if community_level is not None:
        asked["community_level"] = community_level
    if response_type is not None:
        asked["response_type"] = response_type
    if dynamic:
        asked["dynamic_selection"] = True
    with connect() as api:
        entered = api.post(f"/collections/{part(collection)}/queries", asked)
        screen = _Screen(quiet=as_json)
        answer = _follow(api, entered["id"], screen, time.monotonic() + wait)
        if as_json:
            output.print_json(api.get(f"/queries/{part(entered['id'])}"))
            return
    screen.close(answer)
    _print_citations(answer)


def _follow(api: Api, query_id: str, screen: _Screen, until: float) -> dict[str, Any]:
    """Return the answer, showing it as it comes; a stream that breaks is no loss, since the answer is kept."""
    from fileintel.cli.client import ApiError, part
    from fileintel.cli.progress import failure

    where = f"/queries/{part(query_id)}"
    try:
        for kind, data in api.events(f"{where}/events"):
            if kind == "delta":
                screen.show(data["text"])
            elif kind == "restart":
                screen.restart()
            elif kind == "waiting":
                screen.waits(failure(data), data["error"])
            elif kind == "answer":
                return dict(data)
            elif data.get("code") != "timeout":
                raise AnswerFailedError(data["detail"] or "the question could not be answered")
            if time.monotonic() > until:
                break
    except ServiceError as error:
        output.note(f"{error}; asking for the whole answer instead")
    except ApiError as error:
        if error.status != 503:
            raise
    while True:
        query = api.get(where)
        if query["state"] == "complete":
            return dict(query["answer"])
        if query["state"] == "failed":
            raise AnswerFailedError(query["error"] or "the question could not be answered")
        if time.monotonic() > until:
            raise AnswerFailedError(f"no answer yet; it will be at {api.url}/api/v2{where}")
        time.sleep(_LOOK_AGAIN_SECONDS)


class _Screen:
    """The answer as it is written."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._text = ""
        self._said: set[str] = set()

    def waits(self, why: str, error: str) -> None:
        """Say once what the answer waits for."""
        if error not in self._said:
            self._said.add(error)
            output.note(f"waiting: {why}")

    def show(self, piece: str) -> None:
        self._text += piece
        if not self._quiet:
            output.write(piece)

    def restart(self) -> None:
        if self._text and not self._quiet:
            output.write("\n")
            output.note("the answer begins anew")
        self._text = ""

    def close(self, answer: dict[str, Any]) -> None:
        """End the answer; print it whole if what streamed is not what it became."""
        if self._text.strip() != answer["text"].strip():
            output.write("\n\n" if self._text else "")
            output.write(answer["text"])
        output.write("\n")


def _print_citations(answer: dict[str, Any]) -> None:
    for citation in answer["citations"]:
        place = [citation["document_name"]]
        if citation["page"] is not None:
            place.append(f"page {citation['page']}")
        if citation["heading"]:
            place.append(citation["heading"])
        output.line()
        output.line(f"[{citation['number']}] {', '.join(place)}")
        output.line(f"    “{' '.join(citation['quote'].split())}”")
    version = answer["index_version"]
    built = "the documents' text" if version is None else f"index version {version}"
    output.line()
    output.line(f"{answer['mode']}, from {built}, by {answer['chat_model']} and {answer['embedding_model']}")
    if answer["marks_removed"]:
        output.line(f"{answer['marks_removed']} marks that led to no source were removed")
