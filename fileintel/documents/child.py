"""The parsing process of `parse_in_limits`: waits, with the parser imported, and forks for every file it is told of.

Run as `python -m fileintel.documents.child`. Each line of its input is a JSON object with `file`, `name`, `folder`,
`seconds` and `memory`; for each it prints the wait status of the child that read the file, which has left its outcome
as `result.json` in the folder, and what it complained of as `stderr`. It ends with its input.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests until the input ends, and with it whoever made them."""
    # openpyxl imports numpy if there is one, for types no file holds: 0.4 s and, per core, address space.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    from fileintel.documents import formats

    importlib.import_module("fileintel.documents.reading")
    while line := sys.stdin.buffer.readline():
        gc.freeze()  # searching what was imported for garbage would copy it into every child
        request = json.loads(line)
        status = _forked(request)
        if status is None:
            return
        print(status, flush=True)
        # The next file is likely of the same format: it will find the reader imported. No byte of a file is read here.
        if named := formats.by_extension(Path(request["name"]).suffix.lower()):
            named.reader()


def _forked(request: dict[str, Any]) -> int | None:
    """The wait status of a child that did as requested; None, and no child, if the input ended meanwhile."""
    alive, held = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(alive)
        _read(request, parent)
    os.close(held)
    # The child alone holds its end of the pipe, which is closed however it ends.
    ready, _, _ = select.select([alive, sys.stdin], [], [])
    os.close(alive)
    if alive not in ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return status if alive in ready else None


def _read(request: dict[str, Any], parent: int) -> None:
    """Limit this process, read the file, leave the outcome, end."""
    try:
        os.chdir(request["folder"])
        os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        _limit(request["seconds"], request["memory"])
        if os.getppid() != parent:
            os._exit(1)  # it died before it could take this process with it
        Path("result.json").write_bytes(_outcome(Path(request["file"]), request["name"]))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # nothing to tidy: taking down a big document object by object costs seconds


def _limit(seconds: float, memory: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    processor = math.ceil(seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor + 5))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory, memory))
    signal.setitimer(signal.ITIMER_REAL, seconds)  # nobody handles the signal, so it ends the process


def _outcome(file: Path, name: str) -> bytes:
    from fileintel.documents.reading import parse
    from fileintel.errors import DocumentError

    try:
        document = parse(file, name)
        return json.dumps({"document": asdict(document)}, ensure_ascii=False, default=dict).encode()
    except DocumentError as error:
        return json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
    except MemoryError:
        return json.dumps({"error": "ParserLimitError", "limit": "memory"}).encode()


if __name__ == "__main__":
    main()
