"""The chat and embedding models as tasks use them: client, limiter and memo put together, one of each per process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from fileintel.errors import ConfigurationError, ModelServerError
from fileintel.llm.client import EmbeddingClient, OpenAIClient
from fileintel.llm.limiter import Limiter
from fileintel.llm.tokens import Tokenizer
from fileintel.llm.transport import PooledTransport
from fileintel.model import ChatAnswer, ChatRequest
from fileintel.settings import load
from fileintel.store import memo
from fileintel.store.work import Spent
from fileintel.tasks.model_servers import servers
from fileintel.tasks.purse import Purse

T = TypeVar("T")

EXTRACTIVE = "fileintel-extractive"
EMBEDDED = "all-MiniLM-L6-v2-int8"
# How long one call is tried again while its server is away or overloaded, before its item counts a failed attempt.
PATIENCE_SECONDS = 120.0


def staged(chat_model: str) -> bool:
    """Whether this chat model is the embedded extractive one, which works from stages instead of prompts."""
    return chat_model == EXTRACTIVE


def embeddings_at_once() -> int:
    """How many embedding requests one process makes at a time: the embedded model server computes on this machine."""
    settings = load()
    return 1 if settings.embedding_model == EMBEDDED else settings.embedding_concurrency


def chat_model_name() -> str:
    """The chat model's name, as requests and index runs carry it."""
    return load().chat_model


@lru_cache(maxsize=1)
def chat_client() -> OpenAIClient:
    """This process's chat client; raises ConfigurationError when no server is configured."""
    settings = load()
    if not settings.openai_base_url:
        raise ConfigurationError("OPENAI_BASE_URL is not set and no embedded model server runs: set it")
    return OpenAIClient(
        settings.openai_base_url,
        settings.openai_api_key.get_secret_value(),
        timeout=float(settings.chat_timeout_seconds),
        send_stage=staged(settings.chat_model),
        transport=PooledTransport(connections=settings.celery_graphrag_concurrency + 50),
    )


@lru_cache(maxsize=1)
def embedding_model() -> EmbeddingClient:
    """This process's embedding client; raises ConfigurationError when no server is configured."""
    settings = load()
    base_url = settings.embedding_base_url or settings.openai_base_url
    if not base_url:
        raise ConfigurationError("neither FILEINTEL_EMBEDDING_BASE_URL nor OPENAI_BASE_URL is set: set one")
    return EmbeddingClient(
        base_url,
        settings.embedding_api_key.get_secret_value() or settings.openai_api_key.get_secret_value(),
        model=settings.embedding_model,
        dimensions=settings.embedding_dimensions,
        timeout=float(settings.chat_timeout_seconds),
    )


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """This process's tokenizer."""
    return Tokenizer()


_limiter: Limiter | None = None


def limiter() -> Limiter:
    """This process's limiter of LLM calls; its ceiling is the gevent worker's concurrency."""
    global _limiter
    if _limiter is None:
        _limiter = Limiter(load().celery_graphrag_concurrency)
    return _limiter


def limiter_in_use() -> Limiter | None:
    """The limiter if this process has made one."""
    return _limiter


def remember_vectors(texts: Sequence[str]) -> dict[str, str]:
    """See to it that each text's vector is remembered; returns the keys by text, and carries no vector twice."""
    model = embedding_model()
    keys = {text: memo.embedding_key(model.name, text) for text in texts}
    known = memo.known_embeddings(list(keys.values()))
    missing = [text for text, key in keys.items() if key not in known]
    if missing:
        memo.remember_embeddings(model.name, _asked(model, missing))
    return keys


def _asked(model: EmbeddingClient, texts: list[str]) -> dict[str, list[float]]:
    def call() -> list[list[float]]:
        with servers.calling(model.base_url):
            return model.embed(texts)

    return dict(zip(texts, patiently(call), strict=True))


def embed(texts: Sequence[str]) -> dict[str, list[float]]:
    """Vectors of texts, by text; each distinct text is asked for once ever."""
    model = embedding_model()
    distinct = list(dict.fromkeys(texts))
    known = memo.recall_embeddings(model.name, distinct)
    missing = [text for text in distinct if text not in known]
    if missing:
        fresh = _asked(model, missing)
        memo.remember_embeddings(model.name, fresh)
        known.update(fresh)
    return known


class LimitedChat:
    """The chat model behind the process's limiter; `priority` lets questions go before index work."""

    def __init__(self, *, priority: bool) -> None:
        self._priority = priority

    def complete(self, request: ChatRequest) -> ChatAnswer:
        """Answer a request; an absent or overloaded server is tried again for PATIENCE_SECONDS."""

        def call() -> ChatAnswer:
            client = chat_client()
            with limiter().slot(priority=self._priority), servers.calling(client.base_url):
                return client.complete(request)

        return patiently(call)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        """Yield an answer piece by piece."""
        client = chat_client()
        with limiter().slot(priority=self._priority), servers.calling(client.base_url):
            yield from client.stream(request)


class RememberingChat:
    """The chat model behind memo and limiter, for one work item: what it costs is added up in `spent`."""

    def __init__(self, spent: Spent, purse: Purse | None = None) -> None:
        self.spent = spent
        self._purse = purse
        self.asked: list[str] = []
        self._chat = LimitedChat(priority=False)

    def complete(self, request: ChatRequest) -> ChatAnswer:
        """Answer from memory, else ask; the answer is stored with the item's result, or before the next call.

        Raises BudgetSpentError when the build may make no further call.
        """
        key = request.key
        self.asked.append(key)
        # An item of several calls must not pay for the first again when it dies in the second.
        known = memo.recall(key, self.spent.answers)
        self.spent.answers.clear()
        if known is not None:
            self.spent.remembered += 1
            return known
        if self._purse is not None:
            self._purse.take()
        answer = self._chat.complete(request)
        self.spent.calls += 1
        self.spent.tokens_in += answer.tokens_in
        self.spent.tokens_out += answer.tokens_out
        if self._purse is not None:
            self._purse.paid(answer)
        self.spent.answers[key] = (request.model, answer)
        return answer

    def stream(self, request: ChatRequest) -> Iterator[str]:
        """Yield the whole answer at once: index work has no use for pieces."""
        yield self.complete(request).content

    def forget(self) -> None:
        """Drop every answer this item was given, for together they could not be used."""
        self.spent.answers.clear()
        memo.forget(self.asked)


def patiently(call: Callable[[], T]) -> T:
    """Make a call, and again with growing pauses while its server is away or overloaded."""
    start, pause = time.monotonic(), 0.5
    while True:
        try:
            return call()
        except ModelServerError as error:
            wait = max(pause * random.uniform(0.5, 1.5), error.retry_after or 0.0)
            if time.monotonic() - start + wait > PATIENCE_SECONDS:
                raise
            time.sleep(wait)
            pause = min(2 * pause, 30.0)
