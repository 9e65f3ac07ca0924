"""Sentences of a text as spans, by rules that hold for most languages written with full stops.

Own rules: the venv has no light, well-kept library for it (NLTK's data is a download, spaCy costs 44 ms a unit).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fileintel.documents.text import named

_END = re.compile(
    r"(?P<stop>[.!?…]+)(?P<close>[\"'”’»)\]]*)(?=\s)|(?P<wide>[。！？｡]+[”’」』）]*)(?=\S)|\n",
)
_ITEM_NUMBER = re.compile(r"(?:[A-Z]\.)?\d+(?:\.\d+)*")
_WORD_BEFORE = re.compile(r"[\w.&'’-]+$")
_ABBREVIATIONS = named(
    "mr mrs ms dr prof rev hon sr jr st messrs mme mlle gen col maj capt lt sgt adm gov sen rep pres supt "
    "e.g i.e cf viz vs etc al ca approx resp incl excl est fig figs eq eqs no nos nr vol vols ch chap sec sect "
    "art arts pp p para paras ed eds trans op cit ibid inc ltd co corp bros dept univ assn tel fax ext "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun "
    "a.m p.m u.s u.k u.n e.u ph.d m.d b.a m.a d.c v.s z.b d.h u.a bzw usw ggf evtl bspw vgl hrsg s.o s.u str "
    "abs nr bd mio mrd p.ex env éd cie"
)
# These end a sentence as often as not: a capital after them decides.
_OFTEN_LAST = named("etc al inc ltd co corp bros a.m p.m u.s u.k u.n e.u ph.d m.d usw jr sr d.c")
_NEVER_LAST = named(
    "mr mrs ms dr prof rev hon messrs mme mlle gen col capt lt sgt st fig figs eq no nos vol e.g i.e cf"
)
_STARTS_SENTENCE = re.compile(
    r"[\"'“‘«(\[¿¡]*(?:The|This|That|These|Those|It|He|She|They|We|I|You|In|On|At|For|But|And|A|An|As|If|When|"
    r"There|However|Der|Die|Das|Es|Le|La|Les|Il|Elle)\b"
)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence in order; a line's end ends one, blanks between belong to none."""
    start = 0
    for found in _END.finditer(text):
        if found.group() == "\n":
            end = found.start()
        elif found.group("wide") or _ends(text, start, found):
            end = found.end()
        else:
            continue
        yield from _trimmed(text, start, end)
        start = found.end()
    yield from _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def _ends(text: str, start: int, found: re.Match[str]) -> bool:
    """Whether the stop ends the sentence that began at `start`."""
    following = text[found.end() : found.end() + 40].lstrip()
    first = following.lstrip("\"'“‘«([¿¡–—- ")[:1]
    if first.islower():
        return False  # "e.g. this", "he asked? she said", "v2.1. of"
    stop = found.group("stop")
    if stop != ".":
        return True
    word = _WORD_BEFORE.search(text, max(start, found.start() - 40), found.start())
    before = "" if word is None else word.group().lstrip("'’-&.")
    lower = before.casefold()
    if text[start : found.start()].strip("([ -–•") == before and (len(before) == 1 or _ITEM_NUMBER.fullmatch(before)):
        return False  # "1. First", "a. First": the number of an item is no sentence
    if found.group("close"):
        return True
    if len(before) == 1 and before.isalpha() and before.isupper():
        return bool(_STARTS_SENTENCE.match(following)) and before not in "JRWEFGHMDST"  # "J. Smith", "vitamin C. The"
    if lower in _ABBREVIATIONS:
        if lower in _NEVER_LAST:
            return False
        return lower in _OFTEN_LAST and bool(_STARTS_SENTENCE.match(following))
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", before):  # "U.S.A", "z.B"
        return bool(_STARTS_SENTENCE.match(following))
    return True
