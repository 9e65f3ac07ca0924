"""Questions over a published graph, in every mode."""

from __future__ import annotations

import pytest
from deployment import Deployment
from llm_server import corpus

from fileintel.model import Collection


@pytest.fixture(scope="module")
def asked(deployment: Deployment) -> Collection:
    collection = deployment.collection("asked", corpus(6, 5, padding=9).texts)
    assert deployment.build(collection).state == "complete"
    return collection


@pytest.mark.parametrize("mode", ["basic", "local", "global", "auto"])
def test_answer_streams_and_cites(deployment: Deployment, asked: Collection, mode: str) -> None:
    heard, query = deployment.ask(asked, "Who knows whom?", mode)
    assert query.state == "complete", query.error
    assert "".join(data["text"] for kind, data in heard if kind == "delta") == query.answer.text
    assert heard[-1][0] == "answer"
    assert query.answer.citations
    for citation in query.answer.citations:
        assert citation.document_name.startswith("asked-") and citation.quote
    assert query.answer.index_version is not None


def test_graph_modes_need_a_graph(deployment: Deployment) -> None:
    collection = deployment.collection("ungraphed", ["Alice knows Bob. Bob knows Carol."])
    _, query = deployment.ask(collection, "Who knows whom?", "local")
    assert query.state == "failed" and query.error_code == "conflict"
    _, query = deployment.ask(collection, "Who knows whom?", "auto")
    assert query.state == "complete" and query.answer.mode == "basic"
