"""Tests of waterfalls."""

import re

import pytest

from pytest_agentperf.core.detail import PathStep, Trace, TraceSpan
from pytest_agentperf.report.waterfall import path_shares, waterfall


def span(name: str, start: float, end: float, depth: int = 0, error: str = "") -> TraceSpan:
    return TraceSpan(name, start, end, depth, "agent.py:7 in ask", error)


TRACE = Trace(
    "median call",
    10.0,
    (span("plan", 0.0, 4.0), span("search", 1.0, 3.0, 1), span("tool", 4.0, 9.0, error="OSError")),
    (PathStep(0, 0.0, 1.0), PathStep(1, 1.0, 2.0), PathStep(0, 3.0, 1.0), PathStep(2, 4.0, 5.0),
     PathStep(None, 9.0, 1.0)),
    0,
)  # fmt: skip


def bars(drawing: str) -> list[tuple[float, float]]:
    """Return where the bars of *drawing* begin and how long they are."""
    found = re.findall(r'<rect class="span[^"]*" x="([\d.]+)" y="\d+" width="([\d.]+)"', drawing)
    return [(float(x), float(width)) for x, width in found]


def test_bars_are_as_long_as_their_spans() -> None:
    (plan, plan_width), (search, search_width), (tool, _) = bars(waterfall(TRACE, 10.0))
    assert plan_width / search_width == pytest.approx(2)
    assert (search - plan) / (tool - plan) == pytest.approx(1 / 4, abs=1e-3)


def test_longer_scale_makes_bars_shorter() -> None:
    (_, whole), *_ = bars(waterfall(TRACE, 10.0))
    (_, half), *_ = bars(waterfall(TRACE, 20.0))
    assert whole / half == pytest.approx(2)


def test_critical_path_underlines_what_is_on_it() -> None:
    underlined = re.findall(r'<path class="crit" d="([^"]*)"', waterfall(TRACE, 10.0))
    assert [data.count("M") for data in underlined] == [2, 1, 1]


def test_failed_span_is_told_by_a_sign_and_its_error() -> None:
    drawing = waterfall(TRACE, 10.0)
    assert ">tool ✕</text>" in drawing
    assert "took 5 s ✕ OSError; agent.py:7 in ask</title>" in drawing
    assert drawing.count("span bad") == 1


def test_shares_of_the_critical_path_add_up() -> None:
    shares = path_shares(TRACE)
    assert shares == pytest.approx(
        {"tool": 0.5, "plan": 0.2, "search": 0.2, "outside of spans": 0.1}
    )
    assert next(iter(shares)) == "tool"


def test_forty_longest_spans_are_drawn_in_order() -> None:
    spans = tuple(span(f"s{n}", float(n), n + (0.5 if n < 2 else 1.0)) for n in range(42))
    drawing = waterfall(Trace("call", 43.0, spans, (), 0), 43.0)
    assert re.findall(r'class="name"[^>]*>(\w+)', drawing) == [f"s{n}" for n in range(2, 42)]


def test_call_that_took_no_time_is_drawn() -> None:
    assert "<svg" in waterfall(Trace("call", 0.0, (span("a", 0.0, 0.0),), (), 0), 0.0)
