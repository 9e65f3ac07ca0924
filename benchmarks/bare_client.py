"""Sends recorded requests at a fixed concurrency: `python bare_client.py FILE BASE_URL CONCURRENCY` prints JSON.

FILE holds one request a line: path, blank, body. Nothing is parsed but the length of the answer, so that the client is
never what is waited for. Exits with 1 if an answer is not a 200.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvloop


async def send(requests: Iterator[tuple[str, bytes]], host: str, port: int) -> None:
    """Send requests one after the other over one connection until there are none."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
    for path, body in requests:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in answer.split(b"\r\n", 1)[0]:
            raise SystemExit(f"the server refused a recorded request: {answer[:200]!r}")
        length = answer.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length))
    writer.close()


async def main() -> None:
    """Send all requests and print how long it took."""
    kept, base_url, concurrency = sys.argv[1:]
    requests = [tuple(line.split(b" ", 1)) for line in Path(kept).read_bytes().split(b"\n") if line]
    waiting = iter([(path.decode(), body) for path, body in requests])
    address = urlsplit(base_url)
    assert address.hostname is not None and address.port is not None
    start = time.monotonic()
    await asyncio.gather(*(send(waiting, address.hostname, address.port) for _ in range(int(concurrency))))
    print(json.dumps({"seconds": time.monotonic() - start, "requests": len(requests)}))


if __name__ == "__main__":
    uvloop.run(main())
