"""Reading the records of an extraction: GraphRAG's tuples as its GraphExtractor reads them, and what models make of
them: other delimiters and brackets, lists, tables, fences, JSON, repetition, cut ends. What cannot be read is counted.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import json_repair

from fileintel.graph.answers import MOST_CHARACTERS, spoken, without_repetition
from fileintel.model import EntityMention, Extraction, RelationshipMention

END = "<|COMPLETE|>"
# No name is longer: a longer one is a record that lost its delimiters, and no index could hold it.
LONGEST_TITLE = 500
# Far above the scales that models use (10, 100), far below where sums of strengths leave what a float holds.
HIGHEST_STRENGTH = 1_000_000.0
# A record said more often than this is said by a model that cannot stop; GraphRAG counts each time.
_MOST_REPEATS = 5
# Mending takes half a millisecond each.
_MOST_MENDED, _LONGEST_MENDED = 20, 4000

_HEADS = ('"entity"', '"relationship"')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*$", re.MULTILINE)
_QUOTE = r"[\"'“”„«»‘’`*_]"
# A record's head: at the start of a line, behind a bullet or a number; inside one only bracketed, and quoted or
# followed by a delimiter that no sentence holds.
_HEAD = re.compile(
    rf"""(?: ^[ \t>|]*+(?:[-*•+#]++|\d++[.)])?+[ \t]*+(?P<bracket>[(\[<]?+)[ \t]*+{_QUOTE}{{0,4}}+[ ]?
           | [(\[][ \t]*+{_QUOTE}{{1,4}}+[ ]?
           | [(\[{{][ ]?{_QUOTE}{{0,4}}+(?=\w+{_QUOTE}{{0,4}}[ ]?[<|]) )
         (?P<kind>entity|relationship|relation)[ ]?{_QUOTE}{{0,4}}[ ]{{0,4}}
         (?P<delimiter><[ ]?\|{{0,4}}[ ]?>?|\|{{1,4}}[ ]?>?|\t|,|;|:)""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
# Bounded, so that no run of one character takes time beyond its length.
_CLOSED = re.compile(r"[)\]}][ \t*_`,.;\])}]{0,8}(?:\n|\Z)")
_ANGLE = re.compile(r"<[ \t]?\|{1,4}[ \t]?>|<\|{1,4}|\|{1,4}>|<>")
_ANGLE_OR_PIPE = re.compile(rf"{_ANGLE.pattern}|\|{{1,4}}")
_TAB = re.compile(r"\t+")
_QUOTED = re.compile(
    r"""\s*(?:"((?:[^"\\]|\\.)*)"|[“„]([^”“]*)[”“]|«([^»]*)»|'((?:[^'\\]|\\.)*)'|([^,;]*))\s*(?:[,;]|\Z)"""
)
_OBJECT = re.compile(r"\{[^{}]+\}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_AROUND_TITLE = ' \t\r\n"“”„«»‘’`*_<>'
_NAME_KEYS = ("entity_name", "name", "title", "entity")
_SOURCE_KEYS = ("source_entity", "source", "from", "subject")
_TARGET_KEYS = ("target_entity", "target", "to", "object")
_STRENGTH_KEYS = ("relationship_strength", "strength", "weight", "score")


def read_records(answer: str, *, cut_off: bool = False) -> Extraction:
    """Read one answer's records; `cut_off` says that the server ended it at its length.

    Whatever GraphRAG reads is read as GraphRAG reads it, except that the end mark and fences are no part of the records
    beside them. A fragment that was meant as a record and cannot be read, and the place where an answer was cut off,
    count as `unreadable`. Of a record that a model says over and over, one is kept.
    """
    reader = _Reader()
    if cut_off and END not in answer:
        reader.unreadable += 1
    if len(answer) > MOST_CHARACTERS:
        answer = answer[:MOST_CHARACTERS]
        reader.unreadable += not cut_off
    text = without_repetition(spoken(answer))
    pieces = [stripped for piece in text.replace(END, "##").split("##") if (stripped := piece.strip())]
    if len(pieces) - len(set(pieces)) >= _MOST_REPEATS and Counter(pieces).most_common(1)[0][1] > _MOST_REPEATS:
        pieces = list(dict.fromkeys(pieces))
    if len(pieces) > 1 and "{" in text and "<|>" not in text:
        pieces = [text.replace(END, "\n")]  # "##" may stand inside a JSON string
    broken = False
    for piece in pieces:
        if not reader.take(piece):
            broken = True
            reader.take_broken(piece)
    return reader.found(broken)


class _Reader:
    """Collects what was read, in order, and how much could not be."""

    def __init__(self) -> None:
        self._entities: list[EntityMention] = []
        self._relationships: list[RelationshipMention] = []
        self.unreadable = 0
        self._mended = 0

    def found(self, broken: bool) -> Extraction:
        entities, relationships = tuple(self._entities), tuple(self._relationships)
        if broken and max(Counter((*entities, *relationships)).values(), default=0) > _MOST_REPEATS:
            entities, relationships = tuple(dict.fromkeys(entities)), tuple(dict.fromkeys(relationships))
        return Extraction(entities, relationships, self.unreadable)

    def take(self, piece: str) -> bool:
        """Take a record that is as GraphRAG reads it; False if the piece is none."""
        if piece[0] == "(":
            if piece[-1] != ")":
                return False
            kind, *fields = piece[1:-1].split("<|>")
        else:
            kind, *fields = piece.removesuffix(")").split("<|>")
        if len(fields) < 3 or kind not in _HEADS or "```" in piece:
            return False
        if '"' in piece[len(kind) + 1 :] and any(field.endswith(_HEADS) for field in fields):
            return False
        if kind == '"entity"':
            self._entity(_clean(fields[0].upper()), _clean(fields[1].upper()), _clean(fields[2]))
        elif len(fields) >= 4:
            source, target = _clean(fields[0].upper()), _clean(fields[1].upper())
            self._relationship(source, target, _clean(fields[2]), _strength(fields[-1]))
        else:
            return False
        return True

    def take_broken(self, piece: str) -> None:
        """Take the records of a stretch that is not as GraphRAG wants it."""
        text = _FENCE.sub("", piece)
        if "{" in text:
            text = self._take_objects(text)
        heads = list(_HEAD.finditer(text))
        if _ANGLE.search(text, 0, heads[0].start() if heads else len(text)):
            self.unreadable += 1
        for head, following in itertools.zip_longest(heads, heads[1:]):
            end = len(text) if following is None else following.start()
            record, rest = _body(text[head.start() : end], head)
            is_entity = head["kind"].lower() == "entity"
            take = self._named if is_entity else self._related
            if not take(record, head["delimiter"]) or _ANGLE.search(rest):
                self.unreadable += 1

    def _named(self, record: str, delimiter: str) -> bool:
        for fields in _splits(record, delimiter, 3):
            return self._entity(_title(fields[0]), _title(fields[1]), _clean(_unquoted(fields[2])), broken=True)
        return False

    def _related(self, record: str, delimiter: str) -> bool:
        for fields in _splits(record, delimiter, 3):
            strength = fields[-1] if len(fields) > 3 else ""
            about = _clean(_unquoted(fields[2]))
            if len(fields) == 3 and _NUMBER.fullmatch(about):
                continue  # its description is missing
            return self._relationship(_title(fields[0]), _title(fields[1]), about, _loose_strength(strength), True)
        return False

    def _take_objects(self, text: str) -> str:
        """Take the JSON objects of a text and return what is left of it."""
        kept, last = [], 0
        for match in _OBJECT.finditer(text):
            value = self._object(match[0])
            if value is not None:
                kept.append(text[last : match.start()])
                last = match.end()
                self._take_object(value)
        rest = text[last:]
        if last and re.search(r"\{\s*\"", rest):
            # The last object was begun and not ended.
            self.unreadable += 1
            rest = rest[: rest.index("{")]
        return "".join(kept) + rest

    def _object(self, text: str) -> dict[str, Any] | None:
        if ":" not in text or "<|" in text:
            return None
        try:
            value = json.loads(text, strict=False)
        except ValueError:
            if len(text) > _LONGEST_MENDED or self._mended >= _MOST_MENDED:
                return {"too much to mend": text} if '"' in text else None
            self._mended += 1
            try:
                value = json_repair.loads(text)
            except (RecursionError, ValueError):
                return None
        if not isinstance(value, dict) or not value:
            return None
        return {re.sub(r"[\s-]+", "_", key.strip().lower()): one for key, one in value.items()}

    def _take_object(self, value: dict[str, Any]) -> None:
        if not any(value.values()):
            return  # empty lists say that there is nothing
        source, target, name = (_first(value, keys) for keys in (_SOURCE_KEYS, _TARGET_KEYS, _NAME_KEYS))
        about = _clean(_first(value, ("relationship_description", "entity_description", "description", "relationship")))
        if source and target:
            strength = _loose_strength(_first(value, _STRENGTH_KEYS))
            read = self._relationship(_title(source), _title(target), about, strength, True)
        else:
            kind = _first(value, ("entity_type", "type", "category", "label"))
            read = bool(name) and self._entity(_title(name), _title(kind), about, broken=True)
        self.unreadable += not read

    def _entity(self, title: str, kind: str, about: str, broken: bool = False) -> bool:
        if 0 < len(title) <= LONGEST_TITLE:
            self._entities.append(EntityMention(title, kind, about))
            return True
        # A broken record's reader counts it itself.
        self.unreadable += not broken
        return False

    def _relationship(self, source: str, target: str, about: str, weight: float, broken: bool = False) -> bool:
        if 0 < len(source) <= LONGEST_TITLE and 0 < len(target) <= LONGEST_TITLE:
            self._relationships.append(RelationshipMention(source, target, about, weight))
            return True
        self.unreadable += not broken
        return False


def _body(text: str, head: re.Match[str]) -> tuple[str, str]:
    """(fields of a record, what follows it), from the text between its head and the next one."""
    text = text[head.end() - head.start() :]
    bracketed = head["bracket"] is None or head["bracket"] != ""
    if bracketed:
        closed = _CLOSED.search(text)
        if closed is not None:
            return text[: closed.start()], text[closed.end() :]
        return text.rstrip(" \t\r\n*_`,"), ""
    # Without brackets a record ends with its paragraph, a table's row with its line.
    row = head[0].lstrip().startswith("|")
    record, _, rest = text.strip("\n").partition("\n" if row else "\n\n")
    return record.rstrip(" \t\r\n*_`,|").removesuffix(")"), rest


def _splits(record: str, delimiter: str, fewest: int) -> Iterator[list[str]]:
    """The fields of a record by each delimiter that yields enough of them, the likeliest first."""
    ways: list[Callable[[str], list[str]]] = [_ANGLE.split, _ANGLE_OR_PIPE.split, _TAB.split]
    if delimiter in (",", ";", ":"):
        ways += [_listed]
    for way in ways:
        fields = way(record)
        if len(fields) >= fewest:
            yield fields


def _listed(record: str) -> list[str]:
    """Fields between commas or semicolons, quoted or not; commas of an unquoted description belong to it."""
    fields: list[str] = []
    at, record = 0, record.strip()
    while at < len(record) and len(fields) < 8 and (match := _QUOTED.match(record, at)) is not None:
        if len(fields) == 2 and match[5] is not None:
            about, comma, last = record[at:].rpartition(",")
            numbered = bool(comma) and _NUMBER.fullmatch(last.strip(' \t"')) is not None
            return [*fields, about, last] if numbered else [*fields, record[at:]]
        fields.append(next((group for group in match.groups() if group is not None), ""))
        at = match.end()
    return fields


def _clean(text: str) -> str:
    """GraphRAG's `clean_str`: HTML escapes resolved, control characters removed."""
    text = html.unescape(text.strip())
    return text if text.isprintable() else _CONTROL.sub("", text)


def _title(text: str) -> str:
    return _clean(text.strip(_AROUND_TITLE).upper())


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] in "\"“„«'" and text[-1] in "\"”“»'":
        return text[1:-1]
    return text.strip("*` ")


def _first(value: dict[str, Any], keys: tuple[str, ...]) -> str:
    return next((str(value[key]) for key in keys if isinstance(value.get(key), str | int | float)), "")


def _strength(field: str) -> float:
    try:
        strength = float(field)
    except ValueError:
        return 1.0
    # "nan" and "inf" read as numbers too; neither they nor what is below 0 can be stored and clustered.
    return strength if 0.0 <= strength <= HIGHEST_STRENGTH else 1.0


def _loose_strength(field: str) -> float:
    number = _NUMBER.search(field)
    return 1.0 if number is None else _strength(number[0])
