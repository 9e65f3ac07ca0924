"""FileIntel: self-hosted document intelligence on GraphRAG, answered with citations that can be checked."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fileintel")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
