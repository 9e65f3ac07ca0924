"""The marks of an answer, `[n]`: read in all the forms models write them, checked while the answer streams."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from fileintel.model import Source

_OPENING = "[【［"
_CLOSING = "]】］"
# Text held back for a bracket that never closes; longer than the longest mark seen ([Data: …] with five ids a set).
_LONGEST = 200
_WIDEST_RANGE = 50
_NO_SPACE_BEFORE = ".,;:!?)}»”’…。，、！？；："

_WORD = r"(?:sources?|src|refs?|references?|citations?|cite|documents?|docs?|marks?)"
# A bracket's content is read token by token: one pattern for all of it would backtrack without end on odd content.
_TOKEN = re.compile(
    rf"(?P<number>\d+)|(?P<dash>[-–—])|(?P<split>[,;&]|and\b)|(?P<word>{_WORD}(?![^\W\d]))|(?P<colon>[.:])|(?P<sign>[#^])"
    r"|(?P<note>†[^\s,;]*)|(?P<space>\s+)",
    re.IGNORECASE,
)
# What may stand directly before a token (white space aside) for the content to be a mark.
_BEFORE = {
    "number": ("", "number", "split", "word", "colon", "sign", "dash", "note"),
    "dash": ("number",),
    "split": ("number", "note"),
    "word": ("", "number", "split", "dash", "note"),
    "colon": ("word",),
    "sign": ("", "number", "split", "word", "colon", "note"),
    "note": ("number",),
}
_SET = r"(sources?|reports?|entities|entity|relationships?|claims?|communities|text units?) ?\(([^()]*)\)"
_DATA = re.compile(rf"(?:data ?: ?)?{_SET}(?:(?: ?[;,])? ?{_SET})*", re.IGNORECASE)
_ONE_SET = re.compile(_SET, re.IGNORECASE)
_CUT_OFF = re.compile(rf"(?:{_WORD}\b)? ?[.:]? ?[#^]? ?\d[\d\s,;–—-]*|data ?:.*|", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that resolves: `number` of a source, `offset` of its "[" in the clean text."""

    number: int
    offset: int

    @property
    def end(self) -> int:
        """The offset just after the mark's "]"."""
        return self.offset + len(f"[{self.number}]")


def read_mark(content: str, known: Collection[int]) -> tuple[list[int], int] | None:
    """Return the known source numbers a bracket's content names and how many it names that are not known.

    None when the content is not a mark ("sic", "emphasis added", "1.2").
    """
    content = " ".join(content.split())
    ranges = _ranges(content)
    if ranges is not None:
        return _known_of(ranges, known)
    if _DATA.fullmatch(content):
        numbers: list[int] = []
        unknown = 0
        for name, ids in _ONE_SET.findall(content):
            of_sources = _ranges(ids) if name.lower().startswith("source") else None
            if of_sources is None:  # a row of a graph table is no evidence a reader could open
                unknown += 1
                continue
            found, missing = _known_of(of_sources, known)
            numbers += [number for number in found if number not in numbers]
            unknown += missing
        return numbers, unknown
    return None


def _ranges(content: str) -> list[tuple[int, int]] | None:
    """The number ranges (a number alone is one of itself) that the content consists of; None if it has other parts."""
    ranges: list[tuple[int, int]] = []
    before, at, from_dash = "", 0, False
    while at < len(content):
        token = _TOKEN.match(content, at)
        if token is None:
            return None
        at = token.end()
        kind = token.lastgroup or ""
        if kind == "space":
            continue
        if before not in _BEFORE[kind]:
            return None
        if kind == "number":
            number = int(token.group())
            if from_dash:
                ranges[-1] = (ranges[-1][0], number)
            else:
                ranges.append((number, number))
        from_dash = kind == "dash" or (from_dash and kind != "number")
        before = kind
    return ranges if before in ("number", "note", "split") and ranges else None


def _known_of(ranges: Sequence[tuple[int, int]], known: Collection[int]) -> tuple[list[int], int]:
    numbers: list[int] = []
    unknown = 0
    for low, high in ranges:
        if not low <= high <= low + _WIDEST_RANGE:
            unknown += 1
            continue
        for number in range(low, high + 1):
            if number not in known:
                unknown += 1
            elif number not in numbers:
                numbers.append(number)
    return numbers, unknown


