"""The settings in effect with where each comes from, safe to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from fileintel.settings import FIELD_OF, Settings, has_password_inside, is_secret

Source = Literal["environment", "fileintel up", "default"]
MASK = "********"


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting in effect; `value` is plain, `shown` has its secrets masked."""

    variable: str
    value: str
    shown: str
    source: Source
    group: str
    secret: bool


def effective(settings: Settings, environment: Mapping[str, str], written: Mapping[str, str]) -> list[Effective]:
    """List all settings in the order of their declaration.

    `environment` is the process environment, `written` what a running `fileintel up` has written.
    """
    found = []
    for variable, name in FIELD_OF.items():
        raw = getattr(settings, name)
        value = raw.get_secret_value() if isinstance(raw, SecretStr) else plain(raw)
        source: Source = "default"
        if environment.get(variable, "").strip():
            source = "environment"
        elif written.get(variable, "").strip():
            source = "fileintel up"
        extra = Settings.model_fields[name].json_schema_extra
        group = str(extra["group"]) if isinstance(extra, dict) else ""
        secret = is_secret(name)
        shown = (MASK if value else "") if secret else without_password(value) if has_password_inside(name) else value
        found.append(Effective(variable, value, shown, source, group, secret or shown != value))
    return found


def plain(value: object) -> str:
    """Spell a value as the environment would: no `600.0` for 600."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def without_password(url: str) -> str:
    """The URL with its password masked."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return MASK
    if "?" in url and "password" in parts.query:
        return MASK
    if password is None:
        return url
    # From the last @ on: a password may hold an @ that was not quoted.
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{MASK}@{host}"))
