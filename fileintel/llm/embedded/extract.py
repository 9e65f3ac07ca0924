"""Entities and relationships of a text unit, read off its grammar: names, recurring noun phrases, co-occurrence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from spacy.tokens import Doc, Span

from fileintel.llm.embedded.language import STOP_WORDS, Reader, Sentence, sentences, shorten, tidy, word_set

MAX_ENTITIES = 15
MAX_RELATIONSHIPS = 25
_MAX_SEEN_ONCE = 4  # noun phrases that neither recur nor stand in a heading
_MAX_SENTENCE = 320  # characters of a sentence kept as a description
_MAX_PARAGRAPHS = 400

# spaCy's label -> the GraphRAG types it may become, best first; the first one asked for is taken.
_TYPES = {
    "ORG": ("organization", "organisation", "company"),
    "PERSON": ("person", "people"),
    "GPE": ("geo", "location", "place"),
    "LOC": ("geo", "location", "place"),
    "FAC": ("geo", "facility", "location", "place"),
    "EVENT": ("event",),
    "PRODUCT": ("product", "technology", "concept"),
    "WORK_OF_ART": ("work", "concept"),
    "LAW": ("law", "concept"),
    "TRADE": ("concept",),
}
_LEADING = re.compile(
    r"^(?:(?:the|a|an|this|that|these|those|its|his|her|their|our|your|my|each|every|any|some|all|both|no|another|"
    r"such|other|same|several|many|few|most|more|less|only|own|dr|mr|mrs|ms|miss|prof|professor|sir|captain|capt|judge|"
    r"councillor|inspector|sergeant)\b\.?\s+)+",
    re.IGNORECASE,
)
_TRADE_WORD = re.compile(r"^[a-z][a-z0-9]*(?:[-+][a-z0-9+]+)*$")
_EMPTY_ADJECTIVE = re.compile(
    r"^(?:(?:new|old|available|different|various|following|main|current|certain|possible|good|great|big|small|large|"
    r"first|second|third|last|next|previous|simple|specific|particular|single|whole|entire|additional|usual|normal|"
    r"real|right|wrong|own|full|complete|given|common|important|useful|necessary|appropriate|existing|corresponding|"
    r"likely|recent|further|special|typical|partial|separate|early|late|long|short|wide|huge|likewise)\s+)+(?=\S)"
)
_CODE = re.compile(r"[=<>{}()\[\]\"“”\\$|*#@^~`]|--|://|\(\)|^[./]|\s[-+]\w|[;:,]$")
_FURNITURE = re.compile(
    r"^(?:page|chapter|section|figure|fig|table|appendix|part|volume|step|note|tip|warning|caution|next|prev|previous|"
    r"home|index|contents|example|version|isbn|copyright)s?\b[\s\d.:ivxIVX-]*$",
    re.IGNORECASE,
)
_VAGUE = word_set(
    "thing way example case number lot part following kind type sort set list time day week month year point fact use "
    "reason result place people person one two three first second last end start line word name item value detail "
    "information section chapter document page anyone someone everyone something anything everything nothing "
    "other rest bit need problem question answer change work role issue choice option step order form purpose level "
    "user default note addition instance situation possibility content course matter area amount piece range "
    "author reader manual guide book text paragraph variety moment hand side ship ships man woman"
)
# The last word of a name often says what it names, more surely than a small model does ("Gannet Wharf").
_CUES: tuple[tuple[str, frozenset[str]], ...] = (
    ("ORG", word_set(
        "authority council company ltd limited inc corporation corp university institute ministry committee agency "
        "department foundation association society office bureau bank union group commission museum school college "
        "hospital trust club board court police laboratory laboratories consortium cooperative co-operative gmbh "
        "ab llc shipyard shipyards brewery partners works line lines freight shipping insurance surveyors service "
        "services recycling exchange party parliament team network orchestra courier herald gazette tribune chronicle"
    )),
    ("FAC", word_set(
        "pier bridge street road harbour harbor port airport station dock docks quay tower square hall lighthouse "
        "terminal dam canal tunnel castle church cathedral park warehouse breakwater wharf mole avenue lane house "
        "building tower mill farm gardens"
    )),
    ("LOC", word_set(
        "island islands river lake bay sea ocean mountain mountains valley coast peninsula strait fjord cape hill "
        "hills point shore creek beach forest heights county province city town village"
    )),
    ("EVENT", word_set(
        "fire flood war battle festival conference strike storm summit election revolution earthquake accident "
        "disaster treaty exhibition fair games olympics congress regatta collision inquiry hearing ceremony meeting"
    )),
)  # fmt: skip
# ... and so does the first of some: "Warehouse Nine", "Port Merrin", "Lake Geneva".
_FIRST_CUES = {
    **dict.fromkeys(word_set("warehouse pier dock building hall terminal fort castle platform"), "FAC"),
    **dict.fromkeys(word_set("port lake mount cape isle"), "LOC"),
}
# One such word alone ("the Inquiry", "the Company") names nothing by itself.
_GENERIC = frozenset().union(*(cues for _, cues in _CUES)) | frozenset(_FIRST_CUES)
_CLOCK = re.compile(r"^(?:\d{1,2}[:.]\d\d(?:[:.]\d\d)?|\d+[.)]?)\s+")
_COLUMN = re.compile(r"^[\w ]{1,20}:\s+(?=\S)")  # a table's column before the cell: "Organisation: Tolland University"
_DANGLING = re.compile(r"\s+(?:of|and|the|in|at|for|de|von|&)$")
_SERIAL = re.compile(r"[A-Z]{2,} (?!(?:19|20)\d\d$)\d{3,}")  # and no year of a headline
_PLACE_BEFORE = word_set("in at near from")
_NAMES_ENOUGH = 4  # so many names in a unit make its single common nouns superfluous
_MAX_TERMS = 5  # terms beside so many names


@dataclass(slots=True)
class _Found:
    """A thing the text names: how often, where, and under which spellings and labels."""

    labels: Counter[str] = field(default_factory=Counter)
    spellings: Counter[str] = field(default_factory=Counter)
    places: list[tuple[int, int]] = field(default_factory=list)  # (sentence, token)
    placed: int = 0  # how often after "in", "at", "near" or "from"
    in_heading: bool = False
    proper: bool = False

    @property
    def count(self) -> int:
        return len(self.places)


def extract_graph(reader: Reader, text: str, entity_types: Sequence[str], rarity: Callable[[str], float]) -> str:
    """Return the unit's graph as GraphRAG's tuple records, at most 15 entities and 25 relationships.

    Names are of the types asked for. Beside them stand terms, of the type CONCEPT whether asked for or not: without
    them a manual, which names hardly anyone, would have no graph. In a unit with names enough, only terms of two
    words and more and at most five. `rarity` says how rare a word is (0-1): a word of no vocabulary that recurs is a
    term of the text's trade.
    """
    parts = [part for part in sentences(text) if re.search(r"[A-Za-zÀ-ɏ]{2}", part.text)][:_MAX_PARAGRAPHS]
    docs = reader.read([part.text for part in parts])
    found = _collect(parts, docs, rarity)
    asked = [name.strip().lower() for name in entity_types if name.strip()]
    chosen = _choose(found, asked)
    types = {key: kind for key, kind in chosen}
    names = {key: _spelling(found[key]) for key in types}
    shown = [shorten(tidy(part.text), _MAX_SENTENCE) for part in parts]
    records = [
        _record("entity", names[key], kind.upper(), _description(found[key], parts, docs, shown))
        for key, kind in chosen
    ]
    for strength, source, target, sentence in _relationships({key: found[key] for key in types}, parts):
        records.append(_record("relationship", names[source], names[target], shown[sentence], str(strength)))
    return "\n##\n".join([*records, "<|COMPLETE|>"]) if records else "<|COMPLETE|>"


def _record(kind: str, *fields: str) -> str:
    return f'("{kind}"<|>' + "<|>".join(fields) + ")"


def _collect(parts: Sequence[Sentence], docs: Sequence[Doc], rarity: Callable[[str], float]) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for number, (part, doc) in enumerate(zip(parts, docs, strict=True)):
        taken: set[int] = set()
        for span, label in _numbered(doc):
            if _note(found, span, label, number, part):
                taken.update(range(span.start, span.end))
        for span in doc.ents:
            if (
                span.label_ in _TYPES
                and taken.isdisjoint(range(span.start, span.end))
                and _note(found, span, span.label_, number, part)
            ):
                taken.update(range(span.start, span.end))
        for chunk in doc.noun_chunks:
            for piece in _pieces(chunk, taken):
                if _note(found, piece, "", number, part) and len(piece) == 1:
                    taken.add(piece.start)
        for token in doc:
            # Names of programs and the like: the parser often takes them for verbs, so they head no noun phrase.
            if token.i not in taken and _TRADE_WORD.match(token.text) and rarity(token.text) == 1.0:
                _note(found, doc[token.i : token.i + 1], "TRADE", number, part)
    _join_short_names(found)
    return found


def _numbered(doc: Doc) -> Iterator[tuple[Span, str]]:
    """Yield names made with a number, which the small model takes apart: "Warehouse Nine", "MRNU 480217"."""
    for word, number in pairwise(doc):
        span = doc[word.i : number.i + 1]
        if _SERIAL.fullmatch(span.text):
            yield span, "PRODUCT"
        elif (
            word.text[:1].isupper() and word.lower_ in _FIRST_CUES and (number.like_num or number.ent_type_ in _NUMERIC)
        ):
            yield span, _FIRST_CUES[word.lower_]


def _pieces(chunk: Span, taken: set[int]) -> list[Span]:
    """Cut a noun phrase at possessives and at the names already found in it: "Vessby's northern pier"."""
    pieces: list[Span] = []
    start = chunk.start
    for index in range(chunk.start, chunk.end + 1):
        if index == chunk.end or index in taken or chunk.doc[index].tag_ == "POS":
            if index > start:
                pieces.append(chunk.doc[start:index])
            start = index + 1
    # What stands before a name only qualifies it ("chief engineer Olaf Brandt"): kept where it has two words.
    return [piece for piece in pieces if len(piece) > 1 or len(pieces) == 1 and piece.end == chunk.end]


def _note(found: dict[str, _Found], span: Span, label: str, sentence: int, part: Sentence) -> bool:
    following = span.doc[span.end].text if span.end < len(span.doc) else ""
    if following == ":" and label != "PERSON" and len(span) <= 2 and not part.is_heading:
        return False  # a table's column, or what a list is headed by
    name = _normal_name(span, named=bool(label))
    if name is None:
        return False
    thing = found.setdefault(name.casefold(), _Found())
    if label and name.islower() and " " not in name:
        label = "TRADE"  # the small model takes the names of programs for people
    kind = _cue(name) if label or any(token.pos_ == "PROPN" for token in span) else ""
    if kind or label:
        thing.labels[kind or label] += 1
    thing.placed += bool(span.start) and span.doc[span.start - 1].lower_ in _PLACE_BEFORE
    thing.spellings[name] += 1
    thing.places.append((sentence, span.start))
    thing.in_heading = thing.in_heading or part.is_heading
    thing.proper = thing.proper or any(token.pos_ == "PROPN" for token in span)
    return True


def _cue(name: str) -> str:
    """Return the label that a capitalised name's last word (or the word before "of") calls for, or nothing."""
    head = re.split(r"\s+of\s+", name)[0].split()
    if len(name.split()) < 2 or not head or not head[-1][:1].isupper():
        return ""
    last = next((label for label, cues in _CUES if head[-1].lower() in cues), "")
    return last or (_FIRST_CUES.get(head[0].lower(), "") if head[0][:1].isupper() and len(head) == 2 else "")


