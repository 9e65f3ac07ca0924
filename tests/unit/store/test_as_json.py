"""What Postgres refuses in jsonb never reaches it, and nothing else is changed."""

from __future__ import annotations

import json

import pytest

from fileintel.store.engine import as_json


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\x00b", "ab"),
        ("a literal \\u0000 stays", "a literal \\u0000 stays"),
        ("\\\x00", "\\"),
        ("half a pair \ud800", "half a pair ?"),
        ({"k": ["\x00", 1, None, "ü"]}, {"k": ["", 1, None, "ü"]}),
    ],
)
def test_as_json(value: object, kept: object) -> None:
    assert json.loads(as_json(value)) == kept
