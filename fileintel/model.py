"""The nouns of FileIntel as frozen dataclasses; no I/O, nothing of ours imported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

DocumentState = Literal["queued", "processing", "ready", "failed"]
RunState = Literal["running", "complete", "failed", "cancelled"]
ItemState = Literal["pending", "leased", "done", "failed"]
JobState = Literal["queued", "working", "complete", "failed"]
JobKind = Literal["estimate", "export"]
QueryState = Literal["queued", "answering", "complete", "failed"]
Scope = Literal["read", "write", "admin"]
QueryMode = Literal["basic", "local", "global", "drift", "graph", "auto"]
# GraphRAG's two ways to a graph: an LLM reads every text unit, or noun phrases are found without one.
IndexMethod = Literal["standard", "fast"]


def content_hash(*parts: object) -> str:
    """SHA-256 (hex) over the parts' canonical JSON: the one way FileIntel derives an id from content."""
    encoded = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(encoded.encode("utf-8", "surrogatepass")).hexdigest()


# --- documents -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """A run of a document's text that lies on one page and under one heading.

    `page` counts from 1 (PDF page, PPTX slide; None where the format has no pages); `heading` is the path of
    headings above the text joined by " > " (XLSX: the sheet's name; EPUB: the chapter), or None.
    """

    text: str
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser made of a file's bytes."""

    media_type: str
    title: str | None
    sections: tuple[Section, ...]
    page_count: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Anchor:
    """From character `offset` of a text unit on, the text stands on `page` under `heading`."""

    offset: int
    page: int | None
    heading: str | None


@dataclass(frozen=True, slots=True)
class TextUnit:
    """A stretch of a document's text that is embedded, extracted and cited as one."""

    text: str
    n_tokens: int
    ordinal: int
    anchors: tuple[Anchor, ...]

    @property
    def id(self) -> str:
        """Derived from the text alone, so equal text is embedded and extracted once."""
        return content_hash("text_unit", self.text)


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents; `published_version` is the index version questions are answered from."""

    id: str
    name: str
    description: str
    created_at: datetime
    published_version: int | None
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A file in a collection; `error_code` and `error` say why it could not be read."""

    id: str
    collection_id: str
    name: str
    sha256: str
    size: int
    media_type: str | None
    title: str | None
    state: DocumentState
    pages: int | None
    text_units: int
    error_code: str | None
    error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the API; `collections` limits it to those collection ids, None means all."""

    id: str
    name: str
    scopes: tuple[str, ...]
    collections: tuple[str, ...] | None
    created_at: datetime
    revoked_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key reaches `scope`; admin includes write, write includes read."""
        order = ("read", "write", "admin")
        return any(order.index(held) >= order.index(scope) for held in self.scopes)


# --- chat and embedding models ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


# The version of what the embedded extractive model makes of a stage's inputs. An LLM's name tells its version; the
# extractive model's does not: raise this with every change of its answers, or remembered ones are taken for its own.
STAGES_VERSION = 2


@dataclass(frozen=True, slots=True)
class Stage:
    """What a chat call is for, beside its messages: the embedded extractive model works from this, an LLM
    server never sees it.

    `name` is one of extract_graph, summarize_descriptions, community_report, answer, rate_report, global_map,
    global_reduce, drift_primer, drift_local; `inputs` is the JSON-serialisable input of that stage.
    """

    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion as asked; its `key` is the name under which the answer is remembered."""

    model: str
    messages: tuple[Message, ...]
    temperature: float = 0.0
    max_tokens: int | None = None
    json_schema: Mapping[str, Any] | None = None
    stage: Stage | None = None

    @property
    def key(self) -> str:
        """SHA-256 over model, parameters and messages (and the stage, since the embedded model works from it)."""
        return content_hash(
            "chat",
            self.model,
            self.temperature,
            self.max_tokens,
            self.json_schema,
            [(m.role, m.content) for m in self.messages],
            None if self.stage is None else [STAGES_VERSION, self.stage.name, dict(self.stage.inputs)],
        )


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A chat completion as answered; `remembered` when no call was made for it."""

    content: str
    tokens_in: int = 0
    tokens_out: int = 0
    finish_reason: str = "stop"
    remembered: bool = False


# --- the graph -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntityMention:
    """An entity as one text unit describes it."""

    title: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class RelationshipMention:
    """A relationship as one text unit describes it."""

    source: str
    target: str
    description: str
    weight: float


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one text unit says: GraphRAG's extract_graph of one unit.

    `unreadable` counts the fragments of the model's answers that were meant as records and could not be read.
    """

    entities: tuple[EntityMention, ...]
    relationships: tuple[RelationshipMention, ...]
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Entity:
    """A node of the graph; `human_readable_id` numbers the entities of one index version from 0.

    `descriptions` are the different things text units say of it, `description` the one made of them.
    """

    id: str
    human_readable_id: int
    title: str
    type: str
    description: str
    text_unit_ids: tuple[str, ...]
    frequency: int
    degree: int = 0
    descriptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relationship:
    """An edge of the graph; `combined_degree` is the sum of both ends' degrees."""

    id: str
    human_readable_id: int
    source: str
    target: str
    description: str
    weight: float
    combined_degree: int
    text_unit_ids: tuple[str, ...]
    descriptions: tuple[str, ...] = ()


class Edge(NamedTuple):
    """A relationship as clustering sees it: its ends' titles and its weight."""

    id: str
    source: str
    target: str
    weight: float


def entity_id(title: str) -> str:
    """The id of the entity of that title, in every index version."""
    return content_hash("entity", title)[:32]


@dataclass(frozen=True, slots=True)
class Community:
    """A cluster of entities at one level of the Leiden hierarchy; level 0 is the coarsest."""

    id: str
    number: int
    level: int
    parent: int
    children: tuple[int, ...]
    entity_ids: tuple[str, ...]
    relationship_ids: tuple[str, ...]
    text_unit_ids: tuple[str, ...]
    title: str = ""

    @property
    def size(self) -> int:
        """How many entities the community holds."""
        return len(self.entity_ids)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a community report."""

    summary: str
    explanation: str


@dataclass(frozen=True, slots=True)
class CommunityReport:
    """What a community is about; `rank` is the report's rating from 0 to 10.

    `unreadable` counts the findings of the model's answer that could not be read.
    """

    id: str
    community: int
    level: int
    title: str
    summary: str
    full_content: str
    rank: float
    rank_explanation: str
    findings: tuple[Finding, ...]
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a text unit says that a subject did: GraphRAG's covariate of type claim.

    `object` may be NONE; `status` is TRUE, FALSE or SUSPECTED; dates are ISO 8601, or NONE; `source_text` quotes the
    text unit. All of it is as the LLM wrote it.
    """

    id: str
    human_readable_id: int
    text_unit_id: str
    subject: str
    object: str
    type: str
    status: str
    start_date: str
    end_date: str
    description: str
    source_text: str


# --- questions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A text unit as a prompt shows it: `number` is what the answer's marks `[n]` refer to."""

    number: int
    text_unit_id: str
    document_id: str
    document_name: str
    text: str
    anchors: tuple[Anchor, ...] = ()
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark of an answer resolved to a document, a place in it and the words there."""

    number: int
    document_id: str
    document_name: str
    text_unit_id: str
    page: int | None
    heading: str | None
    quote: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its checked citations; `refused` when the sources do not hold the answer."""

    text: str
    mode: str
    citations: tuple[Citation, ...]
    refused: bool
    marks_removed: int
    chat_model: str
    embedding_model: str
    index_version: int | None
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """A question put to a collection and what came of it.

    `community_level` is the finest level whose reports are read (None: the mode's own), `response_type` the form and
    length asked for, `dynamic_selection` whether the reports of a global question are chosen by the LLM.
    """

    id: str
    collection_id: str
    question: str
    mode: QueryMode
    state: QueryState
    answer: Answer | None
    error_code: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    community_level: int | None = None
    response_type: str | None = None
    dynamic_selection: bool = False


# --- work ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One piece of a step that a worker has claimed."""

    run_id: int
    step: str
    key: str
    attempts: int
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far one step of a run has come."""

    step: str
    pending: int
    leased: int
    done: int
    failed: int

    @property
    def total(self) -> int:
        """All items of the step."""
        return self.pending + self.leased + self.done + self.failed


@dataclass(frozen=True, slots=True)
class IndexRun:
    """One building of a collection's index; its id is the index version it writes.

    `claims` says whether claims are extracted.
    """

    id: int
    collection_id: str
    state: RunState
    step: str
    created_at: datetime
    finished_at: datetime | None
    error: str | None
    chat_model: str
    embedding_model: str
    calls: int
    calls_remembered: int
    tokens_in: int
    tokens_out: int
    method: IndexMethod = "standard"
    claims: bool = False
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Something a main worker works out on request: an estimate, or an export's file."""

    id: str
    collection_id: str
    kind: JobKind
    parameters: Mapping[str, Any]
    state: JobState
    result: Mapping[str, Any] | None
    error_code: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class IndexVersion:
    """What one complete index run made; `published` when questions are answered from it."""

    version: int
    created_at: datetime
    finished_at: datetime | None
    chat_model: str
    embedding_model: str
    published: bool
    entities: int
    relationships: int
    communities: int
    reports: int
    method: IndexMethod = "standard"
    claims: int = 0


Vector = Sequence[float]
