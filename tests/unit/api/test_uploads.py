from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from fileintel.api.uploads import FileNameError, clean_name, form_limit
from fileintel.errors import ServiceError
from fileintel.store.blobs import BlobWriter
from fileintel.tasks import bells

from .conftest import Store
from .test_problems import problem

WHERE = "/api/v2/collections/minutes/documents"
LIMIT = 3_000_000


def left_over(blob_dir: Path) -> list[Path]:
    return [path for path in blob_dir.rglob("upload-*") if path.is_file()]


def blobs(blob_dir: Path) -> list[Path]:
    return [path for path in blob_dir.rglob("*") if path.is_file()]


def test_a_raw_body_is_stored_under_its_hash(
    api: TestClient, store: Store, scene: SimpleNamespace, blob_dir: Path
) -> None:
    data = bytes(range(256)) * 10_000
    sha256 = hashlib.sha256(data).hexdigest()
    answer = api.post(f"{WHERE}?name=b.bin", content=data, headers=scene.write)
    assert answer.status_code == 201
    document = answer.json()
    assert (document["sha256"], document["size"], document["name"]) == (sha256, len(data), "b.bin")
    assert answer.headers["location"].endswith(document["id"])
    assert (blob_dir / sha256[:2] / sha256[2:4] / sha256).read_bytes() == data
    assert store.rung == [("document", document["id"])] and not left_over(blob_dir)


def test_the_same_bytes_again_give_the_document_there(api: TestClient, scene: SimpleNamespace, blob_dir: Path) -> None:
    first = api.post(f"{WHERE}?name=b.txt", content=b"hello", headers=scene.write)
    again = api.post(f"{WHERE}?name=c.txt", content=b"hello", headers=scene.write)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] and len(blobs(blob_dir)) == 1


def test_the_name_may_come_in_content_disposition(api: TestClient, scene: SimpleNamespace) -> None:
    for header, name in (
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename*=UTF-8''H%C3%A4fen%0A.txt", "Häfen.txt"),
    ):
        headers = {**scene.write, "Content-Disposition": header}
        assert api.post(WHERE, content=name.encode(), headers=headers).json()["name"] == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.pdf", "a.pdf"),
        ("re\nport\r\n.pdf", "report.pdf"),
        ("a\x00\x1b[31m.txt", "a[31m.txt"),
        ("annexe\u202efdp.exe", "annexefdp.exe"),
        ("  a   b .txt ", "a b .txt"),
        ("e\u0301.txt", "é.txt"),
        (".hidden", ".hidden"),
        ("x" * 255, "x" * 255),
    ],
)
def test_names_are_cleaned(given: str, name: str) -> None:
    assert clean_name(given) == name


@pytest.mark.parametrize("given", ["", " ", ".", "..", "../..", "dir/", "\n\r", "\x00", "é" * 128, "\u202e"])
def test_names_that_leave_nothing_or_too_much_are_refused(
    given: str, api: TestClient, scene: SimpleNamespace, blob_dir: Path
) -> None:
    with pytest.raises(FileNameError):
        clean_name(given)
    answer = api.post(WHERE, params={"name": given}, content=b"x", headers=scene.write)
    assert problem(answer, 422)["type"] == "urn:fileintel:file-name"
    assert not blobs(blob_dir)


def test_no_name_at_all(api: TestClient, scene: SimpleNamespace) -> None:
    assert "?name=" in problem(api.post(WHERE, content=b"x", headers=scene.write), 422)["detail"]


def test_an_empty_file_is_refused(api: TestClient, store: Store, scene: SimpleNamespace, blob_dir: Path) -> None:
    before = dict(store.documents)
    answer = api.post(f"{WHERE}?name=a.pdf", content=b"", headers=scene.write)
    assert problem(answer, 422)["type"] == "urn:fileintel:empty-document"
    assert store.documents == before and not blobs(blob_dir)


def test_too_much_while_streaming(api: TestClient, store: Store, scene: SimpleNamespace, blob_dir: Path) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    before = dict(store.documents)
    answer = api.post(f"{WHERE}?name=a.pdf", content=endless(), headers=scene.write)
    assert problem(answer, 413)["type"] == "urn:fileintel:document-too-large"
    assert answer.headers["connection"] == "close"
    assert store.documents == before and not blobs(blob_dir)


def test_exactly_the_limit_is_taken(api: TestClient, scene: SimpleNamespace) -> None:
    assert api.post(f"{WHERE}?name=a", content=b"x" * LIMIT, headers=scene.write).status_code == 201
    problem(api.post(f"{WHERE}?name=a", content=b"x" * (LIMIT + 1), headers=scene.write), 413)


def asked(app: Any, headers: dict[str, str], messages: list[dict[str, Any]]) -> tuple[int, int]:
    """Speak ASGI by hand; returns (status, how many messages of the body were read)."""
    read, statuses = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return messages[read - 1]

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": WHERE, "raw_path": WHERE.encode(), "query_string": b"name=a.pdf", "root_path": "",
        "headers": raw, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return statuses[0], read


@pytest.mark.parametrize("kind", ["application/octet-stream", "multipart/form-data; boundary=b"])
def test_too_much_announced_is_refused_unread(api: TestClient, scene: SimpleNamespace, kind: str) -> None:
    announced = 300 << 20 if kind == "application/octet-stream" else form_limit(LIMIT) + 1
    headers = {**scene.write, "Content-Length": str(announced), "Content-Type": kind}
    assert asked(api.app, headers, []) == (413, 0)


def test_a_broken_upload_leaves_nothing(api: TestClient, store: Store, scene: SimpleNamespace, blob_dir: Path) -> None:
    before = dict(store.documents)
    part = {"type": "http.request", "body": b"x" * 1_500_000, "more_body": True}
    asked(api.app, scene.write, [part, {"type": "http.disconnect"}])
    assert store.documents == before and not blobs(blob_dir)


