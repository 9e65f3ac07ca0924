"""The transport under httpx's own client: bodies, reuse, and httpx's names for every failure."""

from __future__ import annotations

import contextlib
import gzip
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from llm_server import ScriptedServer, running

from fileintel.llm.transport import PooledTransport

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def answering(*pieces: bytes, close: bool = True) -> Iterator[tuple[str, list[int]]]:
    """A server that sends these bytes to every request; yields its address and the count of connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = [0]

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted[0] += 1
            with connection:
                while connection.recv(65536):
                    for piece in pieces:
                        connection.sendall(piece)
                    if close:
                        break

    threading.Thread(target=serve, daemon=True).start()  # ends with the client's last connection
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(transport=PooledTransport(connections=4), timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with running() as server:
        yield server


def test_a_connection_is_used_again(client: httpx.Client) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with answering(answer, close=False) as (address, connections):
        for _ in range(5):
            assert client.get(address).text == "ok"
    assert connections == [1]


def test_a_body_left_unread_closes_its_connection(client: httpx.Client) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
    with answering(answer, close=False) as (address, connections):
        for _ in range(2):
            with client.stream("GET", address) as response:
                assert response.status_code == 200
    assert connections == [2]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"packed"),
            "packed",
        ),
    ],
)
def test_bodies_of_every_kind_are_read(client: httpx.Client, answer: bytes, text: str) -> None:
    with answering(answer) as (address, _):
        assert client.get(address).text == text


def test_pieces_come_as_they_are_sent(client: httpx.Client, server: ScriptedServer) -> None:
    server.configure(piece_delay=0.01)
    body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with client.stream("POST", server.base_url + "/chat/completions", json=body) as response:
        pieces = list(response.iter_raw())
    assert len(pieces) == 6
    assert pieces[-1] == b"data: [DONE]\n\n"


def test_redirects_are_not_followed(client: httpx.Client) -> None:
    with answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (address, _):
        assert client.get(address).status_code == 302


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ((), httpx.RemoteProtocolError),
        ((b"nonsense\r\n\r\n",), httpx.RemoteProtocolError),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab",), httpx.RemoteProtocolError),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",), httpx.RemoteProtocolError),
    ],
)
def test_broken_answers_have_httpxs_errors(
    client: httpx.Client, pieces: tuple[bytes, ...], error: type[Exception]
) -> None:
    with answering(*pieces) as (address, connections), pytest.raises(error):
        client.get(address)
    assert connections == [1]  # and nothing was tried again


def test_unreachable_and_silent_servers_have_httpxs_errors(
    client: httpx.Client, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    with pytest.raises(httpx.ConnectError, match="refused"):
        client.get("http://127.0.0.1:1/")
    with pytest.raises(httpx.ConnectError):
        client.get("http://no-such-host.invalid/")
    server.configure(latency=20.0)
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
    with pytest.raises(httpx.ReadTimeout):
        client.post(server.base_url + "/chat/completions", json=body, timeout=httpx.Timeout(60, read=0.05))
    server.configure(latency=0.0)
    with pytest.raises(httpx.UnsupportedProtocol):
        client.get("ftp://127.0.0.1/")


def test_a_certificate_nobody_vouches_for_is_refused(client: httpx.Client) -> None:
    with answering(b"not TLS") as (address, _), pytest.raises(httpx.ConnectError):
        client.get(address.replace("http:", "https:"))


def test_greenlets_wait_together() -> None:
    program = """
from gevent import monkey; monkey.patch_all()
import sys; sys.path[:0] = ["tests"]
import gevent
from fileintel.llm.client import OpenAIClient
from fileintel.model import ChatRequest, Message
from llm_server import running
with running(hold=True) as server:
    client = OpenAIClient(server.base_url)
    jobs = [gevent.spawn(client.complete, ChatRequest("m", (Message("user", str(n)),))) for n in range(20)]
    while server.stats()["in_flight"] < 20:
        gevent.sleep(0.01)
    jobs[0].kill()
    server.configure(hold=False)
    gevent.joinall(jobs, timeout=60)
    print(sum(job.successful() and hasattr(job.value, "content") for job in jobs), server.stats()["peak"])
print("gevent" in sys.modules["fileintel.llm.client"].__dict__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert done.stdout.split() == ["19", "20", "False"], done.stderr
