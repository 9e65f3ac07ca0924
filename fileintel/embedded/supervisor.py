"""Starts named services in order, keeps them running, and stops them in reverse order."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from fileintel.embedded.process import Child, Command, cut
from fileintel.embedded.state import StateDir
from fileintel.errors import ServiceError

_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.2
_LOG_CHECK_SECONDS = 60.0
_LONGEST_PAUSE = 30.0
_HURRIED_SECONDS = 3.0
# A service that ran this long has recovered: its next end counts as the first.
_SOUND_SECONDS = 60.0


class Interrupted(Exception):
    """A person or the system asked `up` to stop while it was starting."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process to keep running (or, with `once`, to run to its end).

    `command` is asked before every start, `is_ready` until it says so; services with a higher `stage` stop first, and
    those of one stage together. `restarts` is how many failed starts in a row are suffered, None for any number.
    """

    name: str
    command: Callable[[], Command]
    is_ready: Callable[[Child], bool] = lambda child: True
    detail: Callable[[], str] = str
    after: tuple[str, ...] = ()
    once: bool = False
    stage: int = 0
    ready_seconds: float = 300.0
    grace_seconds: float = 10.0
    stop_signal: int = signal.SIGTERM
    hurry_signal: int = signal.SIGKILL
    restarts: int | None = None


@dataclass(slots=True)
class _Restart:
    """A service that has ended, and when it is to be started again."""

    failures: int = 0
    due: float | None = None


class StopRequests:
    """Counts SIGINT, SIGTERM and SIGHUP while it is entered, instead of letting them end the process.

    While `interrupts` is set, each also raises KeyboardInterrupt, for code that does not look at the count.
    """

    def __init__(self) -> None:
        self.count = 0
        self.interrupts = False

    def _note(self, signal_number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.interrupts:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def caught(self) -> Iterator[StopRequests]:
        """Catch the signals; the main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Supervisor:
    """Runs services; use it from the main thread alone, because the children's leash is tied to that."""

    def __init__(
        self,
        state: StateDir,
        services: Sequence[Service],
        *,
        say: Callable[[str], None] = print,
        stop_requests: StopRequests | None = None,
    ) -> None:
        self._state = state
        self._services = {service.name: service for service in services}
        self._say = say
        self._requests = stop_requests or StopRequests()
        self._children: dict[str, Child] = {}
        self._restarts: dict[str, _Restart] = {}
        self._next_log_check = 0.0

    def child(self, name: str) -> Child:
        """The running (or last) process of a service."""
        return self._children[name]

    def start(self) -> None:
        """Start every service as soon as those it comes after are ready; returns when all are.

        Raises ServiceError quoting the log if one ends or is not ready in time, Interrupted on a stop request.
        """
        waiting = dict(self._services)
        starting: dict[str, float] = {}
        ready: set[str] = set()
        while waiting or starting:
            if self._requests.count:
                raise Interrupted
            for name, service in list(waiting.items()):
                if ready.issuperset(service.after):
                    del waiting[name]
                    starting[name] = time.monotonic()
                    self._children[name] = self._launch(service)
            for name, began in list(starting.items()):
                if self._has_started(self._services[name], began):
                    del starting[name]
                    ready.add(name)
                    self._say_ready(self._services[name], time.monotonic() - began)
            self._refuse_ended(ready)
            time.sleep(_POLL_SECONDS)

    def watch(self) -> None:
        """Start again what ends, until a stop request; raises ServiceError when a service cannot be kept running."""
        while not self._requests.count:
            self.check()
            time.sleep(_WATCH_SECONDS)

    def check(self) -> None:
        """Look once whether something ended or is due to be started again; raises ServiceError as `watch`."""
        now = time.monotonic()
        for name, service in self._services.items():
            if service.once:
                continue
            restart = self._restarts.setdefault(name, _Restart())
            if restart.due is not None:
                if now >= restart.due:
                    restart.due = None
                    self._children[name] = self._launch(service)
                continue
            child = self._children[name]
            code = child.exit_code()
            if code is None:
                if now - child.started > _SOUND_SECONDS:
                    restart.failures = 0
                continue
            restart.failures += 1
            if service.restarts is not None and restart.failures > service.restarts:
                raise ServiceError(f"{name} {_ending(code)} {restart.failures} times in a row: {self._quote(name)}")
            pause = min(2.0 ** (restart.failures - 1), _LONGEST_PAUSE)
            restart.due = now + pause
            self._say(f"{name} {_ending(code)}, starting it again in {pause:g} s: {self._quote(name, 1)}")
        if now >= self._next_log_check:
            self._next_log_check = now + _LOG_CHECK_SECONDS
            for name in self._services:
                cut(self._state.log_of(name))

    def stop(self) -> None:
        """Stop all, higher stages first; a further stop request meanwhile ends the rest at once."""
        seen = self._requests.count
        running = {name: child for name, child in self._children.items() if child.exit_code() is None}
        for stage in sorted({self._services[name].stage for name in running}, reverse=True):
            group = {name: child for name, child in running.items() if self._services[name].stage == stage}
            self._stop_together(group, seen)

    def _stop_together(self, children: dict[str, Child], seen: int) -> None:
        hurried = self._requests.count > seen
        began = time.monotonic()
        for name, child in children.items():
            child.send(self._services[name].hurry_signal if hurried else self._services[name].stop_signal)
        left = dict(children)
        while left:
            if not hurried and self._requests.count > seen:
                hurried, began = True, time.monotonic()
                for name, child in left.items():
                    child.send(self._services[name].hurry_signal)
            for name, child in list(left.items()):
                patience = _HURRIED_SECONDS if hurried else self._services[name].grace_seconds
                if child.exit_code() is not None:
                    del left[name]
                elif time.monotonic() - began > patience:
                    self._say(f"{name} did not stop in {patience:g} s, killed it")
                    child.kill()
                    # SIGKILL cannot be refused; the process may need a moment to end.
                    child.wait(patience)
                    del left[name]
            time.sleep(0.02)

    def _launch(self, service: Service) -> Child:
        return Child(service.command(), self._state.log_of(service.name))

    def _has_started(self, service: Service, began: float) -> bool:
        child = self._children[service.name]
        code = child.exit_code()
        if code is not None:
            if service.once and code == 0:
                return True
            raise ServiceError(f"{service.name} {_ending(code)} at start: {self._quote(service.name)}")
        if not service.once and service.is_ready(child):
            return True
        if time.monotonic() - began > service.ready_seconds:
            raise ServiceError(
                f"{service.name} was not ready in {service.ready_seconds:g} s: {self._quote(service.name)}"
            )
        return False

    def _refuse_ended(self, ready: set[str]) -> None:
        """A service that ended while others were starting would let those wait in vain."""
        for name in ready:
            code = None if self._services[name].once else self._children[name].exit_code()
            if code is not None:
                raise ServiceError(f"{name} {_ending(code)} while the rest was starting: {self._quote(name)}")

    def _say_ready(self, service: Service, seconds: float) -> None:
        detail = f" ({service.detail()})" if service.detail() else ""
        self._say(f"{service.name} {'done' if service.once else 'ready'}{detail} {seconds:.1f} s")

    def _quote(self, name: str, lines: int = 5) -> str:
        said = " / ".join(self._children[name].last_lines(lines)) or "it logged nothing"
        return f"{said} (log: {self._state.log_of(name)})"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"
