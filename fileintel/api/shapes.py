"""What the API takes and gives beside the nouns of `model`; the examples the OpenAPI document shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fileintel.model import ApiKey, Claim, Document, IndexMethod, IndexRun, Query, QueryMode, Scope, StepProgress
from fileintel.store.completeness import Check
from fileintel.store.model_servers import FailingModelServer

MAX_QUESTION = 8_000
MAX_RESPONSE_TYPE = 200
Item = TypeVar("Item")


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("holds a NUL character")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]


def _one_printable_line(value: str) -> str:
    line = " ".join(value.split())
    if not line or not line.isprintable():
        raise ValueError("must be one line of printable characters")
    return line


# It becomes a line of the prompt's rules.
ResponseType = Annotated[str, AfterValidator(_one_printable_line)]


class Body(BaseModel):
    """A request body: unknown members are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class NewCollection(Body):
    """A collection to be made."""

    name: Text = Field(min_length=1, max_length=200, examples=["minutes"])
    description: Text = Field("", max_length=4_000, examples=["Minutes of the harbour board, 2019 to 2024"])


class NewQuery(Body):
    """A question to a collection; `auto` chooses among basic, local and global by the question, `graph` between local
    and global."""

    question: Text = Field(max_length=MAX_QUESTION, examples=["Who signed the contract with Nordhafen?"])
    mode: QueryMode = Field("auto", examples=["auto"])
    community_level: int | None = Field(
        None,
        ge=0,
        le=100,
        description="the finest level of communities whose reports are read, 0 is the coarsest; not for basic",
        examples=[2],
    )
    response_type: ResponseType | None = Field(
        None,
        max_length=MAX_RESPONSE_TYPE,
        description="form and length of the answer in a few words",
        examples=["List of 3-7 points"],
    )
    dynamic_selection: bool = Field(
        False,
        description="for global: let the LLM choose the reports, from the coarsest level down",
        examples=[False],
    )


class NewKey(Body):
    """An API key to be made; without `collections` (names or ids) it reaches all of them."""

    name: Text = Field(min_length=1, max_length=200, examples=["intranet search"])
    scopes: tuple[Scope, ...] = Field(("read",), min_length=1, examples=[["read"]])
    collections: tuple[Text, ...] | None = Field(None, examples=[["minutes"]])


class CreatedKey(BaseModel):
    """A key and its secret, which is told this once and kept nowhere."""

    key: ApiKey
    secret: str = Field(examples=["fi_4vGm…"])


class Page(BaseModel, Generic[Item]):
    """Some of a list's items; `next_offset` asks for the following ones and is null at the end."""

    items: list[Item]
    next_offset: int | None = Field(None, examples=[None])


def page(found: Sequence[Item], limit: int, offset: int) -> Page[Item]:
    """Return a page from up to `limit` + 1 items found from `offset` on."""
    return Page(items=list(found[:limit]), next_offset=offset + limit if len(found) > limit else None)


class UploadedPart(BaseModel):
    """What became of one file of a form: a document, or the problem for which it was refused."""

    name: str = Field(examples=["minutes-2021.pdf"])
    created: bool = Field(description="false when the collection had these bytes already, or when it was refused")
    document: Document | None = None
    problem: dict[str, Any] | None = None


class UploadedForm(BaseModel):
    """What became of the files of a form, in their order."""

    documents: list[UploadedPart]
    refused: int = Field(description="how many of them were refused", examples=[0])


class Failure(BaseModel):
    """A work item that failed for good, and why."""

    step: str = Field(examples=["extract_graph"])
    key: str
    attempts: int
    error: str | None


BudgetCalls = Annotated[int | None, Field(ge=0, lt=2**53, description="LLM calls at which it stops; 0: none")]
BudgetCost = Annotated[float | None, Field(ge=0, lt=1e15, description="cost at which it stops; 0: none")]


class NewIndexRun(Body):
    """How an index is to be built; everything may be left out.

    `method` and `claims` are then as in the collection's last run, at first standard without claims. `confirmed`: its
    estimate was seen, build even above the thresholds that ask first. `recluster`: cluster from scratch instead of
    keeping the communities that nothing changed in.
    """

    method: Annotated[
        IndexMethod | None,
        Field(description="fast finds noun phrases where standard has the LLM read every unit", examples=["fast"]),
    ] = None
    claims: Annotated[bool | None, Field(description="whether the LLM extracts claims as well", examples=[False])] = (
        None
    )
    confirmed: bool = False
    recluster: bool = False
    budget_calls: BudgetCalls = None
    budget_cost: BudgetCost = None


