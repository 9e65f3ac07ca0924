"""This worker process's name in leases, its heartbeat, and its turn at reaping."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid

from fileintel.errors import ServiceError
from fileintel.settings import load
from fileintel.store import jobs, work, workers
from fileintel.store import model_servers as model_servers_store
from fileintel.tasks import bells, model_servers, models
from fileintel.tasks.hub import HubMonitor

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
REAP_SECONDS = 5.0
SWEEP_SECONDS = 600.0

_lock = threading.Lock()
_worker: str | None = None
_stop = threading.Event()
_noted = False
monitor = HubMonitor()


def worker_id() -> str:
    """The name under which this process holds leases: new for every process, so that a restart owns nothing old."""
    global _worker
    with _lock:
        if _worker is None or not _worker.startswith(f"{os.getpid()}-"):
            _worker = f"{os.getpid()}-{uuid.uuid4()}"
        return _worker


def begin(name: str) -> None:
    """Start this process's heartbeat."""
    from fileintel.tasks.app import on_greenlets

    _stop.clear()
    if on_greenlets():
        monitor.start()
        models.limiter()  # whose limit says, from the first heartbeat on, that this process asks the LLM
        threading.Thread(target=model_servers.watch, args=(_stop,), name="model-servers", daemon=True).start()
    _beat(name)
    threading.Thread(target=_live, args=(name,), name="heartbeat", daemon=True).start()
    if on_greenlets():
        bells.ring_waiting()


def end() -> None:
    """Stop the heartbeat and free at once whatever this process still holds."""
    if _worker is None or not _worker.startswith(f"{os.getpid()}-"):
        return
    _stop.set()
    try:
        workers.leave(worker_id())
    except ServiceError as error:
        logger.warning("could not give back this worker's leases, the reaper will: %s", error)


def _live(name: str) -> None:
    reaped = swept = time.monotonic()
    while not _stop.wait(BEAT_SECONDS):
        try:
            _beat(name)
            if time.monotonic() - reaped >= REAP_SECONDS:
                reaped = time.monotonic()
                for bell in workers.reap(work.MAX_ATTEMPTS, load().auto_build_seconds) or ():
                    bells.ring(bell)
                for job in jobs.reap(work.MAX_ATTEMPTS):
                    bells.ring_job(job)
            if time.monotonic() - swept >= SWEEP_SECONDS:
                swept = time.monotonic()
                bells.ring_sweep()
        except ServiceError as error:
            logger.warning("heartbeat: %s", error)
        except Exception:
            # A process that stops beating loses its work, so nothing may end this loop.
            logger.exception("heartbeat")


def _beat(name: str) -> None:
    global _noted
    limiter = models.limiter_in_use()
    stall, by = monitor.longest()
    workers.beat(
        worker_id(),
        name=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        in_flight=0 if limiter is None else limiter.in_flight,
        call_limit=0 if limiter is None else limiter.limit,
        longest_stall_ms=stall,
        by=by,
    )
    failing = model_servers.servers.failing()
    if failing is not None or _noted:
        error, seconds = failing or ("", 0.0)
        model_servers_store.note(worker_id(), error, seconds)
        _noted = failing is not None
