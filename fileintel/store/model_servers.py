"""Which model servers fail, as the workers that call them say beside their heartbeats."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fileintel.store.engine import execute, rows
from fileintel.store.workers import SILENT_SECONDS

# What is over within this time, such as one refused call, is nobody's news.
BRIEF_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class FailingModelServer:
    """A model server that fails: its last error, which names it, and since when."""

    error: str
    since: datetime


def note(worker: str, error: str, seconds: float) -> None:
    """Say that a model server has failed this worker process for so many seconds; an empty `error`: that none does."""
    execute(
        """UPDATE workers SET model_error = :error,
               model_error_since = CASE WHEN :error <> '' THEN now() - make_interval(secs => :seconds) END
           WHERE id = :id""",
        id=worker,
        error=error[:1000].replace("\x00", ""),
        seconds=seconds,
    )


def failing() -> list[FailingModelServer]:
    """What the living workers say fails, each error once, the oldest first."""
    found = rows(
        """SELECT model_error AS error, min(model_error_since) AS since FROM workers
           WHERE model_error <> '' AND seen_at > now() - make_interval(secs => :silent)
             AND model_error_since < now() - make_interval(secs => :brief)
           GROUP BY model_error ORDER BY since LIMIT 5""",
        silent=SILENT_SECONDS,
        brief=BRIEF_SECONDS,
    )
    return [FailingModelServer(**one) for one in found]
