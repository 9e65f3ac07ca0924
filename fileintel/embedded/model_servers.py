"""Says in the terminal of `fileintel up` when a model server fails, and when it answers again."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator

LOOK_SECONDS = 5.0


def failing(host: str, port: int, key: str) -> list[str] | None:
    """The errors of the model servers that fail, as the API tells them; None when it does not answer."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/api/v2/status", headers={"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                return None
            return [server["error"] for server in json.loads(body)["failing_model_servers"]]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return None


@contextlib.contextmanager
def announced(look: Callable[[], list[str] | None], say: Callable[[str], None]) -> Iterator[None]:
    """Say each error once while the block runs, and that the servers answer when there is none any more."""
    stop = threading.Event()

    def watch() -> None:
        said: set[str] = set()
        while not stop.wait(LOOK_SECONDS):
            found = look()
            if found is None:
                continue
            for error in found:
                if error not in said:
                    said.add(error)
                    say(f"warning: {error}")
            if said and not found:
                said.clear()
                say("the model servers answer again")

    thread = threading.Thread(target=watch, name="model-servers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
