"""Files of every format, made by libraries or, for PDF, by a writer of a few lines."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Placed = tuple[float, float, float, str]  # left, height, size of letters, text
MakePdf = Callable[..., Path]
MakeEpub = Callable[..., Path]


class WordTokenizer:
    """Words and marks as tokens, so that a test can count them by eye."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words: list[str] = []
        self.encoded_characters = 0

    def encode(self, text: str) -> list[int]:
        self.encoded_characters += len(text)
        found = re.findall(r"\s*\w{1,12}|\s*[^\w\s]", text)
        for word in found:
            if word not in self._numbers:
                self._numbers[word] = len(self._words)
                self._words.append(word)
        return [self._numbers[word] for word in found]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._words[token] for token in tokens)

    def count(self, text: str) -> int:
        return len(self.encode(text))


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer()


def wrapped(text: str, *, width: int = 80, top: float = 720.0, left: float = 72.0, size: float = 11.0) -> list[Placed]:
    """A paragraph set in lines of `width` characters, down from `top`."""
    lines: list[str] = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [(left, top - i * size * 1.2, size, line) for i, line in enumerate(lines)]


@pytest.fixture
def make_pdf(tmp_path: Path) -> MakePdf:
    """Write a PDF: pages of placed lines, bookmarks as (level from 0, title, page from 0), or a locked one."""

    def make(
        pages: Sequence[Sequence[Placed]],
        *,
        bookmarks: Sequence[tuple[str, int]] = (),
        title: str = "",
        image_only: bool = False,
        locked: bool = False,
        name: str = "made.pdf",
    ) -> Path:
        objects: list[bytes] = []

        def add(body: bytes) -> int:
            objects.append(body)
            return len(objects)

        def stream(entries: bytes, data: bytes) -> bytes:
            packed = zlib.compress(data)
            head = b"<< %s /Filter /FlateDecode /Length %d >>" % (entries, len(packed))
            return head + b"\nstream\n" + packed + b"\nendstream"

        catalog, tree = add(b""), add(b"")
        font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
        image = add(
            stream(
                b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8", b"\0"
            )
        )
        kids: list[int] = []
        for lines in pages:
            drawn = b"q 500 0 0 700 50 50 cm /I Do Q" if image_only else b""
            for left, height, size, text in lines:
                shown = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
                drawn += b"BT /F %.1f Tf %.1f %.1f Td (%s) Tj ET\n" % (size, left, height, shown)
            content = add(stream(b"", drawn))
            resources = b"<< /Font << /F %d 0 R >> /XObject << /I %d 0 R >> >>" % (font, image)
            page = b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources %s >>"
            kids.append(add(page % (tree, content, resources)))
        outline = b""
        if bookmarks:
            root = len(objects) + 1
            first, last = root + 1, root + len(bookmarks)
            add(b"<< /Type /Outlines /First %d 0 R /Last %d 0 R /Count %d >>" % (first, last, len(bookmarks)))
            for i, (text, page_index) in enumerate(bookmarks):
                links = b"/Prev %d 0 R " % (first + i - 1) if i else b""
                links += b"/Next %d 0 R " % (first + i + 1) if first + i < last else b""
                entry = b"<< /Title (%s) /Parent %d 0 R %s/Dest [%d 0 R /Fit] >>"
                add(entry % (text.encode("cp1252"), root, links, kids[page_index]))
            outline = b" /Outlines %d 0 R" % root
        objects[catalog - 1] = b"<< /Type /Catalog /Pages %d 0 R%s >>" % (tree, outline)
        listed = b" ".join(b"%d 0 R" % kid for kid in kids)
        objects[tree - 1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (listed, len(kids))
        info = add(b"<< /Title (%s) >>" % title.encode("cp1252"))
        # A user password whose check value no empty password meets.
        lock = add(b"<< /Filter /Standard /V 1 /R 2 /P -44 /O <%s> /U <%s> >>" % (b"41" * 32, b"42" * 32))
        written = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
        offsets = []
        for number, body in enumerate(objects, start=1):
            offsets.append(len(written))
            written += b"%d 0 obj\n%s\nendobj\n" % (number, body)
        table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        trailer = b"/Root %d 0 R /Info %d 0 R" % (catalog, info)
        if locked:
            trailer += b" /Encrypt %d 0 R /ID [<0102> <0102>]" % lock
        start = len(written)
        written += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
        written += b"trailer << /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
        path = tmp_path / name
        path.write_bytes(written)
        return path

    return make


CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
    '<rootfile full-path="book/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


@pytest.fixture
def make_epub(tmp_path: Path) -> MakeEpub:
    """Write an EPUB of (file, name in the table of contents, XHTML body) chapters; `extra` are more members."""

    def make(
        chapters: Sequence[tuple[str, str, str]],
        *,
        title: str = "A Book",
        doctype: str = "",
        missing: Sequence[str] = (),
        extra: dict[str, str] | None = None,
    ) -> Path:
        items = "".join(
            f'<item id="c{i}" href="{file}" media-type="application/xhtml+xml"/>'
            for i, (file, _, _) in enumerate(chapters)
        )
        spine = "".join(f'<itemref idref="c{i}"/>' for i in range(len(chapters)))
        links = "".join(f'<li><a href="{file}">{label}</a></li>' for file, label, _ in chapters)
        package = (
            f'{doctype}<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
            f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>'
            f'<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>{items}'
            f"</manifest><spine>{spine}</spine></package>"
        )
        path = tmp_path / "book.epub"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
            archive.writestr("META-INF/container.xml", CONTAINER)
            archive.writestr("book/content.opf", package)
            archive.writestr("book/nav.xhtml", f"<html><body><nav><ol>{links}</ol></nav></body></html>")
            for file, _, body in chapters:
                if file not in missing:
                    archive.writestr(f"book/{file}", f"<html><head><title>x</title></head><body>{body}</body></html>")
            for member, content in (extra or {}).items():
                archive.writestr(member, content)
        return path

    return make
