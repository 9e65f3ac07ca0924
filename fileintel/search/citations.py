"""From an answer with marks to a clean text and checked citations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fileintel.model import Anchor, Citation, Source
from fileintel.search.marks import Mark, MarkStream
from fileintel.search.quotes import Quote, QuoteFinder, sentences, words

__all__ = ["MarkStream", "Resolved", "place_at", "resolve"]

# Fewer words than this before a mark ("According to [1], …") say nothing; look at the whole sentence then.
_TELLING_WORDS = 3
_GOOD_SUPPORT = 0.5


class Resolved(NamedTuple):
    """An answer's clean text, the citations its marks lead to, and the marks removed.

    A source has a citation for each passage of it that bears out a statement, so that no marked statement is left
    with another one's quote; sources in order of first use, a source's passages in order of use.
    """

    text: str
    citations: tuple[Citation, ...]
    removed: int


def resolve(answer_text: str, sources: Sequence[Source]) -> Resolved:
    """Check every mark of the answer against the sources of its prompt.

    The text is the one `MarkStream` passes on for the same answer.
    """
    stream = MarkStream(sources)
    stream.push(answer_text)
    stream.finish()
    text, marks = stream.text, stream.marks
    by_number = {source.number: source for source in sources}
    finders = {number: QuoteFinder(by_number[number].text) for number in {mark.number for mark in marks}}
    found: dict[int, list[Quote]] = {}
    for mark, candidates in zip(marks, _statements(text, marks), strict=True):
        quotes = found.setdefault(mark.number, [])
        quote = _best_quote(candidates, finders[mark.number])
        if quote is not None:
            quotes.append(quote)
    citations: list[Citation] = []
    for number, quotes in found.items():
        telling: list[Quote | None] = [*_telling(quotes)]
        citations += [_citation(by_number[number], quote) for quote in telling or [None]]
    return Resolved(text, tuple(citations), stream.removed)


def place_at(anchors: Sequence[Anchor], offset: int) -> tuple[int | None, str | None]:
    """Return the page and heading that hold at the character `offset` of a text unit."""
    place: Anchor | None = None
    for anchor in sorted(anchors, key=lambda a: a.offset):
        if place is None or anchor.offset <= offset:
            place = anchor
    return (None, None) if place is None else (place.page, place.heading)


def _citation(source: Source, quote: Quote | None) -> Citation:
    start, end = (quote.start, quote.end) if quote is not None else (0, 0)
    page, heading = place_at(source.anchors, start)
    return Citation(
        number=source.number,
        document_id=source.document_id,
        document_name=source.document_name,
        text_unit_id=source.text_unit_id,
        page=page,
        heading=heading,
        quote=source.text[start:end],
    )


def _telling(quotes: Sequence[Quote]) -> list[Quote]:
    """Return one source's quotes without those that lie in another, and without weak ones beside a better one."""
    best = max((quote.support for quote in quotes), default=0.0)
    kept: list[Quote] = []
    for quote in quotes:
        if quote.support < min(best, _GOOD_SUPPORT) or any(_within(quote, other) for other in kept):
            continue
        kept = [other for other in kept if not _within(other, quote)]
        kept.append(quote)
    return kept


def _within(inner: Quote, outer: Quote) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _best_quote(statements: Sequence[str], finder: QuoteFinder) -> Quote | None:
    # Word for word in the source, the longest of them is what the mark stands for.
    for statement in sorted(statements, key=len, reverse=True):
        if (exact := finder.exact(statement)) is not None:
            return exact
    best: Quote | None = None
    for statement in statements:
        quote = finder.find(statement)
        if quote is not None and (best is None or quote.support > best.support):
            best = quote
        if best is not None and best.support >= _GOOD_SUPPORT:
            break
    return best


def _statements(text: str, marks: Sequence[Mark]) -> list[list[str]]:
    """For each mark what it may stand for, likeliest first: the last sentence before it, all text since the mark
    before, and the whole sentence it stands in."""
    # Marks become spaces, so that offsets stay and no number is taken for a word of the statement.
    blanked = list(text)
    for mark in marks:
        blanked[mark.offset : mark.end] = " " * (mark.end - mark.offset)
    plain = "".join(blanked)
    spans = sentences(plain)
    found: list[list[str]] = []
    for at, mark in enumerate(marks):
        previous = marks[at - 1] if at else None
        if previous is not None and not text[previous.end : mark.offset].strip():
            found.append(found[-1])
            continue
        since = previous.end if previous is not None else 0
        segment = plain[since : mark.offset]
        candidates = []
        ends = sentences(segment)
        if ends and len(words(segment[ends[-1][0] : ends[-1][1]])) >= _TELLING_WORDS:
            candidates.append(segment[ends[-1][0] : ends[-1][1]])
        candidates.append(_whole_sentence(plain, spans, mark.offset))
        if len(ends) > 1:
            candidates.append(segment.strip())
        found.append([candidate for candidate in candidates if candidate])
    return found


def _whole_sentence(plain: str, spans: Sequence[tuple[int, int]], offset: int) -> str:
    """The sentence around `offset`, or the one that ends before it (a mark may follow the full stop)."""
    around = [(start, end) for start, end in spans if start <= offset]
    return plain[around[-1][0] : around[-1][1]] if around else plain[spans[0][0] : spans[0][1]] if spans else ""
