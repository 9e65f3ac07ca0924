"""LightRAG on the documents of a folder: `python lightrag_index.py FOLDER BASE_URL [--tuned] [--lean-client]`.

Without a flag all is LightRAG's default, its OpenAI functions included. `--tuned` raises every concurrency setting to
200; `--lean-client` replaces the OpenAI functions, which make a new client for every call, by one shared aiohttp
session. The chunks are those of the other contestants: documents are split at their blank lines.
Prints one JSON object and exits with 1 if a document failed or no graph came out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
WIDE = 200

Complete = Callable[..., Awaitable[str]]
Embed = Callable[[list[str]], Awaitable[np.ndarray]]


@contextlib.asynccontextmanager
async def lean(base_url: str) -> AsyncIterator[tuple[Complete, Embed]]:
    """Chat and embedding over one aiohttp session."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(path: str, body: dict[str, Any]) -> Any:
            async with session.post(base_url + path, json=body) as answered:
                answered.raise_for_status()
                return await answered.json()

        async def complete(
            prompt: str, system_prompt: str | None = None, history_messages: Any = None, **_: Any
        ) -> str:
            messages = [{"role": "system", "content": system_prompt}] if system_prompt else []
            messages += [*(history_messages or []), {"role": "user", "content": prompt}]
            answered = await ask("/chat/completions", {"model": "scripted", "messages": messages})
            return str(answered["choices"][0]["message"]["content"])

        async def embed(texts: list[str]) -> np.ndarray:
            answered = await ask("/embeddings", {"model": "scripted-embedding", "input": texts})
            return np.array([item["embedding"] for item in answered["data"]], dtype=np.float32)

        yield complete, embed


@contextlib.asynccontextmanager
async def its_own(base_url: str) -> AsyncIterator[tuple[Complete, Embed]]:
    """Chat and embedding by LightRAG's OpenAI functions."""
    from lightrag.llm.openai import openai_complete_if_cache, openai_embed

    async def complete(prompt: str, system_prompt: str | None = None, history_messages: Any = None, **more: Any) -> str:
        return await openai_complete_if_cache(
            "scripted",
            prompt,
            system_prompt=system_prompt,
            history_messages=history_messages or [],
            base_url=base_url,
            api_key="benchmark",
            **more,
        )

    async def embed(texts: list[str]) -> np.ndarray:
        return await openai_embed.func(texts, model="scripted-embedding", base_url=base_url, api_key="benchmark")

    yield complete, embed


async def insert(folder: Path, base_url: str, *, tuned: bool, lean_client: bool) -> dict[str, Any]:
    """Insert all documents and wait until LightRAG has processed them."""
    from lightrag import LightRAG
    from lightrag.kg.shared_storage import initialize_pipeline_status
    from lightrag.utils import EmbeddingFunc

    texts = [path.read_text(encoding="utf-8") for path in sorted((folder / "input").glob("*.txt"))]
    settings: dict[str, Any] = {}
    if tuned:
        settings = {
            "llm_model_max_async": WIDE,
            "embedding_func_max_async": WIDE,
            "max_parallel_insert": WIDE,
            "embedding_batch_num": 32,
            "queue_size_parse": WIDE,
            "queue_size_analyze": WIDE,
            "queue_size_insert": WIDE,
        }
    async with (lean if lean_client else its_own)(base_url) as (complete, embed):
        rag = LightRAG(
            working_dir=str(folder / "lightrag"),
            llm_model_func=complete,
            llm_model_name="scripted",
            embedding_func=EmbeddingFunc(embedding_dim=384, max_token_size=8192, func=embed),
            **settings,
        )
        await rag.initialize_storages()
        await initialize_pipeline_status()
        names = [f"document-{number:05}.txt" for number in range(len(texts))]
        cpu, start = time.process_time(), time.monotonic()
        await rag.ainsert(texts, "\n\n", True, file_paths=names)
        seconds, cpu = time.monotonic() - start, time.process_time() - cpu
        statuses = await rag.doc_status.get_status_counts()
        entities = len(await rag.get_graph_labels())
        await rag.finalize_storages()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "documents": len(texts),
        "processed": statuses.get("processed", 0),
        "statuses": statuses,
        "entities": entities,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("base_url")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--lean-client", action="store_true")
    given = parser.parse_args()
    made = asyncio.run(insert(given.folder, given.base_url, tuned=given.tuned, lean_client=given.lean_client))
    print(json.dumps(made))
    return 0 if made["entities"] and made["processed"] == made["documents"] else 1


if __name__ == "__main__":
    sys.exit(main())