def _normal_name(span: Span, *, named: bool) -> str | None:
    """Return the thing's name without article, title, possessive and plural, or None where it is no name at all."""
    text = re.sub(r"\s+", " ", span.text).strip(" \"'“”‘’.,;:!?()[]-–—•")
    text = _COLUMN.sub("", _CLOCK.sub("", text)).split(": ")[0]
    text = re.sub(r"['’]s?$", "", _DANGLING.sub("", text))
    text = _LEADING.sub("", text + " ").strip()
    text = text if named else _EMPTY_ADJECTIVE.sub("", text)
    if not 2 < len(text) <= 60 or _CODE.search(text) or _FURNITURE.match(text) or "<|" in text or "##" in text:
        return None
    parts = text.split()
    if len(parts) > (6 if named else 4) or not any(re.search(r"[A-Za-zÀ-ɏ]{2}", word) for word in parts):
        return None
    numeric = sum(c.isdigit() for c in text) * 2 >= len(text)
    if (numeric and not _SERIAL.fullmatch(text)) or parts[0].lower() in STOP_WORDS:
        return None
    last = span[-1]
    if not named:
        if last.pos_ not in ("NOUN", "PROPN") or any(token.ent_type_ in _NUMERIC for token in span):
            return None
        if last.tag_ == "NNS" and last.text.lower().endswith("s"):
            parts[-1] = last.lemma_ if last.lemma_ and text.endswith(last.text) else parts[-1]
        if len(parts) == 1 and (parts[0].lower() in STOP_WORDS or parts[0].lower() in _VAGUE or len(parts[0]) < 3):
            return None
        if parts[-1].lower() in _VAGUE and len(parts) < 3:
            return None
    elif len(parts) == 1:
        plain = parts[0].islower() and (last.pos_ in _NO_NAMES or last.lemma_ != last.text)
        if plain or parts[0].lower() in STOP_WORDS | _VAGUE:
            return None
    if len(parts) == 1 and parts[0].lower() in _GENERIC and (named or parts[0][:1].isupper()):
        return None
    return " ".join(parts)


