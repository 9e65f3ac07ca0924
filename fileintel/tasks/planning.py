"""A question's prompts, made on the main worker: one round of calls after another until the answer can be written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fileintel.errors import ConflictError, ModelAnswerError
from fileintel.model import Collection, Entity, Query, Source
from fileintel.search.basic import plan_basic
from fileintel.search.calls import Call
from fileintel.search.drift import (
    Finding,
    cited_units,
    expansion_request,
    follow_up_request,
    next_follow_ups,
    parse_finding,
    parse_primer,
    plan_drift,
    primer_requests,
)
from fileintel.search.global_ import plan_global
from fileintel.search.local import local_context, plan_local
from fileintel.search.plan import Plan
from fileintel.search.ranking import fuse
from fileintel.search.routing import route, route_by_graph
from fileintel.search.selection import THRESHOLD, communities_at, parse_rating, rating_request, select
from fileintel.store import collections, graph, queries, query_calls, retrieval
from fileintel.tasks import models

logger = logging.getLogger(__name__)

HITS = 30
NEAREST_ENTITIES = 10
UNITS_OF_ENTITIES = 60
# The level whose reports a global question reads unless told otherwise: the finest up to it.
GLOBAL_LEVEL = 1
# GraphRAG's own for dynamic selection and DRIFT.
DYNAMIC_LEVEL = DRIFT_LEVEL = 2
DRIFT_REPORTS = 20
DRIFT_FOLDS = 5
# GraphRAG asks 20 follow-up questions in each of 3 rounds; the second round is where the answers stop growing, and 60
# local searches keep a small server busy for minutes.
DRIFT_FOLLOW_UPS = 8
DRIFT_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Course:
    """What is decided once for all rounds of a question: its mode, the index version it reads, the entities named."""

    mode: str
    version: int | None
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be asked next: calls, and the plan of the answer, or None when the calls lead to another round."""

    calls: tuple[Call, ...]
    plan: Plan | None


def plan(query: Query) -> tuple[Turn, Course]:
    """Make the prompts of a question's next round from what the rounds before it brought."""
    collection = collections.get(query.collection_id)
    kept = queries.course(query.id)
    course = _course(query, collection) if kept is None else Course(kept["mode"], kept["version"], (*kept["named"],))
    if course.mode != "basic" and course.version is None:
        raise ConflictError(
            f"collection '{collection.name}' has no published graph: run `fileintel graphrag index {collection.name}`, "
            "or ask with mode basic"
        )
    question = _Question(query, collection, course)
    if course.mode == "basic":
        return Turn((), question.basic()), course
    if course.mode == "local":
        return Turn((), question.local()), course
    return (question.global_() if course.mode == "global" else question.drift()), course


def course_json(course: Course) -> dict[str, Any]:
    """A course as plain JSON values."""
    return asdict(course)


def _course(query: Query, collection: Collection) -> Course:
    version = collection.published_version
    if query.mode not in ("auto", "graph"):
        return Course(query.mode, version)
    vector = models.embed([query.question])[query.question]
    near = retrieval.nearest_entities(version, vector, NEAREST_ENTITIES) if version is not None else []
    titles = [entity.title for entity in near]
    if query.mode == "graph":
        chosen = route_by_graph(query.question, entity_titles=titles)
    else:
        chosen = route(query.question, has_graph=version is not None, entity_titles=titles)
    return Course(chosen.mode, version, chosen.entities)


