"""create_community_reports: what one community is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fileintel.graph.graphrag_model import GraphRagAnswer, GraphRagModel, drive
from fileintel.graph.report_json import read_report
from fileintel.model import ChatAnswer, ChatRequest, CommunityReport, Finding, Stage, content_hash
from fileintel.protocols import ChatModel


def community_report(
    community: int,
    level: int,
    context: str,
    *,
    chat: ChatModel,
    model: str,
    max_length: int,
    stage_inputs: Mapping[str, Any] | None,
) -> CommunityReport:
    """Write a report with GraphRAG's CommunityReportsExtractor; `max_length` is in words.

    An answer that cannot be read as a report is asked for once more. `stage_inputs` are the context's rows for the
    embedded extractive model, None for an LLM. Raises the chat model's errors, which GraphRAG itself would swallow,
    and ModelAnswerError with what was said when the second answer is unreadable or untitled too.
    """
    from graphrag.index.operations.summarize_communities.community_reports_extractor import CommunityReportsExtractor
    from graphrag.prompts.index.community_report import COMMUNITY_REPORT_PROMPT

    stage = None
    if stage_inputs is not None:
        stage = Stage("community_report", {**stage_inputs, "max_length": max_length})
    failures: list[BaseException] = []
    unreadable = 0

    def read(_request: ChatRequest, answer: ChatAnswer, _again: bool) -> GraphRagAnswer:
        nonlocal unreadable
        written, unreadable = read_report(answer)
        return GraphRagAnswer(answer.content, written)

    extractor = CommunityReportsExtractor(
        model=GraphRagModel(chat, model, stage=stage, read=read),  # type: ignore[arg-type]
        extraction_prompt=COMMUNITY_REPORT_PROMPT,
        max_report_length=max_length,
        on_error=lambda error, _stack, _details: failures.append(error) if error else None,
    )
    result = drive(extractor(context))
    if failures:
        raise failures[0]
    written = result.structured_output
    if written is None:
        raise RuntimeError("GraphRAG gave neither a report nor an error")
    return CommunityReport(
        id=content_hash("community_report", community, result.output)[:32],
        community=community,
        level=level,
        title=written.title,
        summary=written.summary,
        full_content=result.output,
        rank=float(written.rating),
        rank_explanation=written.rating_explanation,
        findings=tuple(Finding(f.summary, f.explanation) for f in written.findings),
        unreadable=unreadable,
    )
