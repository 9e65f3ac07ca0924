"""The figures come from the raw measurements by the arithmetic the documentation states."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from benchmarks.figures import FIGURES, TARGETS, figures, met
from benchmarks.parts.reports import step_seconds
from benchmarks.tables import BEGIN, END, markdown, replaced, table


def size(seconds: float, cpu: float, chat: int, rate: float, peak: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "reading_seconds": 2.0,
        "chat_calls": chat,
        "extract_calls_per_second": rate,
        "worker_cpu_seconds": {"main": 9.0, "graphrag-1": cpu},
        "peak_rss_mb": {"main": 300.0, "graphrag-1": peak},
        "server_cpu_seconds": 1.0,
    }


def stock(seconds: float, latency: float) -> dict[str, Any]:
    return {"seconds": seconds, "latency": latency, "mean_in_flight": 0.7, "community_reports": 168, "chat_calls": 168}


RAW: dict[str, Any] = {
    "machine": {
        "date": "2026-11-26",
        "revision": "abc",
        "cores": 2,
        "memory_gb": 25.0,
        "python": "3.11.7",
        "load_before": 0.1,
    },
    "profile": "full",
    "seconds": {"reports": 90.0, "index": 30.0},
    "reports": {
        "communities": 168,
        "levels": {"0": 17, "1": 71, "2": 80},
        "ours": {
            latency: {
                "report_seconds": seconds,
                "mean_in_flight": {"report": 160.0},
                "communities": 168,
                "whole_build": {"report_seconds": seconds - 0.2, "mean_in_flight": {"report": 90.0}},
            }
            for latency, seconds in (("3.5", 4.0), ("0.35", 1.0))
        },
        "stock": {
            "sequential_slow": stock(800.0, 3.5),
            "prefork_slow": stock(200.0, 3.5),
            "default_fast": stock(120.0, 0.35),
            "wide_fast": stock(110.0, 0.35),
        },
    },
    "index": {
        "corpus": {"text_units": 250},
        "latency": 0.35,
        "ours": {"total_seconds": 8.0, "reading_seconds": 1.5, "chat_calls": 1100, "mean_in_flight": {"extract": 99.0}},
        "stock": {"seconds": 400.0, "chat_calls": 1100, "mean_in_flight": 1.1},
        "lightrag": {
            "default": {"seconds": 200.0, "chat_calls": 500, "mean_in_flight": 1.0},
            "tuned": {"seconds": 56.0, "chat_calls": 500, "mean_in_flight": 9.0},
            "tuned_lean": {"seconds": 48.0, "chat_calls": 500, "mean_in_flight": 9.0},
        },
    },
    "replay": {
        "corpus": {"text_units": 1000},
        "latency": 1.0,
        "slots": 128,
        "prompts": 4600,
        "ours": {"seconds": 44.0},
        "replays": {"64": 72.0, "128": 40.0, "256": 41.0},
    },
    "throughput": {
        "sizes": {
            "100": size(3.0, 1.0, 440, 300.0, 200.0),
            "1000": size(20.0, 9.0, 4500, 480.0, 310.0),
            "10000": size(240.0, 66.0, 44000, 500.0, 305.0),
        }
    },
    "workers": {
        "latency": 2.0,
        "workers": {
            "1": {"calls_per_second": 95.0, "peak": 200},
            "2": {"calls_per_second": 180.5, "peak": 400},
        },
    },
    "incremental": {
        "corpus": {"documents": 100, "text_units": 1000},
        "first": {"calls": 5000},
        "edited": {"calls": 100},
        "deleted": {"calls": 200, "people": 12, "traces": []},
    },
    "limiter": {
        "limiter_worst_fraction": 0.87,
        "servers": [
            {
                "server": "best 32",
                "best_concurrency": 32,
                "calls_per_second": 60.9,
                "best_calls_per_second": 70.0,
                "fraction": 0.87,
                "refused_share": 0.0,
            }
        ],
    },
}


def test_every_figure_is_the_ratio_it_says() -> None:
    assert figures(RAW) == {
        "reports_seconds_at_3_5": 4.0,
        "reports_speedup_vs_sequential": 200.0,
        "reports_speedup_vs_stock_prefork": 50.0,
        "reports_speedup_vs_stock_default": 120.0,
        "index_speedup_vs_stock_default": 50.0,
        "index_speedup_vs_lightrag_tuned": 7.0,
        "replay_ratio": 1.1,
        "cpu_ms_per_call": 1.5,
        "calls_per_second_one_worker": 500.0,
        "two_worker_scaling": 1.9,
        "limiter_worst_fraction": 0.87,
        "per_unit_time_ratio_10k_to_1k": 1.2,
        "gevent_peak_rss_mb": 310.0,
        "edit_call_fraction": 0.02,
    }
    assert list(TARGETS) == list(FIGURES)
    assert all(met(name, value) for name, value in figures(RAW).items())


def test_a_figure_whose_measurements_are_missing_is_left_out() -> None:
    raw = copy.deepcopy(RAW)
    del raw["limiter"], raw["throughput"]["sizes"]["10000"], raw["reports"]["ours"]["0.35"], raw["index"]["stock"]
    found = figures(raw)
    assert set(FIGURES) - set(found) == {
        "limiter_worst_fraction",
        "per_unit_time_ratio_10k_to_1k",
        "reports_speedup_vs_stock_default",
        "index_speedup_vs_stock_default",
    }
    assert found["cpu_ms_per_call"] == 2.0  # of the largest corpus that was measured


def test_a_figure_misses_its_target() -> None:
    assert not met("replay_ratio", 1.16)
    assert not met("reports_speedup_vs_sequential", 139.9)


def test_the_reports_step_begins_where_what_it_is_made_from_ends() -> None:
    steps = {
        "extract_graph": {"started": 0.0, "finished": 5.0},
        "summarize_descriptions": {"started": 5.0, "finished": 8.0},
        "create_communities": {"started": 5.0, "finished": 8.5},
        "create_community_reports": {"started": 7.0, "finished": 12.75},
        "generate_text_embeddings": {"started": 8.6, "finished": 12.0},
    }
    assert step_seconds(steps) == pytest.approx(4.25)


def test_tables_hold_every_part_and_come_from_what_json_keeps() -> None:
    raw = json.loads(json.dumps({**RAW, "figures": figures(RAW)}))
    text = markdown(raw)
    for expected in (
        "| `replay_ratio` | 1.10 | ≤ 1.15 | met |",
        "| the same, after the last summary of a whole build | 3.50 | 200 | 3.80 | 90.0 | 168 |",
        "| stock GraphRAG in a prefork Celery task | 3.50 | 25 | 200 | 0.70 | 168 |",
        "| LightRAG, all at 200, a client of ours for its OpenAI functions | 48.0 | 500 | 9.00 |",
        "| bare client, 128 at once | 40.0 | 1.00 |",
        "| 10,000 text units | 240 | 24.0 | 2.00 | 44,000 | 500 | 1.50 | 305 | 300 | 0.02 |",
        "| 2 graphrag workers | 180 | 1.90 | 400 |",
        "| one edited | 100 | 2.0% |",
        "| best 32 | 32 | 60.9 | 70.0 | 0.87 | 0.0% |",
        "(17 + 71 + 80 by level)",
    ):
        assert expected in text


def test_tables_are_written_between_the_marks_of_a_page() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n"
    new = replaced(page, table(("a", "b"), [("x", 1234567)]))
    assert new == f"# Title\n\n{BEGIN}\n\n| a | b |\n|---|---:|\n| x | 1,234,567 |\n\n{END}\n\nrest\n"
    assert replaced(new, "| a | b |\n|---|---:|\n| x | 1,234,567 |") == new
    with pytest.raises(ValueError, match="no <!--"):
        replaced("# Title\n", "x")
