"""Stock GraphRAG by its own API and its own settings file: `python stock.py reports|index FOLDER BASE_URL …`.

`index` reads the documents in FOLDER/input and builds the whole index with the standard method. `reports` reads the
graph in FOLDER/graph.json, has GraphRAG finalise and cluster it (not timed), and times its workflow
create_community_reports. Both print one JSON object and exit with 1 if the graph did not come out whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# Everything a run needs lies on this machine.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SETTINGS = """
completion_models:
  default_completion_model:
    model_provider: openai
    model: gpt-4.1
    api_base: {base_url}
    api_key: benchmark
    retry: {{type: exponential_backoff}}
embedding_models:
  default_embedding_model:
    model_provider: openai
    model: text-embedding-3-large
    api_base: {base_url}
    api_key: benchmark
    retry: {{type: exponential_backoff}}
input: {{type: text}}
chunking: {{type: tokens, size: {unit_tokens}, overlap: 0, encoding_model: o200k_base}}
vector_store: {{type: lancedb, db_uri: output/lancedb, vector_size: 384}}
concurrent_requests: {concurrency}
"""


def configured(folder: Path, base_url: str, concurrency: int, unit_tokens: int = 280) -> Any:
    """Write GraphRAG's settings into a folder and load them; what they do not name is GraphRAG's default."""
    from graphrag.config.load_config import load_config

    text = SETTINGS.format(base_url=base_url, concurrency=concurrency, unit_tokens=unit_tokens)
    (folder / "settings.yaml").write_text(text, encoding="utf-8")
    return load_config(root_dir=folder)


def build(config: Any) -> None:
    """Run GraphRAG's pipeline; raises the first error it met."""
    from graphrag.api import build_index

    for outcome in asyncio.run(build_index(config)):
        if outcome.error is not None:
            raise outcome.error


def rows(folder: Path, table: str) -> int:
    """How many rows of a table GraphRAG has written."""
    import pandas as pd

    path = folder / "output" / f"{table}.parquet"
    return len(pd.read_parquet(path)) if path.exists() else 0


def timed(config: Any, folder: Path) -> dict[str, Any]:
    """Build, and return seconds of the wall clock and of this process's CPU with what was made."""
    cpu, start = time.process_time(), time.monotonic()
    build(config)
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    tables = ("text_units", "entities", "relationships", "communities", "community_reports")
    made = {table: rows(folder, table) for table in tables}
    return {"seconds": seconds, "cpu_seconds": cpu, **made}


def reports(folder: Path, base_url: str, concurrency: int) -> dict[str, Any]:
    """Time the workflow create_community_reports on the graph in graph.json."""
    import pandas as pd

    config = configured(folder, base_url, concurrency)
    graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    (folder / "output").mkdir(exist_ok=True)
    for table in ("entities", "relationships"):
        pd.DataFrame(graph[table]).to_parquet(folder / "output" / f"{table}.parquet")
    config.workflows = ["finalize_graph", "create_communities"]
    build(config)
    config.workflows = ["create_community_reports"]
    return timed(config, folder)


def index(folder: Path, base_url: str, concurrency: int, unit_tokens: int) -> dict[str, Any]:
    """Time the whole index of the documents in the folder `input`."""
    return timed(configured(folder, base_url, concurrency, unit_tokens), folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("reports", "index"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("base_url")
    parser.add_argument("--concurrency", type=int, default=25, help="GraphRAG's concurrent_requests (its default: 25)")
    parser.add_argument("--unit-tokens", type=int, default=280)
    given = parser.parse_args()
    if given.what == "reports":
        made = reports(given.folder, given.base_url, given.concurrency)
    else:
        made = index(given.folder, given.base_url, given.concurrency, given.unit_tokens)
    print(json.dumps(made))
    return 0 if made["entities"] and made["communities"] == made["community_reports"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
