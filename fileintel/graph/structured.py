"""Asking for an extraction as JSON instead of GraphRAG's tuples, for servers that hold a model to a schema."""

from __future__ import annotations

import functools
from typing import Any, Literal

ExtractionFormat = Literal["tuples", "json"]

FORM = (
    'Answer with one JSON object and nothing else: {"entities": [{"name": string, "type": string, "description":'
    ' string}, …], "relationships": [{"source": string, "target": string, "description": string, "strength": number},'
    ' …]}. If the text speaks of no entity of the given types, answer {"entities": [], "relationships": []}.'
)


def _list_of(**kinds: str) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in kinds.items()}
    return {"type": "array", "items": {"type": "object", "properties": properties, "required": list(properties)}}


SCHEMA: dict[str, Any] = {
    "title": "Extraction",
    "type": "object",
    "properties": {
        "entities": _list_of(name="string", type="string", description="string"),
        "relationships": _list_of(source="string", target="string", description="string", strength="number"),
    },
    "required": ["entities", "relationships"],
}


@functools.cache
def json_prompt() -> str:
    """GraphRAG's extraction prompt with its instructions as they are, less the tuples: its examples, its delimiters.

    Takes the same `entity_types` and `input_text`. Raises RuntimeError when GraphRAG's prompt is not the one this
    was written for.
    """
    from graphrag.prompts.index.extract_graph import GRAPH_EXTRACTION_PROMPT

    instructions, output, _ = GRAPH_EXTRACTION_PROMPT.partition("3. Return output in English")
    lines = instructions.split("\n")
    kept = [line for line in lines if not line.strip().startswith(("Format each entity", "Format each relationship"))]
    _, real, data = GRAPH_EXTRACTION_PROMPT.rpartition("-Real Data-")
    if not output or not real or len(kept) != len(lines) - 2:
        raise RuntimeError("GraphRAG's extraction prompt has changed: set FILEINTEL_EXTRACTION_FORMAT=tuples")
    form = FORM.replace("{", "{{").replace("}", "}}")
    return "\n".join(kept) + f"3. Answer in English. {form}\n \n######################\n-Real Data-{data}"
