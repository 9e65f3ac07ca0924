"""`parse`: a file's bytes to a document's text, or one named error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fileintel.documents import archives, detect, formats
from fileintel.documents.text import clean, label, one_line
from fileintel.errors import CorruptDocumentError, DocumentError, EmptyDocumentError
from fileintel.model import ParsedDocument, Section

_ZIPPED = (formats.DOCX, formats.PPTX, formats.XLSX, formats.EPUB)


def parse(path: Path, name: str) -> ParsedDocument:
    """Read the file by what its bytes are; `name` is what it is called.

    Raises the DocumentError that says why not: Empty, Encrypted, Corrupt, Mislabelled, Unsupported, TooLarge.
    """
    shown = label(name)
    found = detect.detect(path, name, shown)
    if found in _ZIPPED:
        archives.check(path, shown)
    reader = found.reader()
    try:
        document = reader.read(path, shown)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make the parser libraries raise whatever they run into
        raise CorruptDocumentError(
            f"{shown} is damaged or cut off: reading it as {found.name} failed "
            f"({type(error).__name__}); open it in its own program, save it anew and send it again"
        ) from error
    sections = tuple(
        Section(text, section.page, one_line(section.heading) if section.heading else None)
        for section in document.sections
        if (text := clean(section.text).strip()) and any(c.isalnum() for c in text)
    )
    if not sections:
        raise EmptyDocumentError(f"{shown} holds no text; send a file with text in it")
    title = one_line(document.title)[:300] if document.title else None
    metadata = {key: one_line(value) for key, value in document.metadata.items()}
    return replace(document, title=title or None, sections=sections, metadata=metadata)
