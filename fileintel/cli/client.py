"""The client of FileIntel's API that all commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

import httpx

from fileintel.errors import FileIntelError, InputError, NotAuthenticatedError, ServiceError
from fileintel.settings import Settings, layers, load

PREFIX = "/api/v2"
PAGE = 1000
_CHUNK_BYTES = 1 << 18
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Reading waits long: a server that makes an upload durable on a slow disk is not a dead one.
_TIMEOUT = httpx.Timeout(60.0, connect=5.0, read=120.0)


class ApiError(FileIntelError):
    """An error the API answered with; `problem` is its body."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem["detail"]))
        self.problem = dict(problem)
        self.status = int(problem["status"])
        self.exit_code = 2 if 400 <= self.status < 500 else 1


def connect() -> Api:
    """Return a client of the API that the settings name, else of the running `fileintel up`."""
    settings = load()
    environment, written = layers()
    host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
    url = (settings.api_url or f"http://{host}:{settings.api_port}").rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InputError(f"FILEINTEL_API_URL is no address of an API: {url!r}; one looks like http://127.0.0.1:8700")
    return Api(url, _key(settings, url, environment, written))


def _key(settings: Settings, url: str, environment: Mapping[str, str], written: Mapping[str, str]) -> str:
    if environment.get("FILEINTEL_API_KEY", "").strip():
        return settings.api_key.get_secret_value()
    # The key of this machine's `fileintel up` is shown to this machine alone.
    if urlsplit(url).hostname not in _LOOPBACK and url != written.get("FILEINTEL_API_URL", "").rstrip("/"):
        return ""
    kept = settings.state_dir / "admin.key"
    try:
        return settings.api_key.get_secret_value() or kept.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except PermissionError:
        raise NotAuthenticatedError(f"{kept} belongs to another user: set FILEINTEL_API_KEY") from None


def part(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")


class Api:
    """Speaks to one API; every failure is a FileIntelError whose text is one line."""

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A proxy in the environment is for the world outside, not for this machine.
        outside = urlsplit(url).hostname not in _LOOPBACK
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=outside, transport=transport
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON at a path below /api/v2."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._json("GET", PREFIX + path, params=given)

    def post(self, path: str, body: object = None) -> Any:
        """Post JSON and return the answer's."""
        return self._json("POST", PREFIX + path, json=body)

    def delete(self, path: str) -> None:
        """Delete what is at a path."""
        self._json("DELETE", PREFIX + path)

    def items(self, path: str, most: int | None = None, **parameters: Any) -> list[Any]:
        """Return a list's items, page by page, up to `most`."""
        found: list[Any] = []
        offset: int | None = 0
        while offset is not None and (most is None or len(found) < most):
            limit = PAGE if most is None else min(PAGE, most - len(found))
            page = self.get(path, limit=limit, offset=offset, **parameters)
            found += page["items"]
            offset = page["next_offset"]
        return found

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the service is ready, and its parts."""
        response = self._send("GET", "/health/ready")
        body = _body(response)
        if "parts" not in body:
            raise self._error(response)
        return response.status_code == 200, body["parts"]

    def upload(
        self,
        collection: str,
        path: Path,
        name: str,
        sent: Callable[[int], None] | None = None,
        *,
        replace: bool = False,
    ) -> tuple[dict[str, Any], bool]:
        """Stream a file into a collection; returns the document and whether it is new there."""
        size = path.stat().st_size

        def chunks() -> Iterator[bytes]:
            left = size
            with path.open("rb") as file:
                while left and (chunk := file.read(min(_CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk
                    if sent is not None:
                        sent(len(chunk))
            if left:
                raise InputError("the file became shorter while it was read")

        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        where = f"{PREFIX}/collections/{part(collection)}/documents"
        given = {"name": name, "replace": "true"} if replace else {"name": name}
        response = self._send("POST", where, params=given, content=chunks(), headers=headers)
        if response.is_error:
            raise self._error(response)
        return _body(response), response.status_code == 201

    def download(self, path: str, file: IO[bytes]) -> None:
        """Write what is at a path into a file, piece by piece."""
        try:
            with self._http.stream("GET", PREFIX + path) as response:
                if response.is_error:
                    response.read()
                    raise self._error(response)
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
        except httpx.TransportError as error:
            raise self._away(error) from error

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield a stream's (kind, data) until it ends."""
        try:
            with self._http.stream("GET", PREFIX + path) as response:
                if response.is_error:
                    response.read()
                    raise self._error(response)
                kind = ""
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "event":
                        kind = value
                    elif name == "data":
                        yield kind, json.loads(value)
        except httpx.TransportError as error:
            raise self._away(error) from error

    def _json(self, method: str, path: str, **more: Any) -> Any:
        response = self._send(method, path, **more)
        if response.is_error:
            raise self._error(response)
        return None if response.status_code == 204 else _body(response)

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise self._away(error) from error

    def _away(self, error: httpx.TransportError) -> ServiceError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return ServiceError(f"no FileIntel answers at {self.url}: start it with `fileintel up`")
        if isinstance(error, httpx.TimeoutException):
            return ServiceError(f"the FileIntel at {self.url} does not answer in time")
        return ServiceError(f"the connection to the FileIntel at {self.url} broke: {error or type(error).__name__}")

    def _error(self, response: httpx.Response) -> FileIntelError:
        if response.headers.get("content-type", "").startswith("application/problem+json"):
            problem = _body(response)
            if response.status_code == 401 and "Authorization" not in self._http.headers:
                problem["detail"] = (
                    f"the FileIntel at {self.url} asks for an API key: set FILEINTEL_API_KEY, "
                    "or wait if it is just starting"
                )
            return ApiError(problem)
        return ServiceError(f"what answers at {self.url} is no FileIntel (HTTP {response.status_code})")


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ServiceError(f"what answers at {response.url.host}:{response.url.port} is no FileIntel") from error
