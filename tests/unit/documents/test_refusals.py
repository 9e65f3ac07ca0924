"""Every file that is not read gets its named error: one line, the file's name, the cure."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import docx
import openpyxl
import pytest
from unit.documents.conftest import MakeEpub, MakePdf, wrapped

from fileintel.documents import parse
from fileintel.documents.text import label
from fileintel.errors import (
    CorruptDocumentError,
    DocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    EncryptedDocumentError,
    MislabelledDocumentError,
    UnsupportedDocumentError,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 60
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1000


def refused(path: Path, name: str, kind: type[DocumentError]) -> str:
    with pytest.raises(DocumentError) as caught:
        parse(path, name)
    message = str(caught.value)
    assert type(caught.value) is kind, message
    assert "\n" not in message
    return message


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.txt", "a.csv", "a", "a.html"])
@pytest.mark.parametrize("data", [b"", b" \n\n \t", b"\0" * 100])
def test_empty_file(tmp_path: Path, name: str, data: bytes) -> None:
    assert f'"{name}" is empty' in refused(written(tmp_path, data), name, EmptyDocumentError)


def test_pdf_that_is_a_png(tmp_path: Path) -> None:
    message = refused(written(tmp_path, PNG), "scan.pdf", MislabelledDocumentError)

    assert "named as PDF but holds a PNG image" in message


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.docx", b"%PDF-1.4 whatever", "named as DOCX but holds PDF; rename it to end in .pdf"),
        ("a.txt", b"%PDF-1.4 whatever", "named as plain text but holds PDF"),
        ("a.pdf", b"just words", "named as PDF but holds plain text; rename it to end in .txt"),
        ("a.docx", b"<html><body>x</body></html>", "named as DOCX but holds HTML"),
        ("a.png", b"%PDF-1.4 whatever", "named as PNG but holds PDF"),
        ("a.csv", PNG, "named as CSV but holds a PNG image"),
    ],
)
def test_mislabelled(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    assert said in refused(written(tmp_path, data), name, MislabelledDocumentError)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.png", PNG, "is a PNG image"),
        ("a", b"\x7fELF" + b"\0" * 100, "ELF"),
        ("a.doc", OLE + "WordDocument".encode("utf-16-le"), "old Word document"),
        ("a.rtf", b"{\\rtf1 hello}", "RTF"),
        ("a.bin", bytes(range(256)) * 8, "no known kind"),
    ],
)
def test_unsupported_tells_what_is_read(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    message = refused(written(tmp_path, data), name, UnsupportedDocumentError)

    assert said in message
    assert "PDF, DOCX, PPTX, XLSX, HTML, EPUB, Markdown, TXT and CSV are read" in message


def test_zip_archive_and_open_document(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "words")
    assert "ZIP archive" in refused(path, "x.zip", UnsupportedDocumentError)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
    assert "OpenDocument" in refused(path, "x.odt", UnsupportedDocumentError)


def test_scanned_pdf_says_so(make_pdf: MakePdf) -> None:
    message = refused(make_pdf([[], []], image_only=True), "scan.pdf", EmptyDocumentError)

    assert "holds only images (2 pages, scanned?)" in message
    assert "no OCR" in message


def test_pdf_without_pages_or_text(make_pdf: MakePdf) -> None:
    refused(make_pdf([]), "none.pdf", EmptyDocumentError)
    assert "no text on its 1 page" in refused(make_pdf([[]]), "blank.pdf", EmptyDocumentError)


def test_locked_pdf(make_pdf: MakePdf) -> None:
    assert "password" in refused(make_pdf([wrapped("x")], locked=True), "l.pdf", EncryptedDocumentError)


def test_locked_office_file(tmp_path: Path) -> None:
    data = OLE + "EncryptedPackage".encode("utf-16-le") + b"\0" * 100

    assert "password" in refused(written(tmp_path, data), "budget.xlsx", EncryptedDocumentError)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.98])
def test_truncated_pdf(make_pdf: MakePdf, share: float) -> None:
    path = make_pdf([wrapped("Some words. " * 200)] * 5)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    refused(path, "cut.pdf", CorruptDocumentError)


def test_pdf_of_rubbish(tmp_path: Path) -> None:
    refused(
        written(tmp_path, b"%PDF-1.7\n" + b"rubbish " * 100 + b"\nstartxref\n9\n%%EOF"), "r.pdf", CorruptDocumentError
    )
    refused(written(tmp_path, bytes(range(128, 256)) * 8 + b"\1\2\3\4\5" * 80), "r.pdf", CorruptDocumentError)


def office_file(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"file.{kind}"
    if kind == "docx":
        made = docx.Document()
        made.add_paragraph("Some words. " * 500)
        made.save(str(path))
    else:
        workbook = openpyxl.Workbook()
        for row in range(200):
            workbook.active.append([row, "words"])
        workbook.save(path)
    return path


@pytest.mark.parametrize("kind", ["docx", "xlsx"])
def test_truncated_office_file(tmp_path: Path, kind: str) -> None:
    path = office_file(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:-300])

    assert "damaged or cut off" in refused(path, f"cut.{kind}", CorruptDocumentError)


@pytest.mark.parametrize(("kind", "part"), [("docx", "word/document.xml"), ("xlsx", "xl/worksheets/sheet1.xml")])
def test_office_file_with_a_broken_part(tmp_path: Path, kind: str, part: str) -> None:
    whole, broken = office_file(tmp_path, kind), tmp_path / "broken"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(broken, "w") as target:
        for member in source.namelist():
            data = source.read(member)
            target.writestr(member, data[: len(data) // 2] if member == part else data)

    refused(broken, f"b.{kind}", CorruptDocumentError)


def test_docx_without_text(tmp_path: Path) -> None:
    path = tmp_path / "empty.docx"
    docx.Document().save(str(path))

    assert "holds no text" in refused(path, "empty.docx", EmptyDocumentError)


def test_zip_bomb(make_epub: MakeEpub) -> None:
    path = make_epub([("a.xhtml", "A", "<p>" + " " * (80 << 20) + "</p>")])

    assert "times its size" in refused(path, "bomb.epub", DocumentTooLargeError)


def test_zip_that_claims_to_be_huge(make_epub: MakeEpub) -> None:
    path = make_epub([("a.xhtml", "A", "<p>x</p>")])
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFF_FFF0)
    path.write_bytes(bytes(data))

    assert "unpacks to 4096 MiB" in refused(path, "bomb.epub", DocumentTooLargeError)


def test_locked_zip_members(make_epub: MakeEpub) -> None:
    path = make_epub([("a.xhtml", "A", "<p>x</p>")])
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))

    refused(path, "locked.epub", EncryptedDocumentError)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", '"passwd"'),
        ("C:\\dir\\a.pdf", '"a.pdf"'),
        ("two\nlines\x1b[31m.pdf", '"two lines [31m.pdf"'),
        ("", '"document"'),
        ("\u202egnp.exe", '"gnp.exe"'),
        ("x" * 500 + ".pdf", '"' + "x" * 100 + "…" + "x" * 15 + '.pdf"'),
    ],
)
def test_names_are_shown_safely(name: str, shown: str) -> None:
    assert label(name) == shown


def test_hostile_name_in_an_error(tmp_path: Path) -> None:
    message = refused(written(tmp_path, PNG), "../../a\nb.pdf", MislabelledDocumentError)

    assert message.startswith('"a b.pdf" is named as PDF')
