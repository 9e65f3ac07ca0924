"""`parse_in_limits`: parsing where a hostile file can hurt nothing but its own process."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from fileintel import errors
from fileintel.documents.text import label
from fileintel.errors import CorruptDocumentError, DocumentError, ParserLimitError
from fileintel.model import ParsedDocument, Section

# What a Python process needs of its environment. The rest stays here: a parser has no use for the secrets in it.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONHOME", "PYTHONTZPATH", "LOCALE_ARCHIVE")
_OUT_OF_MEMORY = (b"MemoryError", b"bad_alloc", b"out of memory", b"Cannot allocate memory")
_STDERR_TAIL = 16_384
_GRACE_SECONDS = 5.0


class _ParsingProcess:
    """A process that has the parser imported and forks for every file: a Python of its own for each costs 0.2 s."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.owner = os.getpid()
        # One file at a time; whoever else asks waits.
        self.lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fileintel.documents.child"],
            env=environment,
            cwd=tempfile.gettempdir(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def read(self, request: dict[str, Any]) -> int | None:
        """The status of the child that read a file, a signal as its negative number; None if this process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        # The child's own timer ends it in time, unless what it reads has taken the timer from it.
        answers, _, _ = select.select([self._process.stdout], [], [], request["seconds"] + _GRACE_SECONDS)
        if not answers:
            self.end()
            return -signal.SIGALRM
        answer = self._process.stdout.readline()
        return os.waitstatus_to_exitcode(int(answer)) if answer else None

    def end(self) -> None:
        """End the process, and a child with it."""
        self._process.kill()
        self._process.communicate()


_parsing: _ParsingProcess | None = None
_starting = threading.Lock()


def start_parsing_process() -> None:
    """Start what `parse_in_limits` needs ahead of the first file; it ends with this process."""
    _parsing_process()


def _parsing_process(ended: _ParsingProcess | None = None) -> _ParsingProcess:
    """This process's parsing process: the one that runs, unless that is `ended` or was another's before a fork."""
    global _parsing
    environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    with _starting:
        running = _parsing
        if running and running.owner == os.getpid():
            if running is not ended and running.environment == environment:
                return running
            running.end()
        _parsing = _ParsingProcess(environment)
        return _parsing


def parse_in_limits(path: Path, name: str, *, seconds: float, memory_bytes: int) -> ParsedDocument:
    """`parse` in a process of its own, with at most `seconds` of wall time and of CPU and `memory_bytes` of memory.

    Works from a daemonic process and beside threads. Raises what `parse` raises, ParserLimitError when a limit is
    reached, CorruptDocumentError when the parser crashes.
    """
    shown = label(name)
    with tempfile.TemporaryDirectory(prefix="fileintel-parse-") as folder:
        request = {"file": str(path.resolve()), "name": name, "folder": folder}
        status = _read(request | {"seconds": seconds, "memory": memory_bytes})
        result, complaints = Path(folder, "result.json"), Path(folder, "stderr")
        if status == 0 and result.exists():
            return _document(json.loads(result.read_bytes()), shown, memory_bytes)
        said = complaints.read_bytes()[-_STDERR_TAIL:] if complaints.exists() else b""
    raise _failed(status, said, shown, seconds, memory_bytes)


def _read(request: dict[str, Any]) -> int:
    """The status of the child that read a file."""
    ended = None
    # The process may have ended since it served the last file: the second try has a new one.
    for _ in range(2):
        process = _parsing_process(ended)
        with process.lock:
            status = process.read(request)
        if status is not None:
            return status
        ended = process
    raise RuntimeError("the process that parses ended twice before it had read anything: report this")


def _too_slow(shown: str, seconds: float) -> ParserLimitError:
    return ParserLimitError(
        f"{shown} was not read within {seconds:g} s; split it, or raise FILEINTEL_PARSER_SECONDS and send it again"
    )


def _too_big(shown: str, memory_bytes: int) -> ParserLimitError:
    return ParserLimitError(
        f"{shown} needs more than {memory_bytes >> 20} MiB of memory to read; "
        "split it, or raise FILEINTEL_PARSER_MEMORY and send it again"
    )


def _failed(status: int, said: bytes, shown: str, seconds: float, memory_bytes: int) -> DocumentError:
    """The error for a child that left no result; a negative `status` is the signal that ended it."""
    if status in (-signal.SIGXCPU, -signal.SIGALRM):
        return _too_slow(shown, seconds)
    if status == -signal.SIGXFSZ or any(mark in said for mark in _OUT_OF_MEMORY):
        return _too_big(shown, memory_bytes)
    ended = signal.Signals(-status).name if -status in set(signal.Signals) else f"exit status {status}"
    return CorruptDocumentError(
        f"{shown} made its parser crash ({ended}); open it in its own program, save it anew and send it again"
    )


def _document(outcome: dict[str, Any], shown: str, memory_bytes: int) -> ParsedDocument:
    if "document" in outcome:
        document = outcome["document"]
        sections = tuple(Section(**section) for section in document.pop("sections"))
        return ParsedDocument(**document, sections=sections)
    if outcome.get("limit") == "memory":
        raise _too_big(shown, memory_bytes)
    kind = getattr(errors, outcome["error"])
    raise kind(outcome["message"])
