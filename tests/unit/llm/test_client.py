"""The client against the scripted server and against made-up answers: what it sends, reads and says went wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from llm_server import ScriptedServer, running

from fileintel.errors import ConfigurationError, ModelAnswerError, ModelRequestError, ModelServerError
from fileintel.llm import client as client_module
from fileintel.llm.client import EmbeddingClient, OpenAIClient
from fileintel.llm.refusals import Dialect
from fileintel.model import ChatRequest, Message, Stage

KEY = "sk-secret-0123456789"
HELLO = ChatRequest("scripted", (Message("system", "Be brief."), Message("user", "Hello")), max_tokens=50)
SCHEMA = {
    "title": "Point",
    "type": "object",
    "properties": {"x": {"type": "number"}, "inner": {"type": "object", "properties": {"y": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def process() -> Iterator[ScriptedServer]:
    with running(api_key=KEY, strict_models=True) as server:
        yield server


@pytest.fixture
def server(process: ScriptedServer) -> Iterator[ScriptedServer]:
    before = process.stats()["options"]
    process.reset()
    yield process
    process.configure(**before)


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    client_module._dialects.clear()
    yield
    client_module._dialects.clear()


def answering(answer: Callable[[httpx.Request], httpx.Response] | httpx.Response, **options: Any) -> OpenAIClient:
    handler = answer if callable(answer) else lambda request: answer
    return OpenAIClient(
        "http://user:word@models.example/v1?version=2", KEY, transport=httpx.MockTransport(handler), **options
    )


def completion(content: Any = "hi", **choice: Any) -> httpx.Response:
    message = {"role": "assistant", "content": content}
    return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": "stop"} | choice]})


# --- complete ---


def test_an_answer_has_its_text_counts_and_finish_reason(server: ScriptedServer) -> None:
    client = OpenAIClient(server.base_url, KEY)
    answer = client.complete(HELLO)
    assert answer.content == "You wrote 5 characters."
    assert (answer.tokens_in, answer.tokens_out, answer.finish_reason, answer.remembered) == (3, 5, "stop", False)
    sent = server.stats("last")["kinds"]["other"]["last"]
    assert sent == {
        "model": "scripted",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "temperature": 0.0,
        "max_tokens": 50,
    }
    server.configure(finish_reason="length")
    assert client.complete(HELLO).finish_reason == "length"


def test_the_address_and_the_key_go_where_they_belong() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return completion()

    client = answering(answer)
    client.complete(HELLO)
    assert str(seen[0].url) == "http://models.example/v1/chat/completions?version=2"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert seen[0].headers["host"] == "models.example"
    for shown in (repr(client), client.base_url):
        assert KEY not in shown and "word" not in shown


def test_the_stage_goes_to_the_embedded_server_only() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return completion()

    staged = ChatRequest("m", (Message("user", "x"),), stage=Stage("answer", {"question": "why?"}))
    answering(answer, send_stage=True).complete(staged)
    answering(answer).complete(staged)
    assert bodies[0]["fileintel_stage"] == {"name": "answer", "inputs": {"question": "why?"}}
    assert "fileintel_stage" not in bodies[1]


def test_half_a_surrogate_pair_in_a_prompt_is_no_error(server: ScriptedServer) -> None:
    client = OpenAIClient(server.base_url, KEY)
    assert client.complete(ChatRequest("scripted", (Message("user", "a\ud800b"),))).content == "You wrote 3 characters."


def test_a_list_of_parts_is_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert answering(completion(parts)).complete(HELLO).content == "ab"


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, content=b'{"choices": [{"mess'),
        httpx.Response(200, json={"choices": []}),
        httpx.Response(200, json=["choices"]),
        completion(None),
        completion(None, finish_reason="length"),
        httpx.Response(200, json={"choices": [{"message": {"content": None, "refusal": "No."}}]}),
    ],
)
def test_an_answer_without_text_is_named(response: httpx.Response) -> None:
    with pytest.raises(ModelAnswerError, match=r"http://models.example/v1 \(model scripted\)") as caught:
        answering(response).complete(HELLO)
    assert caught.value.raw


# --- errors ---


@pytest.mark.parametrize(
    ("status", "headers", "error", "overloaded", "retry_after"),
    [
        (500, {}, ModelServerError, False, None),
        (502, {}, ModelServerError, False, None),
        (503, {"Retry-After": "7"}, ModelServerError, True, 7.0),
        (529, {}, ModelServerError, True, None),
        (429, {"Retry-After": "1.5"}, ModelServerError, True, 1.5),
        (429, {"Retry-After-Ms": "250"}, ModelServerError, True, 0.25),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, ModelServerError, True, 0.0),
        (429, {"Retry-After": "soon"}, ModelServerError, True, None),
        (408, {}, ModelServerError, True, None),
        (409, {}, ModelServerError, False, None),
        (400, {}, ModelRequestError, None, None),
        (404, {}, ModelRequestError, None, None),
        (307, {"Location": "http://user:pw@other.example/v1"}, ModelRequestError, None, None),
    ],
)
def test_statuses_become_errors_that_say_whether_to_try_again(
    status: int, headers: dict[str, str], error: type[Exception], overloaded: bool | None, retry_after: float | None
) -> None:
    body = {"error": {"message": f"because\nof {KEY}"}}
    with pytest.raises(error) as caught:
        answering(httpx.Response(status, headers=headers, json=body)).complete(HELLO)
    text = str(caught.value)
    assert "http://models.example/v1 (model scripted)" in text
    assert "because of ***" in text or "http://other.example/v1" in text
    assert KEY not in text and "word" not in text and "pw" not in text
    if isinstance(caught.value, ModelServerError):
        assert (caught.value.overloaded, caught.value.retry_after) == (overloaded, retry_after)


def test_an_empty_account_is_not_worth_another_try() -> None:
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    with pytest.raises(ModelRequestError, match="quota"):
        answering(httpx.Response(429, json=body)).complete(HELLO)


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b'{"detail": "bad"}', b'{"error": "bad"}', b"[]"])
def test_errors_of_any_shape_are_told(body: bytes) -> None:
    with pytest.raises(ModelServerError, match="HTTP 502: .+"):
        answering(httpx.Response(502, content=body)).complete(HELLO)


def test_a_wrong_key_and_an_unknown_model_are_told(server: ScriptedServer) -> None:
    with pytest.raises(ModelRequestError, match="401: Incorrect API key"):
        OpenAIClient(server.base_url, "wrong").complete(HELLO)
    with pytest.raises(ModelRequestError, match="`none` does not exist"):
        OpenAIClient(server.base_url, KEY).complete(ChatRequest("none", HELLO.messages))


def test_connections_that_fail_are_the_servers_errors(server: ScriptedServer) -> None:
    with pytest.raises(ModelServerError, match="cannot be reached.*refused") as refused:
        OpenAIClient("http://127.0.0.1:1/v1").complete(HELLO)
    assert not refused.value.overloaded
    server.configure(drop_rate=1.0)
    with pytest.raises(ModelServerError, match="broke the connection"):
        OpenAIClient(server.base_url, KEY).complete(HELLO)
    server.configure(drop_rate=0.0, hang_rate=1.0)
    with pytest.raises(ModelServerError, match=r"no answer within 0\.5 s") as timeout:
        OpenAIClient(server.base_url, KEY, timeout=0.5).complete(HELLO)
    assert timeout.value.overloaded


def test_it_asks_once_and_never_again(server: ScriptedServer) -> None:
    server.configure(error_rate=1.0)
    with pytest.raises(ModelServerError):
        OpenAIClient(server.base_url, KEY).complete(HELLO)
    assert server.stats()["count"] == 1


@pytest.mark.parametrize("address", ["", "models.example/v1", "ftp://models.example", "http://host:port/v1", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError):
        OpenAIClient(address)


def test_a_key_that_no_header_can_carry_is_refused_unseen() -> None:
    with pytest.raises(ConfigurationError) as caught:
        OpenAIClient("http://models.example/v1", "sk-one\nsk-two")
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 404, 405])
def test_a_server_that_answers_is_there_whatever_it_says_of_its_models(status: int) -> None:
    answering(httpx.Response(status, text="no list")).check()


@pytest.mark.parametrize(
    ("status", "error"), [(500, ModelServerError), (401, ModelRequestError), (403, ModelRequestError)]
)
def test_a_server_that_fails_or_refuses_the_key_is_named(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="the model server http://models.example/v1"):
        answering(httpx.Response(status)).check()


def test_a_look_at_a_server_does_not_wait_as_long_as_for_an_answer(server: ScriptedServer) -> None:
    seen: list[dict[str, float]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        if len(seen) == 1:
            raise httpx.ReadTimeout("timed out", request=request)
        return completion()

    client = answering(answer, timeout=300.0)
    with pytest.raises(ModelServerError, match="within 10 s"):
        client.check()
    client.complete(HELLO)
    assert [limits["read"] for limits in seen] == [10.0, 300.0]
    with pytest.raises(ModelServerError, match="cannot be reached: .*refused") as caught:
        OpenAIClient("http://127.0.0.1:9/v1").check()
    assert "HTTPConnection" not in str(caught.value)


# --- what servers do not take ---


def test_a_schema_is_sent_strict_and_closed(server: ScriptedServer) -> None:
    OpenAIClient(server.base_url, KEY).complete(ChatRequest("scripted", HELLO.messages, json_schema=SCHEMA))
    sent = server.stats("last")["kinds"]["other"]["last"]["response_format"]
    assert (sent["type"], sent["json_schema"]["name"], sent["json_schema"]["strict"]) == ("json_schema", "Point", True)
    schema = sent["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["x", "inner"], False)
    assert schema["properties"]["inner"]["additionalProperties"] is False
    assert "required" not in SCHEMA


def test_a_server_without_json_schema_is_asked_without_it_once_and_for_all(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.configure(refuse_json_schema=True)
    asked = ChatRequest("scripted", HELLO.messages, json_schema=SCHEMA)
    for _ in range(2):
        assert OpenAIClient(server.base_url, KEY).complete(asked).content
    sent = server.stats("last")["kinds"]["other"]
    assert sent["count"] == 2
    assert sent["last"]["response_format"] == {"type": "json_object"}
    assert [record.message for record in caplog.records if "JSON schema" in record.message] == [
        f"the model server {server.base_url} (model scripted): it takes no JSON schema; asking without it from now on"
    ]


def test_what_is_not_taken_is_left_out_step_by_step() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        bodies.append(body)
        for name, said in [
            ("response_format", "'response_format' is not supported"),
            ("max_tokens", "Unsupported parameter: use 'max_completion_tokens' instead"),
            ("temperature", "'temperature' does not support 0.0 with this model"),
        ]:
            if name in body:
                return httpx.Response(400, json={"error": {"message": said}})
        return completion("at last")

    request = ChatRequest("m", HELLO.messages, max_tokens=9, json_schema=SCHEMA)
    assert answering(answer).complete(request).content == "at last"
    assert len(bodies) == 5
    assert set(bodies[-1]) == {"model", "messages", "max_completion_tokens"}
    answering(answer).complete(request)
    assert len(bodies) == 6


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "response_format.type json_schema is not supported"),
        (400, "This model does not support response format `json_schema`"),
        (400, "Failed to initialize samplers: failed to parse grammar"),
        (422, "guided decoding is not enabled on this server"),
        (400, "Structured output is not available for this model"),
        (500, "failed to parse grammar"),
        (501, "json_mode: not implemented"),
    ],
)
def test_a_refused_schema_falls_to_json_object_and_then_to_plain_text(status: int, said: str) -> None:
    formats: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        formats.append((json.loads(request.content).get("response_format") or {}).get("type"))
        return completion() if formats[-1] is None else httpx.Response(status, json={"error": {"message": said}})

    request = ChatRequest("m", HELLO.messages, json_schema=SCHEMA)
    assert answering(answer).complete(request).content == "hi"
    assert formats == ["json_schema", "json_object", None]
    # Remembered for the server and this model, not for another one.
    answering(answer).complete(request)
    assert formats[3:] == [None]
    answering(answer).complete(ChatRequest("other", HELLO.messages, json_schema=SCHEMA))
    assert formats[4:] == ["json_schema", "json_object", None]


def test_a_server_that_takes_a_schema_but_no_json_object_is_sent_the_schema() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        kind = json.loads(request.content)["response_format"]["type"]
        said = {"error": "'response_format.type' must be 'json_schema' or 'text'"}
        return completion() if kind == "json_schema" else httpx.Response(400, json=said)

    assert answering(answer).complete(ChatRequest("m", HELLO.messages, json_schema=SCHEMA)).content == "hi"


def test_a_failure_of_the_server_that_is_about_no_format_stays_one() -> None:
    failing = httpx.Response(500, json={"error": "out of memory"})
    with pytest.raises(ModelServerError):
        answering(failing).complete(ChatRequest("m", HELLO.messages, json_schema=SCHEMA))
    with pytest.raises(ModelServerError):
        answering(httpx.Response(500, json={"error": "failed to parse grammar"})).complete(HELLO)
    assert not client_module._dialects


def test_a_call_in_flight_does_not_unlearn_what_others_learned() -> None:
    learned = Dialect(json_schema=False, json_object=False, tokens_field="max_completion_tokens")
    late = Dialect(json_schema=False, temperature=False)
    both = Dialect(json_schema=False, json_object=False, tokens_field="max_completion_tokens", temperature=False)
    assert late.without(learned) == learned.without(late) == both


def test_an_error_under_status_200_is_the_servers() -> None:
    said = httpx.Response(200, json={"error": {"message": f"upstream of {KEY} is down", "code": 502}})
    with pytest.raises(ModelServerError, match="failed: upstream of") as caught:
        answering(said).complete(HELLO)
    assert KEY not in str(caught.value)


# --- stream ---


def test_a_stream_comes_in_pieces(server: ScriptedServer) -> None:
    pieces = list(OpenAIClient(server.base_url, KEY).stream(HELLO))
    assert pieces == ["You", " wrote", " 5", " characters."]


def test_a_stream_cut_short_is_an_error_after_its_pieces(server: ScriptedServer) -> None:
    server.configure(drop_rate=1.0)
    stream = OpenAIClient(server.base_url, KEY).stream(HELLO)
    assert next(stream) == "You"
    with pytest.raises(ModelServerError):
        list(stream)


def test_a_stream_left_by_its_reader_is_closed(server: ScriptedServer) -> None:
    server.configure(piece_delay=60.0)  # it is in the middle of its stream when its reader leaves
    stream = OpenAIClient(server.base_url, KEY).stream(HELLO)
    assert next(stream) == "You"
    stream.close()  # type: ignore[attr-defined]
    while server.stats()["in_flight"]:
        pass
    assert server.stats()["abandoned"] == 1


def test_a_stream_refused_has_the_same_errors(server: ScriptedServer) -> None:
    server.configure(limit_rate=1.0, retry_after=3)
    with pytest.raises(ModelServerError) as caught:
        list(OpenAIClient(server.base_url, KEY).stream(HELLO))
    assert (caught.value.overloaded, caught.value.retry_after) == (True, 3.0)


def events(*data: str) -> httpx.Response:
    body = "".join(f"data: {line}\n\n" for line in data).encode()
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=body)


def delta(content: str | None, **more: Any) -> str:
    return json.dumps({"choices": [{"delta": {"content": content}} | more]}, ensure_ascii=False)


def test_a_stream_may_hold_line_separators_comments_and_usage() -> None:
    response = events(delta("a\u2028b"), delta(None, finish_reason="stop"), '{"choices": [], "usage": {}}', "[DONE]")
    response = httpx.Response(200, headers=response.headers, content=b": keep-alive\n\n" + response.content)
    assert list(answering(response).stream(HELLO)) == ["a\u2028b"]


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (events(delta("a")), ModelServerError),
        (events(delta("a"), '{"error": {"message": "out of memory"}}'), ModelServerError),
        (events("not json"), ModelAnswerError),
        (events("[1]"), ModelAnswerError),
        (completion(), ModelAnswerError),
    ],
)
def test_broken_streams_are_named(response: httpx.Response, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"models.example"):
        list(answering(response).stream(HELLO))


# --- models and embeddings ---


def test_the_servers_models_are_listed(server: ScriptedServer) -> None:
    assert OpenAIClient(server.base_url + "/", KEY).model_names() == ["scripted", "scripted-embedding"]
    with pytest.raises(ModelAnswerError, match="no list of models"):
        answering(httpx.Response(200, json={"data": [1]})).model_names()


def embedding(server: ScriptedServer, **options: Any) -> EmbeddingClient:
    return EmbeddingClient(server.base_url, KEY, **{"model": "scripted-embedding", "dimensions": 384} | options)


def test_texts_are_embedded_in_order_by_batches(server: ScriptedServer) -> None:
    texts = [f"text number {n}" for n in range(7)]
    vectors = embedding(server, batch=3).embed(texts)
    assert server.stats()["kinds"]["embedding"]["count"] == 3
    assert vectors == embedding(server).embed(texts)
    assert all(math.isclose(math.hypot(*vector), 1.0) for vector in vectors)
    assert embedding(server).embed([]) == []
    assert embedding(server).name == "scripted-embedding"
    assert KEY not in repr(embedding(server))


def test_vectors_are_put_in_order_and_made_unit_length() -> None:
    data = [{"index": 1, "embedding": [0, 5]}, {"index": 0, "embedding": [3, 4]}]
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": data}))
    client = EmbeddingClient("http://models.example/v1", model="m", dimensions=2, transport=transport)
    assert client.embed(["a", "b"]) == [[0.6, 0.8], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], ModelAnswerError),
        ([{"index": 0, "embedding": [1, 0]}, {"index": 1, "embedding": [1, 0]}], ModelAnswerError),
        ([{"index": 0, "embedding": [0, 0]}], ModelAnswerError),
        ([{"index": 0, "embedding": [None, 1]}], ModelAnswerError),
        ([{"index": 0, "embedding": [1, 0, 0]}], ConfigurationError),
    ],
)
def test_vectors_that_cannot_be_right_are_refused(data: list[Any], error: type[Exception]) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": data}))
    client = EmbeddingClient("http://models.example/v1", model="m", dimensions=2, transport=transport)
    with pytest.raises(error):
        client.embed(["a"])


def test_wrong_dimensions_name_the_setting(server: ScriptedServer) -> None:
    with pytest.raises(ConfigurationError, match="384 dimensions, FILEINTEL_EMBEDDING_DIMENSIONS says 100"):
        embedding(server, dimensions=100).embed(["a"])
