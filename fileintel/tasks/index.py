"""Index runs: plan a step's items, work on them, move the run on when the last is done."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fileintel.errors import (
    BudgetSpentError,
    FileIntelError,
    InputError,
    ModelAnswerError,
    ModelRequestError,
    ModelServerError,
    ServiceError,
)
from fileintel.model import WorkItem
from fileintel.settings import load
from fileintel.store import budget, index_steps, runs, work
from fileintel.store.work import MAX_ATTEMPTS, Outcome, Spent
from fileintel.tasks import bells, models, process, purse, stages, steps
from fileintel.tasks.app import app
from fileintel.tasks.models import RememberingChat

logger = logging.getLogger(__name__)
T = TypeVar("T")

# The main worker's processes serve questions too: none of their tasks may keep a process for long.
TURN_SECONDS = 2.0
# How soon a plan looks again for what has become complete.
LOOK_AGAIN_SECONDS = 0.5
# How soon a task that a full worker was given is offered again.
PASS_ON_SECONDS = 0.5
# A server that answers the same prompt the same way is not paid for it five times; each attempt asks again once.
BAD_ANSWER_ATTEMPTS = 2


@app.task(name="index.plan", queue="llm_processing")
def plan_step(run_id: int, name: str, bell: str | None = None) -> None:
    """Enter a step's items as far as they can be known, unless that is done, another worker is at it, or a later look
    than this one (`bell`) is arranged."""
    worker = process.worker_id()
    bell = index_steps.claim_plan(run_id, name, worker, bell)
    if bell is None:
        return
    began = time.monotonic()
    try:
        whole = _plan(run_id, name)
    except Exception as error:
        logger.exception("planning %s of run %s", name, run_id)
        index_steps.give_plan_back(run_id, name, worker, f"planning {name}: {_said(error)}", MAX_ATTEMPTS)
        return
    if not whole:
        paused = index_steps.pause_plan(run_id, name, worker, bell)
        if paused is not None:
            bell, rung = paused
            # Looking takes longer the larger the graph is, and may take a quarter of a process's time.
            pause = 0.0 if rung else max(LOOK_AGAIN_SECONDS, 3 * (time.monotonic() - began))
            bells.ring_plan(run_id, name, bell, countdown=pause)
    elif index_steps.finish_plan(run_id, name, worker):
        # Its last items may have been done before anybody could know that they were the last.
        _move_on(run_id, name)


def _plan(run_id: int, name: str) -> bool:
    """Enter what can be known now; whether that is all."""
    for new in stages.PLANS[name](run_id):
        if not new:
            return False
        bells.ring_items(run_id, name, new)
    return True


@app.task(name="index.pull", queue="graphrag_indexing")
def pull(run_id: int, name: str) -> None:
    """Work on a waiting step's items with some twenty greenlets until none is left."""
    worker = process.worker_id()
    room = min(bells.PULLERS_PER_TASK, load().celery_graphrag_concurrency - _pulling[run_id, name])
    if room <= 0:
        # Celery gives a worker more tasks than it can use: another worker may be waiting for this one.
        if work.pending(run_id, name):
            bells.ring_once(run_id, name, countdown=PASS_ON_SECONDS)
        return
    _pulling[run_id, name] += room
    claimed = _persist(lambda: work.exchange(None, run_id, name, worker, most=room))
    _pulling[run_id, name] -= room - len(claimed)
    if claimed:
        parameters = runs.parameters(run_id)
        # Under gevent these threads are greenlets.
        with ThreadPoolExecutor(len(claimed), thread_name_prefix=f"pull-{run_id}") as pullers:
            for ended in [pullers.submit(_pull, item, worker, parameters) for item in claimed]:
                ended.result()
    _move_on(run_id, name)


