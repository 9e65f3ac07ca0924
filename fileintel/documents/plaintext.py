"""Plain text: any encoding, form feeds as pages, wrapped lines put together again."""

from __future__ import annotations

import re
from pathlib import Path

from fileintel.documents import encodings, formats
from fileintel.documents.composing import Composer
from fileintel.documents.text import clean, joined
from fileintel.model import ParsedDocument

_ITEM = re.compile(r"\s*(?:[-*+•–·]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_NARROWEST_WRAP = 50


def read(path: Path, shown: str) -> ParsedDocument:
    """Paragraphs as blank lines part them; pages when the file has form feeds."""
    text, encoding = encodings.decode(path.read_bytes())
    pages = text.rstrip("\f\n\r ").split("\f")
    composer = Composer()
    for number, page in enumerate(pages, start=1):
        if len(pages) > 1:
            composer.page(number)
        for paragraph in re.split(r"\n[ \t]*\n", clean(page)):
            composer.block(unwrapped(paragraph), verbatim=True)
    return ParsedDocument(
        formats.TEXT.media_type,
        None,
        composer.sections(),
        page_count=len(pages) if len(pages) > 1 else None,
        metadata={"encoding": encoding},
    )


def unwrapped(paragraph: str) -> str:
    """The paragraph with the line ends of a fixed width taken out; lists, code, verse and addresses keep theirs."""
    lines = [line.rstrip() for line in paragraph.split("\n") if line.strip()]
    widest = max((len(line) for line in lines), default=0)
    indents = [len(line) - len(line.lstrip()) for line in lines]
    margin = min(indents, default=0)
    # Running text fills its lines: all but the last reach near the widest, and none is set in columns.
    filled = sum(len(line) > widest * 0.7 for line in lines[:-1])
    if widest < _NARROWEST_WRAP or filled < 0.8 * (len(lines) - 1) or any("   " in line.strip() for line in lines):
        return "\n".join(line[margin:] for line in lines)
    result: list[str] = []
    for line in lines:
        if result and not _ITEM.match(line):
            result[-1] = joined(result[-1], line.strip())
        else:
            result.append(line.strip())
    return "\n".join(result)
