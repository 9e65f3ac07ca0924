"""Estimating a build: its own stages gone through with a model that only remembers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fileintel.graph.cluster import create_communities
from fileintel.graph.contexts import brought_relationships
from fileintel.graph.estimate import (
    CLAIMS,
    DEFAULTS,
    EXTRACT,
    REPORT,
    SUMMARIZE,
    Estimate,
    Measured,
    Rate,
    Ratios,
    StepEstimate,
    Tally,
    estimate,
    extraction_further_calls,
    ratios,
    step_estimate,
)
from fileintel.graph.extract import extraction_of
from fileintel.graph.preview import Preview, preview
from fileintel.graph.rehearsal import PIECE, Rehearsed, rehearse
from fileintel.model import ChatAnswer, ChatRequest, Community, Edge, Extraction, WorkItem
from fileintel.settings import load
from fileintel.store import collections, graph, runs
from fileintel.store import estimate as store
from fileintel.tasks import models, report_planning, stages

Parameters = Mapping[str, Any]
# Of larger collections an even sample of so many text units is gone through, so that neither time nor memory grow.
MOST_UNITS = 20_000
# Chat servers put a few tokens around every message.
_AROUND = 4


def estimate_build(collection_id: str, parameters: Parameters) -> Estimate:
    """What building a collection's index with these parameters asks of the LLM, made of its ready documents."""
    units = store.text_unit_ids(collection_id)
    stride = max(1, math.ceil(len(units) / MOST_UNITS))
    known = _known_ratios(parameters["chat_model"], collection_id)
    steps: list[StepEstimate] = []
    if parameters.get("method") == "fast":
        # Noun phrases are found without the LLM, and nothing is summarized.
        steps.append(step_estimate(REPORT, Tally(), known, unknown_units=float(len(units)), basis=""))
    else:
        extraction, found, unknown = _extraction(EXTRACT, units[::stride], parameters, known, stride)
        steps.append(extraction)
        if stride == 1 and found:
            extracted = [(unit, extraction_of(stored)) for unit, stored in found]
            steps += _beyond(collection_id, extracted, unknown, parameters, known)
        else:
            # A sample's graph is not a small graph of the whole.
            steps += (
                step_estimate(step, Tally(), known, unknown_units=float(len(units)), basis="")
                for step in (SUMMARIZE, REPORT)
            )
    if parameters.get("claims"):
        steps.append(_extraction(CLAIMS, units[::stride], parameters, known, stride)[0])
    settings = load()
    return estimate(
        steps,
        price_input=settings.price_input,
        price_output=settings.price_output,
        rate=_rate(parameters["chat_model"]),
    )


def _known_ratios(chat_model: str, collection_id: str) -> Ratios:
    found = DEFAULTS
    for scope, words in ((None, "other builds"), (collection_id, "this collection's last build")):
        run_ids, spent = store.spent_by_completed_runs(chat_model, scope)
        if run_ids:
            numbers = "run " + ", ".join(map(str, run_ids))
            found = ratios({step: Measured(**values) for step, values in spent.items()}, f"{words} ({numbers})", found)
    return found


def _rate(chat_model: str) -> Rate | None:
    measured = store.rate_of_completed_runs(chat_model)
    if measured is not None:
        return Rate(measured[0], f"measured in the last {measured[1]} completed builds")
    of_workers = store.rate_of_workers(chat_model)
    if of_workers is not None:
        per_second, limit, seconds = of_workers
        return Rate(per_second, f"{limit} calls at once, the workers' last limit, of {seconds:.1f} s each")
    return None


def _extraction(
    step: str, units: Sequence[str], parameters: Parameters, known: Ratios, stride: int
) -> tuple[StepEstimate, list[tuple[str, dict[str, Any]]], int]:
    """The estimate of a step that reads each text unit, what is remembered of it, and how many units are not whole."""
    tokenizer = models.tokenizer()
    tally, further = Tally(), Tally()
    found: list[tuple[str, dict[str, Any]]] = []
    calls_of_done: list[int] = []
    first_out: list[int] = []
    overhead: int | None = None
    asked: list[tuple[int, tuple[ChatAnswer, ...]]] = []
    for start in range(0, len(units), PIECE):
        piece = store.text_units(units[start : start + PIECE])
        work = (
            partial(_ask, step=step, key=unit, given={"text": text}, parameters=parameters) for unit, text, _ in piece
        )
        rehearsed = rehearse(work, store.recall_many)
        for (unit, text, tokens), one in zip(piece, rehearsed, strict=True):
            tally.remembered += len(one.answers)
            tally.heard += [answer.tokens_out for answer in one.answers]
            first_out += [answer.tokens_out for answer in one.answers[:1]]
            if one.result is not None:
                found.append((unit, one.result))
                calls_of_done.append(len(one.answers))
                continue
            if overhead is None and one.asked is not None and not one.answers:
                # The prompt's own tokens are counted once: each text unit's are stored with it.
                overhead = _tokens(one.asked) - tokenizer.count(text)
            asked.append((tokens, one.answers))
    mean_calls = sum(calls_of_done) / len(calls_of_done) if calls_of_done else None
    beyond_first = extraction_further_calls(step, parameters["max_gleanings"], mean_calls, known)
    told = [tokens for tokens in first_out if tokens > 0]
    out = sum(told) / len(told) if told else known.tokens_out[step]
    prompt = overhead if overhead is not None else max(known.tokens_in[step] - 300, 0)
    for tokens, answers in asked:
        left = 1.0 + beyond_first - len(answers)
        further.to_make += max(left, 1.0)
        # A gleaning is shown the prompt and all answers so far.
        heard = sum(answer.tokens_out for answer in answers) or out * len(answers)
        further.tokens_in += (prompt + tokens + heard) * max(left, 1.0) + out * beyond_first * (not answers)
    tally.to_make, tally.tokens_in = further.to_make, further.tokens_in
    basis = "the prompts of the documents as they are"
    if stride > 1:
        basis = f"the prompts of every {stride}th text unit"
    if asked and beyond_first:
        basis += ", gleanings as " + ("remembered" if mean_calls is not None else f"in {known.source}")
    result = step_estimate(step, tally, known, scale=float(stride), basis=basis)
    return result, found, len(asked)


