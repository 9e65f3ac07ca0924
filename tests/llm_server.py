"""A scripted OpenAI-compatible server: answers GraphRAG's and our prompts from the prompt itself, and counts.

As a process: `python tests/llm_server.py --port 0 --latency 0.35` prints {"port", "base_url"} as its first line and
stops when its stdin closes (`--stay` keeps it). In Python: `with running(latency=0.35) as server:` gives
`server.base_url`, `.stats()`, `.configure(error_rate=0.1)`, `.reset()`. Every field of `Options` is a command line
flag, an argument of `running` and a field of POST /control.

What it answers, and the rule by which "Alice knows Bob." becomes two entities and a relationship, is in
llm_script.py, with `corpus()` (importable from here too), which writes texts whose graph is so known.
Faults are drawn from (seed, prompt, attempt), so they do not depend on the order in which calls arrive.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from llm_script import BAD_ANSWER, Corpus, answer, corpus, embed, kind_of

__all__ = ["Corpus", "Options", "ScriptedServer", "corpus", "running"]


@dataclass
class Options:
    """How the server behaves; times in seconds, rates from 0 to 1."""

    latency: float = 0.0  # of every model call
    slowdown: float = 0.0  # each further call in service adds this share of the latency
    slots: int = 0  # calls served at once, the rest queue in order (0: all)
    overload_above: int = 0  # more calls than this in flight: 429 at once (0: never)
    retry_after: float = 1.0  # the Retry-After of a 429; 0 leaves the header out
    limit_rate: float = 0.0  # 429
    error_rate: float = 0.0  # 500
    drop_rate: float = 0.0  # the connection is closed without an answer (in the middle of a stream)
    hang_rate: float = 0.0  # never answered
    bad_json_rate: float = 0.0  # 200 whose body is not JSON
    bad_answer_rate: float = 0.0  # 200 whose content is not of the form asked for
    fail_first: int = 0  # the first n asks of each prompt get a 500
    fault_kinds: str = ""  # the kinds (comma separated) that the faults above befall; empty: all
    hold: bool = False  # calls wait until this is false again
    refuse_json_schema: bool = False  # 400 to a response_format of type json_schema
    finish_reason: str = "stop"
    piece_delay: float = 0.0  # between the pieces of a stream
    dimensions: int = 384  # of embeddings
    api_key: str = ""  # if set, 401 without it
    models: str = "scripted,scripted-embedding"  # what GET /models lists
    strict_models: bool = False  # 404 to a model not in `models`
    seed: int = 0


# --- counting ---------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What was asked of one kind since the last reset."""

    count: int = 0
    answered: int = 0
    failed: int = 0
    abandoned: int = 0
    in_flight: int = 0
    peak: int = 0
    busy: float = 0.0
    running: dict[int, float] = field(default_factory=dict)
    spans: list[tuple[float, float]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    last: dict[str, Any] | None = None

    def begin(self, call: Call) -> None:
        self.count += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self.asked[call.prompt] += 1
        self.running[id(call)] = call.started
        self.last = call.body

    def end(self, call: Call, outcome: str, now: float) -> None:
        self.in_flight -= 1
        self.busy += now - self.running.pop(id(call))
        self.spans.append((call.started, now))
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome == "answered":
            self.paid[call.prompt] += 1

    def describe(self, now: float, *, spans: bool, prompts: bool, last: bool) -> dict[str, Any]:
        first = min([s for s, _ in self.spans] + list(self.running.values()), default=0.0)
        end = now if self.running else max((e for _, e in self.spans), default=0.0)
        busy = self.busy + sum(now - started for started in self.running.values())
        described: dict[str, Any] = {
            "count": self.count,
            "answered": self.answered,
            "failed": self.failed,
            "abandoned": self.abandoned,  # the client went away before the answer
            "in_flight": self.in_flight,
            "peak": self.peak,
            "mean_in_flight": busy / (end - first) if end > first else 0.0,
            "first_start": first,
            "last_end": end,
            "distinct": len(self.asked),
            "repeated": sum(self.asked.values()) - len(self.asked),
            "answered_again": sum(self.paid.values()) - len(self.paid),
        }
        if spans:
            described["spans"] = self.spans
        if prompts:
            described["prompts"] = dict(self.asked)
        if last:
            described["last"] = self.last
        return described


class Call:
    """A model call in flight."""

    __slots__ = ("answered_by", "body", "connection", "kind", "open", "prompt", "started", "tally", "total")

    def __init__(self, connection: Connection, kind: str, body: dict[str, Any], prompt: str) -> None:
        self.connection, self.kind, self.body, self.prompt = connection, kind, body, prompt
        self.started = time.time()
        self.open = True
        self.answered_by: asyncio.TimerHandle | None = None


# --- the server -------------------------------------------------------------------------------------------------------


class Server:
    """The calls in flight, the queue for slots and the counts; one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.kinds: dict[str, Tally] = {}
        self.total = Tally()
        self.in_service = 0
        self.queue: deque[Call] = deque()
        self.held: list[Call] = []
        self.loop = asyncio.get_running_loop()

    def accept(self, connection: Connection, path: str, headers: bytes, body: dict[str, Any]) -> None:
        """Count a model call and answer it in due time."""
        options = self.options
        if options.api_key and f"authorization: bearer {options.api_key}".lower().encode() not in headers.lower():
            return connection.refuse(401, "Incorrect API key provided.")
        if options.strict_models and body.get("model") not in options.models.split(","):
            return connection.refuse(404, f"The model `{body.get('model')}` does not exist.")
        if path.endswith("/embeddings"):
            kind, asked = "embedding", body.get("input")
        elif isinstance(body.get("messages"), list):
            kind, asked = kind_of(body["messages"]), body["messages"]
        else:
            return connection.refuse(400, "messages: field required")
        response_format = body.get("response_format") or {}
        if options.refuse_json_schema and response_format.get("type") == "json_schema":
            return connection.refuse(400, "response_format.type json_schema is not supported")
        prompt = hashlib.blake2b(orjson.dumps([kind, body.get("model"), asked]), digest_size=8).hexdigest()
        call = Call(connection, kind, body, prompt)
        call.tally, call.total = self.kinds.setdefault(kind, Tally()), self.total
        call.tally.begin(call)
        call.total.begin(call)
        connection.call = call
        self.serve(call)

    def serve(self, call: Call) -> None:
        options = self.options
        attempt = call.tally.asked[call.prompt]
        faulty = not options.fault_kinds or call.kind in options.fault_kinds.split(",")
        if options.overload_above and self.total.in_flight > options.overload_above:
            self.fail(call, 429, "Too many requests in flight.")
        elif faulty and attempt <= options.fail_first:
            self.fail(call, 500, "Failing the first asks, as told.")
        elif faulty and self.drawn(call, attempt, "limit", options.limit_rate):
            self.fail(call, 429, "Rate limit reached.")
        elif faulty and self.drawn(call, attempt, "error", options.error_rate):
            self.fail(call, 500, "Internal error, as told.")
        elif faulty and self.drawn(call, attempt, "hang", options.hang_rate):
            return
        elif options.hold:
            self.held.append(call)
        elif options.slots and self.in_service >= options.slots:
            self.queue.append(call)
        else:
            self.start(call)

    def drawn(self, call: Call, attempt: int, fault: str, rate: float) -> bool:
        if rate <= 0:
            return False
        drawn = zlib.crc32(f"{self.options.seed} {call.prompt} {attempt} {fault}".encode())
        return drawn < rate * 2**32

    def start(self, call: Call) -> None:
        self.in_service += 1
        seconds = self.options.latency * (1 + self.options.slowdown * (self.in_service - 1))
        call.answered_by = self.loop.call_later(seconds, self.answer, call)

    def next_in_queue(self) -> None:
        self.in_service -= 1
        while self.queue and (not self.options.slots or self.in_service < self.options.slots):
            call = self.queue.popleft()
            if call.open:
                self.start(call)

    def release(self) -> None:
        """Let the held calls go on."""
        held, self.held = self.held, []
        for call in held:
            if call.open:
                self.serve(call)

    def end(self, call: Call, outcome: str) -> None:
        call.open = False
        now = time.time()
        call.tally.end(call, outcome, now)
        call.total.end(call, outcome, now)
        call.connection.call = None

    def fail(self, call: Call, status: int, message: str) -> None:
        self.end(call, "failed")
        call.connection.refuse(status, message, self.options.retry_after if status == 429 else 0)

    def abandon(self, call: Call) -> None:
        """Forget a call whose client went away."""
        self.end(call, "abandoned")
        if call.answered_by is not None:
            call.answered_by.cancel()
            self.next_in_queue()

    def answer(self, call: Call) -> None:
        options, connection = self.options, call.connection
        self.next_in_queue()
        call.answered_by = None
        attempt = call.tally.asked[call.prompt]
        faulty = not options.fault_kinds or call.kind in options.fault_kinds.split(",")
        drop = faulty and self.drawn(call, attempt, "drop", options.drop_rate)
        if drop and not call.body.get("stream"):
            self.end(call, "failed")
            connection.transport.abort()
        elif faulty and self.drawn(call, attempt, "json", options.bad_json_rate):
            self.end(call, "failed")
            connection.send(200, b'{"choices": [{"message": {"con')
        elif call.kind == "embedding":
            self.end(call, "answered")
            connection.send(200, orjson.dumps(self.embeddings(call.body)))
        else:
            bad = faulty and self.drawn(call, attempt, "answer", options.bad_answer_rate)
            content = BAD_ANSWER if bad else answer(call.kind, call.body["messages"])
            if call.body.get("stream"):
                self.stream(call, content, cut=drop)
                return
            self.end(call, "answered")
            connection.send(200, orjson.dumps(self.completion(call, content)))
        connection.parse()

    def completion(self, call: Call, content: str) -> dict[str, Any]:
        tokens_in = sum(len(m["content"]) for m in call.body["messages"]) // 4
        usage = {"prompt_tokens": tokens_in, "completion_tokens": len(content) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": content}}
        return {
            "id": call.prompt,
            "object": "chat.completion",
            "created": int(call.started),
            "model": call.body.get("model", ""),
            "choices": [choice | {"finish_reason": self.options.finish_reason}],
            "usage": usage | {"total_tokens": sum(usage.values())},
        }

    def embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors: list[Any] = [embed(text, body.get("dimensions") or self.options.dimensions) for text in texts]
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(array.array("f", vector).tobytes()).decode() for vector in vectors]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        tokens = sum(map(len, texts)) // 4
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": body.get("model", ""), "data": data, "usage": usage}

    def stream(self, call: Call, content: str, *, cut: bool) -> None:
        head = {"id": call.prompt, "object": "chat.completion.chunk", "model": call.body.get("model", "")}
        pieces = re.findall(r"\s*\S+", content)
        events: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
        if cut:
            events = events[: max(1, len(events) // 2)]
        else:
            events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": self.options.finish_reason}]})
            if (call.body.get("stream_options") or {}).get("include_usage"):
                events.append({"choices": [], "usage": self.completion(call, content)["usage"]})
        lines = [b"data: " + orjson.dumps(head | event) + b"\n\n" for event in events]
        if not cut:
            lines.append(b"data: [DONE]\n\n")
        call.connection.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.send_line(call, lines, 0, cut)

    def send_line(self, call: Call, lines: list[bytes], at: int, cut: bool) -> None:
        if not call.open:
            return
        if at < len(lines):
            call.connection.transport.write(b"%x\r\n%b\r\n" % (len(lines[at]), lines[at]))
            self.loop.call_later(self.options.piece_delay, self.send_line, call, lines, at + 1, cut)
            return
        connection = call.connection
        self.end(call, "failed" if cut else "answered")
        if cut:
            connection.transport.close()
        else:
            connection.transport.write(b"0\r\n\r\n")
            connection.parse()

    def stats(self, query: str) -> dict[str, Any]:
        """Return the counts; `query` may name spans, prompts, last to include them per kind."""
        asked = {name: name in query for name in ("spans", "prompts", "last")}
        now = time.time()
        total = self.total.describe(now, spans=False, prompts=False, last=False)
        kinds = {kind: tally.describe(now, **asked) for kind, tally in self.kinds.items()}
        return total | {"kinds": kinds, "cpu_seconds": time.process_time(), "options": dataclasses.asdict(self.options)}

    def control(self, connection: Connection, path: str, body: bytes) -> None:
        """Answer /control: new options, the counts, or a reset."""
        if path.startswith("/control/stats"):
            return connection.send(200, orjson.dumps(self.stats(path.partition("?")[2])))
        if path == "/control/reset":
            # Calls in flight end in the counts they began in.
            self.kinds, self.total = {}, Tally()
            return connection.send(200, b"{}")
        wanted = orjson.loads(body)
        unknown = set(wanted) - {f.name for f in dataclasses.fields(Options)}
        if unknown:
            return connection.refuse(400, f"no such option: {', '.join(sorted(unknown))}")
        self.options = dataclasses.replace(self.options, **wanted)
        if not self.options.hold:
            self.release()
        connection.send(200, orjson.dumps(dataclasses.asdict(self.options)))


_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found", 411: b"Length Required"}


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection; a request that comes while one is answered waits in the buffer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""
        self.call: Call | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.call is not None:
            self.server.abandon(self.call)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.parse()

    def parse(self) -> None:
        while self.call is None and not self.transport.is_closing():
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end]
            length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
            if length is None and re.search(rb"(?i)\r\ntransfer-encoding:", head):
                self.refuse(411, "send a Content-Length")
                return self.transport.close()
            size = int(length.group(1)) if length else 0
            if len(self.buffer) < end + 4 + size:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + size], self.buffer[end + 4 + size :]
            method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ", 2)
            self.handle(method, target, head, body)

    def handle(self, method: str, target: str, head: bytes, body: bytes) -> None:
        if method == "POST" and target in ("/v1/chat/completions", "/v1/embeddings"):
            try:
                asked = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                return self.refuse(400, f"not JSON: {error}")
            self.server.accept(self, target, head, asked)
        elif method == "GET" and target == "/v1/models":
            models = [{"id": name, "object": "model"} for name in self.server.options.models.split(",")]
            self.send(200, orjson.dumps({"object": "list", "data": models}))
        elif target.startswith("/control"):
            self.server.control(self, target, body)
        else:
            self.refuse(404, f"no such route: {method} {target}")

    def send(self, status: int, body: bytes, headers: bytes = b"") -> None:
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
            % (status, _REASONS.get(status, b"Error"), len(body), headers, body)
        )

    def refuse(self, status: int, message: str, retry_after: float = 0) -> None:
        headers = b"Retry-After: %b\r\n" % f"{retry_after:g}".encode() if retry_after else b""
        self.send(status, orjson.dumps({"error": {"message": message, "type": "scripted", "code": status}}), headers)


async def _serve(host: str, port: int, options: Options) -> None:
    loop = asyncio.get_running_loop()
    server = Server(options)
    listener = await loop.create_server(lambda: Connection(server), host, port, backlog=1024)
    port = listener.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "base_url": f"http://127.0.0.1:{port}/v1", "pid": os.getpid()}), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _stop_with_stdin() -> None:
    # The pipe's other end closes with the process that holds it, however that ends.
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Serve, on loopback unless told otherwise, until stdin closes or a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="another address, for the network of a container")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--stay", action="store_true", help="do not stop when stdin closes")
    for option in dataclasses.fields(Options):
        flag = "--" + option.name.replace("_", "-")
        if isinstance(option.default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(option.default), default=option.default)
    arguments = vars(parser.parse_args())
    host, port, stay = arguments.pop("host"), arguments.pop("port"), arguments.pop("stay")
    if not stay:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    asyncio.run(_serve(host, port, Options(**arguments)))


# --- for tests --------------------------------------------------------------------------------------------------------


@dataclass
class ScriptedServer:
    """A running server as a test sees it; `base_url` ends in /v1."""

    base_url: str
    process: subprocess.Popen[bytes] | None = None  # none if it runs in a container

    def _control(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        url = self.base_url.removesuffix("/v1") + path
        # No proxy, whatever the environment says: the server is on loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, data), timeout=30) as answered:
            return json.loads(answered.read())

    def stats(self, *details: str) -> dict[str, Any]:
        """Return the counts (`details`: spans, prompts, last): totals at the top, each kind under "kinds"."""
        return self._control("/control/stats?" + "&".join(details), None)

    def configure(self, **options: Any) -> dict[str, Any]:
        """Change options while the server runs and return them all."""
        return self._control("/control", options)

    def reset(self) -> None:
        """Start counting from nought."""
        self._control("/control/reset", {})


@contextlib.contextmanager
def running(**options: Any) -> Iterator[ScriptedServer]:
    """Run the server as a process of its own for the length of the block."""
    command = [sys.executable, os.path.abspath(__file__)]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        command += ([flag] if value else []) if isinstance(value, bool) else [flag, str(value)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the scripted server did not start: {' '.join(command)}")
        yield ScriptedServer(json.loads(line)["base_url"], process)
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


if __name__ == "__main__":
    main()
