"""PDF: lines and their places on the page as pdfium finds them, made into paragraphs under headings."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from pathlib import Path
from statistics import median

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from fileintel.documents import formats
from fileintel.documents.composing import Composer
from fileintel.documents.pdf_layout import Line, Outline, furniture, leading, notes_first, paragraphs, rejoin
from fileintel.documents.text import one_line
from fileintel.errors import CorruptDocumentError, EmptyDocumentError, EncryptedDocumentError
from fileintel.model import ParsedDocument

_FIXED_PITCH = 1
# A page, or compressed objects that may hold one, or not even a list of pages: then the file is broken, not empty.
_PAGE = re.compile(rb"/Type\s*/(?:Page\b|ObjStm)|^(?![\s\S]*/Type\s*/Pages)")
_MONOSPACED = (b"mono", b"courier", b"consol", b"typewriter", b"cmtt", b"menlo", b"lucidacons", b"code")


def read(path: Path, shown: str) -> ParsedDocument:
    """Pages in order; headings from the bookmarks, or from the sizes of letters where there are none."""
    _refuse_truncated(path, shown)
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise EncryptedDocumentError(
                f"{shown} asks for a password; save it without one and send it again"
            ) from error
        if not _PAGE.search(path.read_bytes()):  # pdfium takes a document of no pages for a broken one
            raise EmptyDocumentError(f"{shown} has no pages; send a PDF with text in it") from error
        raise _damaged(shown, "it cannot be opened") from error
    try:
        return _read(document, shown)
    finally:
        document.close()


def _read(document: pdfium.PdfDocument, shown: str) -> ParsedDocument:
    count = len(document)
    if count == 0:
        raise EmptyDocumentError(f"{shown} has no pages; send a PDF with text in it")
    pages: list[list[Line]] = []
    with_images = 0
    for index in range(count):
        try:
            page = document[index]
            pages.append(_lines(page))
        except pdfium.PdfiumError as error:
            raise _damaged(shown, f"page {index + 1} cannot be read") from error
        if not pages[-1] and any(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=2)):
            with_images += 1
        page.close()
    if not any(pages):
        pages_of = "1 page" if count == 1 else f"{count} pages"
        if with_images:
            raise EmptyDocumentError(
                f"{shown} holds only images ({pages_of}, scanned?) and no text: FileIntel does no OCR; "
                "run OCR on it (ocrmypdf, for one) and send the result"
            )
        raise EmptyDocumentError(f"{shown} holds no text on its {pages_of}; send a PDF with text in it")
    composer = Composer()
    running = _compose(pages, _bookmarks(document), composer)
    said = document.get_metadata_dict(skip_empty=True)
    metadata = {"author": one_line(said["Author"])} if said.get("Author") else {}
    if running:
        metadata["running_heads"] = " · ".join(running)[:500]
    return ParsedDocument(
        formats.PDF.media_type,
        _title(said.get("Title", "")),
        composer.sections(),
        page_count=count,
        metadata=metadata,
    )


def _compose(pages: list[list[Line]], outline: Outline, composer: Composer) -> list[str]:
    """Hand the pages to the composer; returns the running heads and feet that were left out."""
    body_size = Counter[float]()
    for lines in pages:
        for line in lines:
            body_size[line.size] += len(line.text)
    usual = body_size.most_common(1)[0][0] if body_size else 0.0
    running = furniture(pages, usual)
    usual_leading = median(leading(lines) for lines in pages)
    words = Counter[str]()
    for lines in pages:
        for line in lines:
            words.update(word.casefold().strip(".,;:()") for word in line.text.split() if "\ufffe" not in word)
    outline.usual = usual
    if not outline:
        outline.guess(pages, running)
    for number, lines in enumerate(pages, start=1):
        composer.page(number)
        kept, headings = outline.on_page(number - 1, [line for line in lines if id(line) not in running])
        for entry in headings.pop(None, []):
            composer.heading(entry.level, entry.title, shown=False)
        for paragraph in notes_first(paragraphs(kept, set(headings), usual_leading), usual, set(headings)):
            for entry in headings.get(id(paragraph.lines[0]), []):
                composer.heading(entry.level, entry.title, shown=entry.line is not None, line=entry.line)
            if id(paragraph.lines[0]) not in headings:
                composer.block(rejoin(paragraph.text, words), tight=paragraph.tight, verbatim=paragraph.verbatim)
    return list(dict.fromkeys(text.strip("0123456789 ") for text in running.values() if text))


def _lines(page: pdfium.PdfPage) -> list[Line]:
    """The page's lines in pdfium's reading order, with the box of each and the kind of its letters."""
    text_page = page.get_textpage()
    text = text_page.get_text_range(errors="ignore")
    count = text_page.count_chars()
    # pdfium counts characters, the string UTF-16 units made characters: they differ by what `errors` dropped only.
    lines: list[Line] = []
    at = 0
    for part in text.split("\r\n"):
        start, at = at, at + len(part) + 2
        stripped = part.strip()
        if not stripped:
            continue
        first = min(start + len(part) - len(part.lstrip()), count - 1)
        last = min(first + len(stripped) - 1, count - 1)
        middle = (first + last) // 2
        boxes = [_box(text_page, index) for index in (first, middle, last)]
        lines.append(
            Line(
                text=stripped,
                left=boxes[0][0],
                right=boxes[2][2],
                bottom=boxes[0][1],
                last_bottom=boxes[2][1],
                # A raised footnote mark at either end is smaller than the line's own letters.
                size=round(max(top - bottom for _, bottom, _, top in boxes), 1),
                mono=_is_mono(text_page, first) and _is_mono(text_page, last) and _is_mono(text_page, middle),
            )
        )
    text_page.close()
    return lines


def _box(text_page: pdfium.PdfTextPage, index: int) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of a character in points; of its font rather than its ink, so lines compare."""
    rect = raw.FS_RECTF()
    if not raw.FPDFText_GetLooseCharBox(text_page, index, rect):
        return 0.0, 0.0, 0.0, 0.0
    return rect.left, rect.bottom, rect.right, rect.top


