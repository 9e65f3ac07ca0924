"""Questions: prompts are made on the main worker, answers are waited for on the gevent worker."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from fileintel.errors import ConflictError, FileIntelError, ModelAnswerError, ServiceError
from fileintel.model import Answer, ChatRequest, Collection, Entity, Query, Source
from fileintel.search.basic import plan_basic
from fileintel.search.citations import resolve
from fileintel.search.global_ import parse_points, plan_global
from fileintel.search.local import plan_local
from fileintel.search.marks import MarkStream
from fileintel.search.plan import Plan, final_request
from fileintel.search.prompts import REFUSAL
from fileintel.search.ranking import fuse
from fileintel.search.refusal import is_refusal
from fileintel.search.routing import route
from fileintel.settings import load
from fileintel.store import collections, covariates, graph, queries, retrieval
from fileintel.tasks import bells, events, models, process
from fileintel.tasks.app import app

logger = logging.getLogger(__name__)

HITS = 30
NEAREST_ENTITIES = 10
UNITS_OF_ENTITIES = 60
# GraphRAG's community level for global questions: the finest up to it is read.
COMMUNITY_LEVEL = 1
MAP_AT_ONCE = 32


@app.task(name="query.plan", queue="rag_processing")
def plan_query(query_id: str) -> None:
    """Retrieve for a question and make all of its prompts."""
    query = queries.claim(query_id, process.worker_id(), planned=False)
    if query is None:
        return
    try:
        plan, version = _plan(query)
    except ServiceError as error:
        logger.warning("planning %s: %s; it will be tried again", query_id, error)
        queries.release(query_id)
    except FileIntelError as error:
        _fail(query_id, error.code, str(error))
    except Exception as error:
        logger.exception("planning %s", query_id)
        _fail(query_id, "internal", f"planning the answer failed ({type(error).__name__}): report this")
    else:
        queries.save_plan(query_id, process.worker_id(), {"plan": plan.to_json(), "version": version})
        bells.ring_query(query_id)


@app.task(name="query.answer", queue="graphrag_queries")
def answer_query(query_id: str) -> None:
    """Ask the LLM, stream the answer to whoever follows, and store it with its checked citations."""
    query = queries.claim(query_id, process.worker_id(), planned=True)
    if query is None:
        return
    try:
        stored = queries.plan(query_id)
        if stored is None:
            return
        answer = _answer(query, Plan.from_json(stored["plan"]), stored["version"])
    except ServiceError as error:
        logger.warning("answering %s: %s", query_id, error)
        events.publish(query_id, "restart", {})
        queries.release(query_id)
    except FileIntelError as error:
        _fail(query_id, error.code, str(error))
    except Exception as error:
        logger.exception("answering %s", query_id)
        _fail(query_id, "internal", f"answering failed ({type(error).__name__}): report this")
    else:
        queries.finish(query_id, answer)
        events.publish(query_id, events.END, {})


def _fail(query_id: str, code: str, error: str) -> None:
    queries.fail(query_id, code, error)
    events.publish(query_id, events.END, {})


def _plan(query: Query) -> tuple[Plan, int | None]:
    collection = collections.get(query.collection_id)
    version = collection.published_version
    vector = models.embed([query.question])[query.question]
    near = retrieval.nearest_entities(version, vector, NEAREST_ENTITIES) if version is not None else []
    mode: str = query.mode
    named: tuple[str, ...] = ()
    if mode == "auto":
        chosen = route(query.question, has_graph=version is not None, entity_titles=[e.title for e in near])
        mode, named = chosen.mode, chosen.entities
    vector_hits = retrieval.nearest_units(collection.id, vector, HITS)
    text_hits = retrieval.matching_units(collection.id, query.question, HITS)
    if mode == "basic":
        plan = plan_basic(
            query.question,
            vector_hits=vector_hits,
            text_hits=text_hits,
            tokenizer=models.tokenizer(),
            model=models.chat_model_name(),
        )
        return plan, version
    if version is None:
        raise ConflictError(
            f"collection '{collection.name}' has no published graph: run `fileintel graphrag index {collection.name}`, "
            "or ask with mode basic"
        )
    # Fused, since the scores of the two searches do not compare.
    hits = fuse(vector_hits, text_hits)
    if mode == "local":
        return _plan_local(query, collection, version, near, named, hits), version
    return _plan_global(query, collection, version, hits), version


def _plan_local(
    query: Query, collection: Collection, version: int, near: list[Entity], named: tuple[str, ...], hits: list[Source]
) -> Plan:
    first = [entity for entity in near if entity.title in named]
    entities = first + [entity for entity in near if entity.title not in named]
    units = list(dict.fromkeys(unit for entity in entities for unit in entity.text_unit_ids))[:UNITS_OF_ENTITIES]
    communities = graph.communities_of(version, [entity.id for entity in entities])
    return plan_local(
        query.question,
        entities=entities,
        relationships=graph.relationships_of(version, [entity.title for entity in entities]),
        reports=graph.reports_of(version, [community.number for community in communities]),
        communities=communities,
        units=_once([*hits, *retrieval.units(collection.id, units)]),
        claims=covariates.claims_about(version, [entity.title for entity in entities]),
        tokenizer=models.tokenizer(),
        model=models.chat_model_name(),
    )


def _plan_global(query: Query, collection: Collection, version: int, hits: list[Source]) -> Plan:
    every = graph.communities(version, limit=10_000_000)
    parents = {community.parent for community in every if community.level <= COMMUNITY_LEVEL}
    read = [
        community
        for community in every
        if community.level == COMMUNITY_LEVEL or (community.level < COMMUNITY_LEVEL and community.number not in parents)
    ]
    reports = graph.reports_of(version, [community.number for community in read])
    heaviest = {report.community for report in reports[:10]}
    units = list(
        dict.fromkeys(unit for community in read if community.number in heaviest for unit in community.text_unit_ids)
    )[:UNITS_OF_ENTITIES]
    return plan_global(
        query.question,
        reports=reports,
        communities=read,
        units=_once([*hits, *retrieval.units(collection.id, units)]),
        tokenizer=models.tokenizer(),
        model=models.chat_model_name(),
    )


def _once(sources: list[Source]) -> list[Source]:
    """Each text unit once, with its first (search) score."""
    found: dict[str, Source] = {}
    for source in sources:
        found.setdefault(source.text_unit_id, source)
    return [replace(source, number=number) for number, source in enumerate(found.values(), start=1)]


def _answer(query: Query, plan: Plan, version: int | None) -> Answer:
    stream = MarkStream(plan.sources)
    said: list[str] = []
    tokens_in = tokens_out = 0
    if plan.answerable:
        chat = models.LimitedChat(priority=True)
        mapped, tokens_in, tokens_out = _map(plan)
        request = final_request(plan, mapped)
        for piece in chat.stream(request):
            said.append(piece)
            _pass_on(query.id, stream.push(piece))
        tokens_in += sum(models.tokenizer().count(message.content) for message in request.messages)
        tokens_out += models.tokenizer().count("".join(said))
    else:
        said.append(REFUSAL)
        _pass_on(query.id, stream.push(REFUSAL))
    _pass_on(query.id, stream.finish())
    resolved = resolve("".join(said), plan.sources)
    settings = load()
    return Answer(
        text=resolved.text,
        mode=plan.mode,
        citations=resolved.citations,
        refused=is_refusal(resolved.text),
        marks_removed=resolved.removed,
        chat_model=settings.chat_model,
        embedding_model=settings.embedding_model,
        index_version=version,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
    )


def _map(plan: Plan) -> tuple[list[str], int, int]:
    if not plan.map_requests:
        return [], 0, 0
    # Under gevent these threads are greenlets.
    with ThreadPoolExecutor(min(MAP_AT_ONCE, len(plan.map_requests)), thread_name_prefix="map") as pool:
        answers = list(pool.map(_map_one, plan.map_requests))
    return [a[0] for a in answers], sum(a[1] for a in answers), sum(a[2] for a in answers)


def _map_one(request: ChatRequest) -> tuple[str, int, int]:
    chat = models.LimitedChat(priority=True)
    answer = chat.complete(request)
    try:
        parse_points(answer.content)
    except ModelAnswerError:
        # Asked once more; an answer that is unreadable again ends the question with its error.
        answer = chat.complete(request)
        parse_points(answer.content)
    return answer.content, answer.tokens_in, answer.tokens_out


def _pass_on(query_id: str, text: str) -> None:
    if text:
        payload: dict[str, Any] = {"text": text}
        events.publish(query_id, "delta", payload)
