"""docs/compose.yaml as docker compose understands it, for tests that hold it to something or run what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "docs" / "compose.yaml"
SECRETS = {"POSTGRES_PASSWORD": "one", "REDIS_PASSWORD": "two"}


def interpolated(value: Any, given: Mapping[str, str]) -> Any:
    """What docker compose makes of ${NAME:-default} and ${NAME:?message}; raises KeyError where it would refuse."""

    def one(match: re.Match[str]) -> str:
        name, operator, text = match[1], match[2], match[3]
        if given.get(name):
            return given[name]
        if operator == ":?":
            raise KeyError(text)
        return text

    if isinstance(value, dict):
        return {key: interpolated(item, given) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, given) for item in value]
    return re.sub(r"\$\{([A-Z0-9_]+)(:[-?])([^}]*)\}", one, value) if isinstance(value, str) else value


def compose(**given: str) -> dict[str, Any]:
    """The committed compose.yaml as docker compose would see it with this .env."""
    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return interpolated(raw, {**SECRETS, **given})


def pairs(words: list[str]) -> dict[str, str]:
    """The parameters of a Postgres or Redis command line."""
    if words[0] == "postgres":
        assert set(words[1::2]) == {"-c"}
        return dict(word.split("=", 1) for word in words[2::2])
    assert words[0] == "redis-server"
    return dict(zip((word.removeprefix("--") for word in words[1::2]), words[2::2], strict=True))