class NewEstimate(Body):
    """Which build is to be estimated; what is left out is as in the collection's last run."""

    method: IndexMethod | None = None
    claims: bool | None = None
    recluster: bool = False


class NewBudget(Body):
    """What a run may spend in all; left out, its budget stays as it is."""

    budget_calls: BudgetCalls = None
    budget_cost: BudgetCost = None


class NewExport(Body):
    """An export to be written."""

    format: Literal["parquet", "graphml", "markdown"] = Field("parquet", examples=["parquet"])


class CheckedItem(Failure):
    """A work item that failed for good; `raw_answer` is what the model had answered, when asked for."""

    raw_answer: str | None = None


class Completeness(BaseModel):
    """Whether the published index is whole, and what is missing of it."""

    complete: bool = Field(description="nothing is missing, nothing refers to what is gone, nothing failed")
    version: int | None = Field(description="the version checked; null when none is published")
    checks: list[Check] = Field(description="each thing that should be so of all, and of how many it is not")
    run: int | None = Field(description="the newest run, whose failed items these are")
    failures: list[CheckedItem]


class IndexProgress(BaseModel):
    """An index run and how far it has come."""

    run: IndexRun
    steps: list[StepProgress]
    calls_in_flight: int = Field(description="calls all workers wait for at this moment", examples=[150])
    eta_seconds: float | None = Field(
        description="until the items known so far are done, at the last minute's pace; null while unknown"
    )
    failures: list[Failure] = Field(description="the first of the items that failed, with their last errors")
    retrying: list[Failure] = Field([], description="items that are tried again, with the error of their last try")
    unreadable: int = Field(
        description="fragments of the model's answers that were meant as records and could not be read", examples=[0]
    )
    failing_model_servers: list[FailingModelServer] = Field(
        description="the model servers that fail the workers while the run is under way"
    )


class LocatedClaim(BaseModel):
    """A claim and the place in a document where it is made; `page` and `heading` are null where there is none."""

    claim: Claim
    document_id: str
    document_name: str = Field(examples=["minutes-2021.pdf"])
    page: int | None = Field(examples=[12])
    heading: str | None = Field(examples=["Item 4 > Contracts"])


class Graph(BaseModel):
    """The published index of a collection: its version and how much it holds."""

    version: int | None = Field(description="the index version questions are answered from; null before the first")
    counts: dict[str, int] = Field(examples=[{"entities": 212, "relationships": 431, "communities": 24, "reports": 24}])
    changed_since: bool = Field(False, description="documents came, went or were read since that version was built")
    documents_failed: int = Field(0, description="documents that could not be read, and so are in no version")


class WorkInProgress(BaseModel):
    """What is being done now in the collections the key reaches."""

    index_runs: list[IndexRun]
    documents: list[Document]
    queries: list[Query]


class Status(BaseModel):
    """How the service fares."""

    version: str = Field(examples=["0.1.0"])
    calls_in_flight: int = Field(description="calls all workers wait for at this moment", examples=[150])
    failing_model_servers: list[FailingModelServer] = Field(description="the model servers that fail the workers")


class Alive(BaseModel):
    """The process serves requests."""

    status: str = Field(examples=["alive"])
    version: str = Field(examples=["0.1.0"])


class Part(BaseModel):
    """One thing the service needs."""

    ok: bool
    detail: str = Field(examples=["ok"])


class Ready(BaseModel):
    """Whether the service can do its work, and each part of it."""

    status: str = Field(examples=["ready"])
    parts: dict[str, Part]


