"""An index as Markdown: a page per community report, and an index of communities and entities."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]


def report_page(report: Row) -> tuple[str, str]:
    """(file name, text) of a community report's page."""
    facts = (
        f"Community {report['community']}, level {report['level']}, rank {report['rank']:g}, {report['size']} entities"
    )
    lines = [report["full_content"].strip(), "", "---", "", facts + "."]
    if report["rank_explanation"]:
        lines += ["", report["rank_explanation"].strip()]
    return _file(report), "\n".join(lines) + "\n"


def index_page(title: str, reports: Iterable[Row], entities: Iterable[Row]) -> Iterator[str]:
    """The index page piece by piece: reports by level, then entities."""
    yield f"# {title}\n\n## Communities\n"
    level = None
    for report in reports:
        if report["level"] != level:
            level = report["level"]
            yield f"\n### Level {level}\n\n"
        link = f"[{_inline(report['title'])}](communities/{_file(report)})"
        yield f"- {link} (community {report['community']}, rank {report['rank']:g}): {_inline(report['summary'])}\n"
    yield "\n## Entities\n\n| Entity | Type | Degree | Description |\n| --- | --- | ---: | --- |\n"
    for entity in entities:
        cells = (entity["title"], entity["type"], str(entity["degree"]), entity["description"])
        yield "| " + " | ".join(_inline(cell).replace("|", "\\|") for cell in cells) + " |\n"


def _file(report: Row) -> str:
    plain = unicodedata.normalize("NFKD", report["title"]).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:60].strip("-")
    return f"{report['community']:05}-{slug}.md" if slug else f"{report['community']:05}.md"


def _inline(text: str) -> str:
    return re.sub(r"([\[\]<>])", r"\\\1", " ".join(text.split()))
