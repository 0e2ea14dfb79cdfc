"""Tests of how far a load has come."""

import pytest

from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.progress import ProgressView
from pytest_agentperf.measure.load.tally import LoadTally

PLAN = read_plan({"users": 3, "duration": 60, "warmup": 10})


def test_view_counts_what_is_new_once() -> None:
    tally = LoadTally()
    view = ProgressView(PLAN, tally, 10)
    tally.cell(0, 10).latency.add(0.5)
    tally.cell(1, 10).fail(0.1, "ValueError")
    first = view.look(12, 3)
    assert (first.calls, first.errors, first.latency.count) == (2, 1, 1)
    tally.cell(0, 10).latency.add(0.7)
    tally.cell(0, 11).latency.add(0.7)
    tally.late.add(0.01)
    second = view.look(13, 2)
    assert (second.calls, second.errors, second.latency.count) == (4, 1, 3)
    assert second.rate == pytest.approx(2)
    assert second.late.count == 1
    assert second.in_flight == 2
    assert second.remaining == 47
    assert second.measured == 3


def test_view_leaves_the_warmup_out() -> None:
    tally = LoadTally()
    tally.cell(0, 9).latency.add(0.5)
    tally.cell(0, 9).fail(0.5, "ValueError")
    seen = ProgressView(PLAN, tally, 10).look(5, 3)
    assert (seen.calls, seen.errors, seen.measured) == (0, 0, 0)


def test_view_sees_streams() -> None:
    tally = LoadTally()
    cell = tally.cell(0, 10)
    cell.ttft.add(0.2)
    cell.itl.add(0.1)
    view = ProgressView(PLAN, tally, 10)
    view.look(11, 0)
    cell.itl.add(0.1)
    seen = view.look(12, 0)
    assert (seen.ttft.count, seen.itl.count) == (1, 2)


def test_view_and_trim_lose_nothing_between_them() -> None:
    tally = LoadTally()
    latency = tally.cell(0, 10).latency
    view = ProgressView(PLAN, tally, 10)
    for number in range(5):
        append = latency.append
        for _ in range(300_000):
            append(0.5)
        seen = view.look(number, 0)
        for _ in tally.trim():
            latency.append(0.5)
    assert seen.latency.count == pytest.approx(1_500_000, abs=1000)
    assert view.look(9, 0).latency.count == latency.count