def _is_mono(text_page: pdfium.PdfTextPage, index: int) -> bool:
    name = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    if not raw.FPDFText_GetFontInfo(text_page, index, name, 128, flags):
        return False
    return bool(flags.value & _FIXED_PITCH) or any(mark in name.value.lower() for mark in _MONOSPACED)


def _bookmarks(document: pdfium.PdfDocument) -> Outline:
    outline = Outline()
    for bookmark in document.get_toc(max_depth=6):
        destination = bookmark.get_dest()
        index = None if destination is None else destination.get_index()
        title = one_line(bookmark.get_title())
        if index is not None and title and index < len(document):
            outline.add(index, bookmark.level + 1, title)
    return outline


def _title(said: str) -> str | None:
    """The title in the metadata, unless a program put a file's name or nothing there."""
    title = one_line(said).removeprefix("Microsoft Word - ").removeprefix("Microsoft PowerPoint - ")
    is_file = title.lower().rpartition(".")[2] in ("doc", "docx", "pdf", "tex", "dvi", "ppt", "pptx", "indd", "qxd")
    return None if is_file or title.casefold() in ("", "untitled", "(anonymous)", "unspecified") else title


def _refuse_truncated(path: Path, shown: str) -> None:
    """Refuse a PDF whose end is missing: pdfium would mend it in silence, without the pages that are gone."""
    with path.open("rb") as file:
        head = file.read(2048)
        size = file.seek(0, 2)
        # Rubbish after the end is common, an end mark far from the end means the rest was never written.
        file.seek(max(0, size - (1 << 16)))
        tail = file.read()
    if b"/Linearized" in head:
        length = head.partition(b"/Linearized")[2].partition(b"/L ")[2].split(b"/")[0].split(b">")[0].strip()
        if length.isdigit() and int(length) > size:
            raise _damaged(shown, f"{size} of its {int(length)} bytes are there")
    if b"%%EOF" not in tail and b"startxref" not in tail:
        raise _damaged(shown, "its end is missing")


def _damaged(shown: str, how: str) -> CorruptDocumentError:
    return CorruptDocumentError(
        f"{shown} is damaged or cut off: {how}; open it in its own program, save it anew and send it again"
    )
