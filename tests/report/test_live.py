"""Tests of the live line: what it says, and what a terminal makes of it."""

from dataclasses import replace

import pytest

from pytest_agentperf.core.glance import Glance
from pytest_agentperf.report.live import draw, erase, glance_line

pyte = pytest.importorskip("pyte")

RUNNING = Glance(
    calls=2000,
    errors=3,
    rate=203.4,
    in_flight=12,
    percentiles={50: 0.0051, 99: 0.92, 95: 0.0098},
    seconds_left=24.4,
)


def screen(*written: str, columns: int = 40, lines: int = 4) -> list[str]:
    """Return the lines of a terminal on which that was *written*, and where its cursor is."""
    shown = pyte.Screen(columns, lines)
    stream = pyte.Stream(shown)
    for text in written:
        stream.feed(text)
    return [line.rstrip() for line in shown.display]


def test_line_tells_rate_in_flight_percentiles_errors_and_what_remains() -> None:
    assert glance_line(RUNNING) == (
        "203/s, 12 in flight, p50 5.1 ms, p95 9.8 ms, p99 920 ms, 3 errors (0.15 %), 24 s left"
    )


def test_line_tells_how_many_calls_are_left_where_they_are_bounded() -> None:
    line = glance_line(replace(RUNNING, seconds_left=None, calls_left=500))
    assert line.endswith(", 500 calls left")


def test_line_before_the_first_call_has_ended_has_no_percentiles() -> None:
    line = glance_line(Glance(0, 0, 0.0, 10, {}))
    assert line == "0/s, 10 in flight, no errors"


@pytest.mark.parametrize(("workers", "words"), [(1, "1 worker"), (4, "4 workers")])
def test_line_of_several_processes_tells_the_time_alone(workers: int, words: str) -> None:
    glance = Glance(0, 0, 0.0, 0, {}, workers=workers)
    assert glance_line(glance) == words
    assert glance_line(replace(glance, seconds_left=24.4)) == f"{words}, 24 s left"


@pytest.mark.parametrize(("errors", "words"), [(0, "no errors"), (1, "1 error (0.05 %)")])
def test_line_counts_errors(errors: int, words: str) -> None:
    assert words in glance_line(replace(RUNNING, errors=errors)).split(", ")


def test_time_left_is_never_negative() -> None:
    assert glance_line(replace(RUNNING, seconds_left=-0.7)).endswith(", 0 s left")


def test_line_is_drawn_below_the_cursor_which_stays() -> None:
    assert screen("t.py ", draw("10/s", 40), draw("20/s", 40), ".") == ["t.py .", "20/s", "", ""]


def test_line_makes_room_on_the_last_line_of_the_screen() -> None:
    text = "a\r\nb\r\nc\r\nt.py "
    assert screen(text, draw("10/s", 40), ".") == ["b", "c", "t.py .", "10/s"]
    assert screen(text, draw("10/s", 40), draw("20/s", 40), ".") == ["b", "c", "t.py .", "20/s"]


def test_line_that_is_erased_leaves_nothing() -> None:
    written = ("t.py ", draw("10/s", 40), erase(), ".\r\nb")
    assert screen(*written) == ["t.py .", "b", "", ""]


@pytest.mark.parametrize(
    ("width", "shown"), [(5, "10/s"), (4, "10…"), (3, "1…"), (2, "…"), (1, "…")]
)
def test_line_is_cut_to_the_terminal(width: int, shown: str) -> None:
    assert screen(draw("10/s", width), columns=40)[1] == shown
