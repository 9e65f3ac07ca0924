"""extract_graph: the entities and relationships that one text unit speaks of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fileintel.errors import ModelAnswerError
from fileintel.graph.graphrag_model import GraphRagModel, drive
from fileintel.model import ChatAnswer, ChatRequest, EntityMention, Extraction, RelationshipMention, Stage
from fileintel.protocols import ChatModel

END = "<|COMPLETE|>"
# Records lie between "##" and the end mark; where a model forgot the "##", a record's head begins the next.
_BORDER = re.compile(r'##|<\|COMPLETE\|>|(?m:^\s*```\w*\s*$)|(?=\("(?:entity|relationship)"<\|>)')
# No name is longer: a longer one is a record that lost its delimiters, and no index could hold it.
LONGEST_TITLE = 500
# Far above the scales that models use (10, 100), far below where sums of strengths leave what a float holds.
HIGHEST_STRENGTH = 1_000_000.0


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
    """Extract one text unit with GraphRAG's GraphExtractor, its gleanings included.

    `staged` sends the stage's input beside the prompt (the embedded extractive model works from it).
    Raises the chat model's errors, which GraphRAG itself would swallow, and ModelAnswerError when the first answer
    holds no end mark and no answer an entity.
    """
    from graphrag.index.operations.extract_graph.graph_extractor import GraphExtractor
    from graphrag.prompts.index.extract_graph import GRAPH_EXTRACTION_PROMPT

    text = text.strip()
    stage = Stage("extract_graph", {"text": text, "entity_types": list(entity_types)}) if staged else None
    listening = _Listening(chat)
    extractor = GraphExtractor(
        model=GraphRagModel(listening, model, stage=stage),  # type: ignore[arg-type]
        prompt=GRAPH_EXTRACTION_PROMPT,
        max_gleanings=max_gleanings,
    )
    # Calling the extractor itself would log and swallow errors and read the answers into data frames, which costs
    # the gevent hub ten times as much as `read_records`.
    found = read_records(drive(extractor._process_document(text, list(entity_types))))
    if not found.entities and END not in listening.heard[0]:
        raise ModelAnswerError(
            "the model's answer to extract_graph holds no entity and no end mark", raw="\n".join(listening.heard)
        )
    return found


def read_records(answers: str) -> Extraction:
    """Read GraphRAG's tuple records as its GraphExtractor does, but lose none beside an end mark.

    GraphRAG takes the end mark for a part of the record before it (its strength becomes 1, its description holds the
    mark) and of the first one gleaned after it (which is lost); likewise with fences around an answer.
    """
    from graphrag.index.utils.string import clean_str

    entities: list[EntityMention] = []
    relationships: list[RelationshipMention] = []
    for raw in _BORDER.split(answers):
        kind, *fields = re.sub(r"^\(|\)$", "", raw.strip()).split("<|>")
        if kind == '"entity"' and len(fields) >= 3:
            title = clean_str(fields[0].upper())
            if _is_title(title):
                entities.append(EntityMention(title, clean_str(fields[1].upper()), clean_str(fields[2])))
        elif kind == '"relationship"' and len(fields) >= 4:
            source, target = clean_str(fields[0].upper()), clean_str(fields[1].upper())
            if _is_title(source) and _is_title(target):
                relationships.append(
                    RelationshipMention(source, target, clean_str(fields[2]), weight=_strength(fields[-1]))
                )
    return Extraction(tuple(entities), tuple(relationships))


def _is_title(title: str) -> bool:
    return 0 < len(title) <= LONGEST_TITLE


def _strength(field: str) -> float:
    try:
        strength = float(field)
    except ValueError:
        return 1.0
    # "nan" and "inf" read as numbers too; neither they nor what is below 0 can be stored and clustered.
    return strength if 0.0 <= strength <= HIGHEST_STRENGTH else 1.0


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
