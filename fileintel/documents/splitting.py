"""`split`: a document's text cut into units on sentence, heading and page borders."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fileintel.documents import sentences
from fileintel.model import Anchor, ParsedDocument, Section, TextUnit
from fileintel.protocols import Tokenizer

_SMALLEST_UNIT = 16
# No token is longer than this many characters on average over a window: a sentence beyond it is cut before it is
# counted, so that one line of a megabyte costs no more than a megabyte of lines.
_CHARACTERS_PER_TOKEN = 12


def split(document: ParsedDocument, *, tokenizer: Tokenizer, max_tokens: int, overlap: int) -> list[TextUnit]:
    """Pack whole sentences into units of at most `max_tokens`, repeating up to `overlap` tokens under one heading.

    A unit's text is the document's, character for character; its anchors say where page and heading change in it.
    Raises ValueError for `max_tokens` under 16 or an `overlap` of half of it or more.
    """
    if max_tokens < _SMALLEST_UNIT or not 0 <= overlap < max_tokens / 2:
        raise ValueError(f"max_tokens {max_tokens} must be 16 or more, overlap {overlap} less than half of it")
    text, places = _laid_out(document.sections)
    pieces = list(_pieces(text, places, tokenizer, max_tokens))
    units: list[TextUnit] = []
    start = fresh = 0  # the unit's first piece, and the first that no unit has yet
    while fresh < len(pieces):
        end = _end(pieces, start, fresh, max_tokens)
        unit = _unit(text, places, pieces[start:end], len(units), tokenizer)
        while unit.n_tokens > max_tokens and end > fresh + 1:
            end -= 1  # a tokenizer may need more for the whole than for its parts
            unit = _unit(text, places, pieces[start:end], len(units), tokenizer)
        while unit.n_tokens > max_tokens and start < fresh:
            start += 1
            unit = _unit(text, places, pieces[start:end], len(units), tokenizer)
        units.append(unit)
        start, fresh = _overlap(pieces, end, overlap, max_tokens), end
    return units


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    page: int | None
    heading: str | None

    @property
    def top(self) -> str | None:
        return None if self.heading is None else self.heading.partition(" > ")[0]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sentence, or a part of one too long; `border` says how good it is to begin a unit with it.

    4: another top-level heading, 3: another heading, 2: another page, 1: another line, 0: in a line.
    """

    start: int
    end: int
    n_tokens: int
    place: _Place
    border: int
    is_heading: bool
    is_part: bool


def _laid_out(sections: Sequence[Section]) -> tuple[str, list[_Place]]:
    """The whole text, and where in it each section begins."""
    parts: list[str] = []
    places: list[_Place] = []
    length = 0
    previous: Section | None = None
    for section in sections:
        if previous is not None:
            parts.append(_joint(previous, section))
            length += len(parts[-1])
        places.append(_Place(length, section.page, section.heading))
        parts.append(section.text)
        length += len(section.text)
        previous = section
    return "".join(parts), places


def _joint(before: Section, after: Section) -> str:
    """A space where a sentence goes on over the page's end, a blank line elsewhere."""
    last, first = before.text.rstrip()[-1:], after.text.lstrip()[:1]
    goes_on = before.page != after.page and before.heading == after.heading and first.islower()
    if goes_on and last == "-" and before.text.rstrip()[-2:-1].isalpha():
        return ""
    return " " if goes_on and (last.isalnum() or last in ",;-–—)”’\"'") else "\n\n"


def _pieces(text: str, places: list[_Place], tokenizer: Tokenizer, max_tokens: int) -> Iterator[_Piece]:
    offsets = [place.offset for place in places]
    headings = dict(_heading_lines(text, places))
    previous: _Place | None = None
    after = whole = 0
    for span_start, span_end in sentences.spans(text):
        if span_start < whole:
            continue  # a part of a heading that was handed out whole
        start, end = span_start, headings.get(span_start, span_end)
        whole = end
        place = places[bisect.bisect_right(offsets, start) - 1]
        parts = list(_cut(text, start, end, tokenizer, max_tokens))
        for part_start, part_end, n_tokens in parts:
            border = 0 if part_start != start else _border(previous, place, text[after:start])
            # Counted with the blanks before it: that is how it stands in the unit.
            blanks = 1 if "\n" in text[after:part_start] else 0
            yield _Piece(part_start, part_end, n_tokens + blanks, place, border, start in headings, len(parts) > 1)
            after = part_end
        previous = places[bisect.bisect_right(offsets, end - 1) - 1]