def test_a_form_of_several_files(api: TestClient, store: Store, scene: SimpleNamespace, blob_dir: Path) -> None:
    big = b"--b\r\nnot the boundary\r\n" * 50_000
    files = [
        ("file", ("../a.txt", io.BytesIO(b"one"))),
        ("file", ("empty.txt", io.BytesIO(b""))),
        ("file", ("big.txt", io.BytesIO(big))),
        ("file", ("same.txt", io.BytesIO(b"one"))),
    ]
    answer = api.post(WHERE, files=files, data={"note": "passed over"}, headers=scene.write)
    assert answer.status_code == 201
    body = answer.json()
    assert [(part["name"], part["created"]) for part in body["documents"]] == [
        ("a.txt", True),
        ("empty.txt", False),
        ("big.txt", True),
        ("same.txt", False),
    ]
    assert body["refused"] == 1 and body["documents"][1]["problem"]["type"] == "urn:fileintel:empty-document"
    assert body["documents"][2]["document"]["sha256"] == hashlib.sha256(big).hexdigest()
    assert len(blobs(blob_dir)) == 2


def form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'Content-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"x", 422),
        ("multipart/form-data; boundary=" + "b" * 1000, b"x", 422),
        ("multipart/form-data; boundary=b", b"", 422),
        ("multipart/form-data; boundary=b", b"no form at all", 422),
        ("multipart/form-data; boundary=b", form(FILE + b"cut off", end=b""), 422),
        ("multipart/form-data; boundary=b", form(b'Content-Disposition: form-data; name="n"\r\n\r\nv'), 422),
        ("multipart/form-data; boundary=b", form(FILE), 422),
        ("multipart/form-data; boundary=b", form(FILE.replace(b"a.txt", b"%0A..")), 422),
        ("multipart/form-data; boundary=b", form(FILE + b"x" * (LIMIT + 1)), 413),
    ],
)
def test_bad_forms(
    api: TestClient, store: Store, scene: SimpleNamespace, blob_dir: Path, kind: str, body: bytes, status: int
) -> None:
    before = dict(store.documents)
    answer = api.post(WHERE, content=body, headers={**scene.write, "Content-Type": kind})
    problem(answer, status)
    assert not left_over(blob_dir) and store.documents == before


def test_a_form_that_breaks_off_tells_what_is_in(api: TestClient, scene: SimpleNamespace) -> None:
    body = form(FILE + b"fine", FILE + b"cut off", end=b"")
    answer = api.post(WHERE, content=body, headers={**scene.write, "Content-Type": "multipart/form-data; boundary=b"})
    assert [part["name"] for part in problem(answer, 422)["documents"]] == ["a.txt"]


def test_a_file_that_is_too_large_for_a_form_hinders_no_other(
    api: TestClient, scene: SimpleNamespace, blob_dir: Path
) -> None:
    body = form(FILE + b"one", FILE + b"x" * (3 * LIMIT), FILE + b"two")
    answer = api.post(WHERE, content=body, headers={**scene.write, "Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 201 and answer.json()["refused"] == 1
    assert [part["created"] for part in answer.json()["documents"]] == [True, False, True]
    assert answer.json()["documents"][1]["problem"]["type"] == "urn:fileintel:document-too-large"
    assert len(blobs(blob_dir)) == 2 and not left_over(blob_dir)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_form_in_small_pieces(tmp_path: Path, size: int) -> None:
    from fileintel.api.uploads import FormReceiver

    seen: list[tuple[str, str, int]] = []
    receiver = FormReceiver(
        "multipart/form-data; boundary=b", tmp_path, 100, lambda *a: seen.append(a), lambda *a: pytest.fail(str(a))
    )
    body = form(FILE + b"one\r\n--c", FILE.replace(b"a.txt", 'ä".txt'.encode().replace(b'"', b"%22")) + b"\r\ntwo")
    for start in range(0, len(body), size):
        receiver.feed(body[start : start + size])
    receiver.finish()
    expected = [("a.txt", b"one\r\n--c"), ('ä".txt', b"\r\ntwo")]
    assert seen == [(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in expected]


def test_compressed_bodies_are_refused(api: TestClient, scene: SimpleNamespace) -> None:
    headers = {**scene.write, "Content-Encoding": "gzip"}
    problem(api.post(f"{WHERE}?name=a.txt", content=b"x", headers=headers), 415)


def test_a_lost_bell_is_rung_by_the_next_upload(
    api: TestClient, store: Store, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(document_id: str) -> None:
        raise ServiceError("the broker does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(bells, "ring_document", away)
        problem(api.post(f"{WHERE}?name=a.txt", content=b"hello", headers=scene.write), 503)
    assert api.post(f"{WHERE}?name=a.txt", content=b"hello", headers=scene.write).status_code == 200
    assert len(store.rung) == 1


def test_no_room(api: TestClient, scene: SimpleNamespace, blob_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    import fileintel.store.blobs as module

    monkeypatch.setattr(module.os, "fdopen", lambda fd, mode, buffering: Full(fd, mode))
    answer = api.post(f"{WHERE}?name=a.txt", content=b"hello", headers=scene.write)
    assert "full" in problem(answer, 503)["detail"] and not left_over(blob_dir)


def test_a_killed_upload_is_swept(tmp_path: Path) -> None:
    from fileintel.store import blobs as module

    writer = BlobWriter(tmp_path, 10)
    writer.write(b"half")
    assert module.sweep(tmp_path) == 0 and module.sweep(tmp_path, older_than=-1) == 1
    assert not left_over(tmp_path)
