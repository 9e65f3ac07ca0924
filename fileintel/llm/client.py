"""The one client of OpenAI-compatible servers: chat, streamed chat, embeddings, model names.

It asks once and reports what happened; trying again is the limiter's and the work table's business.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import orjson

from fileintel.errors import ConfigurationError, ModelAnswerError, ModelServerError
from fileintel.llm.refusals import CLOSE_TO_OPENAI, Dialect, adapted, error_for
from fileintel.llm.transport import PooledTransport
from fileintel.model import ChatAnswer, ChatRequest

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_CHECK_SECONDS = 10.0
_RAW_CHARACTERS = 2000  # how much of an unusable answer is kept with its error

# What servers turned out not to take, by (base URL, model), for the life of the process.
_dialects: dict[tuple[str, str], Dialect] = {}


class _Server:
    """An address, a key and a transport; the key is in no text this makes."""

    def __init__(self, base_url: str, api_key: str, timeout: float, transport: httpx.BaseTransport | None) -> None:
        try:
            parsed = httpx.URL(base_url.strip().rstrip("/"))
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"the model server's address is not a URL: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError("the model server's address must begin with http:// or https:// and name a host")
        key = api_key.strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigurationError("the model server's API key holds characters that no HTTP header can carry")
        self.secrets = tuple(secret for secret in (key, parsed.password) if secret)
        self._url = parsed.copy_with(username=None, password=None)
        self.name = str(self._url.copy_with(query=None))
        self._timeout = {"connect": min(_CONNECT_SECONDS, timeout), "read": timeout, "write": timeout, "pool": None}
        headers = {"Host": parsed.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "fileintel"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        elif parsed.username:
            basic = httpx.BasicAuth(parsed.username, parsed.password)
            headers["Authorization"] = next(basic.auth_flow(httpx.Request("GET", self._url))).headers["Authorization"]
        self._headers = httpx.Headers(headers)
        self._json_headers = httpx.Headers({**headers, "Content-Type": "application/json"})
        self._urls: dict[str, httpx.URL] = {}
        self._transport = PooledTransport() if transport is None else transport

    def check(self) -> None:
        """Ask for the list of models, if only to see whether the server answers; see `OpenAIClient.check`."""
        response = self.send("/models", None, "", silence=_CHECK_SECONDS)
        raw = self.read(response, "")
        if response.status_code >= 500 or response.status_code in (401, 403):
            raise self.refusal(response, raw, "")

    def send(
        self, path: str, body: Mapping[str, Any] | None, model: str, *, silence: float | None = None
    ) -> httpx.Response:
        """Send and return the response with its body unread; raises ModelServerError when there is none.

        `silence` is how many seconds the server may stay silent, if not as long as for any other request.
        """
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = self._url.copy_with(path=self._url.path.rstrip("/") + path)
        # Straight to the transport: httpx.Client's own layers (cookies, redirects, hooks) are not needed here.
        request = httpx.Request(
            "GET" if body is None else "POST",
            url,
            headers=self._headers if body is None else self._json_headers,
            content=None if body is None else _encoded(body),
            extensions={"timeout": self._timeout if silence is None else {**self._timeout, "read": silence}},
        )
        try:
            return self._transport.handle_request(request)
        except httpx.TransportError as error:
            raise self.failure(error, model) from error

    def read(self, response: httpx.Response, model: str) -> bytes:
        """Return the whole body and give the connection back."""
        try:
            return response.read()
        except httpx.TransportError as error:
            raise self.failure(error, model) from error
        except httpx.DecodingError as error:
            raise ModelAnswerError(f"{self.of(model)} sent a body that cannot be decompressed") from error
        finally:
            response.close()

    def failure(self, error: httpx.TransportError, model: str) -> ModelServerError:
        """Name what went wrong on the way; a timeout counts as overload."""
        if isinstance(error, httpx.ConnectTimeout):
            return ModelServerError(f"{self.of(model)} cannot be reached: connecting timed out", overloaded=True)
        if isinstance(error, httpx.TimeoutException):
            limits = error.request.extensions["timeout"]
            return ModelServerError(f"{self.of(model)} gave no answer within {limits['read']:g} s", overloaded=True)
        if isinstance(error, httpx.ConnectError):
            return ModelServerError(f"{self.of(model)} cannot be reached: {self.without_secrets(str(error))}")
        return ModelServerError(f"{self.of(model)} broke the connection: {self.without_secrets(str(error))}")

    def of(self, model: str) -> str:
        """Name the server and the model asked for in an error."""
        return f"the model server {self.name} (model {model})" if model else f"the model server {self.name}"

    def without_secrets(self, text: str) -> str:
        """Return the text with the key blotted out: some servers repeat it."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def refusal(self, response: httpx.Response, body: bytes, model: str) -> Exception:
        """Turn an answer other than 200 into its error."""
        return error_for(self.of(model), response, self.without_secrets(message_in(body)))

    def close(self) -> None:
        self._transport.close()


