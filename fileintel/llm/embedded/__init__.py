"""The embedded model server: MiniLM embeddings and an extractive language model, without key or network."""

from __future__ import annotations

CHAT_MODEL = "fileintel-extractive"
EMBEDDING_MODEL = "all-MiniLM-L6-v2-int8"
DIMENSIONS = 384
REFUSAL = "I cannot answer this from the documents"