def _heading_lines(text: str, places: list[_Place]) -> Iterator[tuple[int, int]]:
    """Start and end of each line that is the heading of the section it opens."""
    for place in places:
        if place.heading is not None:
            end = text.find("\n", place.offset)
            end = len(text) if end < 0 else end
            line = text[place.offset : end].rstrip()
            if line.casefold().endswith(place.heading.rpartition(" > ")[2].casefold()):
                yield place.offset, place.offset + len(line)


def _border(previous: _Place | None, place: _Place, between: str) -> int:
    if previous is None or previous.top != place.top:
        return 4
    if previous.heading != place.heading:
        return 3
    if previous.page != place.page:
        return 2
    return 1 if "\n" in between else 0


def _cut(text: str, start: int, end: int, tokenizer: Tokenizer, max_tokens: int) -> Iterator[tuple[int, int, int]]:
    """The sentence as parts of at most `max_tokens`, cut at blanks where there are any: start, end, tokens."""
    room = max_tokens - 1  # one for the blanks before it
    window = room * _CHARACTERS_PER_TOKEN
    while start < end:
        stop = min(end, start + window)
        tokens = tokenizer.encode(" " + text[start:stop])
        while len(tokens) > room:
            # The share of characters that fits, a little less; most texts need one round, none more than a few.
            stop = start + max(1, int((stop - start) * room / len(tokens) * 0.95))
            tokens = tokenizer.encode(" " + text[start:stop])
            if stop == start + 1:
                break
        if stop < end:
            blank = max(text.rfind(" ", start, stop), text.rfind("\t", start, stop))
            if blank > start + (stop - start) // 2:
                stop = blank
                tokens = tokenizer.encode(" " + text[start:stop])
        yield start, stop, len(tokens)
        start = stop
        while start < end and text[start].isspace():
            start += 1


def _end(pieces: list[_Piece], start: int, fresh: int, max_tokens: int) -> int:
    """Where the unit that begins at piece `start` is to end (exclusive), beyond `fresh`."""
    filled = sum(piece.n_tokens for piece in pieces[start:fresh])
    full_at: dict[int, int] = {}  # tokens before a piece
    at = fresh
    while at < len(pieces) and (at == fresh or filled + pieces[at].n_tokens <= max_tokens):
        if pieces[at].border == 4 and at > fresh and filled * 2 >= max_tokens:
            return _before_headings(pieces, fresh, at)
        full_at[at] = filled
        filled += pieces[at].n_tokens
        at += 1
    if at == len(pieces):
        return at
    full_at[at] = filled
    for border, share in ((3, 0.5), (2, 0.75), (1, 0.6)):
        for candidate in range(at, fresh, -1):
            if full_at[candidate] < share * max_tokens:
                break
            if pieces[candidate].border >= border:
                return _before_headings(pieces, fresh, candidate)
    return _before_headings(pieces, fresh, at)


def _before_headings(pieces: list[_Piece], fresh: int, end: int) -> int:
    """`end`, moved before the headings that would stand last in the unit with nothing under them."""
    moved = end
    while moved > fresh + 1 and pieces[moved - 1].is_heading:
        moved -= 1
    return end if moved == fresh + 1 and pieces[fresh].is_heading else moved


def _overlap(pieces: list[_Piece], end: int, overlap: int, max_tokens: int) -> int:
    """The first piece of the next unit: whole sentences before `end` under the same heading, `overlap` at most."""
    if end >= len(pieces):
        return end
    room = min(overlap, max_tokens - pieces[end].n_tokens)
    start = end
    while start > 0:
        piece = pieces[start - 1]
        room -= piece.n_tokens
        if room < 0 or piece.is_part or piece.is_heading or piece.place.heading != pieces[end].place.heading:
            break
        start -= 1
    return start


def _unit(text: str, places: list[_Place], pieces: list[_Piece], ordinal: int, tokenizer: Tokenizer) -> TextUnit:
    start, end = pieces[0].start, pieces[-1].end
    own = text[start:end]
    first = bisect.bisect_right(places, start, key=lambda place: place.offset) - 1
    anchors = [Anchor(0, places[first].page, places[first].heading)]
    for place in itertools.islice(places, first + 1, None):
        if place.offset >= end:
            break
        if (place.page, place.heading) != (anchors[-1].page, anchors[-1].heading):
            anchors.append(Anchor(place.offset - start, place.page, place.heading))
    return TextUnit(own, tokenizer.count(own), ordinal, tuple(anchors))
