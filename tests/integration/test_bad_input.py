"""Whatever a user sends: one line that says what is wrong, the right status or exit code, nothing else disturbed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docx
import pytest
from deployment import V2, Api, Outcome, ask, problem, settled
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89" + bytes(range(256)) * 8
GOOD = "The ferry to the island is steered by Marta Quist in every season."
QUESTION = "Who steers the ferry to the island in every season?"
HUGE_BYTES = 300_000_000


def _pdf(path: Path, password: str | None = None) -> None:
    lock = None if password is None else StandardEncryption(password, strength=128)
    canvas = Canvas(str(path), encrypt=lock)
    for page in range(5):
        canvas.drawString(72, 700, f"Page {page} of the minutes, in which Marta Quist is praised.")
        canvas.showPage()
    canvas.save()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    _pdf(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _encrypted(path: Path) -> None:
    _pdf(path, "geheim")


def _png(path: Path) -> None:
    path.write_bytes(PNG)


def _no_page(path: Path) -> None:
    docx.Document().save(str(path))


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(HUGE_BYTES)


@dataclass(frozen=True)
class Case:
    """A bad file; `status` is the HTTP status of its refusal, 201 when only reading it brings out what it is."""

    name: str
    make: Callable[[Path], None]
    code: str
    status: int
    says: str


CASES = (
    Case("empty.txt", _empty, "empty-document", 422, "0 bytes"),
    Case("truncated.pdf", _truncated, "corrupt-document", 201, "cut off"),
    Case("encrypted.pdf", _encrypted, "encrypted-document", 201, "password"),
    Case("photo.pdf", _png, "mislabelled-document", 201, "PNG"),
    Case("no-page.docx", _no_page, "empty-document", 201, "no text"),
    Case("huge.pdf", _huge, "document-too-large", 413, "209715200 bytes"),
)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@contextmanager
def collection(api: Api, name: str) -> Iterator[str]:
    """A collection with one good document, which must answer afterwards as it did before."""
    client = api.client()
    assert client.post(f"{V2}/collections", json={"name": name}).status_code == 201
    where = f"{V2}/collections/{name}"
    assert client.post(f"{where}/documents", params={"name": "good.txt"}, content=GOOD.encode()).status_code == 201
    assert settled(client, name)["good.txt"]["state"] == "ready"
    yield where
    assert client.get("/health/ready").status_code == 200
    kind, answer = ask(client, name, QUESTION, "basic")[-1]
    assert kind == "answer" and [citation["document_name"] for citation in answer["citations"]] == ["good.txt"]
    assert client.delete(where).status_code == 204


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bad")
    for case in CASES:
        case.make(folder / case.name)
    (folder / "fine.txt").write_text("Ole Storm rings the bell at noon.")
    (folder / "fair.txt").write_text("Pia Holm paints the boats in May.")
    return folder


def failed(document: dict[str, Any], case: Case) -> None:
    """Check that a document carries the case's named error in one line."""
    assert (document["state"], document["error_code"]) == ("failed", case.code), document
    assert case.says in document["error"] and "\n" not in document["error"] and case.name in document["error"]


def complaint(outcome: Outcome, code: int) -> str:
    """Check the exit code and that stderr ends in the one line that says why; returns it."""
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.err + outcome.out
    *progress, last = outcome.err.splitlines()
    assert last.startswith("fileintel: ") and all(line.startswith("documents: ") for line in progress), outcome.err
    return last.removeprefix("fileintel: ")


@each_case
def test_bad_file_by_http(api: Api, files: Path, case: Case) -> None:
    client = api.client()
    with collection(api, f"http-{case.name}") as where, (files / case.name).open("rb") as body:
        headers = {"Content-Length": str((files / case.name).stat().st_size)}
        answer = client.post(f"{where}/documents", params={"name": case.name}, content=body, headers=headers)
        if case.status != 201:
            assert case.says in problem(answer, case.status, case.code)
            assert list(settled(client, where.rsplit("/", 1)[1])) == ["good.txt"]
            return
        assert answer.status_code == 201
        failed(settled(client, where.rsplit("/", 1)[1])[case.name], case)
        failed(client.get(answer.headers["location"]).json(), case)


