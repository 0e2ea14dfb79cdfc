"""Tests of the figures of levels."""

import re

import pytest

from pytest_agentperf.report.page.levels import level_figures, slope
from pytest_agentperf.report.record import CurveRecord


def curve(axis: str, unit: str, *ys: float) -> CurveRecord:
    return CurveRecord(axis, unit, [[float(x), y] for x, y in enumerate(ys)])


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0, 1], [1, 3]], 2),
        ([[0, 5], [9, 5]], 0),
        ([[1, 2], [1, 9]], 0),
        ([[0, 0], [1, 2], [2, 1]], 0.5),
    ],
)
def test_slope_is_that_of_least_squares(points: list[list[float]], expected: float) -> None:
    assert slope(points) == pytest.approx(expected)


def test_curves_of_one_axis_share_a_figure() -> None:
    figures = [
        *level_figures(
            {
                "traced memory": curve("calls", "B", 0, 1000),
                "process memory": curve("calls", "B", 0, 3000),
                "rate": curve("seconds", "/s", 5, 6),
            }
        )
    ]
    assert len(figures) == 2
    assert "<figcaption>Memory <small>over calls</small>" in figures[0]
    assert "+1 kB per call" in figures[0]
    assert "+3 kB per call" in figures[0]
    assert "<figcaption>Levels <small>over seconds</small>" in figures[1]
    assert "per second" not in figures[1]


def test_curve_of_one_point_is_no_curve() -> None:
    assert [*level_figures({"rate": curve("seconds", "/s", 5)})] == []


@pytest.mark.parametrize(("ys", "note"), [((5, 1), "-4 B per call"), ((2, 2), "±0 B per call")])
def test_slope_has_its_sign(ys: tuple[float, float], note: str) -> None:
    (figure,) = level_figures({"m": curve("calls", "B", *ys)})
    assert note in figure


def test_percentiles_of_a_load_are_one_band() -> None:
    (figure,) = level_figures(
        {
            "throughput": curve("seconds", "/s", 5, 6),
            "p50 latency": curve("seconds", "s", 1, 2),
            "p95 latency": curve("seconds", "s", 2, 3),
            "p99 latency": curve("seconds", "s", 3, 9),
        }
    )
    assert "<figcaption>Load <small>over seconds</small>" in figure
    assert figure.count('class="band"') == 1
    assert re.findall(r'class="name"[^>]*>(\w+)', figure) == ["latency", "throughput"]
    assert "> p50, p95, p99</tspan>" in figure


def test_single_percentile_is_a_line() -> None:
    (figure,) = level_figures({"p95 latency": curve("seconds", "s", 2, 3)})
    assert 'class="band"' not in figure
    assert ">p95 latency</text>" in figure
