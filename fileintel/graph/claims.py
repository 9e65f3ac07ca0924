"""extract_covariates: the claims that one text unit makes about its entities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fileintel.errors import ModelAnswerError
from fileintel.graph.graphrag_model import GraphRagAnswer, GraphRagModel, drive
from fileintel.graph.records import END, LONGEST_TITLE
from fileintel.model import Claim, content_hash
from fileintel.protocols import ChatModel

# Records lie between "##" and the end mark; where a model forgot the "##", a line that begins a record does.
_BORDER = re.compile(r"##|<\|COMPLETE\|>|(?m:^\s*```\w*\s*$)|(?m:^(?=[ \t]*\([^\n]*?<\|>))")
# Subject, object, type, status, start date, end date, description; the source text may be missing.
_FIELDS = 7


class _Kept(GraphRagModel):
    """Keeps the answers: GraphRAG's ClaimExtractor asks for claims it missed, and then reads its first answer alone."""

    def __init__(self, chat: ChatModel, name: str) -> None:
        super().__init__(chat, name, stage=None)
        self.heard: list[str] = []

    async def completion_async(self, **asked: Any) -> GraphRagAnswer:
        """Ask, and keep the answer."""
        answer = await super().completion_async(**asked)
        self.heard.append(answer.content)
        return answer


def extract_claims(
    text: str, *, unit: str, chat: ChatModel, model: str, entity_types: Sequence[str], max_gleanings: int
) -> list[Claim]:
    """Extract the claims of one text unit (`unit` is its id) with GraphRAG's ClaimExtractor, its gleanings included.

    Raises the chat model's errors, which GraphRAG itself would swallow, and ModelAnswerError when the first answer
    holds no end mark and no answer a claim.
    """
    from graphrag.config.defaults import graphrag_config_defaults
    from graphrag.index.operations.extract_covariates.claim_extractor import ClaimExtractor
    from graphrag.prompts.index.extract_claims import EXTRACT_CLAIMS_PROMPT

    kept = _Kept(chat, model)
    extractor = ClaimExtractor(
        model=kept,  # type: ignore[arg-type]
        extraction_prompt=EXTRACT_CLAIMS_PROMPT,
        max_gleanings=max_gleanings,
    )
    wanted = graphrag_config_defaults.extract_claims.description
    # Calling the extractor itself would log and swallow errors.
    drive(extractor._process_document(text, wanted, list(entity_types)))  # type: ignore[arg-type]
    # After the first answer, gleanings alternate with the question whether there is more.
    claims = read_claims([kept.heard[0], *kept.heard[1::2]], unit)
    if not claims and END not in kept.heard[0]:
        raise ModelAnswerError(
            "the model's answer to extract_covariates holds no claim and no end mark", raw="\n".join(kept.heard)
        )
    return claims


def read_claims(answers: Iterable[str], unit: str) -> list[Claim]:
    """Read GraphRAG's tuple records of claims, each once, numbered from 0.

    Subjects and objects are in capitals as the titles of entities are. Records of fewer fields than a description
    needs, or without a subject, are no claims; GraphRAG keeps those too, with empty fields, and the empty record that
    an answer without claims leaves.
    """
    from graphrag.index.utils.string import clean_str

    found: dict[str, Claim] = {}
    for record in (record for answer in answers for record in _BORDER.split(answer)):
        fields = [clean_str(field).strip() for field in record.strip().removeprefix("(").removesuffix(")").split("<|>")]
        if len(fields) < _FIELDS:
            continue
        subject, object_, kind, status = (field.strip("* ").upper() for field in fields[:4])
        start, end = (field.strip("* ") for field in fields[4:6])
        description, source = fields[6], " ".join(fields[7:])
        if not 0 < len(subject) <= LONGEST_TITLE or not description:
            continue
        said = (unit, subject, object_[:LONGEST_TITLE], kind, status, start, end, description, source)
        key = content_hash("claim", *said)[:32]
        found.setdefault(key, Claim(key, len(found), *said))
    return list(found.values())


def claims_json(claims: Sequence[Claim]) -> dict[str, Any]:
    """Claims of one text unit as they are stored until the run publishes: rows instead of repeated keys."""
    return {
        "claims": [
            [c.subject, c.object, c.type, c.status, c.start_date, c.end_date, c.description, c.source_text]
            for c in claims
        ]
    }


def claims_of(unit: str, stored: Mapping[str, Any]) -> list[Claim]:
    """The claims of a text unit that `claims_json` stored."""
    return [
        Claim(content_hash("claim", unit, *row)[:32], number, unit, *row) for number, row in enumerate(stored["claims"])
    ]
