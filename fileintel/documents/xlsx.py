"""XLSX: one section per sheet, one line of text per row."""

from __future__ import annotations

import datetime
from pathlib import Path

import openpyxl

from fileintel.documents import formats, tables
from fileintel.documents.composing import Composer
from fileintel.documents.text import one_line
from fileintel.model import ParsedDocument


def read(path: Path, shown: str) -> ParsedDocument:
    """Sheets in order, rows as "Header: value" lines; formulas as the values they had when the file was saved."""
    composer = Composer()
    # Opened here, because of a path openpyxl wants one of its own extensions, and stored documents have none.
    with path.open("rb") as file:
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
        title = one_line(workbook.properties.title or "") or None
        for sheet in workbook.worksheets:
            composer.heading(1, sheet.title)
            # The sheet's own dimensions may claim all 17 billion cells: go by the cells that are there.
            sheet.reset_dimensions()
            for line in tables.lines([_shown(cell) for cell in row] for row in sheet.iter_rows(values_only=True)):
                composer.block(line, tight=True)
    # A sheet that holds nothing but its name is no text.
    sections = tuple(section for section in composer.sections() if section.text != section.heading)
    return ParsedDocument(formats.XLSX.media_type, title, sections)


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "minutes")
    return str(value)