class _Question:
    """A question while its prompts are made; `version` is only used where there is one."""

    def __init__(self, query: Query, collection: Collection, course: Course) -> None:
        self.query = query
        self.text = query.question
        self.collection = collection
        self.named = course.named
        self.version = course.version or 0
        self.model = models.chat_model_name()
        self.tokenizer = models.tokenizer()

    def basic(self) -> Plan:
        vector = models.embed([self.text])[self.text]
        return plan_basic(
            self.text,
            vector_hits=retrieval.nearest_units(self.collection.id, vector, HITS),
            text_hits=retrieval.matching_units(self.collection.id, self.text, HITS),
            tokenizer=self.tokenizer,
            model=self.model,
            response_type=self.query.response_type,
        )

    def local(self) -> Plan:
        return plan_local(
            self.text,
            **self._around(self.text, models.embed([self.text])[self.text]),
            tokenizer=self.tokenizer,
            model=self.model,
            response_type=self.query.response_type,
        )

    def global_(self) -> Turn:
        if self.query.dynamic_selection:
            ratings = self._ratings()
            selection = select(
                retrieval.hierarchy(self.version), ratings, max_level=self._level(DYNAMIC_LEVEL), threshold=THRESHOLD
            )
            if selection.to_rate:
                reports = graph.reports_of(self.version, selection.to_rate)
                rating = [
                    Call("rate", rating_request(self.text, report, model=self.model), {"community": report.community})
                    for report in reports
                ]
                return Turn((*rating,), None)
            numbers: Sequence[int] = selection.relevant
        else:
            numbers = self._numbers_at(self._level(GLOBAL_LEVEL))
        communities = retrieval.communities(self.version, numbers)
        reports = graph.reports_of(self.version, numbers)
        heaviest = {report.community for report in reports[:10]}
        units = list(dict.fromkeys(unit for c in communities if c.number in heaviest for unit in c.text_unit_ids))
        planned = plan_global(
            self.text,
            reports=reports,
            communities=communities,
            units=_once([*self._hits(self.text), *retrieval.units(self.collection.id, units[:UNITS_OF_ENTITIES])]),
            tokenizer=self.tokenizer,
            model=self.model,
            response_type=self.query.response_type,
        )
        if not planned.answerable:
            return Turn((), replace(planned, map_requests=()))
        return Turn(tuple(Call("map", request) for request in planned.map_requests), replace(planned, map_requests=()))

    def drift(self) -> Turn:
        answered = query_calls.answered(self.query.id)
        kinds = {call.kind for call in answered}
        if not kinds:
            numbers = self._numbers_at(self._level(DRIFT_LEVEL))
            vector = models.embed([self.text])[self.text]
            nearest = retrieval.nearest_reports(self.version, vector, numbers, DRIFT_REPORTS)
            # The extractive model writes nothing of its own, so it has no hypothetical answer to offer.
            if models.staged(self.model) or not nearest:
                return self._primed(nearest)
            template = graph.report(self.version, nearest[0])
            return Turn((Call("expand", expansion_request(self.text, template, model=self.model)),), None)
        if kinds == {"expand"}:
            numbers = self._numbers_at(self._level(DRIFT_LEVEL))
            text = answered[0].answer.strip() or self.text
            return self._primed(
                retrieval.nearest_reports(self.version, models.embed([text])[text], numbers, DRIFT_REPORTS)
            )
        findings = self._findings(answered)
        rounds = {call.round for call in answered if call.kind == "follow_up"}
        if len(rounds) < DRIFT_ROUNDS:
            follow_ups = next_follow_ups(self.text, findings, limit=DRIFT_FOLLOW_UPS)
            if follow_ups:
                return Turn((*self._follow_up_calls(follow_ups),), None)
        return self._merged(findings)

    def _primed(self, numbers: Sequence[int]) -> Turn:
        by_number = {report.community: report for report in graph.reports_of(self.version, numbers)}
        reports = [by_number[number] for number in numbers if number in by_number]
        if not reports:
            return self._merged([])
        requests = primer_requests(self.text, reports, tokenizer=self.tokenizer, model=self.model, folds=DRIFT_FOLDS)
        return Turn(tuple(Call("primer", request) for request in requests), None)

    def _follow_up_calls(self, follow_ups: Sequence[str]) -> list[Call]:
        vectors = models.embed(follow_ups)
        calls = []
        for follow_up in follow_ups:
            context = local_context(**self._around(follow_up, vectors[follow_up]), tokenizer=self.tokenizer)
            request = follow_up_request(self.text, follow_up, context, follow_ups=DRIFT_FOLLOW_UPS, model=self.model)
            units = [source.text_unit_id for source in context.sources]
            calls.append(Call("follow_up", request, {"query": follow_up, "units": units}))
        return calls

    def _findings(self, answered: Sequence[query_calls.Answered]) -> list[Finding]:
        """What the primer and the follow-up questions found; raises ModelAnswerError when no primer can be read."""
        findings: list[Finding] = []
        unreadable: ModelAnswerError | None = None
        for call in answered:
            try:
                if call.kind == "primer":
                    findings.append(parse_primer(call.answer))
                elif call.kind == "follow_up":
                    about = call.about
                    findings.append(parse_finding(call.answer, query=about["query"], unit_ids=about["units"]))
            except ModelAnswerError as error:
                logger.warning("question %s: a %s call of round %s: %s", self.query.id, call.kind, call.round, error)
                unreadable = error
                if call.kind == "follow_up":
                    # Asked it was: not to be asked again, and what it was shown stays evidence of nothing.
                    findings.append(Finding(call.about["query"], "", 0, ()))
        if unreadable is not None and all(finding.query for finding in findings):
            raise unreadable
        return findings

    def _merged(self, findings: Sequence[Finding]) -> Turn:
        units = retrieval.units(self.collection.id, cited_units(findings)[:UNITS_OF_ENTITIES])
        planned = plan_drift(
            self.text,
            findings=findings,
            # In turn, so that neither what the findings cite nor what the question itself finds is left out.
            units=fuse(units, self._hits(self.text)),
            tokenizer=self.tokenizer,
            model=self.model,
            response_type=self.query.response_type,
        )
        return Turn((), planned)

    def _ratings(self) -> dict[int, int]:
        ratings: dict[int, int] = {}
        for call in query_calls.answered(self.query.id, "rate"):
            try:
                ratings[call.about["community"]] = parse_rating(call.answer)
            except ModelAnswerError as error:
                # As in GraphRAG: rather a report too many than one that was not looked at.
                logger.warning("question %s: community %s: %s", self.query.id, call.about["community"], error)
                ratings[call.about["community"]] = THRESHOLD
        return ratings

    def _level(self, default: int) -> int:
        return default if self.query.community_level is None else self.query.community_level

    def _numbers_at(self, level: int) -> list[int]:
        return [community.number for community in communities_at(retrieval.hierarchy(self.version), level)]

    def _hits(self, text: str) -> list[Source]:
        vector = models.embed([text])[text]
        # Fused, since the scores of the two searches do not compare.
        return fuse(
            retrieval.nearest_units(self.collection.id, vector, HITS),
            retrieval.matching_units(self.collection.id, text, HITS),
        )

    def _around(self, text: str, vector: Sequence[float]) -> dict[str, Any]:
        """What `local_context` is to choose from for a text: the entities near it and all that hangs on them."""
        near = retrieval.nearest_entities(self.version, vector, NEAREST_ENTITIES)
        first = [entity for entity in near if entity.title in self.named]
        entities: list[Entity] = first + [entity for entity in near if entity.title not in self.named]
        units = list(dict.fromkeys(unit for entity in entities for unit in entity.text_unit_ids))[:UNITS_OF_ENTITIES]
        communities = graph.communities_of(self.version, [entity.id for entity in entities])
        if self.query.community_level is not None:
            communities = communities_at(communities, self.query.community_level)
        return {
            "entities": entities,
            "relationships": graph.relationships_of(self.version, [entity.title for entity in entities]),
            "reports": graph.reports_of(self.version, [community.number for community in communities]),
            "communities": communities,
            "units": _once([*self._hits(text), *retrieval.units(self.collection.id, units)]),
        }


def _once(sources: Sequence[Source]) -> list[Source]:
    """Each text unit once, with its first (search) score."""
    found: dict[str, Source] = {}
    for source in sources:
        found.setdefault(source.text_unit_id, source)
    return [replace(source, number=number) for number, source in enumerate(found.values(), start=1)]
