"""CSV and TSV: one line of text per row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from fileintel.documents import encodings, formats, tables
from fileintel.documents.composing import Composer
from fileintel.errors import CorruptDocumentError
from fileintel.model import ParsedDocument

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_LONGEST_FIELD = 1 << 24


def read(path: Path, shown: str) -> ParsedDocument:
    """Rows as "Header: value" lines; the delimiter is the one that cuts the first rows most evenly."""
    text, encoding = encodings.decode(path.read_bytes())
    text = text.replace("\0", "")
    csv.field_size_limit(_LONGEST_FIELD)
    composer = Composer()
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), skipinitialspace=True)
        for line in tables.lines(rows):
            composer.block(line, tight=True)
    except csv.Error as error:
        raise CorruptDocumentError(f"{shown} is not well-formed CSV ({error}); check its quotes") from error
    return ParsedDocument(formats.CSV.media_type, None, composer.sections(), metadata={"encoding": encoding})


def _delimiter(text: str) -> str:
    """The delimiter under which most of the first rows have the same number of cells, more than one.

    Not `csv.Sniffer`: it takes letters for delimiters and raises on a file of one column.
    """

    def evenness(delimiter: str) -> tuple[float, int]:
        rows = csv.reader(io.StringIO(text[: 1 << 16], newline=""), delimiter=delimiter, skipinitialspace=True)
        widths = [len(row) for row, _ in zip(rows, range(_SAMPLE_ROWS), strict=False) if row]
        if not widths:
            return 0.0, 0
        usual = max(set(widths), key=widths.count)
        return (widths.count(usual) / len(widths), usual) if usual > 1 else (0.0, usual)

    return max(_DELIMITERS, key=evenness)
