"""HTML: headings, paragraphs, lists, tables and code of the page itself, without what stands around it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from bs4 import BeautifulSoup, UnicodeDammit, XMLParsedAsHTMLWarning
from bs4.element import NavigableString, PreformattedString, Tag

from fileintel.documents import encodings, formats, tables
from fileintel.documents.composing import Composer
from fileintel.documents.text import named, one_line
from fileintel.model import ParsedDocument

_DROPPED = named(
    "script style noscript template nav form button iframe svg math object embed applet audio video canvas select "
    "input textarea dialog head footer aside menu"
)
_KEPT_IN_MAIN = frozenset(("footer", "aside", "math"))
_DROPPED_ROLES = named("navigation banner contentinfo search complementary menu menubar dialog")
# Names that Sphinx, DocBook, MkDocs, Javadoc, MediaWiki and the common web frameworks give to what is no content.
_DROPPED_NAMES = re.compile(
    r"^(?:nav|navbar|nav-?bar|navigation|nav(?:header|footer)|navlinks?|sidebar|side-bar|sphinxsidebar|related|"
    r"breadcrumbs?|breadcrumb-nav|toc|table-of-contents|list-of-(?:tables|figures|examples)|menu|main-menu|"
    r"footer|site-footer|page-footer|site-header|masthead|cookie.*|consent.*|banner|advert.*|ads?|share|social.*|"
    r"skip-?link|headerlink|pilcrow|mw-editsection|noprint|search-?box|pagination|docnav|prev-?next)$",
    re.IGNORECASE,
)
_BLOCKS = named(
    "address article blockquote body caption center dd details div dl dt fieldset figcaption figure footer header "
    "hgroup hr html legend li main ol p section summary table tbody td tfoot th thead tr ul aside option"
)
_SECTIONS = named("part chapter appendix preface section sect1 sect2 sect3 sect4 sect5")
_BOXES = named("note tip warning caution important danger hint admonition sidebar-note")
_HEADING = re.compile(r"h[1-6]$")


def read(path: Path, shown: str) -> ParsedDocument:
    """One section per heading; the title is the page's own."""
    data = path.read_bytes()
    markup, encoding = _decoded(data)
    soup = parsed(markup)
    composer = Composer()
    compose(soup, composer)
    title = one_line(soup.title.get_text()) if soup.title else ""
    return ParsedDocument(formats.HTML.media_type, title or None, composer.sections(), metadata={"encoding": encoding})


def parsed(markup: str | bytes) -> BeautifulSoup:
    """The tree of an HTML or XHTML page; libxml2's HTML parser reads no DTD and no entity it does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        return BeautifulSoup(markup, "lxml")


def compose(soup: BeautifulSoup, composer: Composer) -> None:
    """Hand the page's content to the composer in reading order."""
    root = _main(soup)
    walk = _Walk(composer, in_main=root.name != "body")
    walk.through(root)


def _decoded(data: bytes) -> tuple[str, str]:
    """A declared encoding holds unless the bytes are valid UTF-8 or say otherwise themselves."""
    text, encoding = encodings.decode(data)
    if encoding.startswith("utf"):
        return text, encoding
    dammit = UnicodeDammit(data, is_html=True)
    if dammit.declared_html_encoding and dammit.unicode_markup is not None:
        return dammit.unicode_markup, str(dammit.original_encoding)
    return text, encoding


def _main(soup: BeautifulSoup) -> Tag:
    """The element that the page says is its content, if it holds the better part of the text, else the body."""
    body = soup.body or soup
    for found in (soup.find_all("main"), soup.find_all(None, {"role": "main"}), soup.find_all("article")):
        if len(found) == 1 and len(found[0].get_text()) > 200:
            return found[0]
    return body


def _dropped(tag: Tag, in_main: bool) -> bool:
    if tag.name in _DROPPED:
        return not (in_main and tag.name in _KEPT_IN_MAIN)
    if tag.has_attr("hidden") or tag.get("aria-hidden") == "true" or tag.get("role") in _DROPPED_ROLES:
        return True
    if "display:none" in str(tag.get("style", "")).replace(" ", ""):
        return True
    names = [str(tag.get("id") or ""), *(tag.get("class") or ())]
    # A class may lie (a body that "has" a sidebar): what holds a main heading is content.
    return any(_DROPPED_NAMES.match(str(name)) for name in names) and tag.find("h1") is None


