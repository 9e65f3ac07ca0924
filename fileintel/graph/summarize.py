"""summarize_descriptions: one description out of the several that text units give of an entity or relationship."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fileintel.errors import ModelAnswerError
from fileintel.graph.graphrag_model import GraphRagModel, drive
from fileintel.model import Stage
from fileintel.protocols import ChatModel, Tokenizer


def summarize_descriptions(
    name: str | tuple[str, str],
    descriptions: Sequence[str],
    *,
    chat: ChatModel,
    model: str,
    tokenizer: Tokenizer,
    max_length: int,
    max_input_tokens: int,
    staged: bool,
) -> str:
    """Summarize with GraphRAG's SummarizeExtractor; `name` is a title, or a relationship's two ends.

    `max_length` is in words, as GraphRAG's prompt has it; descriptions of more than `max_input_tokens` tokens are
    summarized in rounds. Raises the chat model's errors, and ModelAnswerError for
    an empty answer.
    """
    from graphrag.index.operations.summarize_descriptions.description_summary_extractor import SummarizeExtractor
    from graphrag.prompts.index.summarize_descriptions import SUMMARIZE_PROMPT

    stage = None
    if staged:
        named = name if isinstance(name, str) else list(name)
        given = {"name": named, "descriptions": list(descriptions), "max_length": max_length}
        stage = Stage("summarize_descriptions", given)
    extractor = SummarizeExtractor(
        model=GraphRagModel(chat, model, stage=stage, tokenizer=tokenizer),  # type: ignore[arg-type]
        max_summary_length=max_length,
        # A stage holds all descriptions: in rounds the same would be asked again and again.
        max_input_tokens=sys.maxsize if staged else max_input_tokens,
        summarization_prompt=SUMMARIZE_PROMPT,
    )
    summary = drive(extractor(id=name, descriptions=list(descriptions))).description.strip()
    if not summary:
        raise ModelAnswerError(f"the model's summary of {name} is empty")
    return summary
