"""Schedules: the critical path and the perfect schedule, against what was computed by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
from pytest_agentperf.measure.concurrency.spans.schedule import (
    OUTSIDE,
    Step,
    critical_path,
    parallelism,
    perfect,
    union,
)
from pytest_agentperf.measure.concurrency.spans.span import Span

from .plans import call, planned
from .virtual_loop import now, run


def path(spans: list[Span], *window: float) -> list[tuple[str, float]]:
    return [(step.name, step.seconds) for step in critical_path(spans, *window)]


@pytest.mark.parametrize(
    ("intervals", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (3, 4)], 3),
        ([(1, 3), (2, 4)], 3),
        ([(5, 6), (1, 9), (2, 3)], 8),
        ([(1, 2), (4, 6)], 3),
        ([(1, 1)], 0),
    ],
)
def test_union_counts_each_moment_once(
    intervals: list[tuple[float, float]], seconds: float
) -> None:
    assert union(intervals) == seconds


def test_path_of_calls_one_after_the_other_is_all_of_them() -> None:
    spans = planned(search=(0, 3), index=(3, 5), storage=(5, 6))
    assert path(spans) == [("search", 3), ("index", 2), ("storage", 1)]


def test_path_of_calls_at_once_is_the_one_that_ended_last() -> None:
    assert path(planned(search=(0, 3), index=(0, 2), storage=(0, 1))) == [("search", 3)]


def test_path_gives_parents_their_own_time_around_what_they_waited_for() -> None:
    spans = planned(ask=(0, 10), plan=(1, 4, "ask"), search=(4, 9, "ask"), index=(4, 6, "ask"))
    assert path(spans) == [("ask", 1), ("plan", 3), ("search", 5), ("ask", 1)]


def test_path_goes_through_the_last_of_those_that_ended_before_a_call_began() -> None:
    # b began when a had ended; c ran through and ended before the last.
    spans = planned(ask=(0, 12), a=(0, 5, "ask"), c=(0, 8, "ask"), b=(5, 12, "ask"))
    assert path(spans) == [("a", 5), ("b", 7)]


def test_path_gives_a_gap_to_the_parent() -> None:
    spans = planned(ask=(0, 9), a=(1, 3, "ask"), b=(5, 8, "ask"))
    assert path(spans) == [("ask", 1), ("a", 2), ("ask", 2), ("b", 3), ("ask", 1)]


def test_path_names_the_time_outside_of_spans() -> None:
    spans = planned(a=(1, 3), b=(5, 8))
    assert path(spans) == [("a", 2), (OUTSIDE, 2), ("b", 3)]
    assert path(spans, 0, 10) == [
        (OUTSIDE, 1), ("a", 2), (OUTSIDE, 2), ("b", 3), (OUTSIDE, 2),
    ]  # fmt: skip


def test_path_goes_back_from_a_background_call_to_the_one_that_started_it() -> None:
    # a started b and ended; the watch waited for b.
    spans = planned(a=(0, 2), b=(1, 9, "a"))
    assert path(spans) == [("a", 1), ("b", 8)]


def test_path_leaves_out_a_background_call_that_nothing_waited_for() -> None:
    spans = planned(ask=(0, 4), log=(1, 6, "ask"), answer=(4, 9))
    assert path(spans) == [("ask", 4), ("answer", 5)]


def test_path_takes_the_longest_of_calls_that_ended_together() -> None:
    assert path(planned(a=(2, 5), b=(0, 5), c=(1, 5))) == [("b", 5)]


def test_path_joins_parts_that_calls_of_no_time_split() -> None:
    spans = planned(ask=(0, 4), check=(2, 2, "ask"))
    assert path(spans) == [("ask", 4)]


def test_steps_tell_their_span_and_when_they_began() -> None:
    spans = planned(ask=(0, 3), a=(1, 2, "ask"))
    assert critical_path(spans) == (
        Step("ask", 1, 0, span=1),
        Step("a", 1, 1, span=2),
        Step("ask", 1, 2, span=1),
    )


def test_path_reaches_through_a_thousand_levels() -> None:
    spans = [call(id_, "a", id_, 4000 - id_, parent=id_ - 1 or None) for id_ in range(1, 1001)]
    steps = critical_path(spans)
    assert len(steps) == 1999
    assert sum(step.seconds for step in steps) == 3998
    assert perfect(spans) == 3998


def test_perfect_schedule_of_independent_calls_is_the_longest() -> None:
    assert perfect(planned(search=(0, 3), index=(3, 5), storage=(5, 6))) == 3


def test_perfect_schedule_keeps_the_own_time_of_parents() -> None:
    # ask: 1 + 1 + 1 of its own; below it the longer of a with 2 and b with 3.
    spans = planned(ask=(0, 8), a=(1, 3, "ask"), b=(4, 7, "ask"))
    assert perfect(spans) == 3 + 3


def test_perfect_schedule_is_perfect_on_every_level() -> None:
    spans = planned(
        ask=(0, 10), a=(0, 6, "ask"), x=(0, 2, "a"), y=(2, 6, "a"), b=(6, 10, "ask"),
    )  # fmt: skip
    assert perfect(spans) == 4


def test_perfect_schedule_keeps_a_declared_order() -> None:
    spans = planned(search=(0, 3), index=(3, 5), answer=(5, 6))
    assert perfect(spans, {3: {1}}) == 3 + 1
    assert perfect(spans, {3: {2}}) == 3
    assert perfect(spans, {2: {1}, 3: {2}}) == 6


def test_perfect_schedule_ignores_an_order_that_was_not_kept() -> None:
    assert perfect(planned(a=(0, 3), b=(2, 5)), {2: {1}}) == 3


def test_perfect_schedule_counts_time_outside_of_spans() -> None:
    assert perfect(planned(a=(1, 3), b=(4, 5)), start=0, end=7) == 1 + 1 + 2 + 2


def test_perfect_schedule_puts_background_calls_beside_their_parents() -> None:
    assert perfect(planned(a=(0, 2), b=(1, 9, "a"))) == 8


@pytest.mark.parametrize("function", [critical_path, perfect, parallelism])
def test_schedules_of_nothing_are_errors(function: Callable[[list[Span]], object]) -> None:
    with pytest.raises(EmptySampleError, match="track a method"):
        function([])


@dataclass
class Work:
    """Work as it is planned: some of its own, then its parts at once or in turn, then more."""

    before: int
    parts: "list[Work]"
    at_once: bool
    later: int

    def seconds(self) -> int:
        times = [part.seconds() for part in self.parts]
        return self.before + (max(times, default=0) if self.at_once else sum(times)) + self.later

    def best(self) -> int:
        return self.before + max((part.best() for part in self.parts), default=0) + self.later

    def own(self) -> int:
        """Seconds of its own and of its parts, together."""
        return self.before + self.later + sum(part.own() for part in self.parts)

    async def do(self, recorder: SpanRecorder) -> None:
        async with recorder.span(f"work {id(self)}"):
            await asyncio.sleep(self.before)
            running: list[Awaitable[None]] = [part.do(recorder) for part in self.parts]
            if self.at_once:
                await asyncio.gather(*running)
            else:
                for part in running:
                    await part
            await asyncio.sleep(self.later)


works = st.recursive(
    st.builds(Work, st.integers(1, 9), st.just([]), st.booleans(), st.integers(0, 9)),
    lambda inner: st.builds(
        Work, st.integers(0, 9), st.lists(inner, max_size=4), st.booleans(), st.integers(0, 9)
    ),
    max_leaves=12,
)


@given(works)
def test_schedules_of_planned_work_are_exactly_the_planned_ones(work: Work) -> None:
    async def main() -> SpanRecorder:
        recorder = SpanRecorder(clock=now)
        await work.do(recorder)
        recorder.stop()
        return recorder

    recorder = run(main)
    spans = recorder.spans
    assert recorder.totals.wall == work.seconds()
    assert recorder.totals.own == work.own()
    assert parallelism(spans) == recorder.totals.parallelism
    assert perfect(spans) == work.best()
    steps = critical_path(spans)
    assert sum(step.seconds for step in steps) == work.seconds()
    assert [step.start for step in steps] == [
        sum(step.seconds for step in steps[:at]) for at in range(len(steps))
    ]
