"""`parse_in_limits`: parsing where a hostile file can hurt nothing but its own process."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
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


def parse_in_limits(path: Path, name: str, *, seconds: float, memory_bytes: int) -> ParsedDocument:
    """`parse` in a process of its own, with at most `seconds` of wall time and of CPU and `memory_bytes` of memory.

    Works from a daemonic process and beside threads. Raises what `parse` raises, ParserLimitError when a limit is
    reached, CorruptDocumentError when the parser crashes.
    """
    shown = label(name)
    environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    with tempfile.TemporaryDirectory(prefix="fileintel-parse-") as folder:
        result, complaints = Path(folder, "result.json"), Path(folder, "stderr")
        command = [sys.executable, "-P", "-m", "fileintel.documents.child", str(path.resolve())]
        command += [name.replace("\0", " "), str(result), str(math.ceil(seconds)), str(memory_bytes), str(os.getpid())]
        with complaints.open("wb") as stderr:
            try:
                status = subprocess.run(
                    command,
                    env=environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    timeout=seconds,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired as error:
                raise _too_slow(shown, seconds) from error
        if status == 0 and result.exists():
            return _document(json.loads(result.read_bytes()), shown, memory_bytes)
        with complaints.open("rb") as stderr:
            stderr.seek(max(0, complaints.stat().st_size - _STDERR_TAIL))
            said = stderr.read()
    raise _failed(status, said, shown, seconds, memory_bytes)


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
    if status == -signal.SIGXCPU:
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
