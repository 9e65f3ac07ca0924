from __future__ import annotations

import pytest

from fileintel.model import Anchor, Source
from fileintel.search import is_refusal, resolve
from fileintel.search.citations import place_at
from fileintel.search.quotes import QuoteFinder, sentences

TEXT = (
    "Halden Works was founded in 1987 by Dr. Anna Weiss. The firm built pumps for\nthe port of Grimsby."
    " In March 2003 the board, led by Tom Reyes, sold the pump division to Norvik AG for 4.2 million euros."
    " Weiss left the company a year later."
)
ANCHORS = (Anchor(0, 3, "History"), Anchor(TEXT.index("In March"), 4, "History > The sale"))
SOURCE = Source(1, "u1", "d1", "halden.pdf", TEXT, ANCHORS)
OTHER = Source(
    2,
    "u2",
    "d2",
    "norvik.docx",
    "Norvik AG is based in Bergen. It makes turbines and pumps.",
    (Anchor(0, None, "Norvik"),),
)


def only(answer: str, *sources: Source):
    resolved = resolve(answer, sources or (SOURCE, OTHER))
    assert len(resolved.citations) == 1
    return resolved.citations[0]


def test_words_of_the_source_are_the_quote():
    citation = only("The firm built pumps for the port of Grimsby. [1]")
    assert citation.quote == "The firm built pumps for\nthe port of Grimsby."
    assert (citation.page, citation.heading, citation.document_name) == (3, "History", "halden.pdf")


def test_quoted_words_are_the_quote():
    citation = only("The report says the board “sold the pump division to Norvik AG” [1].")
    assert citation.quote == "sold the pump division to Norvik AG"
    assert (citation.page, citation.heading) == (4, "History > The sale")


@pytest.mark.parametrize(
    ("text", "statement", "quote"),
    [
        ("It was sold (see Annex 4). Then it rained.", "It was sold (see Annex 4)", "It was sold (see Annex 4)."),
        ("It was sold (see Annex 4) in May.", "It was sold (see Annex 4)", "It was sold (see Annex 4)"),
        ("It was sold [by f(x)]! Then", "It was sold by f x", "It was sold [by f(x)]!"),
        ("Rain fell. (He left the firm.) More.", "He left the firm.", "(He left the firm.)"),
        ("The firm (as he left it) was sold.", "as he left it", "as he left it"),
        ("It was (sold in May), he said.", "sold in May, he said", "(sold in May), he said."),
    ],
)
def test_brackets_at_the_ends_of_a_quote(text, statement, quote):
    found = QuoteFinder(text).find(statement)
    assert found is not None and text[found.start : found.end] == quote


def test_paraphrase_takes_the_nearest_sentence():
    citation = only("Norvik paid 4.2 million for the division in 2003 [1].")
    assert citation.quote.startswith("In March 2003") and citation.quote.endswith("euros.")
    assert citation.page == 4


def test_mark_after_and_before_the_full_stop_and_at_the_beginning():
    for answer in (
        "Weiss left a year later. [1]",
        "Weiss left a year later [1].",
        "According to [1], Weiss left a year later.",
        "Pumps were built. Weiss left a year later [1][2].",
    ):
        resolved = resolve(answer, (SOURCE, OTHER))
        assert resolved.citations[0].quote == "Weiss left the company a year later."


def test_each_mark_has_its_own_statement():
    resolved = resolve("Dr. Anna Weiss founded Halden [1] and Norvik is based in Bergen [2].", (SOURCE, OTHER))
    assert [c.quote for c in resolved.citations] == [
        "Halden Works was founded in 1987 by Dr. Anna Weiss.",
        "Norvik AG is based in Bergen.",
    ]
    assert resolved.citations[1].page is None


def test_one_citation_per_source_in_order_of_use_with_the_best_quote():
    resolved = resolve(
        "Something else entirely [2]. It is as I say [1]. It makes turbines and pumps [2].", (SOURCE, OTHER)
    )
    assert [c.number for c in resolved.citations] == [2, 1]
    assert resolved.citations[0].quote == "It makes turbines and pumps."


