"""extract_graph: the entities and relationships that one text unit speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fileintel.errors import ModelAnswerError
from fileintel.graph.graphrag_model import GraphRagModel, drive
from fileintel.model import ChatAnswer, ChatRequest, EntityMention, Extraction, RelationshipMention, Stage
from fileintel.protocols import ChatModel

END = "<|COMPLETE|>"


class _Listening:
    """Passes requests on and keeps the answers, so that an extraction without a single record can be judged."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat
        self.heard: list[str] = []

    def complete(self, request: ChatRequest) -> ChatAnswer:
        answer = self._chat.complete(request)
        self.heard.append(answer.content)
        return answer

    def stream(self, request: ChatRequest) -> Any:
        raise NotImplementedError("an extraction is read whole")


def extract_graph(
    text: str, *, chat: ChatModel, model: str, entity_types: Sequence[str], max_gleanings: int, staged: bool
) -> Extraction:
    """Extract one text unit with GraphRAG's GraphExtractor.

    `staged` sends the stage's input beside the prompt (the embedded extractive model works from it).
    Raises the chat model's errors, which GraphRAG itself would swallow, and ModelAnswerError for an answer that
    holds neither a record nor the end mark.
    """
    from graphrag.index.operations.extract_graph.graph_extractor import GraphExtractor
    from graphrag.prompts.index.extract_graph import GRAPH_EXTRACTION_PROMPT

    text = text.strip()
    stage = Stage("extract_graph", {"text": text, "entity_types": list(entity_types)}) if staged else None
    listening = _Listening(chat)
    failures: list[BaseException] = []
    extractor = GraphExtractor(
        model=GraphRagModel(listening, model, stage=stage),  # type: ignore[arg-type]
        prompt=GRAPH_EXTRACTION_PROMPT,
        max_gleanings=max_gleanings,
        on_error=lambda error, _stack, _details: failures.append(error) if error else None,
    )
    entities, relationships = drive(extractor(text, entity_types=list(entity_types), source_id=""))
    if failures:
        raise failures[0]
    found = Extraction(
        entities=tuple(
            EntityMention(title=row["title"], type=row["type"], description=row["description"])
            for row in entities.to_dict("records")
            if row["title"]
        ),
        relationships=tuple(
            RelationshipMention(
                source=row["source"],
                target=row["target"],
                description=row["description"],
                weight=float(row["weight"]),
            )
            for row in relationships.to_dict("records")
            if row["source"] and row["target"]
        ),
    )
    if not found.entities and END not in "".join(listening.heard):
        raise ModelAnswerError(
            "the model's answer to extract_graph holds no entity and no end mark", raw="\n".join(listening.heard)
        )
    return found


def extraction_json(extraction: Extraction) -> dict[str, Any]:
    """An extraction as it is stored: short rows instead of repeated keys."""
    return {
        "entities": [[e.title, e.type, e.description] for e in extraction.entities],
        "relationships": [[r.source, r.target, r.description, r.weight] for r in extraction.relationships],
    }


def extraction_of(stored: dict[str, Any]) -> Extraction:
    """The extraction that `extraction_json` stored."""
    return Extraction(
        entities=tuple(EntityMention(*row) for row in stored["entities"]),
        relationships=tuple(RelationshipMention(*row) for row in stored["relationships"]),
    )
