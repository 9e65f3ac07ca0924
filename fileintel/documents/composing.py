"""Sections from the stream of headings, blocks and pages that a reader meets."""

from __future__ import annotations

from fileintel.documents.text import clean, one_line, tidy
from fileintel.model import Section


class Composer:
    """Gathers a document's blocks in reading order and cuts them into sections at each heading and page.

    Blocks are set apart by a blank line, tight ones (list items, table rows, code) by a newline; a heading's own
    line opens its section, so that the text can be understood without the anchors.
    """

    def __init__(self) -> None:
        self._sections: list[Section] = []
        self._path: list[tuple[int, str]] = []
        self._page: int | None = None
        self._parts: list[str] = []
        self._tight = False

    @property
    def heading_path(self) -> str | None:
        """The headings above the next block, joined by " > "."""
        return " > ".join(text for _, text in self._path) or None

    def page(self, number: int | None) -> None:
        """From here on the text stands on page `number`, counted from 1."""
        if number != self._page:
            self._flush()
            self._page = number

    def heading(self, level: int, text: str, *, shown: bool = True, line: str | None = None) -> None:
        """A heading of `level` (1 is the highest); `shown=False` names a section whose text has no such line.

        `line` is how the heading stands in the text when that is not `text` itself, a chapter's number before it.
        """
        text = one_line(text).replace(" > ", " › ")
        if not text:
            return
        self._flush()
        self._path = [entry for entry in self._path if entry[0] < level] + [(level, text)]
        if shown:
            self._parts.append(one_line(line or text))
            self._tight = False

    def block(self, text: str, *, tight: bool = False, verbatim: bool = False) -> None:
        """A paragraph; `tight` ones follow each other line by line, `verbatim` ones keep their blanks."""
        text = clean(text).strip("\n").rstrip() if verbatim else tidy(text)
        if not text.strip():
            return
        if self._parts:
            self._parts.append("\n" if tight and self._tight else "\n\n")
        self._parts.append(text)
        self._tight = tight

    def sections(self) -> tuple[Section, ...]:
        """All sections with text, in order."""
        self._flush()
        return tuple(self._sections)

    def _flush(self) -> None:
        text = "".join(self._parts).strip()
        if text:
            self._sections.append(Section(text, self._page, self.heading_path))
        self._parts = []
        self._tight = False
