"""The steps of an index run, in order, under GraphRAG's own workflow names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fileintel.model import IndexMethod

INDEXING = "graphrag_indexing"


@dataclass(frozen=True, slots=True)
class Step:
    """A step; its items are worked on by tasks of `queue`.

    `method` limits it to runs of that method, `claims` to runs that extract claims.
    """

    name: str
    queue: str
    method: IndexMethod | None = None
    claims: bool = False

    def belongs(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a run with these parameters has this step."""
        asked = self.method in (None, parameters.get("method", "standard"))
        return asked and (not self.claims or bool(parameters.get("claims")))

    @property
    def waits(self) -> bool:
        """Whether its items wait for the LLM server (gevent worker) rather than compute (main worker)."""
        return self.queue == INDEXING


STEPS = (
    Step("create_base_text_units", "default"),
    Step("extract_graph", INDEXING, method="standard"),
    Step("extract_graph_nlp", "default", method="fast"),
    Step("extract_covariates", INDEXING, claims=True),
    Step("merge", "default"),
    Step("summarize_descriptions", INDEXING, method="standard"),
    Step("finalize_graph", "default"),
    Step("create_communities", "default"),
    Step("create_community_reports", INDEXING),
    Step("generate_text_embeddings", "embedding_processing"),
    Step("publish", "default"),
)
FIRST = STEPS[0].name
_BY_NAME = {step.name: step for step in STEPS}


def step(name: str) -> Step:
    """The step of that name."""
    return _BY_NAME[name]


def following(name: str, parameters: Mapping[str, Any]) -> str | None:
    """The name of the step after this one in a run with these parameters, None after the last."""
    later = STEPS[STEPS.index(_BY_NAME[name]) + 1 :]
    return next((step.name for step in later if step.belongs(parameters)), None)