class _Walk:
    """Goes through a tree with a stack of its own: nesting in hostile pages is deeper than Python's."""

    def __init__(self, composer: Composer, *, in_main: bool) -> None:
        self._composer = composer
        self._in_main = in_main
        self._inline: list[str] = []
        self._prefix = ""
        self._tight = 0
        self._items: dict[int, int] = {}  # how many items each numbered list (by identity) has had

    def through(self, root: Tag) -> None:
        """Hand over everything below `root`."""
        stack: list[tuple[Tag, Iterator[object]]] = [(root, iter(root.contents))]
        while stack:
            tag, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                self._leave(tag)
            elif isinstance(child, Tag):
                if not _dropped(child, self._in_main) and self._enter(child):
                    stack.append((child, iter(child.contents)))
            elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
                self._inline.append(re.sub(r"\s+", " ", str(child)))
        self._flush()

    def _enter(self, tag: Tag) -> bool:
        """Whether to go on inside the tag; False when it has been dealt with whole."""
        name = tag.name
        if _HEADING.match(name):
            self._flush()
            text = _without_links_to_self(tag)
            depth, is_boxed = _placed(tag)
            if is_boxed:
                self._composer.block(text)
            else:
                self._composer.heading(max(int(name[1]), depth), text)
            return False
        if name == "pre":
            self._flush()
            self._composer.block(_preformatted(tag), verbatim=True)
            return False
        if name == "table" and (rows := _data_rows(tag)) is not None:
            self._flush()
            for line in tables.lines(rows):
                self._composer.block(line, tight=True)
            return False
        if name == "br":
            self._inline.append("\n")
        elif name == "img":
            self._inline.append(f" {tag['alt']} " if _telling(tag) else "")
        elif name in _BLOCKS:
            self._flush()
            if name in ("li", "dt", "dd"):
                self._tight += 1
                self._prefix = self._marker(tag) if name == "li" else ""
        return True

    def _marker(self, item: Tag) -> str:
        parent = item.parent
        if parent is None or parent.name != "ol":
            return "- "
        start = str(parent.get("start") or "1")
        number = self._items.get(id(parent), int(start) if start.isdigit() else 1)
        self._items[id(parent)] = number + 1
        return f"{number}. "

    def _leave(self, tag: Tag) -> None:
        if tag.name in _BLOCKS:
            self._flush()
            if tag.name in ("li", "dt", "dd"):
                self._tight -= 1
                self._prefix = ""

    def _flush(self) -> None:
        text = re.sub(r" ?\n ?", "\n", re.sub(r" +", " ", "".join(self._inline))).strip()
        self._inline = []
        if text:
            self._composer.block(self._prefix + text, tight=self._tight > 0)
            self._prefix = ""


def _placed(heading: Tag) -> tuple[int, bool]:
    """How many sections the heading is in, and whether it is only a note's in the margin or a box.

    HTML 5 and DocBook's EPUB call every heading `h1` and leave its level to the sections around it.
    """
    depth, is_boxed = 0, False
    for parent in heading.parents:
        names = {str(name) for name in parent.get("class") or ()}
        depth += parent.name == "section" or (parent.name == "div" and bool(names & _SECTIONS))
        is_boxed |= bool(names & _BOXES)
    return depth, is_boxed


def _telling(image: Tag) -> bool:
    """Whether an image's alternative text says something: more than a file name, "[Note]" or a link's label."""
    alt = image.get("alt")
    if not isinstance(alt, str) or " " not in alt.strip() or (image.parent is not None and image.parent.name == "a"):
        return False
    return re.search(r"\.(?:png|jpe?g|gif|svg)$", alt.strip(), re.IGNORECASE) is None


def _without_links_to_self(tag: Tag) -> str:
    for link in tag.find_all("a", class_=re.compile("headerlink|anchor|permalink")):
        if len(link.get_text().strip()) <= 1:
            link.decompose()
    return tag.get_text()


def _preformatted(tag: Tag) -> str:
    for found in tag.find_all("br"):
        found.replace_with("\n")
    return tag.get_text()


def _data_rows(table: Tag) -> list[list[str]] | None:
    """The cells of a table of data, or None for a table that only lays out (nested, one column, long passages)."""
    if table.find(["table", "h1", "h2", "h3", "h4", "pre"]) is not None:
        return None
    rows = [row.find_all(["td", "th"]) for row in table.find_all("tr")]
    rows = [row for row in rows if row]
    texts = _spread(rows)
    wide = sum(len(row) > 1 for row in texts)
    if len(rows) < 2 or wide < 0.7 * len(rows) or max(len(text) for row in texts for text in row) > 1500:
        return None
    caption = table.find("caption")
    return ([[caption.get_text(" ", strip=True)]] if caption else []) + texts


def _spread(rows: Sequence[Sequence[Tag]]) -> list[list[str]]:
    """The cells' text in columns; a cell over several rows is said in each, one over several columns in the first."""
    result: list[list[str]] = []
    carried: dict[int, tuple[int, str]] = {}  # by column: rows still to come, and the text
    for row in rows:
        texts: list[str] = []
        cells = iter(row)
        cell = next(cells, None)
        while cell is not None or len(texts) in carried:
            column = len(texts)
            if column in carried:
                left, text = carried.pop(column)
                if left > 1:
                    carried[column] = (left - 1, text)
                texts.append(text)
            elif cell is not None:
                text = cell.get_text(" ", strip=True)
                height, width = _span(cell, "rowspan"), _span(cell, "colspan")
                for offset in range(width):
                    texts.append("" if offset else text)
                    if height > 1:
                        carried[column + offset] = (height - 1, "" if offset else text)
                cell = next(cells, None)
        result.append(texts)
    return result


def _span(cell: Tag, name: str) -> int:
    said = str(cell.get(name) or "1")
    return max(1, min(int(said), 200)) if said.isdigit() else 1
