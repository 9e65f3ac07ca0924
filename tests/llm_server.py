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
import asyncio
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from llm_batching import Options, Service
from llm_counts import Gauge, Tally
from llm_http import Connection
from llm_script import BAD_ANSWER, Corpus, answer, corpus, embeddings, extract, kind_of

__all__ = ["Corpus", "Options", "ScriptedServer", "corpus", "running"]


# --- the server -------------------------------------------------------------------------------------------------------


class Call:
    """A model call in flight."""

    __slots__ = (
        *("body", "connection", "content", "in_batch", "kind", "open"),
        *("prompt", "started", "tally", "timer", "total"),
    )

    def __init__(self, connection: Connection, kind: str, body: dict[str, Any], prompt: bytes, started: float) -> None:
        self.connection, self.kind, self.body, self.prompt, self.started = connection, kind, body, prompt, started
        self.content: str | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.open, self.in_batch = True, False
        self.tally: Tally
        self.total: Gauge


class Server:
    """The calls in flight and the counts; one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.kinds: dict[str, Tally] = {}
        self.total = Gauge()
        self.held: list[Call] = []
        self.recorded: list[tuple[str, bytes]] = []
        self.heads: dict[bytes, tuple[str, str, int]] = {}
        self.loop = asyncio.get_running_loop()
        self.service = Service(options, self.tokens_of, self.answer)

    def accept(self, connection: Connection, path: str, headers: bytes, raw: bytes) -> None:
        """Count a model call and answer it in due time."""
        options = self.options
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            return connection.refuse(400, f"not JSON: {error}")
        if options.api_key and f"authorization: bearer {options.api_key}".lower().encode() not in headers.lower():
            return connection.refuse(401, "Incorrect API key provided.")
        if options.strict_models and body.get("model") not in options.models.split(","):
            return connection.refuse(404, f"The model `{body.get('model')}` does not exist.")
        if path.endswith("/embeddings"):
            kind, asked = "embedding", orjson.dumps(body.get("input"))
        elif isinstance(messages := body.get("messages"), list):
            kind = kind_of(messages)
            asked = "\0".join([str(message.get("content")) for message in messages]).encode()
        else:
            return connection.refuse(400, "messages: field required")
        if options.refuse_json_schema and (body.get("response_format") or {}).get("type") == "json_schema":
            return connection.refuse(400, "response_format.type json_schema is not supported")
        if options.record:
            self.recorded.append((path, raw))
        now = time.time()
        hashed = hashlib.blake2b(asked, digest_size=8, key=f"{kind} {body.get('model')}".encode()[:64]).digest()
        call = Call(connection, kind, body, hashed, now)
        tally = self.kinds.get(kind)
        if tally is None:
            tally = self.kinds[kind] = Tally()
        call.tally, call.total = tally, self.total
        tally.ask(hashed, body, now)
        self.total.begin(now)
        connection.call = call
        self.serve(call)

    def serve(self, call: Call) -> None:
        options = self.options
        faulty, attempt = self.faulty(call), call.tally.asked[call.prompt]
        if options.overload_above and self.total.in_flight > options.overload_above:
            self.fail(call, 429, "Too many requests in flight.")
        elif faulty and attempt <= options.fail_first:
            self.fail(call, 500, "Failing the first asks, as told.")
        elif faulty and self.drawn(call, attempt, "limit", options.limit_rate):
            self.fail(call, 429, "Rate limit reached.")
        elif faulty and self.drawn(call, attempt, "error", options.error_rate):
            self.fail(call, 500, "Internal error, as told.")
        elif self.waits(call, attempt):
            self.held.append(call)
        else:
            call.tally.served += 1
            self.service.take(call)

    def waits(self, call: Call, attempt: int) -> bool:
        """Whether a call is to wait until other options let it go on."""
        options = self.options
        if self.faulty(call) and self.drawn(call, attempt, "hang", options.hang_rate):
            return True
        return options.hold and _names(options.hold_kinds, call.kind) and call.tally.served >= options.hold_after

    def faulty(self, call: Call) -> bool:
        """Whether faults are on that may befall calls of this kind."""
        return self.options.faults and _names(self.options.fault_kinds, call.kind)

    def drawn(self, call: Call, attempt: int, fault: str, rate: float) -> bool:
        if rate <= 0:
            return False
        drawn = zlib.crc32(f"{self.options.seed} {call.prompt.hex()} {attempt} {fault}".encode())
        return drawn < rate * 2**32

    def release(self) -> None:
        """Let the held calls go on that are to be held no more."""
        held, self.held = self.held, []
        for call in held:
            if call.open:
                self.serve(call)

    def end(self, call: Call, outcome: str) -> None:
        call.open = False
        now = time.time()
        call.tally.done(call.prompt, call.started, outcome, now)
        call.total.end(call.started, outcome, now)
        call.connection.call = None

    def fail(self, call: Call, status: int, message: str) -> None:
        self.end(call, "failed")
        call.connection.refuse(status, message, self.options.retry_after if status == 429 else 0)

    def abandon(self, call: Call) -> None:
        """Forget a call whose client went away."""
        self.end(call, "abandoned")
        self.service.abandon(call)

    def content_of(self, call: Call) -> str:
        """Return what the call is answered, a faulty answer if one was drawn."""
        if call.content is None:
            attempt, rate = call.tally.asked[call.prompt], self.options.bad_answer_rate
            bad = self.faulty(call) and self.drawn(call, attempt, "answer", rate)
            call.content = BAD_ANSWER if bad else answer(call.kind, call.body["messages"])
        return call.content

    def tokens_of(self, call: Call) -> int:
        """Return how many tokens the answer to a chat has."""
        return self.options.answer_tokens or max(1, len(self.content_of(call)) // 4)

    def answer(self, call: Call) -> None:
        """Answer a call whose time is over."""
        options, connection = self.options, call.connection
        self.service.leave()
        faulty, attempt = self.faulty(call), call.tally.asked[call.prompt]
        drop = faulty and self.drawn(call, attempt, "drop", options.drop_rate)
        if drop and not call.body.get("stream"):
            self.end(call, "failed")
            connection.transport.abort()
        elif faulty and self.drawn(call, attempt, "json", options.bad_json_rate):
            self.end(call, "failed")
            connection.send(200, b'{"choices": [{"message": {"con')
        elif call.kind == "embedding":
            self.end(call, "answered")
            connection.send(200, orjson.dumps(embeddings(call.body, options.dimensions)))
        else:
            content = self.content_of(call)
            if call.body.get("stream"):
                self.stream(call, content, cut=drop)
                return
            self.end(call, "answered")
            connection.send(200, orjson.dumps(self.completion(call, content)))
        if connection.buffer:
            connection.parse()

    def completion(self, call: Call, content: str) -> dict[str, Any]:
        tokens_in = sum([len(message["content"]) for message in call.body["messages"]]) // 4
        tokens_out = self.options.answer_tokens or len(content) // 4
        choice = {"index": 0, "message": {"role": "assistant", "content": content}}
        return {
            "id": call.prompt.hex(),
            "object": "chat.completion",
            "created": int(call.started),
            "model": call.body.get("model", ""),
            "choices": [{**choice, "finish_reason": self.options.finish_reason}],
            "usage": {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
        }

    def stream(self, call: Call, content: str, *, cut: bool) -> None:
        head = {"id": call.prompt.hex(), "object": "chat.completion.chunk", "model": call.body.get("model", "")}
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
        kinds = {kind: tally.describe(now, **asked) for kind, tally in self.kinds.items()}
        total = self.total.describe(now)
        for name in ("distinct", "repeated", "answered_again"):
            total[name] = sum(kind[name] for kind in kinds.values())
        return total | {"kinds": kinds, "cpu_seconds": time.process_time(), "options": dataclasses.asdict(self.options)}

    def control(self, connection: Connection, path: str, body: bytes) -> None:
        """Answer /control: new options, the counts, or a reset."""
        if path.startswith("/control/stats"):
            return connection.send(200, orjson.dumps(self.stats(path.partition("?")[2])))
        if path == "/control/recorded":
            lines = [target.encode() + b" " + raw.replace(b"\n", b" ") for target, raw in self.recorded]
            return connection.send(200, b"\n".join(lines))
        if path == "/control/reset":
            # Calls in flight end in the counts they began in.
            self.kinds, self.total, self.recorded = {}, Gauge(), []
            return connection.send(200, b"{}")
        if path == "/control/prepare":
            for text in orjson.loads(body):
                extract(text)
            return connection.send(200, b"{}")
        wanted = orjson.loads(body)
        unknown = set(wanted) - {f.name for f in dataclasses.fields(Options)}
        if unknown:
            return connection.refuse(400, f"no such option: {', '.join(sorted(unknown))}")
        self.options = dataclasses.replace(self.options, **wanted)
        self.service.configure(self.options)
        self.release()
        connection.send(200, orjson.dumps(dataclasses.asdict(self.options)))


def _names(kinds: str, kind: str) -> bool:
    """Whether a list of kinds, comma separated and empty for all of them, names this one."""
    return not kinds or kind in kinds.split(",")


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
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop, which must be installed")
    for option in dataclasses.fields(Options):
        flag = "--" + option.name.replace("_", "-")
        if isinstance(option.default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(option.default), default=option.default)
    arguments = vars(parser.parse_args())
    host, port, stay = arguments.pop("host"), arguments.pop("port"), arguments.pop("stay")
    if arguments.pop("uvloop"):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if not stay:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    asyncio.run(_serve(host, port, Options(**arguments)))


# --- for tests --------------------------------------------------------------------------------------------------------


@dataclass
class ScriptedServer:
    """A running server as a test sees it; `base_url` ends in /v1."""

    base_url: str
    process: subprocess.Popen[bytes] | None = None  # none if it runs in a container

    def _control(self, path: str, body: Any) -> dict[str, Any]:
        return json.loads(self._fetch(path, body))

    def _fetch(self, path: str, body: Any) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        url = self.base_url.removesuffix("/v1") + path
        # No proxy, whatever the environment says: the server is on loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, data), timeout=60) as answered:
            return answered.read()

    def stats(self, *details: str) -> dict[str, Any]:
        """Return the counts (`details`: spans, prompts, last): totals at the top, each kind under "kinds"."""
        return self._control("/control/stats?" + "&".join(details), None)

    def kind(self, name: str) -> dict[str, Any]:
        """Return the counts of one kind; noughts if nothing of it was asked."""
        return self.stats()["kinds"].get(name) or Tally().describe(0.0)

    def configure(self, **options: Any) -> dict[str, Any]:
        """Change options while the server runs and return them all."""
        return self._control("/control", options)

    def reset(self) -> None:
        """Start counting from nought, and forget what was recorded."""
        self._control("/control/reset", {})

    def prepare(self, texts: Sequence[str]) -> None:
        """Have the extractions of these texts worked out beforehand, so that no call pays for it."""
        for start in range(0, len(texts), 1000):
            self._control("/control/prepare", list(texts[start : start + 1000]))

    def recorded(self) -> list[tuple[str, bytes]]:
        """Return (path, body) of every model call since the last reset, if the option `record` is on."""
        lines = self._fetch("/control/recorded", None).split(b"\n")
        return [(path.decode(), body) for path, _, body in (line.partition(b" ") for line in lines if line)]


@contextlib.contextmanager
def running(*, python: str = sys.executable, **options: Any) -> Iterator[ScriptedServer]:
    """Run the server as a process of its own for the length of the block, by another Python if one is named."""
    command = [python, os.path.abspath(__file__)]
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
        process.wait(timeout=60)
        process.stdout.close()


if __name__ == "__main__":
    main()
