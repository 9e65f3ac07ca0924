"""Questions: prompts are made on the main worker, answers are waited for on the gevent worker."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any

from fileintel.errors import FileIntelError, ModelAnswerError, ServiceError
from fileintel.model import Answer, Query
from fileintel.search.calls import Call, check
from fileintel.search.citations import resolve
from fileintel.search.marks import MarkStream
from fileintel.search.plan import Plan, final_request, request_from_json, request_to_json
from fileintel.search.prompts import REFUSAL
from fileintel.search.refusal import is_refusal
from fileintel.settings import load
from fileintel.store import queries, query_calls
from fileintel.tasks import bells, events, models, planning, process
from fileintel.tasks.app import app

logger = logging.getLogger(__name__)

# Of one question, so that one on a large collection leaves room for the others; the limiter bounds them all.
CALLS_AT_ONCE = 32


@app.task(name="query.plan", queue="rag_processing")
def plan_query(query_id: str) -> None:
    """Retrieve for a question and make the prompts of its next round, or of its answer."""
    query = queries.claim(query_id, process.worker_id(), planned=False)
    if query is None:
        return
    try:
        turn, course = planning.plan(query)
    except ServiceError as error:
        logger.warning("planning %s: %s; it will be tried again", query_id, error)
        queries.release(query_id)
    except FileIntelError as error:
        _fail(query_id, error.code, str(error))
    except Exception as error:
        logger.exception("planning %s", query_id)
        _fail(query_id, "internal", f"planning the answer failed ({type(error).__name__}): report this")
    else:
        plan = None if turn.plan is None else turn.plan.to_json()
        saved = queries.save_plan(
            query_id,
            process.worker_id(),
            {"plan": plan, "version": course.version},
            course=planning.course_json(course),
            calls=[_call_json(call) for call in turn.calls],
        )
        if saved:
            bells.ring_query(query_id)


@app.task(name="query.answer", queue="graphrag_queries")
def answer_query(query_id: str) -> None:
    """Ask the LLM what was planned; then give the question back for its next round, or stream its answer to whoever
    follows and store it with its checked citations."""
    query = queries.claim(query_id, process.worker_id(), planned=True)
    if query is None:
        return
    try:
        stored = queries.plan(query_id)
        if stored is None:
            return
        _ask(query_id)
        if stored["plan"] is None:
            if queries.plan_again(query_id, process.worker_id()):
                bells.ring_query(query_id)
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


def _call_json(call: Call) -> dict[str, Any]:
    # Only the embedded model works from stages; for others they would double every row.
    request = call.request if models.staged(call.request.model) else replace(call.request, stage=None)
    return {"kind": call.kind, "about": dict(call.about), "request": request_to_json(request)}


def _fail(query_id: str, code: str, error: str) -> None:
    queries.fail(query_id, code, error)
    events.publish(query_id, events.END, {})


def _ask(query_id: str) -> None:
    """Make the calls of a question that have no answer yet, many at once; each answer is stored as it comes."""
    missing = query_calls.unanswered(query_id)
    if not missing:
        return
    # Under gevent these threads are greenlets.
    with ThreadPoolExecutor(min(CALLS_AT_ONCE, len(missing)), thread_name_prefix="call") as pool:
        asked = [pool.submit(_ask_one, query_id, round_, number) for round_, number in missing]
        try:
            for call in as_completed(asked):
                call.result()
        except BaseException:
            # The others would only keep the model busy; what they were answered is stored.
            for call in asked:
                call.cancel()
            raise


def _ask_one(query_id: str, round_: int, number: int) -> None:
    found = query_calls.call(query_id, round_, number)
    if found is None:
        return
    kind, request = found[0], request_from_json(found[1])
    chat = models.LimitedChat(priority=True)
    answer = chat.complete(request)
    try:
        check(kind, answer.content)
    except ModelAnswerError as error:
        again = chat.complete(request)
        answer = replace(
            again, tokens_in=answer.tokens_in + again.tokens_in, tokens_out=answer.tokens_out + again.tokens_out
        )
        try:
            check(kind, answer.content)
        except ModelAnswerError:
            if kind == "map":  # without it a part of the collection would go unread
                raise
            logger.warning("a %s call of question %s: %s, twice", kind, query_id, error)
    query_calls.save(query_id, round_, number, answer)


def _answer(query: Query, plan: Plan, version: int | None) -> Answer:
    stream = MarkStream(plan.sources)
    said: list[str] = []
    tokens_in, tokens_out = query_calls.tokens(query.id)
    if plan.answerable:
        chat = models.LimitedChat(priority=True)
        request = final_request(plan, [call.answer for call in query_calls.answered(query.id, "map")])
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


def _pass_on(query_id: str, text: str) -> None:
    if text:
        payload: dict[str, Any] = {"text": text}
        events.publish(query_id, "delta", payload)