class OpenAIClient:
    """A chat model behind an OpenAI-compatible address (protocols.ChatModel); for any number of threads or greenlets.

    `timeout` is how many seconds the server may stay silent; `send_stage` passes `ChatRequest.stage` on, which only
    the embedded model server understands.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        *,
        timeout: float = 600.0,
        transport: httpx.BaseTransport | None = None,
        send_stage: bool = False,
    ) -> None:
        self._server = _Server(base_url, api_key, timeout, transport)
        self._send_stage = send_stage

    def __repr__(self) -> str:
        return f"OpenAIClient({self._server.name!r})"

    @property
    def base_url(self) -> str:
        """The server's address without credentials."""
        return self._server.name

    def complete(self, request: ChatRequest) -> ChatAnswer:
        """Answer the whole request.

        Raises ModelServerError (try later), ModelRequestError (never) or ModelAnswerError (nothing usable in it).
        A `finish_reason` of "length" means that the answer was cut off.
        """
        server = self._server
        response = self._ask(request, stream=False)
        raw = server.read(response, request.model)
        try:
            body = orjson.loads(raw)
            # Gateways answer 200 before they know how the model behind them fares.
            if isinstance(body, dict) and body.get("error") and not body.get("choices"):
                message = server.without_secrets(message_in(raw))
                raise ModelServerError(f"{server.of(request.model)} failed: {message}")
            choice = body["choices"][0]
            message = choice["message"]
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError) as error:
            shown = server.without_secrets(_shown(raw))
            raise ModelAnswerError(f"{server.of(request.model)} sent no chat completion", raw=shown) from error
        finish_reason = choice.get("finish_reason") or "stop"
        content = _text(message.get("content") if isinstance(message, dict) else None)
        if content is None:
            why = message.get("refusal") if isinstance(message, dict) else None
            why = why or f"its message has no text (finish reason {finish_reason})"
            raise ModelAnswerError(f"{server.of(request.model)} did not answer: {why}", raw=_shown(raw))
        usage = body.get("usage") or {}
        return ChatAnswer(
            content=content,
            tokens_in=usage.get("prompt_tokens") or 0,
            tokens_out=usage.get("completion_tokens") or 0,
            finish_reason=finish_reason,
        )

    def stream(self, request: ChatRequest) -> Iterator[str]:
        """Yield the answer piece by piece; same errors as `complete`, also in the middle of an answer."""
        server, model = self._server, request.model
        response = self._ask(request, stream=True)
        try:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise ModelAnswerError(f"{server.of(model)} did not stream", raw=_shown(server.read(response, model)))
            ended = False
            for line in _lines(response):
                if not line.startswith(b"data:"):
                    continue  # a comment that keeps the connection alive, or a blank line
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                piece, finished = self._piece(data, model)
                ended = ended or finished
                if piece:
                    yield piece
            if not ended:
                raise ModelServerError(f"{server.of(model)} ended its answer before it was complete")
        except httpx.TransportError as error:
            raise server.failure(error, model) from error
        except httpx.DecodingError as error:
            raise ModelAnswerError(f"{server.of(model)} sent a body that cannot be decompressed") from error
        finally:
            response.close()

    def model_names(self) -> list[str]:
        """Return the models the server offers (GET /models), sorted; same errors as `complete`."""
        return self._model_names(self._server)

    def check(self) -> None:
        """Raise ModelServerError if the server does not answer within 10 s, ModelRequestError if not to this key.

        A server that has no list of models (404) answers all the same.
        """
        self._server.check()

    def close(self) -> None:
        """Close the idle connections."""
        self._server.close()

    def _ask(self, request: ChatRequest, *, stream: bool) -> httpx.Response:
        """Return the 200 response, unread; asks again only to leave out what the server does not take."""
        server = self._server
        place = (server.name, request.model)
        while True:
            dialect = _dialects.get(place, CLOSE_TO_OPENAI)
            body = dialect.body(request, stream=stream)
            if self._send_stage and request.stage is not None:
                body["fileintel_stage"] = {"name": request.stage.name, "inputs": dict(request.stage.inputs)}
            response = server.send("/chat/completions", body, request.model)
            if response.status_code == 200:
                return response
            raw = server.read(response, request.model)
            simpler = adapted(dialect, response.status_code, message_in(raw), body)
            if simpler is None:
                raise server.refusal(response, raw, request.model)
            logger.warning("%s: %s; asking without it from now on", server.of(request.model), simpler.lost(dialect))
            _dialects[place] = simpler.without(_dialects.get(place, CLOSE_TO_OPENAI))

    def _piece(self, data: bytes, model: str) -> tuple[str, bool]:
        """Return the text in one event of a stream and whether the answer ends with it."""
        server = self._server
        try:
            event = orjson.loads(data)
            if event.get("error"):
                message = server.without_secrets(message_in(data))
                raise ModelServerError(f"{server.of(model)} failed in the middle of its answer: {message}")
            choices = event.get("choices") or []
            if not choices:
                return "", False  # the usage counts at the end
            delta = choices[0].get("delta") or {}
            return _text(delta.get("content")) or "", bool(choices[0].get("finish_reason"))
        except (orjson.JSONDecodeError, AttributeError, KeyError, IndexError, TypeError) as error:
            raise ModelAnswerError(f"{server.of(model)} sent a malformed stream", raw=_shown(data)) from error

    @staticmethod
    def _model_names(server: _Server) -> list[str]:
        response = server.send("/models", None, "")
        raw = server.read(response, "")
        if response.status_code != 200:
            raise server.refusal(response, raw, "")
        try:
            return sorted(str(model["id"]) for model in orjson.loads(raw)["data"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ModelAnswerError(f"{server.of('')} sent no list of models", raw=_shown(raw)) from error


class EmbeddingClient:
    """An embedding model behind an OpenAI-compatible address (protocols.EmbeddingModel)."""

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        *,
        model: str,
        dimensions: int,
        timeout: float = 600.0,
        batch: int = 64,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._server = _Server(base_url, api_key, timeout, transport)
        self._model = model
        self._dimensions = dimensions
        self._batch = batch

    def __repr__(self) -> str:
        return f"EmbeddingClient({self._server.name!r}, model={self._model!r})"

    @property
    def name(self) -> str:
        """The model's name, as it is stored beside each vector."""
        return self._model

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector per text, in order, of the configured dimensions and of unit length.

        At most `batch` texts go into one request. Raises ModelServerError, ModelRequestError, ModelAnswerError
        (wrong number of vectors, no direction), or ConfigurationError when the dimensions are not those configured.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self._batch):
            vectors += self._embed(list(texts[start : start + self._batch]))
        return vectors

    @property
    def base_url(self) -> str:
        """The server's address without credentials."""
        return self._server.name

    def check(self) -> None:
        """See `OpenAIClient.check`."""
        self._server.check()

    def model_names(self) -> list[str]:
        """Return the models the server offers (GET /models), sorted; same errors as `embed`."""
        return OpenAIClient._model_names(self._server)

    def close(self) -> None:
        """Close the idle connections."""
        self._server.close()

    def _embed(self, texts: list[str]) -> list[list[float]]:
        server, model = self._server, self._model
        response = server.send("/embeddings", {"model": model, "input": texts, "encoding_format": "float"}, model)
        raw = server.read(response, model)
        if response.status_code != 200:
            raise server.refusal(response, raw, model)
        try:
            data = orjson.loads(raw)["data"]
            by_index = {item["index"]: item["embedding"] for item in data}
            vectors = [by_index[number] for number in range(len(texts))]
            if len(data) != len(texts):
                raise KeyError(len(texts))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            message = f"{server.of(model)} did not send one vector for each of {len(texts)} texts"
            raise ModelAnswerError(message, raw=_shown(raw)) from error
        return [self._unit(vector) for vector in vectors]

    def _unit(self, vector: Sequence[float]) -> list[float]:
        of = self._server.of(self._model)
        if len(vector) != self._dimensions:
            raise ConfigurationError(
                f"{of} makes vectors of {len(vector)} dimensions, FILEINTEL_EMBEDDING_DIMENSIONS says"
                f" {self._dimensions}"
            )
        try:
            norm = math.sqrt(math.fsum(x * x for x in vector))
        except TypeError as error:
            raise ModelAnswerError(f"{of} sent a vector that is not all numbers") from error
        if not norm or not math.isfinite(norm):
            raise ModelAnswerError(f"{of} sent a vector without a direction (length {norm})")
        return [x / norm for x in vector]


def message_in(body: bytes) -> str:
    """Return what an error's body says, in one line of at most 400 characters; bodies differ from server to server."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = body.decode("utf-8", "replace")
    while isinstance(found, dict):
        found = next((found[name] for name in ("error", "message", "detail", "code") if found.get(name)), str(found))
    return " ".join(str(found).split())[:400] or "no reason given"


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # half a surrogate pair, such as some PDFs hold: sent as a question mark
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _lines(response: httpx.Response) -> Iterator[bytes]:
    # Not httpx's iter_lines: that also breaks lines at U+2028 and its like, which may stand inside the JSON.
    rest = b""
    for piece in response.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    yield rest


def _text(content: Any) -> str | None:
    if isinstance(content, list):  # some servers send a list of parts
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else None


def _shown(raw: bytes) -> str:
    return raw[:_RAW_CHARACTERS].decode("utf-8", "replace")
