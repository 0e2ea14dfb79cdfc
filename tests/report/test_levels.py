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
    assert "<figcaption>Process <small>over seconds</small>" in figures[1]
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


def test_curves_of_workers_share_a_lane() -> None:
    found = {f"rss (worker {n})": curve("seconds", "B", n, n + 1) for n in (1, 2, 3)}
    (figure,) = level_figures(found)
    assert figure.count('class="line"') == 3
    assert re.findall(r'class="name"[^>]*>([^<]+)', figure) == ["rss"]
    assert "> 3 workers</tspan>" in figure


def test_load_stands_apart_from_what_the_process_did_meanwhile() -> None:
    figures = [
        *level_figures(
            {
                "throughput": curve("seconds", "/s", 5, 6),
                "cpu": curve("seconds", "share", 0.5, 1.0),
                "network in": curve("seconds", "B/s", 0, 1e6),
                "in flight": curve("seconds", "", 1, 2),
            }
        )
    ]
    assert [re.findall(r"<figcaption>(\w+)", figure)[0] for figure in figures] == [
        "Load",
        "Process",
    ]
    assert ">network in a second</text>" in figures[1]
    assert ">1 MB</text>" in figures[1]
    assert ">100 %</text>" in figures[1]


def test_long_curve_is_thinned_and_keeps_its_spike() -> None:
    ys = [1.0] * 5000
    ys[77] = 100.0
    (figure,) = level_figures({"threads": curve("seconds", "", *ys)})
    assert ">100</text>" in figure
    assert len(figure) < 4000


def test_level_that_is_always_zero_is_left_out_but_for_a_load() -> None:
    assert [*level_figures({"disk": curve("seconds", "B/s", 0, 0)})] == []
    (figure,) = level_figures({"error rate": curve("seconds", "share", 0, 0)})
    assert ">error rate</text>" in figure
