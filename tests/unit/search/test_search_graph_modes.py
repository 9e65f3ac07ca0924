"""Local and global search with GraphRAG's real context builders."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from fileintel.errors import ModelAnswerError
from fileintel.model import Claim, Community, CommunityReport, Entity, Relationship, Source
from fileintel.search import Plan, final_request, parse_points, plan_global, plan_local
from fileintel.search.prompts import render_source

NAMES = ("ANNA WEISS", "HALDEN WORKS", "NORVIK AG", "TOM REYES")


def unit(n: int, text: str = "", score: float = 0.0) -> Source:
    return Source(
        0, f"u{n}", "d1", "halden.pdf", text or f"Unit {n} says " + " ".join(f"w{n}x{i}" for i in range(40)), (), score
    )


ENTITIES = [
    Entity(f"e{i}", i, name, "person", f"{name} is\ndescribed | here [5]", (f"u{i}", f"u{i + 1}"), 2, 3)
    for i, name in enumerate(NAMES)
]
RELATIONSHIPS = [
    Relationship("r0", 0, "ANNA WEISS", "HALDEN WORKS", "Weiss founded Halden", 9.0, 6, ("u1",)),
    Relationship("r1", 1, "HALDEN WORKS", "NORVIK AG", "Halden sold its pumps to Norvik", 5.0, 6, ("u2", "u77")),
    Relationship("r2", 2, "TOM REYES", "BERGEN", "Reyes lives in Bergen", 1.0, 4, ("u4",)),
]
COMMUNITIES = [
    Community("c0", 0, 0, -1, (), ("e0", "e1"), ("r0",), ("u0", "u1"), "Halden"),
    Community("c1", 1, 0, -1, (), ("e2", "e3"), ("r1",), ("u2", "u3", "u4"), "Norvik"),
    Community("c2", 2, 0, -1, (), ("e9",), (), ("u9",), "Elsewhere"),
]


def report(n: int, content: str = "", rank: float = 5.0) -> CommunityReport:
    text = content or f'# Report {n}\n\nA "quoted" word. [Data: Entities (5)] ' + " ".join(
        f"r{n}x{i}" for i in range(60)
    )
    return CommunityReport(f"rep{n}", n, 0, f"Report {n}", f"Summary {n}", text, rank, "why", ())


REPORTS = [report(n) for n in range(3)]


def local(tokenizer, **changes):
    arguments = {
        "entities": ENTITIES,
        "relationships": RELATIONSHIPS,
        "reports": REPORTS,
        "communities": COMMUNITIES,
        "units": [unit(n) for n in range(6)],
        "tokenizer": tokenizer,
        "model": "m",
    }
    return plan_local("How is Weiss related to Norvik?", **{**arguments, **changes})


def test_local_plan(tokenizer):
    plan = local(tokenizer)
    request = final_request(plan)
    # GraphRAG's order: by entity, most relationships first within one; what no entity names comes last.
    assert [s.text_unit_id for s in plan.sources] == ["u1", "u0", "u2", "u3", "u4", "u5"]
    assert [s.number for s in plan.sources] == [1, 2, 3, 4, 5, 6]
    context = request.stage.inputs["context"]
    assert request.stage.name == "answer" and context in request.messages[1].content
    rows = context.splitlines()
    assert "id|entity|description|number of relationships|sources" in rows
    assert "0|ANNA WEISS|ANNA WEISS is described / here (5)|3|[1][2]" in rows
    assert "0|ANNA WEISS|HALDEN WORKS|Weiss founded Halden|[1]" in rows
    assert "1|HALDEN WORKS|NORVIK AG|Halden sold its pumps to Norvik|[3]" in rows
    assert any(row.startswith("2|TOM REYES|BERGEN|Reyes lives in Bergen") for row in rows)
    assert "Report 0" in context and "Report 1" in context and "Report 2" not in context
    assert "[Data:" not in context
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_local_search_hits_come_forward(tokenizer):
    units = [unit(n) for n in range(5)] + [unit(5, score=0.9)]
    assert "u5" in [s.text_unit_id for s in local(tokenizer, units=units).sources[:2]]


@pytest.mark.parametrize("max_tokens", [200, 400, 900, 3000])
def test_local_budget(tokenizer, max_tokens):
    units = [unit(n) for n in range(40)]
    plan = local(tokenizer, units=units, max_tokens=max_tokens)
    shown = sum(tokenizer.count(render_source(source)) + 1 for source in plan.sources)
    tables = tokenizer.count(plan.answer_request.stage.inputs["context"])
    assert shown + tables <= max_tokens
    assert tables <= max_tokens / 2
    assert plan.sources


def claim(n: int, subject: str, description: str) -> Claim:
    return Claim(
        f"cl{n}", n, f"u{n}", subject, "NORVIK AG", "FRAUD", "SUSPECTED", "2021-05-03", "NONE", description, "q"
    )


def test_local_shows_the_claims_about_its_entities(tokenizer):
    claims = [claim(0, "ANNA WEISS", "Weiss is said | to owe"), claim(1, "NOBODY", "Nobody did")]
    rows = final_request(local(tokenizer, claims=claims)).stage.inputs["context"].splitlines()
    at = rows.index("-----Claims-----")
    assert rows[at + 1] == "id|entity|object_id|status|start_date|end_date|description|sources"
    assert rows[at + 2] == "0|ANNA WEISS|NORVIK AG|SUSPECTED|2021-05-03|NONE|Weiss is said / to owe|[2]"
    assert not any("Nobody" in row for row in rows)
    plain = final_request(local(tokenizer)).stage.inputs["context"]
    assert "Claims" not in plain and set(plain.splitlines()) <= set(rows)


@pytest.mark.parametrize("max_tokens", [200, 400, 900])
def test_claims_stay_within_the_budget_of_the_tables(tokenizer, max_tokens):
    claims = [claim(n, "ANNA WEISS", f"Claim {n} of many, and a long one too") for n in range(50)]
    plan = local(tokenizer, claims=claims, max_tokens=max_tokens)
    context = plan.answer_request.stage.inputs["context"]
    assert tokenizer.count(context) <= max_tokens / 2
    assert (max_tokens == 200) or ("Claim 0 of many" in context and "-----Relationships-----" in context)


def test_local_report_too_long_for_its_share_gives_its_summary(tokenizer):
    reports = [report(0, "long " * 5000), report(1, "long " * 5000)]
    context = final_request(local(tokenizer, reports=reports)).stage.inputs["context"]
    assert "Summary 0" in context and "long long" not in context


def test_local_without_graph_or_units(tokenizer):
    plan = local(tokenizer, entities=[], relationships=[], reports=[], communities=[])
    assert plan.answer_request.stage.inputs["context"] == "" and len(plan.sources) == 6
    assert not local(tokenizer, units=[]).answerable


def global_plan(tokenizer, **changes):
    arguments = {
        "reports": REPORTS,
        "communities": COMMUNITIES,
        "units": [unit(n, score=n / 10) for n in range(12)],
        "tokenizer": tokenizer,
        "model": "m",
    }
    return plan_global("What are the main themes?", **{**arguments, **changes})


def test_global_plan_asks_every_report_once(tokenizer):
    reports = [report(n, rank=float(n % 10)) for n in range(30)]
    state = random.getstate()
    plan = global_plan(tokenizer, reports=reports, max_batch_tokens=500)
    assert random.getstate() == state
    assert plan.mode == "global" and plan.answer_request is None
    asked = [entry["id"] for request in plan.map_requests for entry in request.stage.inputs["reports"]]
    assert sorted(asked) == list(range(30)) and asked != list(range(30))
    assert 2 < len(plan.map_requests) < 30
    for request in plan.map_requests:
        system, user = request.messages
        assert user.content == "What are the main themes?"
        for entry in request.stage.inputs["reports"]:
            assert f"r{entry['id']}x7 " in system.content
        assert request.stage.name == "global_map" and request.json_schema is not None
        table = system.content.split("---Data tables---")[1].split("---Goal---")[0]
        assert tokenizer.count(table) <= 520
    assert global_plan(tokenizer, reports=reports, max_batch_tokens=500) == plan
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_global_long_report_is_cut_and_pipes_survive(tokenizer):
    reports = [report(0, 'a | b "c"\r\nd ' * 3000), report(1)]
    plan = global_plan(tokenizer, reports=reports, max_batch_tokens=600)
    assert sorted(e["id"] for r in plan.map_requests for e in r.stage.inputs["reports"]) == [0, 1]
    for request in plan.map_requests:
        assert tokenizer.count(request.messages[0].content) < 1500


def test_global_sources_come_from_every_community_and_the_hits(tokenizer):
    sources = global_plan(tokenizer, max_sources=5).sources
    units = {source.text_unit_id for source in sources}
    assert {"u9", "u11"} <= units and units & {"u0", "u1"} and units & {"u2", "u3", "u4"}


def test_global_without_reports_or_text_units(tokenizer):
    assert global_plan(tokenizer, reports=[], communities=[]).map_requests == ()
    bare = [Community("c0", 0, 0, -1, (), (), (), ())]
    plan = global_plan(tokenizer, reports=[report(0)], communities=bare, units=[])
    assert len(plan.map_requests) == 1 and not plan.answerable


def test_reduce(tokenizer):
    plan = Plan.from_json(json.loads(json.dumps(global_plan(tokenizer, max_batch_tokens=200).to_json())))
    assert len(plan.map_requests) == 2
    request = final_request(
        plan,
        [
            '{"points": [{"description": "Pumps were sold [Data: Reports (1, +more)]", "score": 40}]}',
            '```json\n{"points": [{"description": "Halden was\\nfounded [Data: Reports (0)]", "score": 90},'
            ' {"description": "I do not know", "score": 0}]}\n```',
        ],
    )
    points = request.stage.inputs["points"]
    assert request.stage.name == "global_reduce"
    assert [(p["description"], p["score"]) for p in points] == [("Halden was founded", 90), ("Pumps were sold", 40)]
    number_of = {source.text_unit_id: source.number for source in plan.sources}
    assert points[0]["sources"] == sorted(number_of[u] for u in ("u0", "u1"))
    user = request.messages[1].content
    assert user.index("Halden was founded") < user.index("Pumps were sold") < user.index("<sources>")
    assert "at most 2000\n  words" in request.messages[0].content
    assert len(request.stage.inputs["sources"]) == len(plan.sources)


def test_reduce_keeps_to_the_budget_best_first(tokenizer):
    plan = global_plan(tokenizer, max_point_tokens=200)
    entries = [{"description": f"point {n} " + "pad " * 20, "score": n} for n in range(1, 100)]
    points = final_request(plan, [json.dumps({"points": entries})]).stage.inputs["points"]
    assert [p["score"] for p in points] == list(range(99, 99 - len(points), -1)) and 2 < len(points) < 10


def test_reduce_with_nothing_relevant_still_asks_the_sources(tokenizer):
    request = final_request(global_plan(tokenizer), ['{"points": []}'])
    assert request.stage.inputs["points"] == [] and "<key_points>" not in request.messages[1].content


def test_reduce_refuses_garbage(tokenizer):
    with pytest.raises(ModelAnswerError):
        final_request(global_plan(tokenizer), ["I cannot help with that."])


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ('{"points": []}', []),
        ('{"points": [{"description": "a", "score": 5}]}', [("a", 5)]),
        ('Sure!\n```json\n{"points": [{"description": "a", "score": "70"}]}\n```\nDone.', [("a", 70)]),
        ('<think>{"points": 1}</think>{"points": [{"description": "a", "score": 200}]}', [("a", 100)]),
        ('[{"description": "a", "score": -3}]', [("a", 0)]),
        ('{"points": {"description": "a", "score": 5.6}}', [("a", 6)]),
        ('{"points": [{"description": "a", "score": 5}, {"description": "b"}, "c"]}', [("a", 5)]),
        ('{"points": [{"description": "a \n b", "score": 5,},]', [("a b", 5)]),
        ('{"points": [{"description": "a", "score": 5}, {"description": "cut of', [("a", 5)]),
        ("{'points': [{'description': 'a', 'score': 5}]}", [("a", 5)]),
    ],
)
def test_points(answer, points):
    assert [(point.description, point.score) for point in parse_points(answer)] == points


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no",
        "{}",
        '{"answer": 3}',
        '{"points": "many"}',
        '{"points": [1, 2]}',
        '{"points": [{"description": "a", "score": "high"}]}',
        '{"points": [{"description": "", "score": 3}]}',
        '{"points": [{"description": "a", "score": NaN}]}',
        "[" * 70_000,
        "{" * 3000,
    ],
)
def test_points_that_are_none(answer):
    with pytest.raises(ModelAnswerError) as caught:
        parse_points(answer)
    assert len(caught.value.raw) <= 2000


def test_importing_search_imports_neither_graphrag_nor_pandas():
    code = "import sys, fileintel.search; sys.exit(bool({'graphrag', 'pandas', 'json_repair'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
