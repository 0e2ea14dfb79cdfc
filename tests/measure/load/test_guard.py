"""Tests of budgets that are watched while a load runs."""

from dataclasses import replace
from typing import Any

import pytest

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.load.guard import Guard
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.progress import Progress

ABORTING = {"users": 5, "duration": 110, "arm_after": 10, "abort_on_fail": True}


def progress(elapsed: float, errors: int = 0, **stated: Any) -> Progress:
    plan = read_plan(ABORTING)
    made = Progress(
        plan=plan,
        elapsed=elapsed,
        measured=elapsed,
        in_flight=5,
        rate=10.0,
        calls=int(10 * elapsed),
        errors=errors,
        latency=Sample([0.5] * (int(10 * elapsed) - errors)),
        ttft=Sample(),
        itl=Sample(),
        late=Sample(),
        lag=Sample(),
    )
    return replace(made, **stated)


class Judge:
    """Misses an error rate above a limit."""

    def __init__(self, limit: float = 0.1) -> None:
        self.limit = limit
        self.seen: list[Measurement] = []

    def __call__(self, measurement: Measurement) -> str:
        self.seen.append(measurement)
        rate = measurement.values["error_rate"]
        return f"error rate was {rate:.0%}" if rate > self.limit else ""


def guard(judge: Judge, **stated: object) -> Guard:
    return Guard(read_plan({**ABORTING, **stated}), judge, None, "ask")


def test_guard_does_not_look_before_it_is_armed() -> None:
    judge = Judge(limit=-1)
    watching = guard(judge)
    assert watching(progress(9.9)) is None
    assert not judge.seen
    assert watching(progress(10)) == "error rate was 0%"


def test_guard_looks_twenty_times_at_most_and_shares_its_false_alarms() -> None:
    judge = Judge()
    watching = guard(judge)
    for elapsed in range(1, 110):
        watching(progress(elapsed))
    assert len(judge.seen) == 20
    assert [seen.looks for seen in judge.seen] == list(range(1, 21))
    assert {seen.planned_looks for seen in judge.seen} == {21}


def test_error_rate_that_can_still_be_met_does_not_end_the_load() -> None:
    watching = guard(Judge(limit=0.1))
    # 55 of 550 calls failed by half the time: if no further call fails, 5 % will have.
    assert watching(progress(55, errors=60)) is None
    assert watching(progress(61, errors=120)) == "error rate was 20%"


def test_requests_that_are_left_bound_what_can_still_be_met() -> None:
    watching = guard(Judge(limit=0.1), requests=610)
    assert watching(progress(60, errors=62)) == "error rate was 10%"


def test_guard_that_may_not_abort_takes_note() -> None:
    watching = guard(Judge(limit=0.1), abort_on_fail=False)
    assert watching(progress(50, errors=400)) is None
    assert watching.missed == "error rate was 80%"
    assert watching.missed_after == 50
    assert not watching.has_ended
    assert watching(progress(60, errors=500)) is None
    assert watching.missed_after == 50


def test_guard_judges_all_that_is_known() -> None:
    judge = Judge()
    guard(judge)(progress(20, errors=20, ttft=Sample([0.1])))
    (seen,) = judge.seen
    assert seen.calls == 200
    assert seen.values["throughput"] == pytest.approx(9)
    assert set(seen.samples) == {"latency", "ttft"}
    assert not seen.doubts


def test_guard_says_where_the_generator_was_late_itself() -> None:
    judge = Judge()
    guard(judge)(progress(20, lag=Sample([0.1] * 10)))
    assert "the event loop was late itself" in judge.seen[0].doubts["latency"]
    assert "error_rate" not in judge.seen[0].doubts


def test_guard_waits_for_calls() -> None:
    judge = Judge(limit=-1)
    assert guard(judge)(progress(20, calls=0, latency=Sample())) is None
    assert not judge.seen
