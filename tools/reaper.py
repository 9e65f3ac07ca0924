"""Removes the containers, networks and volumes of a test run that has ended, however it ended.

It runs in a container of its own and speaks the protocol that testcontainers' clients speak to their reaper: a client
connects to port 8080, sends filters (`label=NAME=VALUE`, one a line, each answered with ACK) and stays connected. When
no client has been connected for RYUK_RECONNECTION_TIMEOUT, everything a filter matches is removed. Standard library
only, for an image with nothing but Python in it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import threading
import time
from urllib.parse import parse_qsl, quote, urlencode

ENGINE = "/var/run/docker.sock"
PORT = 8080
# Nobody connected at all: the run that started this container died at once.
FIRST_CLIENT_SECONDS = 60.0
TRIES = 10


class Engine(http.client.HTTPConnection):
    """The Docker API behind its socket."""

    def __init__(self) -> None:
        super().__init__("localhost", timeout=60)

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(ENGINE)

    def ask(self, method: str, path: str) -> bytes:
        """The body of the answer, which may be that of an error."""
        self.request(method, path)
        return self.getresponse().read()


def seconds(text: str) -> float:
    """A duration such as 10s, 1m or 500ms in seconds."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(amount) * units[unit] for amount, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))


def remove(filters: dict[str, list[str]]) -> int:
    """Remove what matches; returns how many things that were. What is gone by then is no error."""
    query = urlencode({"filters": json.dumps(filters), "all": "1"})
    engine, count = Engine(), 0
    for container in json.loads(engine.ask("GET", f"/containers/json?{query}")):
        engine.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        count += 1
    for network in json.loads(engine.ask("GET", f"/networks?{query}")):
        engine.ask("DELETE", f"/networks/{network['Id']}")
        count += 1
    for volume in json.loads(engine.ask("GET", f"/volumes?{query}"))["Volumes"] or []:
        engine.ask("DELETE", f"/volumes/{quote(volume['Name'])}?force=1")
        count += 1
    return count


class Reaper:
    """The clients that are connected, and the filters they have sent."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.lock = threading.Lock()
        self.filters: set[str] = set()
        self.clients = 0
        self.last = time.monotonic() + FIRST_CLIENT_SECONDS

    def serve(self, client: socket.socket) -> None:
        """Take a client's filters until it goes away."""
        with self.lock:
            self.clients += 1
        try:
            with client, client.makefile("rw") as stream:
                for line in stream:
                    with self.lock:
                        self.filters.add(line.strip())
                    stream.write("ACK\n")
                    stream.flush()
        except OSError:
            pass  # the client was killed
        finally:
            with self.lock:
                self.clients -= 1
                self.last = time.monotonic()

    def wait(self) -> None:
        """Return when nobody has been connected for long enough."""
        while True:
            time.sleep(0.5)
            with self.lock:
                if self.clients == 0 and time.monotonic() - self.last > self.patience:
                    return

    def reap(self) -> None:
        """Remove everything that was named."""
        for line in sorted(self.filters):
            wanted: dict[str, list[str]] = {}
            for name, value in parse_qsl(line, keep_blank_values=True):
                wanted.setdefault(name, []).append(value)
            # An engine under load answers late, and a network goes only after its containers.
            for _ in range(TRIES):
                try:
                    count = remove(wanted)
                except (OSError, http.client.HTTPException) as error:
                    print(f"trying again: {error}", flush=True)
                else:
                    print(f"removed {count} for {line}", flush=True)
                    if count == 0:
                        break
                time.sleep(1)


def main() -> int:
    """Serve until everybody has gone, then remove."""
    reaper = Reaper(seconds(os.environ.get("RYUK_RECONNECTION_TIMEOUT", "10s")))
    listener = socket.create_server(("", PORT))

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=reaper.serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("Started!", flush=True)
    reaper.wait()
    reaper.reap()
    return 0


if __name__ == "__main__":
    sys.exit(main())
