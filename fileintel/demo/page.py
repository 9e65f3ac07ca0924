"""Plain, wrapped output that reads the same in a terminal, a pipe and a log."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

WIDTH = 88
QUOTE_LENGTH = 240


class Page:
    """Writes lines through `write(text, style)`, style being "", "strong" or "faint"; text holds its line breaks."""

    def __init__(self, write: Callable[[str, str], None], width: int = WIDTH) -> None:
        self._write = write
        self.width = width

    def blank(self) -> None:
        """Leave a line free."""
        self._write("\n", "")

    def heading(self, title: str) -> None:
        """Begin a part."""
        self._write(f"\n{title}\n{'─' * self.width}\n", "strong")

    def line(self, text: str, *, strong: bool = False, faint: bool = False) -> None:
        """Write one line, however long."""
        self._write(f"  {text}\n", "strong" if strong else "faint" if faint else "")

    def text(self, text: str, *, strong: bool = False) -> None:
        """Write a paragraph, wrapped."""
        for line in textwrap.wrap(text, self.width - 2):
            self.line(line, strong=strong)

    def citation(self, citation: Mapping[str, Any]) -> None:
        """Write where a mark leads: document, page, heading and the words there."""
        place = str(citation["document_name"])
        place += "" if citation["page"] is None else f", page {citation['page']}"
        place += "" if not citation["heading"] else f", {citation['heading']}"
        self.line(f"    [{citation['number']}] {place}")
        quote = textwrap.shorten(" ".join(str(citation["quote"]).split()), QUOTE_LENGTH, placeholder=" …")
        if quote:
            for line in textwrap.wrap(f"“{quote}”", self.width - 10):
                self.line(f"        {line}", faint=True)

    def stream(self) -> Stream:
        """Begin a paragraph that comes in pieces."""
        return Stream(self._write, self.width, "    ")


class Stream:
    """A paragraph that is wrapped while it comes: whole words are written as soon as they are known to be whole."""

    def __init__(self, write: Callable[[str, str], None], width: int, indent: str) -> None:
        self._write = write
        self._width = width
        self._indent = indent
        self._column = 0
        self._word = ""
        self.pushed = False

    def push(self, piece: str) -> None:
        """Take the next piece."""
        for character in piece:
            if not character.isspace():
                self._word += character
                continue
            self._flush()
            if character == "\n" and self._column:
                self._write("\n", "")
                self._column = 0
        self.pushed = self.pushed or bool(piece.strip())

    def restart(self) -> None:
        """Begin the paragraph anew: what was written so far does not count."""
        self._word = ""
        if self._column:
            self._write(" … (begun anew)\n", "")
        self._column = 0
        self.pushed = False

    def finish(self) -> None:
        """Write what is left and end the line."""
        self._flush()
        if self._column:
            self._write("\n", "")
            self._column = 0

    def _flush(self) -> None:
        if not self._word:
            return
        if self._column and self._column + 1 + len(self._word) > self._width:
            self._write("\n", "")
            self._column = 0
        lead = " " if self._column else self._indent
        self._write(lead + self._word, "")
        self._column += len(lead) + len(self._word)
        self._word = ""