_NO_NAMES = frozenset(("ADV", "ADP", "PRON", "DET", "AUX", "CCONJ", "SCONJ", "INTJ", "NUM"))
_NUMERIC = frozenset(("DATE", "TIME", "CARDINAL", "ORDINAL", "PERCENT", "MONEY", "QUANTITY"))


def _join_short_names(found: dict[str, _Found]) -> None:
    """Count "Lindqvist" as "Marta Lindqvist" and "harbour authority" as that of Vessby, each where only one fits."""
    people = [key for key, thing in found.items() if thing.labels["PERSON"] and " " in key]
    for key in [key for key, thing in found.items() if thing.labels or thing.proper or " " in key]:
        if " " not in key:
            full = [person for person in people if key in (person.split()[-1], person.split()[0])]
            label = "PERSON"
        else:
            full = [other for other in found if other.startswith(f"{key} of ") and found[other].labels]
            label = max(found[full[0]].labels, key=lambda name: (found[full[0]].labels[name], name)) if full else ""
        if len(full) == 1 and full[0] != key and key in found:
            short = found.pop(key)
            found[full[0]].labels.update({label: short.count})
            found[full[0]].places = sorted({*found[full[0]].places, *short.places})


def _choose(found: dict[str, _Found], asked: Sequence[str]) -> list[tuple[str, str]]:
    """Return (key, type) of the entities worth keeping, the weightiest first."""
    ranked: list[tuple[float, int, str, str, bool]] = []
    names = sum(any(_TYPES[label][0] in asked for label in thing.labels) for thing in found.values())
    for order, (key, thing) in enumerate(found.items()):
        label = max(thing.labels, key=lambda name: (name != "TRADE", thing.labels[name], name), default="")
        if label == "ORG" and " " not in key and 2 * thing.placed > thing.count:
            label = "GPE"  # "in Osterby", "from Osterby": the small model takes towns it never saw for firms
        kind = next((name for name in _TYPES[label] if name in asked), None) if label else "concept"
        if label and kind is None:
            if _TYPES[label][-1] != "concept":
                continue  # a kind of name that was not asked for
            kind = "concept"
        assert kind is not None
        several_words = " " in key
        if kind == "concept" and names >= _NAMES_ENOUGH and not several_words and label != "TRADE":
            continue
        recurs = thing.count > (1 if several_words or thing.proper or label else 2)
        once = kind == "concept" and not recurs and not thing.in_heading and not thing.proper
        if once and not several_words:
            continue
        if label == "TRADE" and not recurs and thing.count < 2 and not thing.in_heading:
            continue
        weight = min(thing.count, 5) + 3.0 * (kind != "concept") + 1.5 * thing.in_heading + thing.proper
        weight += 0.5 * several_words - 1.0 * once
        ranked.append((-weight, order, key, kind, once))
    chosen: list[tuple[str, str]] = []
    seen_once = terms_chosen = 0
    most_terms = _MAX_TERMS if names >= _NAMES_ENOUGH else MAX_ENTITIES
    for _, _, key, kind, once in sorted(ranked):
        seen_once += once
        terms_chosen += kind == "concept"
        too_many = (once and seen_once > _MAX_SEEN_ONCE) or (kind == "concept" and terms_chosen > most_terms)
        if len(chosen) < MAX_ENTITIES and not too_many:
            chosen.append((key, kind))
    return chosen


