"""Table rows as lines that can be understood alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from fileintel.documents.text import one_line

Row = Sequence[str]
_NUMBER = re.compile(r"^[-+(]?[$€£¥]?\s*\d[\d.,:/\s-]*[%)]?\s*[$€£¥%]?$")
_LONGEST_HEADER = 80


def lines(rows: Iterable[Row], *, headed: bool | None = None) -> Iterator[str]:
    """One line per row that is not blank: "Header: value; Header: value" under a header row, else "value | value".

    The header is the first row with two cells or more, when those are words that differ from each other (`headed`
    None), always (True) or never (False). Rows of one cell before it (a table's caption) stand as they are.
    """
    header: list[str] | None = None
    searching = headed is not False
    held: list[str] | None = None  # a header not yet written: it becomes a plain row if no row follows
    for raw in rows:
        cells = [one_line(cell) for cell in raw]
        filled = [cell for cell in cells if cell]
        if not filled:
            continue
        if searching and len(filled) > 1:
            searching = False
            if headed or _is_header(cells, filled):
                header = held = cells
                continue
        held = None
        yield _line(cells, filled, header)
    if held is not None:
        yield " | ".join(cell for cell in held if cell)


def _line(cells: list[str], filled: list[str], header: list[str] | None) -> str:
    if header is None:
        return " | ".join(filled)
    if len(filled) == 1 and cells[0] and len(header) > 2:
        return cells[0]  # a row of one cell at the margin divides the table; it is no value of the first column
    named = ((header[i] if i < len(header) and header[i] else "", cell) for i, cell in enumerate(cells) if cell)
    return "; ".join(f"{name.rstrip(':')}: {cell}" if name else cell for name, cell in named)


def _is_header(cells: list[str], filled: list[str]) -> bool:
    if len(filled) * 2 <= len(cells) or len({cell.casefold() for cell in filled}) < len(filled):
        return False
    return all(len(cell) <= _LONGEST_HEADER and not _NUMBER.match(cell) or _is_year(cell) for cell in filled) and any(
        not _NUMBER.match(cell) for cell in filled
    )


def _is_year(cell: str) -> bool:
    return len(cell) == 4 and cell.isdigit() and cell[:2] in ("18", "19", "20", "21")
