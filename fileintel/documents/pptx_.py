"""PPTX: one page per slide, with its tables, its charts' names and its notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pptx import Presentation
from pptx.shapes.base import BaseShape
from pptx.shapes.group import GroupShape

from fileintel.documents import formats, tables
from fileintel.documents.composing import Composer
from fileintel.documents.text import one_line
from fileintel.model import ParsedDocument


def read(path: Path, shown: str) -> ParsedDocument:
    """Slides in order; a slide's title is its heading, the rest follows from top to bottom, then the notes."""
    presentation = Presentation(str(path))
    composer = Composer()
    slides = presentation.slides
    for number, slide in enumerate(slides, start=1):
        composer.page(number)
        title = slide.shapes.title
        heading = one_line(title.text_frame.text) if title is not None else ""
        composer.heading(1, heading or f"Slide {number}", shown=bool(heading))
        for shape in _in_reading_order(slide.shapes):
            if title is None or shape.shape_id != title.shape_id:
                _shape(shape, composer)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            notes = slide.notes_slide.notes_text_frame.text.strip()
            composer.block(f"Notes: {notes}" if notes else "")
    properties = presentation.core_properties
    metadata = {"author": one_line(properties.author)} if properties.author else {}
    title_said = one_line(properties.title or "")
    return ParsedDocument(
        formats.PPTX.media_type,
        None if title_said in ("", "PowerPoint Presentation") else title_said,
        composer.sections(),
        page_count=len(slides),
        metadata=metadata,
    )


def _in_reading_order(shapes: Iterable[BaseShape]) -> Iterator[BaseShape]:
    """Shapes from top to bottom, left to right, groups opened; one that inherits its place stays in file order."""
    found: list[BaseShape] = []
    for shape in shapes:
        if isinstance(shape, GroupShape):
            found.extend(_in_reading_order(shape.shapes))
        else:
            found.append(shape)
    if all(shape.top is not None and shape.left is not None for shape in found):
        found.sort(key=lambda shape: (shape.top, shape.left))
    yield from found


def _shape(shape: BaseShape, composer: Composer) -> None:
    if getattr(shape, "has_table", False):
        rows = ([cell.text for cell in row.cells] for row in shape.table.rows)  # type: ignore[attr-defined]
        for line in tables.lines(rows):
            composer.block(line, tight=True)
    elif getattr(shape, "has_chart", False):
        _chart(shape.chart, composer)  # type: ignore[attr-defined]
    elif shape.has_text_frame:
        paragraphs = shape.text_frame.paragraphs  # type: ignore[attr-defined]
        for paragraph in paragraphs:
            text = "".join(run.text for run in paragraph.runs) or paragraph.text
            composer.block(text, tight=len(paragraphs) > 1)


def _chart(chart: object, composer: Composer) -> None:
    """A chart as lines "series: category value, …", the numbers it was drawn from."""
    if chart.has_title and chart.chart_title.has_text_frame:  # type: ignore[attr-defined]
        composer.block(chart.chart_title.text_frame.text, tight=True)  # type: ignore[attr-defined]
    for plot in chart.plots:  # type: ignore[attr-defined]
        names = [str(category) for category in plot.categories]
        for series in plot.series:
            pairs = zip(names, series.values, strict=False)
            values = ", ".join(f"{name} {value:g}" for name, value in pairs if value is not None)
            composer.block(f"{series.name}: {values}" if values else "", tight=True)
