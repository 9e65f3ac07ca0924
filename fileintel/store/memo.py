"""What LLM and embedding calls were answered, under the hash of what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fileintel.model import ChatAnswer, Vector, content_hash
from fileintel.store.engine import as_json, as_vector, execute, rows, run, transaction
from fileintel.store.grouped import Grouped

Answers = Mapping[str, tuple[str, ChatAnswer]]

INSERT_ANSWERS = """
    INSERT INTO llm_memo (key, model, content, tokens_in, tokens_out, finish_reason)
    SELECT key, model, content, tokens_in, tokens_out, finish_reason
    FROM jsonb_to_recordset(CAST(:answers AS jsonb))
        AS a(key text, model text, content text, tokens_in int, tokens_out int, finish_reason text)
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class _Recall:
    key: str
    keeping: Answers


def recall(key: str, keeping: Answers | None = None) -> ChatAnswer | None:
    """The remembered answer to a chat request's key, or None; the answers `keeping` are remembered on the way."""
    return _recall(_Recall(key, keeping or {}))


def _recall_all(asked: list[_Recall]) -> list[ChatAnswer | None]:
    keeping = {key: answer for each in asked for key, answer in each.keeping.items()}
    sql = "SELECT key, content, tokens_in, tokens_out, finish_reason FROM llm_memo WHERE key = ANY(:keys)"
    keys = list({each.key for each in asked})
    if keeping:
        found = rows(f"WITH kept AS ({INSERT_ANSWERS}) {sql}", keys=keys, answers=answers_json(keeping))
    else:
        found = rows(sql, keys=keys)
    known = {
        hit["key"]: ChatAnswer(hit["content"], hit["tokens_in"], hit["tokens_out"], hit["finish_reason"], True)
        for hit in found
    }
    return [known.get(each.key) for each in asked]


_recall = Grouped(_recall_all)


def answers_json(answers: Answers) -> str:
    """The parameter of INSERT_ANSWERS: request key -> (model, answer)."""
    return as_json(
        [
            {
                "key": key,
                "model": model,
                "content": answer.content,
                "tokens_in": answer.tokens_in,
                "tokens_out": answer.tokens_out,
                "finish_reason": answer.finish_reason,
            }
            for key, (model, answer) in sorted(answers.items())
        ]
    )


def remember(answers: Answers) -> None:
    """Keep answers for good: request key -> (model, answer)."""
    with transaction() as connection:
        run(connection, INSERT_ANSWERS, answers=answers_json(answers))


def forget(keys: Sequence[str]) -> None:
    """Drop answers that turned out unusable, so that the next try asks again."""
    execute("DELETE FROM llm_memo WHERE key = ANY(:keys)", keys=list(keys))


def embedding_key(model: str, text: str) -> str:
    """The name under which a text's vector by a model is remembered."""
    return content_hash("embedding", model, text)


def known_embeddings(keys: Sequence[str]) -> set[str]:
    """Those of the keys under which a vector is remembered."""
    return {hit["key"] for hit in rows("SELECT key FROM embedding_memo WHERE key = ANY(:keys)", keys=list(keys))}


def recall_embeddings(model: str, texts: Sequence[str]) -> dict[str, list[float]]:
    """Vectors remembered for these texts, by text."""
    keys = {embedding_key(model, text): text for text in texts}
    found = rows(
        "SELECT key, CAST(embedding AS real[]) AS embedding FROM embedding_memo WHERE key = ANY(:keys)", keys=list(keys)
    )
    return {keys[hit["key"]]: list(hit["embedding"]) for hit in found}


def remember_embeddings(model: str, vectors: Mapping[str, Vector]) -> None:
    """Keep vectors for good, by text."""
    with transaction() as connection:
        run(
            connection,
            """INSERT INTO embedding_memo (key, embedding) SELECT key, CAST(embedding AS vector)
               FROM jsonb_to_recordset(CAST(:vectors AS jsonb)) AS v(key text, embedding text)
               ORDER BY key ON CONFLICT DO NOTHING""",
            vectors=as_json(
                [
                    {"key": embedding_key(model, text), "embedding": as_vector(vector)}
                    for text, vector in vectors.items()
                ]
            ),
        )
