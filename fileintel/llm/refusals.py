"""What OpenAI-compatible servers refuse: the errors their statuses mean, and asking again in simpler words."""

from __future__ import annotations

import dataclasses
import email.utils
import functools
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from fileintel.errors import ModelRequestError, ModelServerError
from fileintel.model import ChatRequest

# Statuses that a later try may cure, beside all from 500 on.
_TRANSIENT = frozenset({408, 409, 425, 429})
# Those that mean that the server has more to do than it can: 529 is said by some in place of 503.
_OVERLOADED = frozenset({408, 429, 503, 504, 529})
# What servers call what a response_format asks for, when they refuse it.
_FORMAT = re.compile(
    r"response.?format|json.?schema|json.?object|json.?mode|structured.?outputs?|guided|grammar"
    r"|must contain the word .?json"
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which parts of OpenAI's chat API a server takes for a model."""

    json_schema: bool = True
    json_object: bool = True
    tokens_field: str = "max_tokens"
    temperature: bool = True

    def body(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Return the request's body in this dialect."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        }
        if self.temperature:
            body["temperature"] = request.temperature
        if request.max_tokens is not None:
            body[self.tokens_field] = request.max_tokens
        if request.json_schema is not None:
            if self.json_schema:
                body["response_format"] = _schema_format(orjson.dumps(request.json_schema))
            elif self.json_object:
                body["response_format"] = {"type": "json_object"}
        if stream:
            body["stream"] = True
        return body

    def without(self, other: Dialect) -> Dialect:
        """Return this dialect less what the other one lacks, since calls in flight learn one after the other."""
        field = self.tokens_field if other.tokens_field == CLOSE_TO_OPENAI.tokens_field else other.tokens_field
        return Dialect(
            json_schema=self.json_schema and other.json_schema,
            json_object=self.json_object and other.json_object,
            tokens_field=field,
            temperature=self.temperature and other.temperature,
        )

    def lost(self, before: Dialect) -> str:
        """Say in one phrase what this dialect lacks against the one before."""
        if before.json_schema != self.json_schema:
            return "it takes no JSON schema"
        if before.json_object != self.json_object:
            return "it takes no response_format"
        if before.tokens_field != self.tokens_field:
            return "it takes no max_tokens (but max_completion_tokens)"
        return "it takes no temperature"


CLOSE_TO_OPENAI = Dialect()


def adapted(dialect: Dialect, status: int, message: str, body: Mapping[str, Any]) -> Dialect | None:
    """Return a simpler dialect if the refusal is about something that can be left out, or else None."""
    said = message.lower()
    # Some fail in the middle of making a grammar of the schema, and say so with 500.
    if "response_format" in body and status in (400, 415, 422, 500, 501) and _FORMAT.search(said):
        if body["response_format"]["type"] == "json_schema":
            return dataclasses.replace(dialect, json_schema=False)
        return dataclasses.replace(dialect, json_object=False)
    if status not in (400, 422):
        return None
    if "max_tokens" in body and "max_completion_tokens" in said:
        return dataclasses.replace(dialect, tokens_field="max_completion_tokens")
    if "temperature" in body and "temperature" in said and "support" in said:
        return dataclasses.replace(dialect, temperature=False)
    return None


def error_for(server: str, response: httpx.Response, message: str) -> ModelServerError | ModelRequestError:
    """Return the error that a status other than 200 means; `server` names the server and the model."""
    status = response.status_code
    # An empty account is answered with 429 too, and no waiting fills it.
    if status == 429 and ("insufficient_quota" in message or "exceeded your current quota" in message):
        return ModelRequestError(f"{server} refused: {message}")
    if status >= 500 or status in _TRANSIENT:
        return ModelServerError(
            f"{server} answered HTTP {status}: {message}",
            retry_after=retry_after(response.headers),
            overloaded=status in _OVERLOADED,
        )
    if 300 <= status < 400:
        target = httpx.URL(response.headers.get("location", "")).copy_with(username=None, password=None, query=None)
        return ModelRequestError(f"{server} redirects to {target}: set that as the address")
    return ModelRequestError(f"{server} refused with HTTP {status}: {message}")


def retry_after(headers: httpx.Headers) -> float | None:
    """Return after how many seconds the server wants to be asked again, if it says so."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip()[:1].isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


@functools.lru_cache(maxsize=32)
def _schema_format(schema: bytes) -> dict[str, Any]:
    loaded = _closed(orjson.loads(schema))
    name = "".join(c for c in str(loaded.get("title", "answer")) if c.isascii() and (c.isalnum() or c in "_-"))
    return {
        "type": "json_schema",
        "json_schema": {"name": name[:64] or "answer", "schema": loaded, "strict": True},
    }


def _closed(schema: Any) -> Any:
    """Return the schema as strict mode wants it: every property required and none besides."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    if isinstance(closed.get("properties"), dict):
        closed["required"] = list(closed["properties"])
        closed["additionalProperties"] = False
    return closed
