"""httpx's transport interface on urllib3: one pool, one SSL context, no retries; for threads and for greenlets alike.

httpx's own pool scans all its connections for every request, which costs 20 ms of CPU per call at 200 calls in flight;
urllib3's pool is a stack.
"""

from __future__ import annotations

import functools
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from typing import NoReturn

import httpx
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

_PIECE_BYTES = 1 << 16
# The address stands in the error already.
_CONNECTION = re.compile(r"\AHTTPS?Connection\([^)]*\): (?:Failed to establish a new connection: )?")
_NO_RETRIES = urllib3.Retry(total=False, redirect=False)

# The first that fits names the failure: subclasses stand before their bases.
_FAILURES: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (NewConnectionError, httpx.ConnectError),
    (ConnectTimeoutError, httpx.ConnectTimeout),
    (ReadTimeoutError, httpx.ReadTimeout),
    (ProxyError, httpx.ProxyError),
    (SSLError, httpx.ConnectError),
    (ProtocolError, httpx.RemoteProtocolError),
    (HTTPError, httpx.NetworkError),
    (TimeoutError, httpx.ReadTimeout),
    (OSError, httpx.NetworkError),
)


_TCP_ESTABLISHED = 1  # the first byte of Linux's struct tcp_info, include/net/tcp_states.h


class _Checked:
    """A kept connection that tells whether its server has closed it by asking the kernel for its state.

    urllib3 polls the socket instead, which under gevent is a timer and two switches of greenlets for each call.
    """

    sock: socket.socket | None

    @property
    def is_connected(self) -> bool:
        if self.sock is None:
            return False
        try:
            return self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED
        except OSError:
            return False


class _Connection(_Checked, urllib3.connection.HTTPConnection):
    pass


class _TlsConnection(_Checked, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


@functools.cache
def shared_ssl_context() -> ssl.SSLContext:
    """Return the process's one SSL context: httpx's (SSL_CERT_FILE and SSL_CERT_DIR, else certifi)."""
    return httpx.create_ssl_context()


class PooledTransport(httpx.BaseTransport):
    """Sends httpx requests over urllib3's pools and keeps up to `connections` of each server open for the next call.

    It never waits for a connection: how many calls may be in flight is the limiter's business. Proxies come from
    the environment (HTTPS_PROXY, NO_PROXY), as everywhere.
    """

    def __init__(self, *, connections: int = 256, ssl_context: ssl.SSLContext | None = None) -> None:
        self._connections = connections
        self._ssl_context = ssl_context
        self._pools: dict[tuple[str, str, int | None], urllib3.HTTPConnectionPool] = {}
        self._managers: list[urllib3.PoolManager] = []
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the response with its body unread; raises httpx's transport errors."""
        url = request.url
        pool = self._pools.get((url.scheme, url.host, url.port)) or self._pool(url)
        limits = request.extensions.get("timeout", {})
        try:
            answered = pool.urlopen(
                request.method,
                url.raw_path.decode("ascii"),
                body=request.read(),
                headers={name.decode("ascii"): value.decode("latin-1") for name, value in request.headers.raw},
                timeout=urllib3.Timeout(connect=limits.get("connect"), read=limits.get("read")),
                retries=_NO_RETRIES,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            _raise_as_httpx(error, request)
        return httpx.Response(
            answered.status,
            headers=list(answered.headers.items()),
            stream=_Body(answered, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            managers, self._managers, self._pools = self._managers, [], {}
        for manager in managers:
            manager.clear()

    def _pool(self, url: httpx.URL) -> urllib3.HTTPConnectionPool:
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"not an http or https address: {url.scheme}://{url.host}")
        key = (url.scheme, url.host, url.port)
        with self._lock:
            if key not in self._pools:
                context = None
                if url.scheme == "https":
                    context = self._ssl_context or shared_ssl_context()
                proxy = None
                if not urllib.request.proxy_bypass(url.host) and not _is_loopback(url.host):
                    proxy = urllib.request.getproxies().get(url.scheme)
                size = self._connections
                manager = (
                    urllib3.ProxyManager(proxy, maxsize=size, block=False, ssl_context=context)
                    if proxy
                    else urllib3.PoolManager(maxsize=size, block=False, ssl_context=context)
                )
                manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
                self._managers.append(manager)
                self._pools[key] = manager.connection_from_host(url.host, url.port, url.scheme)
            return self._pools[key]


class _Body(httpx.SyncByteStream):
    """A response's body as it arrives; read to its end, the connection goes back to the pool."""

    def __init__(self, answered: urllib3.BaseHTTPResponse, request: httpx.Request) -> None:
        self._answered = answered
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        answered = self._answered
        try:
            if answered.headers.get("content-length") is not None:
                yield answered.read(decode_content=False)
            elif answered.chunked:
                yield from answered.read_chunked(decode_content=False)
            else:
                # A body that ends with its connection; `read` would wait for a whole piece, `read1` does not.
                while piece := answered.read1(_PIECE_BYTES, decode_content=False):
                    yield piece
        except (HTTPError, OSError) as error:
            _raise_as_httpx(error, self._request)

    def close(self) -> None:
        self._answered.close()  # closes the connection unless the body was read to its end


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _raise_as_httpx(error: Exception, request: httpx.Request) -> NoReturn:
    # A broken connection hides behind ProtocolError, with the socket's own words as the second argument.
    words = str(error.args[1] if isinstance(error, ProtocolError) and len(error.args) > 1 else error)
    words = words.rpartition("object at 0x")[2].partition(">: ")[2] or words
    words = _CONNECTION.sub("", words)
    for theirs, ours in _FAILURES:
        if isinstance(error, theirs):
            raise ours(words, request=request) from error
    raise httpx.TransportError(words, request=request) from error
