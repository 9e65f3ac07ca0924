"""summarize_descriptions: one description out of the several that text units give of an entity or relationship."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from fileintel.errors import ModelAnswerError
from fileintel.graph.answers import MOST_CHARACTERS, spoken, unwrapped, without_repetition
from fileintel.graph.asking import UnusableError
from fileintel.graph.graphrag_model import GraphRagAnswer, GraphRagModel, drive
from fileintel.model import ChatAnswer, ChatRequest, Stage
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
    summarized in rounds. An answer without text is asked for once more. Raises the chat model's errors, and
    ModelAnswerError when the second answer is empty too.
    """
    from graphrag.index.operations.summarize_descriptions.description_summary_extractor import SummarizeExtractor
    from graphrag.prompts.index.summarize_descriptions import SUMMARIZE_PROMPT

    stage = None
    if staged:
        named = name if isinstance(name, str) else list(name)
        given = {"name": named, "descriptions": list(descriptions), "max_length": max_length}
        stage = Stage("summarize_descriptions", given)
    extractor = SummarizeExtractor(
        model=GraphRagModel(chat, model, stage=stage, tokenizer=tokenizer, read=_read),  # type: ignore[arg-type]
        max_summary_length=max_length,
        # A stage holds all descriptions: in rounds the same would be asked again and again.
        max_input_tokens=sys.maxsize if staged else max_input_tokens,
        summarization_prompt=SUMMARIZE_PROMPT,
    )
    summary = drive(extractor(id=name, descriptions=list(descriptions))).description.strip()
    if not summary:
        raise ModelAnswerError(f"the descriptions of {name} are empty")
    return summary


def _read(request: ChatRequest, answer: ChatAnswer, _again: bool) -> GraphRagAnswer:
    said = without_repetition(spoken(answer.content[:MOST_CHARACTERS]))
    text = unwrapped(said)
    if text.startswith("{"):
        text = _only_value(text)
    if not text:
        correction = "Your answer held no summary. Answer with the text of the summary alone."
        raise UnusableError("the model's summary is empty", raw=answer.content, correction=correction)
    # As it is where there is nothing to clean: it may be a part of the next round's prompt.
    return GraphRagAnswer(said if text == said.strip() else text)


def _only_value(text: str) -> str:
    """The text of a JSON object that holds nothing else, such as {"description": "…"}."""
    try:
        values = list(json.loads(text, strict=False).values())
    except ValueError:
        return text
    return values[0].strip() if len(values) == 1 and isinstance(values[0], str) else text
