"""The state folder: its lock, its secrets, its remembered ports and the environment file of a running `up`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from fileintel.errors import ConfigurationError, ConflictError, ServiceError
from fileintel.settings import environment_file

# Below the range (from 32768) out of which the kernel gives ports to outgoing connections: a port remembered from
# there may be somebody's connection next time.
_PORTS = range(20_000, 32_000)


class StateDir:
    """The folder FILEINTEL_STATE_DIR, made if need be; raises ConfigurationError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.run, self.logs, self.secrets):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"the state folder {self.path} cannot be used ({error.strerror}): set FILEINTEL_STATE_DIR to a folder "
                "that you may write to"
            ) from error

    @property
    def run(self) -> Path:
        """What only concerns the `up` that runs now."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.path / "log"

    @property
    def secrets(self) -> Path:
        """The passwords of the embedded servers."""
        return self.path / "secrets"

    @property
    def environment(self) -> Path:
        """Where a running `up` says how its services are reached."""
        return environment_file(self.path)

    def log_of(self, name: str) -> Path:
        """The log file of the process `name`."""
        return self.logs / f"{name}.log"

    def has_secret(self, name: str) -> bool:
        """Whether a password of that name has been made."""
        return (self.secrets / name).exists()

    def secret(self, name: str) -> str:
        """The password of that name, made at first use and kept with mode 0600."""
        path = self.secrets / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32) + "\n")
        return path.read_text(encoding="ascii").strip()

    def port(self, name: str, wanted: int | None = None, *, host: str = "127.0.0.1", exactly: bool = False) -> int:
        """A free port for `name`: the remembered one, else the wanted one, else any; remembered from then on.

        With `exactly`, the wanted one or a ConflictError.
        """
        path = self.path / "ports.json"
        known = _read_ports(path)
        if exactly and wanted is not None:
            if not port_is_free(wanted, host):
                raise ConflictError(f"port {wanted} of {host} is in use: choose another one with --port")
            return wanted
        first = [wanted] if wanted is not None else []
        first += [known[name]] if name in known else []
        for port in (*first, *random.sample(_PORTS, 200)):
            if port in (used for other, used in known.items() if other != name) or not port_is_free(port, host):
                continue
            if known.get(name) != port:
                write_private(path, json.dumps({**known, name: port}, indent=1) + "\n")
            return port
        raise ServiceError(f"no free port on {host} between {_PORTS.start} and {_PORTS.stop}")

    def write_environment(self, values: Mapping[str, str]) -> None:
        """Write the environment file, whole or not at all; raises ConfigurationError on a value with a line break."""
        for name, value in values.items():
            if "\n" in value or "\r" in value:
                raise ConfigurationError(f"{name} contains a line break")
        write_private(self.environment, "".join(f"{name}={value}\n" for name, value in values.items()))

    def remove_environment(self) -> None:
        """Remove the environment file, if there is one."""
        self.environment.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[Lock]:
        """Hold the state folder alone; raises ConflictError naming who else holds it.

        The kernel lets go of the lock when its holder ends, however it ends: a stale one is no obstacle.
        """
        descriptor = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(self._holder(descriptor)) from None
            lock = Lock(descriptor)
            lock.note("")
            # Whoever wrote it was killed, or it would not be there.
            self.remove_environment()
            yield lock
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _holder(self, descriptor: int) -> str:
        words = os.pread(descriptor, 1000, 0).decode("utf-8", "replace").split()
        who = f" (process {words[0]})" if words else ""
        where = f" at {words[1]}" if len(words) > 1 else ""
        return (
            f"FileIntel already runs on {self.path}{where}{who}: use it, stop it with Ctrl-C there, "
            "or set FILEINTEL_STATE_DIR to another folder"
        )


class Lock:
    """The held lock of a state folder; says who holds it to those who come later."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def note(self, url: str) -> None:
        """Write this process's id and the URL it serves."""
        text = f"{os.getpid()} {url}\n".encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600, whole or not at all, also if the machine loses power meanwhile."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections that were just closed are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _read_ports(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): int(port) for name, port in known.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"{path} is damaged: delete it, new ports will be chosen") from error
