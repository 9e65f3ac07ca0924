"""How long the scripted model server takes: its options, its slots with their queue, and batches of token steps.

Two models of a server. With `token_seconds` 0 a call takes `latency`, more when `slowdown` or `thrash_above` is set and
others are in service. Otherwise the calls in service form one batch, as in vLLM: every step gives each of them one
token, and a step lasts `token_seconds` x (1 + `token_slowdown` x (calls in the batch - 1)); `latency` is then the time
before the first token. Either way at most `slots` calls are in service (vLLM's --max-num-seqs) and the rest queue in
order.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass
class Options:
    """How the server behaves; times in seconds, rates from 0 to 1."""

    latency: float = 0.0  # of every model call; with token_seconds that of the first token
    embedding_latency: float = -1.0  # of embedding calls, if it is to be another (0 or more)
    slowdown: float = 0.0  # each further call in service adds this share of the latency
    thrash_above: int = 0  # n calls in service, more than this: each takes (n / this) ** 2 as long (0: never)
    spread: float = 0.0  # a prompt's latency is up to this share shorter or longer
    token_seconds: float = 0.0  # a step that gives every call in the batch one token; 0: no batches
    token_slowdown: float = 0.0  # each further call in the batch adds this share to a step
    answer_tokens: int = 0  # tokens of every chat answer (0: a quarter of its characters)
    slots: int = 0  # calls served at once, the rest queue in order (0: all)
    overload_above: int = 0  # more calls than this in flight: 429 at once (0: never)
    retry_after: float = 1.0  # the Retry-After of a 429; 0 leaves the header out
    limit_rate: float = 0.0  # 429
    error_rate: float = 0.0  # 500
    drop_rate: float = 0.0  # the connection is closed without an answer (in the middle of a stream)
    hang_rate: float = 0.0  # calls wait until this is 0 again
    bad_json_rate: float = 0.0  # 200 whose body is not JSON
    bad_answer_rate: float = 0.0  # 200 whose content is not of the form asked for
    fail_first: int = 0  # the first n asks of each prompt get a 500
    fault_kinds: str = ""  # the kinds (comma separated) that the faults above befall; empty: all
    hold: bool = False  # calls wait until this is false again
    hold_kinds: str = ""  # the kinds (comma separated) that wait so; empty: all
    hold_after: int = 0  # so many calls of a kind are served before any has to wait
    record: bool = False  # keep every request's body, for GET /control/recorded
    refuse_json_schema: bool = False  # 400 to a response_format of type json_schema
    finish_reason: str = "stop"
    piece_delay: float = 0.0  # between the pieces of a stream
    dimensions: int = 384  # of embeddings
    api_key: str = ""  # if set, 401 without it
    models: str = "scripted,scripted-embedding"  # what GET /models lists
    strict_models: bool = False  # 404 to a model not in `models`
    seed: int = 0

    def __post_init__(self) -> None:
        self.faults = bool(
            self.fail_first
            or self.limit_rate
            or self.error_rate
            or self.drop_rate
            or self.hang_rate
            or self.bad_json_rate
            or self.bad_answer_rate
        )


class Timed(Protocol):
    """What is timed here: a call, whose client may go away."""

    open: bool
    kind: str
    prompt: bytes
    timer: asyncio.TimerHandle | None
    in_batch: bool


class Batch:
    """Calls that all get a token in every step; the step's length follows their number."""

    def __init__(self, options: Options, done: Callable[[Any], None]) -> None:
        self._options, self._done = options, done
        self._loop = asyncio.get_running_loop()
        self._size = 0
        self._steps = 0.0  # steps taken so far
        self._at = self._loop.time()  # when that was so
        self._ends: list[tuple[float, int, Timed]] = []  # steps at which a call has its last token
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, options: Options) -> None:
        """Go on with other step times."""
        self._catch_up()
        self._options = options
        self._wait()

    def add(self, call: Timed, tokens: int) -> None:
        """Let a call of so many tokens join."""
        self._catch_up()
        heapq.heappush(self._ends, (self._steps + tokens, next(self._numbers), call))
        call.in_batch = True
        self._size += 1
        self._wait()

    def leave(self, call: Timed) -> None:
        """Take a call out before its end; it is thrown away when its turn comes."""
        self._catch_up()
        call.in_batch = False
        self._size -= 1
        self._wait()

    def _step_seconds(self) -> float:
        return self._options.token_seconds * (1 + self._options.token_slowdown * max(0, self._size - 1))

    def _catch_up(self) -> None:
        now, seconds = self._loop.time(), self._step_seconds()
        if self._size and seconds:
            self._steps += (now - self._at) / seconds
        self._at = now

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._ends and not self._ends[0][2].in_batch:
            heapq.heappop(self._ends)
        if self._ends:
            seconds = (self._ends[0][0] - self._steps) * self._step_seconds()
            self._timer = self._loop.call_later(max(0.0, seconds), self._finish)

    def _finish(self) -> None:
        self._catch_up()
        finished = []
        every = not self._step_seconds()  # token steps were switched off meanwhile
        while self._ends and (every or not self._ends[0][2].in_batch or self._ends[0][0] <= self._steps + 1e-6):
            call = heapq.heappop(self._ends)[2]
            if call.in_batch:
                call.in_batch = False
                self._size -= 1
                finished.append(call)
        self._wait()
        for call in finished:
            self._done(call)


class Service:
    """The slots, the queue before them and the time of the calls in them; `done` is told when a call's time is over."""

    def __init__(self, options: Options, tokens_of: Callable[[Any], int], done: Callable[[Any], None]) -> None:
        self.options = options
        self.in_service = 0
        self._queue: deque[Timed] = deque()
        self._loop = asyncio.get_running_loop()
        self._batch = Batch(options, done)
        self._tokens_of, self._done = tokens_of, done

    def configure(self, options: Options) -> None:
        """Serve by other options from now on; more slots let queued calls in."""
        self.options = options
        self._batch.configure(options)
        self._admit()

    def take(self, call: Timed) -> None:
        """Serve a call, now or when a slot is free."""
        if self.options.slots and self.in_service >= self.options.slots:
            self._queue.append(call)
        else:
            self._start(call)

    def leave(self) -> None:
        """Free the slot of a call whose time is over and let the next in."""
        self.in_service -= 1
        self._admit()

    def _admit(self) -> None:
        while self._queue and (not self.options.slots or self.in_service < self.options.slots):
            call = self._queue.popleft()
            if call.open:
                self._start(call)

    def abandon(self, call: Timed) -> None:
        """Free the slot of a call whose client went away, if it had one."""
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
        elif call.in_batch:
            self._batch.leave(call)
        else:
            return  # it was queued or held
        self.leave()

    def _start(self, call: Timed) -> None:
        options = self.options
        self.in_service += 1
        embedding = call.kind == "embedding"
        base = options.embedding_latency if embedding and options.embedding_latency >= 0 else options.latency
        seconds = base * (1 + options.slowdown * (self.in_service - 1))
        if options.thrash_above:
            seconds *= max(1.0, self.in_service / options.thrash_above) ** 2
        if options.spread:
            seconds *= 1 + options.spread * (zlib.crc32(call.prompt) / 2**31 - 1)
        over = self._done if embedding or not options.token_seconds else self._join
        call.timer = self._loop.call_later(seconds, self._time_over, call, over)

    def _time_over(self, call: Timed, over: Callable[[Any], None]) -> None:
        call.timer = None
        over(call)

    def _join(self, call: Timed) -> None:
        self._batch.add(call, self._tokens_of(call))
