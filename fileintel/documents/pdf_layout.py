"""From the lines of PDF pages to paragraphs, headings and what runs at the head and foot of every page."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median

from fileintel.documents.text import joined, one_line

_BULLET = re.compile(r"^(?:[•‣▪■●○◦∙·–—*➢➤✓\uf0b7\u2212-]\s+\S|[•‣▪■●◦∙\uf0b7]\S)")
_NUMBERED = re.compile(r"^(?:\(?\d{1,2}[.)]|\(?[a-zA-Z][.)])\s+\S")
_ENDED = re.compile(r"[.!?:;。！？][\"'”’)\]]*$")
_HYPHENATED = re.compile("(\\w+)\ufffe(\\w+)")
_PAGE_NUMBER = re.compile(r"(?i)[\W_]*(?:page\s+)?(?:\d{1,5}|[ivxlc]{1,7})(?:\s*(?:of|/)\s*\d{1,5})?[\W_]*")
# A path or an address broken over two lines.
_PATH_CUT = re.compile(r"\S*[(<]?(?:https?://|www\.)\S*[/.]$|[(<]?~?/\w\S*/$")
_MARK = re.compile(r"\d{1,3}|[*†‡]")  # of a footnote
_LONGEST_HEADING = 160


@dataclass(slots=True, eq=False)
class Line:
    """A line of a page; places in points from the page's lower left corner.

    Where pdfium has put a word that a hyphen parted together again (`\\ufffe` stands for the hyphen) a line is two
    lines of print: `bottom` is the first's, `last_bottom` and `right` are the last's.
    """

    text: str
    left: float
    right: float
    bottom: float
    last_bottom: float
    size: float
    mono: bool = False


@dataclass(slots=True)
class Paragraph:
    """Lines that belong together."""

    lines: list[Line]
    tight: bool = False

    @property
    def verbatim(self) -> bool:
        """Whether the lines are to stay as they are: code."""
        return self.lines[0].mono

    @property
    def text(self) -> str:
        """The lines as one, code line by line with its indents."""
        if self.verbatim:
            margin = min(line.left for line in self.lines)
            width = self.lines[0].size * 0.55
            return "\n".join(" " * min(40, round((line.left - margin) / width)) + line.text for line in self.lines)
        text = self.lines[0].text
        for line in self.lines[1:]:
            text = _run_on(text, line.text)
        return text


def _run_on(text: str, line: str) -> str:
    """A line after the text of the one before it."""
    # pdfium marks most hyphens at the end of a line; one it left there is a hyphen by itself.
    if re.search(r"\w[-\u00ad\u2010]$", text) and re.match(r"\w", line):
        return text[:-1] + "\ufffe" + line
    if re.match(r"[.,;:)\]]", line) or _is_path_cut(text, line):
        return text + line
    return joined(text, line)


def _is_path_cut(text: str, line: str) -> bool:
    """Whether a path or an address goes on from the end of `text` to `line`."""
    return bool(_PATH_CUT.match(text.rpartition(" ")[2]) and re.search(r"\w[/.]\w|/", line.partition(" ")[0]))


def leading(lines: list[Line]) -> float:
    """The usual distance from line to line, 0 when there is but one."""
    pairs = zip(lines, lines[1:], strict=False)
    gaps = [a.last_bottom - b.bottom for a, b in pairs if a.size == b.size and a.last_bottom > b.bottom]
    return median(gaps) if gaps else 0.0


def paragraphs(lines: list[Line], headings: set[int | None], usual_leading: float) -> list[Paragraph]:
    """The page's paragraphs; `headings` are the ids of lines that stand alone."""
    own_leading = leading(lines)
    margins: dict[int, float] = defaultdict(float)
    for line in lines:
        column = int(line.left // 72)
        margins[column] = max(margins[column], line.right)
    result: list[Paragraph] = []
    for previous, line in zip([None, *lines], lines, strict=False):
        if previous is None or id(line) in headings or id(previous) in headings:
            result.append(Paragraph([line], tight=bool(_BULLET.match(line.text))))
            continue
        gap = previous.last_bottom - line.bottom
        if _is_same_print_line(previous, line, gap):
            result[-1].lines.append(line)
            continue
        is_item = bool(_BULLET.match(line.text) or (_NUMBERED.match(line.text) and _ENDED.search(previous.text)))
        is_apart = gap > 1.35 * max(own_leading, line.size * 0.9)
        margin = margins[int(result[-1].lines[0].left // 72)]
        # Rows of a table: set wider than the text, and not to its margin.
        is_loose = gap > 1.25 * usual_leading > 0 and previous.right < margin - 2 * line.size and not line.mono
        if is_item or is_apart or is_loose or _breaks(previous, line, gap, margin):
            is_row = not (is_apart or is_item or _ENDED.search(previous.text)) and previous.size == line.size
            result[-1].tight |= is_row
            result.append(Paragraph([line], tight=is_item or is_row))
        else:
            result[-1].lines.append(line)
    return result


def notes_first(found: list[Paragraph], usual: float, headings: set[int | None]) -> list[Paragraph]:
    """The page's paragraphs with the footnotes before the last one, when that goes on over the page's end."""
    last = len(found)
    while last and found[last - 1].lines[0].size < 0.93 * usual and id(found[last - 1].lines[0]) not in headings:
        last -= 1
    if not 0 < last < len(found) or found[last - 1].verbatim or _ENDED.search(found[last - 1].text):
        return found
    return [*found[: last - 1], *found[last:], found[last - 1]]


def _is_same_print_line(previous: Line, line: Line, gap: float) -> bool:
    """Whether pdfium broke one printed line in two, as it does at a raised footnote mark."""
    if previous.mono and line.mono:
        return False
    size = max(previous.size, line.size)
    is_beside = line.left >= previous.right - 0.3 * size and line.left - previous.right < 2 * size
    return abs(gap) < 0.7 * size and (is_beside or _MARK.fullmatch(previous.text) is not None)


def _breaks(previous: Line, line: Line, gap: float, margin: float) -> bool:
    """Whether a new paragraph begins at `line`, which follows `previous` without more space than usual."""
    if previous.mono != line.mono or abs(previous.size - line.size) > 0.12 * max(previous.size, line.size):
        # A sentence goes on through a word of code at its line's end, and through a footnote mark.
        return previous.mono != line.mono or bool(_ENDED.search(previous.text)) or not line.text[:1].islower()
    if line.mono:
        return False
    if _is_path_cut(previous.text, line.text):
        return False
    ended = bool(_ENDED.search(previous.text))
    if gap < -previous.size:  # up again: the next column
        return ended
    # A line's end is meant when the next line's first word had room there.
    letter = (line.right - line.left) / max(1, len(line.text))
    room = margin - previous.right - letter * (len(line.text.partition(" ")[0]) + 3)
    if room > 0 and (ended or not line.text[:1].islower() or room > 0.15 * (margin - previous.left)):
        return True
    return ended and line.left > previous.left + 0.8 * line.size


def rejoin(text: str, words: Mapping[str, int]) -> str:
    """Words parted at a line's end made whole: "inter-/national" loses its hyphen, "dpkg-/buildpackage" keeps it.

    `words` counts the document's other words: the form that occurs there is the right one; without any, a hyphen
    between two lower-case parts is taken for the typesetter's.
    """

    def whole(found: re.Match[str]) -> str:
        before, after = found.group(1), found.group(2)
        together, apart = (before + after).casefold(), f"{before}-{after}".casefold()
        if words.get(together, 0) != words.get(apart, 0):
            keeps = words.get(apart, 0) > words.get(together, 0)
        else:
            keeps = not (before[-1].islower() and after[0].islower() and before.isalpha())
        return f"{before}-{after}" if keeps else before + after

    text = re.sub("[ \t]*\ufffe[ \t]*", "\ufffe", text)
    return _HYPHENATED.sub(whole, text).replace("\ufffe", "-")


def furniture(pages: list[list[Line]], usual: float) -> dict[int, str]:
    """Lines that run at the head or foot of pages, as id of the line to its text ("" for bare page numbers).

    A line at a page's edge, no larger than the text, is one when it holds a number that counts with the pages, when
    the same words stand there on three pages close to each other, or when it stands apart from the text at a height
    where at least five pages and 40% of all have such a line.
    """
    found: dict[int, str] = {}
    by_height = (sorted(lines, key=lambda line: -line.bottom) for lines in pages)
    filled = list(enumerate(by_height))
    # By height, not by order: a foot is often the first thing a page draws. Twice, for heads of two lines.
    for edge, inner in ((0, 1), (-1, -2)) * 2:
        remaining = [(number, [line for line in lines if id(line) not in found]) for number, lines in filled]
        remaining = [(number, lines) for number, lines in remaining if len(lines) > 1]
        alike: dict[str, list[tuple[int, Line]]] = defaultdict(list)
        heights: Counter[int] = Counter()
        apart: list[Line] = []
        for number, lines in remaining:
            line = lines[edge]
            if line.size > usual * 1.05 or len(line.text) > _LONGEST_HEADING:
                continue
            alike[re.sub(r"\d+", "#", line.text.casefold())].append((number, line))
            if abs(line.bottom - lines[inner].bottom) > 1.6 * max(line.size, lines[inner].size):
                apart.append(line)
                heights[round(line.bottom)] += 1
        for key, lines_alike in alike.items():
            if "#" in key and _counts_pages(lines_alike) or _runs(lines_alike, set(map(id, apart))):
                found.update((id(line), line.text) for _, line in lines_alike)
        common = {h for h in heights if sum(heights[h + d] for d in (-1, 0, 1)) >= max(5, 0.4 * len(pages))}
        found.update((id(line), line.text) for line in apart if round(line.bottom) in common)
    return {line_id: "" if _is_page_number(text) else one_line(text) for line_id, text in found.items()}


def _runs(lines: list[tuple[int, Line]], apart: set[int]) -> bool:
    """Whether the lines stand apart at one height on three pages with at most one other page between each."""
    placed = [(page, line) for page, line in lines if id(line) in apart and abs(line.bottom - lines[0][1].bottom) < 4]
    triples = zip(placed, placed[2:], strict=False)
    return len(placed) > 0.5 * len(lines) and any(last - first <= 4 for (first, _), (last, _) in triples)


def _counts_pages(lines: list[tuple[int, Line]]) -> bool:
    """Whether a number in the lines goes up with the pages."""
    offsets = Counter(int(n) - page for page, line in lines for n in set(re.findall(r"\d{1,6}", line.text)))
    return bool(offsets) and offsets.most_common(1)[0][1] >= max(3, 0.6 * len(lines))


def _is_page_number(text: str) -> bool:
    return _PAGE_NUMBER.fullmatch(text) is not None


@dataclass(slots=True)
class Entry:
    """A heading of the outline; `line` is how it stands on the page, None when it was not found there."""

    level: int
    title: str
    line: str | None = None


@dataclass(slots=True)
class Outline:
    """The document's headings by page, from bookmarks or guessed from the sizes of letters."""

    usual: float = 0.0
    _by_page: dict[int, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    _levels: dict[float, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._by_page)

    def add(self, page: int, level: int, title: str) -> None:
        """A bookmark to `page`, counted from 0."""
        self._by_page[page].append(Entry(level, title))

    def guess(self, pages: list[list[Line]], running: Mapping[int, str]) -> None:
        """Take short lines in letters larger than the text for headings, the largest sizes for the highest levels."""
        lines = (line for lines in pages for line in lines if id(line) not in running and self._is_large(line))
        sizes = sorted({line.size for line in lines}, reverse=True)
        self._levels = {size: min(6, level) for level, size in enumerate(sizes, start=1)}

    def on_page(self, page: int, lines: list[Line]) -> tuple[list[Line], dict[int | None, list[Entry]]]:
        """The page's lines, those of one heading made one, and its headings by the id of the line each stands at.

        None as id: before the first line.
        """
        found: dict[int | None, list[Entry]] = defaultdict(list)
        if not self._by_page:
            lines = self._merged(lines)
            for line in lines:
                if line.size in self._levels and self._is_large(line):
                    found[id(line)].append(Entry(self._levels[line.size], line.text, line.text))
            return lines, found
        lines = list(lines)
        start = 0
        for entry in self._by_page.get(page, ()):
            at, count = next(
                (
                    (i, n)
                    for i in range(start, len(lines))
                    for n in (1, 2, 3)
                    if _are_heading(lines[i : i + n], entry.title)
                ),
                (None, 0),
            )
            if at is None:
                key = None if not start else id(lines[start - 1])
                found[key].append(entry)
                continue
            # "Chapter 3" on a line of its own belongs to the title under it.
            if at > start and self._is_large(lines[at - 1]) and len(lines[at - 1].text) < 20:
                at, count = at - 1, count + 1
            lines[at : at + count] = [_as_one(lines[at : at + count])]
            text = lines[at].text
            is_numbered = re.search(r"\d", text.removesuffix(entry.title)) is not None
            found[id(lines[at])].append(Entry(entry.level, text if is_numbered else entry.title, text))
            start = at + 1
        return lines, found

    def _is_large(self, line: Line) -> bool:
        is_short = len(line.text) < _LONGEST_HEADING and any(c.isalpha() for c in line.text)
        return is_short and line.size > self.usual * 1.15 and not line.mono

    def _merged(self, lines: list[Line]) -> list[Line]:
        """The lines, a large one that goes on in another of its size made one with it."""
        result: list[Line] = []
        for line in lines:
            previous = result[-1] if result else None
            if (
                previous is not None
                and self._is_large(line)
                and abs(previous.size - line.size) < 0.2
                and 0 < previous.last_bottom - line.bottom < 1.5 * line.size
                and len(previous.text) + len(line.text) < _LONGEST_HEADING
            ):
                result[-1] = _as_one([previous, line])
            else:
                result.append(line)
        return result


def _as_one(lines: list[Line]) -> Line:
    text = rejoin(Paragraph([replace(line, mono=False) for line in lines]).text, {})
    return replace(lines[0], text=text, right=lines[-1].right, last_bottom=lines[-1].last_bottom)


def _are_heading(lines: list[Line], title: str) -> bool:
    """Whether the lines are a bookmark's title, give or take a number before it, case and blanks."""
    line, wanted = _bare("".join(line.text for line in lines)), _bare(title)
    if not wanted or not line.endswith(wanted):
        return False
    number = len(line) - len(wanted)
    return number == 0 or (number <= 14 and len(_bare(lines[0].text)) > number)


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())
