"""The steps of an index run, in order, under GraphRAG's own workflow names."""

from __future__ import annotations

from dataclasses import dataclass

INDEXING = "graphrag_indexing"


@dataclass(frozen=True, slots=True)
class Step:
    """A step; its items are worked on by tasks of `queue`."""

    name: str
    queue: str

    @property
    def waits(self) -> bool:
        """Whether its items wait for the LLM server (gevent worker) rather than compute (main worker)."""
        return self.queue == INDEXING


STEPS = (
    Step("create_base_text_units", "default"),
    Step("extract_graph", INDEXING),
    Step("merge", "default"),
    Step("summarize_descriptions", INDEXING),
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


def following(name: str) -> str | None:
    """The name of the step after this one, None after the last."""
    place = STEPS.index(_BY_NAME[name]) + 1
    return STEPS[place].name if place < len(STEPS) else None
