from __future__ import annotations

import random
import re

import pytest

from fileintel.search import resolve
from fileintel.search.marks import MarkStream, read_mark

KNOWN = frozenset({1, 2, 3, 4, 5})


@pytest.fixture
def sources(source):
    return [source(n, f"Text of source {n}.") for n in KNOWN]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1", ([1], 0)),
        (" 2 ", ([2], 0)),
        ("1, 3", ([1, 3], 0)),
        ("1,3,", ([1, 3], 0)),
        ("1; 9", ([1], 1)),
        ("1 and 2", ([1, 2], 0)),
        ("1-3", ([1, 2, 3], 0)),
        ("4–6", ([4, 5], 1)),
        ("3-1", ([], 1)),
        ("1-999", ([], 1)),
        ("Source 3", ([3], 0)),
        ("Sources 3, 4", ([3, 4], 0)),
        ("source: 3", ([3], 0)),
        ("Source 1, Source 2", ([1, 2], 0)),
        ("Sources 1-Source 2", ([1, 2], 0)),
        ("^2", ([2], 0)),
        ("#2", ([2], 0)),
        ("ref. 2", ([2], 0)),
        ("1†source", ([1], 0)),
        ("1†L3-L4, 2†x", ([1, 2], 0)),
        ("2 2 2", ([2], 0)),
        ("0", ([], 1)),
        ("2024", ([], 1)),
        ("Data: Sources (1, 2)", ([1, 2], 0)),
        ("Data: Reports (1); Entities (5, 7)", ([], 2)),
        ("Data: Sources (1, 15), Reports (2, 7, +more)", ([1], 2)),
        ("Reports (1)", ([], 1)),
        ("٣", ([3], 0)),
        ("sic", None),
        ("emphasis added", None),
        ("", None),
        (" ", None),
        ("1.2", None),
        ("x1", None),
        ("10:30", None),
        ("Source", None),
        ("page 3", None),
        ("3rd", None),
    ],
)
def test_forms_of_marks(content, expected):
    assert read_mark(content, KNOWN) == expected


@pytest.mark.parametrize(
    ("answer", "clean", "removed"),
    [
        ("Anna won [1].", "Anna won [1].", 0),
        ("Anna won [1, 2].", "Anna won [1][2].", 0),
        ("Anna won [1][2] [3].", "Anna won [1][2] [3].", 0),
        ("Anna won [1][1].", "Anna won [1].", 0),
        ("Anna won [1] [1, 2].", "Anna won [1] [2].", 0),
        ("Anna won. [1] Bob lost. [1]", "Anna won. [1] Bob lost. [1]", 0),
        ("Anna won【1】.", "Anna won[1].", 0),
        ("Anna won ［2］.", "Anna won [2].", 0),
        ("Anna won [9].", "Anna won.", 1),
        ("Anna won [9] .", "Anna won.", 1),
        ("Anna won [9], Bob [8] lost [1].", "Anna won, Bob lost [1].", 2),
        ("Anna [9] won", "Anna won", 1),
        ("Anna [7] [8] [9] won", "Anna won", 3),
        ("Anna[9] won", "Anna won", 1),
        ("Anna [9]won", "Anna won", 1),
        ("[9] Anna won", "Anna won", 1),
        ("Anna won [9]", "Anna won", 1),
        ("Anna won [1, 9]", "Anna won [1]", 1),
        ("Anna won [9][1]", "Anna won [1]", 1),
        ("A.\n\n[9]\n\nB.", "A.\n\nB.", 1),
        ("A. [9]\nB.", "A.\nB.", 1),
        ("A. [9]\n- B", "A.\n- B", 1),
        ("Anna [sic] won [emphasis added] [1]", "Anna [sic] won [emphasis added] [1]", 0),
        ("Anna [see [2]] won", "Anna [see [2]] won", 0),
        ("a [\n1,\n2] b", "a [1][2] b", 0),
        ("a [[3]] b", "a [3] b", 0),
        ("a [[9]] b", "a b", 1),
        ("a [[9]8] b", "a 8 b", 1),
        ("a [Source [9]8] b", "a [Source 8 b", 1),
        ("a [" + " " * 300 + "8] b", "a [" + " " * 300 + "8 b", 0),
        ("Anna won [1", "Anna won", 1),
        ("Anna won [1, ", "Anna won", 1),
        ("Anna won [", "Anna won", 0),
        ("Anna won [Data: Rep", "Anna won", 0),
        ("Anna won [and", "Anna won [and", 0),
        ("  Anna won [1]. \n", "Anna won [1].", 0),
        ("two  spaces\n\nkept", "two  spaces\n\nkept", 0),
        ("array[" + "x" * 300, "array[" + "x" * 300, 0),
        ("", "", 0),
        ("]1[", "]1", 0),
    ],
)
def test_clean_text(sources, answer, clean, removed):
    resolved = resolve(answer, sources)
    assert (resolved.text, resolved.removed) == (clean, removed)


