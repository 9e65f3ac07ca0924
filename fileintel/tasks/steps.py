"""The steps of an index run under GraphRAG's own workflow names, and what each comes after.

Steps that need nothing of one another run side by side: communities are found while descriptions are summarized, a
report is asked for as soon as what it is written from is there, and vectors are made of whatever is complete.
"""

from __future__ import annotations

from dataclasses import dataclass

INDEXING = "graphrag_indexing"
EMBEDDING = "embedding_processing"


@dataclass(frozen=True, slots=True)
class Step:
    """A step; its items are worked on by tasks of `queue`, and none is planned before the steps `after` are done."""

    name: str
    queue: str
    after: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether its items wait for the LLM server (gevent worker) rather than compute (main worker)."""
        return self.queue == INDEXING


STEPS = (
    Step("create_base_text_units", "default"),
    Step("extract_graph", INDEXING, ("create_base_text_units",)),
    Step("merge", "default", ("extract_graph",)),
    Step("summarize_descriptions", INDEXING, ("merge",)),
    Step("create_communities", "default", ("merge",)),
    Step("finalize_graph", "default", ("summarize_descriptions",)),
    Step("create_community_reports", INDEXING, ("create_communities",)),
    Step("generate_text_embeddings", EMBEDDING, ("merge",)),
    Step("publish", "default", ("finalize_graph", "create_community_reports", "generate_text_embeddings")),
)
_BY_NAME = {step.name: step for step in STEPS}


def step(name: str) -> Step:
    """The step of that name."""
    return _BY_NAME[name]


def order() -> list[tuple[str, tuple[str, ...]]]:
    """All steps in their order, each with the steps it comes after."""
    return [(step.name, step.after) for step in STEPS]
