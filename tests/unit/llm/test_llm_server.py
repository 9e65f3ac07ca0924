"""The scripted server answers GraphRAG's own prompts in the form GraphRAG reads, and counts what it was asked."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from llm_server import ScriptedServer, corpus, running


@pytest.fixture(scope="module")
def process() -> Iterator[ScriptedServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(process: ScriptedServer) -> Iterator[ScriptedServer]:
    before = process.stats()["options"]
    process.reset()
    yield process
    process.configure(**before)


def post(server: ScriptedServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(server.base_url + path, json.dumps(body).encode())
    # No proxy, whatever the environment says: the server is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answered:
        return json.loads(answered.read())


def chat(server: ScriptedServer, *contents: str, **extra: Any) -> str:
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    body = post(server, "/chat/completions", {"model": "scripted", "messages": messages, **extra})
    return body["choices"][0]["message"]["content"]


def extraction_prompt(text: str) -> str:
    from graphrag.prompts.index.extract_graph import GRAPH_EXTRACTION_PROMPT

    return GRAPH_EXTRACTION_PROMPT.format(entity_types="organization,person", input_text=text)


def test_extraction_finds_the_names_of_a_sentence_and_relates_the_first_to_the_others(server: ScriptedServer) -> None:
    records = chat(server, extraction_prompt("In May Alice knows Bob and Harbour Bank.\nThe end.")).split("\n##\n")
    assert records[0] == '("entity"<|>MAY ALICE<|>PERSON<|>In May Alice knows Bob and Harbour Bank.)'
    assert '("relationship"<|>MAY ALICE<|>HARBOUR BANK<|>In May Alice knows Bob and Harbour Bank.<|>5)' in records[-1]
    assert records[-1].endswith("<|COMPLETE|>")
    assert len(records) == 5
    assert server.stats()["kinds"]["extract"]["count"] == 1


def test_gleaning_ends_at_once(server: ScriptedServer) -> None:
    from graphrag.prompts.index.extract_graph import CONTINUE_PROMPT, LOOP_PROMPT

    assert chat(server, extraction_prompt("A."), "…", CONTINUE_PROMPT) == "<|COMPLETE|>"
    assert chat(server, extraction_prompt("A."), "…", LOOP_PROMPT) == "N"
    assert set(server.stats()["kinds"]) == {"glean", "loop"}


def test_summaries_name_the_entity(server: ScriptedServer) -> None:
    from graphrag.prompts.index.summarize_descriptions import SUMMARIZE_PROMPT

    prompt = SUMMARIZE_PROMPT.format(max_length=100, entity_name='"ALICE"', description_list='["Knows Bob."]')
    assert chat(server, prompt) == '"ALICE" in all: ["Knows Bob."]'
    assert server.stats()["kinds"]["summarize"]["count"] == 1


def test_a_report_speaks_of_the_real_data_and_has_graphrags_shape(server: ScriptedServer) -> None:
    from graphrag.index.operations.summarize_communities.community_reports_extractor import CommunityReportResponse
    from graphrag.prompts.index.community_report import COMMUNITY_REPORT_PROMPT

    table = (
        "-----Entities-----\nhuman_readable_id,title,description,degree\n7,ALICE,Alice knows Bob.,1\n8,BOB,B,1\n\n\n"
    )
    prompt = COMMUNITY_REPORT_PROMPT.format(input_text=table, max_report_length=500)
    report = CommunityReportResponse.model_validate_json(chat(server, prompt))
    assert report.title == "ALICE and its community"
    assert [finding.summary for finding in report.findings] == ["ALICE belongs here", "BOB belongs here"]
    assert server.stats()["kinds"]["report"]["count"] == 1


def test_map_points_name_a_report(server: ScriptedServer) -> None:
    from graphrag.prompts.query.global_search_map_system_prompt import MAP_SYSTEM_PROMPT

    prompt = MAP_SYSTEM_PROMPT.format(context_data="id|title|content\n12|Alice and Bob|…", max_length=100)
    assert json.loads(chat(server, prompt)) == {
        "points": [{"description": "Alice and Bob [Data: Reports (12)]", "score": 60}]
    }


@pytest.mark.parametrize(
    "sources",
    [
        "[1] Alice founded the bank in 1901. It grew.\n[2] Nothing.",
        "[1] report.pdf, page 3\nAlice founded the bank in 1901. It grew.",
        "Source 1: report.pdf > Banks\n\nAlice founded the bank in 1901. It grew.",
        '<source number="1" document="a.txt">\nAlice founded the bank in 1901.\n</source>',
    ],
)
def test_an_answer_quotes_source_one_with_its_mark(server: ScriptedServer, sources: str) -> None:
    asked = f"Answer from the sources below and mark each sentence [n].\n\n{sources}\n\nQuestion: who founded it?"
    assert chat(server, asked) == "The documents say: Alice founded the bank in 1901 [1]."


def test_embeddings_are_nearer_the_more_words_are_shared(server: ScriptedServer) -> None:
    texts = ["the bank was founded by Alice", "who founded the bank", "rain fell on hills"]
    data = post(server, "/embeddings", {"model": "scripted-embedding", "input": texts})["data"]
    one, near, far = (item["embedding"] for item in data)
    assert len(one) == 384
    assert sum(x * x for x in one) == pytest.approx(1.0)
    assert sum(map(lambda x, y: x * y, one, near)) > sum(map(lambda x, y: x * y, one, far)) + 0.3


def test_a_corpus_has_the_graph_it_says(server: ScriptedServer) -> None:
    made = corpus(communities=5, size=4)
    assert len(made.entities) == 20
    related = set()
    for text in made.texts:
        for record in chat(server, extraction_prompt(text)).split("\n##\n"):
            fields = record.strip("()").split("<|>")
            if fields[0] == '"relationship"':
                related.add((fields[1], fields[2]))
    assert related == made.relationships


def test_a_corpus_of_160_communities_clusters_into_at_least_as_many() -> None:
    from graphrag.graphs.hierarchical_leiden import hierarchical_leiden

    made = corpus(communities=160, size=6)
    found = hierarchical_leiden([(a, b, 5.0) for a, b in sorted(made.relationships)])
    assert len({cluster.cluster for cluster in found}) >= 160


def test_faults_are_as_configured_and_repeats_are_counted(server: ScriptedServer) -> None:
    server.configure(fail_first=1, fault_kinds="other")
    with pytest.raises(urllib.error.HTTPError) as failed:
        chat(server, "Hello")
    assert failed.value.code == 500
    assert chat(server, "Hello") == chat(server, "Hello")
    counts = server.stats("prompts", "last")["kinds"]["other"]
    assert (counts["count"], counts["distinct"], counts["repeated"], counts["answered_again"]) == (3, 1, 2, 1)
    assert counts["last"]["messages"][0]["content"] == "Hello"
    server.configure(fail_first=0, limit_rate=1.0, retry_after=2)
    with pytest.raises(urllib.error.HTTPError) as limited:
        chat(server, "Hello")
    assert (limited.value.code, limited.value.headers["Retry-After"]) == (429, "2")
    server.configure(limit_rate=0.0, drop_rate=1.0)
    with pytest.raises(http.client.RemoteDisconnected):
        chat(server, "Hello")
    with pytest.raises(urllib.error.HTTPError):
        server.configure(no_such_option=1)


def test_held_and_queued_calls_are_in_flight_together(server: ScriptedServer) -> None:
    server.configure(hold=True, slots=2)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda i=i: answers.append(chat(server, f"call {i}"))) for i in range(8)]
    for thread in threads:
        thread.start()
    while server.stats()["in_flight"] < 8:
        pass
    assert server.stats()["kinds"]["other"]["peak"] == 8
    server.configure(hold=False)
    for thread in threads:
        thread.join(60)
    assert len(answers) == 8
    counts = server.stats("spans")["kinds"]["other"]
    assert counts["in_flight"] == 0
    assert len(counts["spans"]) == 8
    assert 0 < counts["mean_in_flight"] <= 8


def test_some_calls_are_held_and_hanging_ones_let_go(server: ScriptedServer) -> None:
    assert server.kind("other")["in_flight"] == 0
    server.configure(hold=True, hold_kinds="other", hold_after=1)
    chat(server, "served")
    post(server, "/embeddings", {"model": "scripted-embedding", "input": ["of another kind"]})
    asking = [threading.Thread(target=chat, args=(server, "waits"))]
    asking[0].start()
    while server.kind("other")["in_flight"] < 1:
        pass
    server.configure(hang_rate=1.0)
    server.configure(hold=False)
    asking.append(threading.Thread(target=chat, args=(server, "hangs")))
    asking[1].start()
    while server.kind("other")["in_flight"] < 2:
        pass
    assert server.kind("other")["answered"] == 1
    server.configure(hang_rate=0.0)
    for thread in asking:
        thread.join(60)
    assert server.kind("other")["answered"] == 3


def test_it_stops_when_its_stdin_closes() -> None:
    with running() as server:
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.wait(timeout=60) == 0


def lightrag_prompt(text: str) -> list[dict[str, str]]:
    # The forms of LightRAG 1.5's prompts that the answers go by; LightRAG itself is not installed here.
    system = "---Role---\nYou are a Knowledge Graph Specialist.\n`entity<|#|>entity_name<|#|>entity_type`"
    user = f"---Task---\nExtract entities.\n\n---Input Text---\n```\n{text}\n```\n\n---Output---\n"
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def test_lightrag_is_answered_in_its_own_rows(server: ScriptedServer) -> None:
    asked = lightrag_prompt("Alice knows Bob.\n\nThe end.")
    body = post(server, "/chat/completions", {"model": "scripted", "messages": asked})
    rows = body["choices"][0]["message"]["content"].splitlines()
    assert rows[0] == "entity<|#|>Alice<|#|>Person<|#|>Alice knows Bob."
    assert rows[2] == "relation<|#|>Alice<|#|>Bob<|#|>acquaintance<|#|>Alice knows Bob."
    assert rows[-1] == "<|COMPLETE|>"
    glean = "---Task---\nBased on the last extraction task, identify and extract any missed entities."
    asked += [{"role": "assistant", "content": "…"}, {"role": "user", "content": glean}]
    body = post(server, "/chat/completions", {"model": "scripted", "messages": asked})
    assert body["choices"][0]["message"]["content"] == "<|COMPLETE|>"
    summary = (
        "---Input---\nEntity Name: Alice\n\nDescription List:\n\n```\n"
        '{"Description": "Knows Bob."}\n{"Description": "Knows Eve."}\n```\n\n---Output---\n'
    )
    said = chat(server, summary)
    assert said == 'Alice in all: {"Description": "Knows Bob."}\n{"Description": "Knows Eve."}'
    assert {kind: tally["count"] for kind, tally in server.stats()["kinds"].items()} == {
        "extract": 1,
        "glean": 1,
        "summarize": 1,
    }


def together(server: ScriptedServer, calls: int) -> float:
    """Ask so many things and return the seconds from when all of them are there to the last answer."""
    server.configure(hold=True)
    threads = [threading.Thread(target=chat, args=(server, f"call {number}")) for number in range(calls)]
    for thread in threads:
        thread.start()
    while server.stats()["in_flight"] < calls:
        pass
    began = time.time()
    server.configure(hold=False)
    for thread in threads:
        thread.join(60)
    spans = server.stats("spans")["kinds"]["other"]["spans"]
    assert len(spans) == calls
    return max(end for _, end in spans) - began


def test_a_fuller_batch_gives_fewer_tokens_a_second_to_each(server: ScriptedServer) -> None:
    server.configure(token_seconds=0.004, token_slowdown=0.5, answer_tokens=50)
    assert together(server, 1) >= 50 * 0.004
    server.reset()
    # A step of four takes 2.5 times as long.
    assert together(server, 4) >= 50 * 0.004 * 2.5
    assert server.stats()["kinds"]["other"]["peak"] == 4


def test_a_call_that_leaves_the_batch_leaves_the_others_faster(server: ScriptedServer) -> None:
    # Held until both are there: alone, the first would be answered in 0.4 s.
    server.configure(token_seconds=0.01, token_slowdown=99.0, answer_tokens=40, hold=True)
    connection = http.client.HTTPConnection(server.base_url.split("/")[2], timeout=60)
    body = json.dumps({"model": "scripted", "messages": [{"role": "user", "content": "going away"}]})
    connection.request("POST", "/v1/chat/completions", body)
    while server.stats()["in_flight"] < 1:
        pass
    staying = threading.Thread(target=chat, args=(server, "staying"))
    staying.start()
    while server.stats()["in_flight"] < 2:
        pass
    server.configure(hold=False)
    connection.close()
    staying.join(60)
    counts = server.stats("spans")["kinds"]["other"]
    assert (counts["answered"], counts["abandoned"]) == (1, 1)
    # 40 steps of two would take 40 s.
    assert max(end - start for start, end in counts["spans"]) < 20.0


def test_slots_serve_in_order_and_embeddings_may_take_another_time(server: ScriptedServer) -> None:
    server.configure(slots=2, latency=0.2, embedding_latency=0.0)
    assert together(server, 6) >= 0.6
    spans = sorted(server.stats("spans")["kinds"]["other"]["spans"])
    assert [end for _, end in spans] == sorted(end for _, end in spans)
    server.reset()
    server.configure(latency=20.0)
    post(server, "/embeddings", {"model": "scripted-embedding", "input": ["a text"]})
    ((start, end),) = server.stats("spans")["kinds"]["embedding"]["spans"]
    assert end - start < 10.0


def test_requests_are_recorded_only_when_asked_for(server: ScriptedServer) -> None:
    chat(server, "unheard")
    assert server.recorded() == []
    server.configure(record=True)
    chat(server, "heard")
    post(server, "/embeddings", {"model": "scripted-embedding", "input": ["a text"]})
    (chat_path, chat_body), (embedding_path, embedding_body) = server.recorded()
    assert (chat_path, embedding_path) == ("/v1/chat/completions", "/v1/embeddings")
    assert json.loads(chat_body)["messages"][0]["content"] == "heard"
    assert json.loads(embedding_body)["input"] == ["a text"]
    server.reset()
    assert server.recorded() == []


def test_prepared_texts_are_answered_like_others(server: ScriptedServer) -> None:
    text = "Alice pays Bob."
    server.prepare([text])
    assert "<|>ALICE<|>" in chat(server, extraction_prompt(text))