@each_case
def test_bad_file_between_good_ones_in_a_form(api: Api, files: Path, case: Case) -> None:
    client = api.client()
    names = ["fine.txt", case.name, "fair.txt"]
    with collection(api, f"form-{case.name}") as where:
        parts = [("file", (name, (files / name).open("rb"))) for name in names]
        answer = client.post(f"{where}/documents", files=parts)
        for _, (_, file) in parts:
            file.close()
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert [part["name"] for part in body["documents"]] == names
        states = settled(client, where.rsplit("/", 1)[1])
        assert states["fine.txt"]["state"] == states["fair.txt"]["state"] == "ready"
        if case.status == 201:
            assert body["refused"] == 0
            failed(states[case.name], case)
        else:
            assert body["refused"] == 1 and case.name not in states
            refusal = body["documents"][1]["problem"]
            assert (refusal["type"], refusal["status"]) == (f"urn:fileintel:{case.code}", case.status)
            assert case.says in refusal["detail"]


@each_case
def test_bad_file_by_the_command_line(api: Api, files: Path, case: Case) -> None:
    name = f"cli-{case.name}"
    with collection(api, name):
        alone = complaint(api.cli("document", "add", name, files / case.name, "--wait"), 1)
        assert alone.startswith(f"{files / case.name}: {case.code.replace('-', ' ')}: ") and case.says in alone
        paths = [files / one for one in ("fine.txt", case.name, "fair.txt")]
        told = api.cli("document", "add", name, *paths, "--wait", "--json")
        assert told.code == 1 and told.err.count("\n") == 1
        assert json.loads(told.err)["detail"].startswith("1 of 3 documents could not be taken: ")
        fine, bad, fair = told.json["documents"]
        assert fine["document"]["state"] == fair["document"]["state"] == "ready"
        if case.status == 201:
            failed(bad["document"], case)
            listed = api.cli("document", "list", name)
            assert listed.code == 0 and case.says in listed.out
        else:
            assert bad["document"] is None and bad["problem"]["type"] == f"urn:fileintel:{case.code}"


def test_too_large_a_file_is_refused_before_it_is_sent(api: Api) -> None:
    with collection(api, "early") as where:
        address = urlsplit(api.base_url)
        head = (
            f"POST {where}/documents?name=huge.pdf HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {api.key}\r\nContent-Length: {HUGE_BYTES}\r\n\r\n"
        )
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(head.encode())
            answer = b""
            while chunk := connection.recv(65536):  # to the end: the server closes what it will not read on
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 413 ") and b"document-too-large" in answer


@pytest.mark.parametrize(
    ("given", "kept"),
    [("../../outside\r\n.txt", "outside.txt"), ("..\\..\\two\nlines\x1b[2J.txt", "twolines[2J.txt")],
)
def test_file_name_with_a_path_and_newlines(api: Api, tmp_path: Path, given: str, kept: str) -> None:
    client = api.client()
    with collection(api, "names") as where:
        raw = client.post(f"{where}/documents", params={"name": given}, content=b"Ole Storm rings the bell.")
        assert raw.status_code == 201 and raw.json()["name"] == kept
        parts = [("file", (given, b"Pia Holm paints the boats."))]
        form = client.post(f"{where}/documents", files=parts)
        assert form.status_code == 201 and form.json()["documents"][0]["name"] == kept
        (tmp_path / "sub").mkdir()
        local = given.rsplit("/", 1)[-1]
        (tmp_path / local).write_text("Ida Falk mends the nets.")
        told = api.cli("document", "add", "names", f"{tmp_path}/sub/../{local}", "--wait")
        assert told.code == 0 and len(told.out.splitlines()) == 2 and "\x1b" not in told.out + told.err
        documents = client.get(f"{where}/documents").json()["items"]
        assert [(each["name"], each["state"]) for each in documents if each["name"] != "good.txt"] == [
            (kept, "ready")
        ] * 3
        assert not list(api.state_dir.rglob("*outside*"))
        refused = client.post(f"{where}/documents", params={"name": "../\n"}, content=b"nameless")
        assert "no name" in problem(refused, 422, "file-name")


