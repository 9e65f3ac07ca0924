"""Markdown (CommonMark and tables): the text without its marks, under its headings."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from fileintel.documents import encodings, formats, tables
from fileintel.documents.composing import Composer
from fileintel.documents.text import one_line
from fileintel.model import ParsedDocument

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:[ \t]*(.+)$", re.MULTILINE)
_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL)


def read(path: Path, shown: str) -> ParsedDocument:
    """One section per heading; the title is front matter's or the first heading's."""
    text, encoding = encodings.decode(path.read_bytes())
    text = text.replace("\r\n", "\n").replace("\0", "")
    title: str | None = None
    front = _FRONT_MATTER.match(text)
    if front and ":" in front.group(1):
        named = _TITLE.search(front.group(1))
        title = one_line(named.group(1).strip("\"' ")) if named else None
        text = text[front.end() :]
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    composer = Composer()
    _compose(tokens, composer)
    if not title:
        heading = next((i for i, token in enumerate(tokens) if token.type == "heading_open"), None)
        title = None if heading is None else one_line(_inline(tokens[heading + 1])) or None
    return ParsedDocument(formats.MARKDOWN.media_type, title, composer.sections(), metadata={"encoding": encoding})


def _compose(tokens: list[Token], composer: Composer) -> None:
    markers: list[str] = []  # of the list items that are open
    fresh = False  # whether the innermost item's marker is still to be written
    rows: list[list[str]] = []
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            composer.heading(int(token.tag[1]), _inline(tokens[i + 1]))
        elif token.type == "list_item_open":
            markers.append(f"{token.info}{token.markup} " if token.info else "- ")
            fresh = True
        elif token.type == "list_item_close":
            markers.pop()
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "table_close":
            for line in tables.lines(rows, headed=True):
                composer.block(line, tight=True)
            rows = []
        elif token.type == "inline" and rows:
            rows[-1].append(_inline(token))
        elif token.type == "inline" and tokens[i - 1].type != "heading_open":
            composer.block((markers[-1] if markers and fresh else "") + _inline(token), tight=bool(markers))
            fresh = False
        elif token.type in ("fence", "code_block"):
            composer.block(token.content, verbatim=True)
        elif token.type == "html_block":
            composer.block(_TAG.sub(" ", token.content))


def _inline(token: Token) -> str:
    """The words of an inline token: links by their text, images by their alternative text."""
    parts: list[str] = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type == "softbreak":
            parts.append(" ")
        elif child.type == "hardbreak":
            parts.append("\n")
        elif child.type == "image":
            parts.append(_inline(child))
    return "".join(parts)