class MarkStream:
    """Passes an answer on as it streams, with every mark checked and written `[n]`.

    However the answer is cut into pieces, what `push` and `finish` return joins to the same text: marks that name no
    source are gone with the space around them, white space at both ends is gone, an unfinished mark at the end too.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._known = frozenset(source.number for source in sources)
        self._held: str | None = None  # an opening bracket and what followed it
        self._unclosed: str | None = None  # what was passed on since an opening bracket that was
        self._doubled = 0  # how many of "[[3]]" were left out at the front and are to be at the end
        self._space = ""  # white space not passed on yet
        self._before = ""  # white space before a removed mark
        self._dropped = False  # whether a mark was removed since the last character passed on
        self._run: set[int] = set()  # the numbers of the marks that stand directly before
        self._pieces: list[str] = []
        self._length = 0
        self._finished = False
        self._marks: list[Mark] = []
        self._removed = 0

    @property
    def text(self) -> str:
        """The clean text passed on so far."""
        return "".join(self._pieces)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks passed on so far, in order."""
        return tuple(self._marks)

    @property
    def removed(self) -> int:
        """How many named sources were removed because they do not exist."""
        return self._removed

    def push(self, piece: str) -> str:
        """Take the answer's next piece and return the clean text that is certain by now (often not all of it)."""
        if self._finished:
            raise ValueError("the answer is finished")
        start = len(self._pieces)
        for character in piece:
            self._take(character)
        return "".join(self._pieces[start:])

    def finish(self) -> str:
        """Return what was still held back; the answer is over."""
        if self._finished:
            return ""
        start = len(self._pieces)
        if self._held is not None:
            held, self._held = self._held, None
            if _CUT_OFF.fullmatch(" ".join(held[1:].split())):
                self._removed += any(c.isdigit() for c in held)
            else:
                self._plain_all(held)
        self._finished = True
        return "".join(self._pieces[start:])

    def _take(self, character: str) -> None:
        held = self._held
        if character in _OPENING:
            if held is not None:
                self._let_go(held)
            self._held = character
        elif held is None:
            if character not in _CLOSING or not self._closes_nothing():
                self._plain(character)
        elif character in _CLOSING:
            self._held = None
            mark = read_mark(held[1:], self._known)
            if mark is None:
                self._plain_all(held + character)
            else:
                self._mark(*mark)
        elif len(held) >= _LONGEST:
            self._held = None
            self._let_go(held)
            self._plain(character)
        else:
            self._held = held + character

    def _let_go(self, held: str) -> None:
        """Pass on an opening bracket that is not a mark's, and what followed it."""
        if not held[1:].strip() and len(held) < _LONGEST:
            self._doubled += 1
            self._space += held[1:]
            return
        self._plain(held[0])
        self._unclosed = ""
        self._plain_all(held[1:])

    def _closes_nothing(self) -> bool:
        """Whether a closing bracket is to be left out: the second of "[[3]]", or one that would make a mark of what
        is left around a removed one, as in "[Source [9]8]"."""
        unclosed, self._unclosed = self._unclosed, None
        if unclosed is not None:
            return read_mark(unclosed, self._known) is not None
        if self._doubled:
            self._doubled -= 1
            return True
        return False

    def _plain_all(self, text: str) -> None:
        for character in text:
            self._plain(character)

    def _plain(self, character: str) -> None:
        if character.isspace():
            self._space += character
            return
        self._run.clear()
        self._pass_on(self._gap(character) + character)

    def _mark(self, numbers: list[int], unknown: int) -> None:
        self._removed += unknown
        fresh = [number for number in numbers if number not in self._run]
        if not fresh:
            self._before = _wider(self._before, self._space) if self._dropped else self._space
            self._space = ""
            self._dropped = True
            return
        self._pass_on(self._gap("["))
        for number in fresh:
            self._run.add(number)
            self._marks.append(Mark(number, self._length))
            self._pass_on(f"[{number}]")

    def _gap(self, following: str) -> str:
        gap = _wider(self._before, self._space) if self._dropped else self._space
        if self._length == 0 or (self._dropped and following in _NO_SPACE_BEFORE and "\n" not in gap):
            gap = ""
        self._space = self._before = ""
        self._dropped = False
        return gap

    def _pass_on(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._length += len(text)
            if self._unclosed is not None:
                self._unclosed += text


def _wider(before: str, after: str) -> str:
    """Of the white space on both sides of a removed mark, the one that separates more (a paragraph over a space)."""
    return max(before, after, key=lambda space: (space.count("\n"), bool(space)))
