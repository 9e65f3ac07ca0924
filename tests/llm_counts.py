"""What the scripted model server counts: calls of each kind, how many were in flight, what was asked twice."""

from __future__ import annotations

from typing import Any


class Gauge:
    """Calls begun, in flight and ended, with the peak and the mean in flight; times are seconds since the epoch."""

    def __init__(self) -> None:
        self.count = self.answered = self.failed = self.abandoned = 0
        self.in_flight = self.peak = 0
        self.first_start = self.last_end = 0.0
        self._busy = 0.0  # seconds in flight of the calls that ended
        self._started = 0.0  # sum of the starting times of those in flight

    def begin(self, now: float) -> None:
        """Count a call that begins."""
        if not self.count:
            self.first_start = now
        self.count += 1
        self.in_flight += 1
        if self.in_flight > self.peak:
            self.peak = self.in_flight
        self._started += now

    def end(self, started: float, outcome: str, now: float) -> None:
        """Count a call that ends: answered, failed, or abandoned by a client that went away."""
        self.in_flight -= 1
        self._started -= started
        self._busy += now - started
        self.last_end = now
        if outcome == "answered":
            self.answered += 1
        elif outcome == "failed":
            self.failed += 1
        else:
            self.abandoned += 1

    def describe(self, now: float) -> dict[str, Any]:
        """Return the counts; the mean is taken from the first call's start to the last one's end, or to now."""
        busy = self._busy + self.in_flight * now - self._started
        end = now if self.in_flight else self.last_end
        return {
            "count": self.count,
            "answered": self.answered,
            "failed": self.failed,
            "abandoned": self.abandoned,
            "in_flight": self.in_flight,
            "peak": self.peak,
            "mean_in_flight": busy / (end - self.first_start) if end > self.first_start else 0.0,
            "first_start": self.first_start,
            "last_end": end,
        }


class Tally(Gauge):
    """What was asked of one kind since the last reset, prompt by prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[bytes, int] = {}
        self.paid: set[bytes] = set()
        self.spans: list[tuple[float, float]] = []
        self.last: dict[str, Any] | None = None
        self.served = 0  # calls that were not made to wait

    def ask(self, prompt: bytes, body: dict[str, Any], now: float) -> None:
        """Count a call that begins and what it asks."""
        self.begin(now)
        self.asked[prompt] = self.asked.get(prompt, 0) + 1
        self.last = body

    def done(self, prompt: bytes, started: float, outcome: str, now: float) -> None:
        """Count a call that ends."""
        self.end(started, outcome, now)
        self.spans.append((started, now))
        if outcome == "answered":
            self.paid.add(prompt)

    def describe(self, now: float, *, spans: bool = False, prompts: bool = False, last: bool = False) -> dict[str, Any]:
        """Return the counts, and on request every call's start and end, the prompts' hashes, the last body."""
        described = super().describe(now) | {
            "distinct": len(self.asked),
            "repeated": self.count - len(self.asked),
            "answered_again": self.answered - len(self.paid),
        }
        if spans:
            described["spans"] = self.spans
        if prompts:
            described["prompts"] = {prompt.hex(): times for prompt, times in self.asked.items()}
        if last:
            described["last"] = self.last
        return described
