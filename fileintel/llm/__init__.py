"""Chat and embedding models: the client, its limiter and tokenizer, and the embedded model server."""
