"""Write the demonstration case's binary documents from the texts in demo_sources; the same bytes every time.

Run: python tools/demo_documents.py [--check]. `--check` writes nothing and fails unless every committed document is,
byte for byte, what the sources give. Needs reportlab beside the runtime dependencies.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "demo_sources"
DOCUMENTS = ROOT.parent / "fileintel" / "demo" / "documents"
# Every date inside a container is this one: a clock must not change a committed file.
WRITTEN = datetime(2022, 12, 1, 12, 0, 0, tzinfo=UTC)
ZIP_DATE = (2022, 12, 1, 12, 0, 0)


@dataclass(frozen=True)
class Part:
    """A heading with the paragraphs under it; `page` counts the page breaks before it, from 1."""

    heading: str
    page: int
    paragraphs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Text:
    """A source text: its title, what stands before the first heading, and its parts."""

    title: str
    opening: Part
    parts: list[Part]


def read(name: str) -> Text:
    """Read a source of `# title`, `## heading`, paragraphs, `- bullets` and `\\f` lines for page breaks."""
    title, page = "", 1
    opening = Part("", 1)
    parts: list[Part] = []
    for block in re.split(r"\n\s*\n|\n(?=- )|\n(?=\\f\n)|(?<=\n\\f)\n", (SOURCES / name).read_text(encoding="utf-8")):
        block = block.strip()
        if block.startswith("## "):
            parts.append(Part(block[3:], page))
        elif block.startswith("# "):
            title = block[2:]
        elif block == "\\f":
            page += 1
        elif block:
            (parts[-1] if parts else opening).paragraphs.append(" ".join(block.split()))
    return Text(title, opening, parts)


def fixed_zip(data: bytes) -> bytes:
    """Pack an Office file again with fixed dates inside and outside."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                stamp = WRITTEN.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
                content = re.sub(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*", rb"\g<1>" + stamp, content)
            add(new, name, content)
    return out.getvalue()


def add(archive: zipfile.ZipFile, name: str, content: bytes | str, *, stored: bool = False) -> None:
    """Add a member with the fixed date."""
    info = zipfile.ZipInfo(name, ZIP_DATE)
    info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3
    archive.writestr(info, content)


def pdf(source: str, author: str) -> bytes:
    """Set a text as a PDF, one page of paper per page of the source; a page that overflows is an error."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.pdfbase.pdfmetrics import stringWidth
    from reportlab.pdfgen.canvas import Canvas

    text = read(source)
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=1)
    canvas.setTitle(text.title)
    canvas.setAuthor(author)
    left, top, bottom, width = 28 * mm, A4[1] - 28 * mm, 26 * mm, A4[0] - 56 * mm
    last = text.parts[-1].page

    def wrap(words: str, font: str, size: float) -> list[str]:
        lines = [""]
        for word in words.split():
            candidate = f"{lines[-1]} {word}".strip()
            if stringWidth(candidate, font, size) <= width:
                lines[-1] = candidate
            else:
                lines.append(word)
        return lines

    for page in range(1, last + 1):
        y = top
        blocks: list[tuple[str, str, float, float]] = []
        if page == 1:
            blocks.append((text.title, "Times-Bold", 18, 12))
            blocks += [(paragraph, "Times-Roman", 11, 6) for paragraph in text.opening.paragraphs]
        for part in (part for part in text.parts if part.page == page):
            blocks.append((part.heading, "Times-Bold", 13, 8))
            blocks += [(paragraph, "Times-Roman", 11, 6) for paragraph in part.paragraphs]
        for words, font, size, gap in blocks:
            canvas.setFont(font, size)
            for line in wrap(words, font, size):
                y -= size * 1.35
                if y < bottom:
                    raise SystemExit(f"{source}: page {page} is too long for one sheet")
                canvas.drawString(left, y, line)
            y -= gap
        canvas.setFont("Times-Italic", 9)
        canvas.drawCentredString(A4[0] / 2, 15 * mm, f"Page {page} of {last}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def docx(source: str, author: str) -> bytes:
    """Set a text as a Word document with real headings."""
    from docx import Document

    text = read(source)
    document = Document()
    document.core_properties.title, document.core_properties.author = text.title, author
    document.add_heading(text.title, level=0)
    for part in [text.opening, *text.parts]:
        if part.heading:
            document.add_heading(part.heading, level=1)
        for paragraph in part.paragraphs:
            document.add_paragraph(paragraph)
    out = io.BytesIO()
    document.save(out)
    return fixed_zip(out.getvalue())


def pptx(source: str, author: str) -> bytes:
    """Set a text as slides: a title slide, then one slide of bullets per heading."""
    from pptx import Presentation

    text = read(source)
    deck = Presentation()
    deck.core_properties.title, deck.core_properties.author = text.title, author
    slide = deck.slides.add_slide(deck.slide_layouts[0])
    slide.shapes.title.text = text.title
    slide.placeholders[1].text = "\n".join(text.opening.paragraphs)
    for part in text.parts:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = part.heading
        slide.placeholders[1].text = "\n".join(bullet.removeprefix("- ") for bullet in part.paragraphs)
    out = io.BytesIO()
    deck.save(out)
    return fixed_zip(out.getvalue())


def xlsx(source: str, _author: str) -> bytes:
    """Set a table source (TOML: sheets of rows) as a workbook."""
    from openpyxl import Workbook
    from openpyxl.styles import Font

    table = tomllib.loads((SOURCES / source).read_text(encoding="utf-8"))
    book = Workbook()
    book.remove(book.active)
    book.properties.title, book.properties.creator = table["title"], table["author"]
    for sheet in table["sheet"]:
        page = book.create_sheet(sheet["name"])
        for row in sheet["rows"]:
            page.append(row)
        for cell in page[1]:
            cell.font = Font(bold=True)
    out = io.BytesIO()
    book.save(out)
    return fixed_zip(out.getvalue())


def epub(source: str, author: str) -> bytes:
    """Set a text as an EPUB 3 book, a title page and one chapter per heading."""
    text = read(source)
    parts = [Part(text.title, 1, text.opening.paragraphs), *text.parts]
    names = [f"chapter-{number}.xhtml" for number in range(1, len(parts) + 1)]
    items = "".join(f'<item id="c{n}" href="{f}" media-type="application/xhtml+xml"/>' for n, f in enumerate(names, 1))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(1, len(names) + 1))
    entries = "".join(
        f'<li><a href="{file}">{escape(part.heading)}</a></li>' for file, part in zip(names, parts, strict=True)
    )
    html = '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"{extra} lang="en">'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        add(book, "mimetype", "application/epub+zip", stored=True)
        add(
            book,
            "META-INF/container.xml",
            '<?xml version="1.0"?>\n<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="book/content.opf" media-type="application/oebps-package+xml"/></rootfiles>'
            "</container>",
        )
        add(
            book,
            "book/content.opf",
            '<?xml version="1.0" encoding="utf-8"?>\n<package xmlns="http://www.idpf.org/2007/opf" version="3.0"'
            ' unique-identifier="id"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f'<dc:identifier id="id">fileintel-demo-{source.removesuffix(".md")}</dc:identifier>'
            f"<dc:title>{escape(text.title)}</dc:title><dc:creator>{escape(author)}</dc:creator>"
            "<dc:language>en</dc:language>"
            f'<meta property="dcterms:modified">{WRITTEN:%Y-%m-%dT%H:%M:%SZ}</meta></metadata><manifest>'
            '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
            f"{items}</manifest><spine>{spine}</spine></package>",
        )
        add(
            book,
            "book/nav.xhtml",
            html.format(extra=' xmlns:epub="http://www.idpf.org/2007/ops"')
            + f"<head><title>{escape(text.title)}</title></head>"
            f'<body><nav epub:type="toc"><ol>{entries}</ol></nav></body></html>',
        )
        for file, part in zip(names, parts, strict=True):
            body = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in part.paragraphs)
            add(
                book,
                f"book/{file}",
                html.format(extra="") + f"<head><title>{escape(part.heading)}</title></head>"
                f"<body><h1>{escape(part.heading)}</h1>\n{body}</body></html>",
            )
    return out.getvalue()


WRITERS: dict[str, tuple[Callable[[str, str], bytes], str, str]] = {
    "inquiry-final-report.pdf": (pdf, "inquiry-final-report.md", "Eleanor Whitcombe"),
    "forensic-report.pdf": (pdf, "forensic-report.md", "Priya Raman"),
    "witness-statements.docx": (docx, "witness-statements.md", "Edith Farrow"),
    "hearing-day-fourteen.docx": (docx, "hearing-day-fourteen.md", "Edith Farrow"),
    "penrose-memorandum.docx": (docx, "penrose-memorandum.md", "George Penrose"),
    "council-briefing.pptx": (pptx, "council-briefing.md", "Margaret Sloane"),
    "insurance-assessment.xlsx": (xlsx, "insurance-assessment.toml", "Clara Dunmore"),
    "harbour-history.epub": (epub, "harbour-history.md", "Walter Quill"),
}


def main() -> int:
    """Write every document, or with --check name those that are not as the sources give them."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing; fail if a document is not current")
    check = arguments.parse_args().check
    stale = []
    for name, (write, source, author) in WRITERS.items():
        data = write(source, author)
        path = DOCUMENTS / name
        if path.exists() and path.read_bytes() == data:
            continue
        stale.append(name)
        if not check:
            path.write_bytes(data)
            print(f"{name}: {len(data):,} bytes")
    if check and stale:
        print(f"not current: {', '.join(stale)}; run python tools/demo_documents.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
