"""What a user does, from a file to a cited answer, over HTTP and by the command line, on real servers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from deployment import V2, Api, Deployment, ask, problem, settled, streamed
from llm_server import corpus
from reportlab.pdfgen.canvas import Canvas

from fileintel.model import Collection

TEXTS = corpus(6, 5, padding=11)
FACT = "The harbour contract was signed by Greta Lind in the town hall of Nordhafen."
QUESTION = "Who signed the harbour contract in the town hall?"


@dataclass
class Journey:
    """A collection that has come all the way to a published graph."""

    id: str
    name: str
    fact_id: str


@pytest.fixture(scope="module")
def journey(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder: Path = tmp_path_factory.mktemp("journey")
    client = api.client()
    made = client.post(f"{V2}/collections", json={"name": "journey", "description": "from end to end"})
    assert made.status_code == 201
    documents = f"{made.headers['location']}/documents"

    raw = client.post(documents, params={"name": "fact.txt"}, content=FACT.encode())
    assert raw.status_code == 201 and raw.json()["state"] == "queued"
    again = client.post(documents, params={"name": "other.txt"}, content=FACT.encode())
    assert again.status_code == 200 and again.json()["id"] == raw.json()["id"]

    files = [("file", (f"form-{number}.txt", text.encode())) for number, text in enumerate(TEXTS.texts[:3])]
    form = client.post(documents, files=files)
    assert form.status_code == 201 and form.json()["refused"] == 0
    assert [part["name"] for part in form.json()["documents"]] == ["form-0.txt", "form-1.txt", "form-2.txt"]

    for number, text in enumerate(TEXTS.texts[3:]):
        (folder / f"sent-{number}.md").write_text(text)
    added = api.cli("document", "add", "journey", "--recursive", folder, "--wait", "--json")
    assert added.code == 0 and added.err == ""
    assert [one["document"]["state"] for one in added.json["documents"]] == ["ready"] * 3

    states = settled(client, "journey")
    assert len(states) == 7 and {document["state"] for document in states.values()} == {"ready"}
    assert all(document["text_units"] > 0 for document in states.values())

    built = api.cli("graphrag", "index", "journey", "--wait")
    assert built.code == 0, built.err
    assert "entities" in built.out and "running: " in built.err and " complete: publish" in built.err
    return Journey(made.json()["id"], "journey", raw.json()["id"])


def test_the_graph_is_there(api: Api, journey: Journey) -> None:
    client = api.client()
    where = f"{V2}/collections/{journey.name}"
    shown = client.get(where).json()
    assert shown["documents"] == 7
    graph = client.get(f"{where}/graph").json()
    assert graph["version"] == shown["published_version"]
    counts = graph["counts"]
    for noun in ("entities", "relationships", "communities", "reports"):
        items = client.get(f"{where}/{noun}", params={"limit": 1000}).json()["items"]
        assert len(items) == counts[noun] > 0
        listed = api.cli("graphrag", noun, "journey", "--limit", "1000", "--json")
        assert listed.code == 0 and listed.json == items
        table = api.cli("graphrag", noun, "journey", "--limit", "2")
        assert table.code == 0 and len(table.out.splitlines()) == 3
    titles = {entity["title"] for entity in client.get(f"{where}/entities", params={"limit": 1000}).json()["items"]}
    assert titles >= TEXTS.entities
    communities, reports = (
        client.get(f"{where}/{noun}", params={"limit": 1000}).json()["items"] for noun in ("communities", "reports")
    )
    assert {each["number"]: each["title"] for each in communities} == {r["community"]: r["title"] for r in reports}
    first = client.get(f"{where}/entities", params={"limit": 5}).json()
    assert first["next_offset"] == 5 and len(first["items"]) == 5


def test_status_of_the_run(api: Api, journey: Journey) -> None:
    status = api.cli("graphrag", "status", "journey", "--json")
    assert status.code == 0
    run = status.json["progress"]["run"]
    assert run["state"] == "complete" and run["chat_model"] == "scripted" and run["calls"] > 0
    assert all(step["done"] > 0 and step["failed"] == 0 for step in status.json["progress"]["steps"])
    shown = api.client().get(f"{V2}/index-runs/{run['id']}").json()
    assert shown["run"] == run
    listed = api.client().get(f"{V2}/collections/journey/index-runs", params={"limit": 1}).json()
    assert [each["id"] for each in listed["items"]] == [run["id"]] and listed["next_offset"] is None
    told = api.cli("graphrag", "status", "journey")
    assert told.code == 0 and "complete" in told.out and "extract_graph" in told.out


@pytest.mark.parametrize("mode", ["basic", "local", "global", "drift", "graph", "auto"])
def test_an_answer_streams_with_citations(api: Api, journey: Journey, mode: str) -> None:
    heard = ask(api.client(), "journey", QUESTION, mode)
    kind, answer = heard[-1]
    assert kind == "answer", heard
    assert "".join(data["text"] for kind, data in heard if kind == "delta") == answer["text"]
    assert answer["citations"] and not answer["refused"]
    for citation in answer["citations"]:
        document = api.client().get(f"{V2}/collections/journey/documents/{citation['document_id']}").json()
        assert document["name"] == citation["document_name"]
        assert citation["quote"] and f"[{citation['number']}]" in answer["text"]
    if mode == "basic":
        assert answer["citations"][0]["document_id"] == journey.fact_id
        assert "Greta Lind" in answer["citations"][0]["quote"]


def test_a_question_by_the_command_line(api: Api, journey: Journey) -> None:
    told = api.cli("query", "journey", QUESTION, "--mode", "basic")
    assert told.code == 0 and told.err == ""
    assert "Greta Lind" in told.out and "[1] fact.txt" in told.out and "scripted" in told.out
    graph = api.cli(
        "graphrag", "query", "journey", QUESTION, "--mode", "drift", "--response-type", "One line", "--json"
    )
    assert graph.code == 0, graph.err
    assert (graph.json["answer"]["mode"], graph.json["response_type"]) == ("drift", "One line")
    whole = api.cli("query", "journey", QUESTION, "--mode", "basic", "--json")
    assert whole.code == 0 and whole.err == ""
    assert whole.json["state"] == "complete" and whole.json["question"] == QUESTION
    assert whole.json["answer"]["citations"][0]["document_name"] == "fact.txt"
    assert api.client().get(f"{V2}/queries/{whole.json['id']}").json() == whole.json
    # A stream that is opened late tells the answer all the same.
    assert streamed(api.client(), whole.json["id"])[-1][1]["text"] == whole.json["answer"]["text"]


def test_a_deleted_document_is_quoted_no_more(api: Api, journey: Journey) -> None:
    client = api.client()
    sent = client.post(
        f"{V2}/collections/journey/documents",
        params={"name": "brief.txt"},
        content=b"The lighthouse lamp was repaired by Otto Brand with borrowed tools.",
    )
    settled(client, "journey")
    question = "Who repaired the lighthouse lamp with borrowed tools?"
    before = ask(client, "journey", question, "basic")[-1][1]
    assert [citation["document_name"] for citation in before["citations"]] == ["brief.txt"]
    deleted = api.cli("document", "delete", "journey", sent.json()["id"], "--json")
    assert deleted.code == 0 and deleted.json == {"deleted": sent.json()["id"]}
    kind, after = ask(client, "journey", question, "basic")[-1]
    assert kind == "answer" and "Otto" not in json.dumps(after)
    gone = client.get(f"{V2}/collections/journey/documents/{sent.json()['id']}")
    assert "no document" in problem(gone, 404, "not-found")
    assert api.cli("document", "show", "journey", sent.json()["id"]).code == 2


def test_office_files_are_read(api: Api, tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(["Ship", "Captain"])
    workbook.active.append(["Alma", "Runa Vik"])
    workbook.save(tmp_path / "ships.xlsx")
    letter = docx.Document()
    letter.add_paragraph("The pier was painted by Nils Berg.")
    letter.save(str(tmp_path / "letter.docx"))
    slides = pptx.Presentation()
    slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "The crane was bought by Sara Holt."
    slides.save(str(tmp_path / "talk.pptx"))
    canvas = Canvas(str(tmp_path / "plan.pdf"))
    canvas.showPage()
    canvas.drawString(72, 700, "The beacon was drawn by Tilda Moe.")
    canvas.save()
    assert api.cli("collection", "create", "office").code == 0
    added = api.cli("document", "add", "office", "-r", tmp_path, "--wait", "--json")
    assert added.code == 0, added.out
    for question, name, quote, page in (
        ("Who is captain of the ship Alma?", "ships.xlsx", "Runa Vik", None),
        ("Who painted the pier?", "letter.docx", "Nils Berg", None),
        ("Who bought the crane?", "talk.pptx", "Sara Holt", 1),
        ("Who drew the beacon?", "plan.pdf", "Tilda Moe", 2),
    ):
        (citation,) = ask(api.client(), "office", question, "basic")[-1][1]["citations"]
        assert (citation["document_name"], citation["page"]) == (name, page)
        assert quote in citation["quote"]


def test_pages_of_documents(api: Api, journey: Journey) -> None:
    client = api.client()
    where = f"{V2}/collections/journey/documents"
    names, offset = [], 0
    while offset is not None:
        page = client.get(where, params={"limit": 3, "offset": offset}).json()
        names += [document["name"] for document in page["items"]]
        offset = page["next_offset"]
    assert len(names) == 7 and names == sorted(names)
    assert len(client.get(where, params={"state": "ready"}).json()["items"]) == 7
    assert client.get(where, params={"state": "failed"}).json()["items"] == []


def test_a_read_key_reads(api: Api, journey: Journey) -> None:
    made = api.client().post(f"{V2}/keys", json={"name": "reader", "scopes": ["read"]}).json()
    reader = api.client(made["secret"])
    assert reader.get(f"{V2}/collections/journey").status_code == 200
    assert ask(reader, "journey", QUESTION, "basic")[-1][0] == "answer"
    where = f"{V2}/collections/journey"
    for method, path in (
        ("POST", f"{V2}/collections"),
        ("POST", f"{where}/documents?name=a.txt"),
        ("DELETE", f"{where}/documents/{journey.fact_id}"),
        ("POST", f"{where}/index-runs"),
        ("DELETE", where),
        ("GET", f"{V2}/keys"),
    ):
        answer = reader.request(method, path, json={"name": "x"} if method == "POST" else None)
        assert "reader" in problem(answer, 403, "not-allowed"), path
    refused = api.cli("collection", "create", "mine", key=made["secret"])
    assert refused.code == 2 and refused.err.count("\n") == 1 and "write" in refused.err
    revoked = api.cli("key", "revoke", made["key"]["id"])
    assert revoked.code == 0
    assert problem(reader.get(f"{V2}/collections"), 401, "not-authenticated")


def test_no_key_and_a_wrong_key(api: Api, journey: Journey) -> None:
    for key in ("", "fi_wrong"):
        for path in ("/collections", "/collections/journey", "/tasks", "/keys", "/openapi.json"):
            answer = api.client(key).get(V2 + path)
            problem(answer, 401, "not-authenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        told = api.cli("collection", "list", key=key)
        assert told.code == 2 and told.err.count("\n") == 1 and "API key" in told.err


def test_a_limited_key_sees_its_collection_alone(api: Api, deployment: Deployment, journey: Journey) -> None:
    client = api.client()
    other: Collection = deployment.collection("walled", ["Alice knows Bob. Bob knows Carol."])
    wanted = {"name": "limited", "scopes": ["write"], "collections": ["walled"]}
    secret = client.post(f"{V2}/keys", json=wanted).json()["secret"]
    limited = api.client(secret)
    assert [each["name"] for each in limited.get(f"{V2}/collections").json()["items"]] == ["walled"]
    assert ask(limited, other.id, "Who knows Bob?", "basic")[-1][0] == "answer"
    run = client.get(f"{V2}/collections/journey/index-runs").json()["items"][0]
    query = client.post(f"{V2}/collections/journey/queries", json={"question": "Who?", "mode": "basic"}).json()
    for method, path in (
        ("GET", "/collections/journey"),
        ("GET", f"/collections/{journey.id}/documents"),
        ("POST", "/collections/journey/documents?name=a.txt"),
        ("POST", "/collections/journey/queries"),
        ("POST", "/collections/journey/index-runs"),
        ("GET", f"/collections/walled/documents/{journey.fact_id}"),
        ("GET", f"/index-runs/{run['id']}"),
        ("POST", f"/index-runs/{run['id']}/cancel"),
        ("GET", f"/queries/{query['id']}"),
        ("GET", f"/queries/{query['id']}/events"),
        ("DELETE", "/collections/journey"),
    ):
        body = {"question": "Who?"} if path.endswith("/queries") else None
        problem(limited.request(method, V2 + path, json=body), 404, "not-found")
    problem(limited.post(f"{V2}/collections", json={"name": "mine"}), 403, "not-allowed")
    told = api.cli("query", "journey", "Who?", key=secret)
    assert told.code == 2 and "no collection is named 'journey'" in told.err


def test_work_in_progress(api: Api, deployment: Deployment) -> None:
    deployment.collection("slow", corpus(12, 5, padding=12).texts)
    deployment.llm.configure(hold=True)
    started = api.cli("graphrag", "index", "slow", "--json")
    assert started.code == 0 and started.json["state"] == "running"
    joined = api.client().post(f"{V2}/collections/slow/index-runs")
    assert joined.status_code == 202 and joined.json()["id"] == started.json["id"]
    work = api.client().get(f"{V2}/tasks").json()
    assert started.json["id"] in [run["id"] for run in work["index_runs"]]
    told = api.cli("tasks")
    assert told.code == 0 and any("index run" in line and "slow" in line for line in told.out.splitlines())
    cancelled = api.cli("graphrag", "cancel", "slow", "--json")
    assert cancelled.code == 0 and cancelled.json["state"] == "cancelled"
    again = api.cli("graphrag", "cancel", "slow")
    assert again.code == 2 and again.err.count("\n") == 1
    assert started.json["id"] not in [run["id"] for run in api.client().get(f"{V2}/tasks").json()["index_runs"]]
    ungraphed = api.cli("graphrag", "entities", "slow")
    assert ungraphed.code == 2 and "fileintel graphrag index slow" in ungraphed.err


def test_health_and_openapi(api: Api) -> None:
    nobody = api.client("")
    assert nobody.get("/health/live").json()["status"] == "alive"
    ready = nobody.get("/health/ready")
    assert ready.status_code == 200
    assert {"database", "migrations", "broker", "blobs"} <= ready.json()["parts"].keys()
    assert api.cli("health").code == 0
    schema = api.client().get(f"{V2}/openapi.json").json()
    assert schema["openapi"].startswith("3.") and f"{V2}/collections/{{collection}}/documents" in schema["paths"]
    docs = nobody.get(f"{V2}/docs")
    assert docs.status_code == 200 and docs.headers["content-type"].startswith("text/html")
    problem(api.client().get(f"{V2}/nowhere"), 404, "not-found")
    problem(api.client().put(f"{V2}/collections"), 405, "method-not-allowed")


def test_a_collection_goes_with_all_it_holds(api: Api, deployment: Deployment) -> None:
    deployment.collection("doomed", ["Alice knows Bob."])
    assert api.cli("collection", "delete", "doomed", "--yes").code == 0
    problem(api.client().get(f"{V2}/collections/doomed/documents"), 404, "not-found")
    assert api.cli("collection", "show", "doomed").code == 2
