"""What commands write: one JSON document or plain tables on stdout, complaints on stderr, one line each."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, TextIO

import typer

from fileintel.errors import FileIntelError, InputError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


class Misuse(InputError):
    """A command line that cannot be understood."""

    title = "usage"

    def __init__(self, error: Exception) -> None:
        context = getattr(error, "ctx", None)
        tell = getattr(error, "format_message", error.__str__)
        hint = f" (see `{context.command_path} --help`)" if context is not None else ""
        super().__init__(tell() + hint)


def complain(error: FileIntelError, as_json: bool = False) -> None:
    """Write an error to stderr: as one line, or as its problem."""
    if not as_json:
        sys.stderr.write(f"fileintel: {plain(str(error))}\n")
        return
    problem = getattr(error, "problem", None) or {
        "type": f"urn:fileintel:{error.code}",
        "title": error.title,
        "status": error.http_status,
        "detail": str(error),
    }
    sys.stderr.write(json.dumps(problem, ensure_ascii=False) + "\n")


def print_json(value: object) -> None:
    """Write the one JSON document of a command."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def plain(text: str, *, lines: bool = False) -> str:
    """Return text without what a terminal would obey (it may come from a document); line ends stay if `lines`."""
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)


def line(text: str = "", file: TextIO | None = None) -> None:
    """Write one line."""
    (file or sys.stdout).write(plain(text) + "\n")


def write(text: str) -> None:
    """Write text as it is, lines and all, at once."""
    sys.stdout.write(plain(text, lines=True))
    sys.stdout.flush()


def block(text: str) -> None:
    """Write text of several lines."""
    write(text.rstrip("\n") + "\n")


def note(text: str) -> None:
    """Write one line to stderr, where it is in nobody's way."""
    sys.stderr.write(plain(text) + "\n")
    sys.stderr.flush()


def at_terminal() -> bool:
    """Whether a person is there to be asked: stdin and stderr are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], file: TextIO | None = None) -> None:
    """Write aligned columns; None is shown as a dash."""
    from rich.cells import cell_len

    shown = [[name.upper() for name in head], *([_cell(value) for value in row] for row in rows)]
    widths = [max(cell_len(row[column]) for row in shown) for column in range(len(head))]
    for row in shown:
        padded = (text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True))
        (file or sys.stdout).write("  ".join(padded).rstrip() + "\n")


def facts(pairs: Mapping[str, object]) -> None:
    """Write names and values, one pair a line, leaving out what is None."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        if value is not None:
            line(f"{name:<{width}}  {_cell(value)}")


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "-"
    return plain(str(value))


def moment(stamp: str | None) -> str | None:
    """Return a timestamp of the API in local time, to the second."""
    return None if stamp is None else datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def amount(size: int) -> str:
    """Return a size in bytes as people say it."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """Return how many there are of something that has a regular plural: "1 file", "3 files"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def shorten(text: str, length: int) -> str:
    """Return the text on one line of at most `length` characters."""
    flat = " ".join(plain(text).split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"
