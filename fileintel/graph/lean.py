"""Importing GraphRAG without litellm, which costs a worker 6 s of CPU and 150 MB and is never called here."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def leave_out_litellm() -> None:
    """Let GraphRAG take the names of litellm's types, all it wants of it at import, from a placeholder.

    The placeholder is gone when this returns: whoever imports litellm afterwards gets the real one. Does nothing where
    GraphRAG or litellm is imported already.
    """
    if "litellm" in sys.modules or "graphrag_llm" in sys.modules:
        return
    placeholder = ModuleType("litellm")
    # Only annotations use these names, and nothing reads the annotations.
    placeholder.__getattr__ = lambda _name: Any  # type: ignore[method-assign]
    sys.modules["litellm"] = placeholder
    try:
        import graphrag_llm.types  # noqa: F401
    finally:
        del sys.modules["litellm"]