@app.task(name="index.work", queue="default")
def work_on(run_id: int, name: str) -> None:
    """Work on a computing step's items for TURN_SECONDS, then queue up again behind whatever else there is."""
    worker = process.worker_id()
    end = time.monotonic() + TURN_SECONDS
    # Making vectors is waiting for their server, where that is another one than this machine.
    at_once = models.embeddings_at_once() if steps.step(name).queue == steps.EMBEDDING else 1
    claimed = work.exchange(None, run_id, name, worker, most=at_once)
    if len(claimed) <= 1:
        left = [_compute_in_turn(item, worker, end) for item in claimed]
    else:
        with ThreadPoolExecutor(len(claimed), thread_name_prefix=f"work-{run_id}") as threads:
            left = list(threads.map(lambda item: _compute_in_turn(item, worker, end), claimed))
    if any(left):
        bells.ring_once(run_id, name)
    else:
        _move_on(run_id, name)


def _compute_in_turn(item: WorkItem, worker: str, end: float) -> bool:
    """Compute one item after the other until the turn ends; whether there may be more."""
    while True:
        turn_over = time.monotonic() > end
        try:
            outcome = Outcome(item, stages.COMPUTE[item.step](item), Spent())
        except stages.NotYet as not_yet:
            work.postpone(item, worker)
            bells.ring_once(item.run_id, item.step, countdown=not_yet.seconds)
            return False
        except InputError as error:
            # The documents are the cause, and will be the next time.
            outcome = Outcome(item, None, Spent(), error=_said(error), final=True)
        except Exception as error:
            logger.exception("%s %s of run %s", item.step, item.key, item.run_id)
            outcome = Outcome(item, None, Spent(), error=_said(error))
        following = work.exchange(outcome, item.run_id, item.step, worker, most=0 if turn_over else 1)
        if turn_over:
            return work.pending(item.run_id, item.step) > 0
        if not following:
            return False
        item = following[0]


# How many greenlets of this process work on a step: more than its limiter lets ask would only keep items from others.
_pulling: Counter[tuple[int, str]] = Counter()


def _pull(item: WorkItem, worker: str, parameters: Mapping[str, Any]) -> None:
    """Work on an item, and on the next ones as long as there are any."""
    following = [item]
    try:
        while following:
            outcome = _ask(following[0], parameters)
            following = [] if outcome is None else _exchange(outcome, worker)
    finally:
        _pulling[item.run_id, item.step] -= 1


def _ask(item: WorkItem, parameters: Mapping[str, Any]) -> Outcome | None:
    """Put an item's questions to the LLM; None when the build may make no further call."""
    spent = Spent()
    chat = RememberingChat(spent, purse.of(item.run_id, parameters))
    try:
        return Outcome(item, stages.ASK[item.step](item, chat, parameters), spent)
    except BudgetSpentError:
        _persist(lambda: budget.stop(item.run_id))
        _persist(lambda: budget.set_aside(item, process.worker_id(), spent))
        return None
    except ModelAnswerError as error:
        _persist(chat.forget)
        return Outcome(
            item,
            None,
            spent,
            error=_said(error),
            raw_answer=error.raw,
            final=item.attempts >= BAD_ANSWER_ATTEMPTS,
        )
    except ModelRequestError as error:
        return Outcome(item, None, spent, error=_said(error), final=True)
    except (ModelServerError, ServiceError) as error:
        return Outcome(item, None, spent, error=_said(error))
    except Exception as error:
        logger.exception("%s %s of run %s", item.step, item.key, item.run_id)
        return Outcome(item, None, spent, error=_said(error))


def _exchange(outcome: Outcome, worker: str) -> list[WorkItem]:
    item = outcome.item
    try:
        return _persist(lambda: work.exchange(outcome, item.run_id, item.step, worker))
    except Exception as error:
        # Something the database will never take: the item must not stay leased to a living worker.
        logger.exception("storing %s %s of run %s", item.step, item.key, item.run_id)
        outcome.spent.answers.clear()
        lost = Outcome(item, None, outcome.spent, error=_said(error))
        return _persist(lambda: work.exchange(lost, item.run_id, item.step, worker))


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
    if index_steps.advance(run_id, name) is None:
        return
    # The steps that follow, and those that were waiting for more of this one's results.
    for step in index_steps.under_way(run_id, to_plan=True):
        bells.ring_plan(run_id, step)
    if runs.get(run_id).state == "complete":
        bells.ring_tidy(run_id)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, FileIntelError) else f"{type(error).__name__}: {error}"
