"""DOCX: headings, paragraphs, lists, tables, text boxes, notes and inserted changes in the order of the body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import docx
from docx.document import Document
from docx.oxml.ns import qn
from docx.styles.style import BaseStyle
from lxml import etree

from fileintel.documents import formats, tables
from fileintel.documents.composing import Composer
from fileintel.documents.text import one_line
from fileintel.model import ParsedDocument

_HEADING = re.compile(r"heading (\d)$", re.IGNORECASE)
_NOTES = (
    ("footnotes", qn("w:footnoteReference"), qn("w:footnote")),
    ("endnotes", qn("w:endnoteReference"), qn("w:endnote")),
)
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"


def read(path: Path, shown: str) -> ParsedDocument:
    """The body in order; python-docx opens the package and knows its styles, the walk is ours.

    python-docx's own iteration leaves out content controls, text boxes and inserted (tracked) text.
    """
    document = docx.Document(str(path))
    composer = Composer()
    _Body(document, composer).compose()
    properties = document.core_properties
    metadata = {"author": one_line(properties.author)} if properties.author else {}
    title = one_line(properties.title or "") or None
    return ParsedDocument(formats.DOCX.media_type, title, composer.sections(), metadata=metadata)


class _Body:
    def __init__(self, document: Document, composer: Composer) -> None:
        self._document = document
        self._composer = composer
        self._levels: dict[str, int | None] = {}
        self._styles = {style.style_id: style for style in document.styles}
        self._notes = {reference: self._read_notes(kind, element) for kind, reference, element in _NOTES}

    def compose(self) -> None:
        """Hand the body to the composer."""
        for block in _blocks(self._document.element.body):
            if block.tag == qn("w:tbl"):
                for line in tables.lines(self._rows(block)):
                    self._composer.block(line, tight=True)
            else:
                self._paragraph(block)

    def _paragraph(self, paragraph: etree._Element) -> None:
        text = _text(paragraph)
        level = self._level(paragraph)
        if level is not None and text.strip():
            self._composer.heading(level, text)
        else:
            is_item = paragraph.find(f"{qn('w:pPr')}/{qn('w:numPr')}") is not None or self._is_list(paragraph)
            self._composer.block(f"- {text}" if is_item and text.strip() else text, tight=is_item)
        for box in _boxes(paragraph):
            for inner in _blocks(box):
                if inner.tag == qn("w:p"):
                    self._paragraph(inner)
        for reference, notes in self._notes.items():
            for mark in paragraph.iter(reference):
                self._composer.block(notes.get(str(mark.get(qn("w:id"))), ""))

    def _rows(self, table: etree._Element) -> Iterator[list[str]]:
        cells: list[str] = []
        for row in _below(table, qn("w:tr")):
            above, cells = cells, []
            for cell in _below(row, qn("w:tc")):
                merged = cell.find(f"{qn('w:tcPr')}/{qn('w:vMerge')}")
                continues = merged is not None and merged.get(qn("w:val"), "continue") == "continue"
                column = len(cells)
                if continues:  # a cell over several rows is said in each, so that a row can be understood alone
                    cells.append(above[column] if column < len(above) else "")
                else:
                    cells.append(" ".join(_text(paragraph) for paragraph in cell.iter(qn("w:p"))))
                span = cell.find(f"{qn('w:tcPr')}/{qn('w:gridSpan')}")
                width = "" if span is None else str(span.get(qn("w:val")))
                cells.extend([""] * (min(int(width), 100) - 1 if width.isdigit() else 0))
            yield cells

    def _style_id(self, paragraph: etree._Element) -> str | None:
        style = paragraph.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
        return None if style is None else style.get(qn("w:val"))

    def _level(self, paragraph: etree._Element) -> int | None:
        """The paragraph's heading level by its own outline level or its style's, or a style's it is based on."""
        own = paragraph.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
        if own is not None and str(own.get(qn("w:val"))) in tuple("012345678"):
            return int(str(own.get(qn("w:val")))) + 1
        style_id = self._style_id(paragraph)
        if style_id is None or style_id not in self._styles:
            return None
        if style_id not in self._levels:
            self._levels[style_id] = _style_level(self._styles[style_id])
        return self._levels[style_id]

    def _is_list(self, paragraph: etree._Element) -> bool:
        style = self._styles.get(self._style_id(paragraph) or "")
        return style is not None and (style.name or "").startswith("List ") and style.name != "List Paragraph"

    def _read_notes(self, kind: str, element: str) -> dict[str, str]:
        for relation in self._document.part.rels.values():
            if relation.reltype.endswith(f"/{kind}") and not relation.is_external:
                root = etree.fromstring(relation.target_part.blob, etree.XMLParser(resolve_entities=False))
                return {
                    str(note.get(qn("w:id"))): " ".join(_text(paragraph) for paragraph in note.iter(qn("w:p")))
                    for note in root.iter(element)
                }
        return {}


def _style_level(style: BaseStyle) -> int | None:
    seen = 0
    current: BaseStyle | None = style
    while current is not None and seen < 20:  # a damaged file may base a style on itself
        if (current.name or "") == "Title":
            return 1
        if named := _HEADING.match(current.name or ""):
            return int(named.group(1))
        outline = current.element.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
        if outline is not None and str(outline.get(qn("w:val"))) in tuple("012345678"):
            return int(str(outline.get(qn("w:val")))) + 1
        current = getattr(current, "base_style", None)
        seen += 1
    return None


def _blocks(parent: etree._Element) -> Iterator[etree._Element]:
    """Paragraphs and tables below `parent` in order, those in content controls and tracked insertions too."""
    for child in parent:
        if child.tag in (qn("w:p"), qn("w:tbl")):
            yield child
        elif child.tag in (qn("w:sdt"), qn("w:sdtContent"), qn("w:ins"), qn("w:customXml"), qn("w:smartTag")):
            yield from _blocks(child)


def _below(parent: etree._Element, tag: str) -> Iterator[etree._Element]:
    """Rows of a table or cells of a row, those in content controls too, those of nested tables not."""
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag in (qn("w:sdt"), qn("w:sdtContent"), qn("w:ins"), qn("w:customXml")):
            yield from _below(child, tag)


def _boxes(paragraph: etree._Element) -> Iterator[etree._Element]:
    """The paragraph's text boxes, each once: the fallback for old readers says the same again."""
    for box in paragraph.iter(qn("w:txbxContent")):
        ancestors = set()
        for ancestor in box.iterancestors():
            if ancestor is paragraph:
                break
            ancestors.add(ancestor.tag)
        if _FALLBACK not in ancestors and qn("w:txbxContent") not in ancestors:
            yield box


def _text(paragraph: etree._Element) -> str:
    """The paragraph's words without deleted ones (they are `w:delText`), text boxes and field codes."""
    parts: list[str] = []
    skipped: set[etree._Element] = set()
    for element in paragraph.iter():
        parent = element.getparent()
        if parent in skipped or element.tag in (qn("w:txbxContent"), _FALLBACK, qn("w:moveFrom")):
            skipped.add(element)
            continue
        if element.tag == qn("w:t"):
            parts.append(element.text or "")
        elif element.tag in (qn("w:tab"),) and parent is not None and parent.tag == qn("w:r"):
            parts.append("\t")
        elif element.tag in (qn("w:br"), qn("w:cr")):
            parts.append("\n")
        elif element.tag == qn("w:noBreakHyphen"):
            parts.append("-")
    return "".join(parts)
