"""When a build is to be confirmed, by the settings in effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fileintel.graph import estimate
from fileintel.settings import load


def asks_confirmation(estimated: Mapping[str, Any]) -> str | None:
    """Why a build with this estimate (an estimate job's result) is to be confirmed first, or None."""
    settings = load()
    return estimate.asks_confirmation(
        int(estimated["to_make"]),
        estimated["cost"],
        above_calls=settings.confirm_above_calls,
        above_cost=settings.confirm_above_cost,
        unread=int(estimated["documents_unread"]),
    )