def _ask(chat: Any, *, step: str, key: str, given: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:
    """A step's own work on one item, as the graphrag worker does it."""
    return stages.ASK[step](WorkItem(0, step, key, 1, given), chat, parameters)


def _beyond(
    collection_id: str,
    extracted: Sequence[tuple[str, Extraction]],
    unknown: int,
    parameters: Parameters,
    known: Ratios,
) -> tuple[StepEstimate, StepEstimate]:
    """The steps after extraction, gone through on the graph of what is remembered."""
    merged = preview(extracted, store.numbers(collection_id))
    basis = "the graph of the remembered extractions"
    summaries, descriptions, open_ = _summaries(merged, parameters)
    summarizing = step_estimate(SUMMARIZE, summaries, known, unknown_units=unknown, basis=basis)
    reports = _reports(collection_id, merged, descriptions, parameters)
    reporting = step_estimate(REPORT, reports, known, unknown_units=unknown, basis=basis)
    if open_ and reports.to_make:
        why = f"{open_} descriptions in their prompts being unwritten"
        reporting = replace(reporting, exact=False, basis=f"{reporting.basis}, {why}")
    return summarizing, reporting


def _summaries(merged: Preview, parameters: Parameters) -> tuple[Tally, dict[str, str], int]:
    tally = Tally()
    descriptions: dict[str, str] = {}
    several: list[tuple[str, Any, tuple[str, ...]]] = [
        (e.id, e.title, e.descriptions) for e in merged.entities if len(e.descriptions) > 1
    ]
    several += [(r.id, (r.source, r.target), r.descriptions) for r in merged.relationships if len(r.descriptions) > 1]
    open_ = 0
    work = (
        partial(_ask, step=SUMMARIZE, key=key, given={"name": name, "descriptions": list(said)}, parameters=parameters)
        for key, name, said in several
    )
    for (key, _, said), one in zip(several, rehearse(work, store.recall_many), strict=True):
        _count(tally, one)
        if one.result is None:
            open_ += 1
        # What stands for an unwritten summary is about as long, and equals none: reports that show it ask anew.
        descriptions[key] = one.result["description"] if one.result is not None else " ".join(said)[:2000]
    return tally, descriptions, open_


def _reports(collection_id: str, merged: Preview, descriptions: Mapping[str, str], parameters: Parameters) -> Tally:
    tally = Tally()
    entities = {e.id: replace(e, description=descriptions.get(e.id, e.description)) for e in merged.entities}
    relationships = {r.id: replace(r, description=descriptions.get(r.id, r.description)) for r in merged.relationships}
    edges = merged.edges
    communities = create_communities(
        edges, max_cluster_size=parameters["max_cluster_size"], before=_before(collection_id, parameters)
    )

    def work() -> Iterator[Any]:
        for community, ids in brought_relationships(communities, edges):
            given = report_planning.report_input(community, ids, entities, relationships, parameters)
            yield partial(_ask, step=REPORT, key=str(community.number), given=given, parameters=parameters)

    for one in rehearse(work(), store.recall_many):
        _count(tally, one)
    return tally


def _before(collection_id: str, parameters: Parameters) -> tuple[list[Edge], list[Community]] | None:
    """The graph whose communities the build would keep where nothing changed, if any."""
    base = collections.get(collection_id).published_version
    if base is None or parameters.get("recluster"):
        return None
    earlier = runs.parameters(base)
    if any(parameters.get(name) != earlier.get(name) for name in ("max_cluster_size", "method")):
        return None
    return graph.edges(base), graph.communities(base, limit=10_000_000)


def _count(tally: Tally, one: Rehearsed[Any]) -> None:
    tally.remembered += len(one.answers)
    tally.heard += [answer.tokens_out for answer in one.answers]
    if not one.done:
        tally.to_make += 1
        tally.tokens_in += 0 if one.asked is None else _tokens(one.asked)


def _tokens(request: ChatRequest) -> int:
    tokenizer = models.tokenizer()
    return sum(tokenizer.count(message.content) + _AROUND for message in request.messages)
