"""A planned question: every prompt made, so that whoever runs it only has to call the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fileintel.model import Anchor, ChatRequest, Message, Source, Stage


@dataclass(frozen=True, slots=True)
class Reduce:
    """What the reduce call of a global question needs beside the map answers.

    `report_sources` names, per report id as the map prompts show it, the numbers of the sources its community rests
    on; `max_point_tokens` bounds the key points in the prompt; `max_words` is the length asked for,
    `response_type` the form.
    """

    model: str
    max_point_tokens: int
    max_words: int
    max_answer_tokens: int | None
    report_sources: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    response_type: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A question with its sources and prompts; either `answer_request` or `reduce` is set, `reduce` with map requests.

    `notes` says in words how the plan came about (routing reasons, what was left out).
    """

    mode: str
    question: str
    sources: tuple[Source, ...]
    map_requests: tuple[ChatRequest, ...] = ()
    answer_request: ChatRequest | None = None
    reduce: Reduce | None = None
    notes: tuple[str, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether there is any source to answer from; without one the answer is `prompts.REFUSAL`, with no call."""
        return bool(self.sources)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values (dict, list, str, numbers, None)."""
        reduce = self.reduce
        return {
            "mode": self.mode,
            "question": self.question,
            "sources": [
                {**asdict(source), "anchors": [[a.offset, a.page, a.heading] for a in source.anchors]}
                for source in self.sources
            ],
            "map_requests": [request_to_json(request) for request in self.map_requests],
            "answer_request": None if self.answer_request is None else request_to_json(self.answer_request),
            "reduce": None
            if reduce is None
            else {
                "model": reduce.model,
                "max_point_tokens": reduce.max_point_tokens,
                "max_words": reduce.max_words,
                "max_answer_tokens": reduce.max_answer_tokens,
                "report_sources": {report: list(numbers) for report, numbers in reduce.report_sources.items()},
                "response_type": reduce.response_type,
            },
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_json` gave as `data`."""
        answer, reduce = data["answer_request"], data["reduce"]
        return cls(
            mode=data["mode"],
            question=data["question"],
            sources=tuple(
                Source(**{**source, "anchors": tuple(Anchor(*anchor) for anchor in source["anchors"])})
                for source in data["sources"]
            ),
            map_requests=tuple(request_from_json(request) for request in data["map_requests"]),
            answer_request=None if answer is None else request_from_json(answer),
            reduce=None
            if reduce is None
            else Reduce(
                model=reduce["model"],
                max_point_tokens=reduce["max_point_tokens"],
                max_words=reduce["max_words"],
                max_answer_tokens=reduce["max_answer_tokens"],
                report_sources={report: tuple(numbers) for report, numbers in reduce["report_sources"].items()},
                response_type=reduce["response_type"],
            ),
            notes=tuple(data["notes"]),
        )


def request_to_json(request: ChatRequest) -> dict[str, Any]:
    """Return the call as plain JSON values."""
    return {
        "model": request.model,
        "messages": [[message.role, message.content] for message in request.messages],
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "json_schema": None if request.json_schema is None else dict(request.json_schema),
        "stage": None if request.stage is None else {"name": request.stage.name, "inputs": dict(request.stage.inputs)},
    }


def request_from_json(data: Mapping[str, Any]) -> ChatRequest:
    """Return the call that `request_to_json` gave as `data`."""
    stage = data["stage"]
    return ChatRequest(
        model=data["model"],
        messages=tuple(Message(role, content) for role, content in data["messages"]),
        temperature=data["temperature"],
        max_tokens=data["max_tokens"],
        json_schema=data["json_schema"],
        stage=None if stage is None else Stage(stage["name"], stage["inputs"]),
    )


def final_request(plan: Plan, map_answers: Sequence[str] = ()) -> ChatRequest:
    """Return the call whose streamed answer is the user's: the plan's own, or the reduce over `map_answers`.

    Cheap enough for the gevent hub. Raises ModelAnswerError if a map answer cannot be read (`global_.parse_points`
    on each as it comes tells which to ask again), ValueError if there are answers and the plan has no reduce.
    """
    if plan.answer_request is not None:
        if map_answers:
            raise ValueError(f"the {plan.mode} plan has no use for {len(map_answers)} map answers")
        return plan.answer_request
    if plan.reduce is None:
        raise ValueError(f"the {plan.mode} plan has neither an answer request nor a reduce")
    # Here, because global_ needs Plan from this module.
    from fileintel.search.global_ import reduce_request

    return reduce_request(plan, plan.reduce, map_answers)
