"""Basic search: the text units nearest to the question by vector and by words."""

from __future__ import annotations

from collections.abc import Sequence

from fileintel.model import ChatRequest, Source, Stage
from fileintel.protocols import Tokenizer
from fileintel.search.plan import Plan
from fileintel.search.prompts import ANSWER_SYSTEM, answer_messages, in_form, stage_sources
from fileintel.search.ranking import RRF_K, distinct, fuse, pack


def plan_basic(
    question: str,
    *,
    vector_hits: Sequence[Source],
    text_hits: Sequence[Source],
    tokenizer: Tokenizer,
    model: str,
    max_tokens: int = 8000,
    max_sources: int = 20,
    max_answer_tokens: int | None = None,
    k: int = RRF_K,
    response_type: str | None = None,
) -> Plan:
    """Plan an answer from text units alone; the hits come best first, their numbers and scores do not matter.

    `max_tokens` bounds the rendered sources, not the rules and the question around them.
    """
    fused = fuse(vector_hits, text_hits, k=k)
    candidates = distinct(fused)
    sources = pack(candidates, tokenizer=tokenizer, max_tokens=max_tokens, max_sources=max_sources)
    request = ChatRequest(
        model=model,
        messages=answer_messages(in_form(ANSWER_SYSTEM, response_type), question, sources),
        max_tokens=max_answer_tokens,
        stage=Stage("answer", {"question": question, "sources": stage_sources(sources)}),
    )
    note = f"{len(fused)} text units found, {len(fused) - len(candidates)} of them repeated, {len(sources)} shown"
    return Plan("basic", question, tuple(sources), answer_request=request, notes=(note,))
