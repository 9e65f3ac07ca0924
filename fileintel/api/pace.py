"""How fast index runs advance, from what their watchers saw."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque

_WINDOW_SECONDS = 60.0
_MOST_RUNS = 256


class Pace:
    """Remembers, per run, how many items were done when; kept in this process alone and for its watchers only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[int, deque[tuple[float, int]]] = OrderedDict()

    def seconds_left(self, run_id: int, done: int, left: int, now: float | None = None) -> float | None:
        """Note a sighting and return the seconds the `left` items take at the last minute's pace, None if unknown."""
        at = time.monotonic() if now is None else now
        with self._lock:
            seen = self._seen.setdefault(run_id, deque(maxlen=600))
            self._seen.move_to_end(run_id)
            while len(self._seen) > _MOST_RUNS:
                self._seen.popitem(last=False)
            # The newest sighting older than the window is kept, so that a slow watcher has two points as well.
            while len(seen) > 1 and seen[1][0] < at - _WINDOW_SECONDS:
                seen.popleft()
            seen.append((at, done))
            first_at, first_done = seen[0]
        if left == 0 or done <= first_done or at <= first_at:
            return None
        return round(left * (at - first_at) / (done - first_done), 1)
