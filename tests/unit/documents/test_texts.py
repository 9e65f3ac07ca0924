from __future__ import annotations

from pathlib import Path

import pytest
from unit.documents.conftest import MakeEpub

from fileintel.documents import parse
from fileintel.errors import CorruptDocumentError, EncryptedDocumentError

GERMAN = "Die Größe der Tür überraschte Jürgen. Er schloß sie später für drei Jahre."
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний. " * 3
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗い所で泣いていた。" * 3
POLISH = "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. " * 3


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "latin-1"),
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        ("Le café coûte 3 € à l’été.", "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc-jp"),
        (POLISH, "cp1250"),
    ],
)
def test_text_of_any_encoding_is_read_right(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "text"
    path.write_bytes(text.encode(encoding))

    document = parse(path, "notes.txt")

    assert document.sections[0].text == text.strip()


def test_form_feeds_are_pages_and_wrapped_lines_are_put_together(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(
        "The first paragraph of this text has been wrapped by hand at some\n"
        "sixty characters, as people did, and it goes on over three lines\n"
        "until here.\n\n- one\n- two\n\fSecond page.\n\f"
    )

    document = parse(path, "x.txt")

    assert document.page_count == 2
    assert [s.page for s in document.sections] == [1, 2]
    assert document.sections[0].text == (
        "The first paragraph of this text has been wrapped by hand at some sixty characters, as people did, and it "
        "goes on over three lines until here.\n\n- one\n- two"
    )


def test_what_postgres_refuses_is_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(("A nul\0 in a long enough text. " + "word " * 3000 + "end\u200b").encode())

    text = parse(path, "x.txt").sections[0].text

    assert text.startswith("A nul in a")
    assert text.endswith("end")


def test_markdown_keeps_its_heading_path_and_loses_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(
        "---\ntitle: Guide\nauthor: me\n---\n# One\n\nSome *stressed* [link](http://x.y) text\nwrapped.\n\n## Two\n\n"
        "1. first\n2. second\n\n| A | B |\n|---|---|\n| x | 1 |\n\n```\ncode  here\n```\n\n# Three\n\nEnd.\n"
    )

    document = parse(path, "guide.md")

    assert document.title == "Guide"
    assert [(s.heading, s.text) for s in document.sections] == [
        ("One", "One\n\nSome stressed link text wrapped."),
        ("One > Two", "Two\n\n1. first\n2. second\nA: x; B: 1\n\ncode  here"),
        ("Three", "Three\n\nEnd."),
    ]


def test_csv_rows_can_be_understood_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes('Name;Größe\n"Müller; Jürgen";12,5\nWeiß;7\n'.encode("latin-1"))

    text = parse(path, "x.csv").sections[0].text

    assert text == "Name: Müller; Jürgen; Größe: 12,5\nName: Weiß; Größe: 7"


PAGE = """<!doctype html><html><head><title>The Page</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav><div class="sidebar">Sidebar words</div>
<h1>Ships</h1><p>A   <b>bold</b>\nline.<br>Next.</p><ul><li>one</li><li>two</li></ul>
<h2>Tons<a class="headerlink" href="#t">¶</a></h2>
<table><tr><th>Ship</th><th>Tons</th></tr><tr><td>Alma</td><td>12</td></tr></table>
<pre>kept   as
  it is</pre><script>alert("no")</script>
<h1>Ports</h1><p hidden>secret</p><p>Oslo &amp; Bergen.</p><footer>Imprint</footer></body></html>"""


def test_html_keeps_the_content_and_drops_what_stands_around_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(PAGE, encoding="utf-8")

    document = parse(path, "page.html")

    assert document.title == "The Page"
    assert [(s.heading, s.text) for s in document.sections] == [
        ("Ships", "Ships\n\nA bold line.\nNext.\n\n- one\n- two"),
        ("Ships > Tons", "Tons\n\nShip: Alma; Tons: 12\n\nkept   as\n  it is"),
        ("Ports", "Ports\n\nOslo & Bergen."),
    ]


def test_html_cells_over_several_rows_and_columns_stay_in_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(
        "<html><body><table><tr><th>Ship</th><th>Leg</th><th>Tons</th></tr>"
        '<tr><td rowspan="2">Alma</td><td>Oslo</td><td>1</td></tr><tr><td>Bergen</td><td>2</td></tr>'
        '<tr><td colspan="2">Sum</td><td>3</td></tr></table></body></html>'
    )

    assert parse(path, "x.html").sections[0].text == (
        "Ship: Alma; Leg: Oslo; Tons: 1\nShip: Alma; Leg: Bergen; Tons: 2\nShip: Sum; Tons: 3"
    )


def test_html_obeys_its_declared_encoding(tmp_path: Path) -> None:
    path = tmp_path / "x"
    page = '<html><head><meta charset="iso-8859-7"></head><body><p>Ελληνικά</p></body></html>'
    path.write_bytes(page.encode("iso-8859-7"))

    assert parse(path, "x.html").sections[0].text == "Ελληνικά"


def test_nested_beyond_python_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("<html><body>" + "<div>" * 5000 + "<p>Deep down.</p>")

    assert "Deep down." in parse(path, "x.html").sections[0].text


def test_epub_reads_the_spine_under_its_headings(make_epub: MakeEpub) -> None:
    path = make_epub(
        [
            ("one.xhtml", "One", "<h1>Chapter One</h1><p>It began.</p><h2>Later</h2><p>It went on.</p>"),
            ("two.xhtml", "The Second", "<p>No heading here.</p>"),
            ("three.xhtml", "Three", "<section><h1>Three</h1><section><h1>Inside</h1><p>Deep.</p></section></section>"),
        ]
    )

    document = parse(path, "book.epub")

    assert document.title == "A Book"
    assert [(s.heading, s.text) for s in document.sections] == [
        ("Chapter One", "Chapter One\n\nIt began."),
        ("Chapter One > Later", "Later\n\nIt went on."),
        ("The Second", "The Second\n\nNo heading here."),
        ("Three", "Three"),
        ("Three > Inside", "Inside\n\nDeep."),
    ]


def test_epub_opens_no_external_entity(make_epub: MakeEpub, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("TOPSECRET")
    doctype = f'<!DOCTYPE package [<!ENTITY f SYSTEM "file://{secret}">]>'

    document = parse(make_epub([("a.xhtml", "A", "<p>Text.</p>")], title="T &f;", doctype=doctype), "b.epub")

    assert document.sections[0].text.endswith("Text.")
    assert "TOPSECRET" not in (document.title or "")


def test_epub_refuses_an_entity_bomb(make_epub: MakeEpub) -> None:
    bombs = "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 10))
    doctype = f'<!DOCTYPE package [<!ENTITY b0 "boom">{bombs}]>'

    with pytest.raises(CorruptDocumentError, match="names no chapters"):
        parse(make_epub([("a.xhtml", "A", "<p>Text.</p>")], title="T &b9;", doctype=doctype), "b.epub")


def test_epub_with_a_missing_chapter_is_corrupt(make_epub: MakeEpub) -> None:
    path = make_epub([("a.xhtml", "A", "<p>Text.</p>"), ("b.xhtml", "B", "<p>x</p>")], missing=["b.xhtml"])

    with pytest.raises(CorruptDocumentError, match=r"book/b\.xhtml is missing"):
        parse(path, "b.epub")


def test_epub_under_copy_protection_is_encrypted(make_epub: MakeEpub) -> None:
    listed = '<encryption><x xmlns="e"><CipherReference URI="book/a.xhtml"/></x></encryption>'
    path = make_epub([("a.xhtml", "A", "<p>x</p>")], extra={"META-INF/encryption.xml": listed})

    with pytest.raises(EncryptedDocumentError, match="copy-protected"):
        parse(path, "b.epub")