_AT = "2026-03-02T09:30:00Z"
_COLLECTION_ID = "0b0f6a52-9c1e-4f0e-9a55-6e2d4b7a7f10"
COLLECTION = {
    "id": _COLLECTION_ID,
    "name": "minutes",
    "description": "Minutes of the harbour board, 2019 to 2024",
    "created_at": _AT,
    "published_version": 7,
    "documents": 12,
}
DOCUMENT = {
    "id": "5f6c1c9e-0c62-4d0b-8f9d-1f0c3f0e9a11",
    "collection_id": _COLLECTION_ID,
    "name": "minutes-2021.pdf",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size": 482133,
    "media_type": "application/pdf",
    "title": "Minutes 2021",
    "state": "ready",
    "pages": 34,
    "text_units": 61,
    "error_code": None,
    "error": None,
    "created_at": _AT,
}
RUN = {
    "id": 7,
    "collection_id": _COLLECTION_ID,
    "state": "running",
    "step": "extract_graph",
    "created_at": _AT,
    "finished_at": None,
    "error": None,
    "chat_model": "qwen3-32b",
    "embedding_model": "all-MiniLM-L6-v2-int8",
    "calls": 310,
    "calls_remembered": 42,
    "tokens_in": 410332,
    "tokens_out": 96110,
    "method": "standard",
    "claims": False,
    "error_code": None,
}
STEP = {"step": "extract_graph", "pending": 90, "leased": 150, "done": 352, "failed": 0}
PROGRESS = {
    "run": RUN,
    "steps": [STEP],
    "calls_in_flight": 150,
    "eta_seconds": 31.5,
    "failures": [],
    "retrying": [],
    "unreadable": 0,
    "failing_model_servers": [],
}
ESTIMATE = {
    "steps": [
        {
            "step": "extract_graph",
            "calls": 352,
            "remembered": 42,
            "to_make": 310,
            "tokens_in": 744_000,
            "tokens_out": 155_000,
            "exact": True,
            "basis": "the prompts of the documents as they are",
        }
    ],
    "calls": 352,
    "remembered": 42,
    "to_make": 310,
    "tokens_in": 744_000,
    "tokens_out": 155_000,
    "cost": 1.36,
    "seconds": 41.0,
    "rate": {"calls_per_second": 7.5, "basis": "measured in the last 2 completed builds"},
    "chat_model": "qwen3-32b",
    "documents_unread": 0,
}
JOB = {
    "id": "5b1f6a0e-3f52-4c0a-8f0c-0d7f3d1d2c11",
    "collection_id": _COLLECTION_ID,
    "kind": "estimate",
    "parameters": {},
    "state": "complete",
    "result": ESTIMATE,
    "error_code": None,
    "error": None,
    "created_at": _AT,
    "finished_at": "2026-03-02T09:30:02Z",
}
EXPORT = {
    **JOB,
    "kind": "export",
    "parameters": {"format": "graphml", "version": 7},
    "result": {"format": "graphml", "version": 7, "files": ["graph.graphml"], "bytes": 48213},
}
STATUS = {
    "version": "0.1.0",
    "calls_in_flight": 3,
    "failing_model_servers": [
        {
            "error": "the model server http://10.0.0.7:8000/v1 cannot be reached: [Errno 111] Connection refused",
            "since": _AT,
        }
    ],
}
QUERY = {
    "id": "c56a4180-65aa-42ec-a945-5fd21dec0538",
    "collection_id": _COLLECTION_ID,
    "question": "Who signed the contract with Nordhafen?",
    "mode": "auto",
    "state": "complete",
    "answer": {
        "text": "It was signed by Ines Brandt [1].",
        "mode": "basic",
        "citations": [
            {
                "number": 1,
                "document_id": DOCUMENT["id"],
                "document_name": "minutes-2021.pdf",
                "text_unit_id": "7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730",
                "page": 12,
                "heading": "Item 4 > Contracts",
                "quote": "The contract with Nordhafen was signed by Ines Brandt on 3 May.",
            }
        ],
        "refused": False,
        "marks_removed": 0,
        "chat_model": "qwen3-32b",
        "embedding_model": "all-MiniLM-L6-v2-int8",
        "index_version": 7,
        "tokens_in": 2311,
        "tokens_out": 74,
    },
    "error_code": None,
    "error": None,
    "created_at": _AT,
    "finished_at": "2026-03-02T09:30:04Z",
    "community_level": None,
    "response_type": "Single sentence",
    "dynamic_selection": False,
}
KEY = {
    "id": "1f0c3f0e-0c62-4d0b-8f9d-9a115f6c1c9e",
    "name": "intranet search",
    "scopes": ["read"],
    "collections": [_COLLECTION_ID],
    "created_at": _AT,
    "revoked_at": None,
}


def example(status: int, value: object, description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entry of a successful response with its example."""
    return {status: {"description": description, "content": {"application/json": {"example": value}}}}


def page_example(item: object, description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entry of a page that holds `item`."""
    return example(200, {"items": [item], "next_offset": None}, description)