def _spelling(thing: _Found) -> str:
    return max(thing.spellings, key=lambda name: (thing.spellings[name], len(name), name))


def _description(thing: _Found, parts: Sequence[Sentence], docs: Sequence[Doc], shown: Sequence[str]) -> str:
    """Return the sentence that says most about the thing, and a second one if both are short."""
    ranked: list[tuple[float, int]] = []
    for sentence, token in dict(reversed(thing.places)).items():
        doc = docs[sentence]
        length = len(doc)
        is_subject = any(t.dep_ in ("nsubj", "nsubjpass") and abs(t.i - token) <= 4 for t in doc)
        weight = 2.0 * is_subject + 1.5 * (6 <= length <= 45) - 3.0 * parts[sentence].is_heading - token / 40
        weight += 0.5 * any(t.lemma_ == "be" for t in doc[token : token + 8]) - 1.0 * doc[0].text.startswith("|")
        ranked.append((-weight, sentence))
    ranked.sort()
    best = sorted(sentence for _, sentence in ranked[:2])
    whole = all(shown[number][-1:] in '.!?"”' for number in best)  # two lines without a full stop would run together
    if len(best) == 2 and whole and sum(len(shown[number]) for number in best) <= _MAX_SENTENCE:
        return " ".join(dict.fromkeys(shown[number] for number in best))
    return shown[ranked[0][1]]


