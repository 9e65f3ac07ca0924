"""extract_graph: the entities and relationships that one text unit speaks of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fileintel.graph import structured
from fileintel.graph.answers import spoken, without_repetition
from fileintel.graph.asking import UnusableError
from fileintel.graph.graphrag_model import GraphRagAnswer, GraphRagModel, drive
from fileintel.graph.records import END, read_records
from fileintel.graph.structured import ExtractionFormat
from fileintel.model import ChatAnswer, ChatRequest, EntityMention, Extraction, RelationshipMention, Stage
from fileintel.protocols import ChatModel

FORM = (
    'Write each entity as ("entity"<|>NAME<|>TYPE<|>DESCRIPTION) and each relationship as'
    ' ("relationship"<|>SOURCE<|>TARGET<|>DESCRIPTION<|>STRENGTH), with ## between them and <|COMPLETE|> at the end,'
    " and write nothing else. If the text speaks of no entity of the given types, answer <|COMPLETE|> alone."
)
# An answer that says in words that there is nothing is short.
_LONGEST_NOTHING = 600
_NOTHING = re.compile(
    r"""\A\W*(?:none|nothing|null|n/?a|empty|\[\s*\])\W*\Z
      | \b(?:no|none|nothing|not|zero|don't|doesn't|didn't|couldn't|without
            |keine?r?|aucune?|ninguna?|nessuna?|geen|inga)
        \b[^.]{0,200}\b(?:entit|entidad|relation|record|found|identif|extract|mention|gefunden|trouv)""",
    re.IGNORECASE | re.VERBOSE,
)

# What the JSON form has in place of the end mark.
_NO_ENTITIES = re.compile(r'"entities"\s*:\s*\[\s*\]')


def extract_graph(
    text: str,
    *,
    chat: ChatModel,
    model: str,
    entity_types: Sequence[str],
    max_gleanings: int,
    staged: bool,
    form: ExtractionFormat = "tuples",
) -> Extraction:
    """Extract one text unit with GraphRAG's GraphExtractor, its gleanings included.

    An answer that holds no entity though it does not end as one without should, or more broken records than readable
    ones, is asked for once more in the same conversation. `staged` sends the stage's input beside the prompt (the
    embedded extractive model works from it). With the `form` json the same is asked for as JSON, by a schema where the
    server takes one. Raises the chat model's errors, which GraphRAG itself would swallow, and
    ModelAnswerError with what was said when the second answer holds no entity either and does not say that there is
    none.
    """
    from graphrag.index.operations.extract_graph.graph_extractor import GraphExtractor
    from graphrag.prompts.index.extract_graph import GRAPH_EXTRACTION_PROMPT, LOOP_PROMPT

    text = text.strip()
    stage = Stage("extract_graph", {"text": text, "entity_types": list(entity_types)}) if staged else None
    as_json = form == "json" and not staged
    reading = _Reading(LOOP_PROMPT, structured.FORM if as_json else FORM)
    asked = GraphRagModel(
        chat,
        model,
        stage=stage,
        read=reading.read,
        json_schema=(lambda question: None if question == LOOP_PROMPT else structured.SCHEMA) if as_json else None,
    )
    extractor = GraphExtractor(
        model=asked,  # type: ignore[arg-type]
        prompt=structured.json_prompt() if as_json else GRAPH_EXTRACTION_PROMPT,
        max_gleanings=max_gleanings,
    )
    # Calling the extractor itself would log and swallow errors and read the answers into data frames, which costs
    # the gevent hub ten times as much as `read_records`.
    drive(extractor._process_document(text, list(entity_types)))
    return reading.found()


class _Reading:
    """Reads the answers of one extraction one by one and judges the first, without which gleanings are worth nothing.

    `loop_prompt` is the question whose answer is a letter, `form` what a useless answer is told to look like.
    """

    def __init__(self, loop_prompt: str, form: str) -> None:
        self._loop_prompt = loop_prompt
        self._form = form
        self._refused: tuple[str, Extraction] | None = None
        self._parts: list[Extraction] = []

    def found(self) -> Extraction:
        """All that was read."""
        if len(self._parts) == 1:
            return self._parts[0]
        return Extraction(
            tuple(entity for part in self._parts for entity in part.entities),
            tuple(relationship for part in self._parts for relationship in part.relationships),
            sum(part.unreadable for part in self._parts),
        )

    def read(self, request: ChatRequest, answer: ChatAnswer, again: bool) -> GraphRagAnswer:
        """Read an answer; raises UnusableError if it is the first and of no use."""
        said = without_repetition(spoken(answer.content))
        if request.messages[-1].content == self._loop_prompt:
            return GraphRagAnswer(said.strip())
        found = read_records(answer.content, cut_off=answer.finish_reason == "length")
        if len(request.messages) == 1 and not _is_usable(said, found):
            said, found = self._second_best(answer, said, found, again)
        self._parts.append(found)
        return GraphRagAnswer(said)

    def _second_best(self, answer: ChatAnswer, said: str, found: Extraction, again: bool) -> tuple[str, Extraction]:
        if not again:
            self._refused = (said, found)
        else:
            best = max([(said, found), *([self._refused] if self._refused else [])], key=lambda one: _size(one[1]))
            if best[1].entities:
                return best
            if not _size(found) and not found.unreadable and _says_nothing(said):
                return said, found
        if found.unreadable and _size(found):
            message = f"{found.unreadable} records of the model's answer to extract_graph cannot be read"
            correction = f"{found.unreadable} of your records cannot be read. Write all of them again. {self._form}"
        else:
            message = "the model's answer to extract_graph holds no entity and no end mark"
            correction = f"Your answer holds no entity in the form that was asked for. {self._form}"
        raise UnusableError(message, raw=answer.content, correction=correction)


def _size(found: Extraction) -> int:
    return len(found.entities) + len(found.relationships)


def _is_usable(said: str, found: Extraction) -> bool:
    if found.entities:
        return found.unreadable <= _size(found)
    return (END in said or _NO_ENTITIES.search(said) is not None) and not found.unreadable


def _says_nothing(said: str) -> bool:
    return len(said) <= _LONGEST_NOTHING and _NOTHING.search(said) is not None


def extraction_json(extraction: Extraction) -> dict[str, Any]:
    """An extraction as it is stored: short rows instead of repeated keys, `unreadable` only where there is any."""
    stored: dict[str, Any] = {
        "entities": [[e.title, e.type, e.description] for e in extraction.entities],
        "relationships": [[r.source, r.target, r.description, r.weight] for r in extraction.relationships],
    }
    if extraction.unreadable:
        stored["unreadable"] = extraction.unreadable
    return stored


def extraction_of(stored: dict[str, Any]) -> Extraction:
    """The extraction that `extraction_json` stored."""
    return Extraction(
        entities=tuple(EntityMention(*row) for row in stored["entities"]),
        relationships=tuple(RelationshipMention(*row) for row in stored["relationships"]),
        unreadable=stored.get("unreadable", 0),
    )
