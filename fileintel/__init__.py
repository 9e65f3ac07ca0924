"""FileIntel: self-hosted document intelligence on GraphRAG, answered with citations that can be checked."""

from typing import TYPE_CHECKING

__version__: str

# Looked up when it is asked for: `importlib.metadata` costs every process that parses a document 0.2 s.
# Hidden from type checkers, to which a module's __getattr__ means that it has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fileintel")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0.0.0"
