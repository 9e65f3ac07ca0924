from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from processes import gone, wait_until

from fileintel.errors import ConfigurationError, ServiceError
from fileintel.llm.embedded import CHAT_MODEL, DIMENSIONS, EMBEDDING_MODEL
from fileintel.llm.embedded.server import serve

STAGE = {
    "name": "answer",
    "inputs": {
        "question": "Who rebuilt the northern pier?",
        "sources": [{"number": 3, "text": "The northern pier was rebuilt by Olaf Brandt."}],
    },
}
ANSWER = "The northern pier was rebuilt by Olaf Brandt. [3]"


def started() -> tuple[subprocess.Popen[str], str]:
    """A server that begins to load its models, and its address."""
    command = [sys.executable, "-m", "fileintel.llm.embedded", "--port", "0", "--processes", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "loading into 1 processes" in said
    return process, said.split()[3].removesuffix("/v1:")


def until_healthy(client: httpx.Client, process: subprocess.Popen[str]) -> None:
    def healthy() -> bool:
        assert process.poll() is None
        try:
            return client.get("/health").status_code == 200
        except httpx.ConnectError:
            return False

    wait_until(healthy, 120)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    process, address = started()
    with process:
        try:
            with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
                until_healthy(client, process)
                yield client, process
        finally:
            process.kill()


def chat(client: httpx.Client, **body: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "Who rebuilt the northern pier?"}]
    return client.post("/v1/chat/completions", json={"model": CHAT_MODEL, "messages": messages, **body})


def test_models_say_what_they_are(server: tuple[httpx.Client, Any]) -> None:
    listed = server[0].get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [CHAT_MODEL, EMBEDDING_MODEL]
    assert listed[0]["description"].startswith("Extractive")


def test_chat(server: tuple[httpx.Client, Any]) -> None:
    body = chat(server[0], fileintel_stage=STAGE).json()
    assert body["choices"][0]["message"]["content"] == ANSWER
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"] > 0


def test_chat_in_pieces(server: tuple[httpx.Client, Any]) -> None:
    response = chat(server[0], fileintel_stage=STAGE, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == ANSWER
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_embeddings(server: tuple[httpx.Client, Any]) -> None:
    asked = {"model": EMBEDDING_MODEL, "input": ["A ferry.", "A boat.", "A tax."]}
    body = server[0].post("/v1/embeddings", json=asked).json()
    vectors = np.array([row["embedding"] for row in body["data"]])
    assert vectors.shape == (3, DIMENSIONS)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    packed = server[0].post("/v1/embeddings", json={**asked, "encoding_format": "base64"}).json()
    first = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), dtype="<f4")
    assert np.allclose(first, vectors[0])


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("chat/completions", {"model": CHAT_MODEL, "messages": []}, 400, "extractive"),
        ("chat/completions", {"model": "gpt-9", "messages": []}, 404, "gpt-9"),
        ("chat/completions", {"model": CHAT_MODEL, "fileintel_stage": {"name": "sing", "inputs": {}}}, 400, "no stage"),
        (
            "chat/completions",
            {"model": CHAT_MODEL, "fileintel_stage": {"name": "answer", "inputs": {}}},
            400,
            "question",
        ),
        ("embeddings", {"model": EMBEDDING_MODEL, "input": []}, 400, "input"),
        ("embeddings", {"model": EMBEDDING_MODEL, "input": ["a"], "dimensions": 8}, 400, "384"),
        ("embeddings", [1], 400, "JSON object"),
        ("completions", {}, 404, "no such route"),
    ],
)
def test_what_cannot_be_done_is_refused(
    server: tuple[httpx.Client, Any], path: str, body: object, status: int, says: str
) -> None:
    response = server[0].post(f"/v1/{path}", json=body)
    assert response.status_code == status
    assert says in response.json()["error"]["message"]
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_killed_model_process_is_replaced_and_its_work_done_again(server: tuple[httpx.Client, Any]) -> None:
    client = server[0]
    (before,) = client.get("/health").json()["processes"]
    with ThreadPoolExecutor(8) as pool:
        os.kill(before, signal.SIGSTOP)  # it answers none of them before it is killed
        waiting = [pool.submit(chat, client, fileintel_stage=STAGE) for _ in range(8)]
        wait_until(lambda: client.get("/health").json()["waiting"] >= 7)
        os.kill(before, signal.SIGKILL)
        answers = [future.result().json()["choices"][0]["message"]["content"] for future in waiting]
    assert answers == [ANSWER] * 8
    assert client.get("/health").json()["processes"] != [before]


@pytest.mark.parametrize("loaded", [False, True])
def test_sigterm_ends_it_cleanly(loaded: bool) -> None:
    process, address = started()
    if loaded:
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            until_healthy(client, process)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_a_port_in_use_is_named(server: tuple[httpx.Client, Any]) -> None:
    with pytest.raises(ServiceError, match="Address already in use"):
        serve("127.0.0.1", server[0].base_url.port or 0)


def test_nothing_outlives_a_killed_server() -> None:
    process, address = started()
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        until_healthy(client, process)
        (child,) = client.get("/health").json()["processes"]
    with process:
        process.kill()
    wait_until(lambda: gone(child))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example", "::"])
def test_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        serve(host, 0)


def test_who_trusts_the_network_may_serve_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bound(Exception):
        """The address was taken."""

    def bound(host: str, port: int) -> None:
        raise Bound(host)

    monkeypatch.setattr("fileintel.llm.embedded.server._bound", bound)
    with pytest.raises(Bound, match="0.0.0.0"):
        serve("0.0.0.0", 8701, 1, trust_network=True)
