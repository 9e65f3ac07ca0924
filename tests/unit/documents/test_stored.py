"""Documents are stored under their hash, without an extension: no parser may want one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest

from fileintel.documents import formats, parse

from .conftest import MakeEpub, MakePdf

TEXTS = {
    "HTML": "<!doctype html><html><body><p>Some words.</p></body></html>",
    "Markdown": "# Some\n\nwords.",
    "plain text": "Some words.",
    "CSV": "what,how\nSome,words.\n",
}


@pytest.fixture
def written(tmp_path: Path, make_pdf: MakePdf, make_epub: MakeEpub) -> Callable[[formats.Format], Path]:
    def write(kind: formats.Format) -> Path:
        path = tmp_path / f"made{kind.extensions[0]}"
        if kind.is_text:
            path.write_text(TEXTS[kind.name])
        elif kind is formats.PDF:
            return make_pdf([[(72.0, 700.0, 11.0, "Some words.")]])
        elif kind is formats.EPUB:
            return make_epub([("one.xhtml", "One", "<p>Some words.</p>")])
        elif kind is formats.DOCX:
            document = docx.Document()
            document.add_paragraph("Some words.")
            document.save(str(path))
        elif kind is formats.PPTX:
            slides = pptx.Presentation()
            slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "Some words."
            slides.save(str(path))
        else:
            assert kind is formats.XLSX
            workbook = openpyxl.Workbook()
            workbook.active.append(["Some", "words."])
            workbook.save(path)
        return path

    return write


@pytest.mark.parametrize("kind", formats.FORMATS, ids=lambda kind: kind.name)
def test_the_path_needs_no_extension(
    tmp_path: Path, written: Callable[[formats.Format], Path], kind: formats.Format
) -> None:
    stored = written(kind).rename(tmp_path / ("5f" * 32))

    document = parse(stored, f"report{kind.extensions[0]}")

    assert document.media_type == kind.media_type
    assert "words." in document.sections[0].text