def _relationships(found: dict[str, _Found], parts: Sequence[Sentence]) -> list[tuple[int, str, str, int]]:
    """Return (strength 1-10, source, target, sentence) of things named together, the strongest first."""
    order = {key: number for number, key in enumerate(found)}
    by_sentence: dict[int, list[tuple[int, str]]] = {}
    for key, thing in found.items():
        for sentence, token in thing.places:
            by_sentence.setdefault(sentence, []).append((token, key))
    together: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for sentence, places in sorted(by_sentence.items()):
        places.sort()
        for (first_at, first), (second_at, second) in combinations(places, 2):
            # In an enumeration everything would be related to everything: only near ones are.
            if first != second and (len(places) <= 6 or second_at - first_at <= 12):
                pair = (first, second) if order[first] < order[second] else (second, first)
                together.setdefault(pair, []).append((second_at - first_at, sentence))
    linked = {key for pair in together for key in pair}
    for key in found:
        if key not in linked:
            _link_to_neighbour(key, found, together)
    ranked: list[tuple[int, int, str, str, int]] = []
    for number, ((source, target), meetings) in enumerate(together.items()):
        closest, sentence = min(meetings, key=lambda meeting: (parts[meeting[1]].is_heading, meeting))
        count = len({place for _, place in meetings})
        near = 3 if closest <= 4 else 2 if closest <= 10 else 1 if closest <= 25 else 0
        strength = 1 if closest >= 1000 else min(10, 1 + 2 * count + near)
        ranked.append((-strength, number, source, target, sentence))
    return [(-weight, source, target, at) for weight, _, source, target, at in sorted(ranked)[:MAX_RELATIONSHIPS]]


def _link_to_neighbour(
    key: str, found: dict[str, _Found], together: dict[tuple[str, str], list[tuple[int, int]]]
) -> None:
    """Tie a thing that shares no sentence with another to the nearest thing of the sentences beside its own."""
    here = found[key].places[0][0]
    near = [
        (abs(sentence - here), order, other, sentence)
        for order, (other, thing) in enumerate(found.items())
        if other != key
        for sentence, _ in thing.places
        if 0 < abs(sentence - here) <= 2
    ]
    if near:
        other = min(near)[2]
        pair = (key, other) if list(found).index(key) < list(found).index(other) else (other, key)
        together.setdefault(pair, []).append((1000, here))
