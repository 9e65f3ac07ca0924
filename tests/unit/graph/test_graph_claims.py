"""Claims: GraphRAG's prompts and records, read without losing any."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from llm_script import answer, kind_of

from fileintel.errors import ModelAnswerError, ModelServerError
from fileintel.graph.claims import claims_json, claims_of, extract_claims, read_claims
from fileintel.model import ChatRequest

TYPES = ["organization", "person"]
RECORD = "(ALICE<|>BOB<|>FRAUD<|>SUSPECTED<|>2021-01-01<|>NONE<|>Alice is said to owe Bob.<|>Alice owes Bob.)"
OTHER = "(CAROL<|>NONE<|>THEFT<|>TRUE<|>NONE<|>NONE<|>Carol took it.<|>Carol took the cup.)"
TEXT = "Harbour Bank paid Alice. Bob denied it {once}."


def extract(chat: Any, max_gleanings: int = 1) -> list[Any]:
    return extract_claims(TEXT, unit="u1", chat=chat, model="m", entity_types=TYPES, max_gleanings=max_gleanings)


def by_script(request: ChatRequest) -> str:
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    return answer(kind_of(messages), messages)


def test_prompts_and_claims_equal_stock(chat):
    from graphrag.callbacks.noop_workflow_callbacks import NoopWorkflowCallbacks
    from graphrag.config.defaults import graphrag_config_defaults
    from graphrag.config.enums import AsyncType
    from graphrag.index.operations.extract_covariates.extract_covariates import extract_covariates as stock
    from graphrag.prompts.index.extract_claims import EXTRACT_CLAIMS_PROMPT

    asked: list[Any] = []

    class Model:
        async def completion_async(self, *, messages: Any) -> Any:
            asked.append([(m["role"], m["content"]) for m in messages])
            return SimpleNamespace(content=answer(kind_of(messages), messages))

    rows = asyncio.run(
        stock(
            pd.DataFrame([{"id": "u1", "text": TEXT}]),
            NoopWorkflowCallbacks(),
            Model(),  # type: ignore[arg-type]
            column="text",
            covariate_type="claim",
            max_gleanings=1,
            claim_description=graphrag_config_defaults.extract_claims.description,
            prompt=EXTRACT_CLAIMS_PROMPT,
            entity_types=TYPES,
            num_threads=1,
            async_type=AsyncType.AsyncIO,
        )
    )
    mine = chat(rule=by_script)
    claims = extract(mine)
    assert [[(m.role, m.content) for m in request.messages] for request in mine.requests] == asked
    assert len(asked) == 2
    assert [
        (c.subject, c.object, c.type, c.status, c.start_date, c.end_date, c.description, c.source_text) for c in claims
    ] == [
        (r.subject_id, r.object_id, r.type, r.status, r.start_date, r.end_date, r.description, r.source_text)
        for r in rows.itertuples()
    ]
    assert claims[0].subject == "HARBOUR BANK" and len(claims) == 2


def test_gleaned_claims_are_kept_where_stock_drops_them(chat):
    assert [c.subject for c in extract(chat(f"{RECORD}\n<|COMPLETE|>", f"{OTHER}\n<|COMPLETE|>"))] == ["ALICE", "CAROL"]
    more = chat(f"{RECORD}<|COMPLETE|>", f"{OTHER}<|COMPLETE|>", "Y", OTHER.replace("CAROL", "DAN"))
    assert [c.subject for c in extract(more, 2)] == ["ALICE", "CAROL", "DAN"]


@pytest.mark.parametrize(
    "said",
    [
        f"{RECORD}\n##\n{OTHER}\n<|COMPLETE|>",
        f"{RECORD}##{OTHER}",
        f"```\n{RECORD}\n{OTHER}\n```\n<|COMPLETE|>",
        f"Here they are:\n{RECORD}\n  {OTHER}<|COMPLETE|>",
        f"{RECORD}\n##\n{RECORD}\n##\n{OTHER}##\n(<|>B<|>T<|>TRUE<|>NONE<|>NONE<|>No subject.<|>x)\n<|COMPLETE|>",
        f"{RECORD}\n##\n(TOO<|>FEW<|>FIELDS)\n##\n{OTHER}\n<|COMPLETE|>",
    ],
)
def test_records_are_read_whatever_stands_around_them(said):
    claims = read_claims([said], "u1")
    assert [(c.subject, c.object, c.type) for c in claims] == [("ALICE", "BOB", "FRAUD"), ("CAROL", "NONE", "THEFT")]
    assert claims[0].source_text == "Alice owes Bob." and claims[0].human_readable_id == 0


def test_marks_of_emphasis_and_small_letters_are_no_part_of_a_name():
    (claim,) = read_claims(["(Alice &amp; Co<|>**none**<|>fraud<|>**True**<|>**NONE**<|>NONE<|>It <|>is)"], "u")
    assert (claim.subject, claim.object, claim.status, claim.start_date) == ("ALICE & CO", "NONE", "TRUE", "NONE")


def test_no_claims_is_an_answer_and_nonsense_is_none(chat):
    assert extract(chat("<|COMPLETE|>"), 0) == []
    with pytest.raises(ModelAnswerError) as raised:
        extract(chat("I would rather not."), 0)
    assert raised.value.raw == "I would rather not."


def test_errors_of_the_model_are_raised(chat):
    with pytest.raises(ModelServerError):
        extract(chat(ModelServerError("away")))


def test_stored_claims_are_the_same():
    claims = read_claims([f"{RECORD}##{OTHER}"], "u1")
    assert claims_of("u1", claims_json(claims)) == claims
    assert claims_of("u2", claims_json(claims))[0].id != claims[0].id


def test_stock_shows_no_claim_in_a_report_s_context():
    """What `report_contexts` may leave out: stock's context asks for lists of claims and is given single ones."""
    from graphrag.callbacks.noop_workflow_callbacks import NoopWorkflowCallbacks
    from graphrag.index.operations.summarize_communities.graph_context.context_builder import build_local_context
    from graphrag.index.workflows.create_community_reports import _prep_claims, _prep_edges, _prep_nodes

    nodes = pd.DataFrame(
        [
            {"human_readable_id": i, "title": t, "description": "d", "degree": 1, "community": 0, "level": 0}
            for i, t in enumerate(["ALICE", "BOB"])
        ]
    )
    edge = {"human_readable_id": 0, "source": "ALICE", "target": "BOB", "description": "r", "combined_degree": 2}
    claims = [
        {"human_readable_id": i, "subject_id": "ALICE", "type": "FRAUD", "status": "TRUE", "description": f"claim {i}"}
        for i in range(2)
    ]
    tokenizer: Any = SimpleNamespace(num_tokens=len)
    contexts = [
        build_local_context(
            _prep_nodes(nodes.copy()),
            _prep_edges(pd.DataFrame([edge])),
            given,
            tokenizer,
            NoopWorkflowCallbacks(),
        )["context_string"].tolist()
        for given in (None, _prep_claims(pd.DataFrame(claims)))
    ]
    assert contexts[0] == contexts[1] and "claim 0" not in contexts[1][0]
