"""The steps of an index run under GraphRAG's own workflow names, and what each comes after.

Steps that need nothing of one another run side by side: communities are found while descriptions are summarized, a
report is asked for as soon as what it is written from is there, and vectors are made of whatever is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fileintel.model import IndexMethod

INDEXING = "graphrag_indexing"
EMBEDDING = "embedding_processing"


@dataclass(frozen=True, slots=True)
class Step:
    """A step; its items are worked on by tasks of `queue`, and none is planned before the steps `after` are done.

    `method` limits it to runs of that method, `claims` to runs that extract claims.
    """

    name: str
    queue: str
    after: tuple[str, ...] = ()
    method: IndexMethod | None = None
    claims: bool = False

    def belongs(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a run with these parameters has this step."""
        return self.method in (None, parameters["method"]) and (not self.claims or parameters["claims"])

    @property
    def waits(self) -> bool:
        """Whether its items wait for the LLM server (gevent worker) rather than compute (main worker)."""
        return self.queue == INDEXING


STEPS = (
    Step("create_base_text_units", "default"),
    Step("extract_graph", INDEXING, ("create_base_text_units",), method="standard"),
    Step("extract_graph_nlp", "default", ("create_base_text_units",), method="fast"),
    Step("extract_covariates", INDEXING, ("create_base_text_units",), claims=True),
    Step("merge", "default", ("extract_graph", "extract_graph_nlp")),
    Step("summarize_descriptions", INDEXING, ("merge",), method="standard"),
    Step("create_communities", "default", ("merge",)),
    Step("finalize_graph", "default", ("summarize_descriptions",)),
    Step("create_community_reports", INDEXING, ("create_communities",)),
    Step("generate_text_embeddings", EMBEDDING, ("merge",)),
    Step(
        "publish",
        "default",
        ("finalize_graph", "create_community_reports", "generate_text_embeddings", "extract_covariates"),
    ),
)
_BY_NAME = {step.name: step for step in STEPS}


def step(name: str) -> Step:
    """The step of that name."""
    return _BY_NAME[name]


def order(parameters: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The steps of a run with these parameters (`method` and `claims`) in their order, each with the steps it comes
    after: in place of one that the run does not have, those which that one comes after."""
    afters: dict[str, tuple[str, ...]] = {}
    for step in STEPS:
        before: list[str] = []
        for name in step.after:
            before += [name] if _BY_NAME[name].belongs(parameters) else afters[name]
        afters[step.name] = tuple(dict.fromkeys(before))
    return [(step.name, afters[step.name]) for step in STEPS if step.belongs(parameters)]
