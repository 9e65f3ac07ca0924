"""A child process on a leash, with a log file of its own; and finding processes that an earlier launcher left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")
LOG_BYTES = 10_000_000
_TAIL_BYTES = 8_000


@dataclass(frozen=True, slots=True)
class Command:
    """What to run; `death_signal` reaches it when the launcher dies, `user` is (uid, gid) if not the launcher's.

    `descriptors` are open files of the launcher that it is handed under the same numbers.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    directory: Path | None = None
    death_signal: int = signal.SIGKILL
    user: tuple[int, int] | None = None
    descriptors: tuple[int, ...] = ()


class Child:
    """A running child in a process group of its own, so that a terminal's Ctrl-C reaches the launcher alone.

    Start it from the launcher's main thread: the kernel ties the child to the *thread* that forked it.
    """

    def __init__(self, command: Command, log: Path) -> None:
        self.log = log
        rotate(log)
        uid, gid = command.user or (-1, -1)
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), str(int(command.death_signal))]
        with open(log, "ab", opener=_open_private) as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [*leash, str(uid), str(gid), *command.argv],
                env=dict(command.environment),
                cwd=command.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                umask=0o077,
                pass_fds=command.descriptors,
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """How the child ended (negative: by that signal), None while it runs."""
        if self._process.returncode is None:
            # Look before reaping: until it is reaped, the id of its group cannot belong to anybody else.
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self._signal_group(signal.SIGKILL)
        return self._process.wait()

    def send(self, signal_number: int) -> None:
        """Send a signal to the child alone; nothing happens if it has ended."""
        if self.exit_code() is None:
            os.kill(self.pid, signal_number)

    def kill(self) -> None:
        """End the child and everything in its group at once."""
        if self.exit_code() is None:
            self._signal_group(signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the child; False if it still runs after that time."""
        deadline = time.monotonic() + seconds
        while self.exit_code() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def output(self) -> str:
        """The first 200 kB that the child has logged since it was started."""
        with open(self.log, "rb") as file:
            # The log may have been cut meanwhile.
            file.seek(self._log_start if self._log_start <= self.log.stat().st_size else 0)
            return file.read(200_000).decode("utf-8", "replace")

    def last_lines(self, count: int = 5) -> list[str]:
        """The last lines that are not empty of what the child has logged since it was started."""
        with open(self.log, "rb") as file:
            size = self.log.stat().st_size
            start = self._log_start if self._log_start <= size else 0
            file.seek(max(start, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-count:]

    def _signal_group(self, signal_number: int) -> None:
        try:
            os.killpg(self.pid, signal_number)
        except ProcessLookupError:
            pass
        except PermissionError:
            # Only members under another user are left, such as none of ours has.
            pass


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def rotate(log: Path, limit: int = LOG_BYTES) -> None:
    """Move a log over `limit` bytes aside as `NAME.log.1`, replacing the one before; no process writes to it yet."""
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_name(log.name + ".1"))


def cut(log: Path, limit: int = LOG_BYTES) -> None:
    """Copy the last half of a log over `limit` bytes aside and empty it, while a process appends to it.

    Lines written between the two are lost; the file cannot be moved, as the process would go on writing to it.
    """
    if not log.exists() or log.stat().st_size <= limit:
        return
    with open(log, "rb") as file:
        file.seek(-(limit // 2), os.SEEK_END)
        kept = file.read()
    with open(log.with_name(log.name + ".1"), "wb", opener=_open_private) as aside:
        aside.write(kept)
    os.truncate(log, 0)


def running_in(directory: Path, program: str) -> list[int]:
    """The ids of running processes of the executable name `program` whose working folder is `directory`.

    This, unlike a process id in a file, cannot name a stranger that was given the id of one that has ended.
    """
    found = []
    place = directory.resolve()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            here = Path(os.readlink(entry / "cwd")) == place
            executable = Path(os.readlink(entry / "exe")).name.removesuffix(" (deleted)")
        except OSError:
            # It has ended meanwhile, is a kernel thread, or is another user's and so none of ours.
            continue
        if here and executable == program:
            found.append(int(entry.name))
    return sorted(found)


def end_left_over(directory: Path, program: str, signals: tuple[int, ...], seconds: float = 10.0) -> list[int]:
    """End what an earlier launcher left running in `directory`: each signal in turn, `seconds` between; their ids."""
    left = running_in(directory, program)
    for signal_number in (*signals, signal.SIGKILL):
        for pid in running_in(directory, program):
            try:
                os.kill(pid, signal_number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + seconds
        while running_in(directory, program) and time.monotonic() < deadline:
            time.sleep(0.02)
    return left
