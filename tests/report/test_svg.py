"""Tests of drawings."""

import re

import pytest

from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.svg import Lane, Mark, Shape, bar, ecdf, lanes, path, sparkline, strip

SHAPE = Shape("now", "this run", [1.0, 2.0, 3.0], [0.0, 0.5, 1.0])


def places(drawing: str) -> list[str]:
    """Return the data of the paths of *drawing*."""
    return re.findall(r' d="([^"]*)"', drawing)


def test_path_goes_from_point_to_point_and_leaves_out_what_does_not_move() -> None:
    assert path([0, 3, 3, 5], [10, 7, 7, 9]) == "M0 10l3-3 2 2"


def test_path_that_does_not_move_is_a_dot() -> None:
    assert path([4, 4], [5, 5]) == "M4 5h0"


def test_distribution_rises_from_the_left_to_the_right() -> None:
    (line,) = re.findall(
        r'class="now" d="M(\d+) (\d+)l(\d+)-(\d+) (\d+)-(\d+)', ecdf("x", Unit.SECONDS, [SHAPE])
    )
    _, y, right, up, *more = map(int, line)
    assert min(right, up, *more) > 0
    assert y - up - more[1] == 4 * 8  # the top, in quarters


def test_few_values_are_drawn_one_by_one_and_many_are_not() -> None:
    def dots(count: int) -> int:
        shape = Shape(
            "now", "", [float(n) for n in range(count)], [n / count for n in range(count)]
        )
        return ecdf("x", Unit.SECONDS, [shape]).count("h0")

    assert (dots(40), dots(41)) == (40, 0)


def test_limit_is_a_line_with_a_label_and_the_value_a_dot() -> None:
    mark = Mark("p95 ≤ 2.5 s", 2.5, "failed", 2.8, 0.95)
    drawing = ecdf("x", Unit.SECONDS, [SHAPE], [mark])
    assert 'class="lim failed"' in drawing
    assert '<circle class="failed"' in drawing
    assert ">p95 ≤ 2.5 s</text>" in drawing


def test_limit_far_away_is_an_arrow_at_the_edge() -> None:
    def drawing(limit: float) -> str:
        return ecdf("x", Unit.SECONDS, [SHAPE], [Mark("limit", limit, "passed", None, 1.0)])

    assert "limit →" not in drawing(6.0)
    assert "limit →" in drawing(6.01)
    assert 'class="lim passed"' not in drawing(6.01)


def test_labels_of_limits_stand_below_each_other() -> None:
    marks = [Mark("a", 2.0, "passed", None, 1.0), Mark("b", 2.1, "passed", None, 1.0)]
    heights = re.findall(
        r'y="(\d+)" text-anchor="\w+">[ab]<', ecdf("x", Unit.SECONDS, [SHAPE], marks)
    )
    assert heights == ["14", "28"]


def test_lanes_have_each_a_scale_of_its_own_and_share_the_axis() -> None:
    small, large = (
        Lane(title, None, [Shape("line", title, [0.0, 10.0], [0.0, high])])
        for title, high in (("small", 1.0), ("large", 1000.0))
    )
    drawing = lanes("levels", Unit.SECONDS, [small, large])
    assert ">small</text>" in drawing
    assert ">1000</text>" in drawing
    assert drawing.count(">10 s</text>") == 1
    one, other = re.findall(r'class="line" d="M(\d+) \d+l(\d+)-(\d+)', drawing)
    assert one == other


def test_area_is_closed_along_its_lower_edge() -> None:
    band = Shape("band", "", [0.0, 1.0], [2.0, 2.0], [1.0, 1.0])
    (data,) = re.findall(r'class="band" d="([^"]*)"', lanes("x", None, [Lane("t", None, [band])]))
    assert data.startswith("M")
    assert data.endswith("Z")
    assert data.count("L") == 1


@pytest.mark.parametrize(
    ("value", "width"), [(0.0, "0"), (0.5, "37.5"), (1.0, "75"), (1.25, "93.8"), (9.0, "100")]
)
def test_bar_reaches_its_limit_at_three_quarters(value: float, width: str) -> None:
    assert f'class="passed" y="2" width="{width}"' in bar(value, 1.0, "passed", (None, None))


def test_bar_shows_the_interval_as_far_as_it_is_known() -> None:
    assert "M60 5H90" in bar(1.0, 1.0, "passed", (0.8, 1.2))
    assert "M60 5H100" in bar(1.0, 1.0, "passed", (0.8, None))
    assert 'class="ci"' not in bar(1.0, 1.0, "passed", (None, None))


@pytest.mark.parametrize(
    ("lookups", "dashes"), [("MMHHHM", "0 2 3 1"), ("HHM", "2 1"), ("H", "1"), ("M", "0 1")]
)
def test_strip_has_a_dash_for_each_run_of_hits(lookups: str, dashes: str) -> None:
    drawing = strip(lookups, "lookups")
    assert f'stroke-dasharray="{dashes}"' in drawing
    assert f'viewBox="0 0 {len(lookups)} 20"' in drawing


def test_sparkline_keeps_few_points_of_many() -> None:
    (few,), (many,) = (
        places(sparkline([1.0, 2.0], "")),
        places(sparkline([*map(float, range(999))], "")),
    )
    assert few == "M4 39l312-29"
    assert len(many) < 400


def test_words_of_drawings_are_escaped() -> None:
    hostile = '"><script>'
    shape = Shape("now", hostile, [1.0, 2.0], [0.0, 1.0])
    drawn = [
        ecdf(hostile, Unit.SECONDS, [shape], [Mark(hostile, 2.0, "passed", None, 1.0)]),
        lanes(hostile, None, [Lane(hostile, None, [shape], hostile)]),
        sparkline([1.0], hostile),
        strip("H", hostile),
    ]
    assert not any("<script" in drawing or '"">' in drawing for drawing in drawn)