def pieces_of(answer: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(cuts), len(answer)]
    return [answer[low:high] for low, high in zip(edges, edges[1:], strict=False)]


def streamed(pieces: list[str], sources) -> tuple[str, int]:
    stream = MarkStream(sources)
    text = ""
    for piece in pieces:
        text += stream.push(piece)
        assert stream.text == text
    text += stream.finish()
    # No mark that resolves to nothing is ever passed on, not even one made of the rests around removed ones.
    for content in re.findall(r"[\[【［]([^\[\]【】［］]*)[\]】］]", text):
        mark = read_mark(content, KNOWN)
        assert mark is None or mark[1] == 0
    assert stream.finish() == ""
    return text, stream.removed


LONG = (
    "  Anna Weiss [1] founded [12] Halden Works in 1987 【2】 [9].\n\n- She [sic] left [Source 3][Data: Reports (2)] ,"
    " with [1, 9, 2] people [4-6]; see [see [5]].  [9]\nOverall [ 1 ] [1][1] done [7"
)


def test_every_cut_gives_the_same_text(sources):
    whole = resolve(LONG, sources)
    assert streamed([LONG], sources) == (whole.text, whole.removed)
    assert streamed(list(LONG), sources) == (whole.text, whole.removed)
    for cut in range(len(LONG) + 1):
        assert streamed(pieces_of(LONG, [cut]), sources) == (whole.text, whole.removed)


def test_random_answers_and_cuts(sources):
    rng = random.Random(7)
    parts = [
        "[",
        "]",
        "【",
        "】",
        "1",
        "3",
        "9",
        "12",
        ",",
        " ",
        "  ",
        "\n",
        ".",
        "-",
        "Source ",
        "word",
        "a",
        "(",
        "Data: ",
    ]
    for _ in range(2000):
        answer = "".join(rng.choice(parts) for _ in range(rng.randrange(25)))
        whole = resolve(answer, sources)
        cuts = [rng.randrange(len(answer) + 1) for _ in range(4)]
        assert streamed(pieces_of(answer, cuts), sources) == (whole.text, whole.removed), answer


def test_cleaning_twice_changes_nothing_more(sources):
    once = resolve(LONG, sources).text
    assert resolve(once, sources) == (once, resolve(LONG, sources).citations, 0)


@pytest.mark.parametrize(
    "content", ["1, " * 70 + "x", "1 " * 99 + "x", "1†a " * 50 + "!", "Sources (1) " * 16 + "x", "- " * 100]
)
def test_odd_content_is_read_in_no_time(content):
    assert read_mark(content, KNOWN) is None


def test_text_flows_before_the_answer_ends(sources):
    stream = MarkStream(sources)
    assert stream.push("Anna won") == "Anna won"
    assert stream.push(" [") == ""
    assert stream.push("1") == ""
    assert stream.push("]") == " [1]"
    assert stream.push(" and [so") == " and"
    assert stream.push(" on]") == " [so on]"
    assert [(mark.number, stream.text[mark.offset : mark.end]) for mark in stream.marks] == [(1, "[1]")]
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push("more")
