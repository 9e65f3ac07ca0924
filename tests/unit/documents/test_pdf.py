from __future__ import annotations

from unit.documents.conftest import MakePdf, wrapped

from fileintel.documents import parse

BODY = (
    "The committee met on Tuesday and heard the report of the treasurer, who said that the fund had grown by "
    "four per cent since the spring. Nobody objected to the figures, and the chair thanked the auditors for their "
    "patience before the vote was taken."
)


def test_lines_become_paragraphs_and_pages_are_kept(make_pdf: MakePdf) -> None:
    second = "It was carried without dissent, as everyone in the room had expected it to be from the very beginning."
    path = make_pdf([wrapped(BODY) + wrapped(second, top=640), wrapped("A new page begins.")], title="Minutes")

    document = parse(path, "minutes.pdf")

    assert document.media_type == "application/pdf"
    assert document.title == "Minutes"
    assert document.page_count == 2
    assert [section.page for section in document.sections] == [1, 2]
    assert document.sections[0].text == f"{BODY}\n\n{second}"
    assert document.sections[1].text == "A new page begins."


def test_bookmarks_become_headings_where_their_lines_stand(make_pdf: MakePdf) -> None:
    first = [(72, 740, 18, "1 Scope"), *wrapped(BODY, top=710)]
    second = [*wrapped("Still the scope.", top=740), (72, 700, 18, "2 Duties"), *wrapped("Duties are few.", top=670)]
    path = make_pdf([first, second], bookmarks=[("Scope", 0), ("Duties", 1)])

    sections = parse(path, "rules.pdf").sections

    assert [(s.page, s.heading) for s in sections] == [(1, "1 Scope"), (2, "1 Scope"), (2, "2 Duties")]
    assert sections[0].text.startswith("1 Scope\n\nThe committee")
    assert sections[1].text == "Still the scope."
    assert sections[2].text == "2 Duties\n\nDuties are few."


def test_larger_letters_are_headings_when_there_are_no_bookmarks(make_pdf: MakePdf) -> None:
    page = [(72, 740, 24, "Annual Report"), (72, 700, 16, "Finances"), *wrapped(BODY, top=670)]

    sections = parse(make_pdf([page]), "report.pdf").sections

    assert sections[-1].heading == "Annual Report > Finances"
    assert sections[-1].text.startswith("Finances\n\nThe committee met")


def test_words_parted_at_a_line_end_are_made_whole(make_pdf: MakePdf) -> None:
    lines = [
        "An international body, the well-known dpkg-deb tool and other things are named in here.",
        "The rules of the inter-",
        "national body are different from what the packages of the well-known dpkg-",
        "deb tool say about these matters when they are read by an attentive person.",
    ]
    path = make_pdf([[(72, 720 - 13 * i, 11, line) for i, line in enumerate(lines)]])

    text = " ".join(section.text for section in parse(path, "x.pdf").sections).replace("\n", " ")

    assert "the international body" in " ".join(text.split())
    assert "dpkg-deb tool say" in " ".join(text.split())


def test_running_heads_and_page_numbers_are_left_out_but_told(make_pdf: MakePdf) -> None:
    pages = [
        [(72, 765, 9, "Handbook of Care"), *wrapped(f"{word} {BODY}"), (300, 40, 9, str(number))]
        for number, word in enumerate(("First.", "Second.", "Third.", "Fourth."), start=7)
    ]

    document = parse(make_pdf(pages), "handbook.pdf")

    text = "\n".join(section.text for section in document.sections)
    assert "Handbook of Care" not in text
    assert not any(line.strip().isdigit() for line in text.split("\n"))
    assert text.count("The committee met") == 4
    assert document.metadata["running_heads"] == "Handbook of Care"


def test_a_title_at_the_top_of_each_page_is_text(make_pdf: MakePdf) -> None:
    pages = [[(72, 740, 16, "Incident report"), *wrapped(f"Number {n}. {BODY}", top=700)] for n in range(1, 5)]

    sections = parse(make_pdf(pages), "incidents.pdf").sections

    assert [section.heading for section in sections] == ["Incident report"] * 4
    assert all(section.text.startswith("Incident report\n\nNumber") for section in sections)


def test_rows_of_a_table_stay_rows(make_pdf: MakePdf) -> None:
    rows = [(72, 640 - 17 * i, 11, text) for i, text in enumerate(("Name Use", "csh The C shell", "ed An editor"))]

    text = parse(make_pdf([wrapped(BODY) + rows]), "table.pdf").sections[0].text

    assert text.endswith("Name Use\ncsh The C shell\ned An editor")
