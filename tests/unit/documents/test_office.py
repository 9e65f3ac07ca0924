from __future__ import annotations

import datetime
from pathlib import Path

import docx
import openpyxl
import pptx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pptx.util import Inches

from fileintel.documents import parse


def test_docx_keeps_headings_lists_and_tables_in_order(tmp_path: Path) -> None:
    made = docx.Document()
    made.core_properties.title = "Harbour Plan"
    made.add_heading("Harbour Plan", 0)
    made.add_heading("Costs", 1)
    made.add_paragraph("Before the table.")
    table = made.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Item", "Price"
    for item, price in (("Crane", "1,200"), ("Rope", "15")):
        cells = table.add_row().cells
        cells[0].text, cells[1].text = item, price
    made.add_paragraph("After the table.")
    made.add_paragraph("First step", style="List Bullet")
    made.add_heading("Dates", 1)
    made.add_paragraph("Work begins in May.")
    path = tmp_path / "plan.docx"
    made.save(str(path))

    document = parse(path, "plan.docx")

    assert document.title == "Harbour Plan"
    assert [s.heading for s in document.sections] == ["Harbour Plan", "Costs", "Dates"]
    assert document.sections[1].text == (
        "Costs\n\nBefore the table.\n\nItem: Crane; Price: 1,200\nItem: Rope; Price: 15\n\n"
        "After the table.\n\n- First step"
    )
    assert document.sections[-1].text == "Dates\n\nWork begins in May."


def test_docx_cells_over_several_rows_are_said_in_each(tmp_path: Path) -> None:
    made = docx.Document()
    table = made.add_table(rows=3, cols=2)
    for row, values in enumerate((("Ship", "Leg"), ("Alma", "Oslo"), ("", "Bergen"))):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    table.cell(1, 0).merge(table.cell(2, 0))
    path = tmp_path / "merged.docx"
    made.save(str(path))

    assert parse(path, "merged.docx").sections[0].text == "Ship: Alma; Leg: Oslo\nShip: Alma; Leg: Bergen"


def test_docx_reads_content_controls_and_tracked_insertions_and_leaves_deletions_out(tmp_path: Path) -> None:
    made = docx.Document()
    paragraph = made.add_paragraph("Kept ")
    mark = 'w:id="1" w:author="A" w:date="2026-01-01T00:00:00Z"'
    space = nsdecls("w")
    paragraph._p.append(parse_xml(f"<w:ins {space} {mark}><w:r><w:t>inserted</w:t></w:r></w:ins>"))
    paragraph._p.append(parse_xml(f"<w:del {space} {mark}><w:r><w:delText>deleted</w:delText></w:r></w:del>"))
    control = f"<w:sdt {space}><w:sdtContent><w:p><w:r><w:t>In a control.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    made.element.body.insert(1, parse_xml(control))
    path = tmp_path / "tracked.docx"
    made.save(str(path))

    text = parse(path, "tracked.docx").sections[0].text

    assert text == "Kept inserted\n\nIn a control."


def test_pptx_has_a_page_per_slide_with_tables_and_notes(tmp_path: Path) -> None:
    made = pptx.Presentation()
    for number in (1, 2):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = f"Topic {number}"
        slide.placeholders[1].text = f"Point of slide {number}"
    table = made.slides[1].shapes.add_table(2, 2, Inches(1), Inches(5), Inches(4), Inches(1)).table
    for row, values in enumerate((("Port", "Ships"), ("Oslo", "12"))):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    made.slides[1].notes_slide.notes_text_frame.text = "Say it slowly."
    path = tmp_path / "talk.pptx"
    made.save(str(path))

    document = parse(path, "talk.pptx")

    assert document.page_count == 2
    assert [(s.page, s.heading) for s in document.sections] == [(1, "Topic 1"), (2, "Topic 2")]
    assert document.sections[0].text == "Topic 1\n\nPoint of slide 1"
    assert document.sections[1].text == (
        "Topic 2\n\nPoint of slide 2\n\nPort: Oslo; Ships: 12\n\nNotes: Say it slowly."
    )


def test_xlsx_rows_can_be_understood_alone(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    sheet = made.active
    sheet.title = "Voyages"
    for row in (
        ["All voyages of 2026"],
        [],
        ["Ship", "Sailed", "Tons"],
        ["Alma", datetime.datetime(2026, 3, 1), 12.5],
        ["Bera", None, 3],
    ):
        sheet.append(row)
    made.create_sheet("Empty")
    made.create_sheet("Crew").append(["only", "words"])
    path = tmp_path / "voyages.xlsx"
    made.save(path)

    sections = parse(path, "voyages.xlsx").sections

    assert [s.heading for s in sections] == ["Voyages", "Crew"]
    assert sections[0].text == (
        "Voyages\n\nAll voyages of 2026\nShip: Alma; Sailed: 2026-03-01; Tons: 12.5\nShip: Bera; Tons: 3"
    )
    assert sections[1].text == "Crew\n\nonly | words"
