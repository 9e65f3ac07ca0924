"""Index runs: plan a step's items, work on them, move the run on when the last is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fileintel.errors import (
    BudgetSpentError,
    FileIntelError,
    ModelAnswerError,
    ModelRequestError,
    ModelServerError,
    ServiceError,
)
from fileintel.model import WorkItem
from fileintel.store import budget, runs, work
from fileintel.store.work import MAX_ATTEMPTS, Spent
from fileintel.tasks import bells, process, purse, stages, steps
from fileintel.tasks.app import app
from fileintel.tasks.models import RememberingChat

logger = logging.getLogger(__name__)
T = TypeVar("T")

# The main worker's processes serve questions too: none of their tasks may keep a process for long.
TURN_SECONDS = 2.0


@app.task(name="index.plan", queue="llm_processing")
def plan_step(run_id: int) -> None:
    """Enter the items of a run's current step, unless that is done or another worker is at it."""
    worker = process.worker_id()
    name = runs.claim_plan(run_id, worker)
    if name is None:
        return
    try:
        planned = work.plan(run_id, name, stages.PLANS[name](run_id))
    except Exception as error:
        logger.exception("planning %s of run %s", name, run_id)
        runs.give_plan_back(run_id, worker, f"planning {name}: {_said(error)}", MAX_ATTEMPTS)
        return
    if planned:
        bells.ring_run(run_id)
    else:
        _move_on(run_id, name)


@app.task(name="index.pull", queue="graphrag_indexing")
def pull(run_id: int, name: str) -> None:
    """Work on a waiting step's items with some twenty greenlets until none is left."""
    claimed = work.claim_some(run_id, name, process.worker_id(), bells.PULLERS_PER_TASK)
    if claimed:
        parameters = runs.parameters(run_id)
        # Under gevent these threads are greenlets.
        with ThreadPoolExecutor(len(claimed), thread_name_prefix=f"pull-{run_id}") as pullers:
            for ended in [pullers.submit(_pull, item, parameters) for item in claimed]:
                ended.result()
    _move_on(run_id, name)


@app.task(name="index.work", queue="default")
def work_on(run_id: int, name: str) -> None:
    """Work on a computing step's items for TURN_SECONDS, then queue up again behind whatever else there is."""
    worker = process.worker_id()
    end = time.monotonic() + TURN_SECONDS
    item = work.claim(run_id, name, worker)
    while item is not None:
        try:
            output = stages.COMPUTE[name](item)
        except stages.NotYet as not_yet:
            work.postpone(item, worker)
            bells.ring_run(run_id, countdown=not_yet.seconds)
            return
        except Exception as error:
            logger.exception("%s %s of run %s", name, item.key, run_id)
            work.give_back(item, worker, error=_said(error), spent=Spent(), final=False)
            item = work.claim(run_id, name, worker)
        else:
            turn_over = time.monotonic() > end
            item = work.finish_and_claim(item, worker, output, Spent(), most=0 if turn_over else 1)
            if turn_over and work.pending(run_id, name):
                bells.ring_again(run_id, name)
                return
    _move_on(run_id, name)


def _pull(item: WorkItem | None, parameters: Mapping[str, Any]) -> None:
    worker = process.worker_id()
    while item is not None:
        item = _work_on_one(item, worker, parameters)


def _work_on_one(item: WorkItem, worker: str, parameters: Mapping[str, Any]) -> WorkItem | None:
    spent = Spent()
    chat = RememberingChat(spent, purse.of(item.run_id, parameters))
    failed: Exception
    try:
        output = stages.ASK[item.step](item, chat, parameters)
    except BudgetSpentError:
        _persist(lambda: budget.stop(item.run_id))
        _persist(lambda: budget.set_aside(item, worker, spent))
        return None
    except ModelAnswerError as error:
        failed, raw, final = error, error.raw, False
        _persist(chat.forget)
    except ModelRequestError as error:
        failed, raw, final = error, "", True
    except (ModelServerError, ServiceError) as error:
        failed, raw, final = error, "", False
    except Exception as error:
        logger.exception("%s %s of run %s", item.step, item.key, item.run_id)
        failed, raw, final = error, "", False
    else:
        try:
            return _persist(lambda: work.finish_and_claim(item, worker, output, spent))
        except Exception as error:
            # Something the database will never take: the item must not stay leased to a living worker.
            logger.exception("storing %s %s of run %s", item.step, item.key, item.run_id)
            failed, raw, final = error, "", False
            spent.answers.clear()
    reason = _said(failed)
    _persist(lambda: work.give_back(item, worker, error=reason, raw_answer=raw, spent=spent, final=final))
    return _persist(lambda: work.claim(item.run_id, item.step, worker))


def _persist(write: Callable[[], T]) -> T:
    """Write until the database takes it: an answer in hand is paid for, and a lease of a living worker never ends."""
    pause = 0.2
    while True:
        try:
            return write()
        except ServiceError as error:
            logger.warning("%s; trying again in %.1f s", error, pause)
            time.sleep(pause)
            pause = min(2 * pause, 15.0)


def _move_on(run_id: int, name: str) -> None:
    if runs.advance(run_id, name, steps.following(name)):
        bells.ring_run(run_id)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, FileIntelError) else f"{type(error).__name__}: {error}"
