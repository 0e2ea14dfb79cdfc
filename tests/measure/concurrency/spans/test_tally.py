"""Tallies: exact numbers of overlapping spans, against schedules computed by hand and by force."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.tally import OTHER_NAMES, Aggregate, Tally, Totals

from .plans import call, planned


def test_calls_one_after_the_other_have_a_parallelism_of_one() -> None:
    spans = planned(a=(0, 3), b=(3, 5), c=(5, 6))
    assert Tally.of(spans).totals == Totals(count=3, seconds=6, own=6, wall=6)
    assert Tally.of(spans).totals.parallelism == 1


def test_calls_at_once_have_the_parallelism_of_their_seconds_by_the_wall_time() -> None:
    totals = Tally.of(planned(a=(0, 3), b=(0, 2), c=(0, 1))).totals
    assert totals == Totals(count=3, seconds=6, own=6, wall=3)
    assert totals.parallelism == 2


def test_a_parent_counts_only_while_none_of_its_children_runs() -> None:
    # The parent alone: 0 to 1 and 4 to 5; two children from 1 to 3, one from 3 to 4.
    totals = Tally.of(planned(ask=(0, 5), a=(1, 4, "ask"), b=(1, 3, "ask"))).totals
    assert totals == Totals(count=3, seconds=10, own=1 + 3 + 2 + 1, wall=5)
    assert totals.parallelism == 7 / 5


def test_a_chain_of_parents_counts_once() -> None:
    spans = planned(a=(0, 4), b=(0, 4, "a"), c=(0, 4, "b"))
    assert Tally.of(spans).totals.parallelism == 1


def test_a_child_that_outlives_its_parent_counts_beside_what_follows() -> None:
    # a: 0 to 1; b, its child: 1 to 4; c: 3 to 5.
    totals = Tally.of(planned(a=(0, 2), b=(1, 4, "a"), c=(3, 5))).totals
    assert totals == Totals(count=3, seconds=7, own=1 + 3 + 2, wall=5)


def test_a_gap_between_calls_is_no_wall_time() -> None:
    assert Tally.of(planned(a=(0, 1), b=(10, 12))).totals.wall == 3


def test_spans_that_took_no_time_overlapped_nothing() -> None:
    totals = Tally.of(planned(a=(1, 1), b=(1, 1))).totals
    assert totals == Totals(2, 0, 0, 0)
    assert totals.parallelism == 1


def test_parallelism_of_nothing_is_an_error() -> None:
    with pytest.raises(EmptySampleError, match="parallelism of no spans: track a method"):
        _ = Tally[Span]().totals.parallelism


def test_names_are_counted_apart() -> None:
    spans = [call(1, "a", 0, 2), call(2, "a", 1, 3), call(3, "b", 0, 4), call(4, "a", 5, 6)]
    assert Tally.of(spans).by_name == {
        "a": Aggregate(count=3, errors=0, seconds=5, wall=4, in_flight_max=2),
        "b": Aggregate(count=1, errors=0, seconds=4, wall=4, in_flight_max=1),
    }


def test_one_that_ends_when_another_begins_is_not_in_flight_with_it() -> None:
    spans = [call(1, "a", 0, 1), call(2, "a", 1, 1), call(3, "a", 1, 2)]
    assert Tally.of(spans).by_name["a"].in_flight_max == 2  # the one of no time, and the last


def test_errors_are_counted() -> None:
    spans = [call(1, "a", 0, 1, error="ValueError"), call(2, "a", 1, 2)]
    assert Tally.of(spans).by_name["a"].errors == 1


def test_fullest_moment_is_the_first_with_the_most_in_flight() -> None:
    times = [(0, 4), (1, 3), (2, 3), (5, 9), (6, 9), (7, 9)]
    spans = [call(id_, "a", *time) for id_, time in enumerate(times, 1)]
    at, members = Tally.of(spans).fullest("a")
    assert at == 2
    assert [span.id for span in members] == [1, 2, 3]


def test_fullest_moment_remembers_the_first_sixteen() -> None:
    spans = [call(id_, "a", id_, 100) for id_ in range(1, 41)]
    tally = Tally.of(spans)
    at, members = tally.fullest("a")
    assert (at, tally.by_name["a"].in_flight_max) == (40, 40)
    assert [span.id for span in members] == list(range(1, 17))


def test_more_than_a_thousand_names_are_counted_together() -> None:
    tally = Tally.of(call(id_, f"call {id_}", id_, id_ + 2) for id_ in range(1, 1051))
    names = tally.by_name
    assert len(names) == 1001
    assert names["call 1000"].count == 1
    assert "call 1001" not in names
    assert names[OTHER_NAMES] == Aggregate(50, 0, 100, 51, 2)


def test_an_end_without_a_beginning_is_none() -> None:
    tally: Tally[Span] = Tally()
    tally.end(call(1, "a", 0, 1))
    assert tally.totals == Totals(0, 0, 0, 0)


def test_moments_told_out_of_order_never_take_time_back() -> None:
    tally: Tally[Span] = Tally()
    one, other = call(1, "a", 2, 5), call(2, "a", 1, 4)
    tally.start(one)
    tally.start(other)  # a thread took its time first and told of it second
    tally.end(one)
    tally.end(other)
    assert tally.totals == Totals(count=2, seconds=6, own=6, wall=3)


@st.composite
def forests(draw: st.DrawFn) -> list[Span]:
    """Return spans in whole seconds, with parents that were open when they began."""
    spans: list[Span] = []
    start = 0
    for id_ in range(1, draw(st.integers(1, 12)) + 1):
        start += draw(st.integers(0, 3))
        around = [span.id for span in spans if span.end > start]
        parent = draw(st.sampled_from([None, *around]))
        end = start + draw(st.integers(1, 8))
        spans.append(call(id_, draw(st.sampled_from("ab")), start, end, parent=parent))
    return spans


@given(forests())
def test_totals_are_those_of_a_look_at_every_second(spans: list[Span]) -> None:
    own = wall = 0
    for second in range(int(max(span.end for span in spans))):
        open_ = [span for span in spans if span.start <= second < span.end]
        parents = {span.parent for span in open_}
        own += sum(span.id not in parents for span in open_)
        wall += bool(open_)
    totals = Tally.of(spans).totals
    assert (totals.own, totals.wall) == (own, wall)
    assert totals.seconds == sum(span.seconds for span in spans)


@given(forests())
def test_in_flight_is_that_of_a_look_at_every_second(spans: list[Span]) -> None:
    for name, found in Tally.of(spans).by_name.items():
        named = [span for span in spans if span.name == name]
        at_once = [
            sum(span.start <= second < span.end for span in named)
            for second in range(int(max(span.end for span in named)))
        ]
        assert found.in_flight_max == max(at_once)
        assert found.wall == sum(map(bool, at_once))


def test_open_spans_are_those_that_have_not_ended() -> None:
    tally: Tally[Span] = Tally()
    spans = planned(a=(0, 3), b=(1, 2))
    for span in spans:
        tally.start(span)
    tally.end(spans[1])
    assert tally.open == (spans[0],)
    assert list(itertools.chain(tally.by_name)) == ["a", "b"]
