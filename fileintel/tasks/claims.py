"""What a run that extracts claims does beside its other steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fileintel.graph.claims import claims_json, claims_of, extract_claims
from fileintel.model import WorkItem
from fileintel.protocols import ChatModel
from fileintel.store import covariates, graph_writing, work

STEP = "extract_covariates"


def plan_claims(run_id: int) -> Iterator[int]:
    """Enter the collection's text units."""
    new = graph_writing.plan_extraction(run_id, STEP)
    if new:
        yield new


def ask_claims(item: WorkItem, chat: ChatModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Extract the claims of one text unit."""
    if item.input["text"] is None:
        # Its document was deleted while the run was under way.
        return {"claims": []}
    found = extract_claims(
        item.input["text"],
        unit=item.key,
        chat=chat,
        model=parameters["chat_model"],
        entity_types=parameters["entity_types"],
        max_gleanings=parameters["max_gleanings"],
    )
    return claims_json(found)


def save_claims(run_id: int) -> None:
    """Put the claims of all of the run's text units into its version."""
    extracted = work.outputs(run_id, STEP)
    covariates.save_claims(run_id, (claim for unit, stored in extracted for claim in claims_of(unit, stored)))
