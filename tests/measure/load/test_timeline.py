"""Tests of the windows and stages of a load."""

import pytest

from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.timeline import Timeline


def test_load_has_sixty_windows() -> None:
    timeline = Timeline.of(read_plan({"users": 1, "duration": 30}))
    assert timeline.ends == pytest.approx([n / 2 for n in range(1, 61)])
    assert set(timeline.stages) == {0}
    assert timeline.warm == 0


def test_windows_of_a_short_load_are_a_tenth_of_a_second() -> None:
    assert len(Timeline.of(read_plan({"users": 1, "duration": 1})).ends) == 10


def test_no_window_lies_in_two_stages_or_half_in_the_warmup() -> None:
    plan = read_plan({"stages": "7s:1,0s:5,53s:1", "warmup": "2500ms"})
    timeline = Timeline.of(plan)
    assert 7.0 in timeline.ends
    assert timeline.ends[-1] == 60
    assert timeline.stages == (0,) * 8 + (1,) * 53  # one of 0.5 s each side of the warmup's end
    assert timeline.ends[timeline.warm - 1] == 2.5


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.1, 0.3, 1 / 3, 59.99, 61, 12345.678])
def test_last_window_ends_with_the_load(seconds: float) -> None:
    timeline = Timeline.of(read_plan({"users": 1, "duration": seconds}))
    assert timeline.ends[-1] == pytest.approx(seconds)
    assert all(a < b for a, b in zip(timeline.ends, timeline.ends[1:], strict=False))
    assert len(timeline.ends) <= 61
