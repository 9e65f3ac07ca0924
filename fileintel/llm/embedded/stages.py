"""The extractive language model: one function per stage, chosen by name, its inputs checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fileintel.errors import InputError
from fileintel.llm.embedded.answer import answer
from fileintel.llm.embedded.drift import drift_local, drift_primer, rate_report
from fileintel.llm.embedded.evidence import Source
from fileintel.llm.embedded.extract import extract_graph
from fileintel.llm.embedded.language import reader
from fileintel.llm.embedded.minilm import MiniLM
from fileintel.llm.embedded.overall import Point, global_reduce
from fileintel.llm.embedded.report import ReportEntity, ReportRelationship, community_report
from fileintel.llm.embedded.summarize import summarize_descriptions
from fileintel.llm.embedded.themes import Report, global_map


class _Inputs(BaseModel):
    """What every stage's inputs have in common."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class ExtractInputs(_Inputs):
    """Inputs of extract_graph."""

    text: str
    entity_types: list[str] = ["organization", "person", "geo", "event"]


class SummarizeInputs(_Inputs):
    """Inputs of summarize_descriptions; `max_length` in words."""

    name: str | list[str]
    descriptions: list[str]
    max_length: int = 500


class ReportInputs(_Inputs):
    """Inputs of community_report; `max_length` in words."""

    entities: list[ReportEntity]
    relationships: list[ReportRelationship] = []
    max_length: int = 2000


class AnswerInputs(_Inputs):
    """Inputs of answer; `context` is accepted and unused, since it cannot be cited."""

    question: str
    sources: list[Source]
    context: str | None = None


class MapInputs(_Inputs):
    """Inputs of global_map."""

    question: str
    reports: list[Report]


class ReduceInputs(_Inputs):
    """Inputs of global_reduce."""

    question: str
    points: list[Point]
    sources: list[Source] = []


class RateInputs(_Inputs):
    """Inputs of rate_report."""

    question: str
    report: Report


class PrimerInputs(_Inputs):
    """Inputs of drift_primer."""

    question: str
    reports: list[Report]


class FollowUpInputs(_Inputs):
    """Inputs of drift_local; `follow_up` found the sources, which are read for the question."""

    question: str
    follow_up: str
    sources: list[Source] = []


_INPUTS: Mapping[str, type[_Inputs]] = {
    "extract_graph": ExtractInputs,
    "summarize_descriptions": SummarizeInputs,
    "community_report": ReportInputs,
    "answer": AnswerInputs,
    "global_map": MapInputs,
    "global_reduce": ReduceInputs,
    "rate_report": RateInputs,
    "drift_primer": PrimerInputs,
    "drift_local": FollowUpInputs,
}
STAGES = tuple(_INPUTS)


def checked(name: str, inputs: Mapping[str, Any]) -> _Inputs:
    """Return the stage's inputs in its own type; raises InputError for an unknown stage or inputs it cannot take."""
    kind = _INPUTS.get(name)
    if kind is None:
        raise InputError(f"the extractive model has no stage {name!r}; it knows {', '.join(STAGES)}")
    try:
        return kind.model_validate(dict(inputs))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"stage {name}: {where}: {first['msg']}") from error


class Models:
    """The two models one process holds: spaCy's English model and MiniLM; every answer is a function of its input."""

    def __init__(self, threads: int = 1) -> None:
        self._minilm = MiniLM(threads)
        self._reader = reader()

    def embed(self, texts: Sequence[str]) -> bytes:
        """Return the texts' vectors as little-endian 32-bit floats, row by row, shape (texts, 384)."""
        return self._minilm.embed(texts).astype("<f4").tobytes()

    def complete(self, name: str, inputs: Mapping[str, Any]) -> str:
        """Return the stage's answer in the form that stage's prompt asks of an LLM; raises InputError."""
        given = checked(name, inputs)
        match given:
            case ExtractInputs():
                return extract_graph(self._reader, given.text, given.entity_types, self._minilm.rarity)
            case SummarizeInputs():
                return summarize_descriptions(given.name, given.descriptions, given.max_length)
            case ReportInputs():
                return community_report(given.entities, given.relationships, given.max_length)
            case AnswerInputs():
                return answer(given.question, given.sources, self._reader, self._minilm)
            case MapInputs():
                return global_map(given.question, given.reports, self._minilm)
            case ReduceInputs():
                return global_reduce(given.question, given.points, given.sources, self._reader, self._minilm)
            case RateInputs():
                return rate_report(given.question, given.report, self._minilm)
            case PrimerInputs():
                return drift_primer(given.question, given.reports, self._minilm)
            case FollowUpInputs():
                return drift_local(given.question, given.sources, self._reader, self._minilm)
        raise AssertionError(name)
