"""The embedded models as an OpenAI-compatible HTTP server on loopback."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from fileintel.errors import ConfigurationError, FileIntelError, InputError, NotFoundError, ServiceError
from fileintel.llm.embedded import CHAT_MODEL, DIMENSIONS, EMBEDDING_MODEL
from fileintel.llm.embedded.lanes import LATER, URGENT, Lanes

_MAX_TEXTS = 2048  # of one embeddings request, as OpenAI has it
_URGENT_TEXTS = 2  # an embeddings request this small is a question's
_PIECE = 6  # words a streamed piece carries
_QUESTION_STAGES = frozenset(("answer", "global_map", "global_reduce", "rate_report", "drift_primer", "drift_local"))
_DESCRIPTIONS = {
    CHAT_MODEL: (
        "Extractive: it quotes and ranks sentences of the texts it is given and never writes its own. "
        "It works from the body field fileintel_stage; plain chat is refused."
    ),
    EMBEDDING_MODEL: "all-MiniLM-L6-v2 with int8 weights, 384 dimensions, English.",
}


def default_processes() -> int:
    """Return how many model processes this machine gets unless told otherwise: one a core, at most two."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def application(lanes: Lanes) -> Starlette:
    """Return the HTTP application; it starts answering when every process of `lanes` has its models loaded."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        started = time.monotonic()
        await lanes.start()
        app.state.load_seconds = round(time.monotonic() - started, 2)
        try:
            yield
        finally:
            await lanes.stop()

    async def health(request: Request) -> Response:
        return JSONResponse(
            {
                "status": "ok",
                "models": [CHAT_MODEL, EMBEDDING_MODEL],
                "processes": lanes.process_ids,
                "waiting": lanes.waiting,
                "load_seconds": request.app.state.load_seconds,
            }
        )

    async def models(request: Request) -> Response:
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "fileintel", "description": description}
            for name, description in _DESCRIPTIONS.items()
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def embeddings(request: Request) -> Response:
        return await _embeddings(lanes, await _body(request))

    async def chat(request: Request) -> Response:
        return await _chat(lanes, await _body(request))

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ],
        lifespan=lifespan,
        exception_handlers={FileIntelError: _refused, 404: _not_found, 405: _not_found},
    )


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise InputError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InputError("the body is not a JSON object")
    return body


def _error(status: int, message: str, kind: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, FileIntelError)
    if isinstance(error, InputError):
        return _error(404 if isinstance(error, NotFoundError) else 400, str(error), "invalid_request_error")
    return _error(503, str(error), "server_error")


async def _not_found(request: Request, error: Exception) -> Response:
    return _error(404, f"no such route: {request.method} {request.url.path}", "invalid_request_error")


def _check_model(body: Mapping[str, Any], served: str) -> None:
    if body.get("model") != served:
        raise NotFoundError(f"no model {body.get('model')!r} here; this route serves {served!r}")


async def _embeddings(lanes: Lanes, body: Mapping[str, Any]) -> Response:
    _check_model(body, EMBEDDING_MODEL)
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InputError("input must be a text or a list of texts")
    if len(texts) > _MAX_TEXTS:
        raise InputError(f"input has {len(texts)} texts; at most {_MAX_TEXTS} go into one request")
    if body.get("dimensions") not in (None, DIMENSIONS):
        raise InputError(f"dimensions must be {DIMENSIONS}")
    packed = await lanes.run(URGENT if len(texts) <= _URGENT_TEXTS else LATER, "embed", texts)
    rows = [packed[start : start + 4 * DIMENSIONS] for start in range(0, len(packed), 4 * DIMENSIONS)]
    wants_base64 = body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": base64.b64encode(row).decode() if wants_base64 else memoryview(row).cast("f").tolist(),
        }
        for number, row in enumerate(rows)
    ]
    tokens = sum(_count(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "model": EMBEDDING_MODEL, "data": data, "usage": usage})


async def _chat(lanes: Lanes, body: Mapping[str, Any]) -> Response:
    _check_model(body, CHAT_MODEL)
    stage = body.get("fileintel_stage")
    if (
        not isinstance(stage, dict)
        or not isinstance(stage.get("name"), str)
        or not isinstance(stage.get("inputs"), dict)
    ):
        raise InputError(
            f"{CHAT_MODEL} is an extractive model and cannot chat: it needs the body field fileintel_stage "
            'of the form {"name": ..., "inputs": {...}}; set OPENAI_BASE_URL to use a language model'
        )
    urgency = URGENT if stage["name"] in _QUESTION_STAGES else LATER
    text: str = await lanes.run(urgency, "complete", stage["name"], stage["inputs"])
    asked = sum(_count(str(m.get("content", ""))) for m in body.get("messages") or [] if isinstance(m, dict))
    answered = _count(text)
    usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    frame = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": CHAT_MODEL}
    if body.get("stream"):
        options = body.get("stream_options") or {}
        told = usage if isinstance(options, dict) and options.get("include_usage") else None
        return StreamingResponse(_stream(frame, text, told), media_type="text/event-stream")
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return JSONResponse({**frame, "object": "chat.completion", "choices": [choice], "usage": usage})


async def _stream(frame: Mapping[str, Any], text: str, usage: Mapping[str, int] | None) -> AsyncIterator[str]:
    """Send an answer, which is whole already, in pieces of a few words."""

    def event(delta: Mapping[str, str], finish: str | None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**frame, "object": "chat.completion.chunk", "choices": [choice]}
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"

    yield event({"role": "assistant", "content": ""}, None)
    pieces = text.split(" ")
    for start in range(0, len(pieces), _PIECE):
        end = start + _PIECE
        yield event({"content": " ".join(pieces[start:end]) + (" " if end < len(pieces) else "")}, None)
    yield event({}, "stop")
    if usage is not None:
        last = {**frame, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        yield f"data: {json.dumps(last)}\n\n"
    yield "data: [DONE]\n\n"


def _count(text: str) -> int:
    """Count tokens roughly, as four for three words: nobody pays for these."""
    return (len(text.split()) * 4 + 2) // 3


def serve(
    host: str = "127.0.0.1", port: int = 8701, processes: int | None = None, *, trust_network: bool = False
) -> None:
    """Serve the embedded models until SIGTERM or Ctrl-C; since it asks for no key, loopback only unless told otherwise.

    Raises ConfigurationError for a host that others could reach, if `trust_network` does not say that they may.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not trust_network:
        raise ConfigurationError(
            f"the embedded model server has no key and serves loopback only, not {host!r}; "
            "--trust-network says that whoever reaches it may use it"
        )
    count = default_processes() if processes is None else processes
    if count < 1:
        raise ConfigurationError(f"the embedded model server needs at least one process, not {count}")
    listener = _bound(host, port)
    config = uvicorn.Config(
        application(Lanes(count)),
        log_level="warning",
        access_log=False,
        lifespan="on",
        backlog=1024,
        timeout_keep_alive=600,
        timeout_graceful_shutdown=3,
    )
    # uvicorn takes these signals while it runs, stops in order and then raises them again. Before that nothing needs
    # tidying, and afterwards nothing is left to tidy: neither is an end by accident.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    address = f"http://{host}:{listener.getsockname()[1]}/v1"
    print(f"embedded models on {address}: loading into {count} processes", file=sys.stderr, flush=True)
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if not server.started:
        raise ServiceError("the embedded model server did not start: the cause stands above")


def _bound(host: str, port: int) -> socket.socket:
    """Take the port before the models are loaded: a port in use is known at once, and nobody is let in too early."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ServiceError(f"the embedded model server cannot have {host}:{port}: {error.strerror}") from error
    return listener