def test_text_that_is_not_utf8_is_read_right(api: Api, tmp_path: Path) -> None:
    text = "Der Müller aus Köln prüft die große Brücke über den Fluß. Danach fährt er nach Düren."
    (tmp_path / "brücke.txt").write_bytes(text.encode("latin-1"))
    with collection(api, "umlauts"):
        told = api.cli("document", "add", "umlauts", tmp_path / "brücke.txt", "--wait", "--json")
        assert told.code == 0 and told.json["documents"][0]["document"]["state"] == "ready"
        answer = api.cli("query", "umlauts", "Wer prüft die große Brücke über den Fluß?", "--mode", "basic", "--json")
        assert answer.code == 0
        (citation,) = answer.json["answer"]["citations"]
        assert citation["document_name"] == "brücke.txt"
        assert "Der Müller aus Köln prüft die große Brücke über den Fluß" in citation["quote"]


@pytest.mark.parametrize("question", ["", "   ", " \n\t"])
def test_empty_question(api: Api, question: str) -> None:
    client = api.client()
    with collection(api, "silence") as where:
        before = client.get(f"{V2}/tasks").json()["queries"]
        answer = client.post(f"{where}/queries", json={"question": question, "mode": "basic"})
        assert "empty" in problem(answer, 422, "input")
        assert client.get(f"{V2}/tasks").json()["queries"] == before
        told = complaint(api.cli("query", "silence", question), 2)
        assert "the question is empty" in told
        as_json = api.cli("query", "silence", question, "--json")
        assert as_json.code == 2 and as_json.out == "" and json.loads(as_json.err)["type"] == "urn:fileintel:input"


@pytest.mark.parametrize("name", ["nowhere", "../../etc/passwd", "new\nline"])
def test_unknown_collection(api: Api, files: Path, name: str) -> None:
    client = api.client()
    part = name.replace("/", "%2F").replace("\n", "%0A")
    for method, rest in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/documents"),
        ("POST", "/documents?name=a.txt"),
        ("POST", "/index-runs"),
        ("GET", "/graph"),
        ("GET", "/entities"),
        ("POST", "/queries"),
    ):
        body = {"question": "Who?"} if rest == "/queries" else None
        answer = client.request(method, f"{V2}/collections/{part}{rest}", json=body)
        problem(answer, 404, "not-found")
    for arguments in (
        ("query", name, "Who?"),
        ("document", "add", name, files / "fine.txt"),
        ("document", "list", name),
        ("graphrag", "index", name, "--wait"),
        ("graphrag", "status", name),
        ("collection", "delete", name, "--yes"),
    ):
        assert complaint(api.cli(*arguments), 2)


def test_a_collection_of_nothing_readable(api: Api, files: Path) -> None:
    client = api.client()
    assert client.post(f"{V2}/collections", json={"name": "unread"}).status_code == 201
    empty = complaint(api.cli("query", "unread", "Who?"), 2)
    assert "fileintel document add unread" in empty
    assert "readable document" in complaint(api.cli("graphrag", "index", "unread", "--wait"), 2)
    assert api.cli("document", "add", "unread", files / "photo.pdf", "--wait").code == 1
    problem(client.post(f"{V2}/collections/unread/queries", json={"question": "Who?"}), 409, "conflict")
    problem(client.post(f"{V2}/collections/unread/index-runs"), 409, "conflict")
    assert "could be read" in complaint(api.cli("query", "unread", "Who?"), 2)


def test_bad_command_lines(api: Api, tmp_path: Path) -> None:
    with collection(api, "usage"):
        missing = complaint(api.cli("document", "add", "usage", tmp_path / "missing.txt"), 2)
        assert "No such file" in missing
        assert "a folder" in complaint(api.cli("document", "add", "usage", tmp_path), 2)
        for arguments in (
            ("query", "usage"),
            ("query", "usage", "Who?", "--mode", "psychic"),
            ("document", "add", "usage"),
            ("nonsense",),
            ("graphrag", "entities", "usage", "--limit", "0"),
            ("collection", "create", "a/b"),
            ("collection", "create", ""),
            ("collection", "create", "usage"),
            ("document", "show", "usage", "no-such-id"),
        ):
            assert complaint(api.cli(*arguments), 2)
