"""The noun phrases found in text units, kept so that none is read twice, in whatever collection it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fileintel.store.engine import as_json, execute, rows
from fileintel.store.sources import UNITS_OF_RUN


def plan(run_id: int, step: str, batch: int) -> int:
    """Enter an item for each `batch` text units of the collection's ready documents, in an order that depends on the
    documents' contents alone; returns how many were new."""
    return execute(
        f"""INSERT INTO work_items (run_id, step, key, rank, input)
            SELECT :id, :step, 'units:' || batch, batch, jsonb_build_object('units', jsonb_agg(unit ORDER BY place))
            FROM (SELECT unit, place, (place - 1) / :batch AS batch FROM ({UNITS_OF_RUN}) placed) batches
            GROUP BY batch ON CONFLICT DO NOTHING""",
        id=run_id,
        step=step,
        batch=batch,
    )


def recall(analyzer: str, unit_ids: Sequence[str]) -> dict[str, list[str]]:
    """The phrases that this analyzer found in those of the text units that it has read, by id."""
    found = rows(
        "SELECT text_unit_id, phrases FROM noun_phrases WHERE analyzer = :analyzer AND text_unit_id = ANY(:ids)",
        analyzer=analyzer,
        ids=list(unit_ids),
    )
    return {unit["text_unit_id"]: list(unit["phrases"]) for unit in found}


def remember(analyzer: str, found: Mapping[str, Sequence[str]]) -> None:
    """Keep what the analyzer found in text units, by id; of units deleted meanwhile nothing is kept."""
    execute(
        """INSERT INTO noun_phrases (text_unit_id, analyzer, phrases)
           SELECT t.id, :analyzer, f.phrases
           FROM jsonb_to_recordset(CAST(:found AS jsonb)) AS f(id text, phrases text[])
           JOIN text_units t ON t.id = f.id
           ORDER BY t.id FOR KEY SHARE OF t
           ON CONFLICT DO NOTHING""",
        analyzer=analyzer,
        found=as_json([{"id": unit, "phrases": list(phrases)} for unit, phrases in found.items()]),
    )
