"""The child process of `parse_in_limits`: limits itself, parses one file, leaves the result as JSON.

Run as `python -m fileintel.documents.child FILE NAME RESULT CPU_SECONDS MEMORY_BYTES PARENT_PID`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Parse as told by the arguments; 0 when RESULT holds a document or a named error."""
    file, name, result, seconds, memory, parent = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the worker's death must not leave us behind
    if os.getppid() != int(parent):
        return 1  # it died before the line above
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(memory), int(memory)))
    # openpyxl imports numpy if there is one, for types no file holds: 0.4 s and, per core, address space.
    sys.modules["numpy"] = None  # type: ignore[assignment]

    from fileintel.documents.reading import parse
    from fileintel.errors import DocumentError

    try:
        document = parse(Path(file), name)
        outcome: dict[str, object] = {"document": asdict(document)}
        encoded = json.dumps(outcome, ensure_ascii=False, default=dict).encode()
    except DocumentError as error:
        encoded = json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
    except MemoryError:
        encoded = json.dumps({"error": "ParserLimitError", "limit": "memory"}).encode()
    Path(result).write_bytes(encoded)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # nothing to tidy: taking down a big document object by object costs seconds
