"""CPU work in processes of its own: each lane is one process with its models, all fed from one queue by urgency."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from fileintel.errors import ModelServerError, ServiceError

if TYPE_CHECKING:
    from fileintel.llm.embedded.stages import Models

URGENT, LATER = 0, 1  # a waiting person goes before index work
_SHARED = "fileintel.llm.embedded.shared"  # what every lane needs and none changes
_ATTEMPTS = 2  # a job whose process was killed runs once more; a job that kills twice is given up
_models: Models | None = None  # of this process, when it is a lane's


def _end_with_server() -> None:
    """End this process as soon as the server is gone, however it went.

    A lane is a child of the fork server, so the kernel's own signal on a parent's death would not tell.
    """
    server = multiprocessing.parent_process()
    assert server is not None

    def watch() -> None:
        multiprocessing.connection.wait([server.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="watch the server", daemon=True).start()


def _start_lane(threads: int) -> None:
    global _models
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to handle
    _end_with_server()
    from fileintel.llm.embedded.stages import Models  # here, so that the HTTP process never loads spaCy

    _models = Models(threads)


def _run(method: str, arguments: tuple[Any, ...]) -> Any:
    assert _models is not None
    return getattr(_models, method)(*arguments)


def _process_id() -> int:
    return os.getpid()


class Lanes:
    """A fixed number of model processes behind one queue; a process that dies is replaced and its job done again."""

    def __init__(self, processes: int, threads: int = 1) -> None:
        self._processes = processes
        self._threads = threads
        self._queue: asyncio.PriorityQueue[tuple[int, int, str, tuple[Any, ...], asyncio.Future[Any]]]
        self._queue = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._lanes: list[asyncio.Task[None]] = []
        self._pools: list[ProcessPoolExecutor] = []
        self.process_ids: list[int] = []

    async def start(self) -> None:
        """Start the processes and return when every one has loaded its models; raises ServiceError if one cannot."""
        self._pools = [self._new_pool() for _ in range(self._processes)]
        loop = asyncio.get_running_loop()
        starting = [loop.run_in_executor(pool, _process_id) for pool in self._pools]
        try:
            self.process_ids = list(await asyncio.gather(*starting))
        except BrokenProcessPool as error:
            raise ServiceError("the embedded models did not load: the cause stands above") from error
        self._lanes = [asyncio.create_task(self._serve(number)) for number in range(self._processes)]

    async def stop(self) -> None:
        """End the processes at once; jobs still waiting are cancelled."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait()[4].cancel()
        for process_id in self.process_ids:
            _end(process_id)
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)  # at once, since its process is ending

    @property
    def waiting(self) -> int:
        """How many jobs wait for a process."""
        return self._queue.qsize()

    async def run(self, urgency: int, method: str, *arguments: Any) -> Any:
        """Return what the model method makes of the arguments; raises what it raises, or ModelServerError."""
        job: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((urgency, next(self._order), method, arguments, job))
        return await job

    def _new_pool(self) -> ProcessPoolExecutor:
        # The fork server loads once what all lanes share and has no thread that a fork could catch in the middle;
        # the HTTP process has an event loop's, so it is never forked itself.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_SHARED])
        initialise: Callable[..., None] = _start_lane
        return ProcessPoolExecutor(1, context, initializer=initialise, initargs=(self._threads,))

    async def _serve(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            _, _, method, arguments, job = await self._queue.get()
            for attempt in range(1, _ATTEMPTS + 1):
                if job.done():  # nobody waits for it any more
                    break
                try:
                    result = await loop.run_in_executor(self._pools[number], _run, method, arguments)
                except BrokenProcessPool:
                    if attempt == _ATTEMPTS and not job.done():
                        job.set_exception(ModelServerError("a model process died twice over this request"))
                    await self._replace(number)
                except Exception as error:  # whatever the stage raised belongs to its caller
                    if not job.done():
                        job.set_exception(error)
                    break
                else:
                    if not job.done():
                        job.set_result(result)
                    break

    async def _replace(self, number: int) -> None:
        """Start a lane's process anew; where even that fails, the next job tries again, a second later."""
        self._pools[number].shutdown(wait=False)
        self._pools[number] = self._new_pool()
        try:
            starting = asyncio.get_running_loop().run_in_executor(self._pools[number], _process_id)
            self.process_ids[number] = await starting
        except BrokenProcessPool:
            print(f"error: model process {number} does not start again", file=sys.stderr, flush=True)
            await asyncio.sleep(1)


def _end(process_id: int) -> None:
    try:
        os.kill(process_id, signal.SIGTERM)
    except ProcessLookupError:
        return
