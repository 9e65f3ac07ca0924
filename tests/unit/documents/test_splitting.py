from __future__ import annotations

import random

import pytest
from unit.documents.conftest import WordTokenizer

from fileintel.documents import sentences, split
from fileintel.model import ParsedDocument, Section, TextUnit


def document(*sections: Section) -> ParsedDocument:
    return ParsedDocument("text/plain", None, sections)


def prose(rng: random.Random, count: int, mark: str) -> str:
    parts = []
    for number in range(count):
        words = " ".join(rng.choice(("ship", "harbour", "grain", "Oslo", "wind", "3.5", "e.g. salt")) for _ in range(9))
        parts.append(f"The {words} {mark}{number}." + rng.choice((" ", " ", "\n\n")))
    return "".join(parts).strip()


def made(seed: int) -> ParsedDocument:
    rng = random.Random(seed)
    sections = []
    for top in range(4):
        for sub in range(3):
            heading = f"Top {top} > Sub {sub}"
            for page in range(2):
                text = prose(rng, rng.randrange(1, 25), f"mark{top}{sub}{page}x")
                first = f"Sub {sub}\n\n" if page == 0 else ""
                sections.append(Section(first + text, top * 6 + sub * 2 + page + 1, heading))
    return document(*sections)


def place_at(unit: TextUnit, offset: int) -> tuple[int | None, str | None]:
    anchor = [anchor for anchor in unit.anchors if anchor.offset <= offset][-1]
    return anchor.page, anchor.heading


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("max_tokens", "overlap"), [(60, 0), (120, 30), (300, 40)])
def test_every_sentence_is_there_whole_within_the_limit_and_at_its_place(
    tokenizer: WordTokenizer, seed: int, max_tokens: int, overlap: int
) -> None:
    parsed = made(seed)

    units = split(parsed, tokenizer=tokenizer, max_tokens=max_tokens, overlap=overlap)

    assert [unit.ordinal for unit in units] == list(range(len(units)))
    for unit in units:
        assert 0 < unit.n_tokens == tokenizer.count(unit.text) <= max_tokens
        assert unit.anchors[0].offset == 0
        assert unit.text == unit.text.strip()
        assert all(a.offset < b.offset < len(unit.text) for a, b in zip(unit.anchors, unit.anchors[1:], strict=False))
    for section in parsed.sections:
        for start, end in sentences.spans(section.text):
            sentence = section.text[start:end]
            holders = [unit for unit in units if sentence in unit.text]
            assert holders, sentence
            if sentence.startswith("The "):
                for holder in holders:
                    at = holder.text.index(sentence)
                    assert place_at(holder, at) == (section.page, section.heading)


@pytest.mark.parametrize("seed", range(3))
def test_overlap_repeats_whole_sentences_under_the_same_heading_only(tokenizer: WordTokenizer, seed: int) -> None:
    units = split(made(seed), tokenizer=tokenizer, max_tokens=120, overlap=30)

    repeats = 0
    for before, after in zip(units, units[1:], strict=False):
        first = after.text[slice(*next(sentences.spans(after.text)))]
        if first.startswith("The ") and first in before.text:
            repeats += 1
            at = before.text.index(first)
            shared = before.text[at:]
            assert after.text.startswith(shared)
            assert tokenizer.count(shared) <= 30
            assert place_at(before, len(before.text) - 1)[1] == after.anchors[0].heading
    assert repeats > 3


@pytest.mark.parametrize("seed", range(3))
def test_units_half_full_end_at_a_top_level_heading_and_never_on_a_heading(tokenizer: WordTokenizer, seed: int) -> None:
    units = split(made(seed), tokenizer=tokenizer, max_tokens=120, overlap=0)

    for unit in units:
        assert not unit.text.split("\n")[-1].startswith("Sub ")
        tops = [(anchor.heading or "").split(" > ")[0] for anchor in unit.anchors]
        if len(set(tops)) > 1:
            border = next(a.offset for a, top in zip(unit.anchors, tops, strict=True) if top != tops[0])
            assert tokenizer.count(unit.text[:border]) < 60


def test_a_sentence_goes_on_over_the_page_end(tokenizer: WordTokenizer) -> None:
    parsed = document(Section("It was the committee that", 1, "A"), Section("decided. Then it rose.", 2, "A"))

    (unit,) = split(parsed, tokenizer=tokenizer, max_tokens=100, overlap=0)

    assert unit.text == "It was the committee that decided. Then it rose."
    assert [(anchor.offset, anchor.page) for anchor in unit.anchors] == [(0, 1), (26, 2)]


@pytest.mark.parametrize("text", ["word " * 5000, "x" * 60_000, "é😀" * 10_000, "一" * 20_000])
def test_an_endless_sentence_is_cut_by_tokens(tokenizer: WordTokenizer, text: str) -> None:
    units = split(document(Section(text.strip())), tokenizer=tokenizer, max_tokens=100, overlap=20)

    assert all(unit.n_tokens <= 100 for unit in units)
    assert "".join("".join(unit.text.split()) for unit in units) == "".join(text.split())
    # Each character is looked at a handful of times, however long the sentence.
    assert tokenizer.encoded_characters < 30 * len(text)


def test_work_grows_with_the_text_only(tokenizer: WordTokenizer) -> None:
    text = " ".join(f"Sentence number {n} says little." for n in range(20_000))

    split(document(Section(text)), tokenizer=tokenizer, max_tokens=300, overlap=40)

    assert tokenizer.encoded_characters < 3 * len(text)


def test_senseless_limits_are_refused(tokenizer: WordTokenizer) -> None:
    for max_tokens, overlap in ((5, 0), (100, 60), (100, -1)):
        with pytest.raises(ValueError, match="must be"):
            split(document(Section("x")), tokenizer=tokenizer, max_tokens=max_tokens, overlap=overlap)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there! Three?", ["One is here.", "Two is there!", "Three?"]),
        (
            "Dr. Smith met J. R. Jones, e.g. at 3.5 km. He left.",
            ["Dr. Smith met J. R. Jones, e.g. at 3.5 km.", "He left."],
        ),
        ('He said "Stop!" and went. "Why?" she asked.', ['He said "Stop!" and went.', '"Why?" she asked.']),
        ('It ended "so." Then nothing.', ['It ended "so."', "Then nothing."]),
        (
            "Acme Inc. The firm sold it. See fig. 3 and No. 7.",
            ["Acme Inc.", "The firm sold it.", "See fig. 3 and No. 7."],
        ),
        ("1. First thing. 2. Second thing.", ["1. First thing.", "2. Second thing."]),
        ("line one\nline two. And more", ["line one", "line two.", "And more"]),
        ("今日は。明日も！では", ["今日は。", "明日も！", "では"]),
        ("The U.S. Army came. It is the U.S. The end.", ["The U.S. Army came.", "It is the U.S.", "The end."]),
        ("Wait... what? Yes… No.", ["Wait... what?", "Yes…", "No."]),
        ("Das kostet z.B. 3 Euro. Gut.", ["Das kostet z.B. 3 Euro.", "Gut."]),
        ("3.4.1. Rules of the house. They hold.", ["3.4.1. Rules of the house.", "They hold."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences.spans(text)] == expected