def test_each_statement_of_one_source_has_its_own_quote():
    answer = "The firm built pumps for the port of Grimsby. [1] Weiss left the company a year later. [1]"
    resolved = resolve(answer, (SOURCE, OTHER))
    assert [(c.number, c.page, c.quote) for c in resolved.citations] == [
        (1, 3, "The firm built pumps for\nthe port of Grimsby."),
        (1, 4, "Weiss left the company a year later."),
    ]


def test_a_passage_in_the_source_s_words_is_quoted_whole_and_once():
    passage = "Norvik AG is based in Bergen. It makes turbines and pumps."
    citation = only(f"{passage} [2] It makes turbines and pumps. [2]")
    assert citation.quote == passage


def test_no_shared_word_still_quotes_the_source():
    assert only("Völlig anderes hier [1].").quote == "Halden Works was founded in 1987 by Dr. Anna Weiss."


def test_quotes_are_substrings_and_marks_resolve():
    resolved = resolve("Pumps [1]. Turbines [2, 7]. [3]", (SOURCE, OTHER))
    assert resolved.removed == 2
    for citation in resolved.citations:
        assert citation.quote and citation.quote in {1: SOURCE, 2: OTHER}[citation.number].text


def test_two_sentences_when_both_are_needed():
    text = "The tower burned in May. Repairs cost nine thousand crowns. Nobody was hurt."
    quote = QuoteFinder(text).find("The tower burned and repairs cost nine thousand crowns")
    assert (
        quote is not None
        and text[quote.start : quote.end] == "The tower burned in May. Repairs cost nine thousand crowns."
    )


def test_answer_without_marks_and_empty_source():
    assert resolve("Nothing marked.", (SOURCE,)).citations == ()
    citation = only("Said [1].", Source(1, "u", "d", "n", "   ", ()))
    assert (citation.quote, citation.page, citation.heading) == ("", None, None)


def test_sentences():
    text = "Mr. J. Smith met Dr. No. They spoke, e.g. of 3.5 tons.\n\nNext\n- one\n- two"
    assert [text[a:b] for a, b in sentences(text)] == [
        "Mr. J. Smith met Dr. No. They spoke, e.g. of 3.5 tons.",
        "Next",
        "- one",
        "- two",
    ]
    japanese = "塔は五月に焼けた。修理費は九千クローナ。"
    assert [japanese[a:b] for a, b in sentences(japanese)] == ["塔は五月に焼けた。", "修理費は九千クローナ。"]
    quote = QuoteFinder(japanese).find("修理費は九千です")
    assert quote is not None and japanese[quote.start : quote.end] == "修理費は九千クローナ。"


def test_long_text_without_sentence_ends_is_cut():
    table = "\n".join(f"row {n} | value {n * n}" for n in range(200))
    spans = sentences(table)
    assert all(end - start <= 400 for start, end in spans)
    assert "".join(table[a:b] for a, b in spans).replace("\n", "") == table.replace("\n", "")
    quote = QuoteFinder(table).find("The value is 22500 in row 150")
    assert quote is not None and "row 150 | value 22500" in table[quote.start : quote.end]


@pytest.mark.parametrize(
    ("offset", "page"), [(0, 3), (5, 3), (ANCHORS[1].offset - 1, 3), (ANCHORS[1].offset, 4), (10_000, 4)]
)
def test_place(offset, page):
    assert place_at(ANCHORS, offset)[0] == page
    assert place_at(tuple(reversed(ANCHORS)), offset)[0] == page


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I cannot answer this from the documents", True),
        ("I cannot answer this from the documents: they hold nothing on whales.", True),
        ("**I cannot answer this from the documents.**", True),
        ("", True),
        ("I don't know.", True),
        ("I don’t have enough information to answer that.", True),
        ("I am sorry but I am unable to answer this question given the provided data.", True),
        ("The provided sources do not contain information about the budget.", True),
        ("Based on the documents, there is no information on this.", True),
        ("There is no mention of a budget in the sources.", True),
        ("Sorry, but the documents don't say.", True),
        ("The sources do not state the budget, but the sale brought 4.2 million euros [1].", False),
        ("Anna Weiss founded Halden Works [1].", False),
        ("Not before 1987 [1].", False),
        ("No. The firm was sold [1].", False),
        ("The documents describe a sale.", False),
    ],
)
def test_refusals(text, refused):
    assert is_refusal(text) is refused
