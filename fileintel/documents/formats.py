"""The registry: every format FileIntel reads, once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from fileintel.model import ParsedDocument


class Reader(Protocol):
    """A module that reads one family of formats."""

    def read(self, path: Path, shown: str) -> ParsedDocument:
        """Read the file; `shown` is its name as errors show it. Raises DocumentError."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A format FileIntel reads: its name for people, its media type, its extensions, its reader's module."""

    name: str
    media_type: str
    extensions: tuple[str, ...]
    module: str
    is_text: bool = False

    def reader(self) -> Reader:
        """The reader, imported on first use: the parser libraries cost up to half a second each."""
        return cast(Reader, importlib.import_module(f"fileintel.documents.{self.module}"))


_OPENXML = "application/vnd.openxmlformats-officedocument"

PDF = Format("PDF", "application/pdf", (".pdf",), "pdf")
DOCX = Format("DOCX", f"{_OPENXML}.wordprocessingml.document", (".docx",), "docx_")
PPTX = Format("PPTX", f"{_OPENXML}.presentationml.presentation", (".pptx", ".pptm", ".ppsx"), "pptx_")
XLSX = Format("XLSX", f"{_OPENXML}.spreadsheetml.sheet", (".xlsx", ".xlsm", ".xltx", ".xltm"), "xlsx")
EPUB = Format("EPUB", "application/epub+zip", (".epub",), "epub")
HTML = Format("HTML", "text/html", (".html", ".htm", ".xhtml"), "html", is_text=True)
MARKDOWN = Format("Markdown", "text/markdown", (".md", ".markdown"), "markdown", is_text=True)
CSV = Format("CSV", "text/csv", (".csv", ".tsv"), "csv_", is_text=True)
TEXT = Format("plain text", "text/plain", (".txt", ".text", ".log"), "plaintext", is_text=True)

FORMATS = (PDF, DOCX, PPTX, XLSX, HTML, EPUB, MARKDOWN, TEXT, CSV)
READ = "PDF, DOCX, PPTX, XLSX, HTML, EPUB, Markdown, TXT and CSV"


def by_extension(extension: str) -> Format | None:
    """The format whose files are called so, or None; `extension` is lower case with its dot."""
    return next((known for known in FORMATS if extension in known.extensions), None)
