"""What a question asks: its weighty terms, the names and numbers an answer must know, and the kind of answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from spacy.tokens import Doc

from fileintel.llm.embedded.language import STOP_WORDS, stem, word_set, words

AnswerKind = Literal[
    "person",
    "date",
    "number",
    "rate",
    "place",
    "path",
    "address",
    "command",
    "reason",
    "manner",
    "expansion",
    "definition",
    "thing",
]

_QUANTITIES = (
    "number|amount|percentage|share|price|cost|fee|population|height|length|weight|age|salary|budget|speed|port|size|"
    "capacity|depth|width|distance|temperature|duration|limit|minimum|maximum|rate|score|phone number|version"
)
_KINDS: tuple[tuple[AnswerKind, str], ...] = (
    (
        "address",
        r"\b(?:what|which)(?: is| are)?(?: the)?(?: [\w-]+){0,2} (?:address|e-?mail|mailing list|list|contact)\b|"
        r"\bwhom? (?:should|can|must|do|to)\b.{0,20}\b(?:contact|ask|write|mail|report|inform|tell)\b",
    ),
    ("person", r"\b(?:who|whom|whose|which (?:person|people|man|woman|author))\b"),
    (
        "date",
        r"^(?:(?:since|until|by|from) )?when(?! (?:should|can|must|may|to|do|does)\b)|\bhow (?:long ago|recently)\b|"
        r"\b(?:what|which) (?:year|date|day|month|century|decade|time)\b",
    ),
    ("rate", r"\bhow (?:often|frequently)\b"),
    ("number", r"\bhow (?:many|much|long|old|large|big|tall|high|far|fast|wide|deep|heavy|small)\b"),
    ("number", rf"\b(?:what|which)(?: is| was| are| were)?(?: the| an?)?(?: [\w-]+){{0,2}} (?:{_QUANTITIES})s?\b"),
    ("path", r"\b(?:what|which)(?: is| are)?(?: the)?(?: [\w-]+){0,2} (?:file|directory|folder|path|url|website)\b"),
    ("place", r"\b(?:where|(?:what|which) (?:city|country|town|place|location|street|region|harbour|island))\b"),
    (
        "command",
        r"\b(?:what|which)(?: is| are)?(?: the)?(?: [\w-]+){0,2} (?:command|tool|program|utility|option|package)\b",
    ),
    ("reason", r"\b(?:why|what (?:is|was) the (?:reason|cause)|what caused)\b"),
    ("manner", r"^how\b"),
    ("expansion", r"\bstands? for\b|\babbreviat|\bacronym\b"),
    (
        "definition",
        r"^(?:what|which) (?:is|are|was|were) (?:an? |the )?[\w+./-]+(?: [\w+./-]+)?\??$|^define\b|\bmean\b",
    ),
)
# Words that say of which kind the answer is, or only that something is asked; an answer need not repeat them.
_EMPTY_WORDS = frozenset(
    stem(word)
    for word in word_set(
        "file command option package tool name number year city country company organization person program "
        "utility place date day amount kind type purpose reason word term title parameter directory folder value way "
        "abbreviated abbreviation acronym short responsible mean stand call use role do does happen tell give need "
        "exist exact exactly contain consist known become come"
    )
)


VERB_CLAIM = 0.45


@dataclass(frozen=True, slots=True)
class Term:
    """A content word of the question.

    `weight` (0-1) is its part in finding the sentence: rare words find best. `claim` (0-1) is its part in deciding
    whether the sentence answers: "price" is a common word, and a sentence without a price does not answer. A verb
    claims less, unless a person or a date is asked for: texts say "reach" or "display" in other words far more often
    than they do a thing, but who invented something is not who sold it.
    """

    stem: str
    word: str
    weight: float
    claim: float


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the answer stage works on it.

    `asked` is the stem of the kind of thing that is asked for ("which text editor": editor), or "". `required` are
    names and numbers that the sources must have; `numbered` are names with a number ("Annex 4"): they must have the
    two together.
    """

    text: str
    kind: AnswerKind
    asked: str
    terms: tuple[Term, ...]
    required: tuple[str, ...]
    numbered: tuple[tuple[str, str], ...]

    @property
    def stems(self) -> frozenset[str]:
        """The stems of the question's content words."""
        return frozenset(term.stem for term in self.terms)

    @property
    def statement(self) -> str:
        """The question less its question words: closer in form to a sentence that answers it."""
        return re.sub(
            r"(?i)^(?:what|which|who|whom|whose|when|where|why|how)\b"
            r"(?:\s+(?:is|are|was|were|do|does|did|can|could|should|would|will|has|have|many|much|often|long|old)\b)*"
            r"(?:\s+(?:the|an?|you|i|one)\b)?\s*",
            "",
            self.text.strip().rstrip("?").strip(),
        )


def understand(text: str, doc: Doc, rarity: Callable[[str], float]) -> Question:
    """Read a question; `doc` is spaCy's reading of it, `rarity` says how rare a word is (0-1)."""
    lower = " ".join(text.lower().split())
    kind: AnswerKind = next((name for name, pattern in _KINDS if re.search(pattern, lower)), "thing")
    deed = kind in ("person", "date")
    verbs = {token.text.lower() for token in doc if token.tag_.startswith("VB") and not deed}
    found: dict[str, Term] = {}
    for word in words(text):
        if word.lower() in STOP_WORDS or (len(word) == 1 and not word.isdigit()):
            continue
        key = stem(word)
        rare = rarity(word)
        empty = 0.3 if key in _EMPTY_WORDS else 1.0
        claim = empty * (0.5 + 0.5 * rare) * (VERB_CLAIM if word.lower() in verbs else 1.0)
        found.setdefault(key, Term(key, word, max(0.05, empty * rare**2), claim))
    numbered = tuple(re.findall(r"\b([A-Z]\w*)[ -](\d+(?:\.\d+)*)\b", text))
    return Question(text.strip(), kind, _asked(doc), tuple(found.values()), _required(text, doc), numbered)


def _asked(doc: Doc) -> str:
    """Return the stem of the noun that "what" or "which" asks for, as the tagger sees it."""
    tokens = list(doc)
    at = next((n for n, token in enumerate(tokens) if token.lower_ in ("what", "which")), len(tokens))
    noun = ""
    for token in tokens[at + 1 :]:
        if not token.tag_.startswith(("NN", "JJ", "VBG", "VBN", "HYPH")):
            break
        if token.tag_.startswith("NN"):
            noun = token.text
    return stem(noun) if noun else ""


def _required(text: str, doc: Doc) -> tuple[str, ...]:
    """Return the stems of the names and numbers in a question; its first word counts only where it is written oddly."""
    needed: dict[str, None] = {}
    for number, word in enumerate(words(text)):
        if word.lower() in STOP_WORDS or (len(word) == 1 and not word.isdigit()):
            continue
        written_as_name = (word[:1].isupper() and number > 0) or any(c.isupper() for c in word[1:])
        if written_as_name or any(c.isdigit() for c in word):
            needed[stem(word)] = None
    for token in doc:
        # A question typed in lower case: the tagger still knows most names.
        if token.ent_type_ in ("PERSON", "GPE") and token.is_alpha and token.text.lower() not in STOP_WORDS:
            needed[stem(token.text)] = None
    return tuple(needed)
