"""Programs for benchmarks/.venv, which holds stock GraphRAG and LightRAG: they import nothing of FileIntel."""
