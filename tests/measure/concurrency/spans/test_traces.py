"""Tests of traces."""

import pytest

from pytest_agentperf.core.detail import PathStep
from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.traces import Moment, find_traces


def span(number: int, start: float, end: float, parent: int | None = None) -> Span:
    return Span(number, f"s{number}", start, end, parent, attributes={"secret": "prompt"})


def test_calls_without_spans_have_no_traces() -> None:
    assert find_traces([], []) == ()
    assert find_traces([Moment(0, 1)], []) == ()
    assert find_traces([], [span(1, 0, 1)]) == ()


def test_only_call_is_told_with_its_spans_from_its_own_beginning() -> None:
    (trace,) = find_traces([Moment(10, 14)], [span(1, 11, 13)])
    assert (trace.title, trace.seconds) == ("the call", 4)
    ((name, start, end, depth),) = ((s.name, s.start, s.end, s.depth) for s in trace.spans)
    assert (name, start, end, depth) == ("s1", 1, 3, 0)
    assert trace.path == (PathStep(None, 0, 1), PathStep(0, 1, 2), PathStep(None, 3, 1))


@pytest.mark.parametrize(("calls", "median"), [(2, 1.0), (3, 2.0), (4, 2.0), (5, 3.0)])
def test_median_and_slowest_call_are_told(calls: int, median: float) -> None:
    # The calls take 1, 2, 3 … seconds, begun 10 seconds after each other.
    moments = [Moment(10.0 * n, 11.0 * n) for n in range(1, calls + 1)]
    spans = [span(n, moment.start, moment.end) for n, moment in enumerate(moments, 1)]
    traces = find_traces(list(reversed(moments)), spans)
    assert [(trace.title, trace.seconds) for trace in traces] == [
        ("median call", median),
        ("slowest call", float(calls)),
    ]


def test_span_belongs_to_the_call_in_whose_time_it_began_and_ended() -> None:
    moments = [Moment(0, 2), Moment(2, 5)]
    spans = [span(1, 0, 2), span(2, 2, 3), span(3, 4, 5), span(4, 4.5, 5.5), span(5, 5, 6)]
    first, second = find_traces(moments, spans)
    assert [each.name for each in first.spans] == ["s1"]
    assert [each.name for each in second.spans] == ["s2", "s3"]


def test_calls_that_ran_at_once_have_no_traces() -> None:
    spans = [span(1, 0, 1), span(2, 5, 6), span(3, 11, 12)]
    assert find_traces([Moment(0, 10), Moment(1, 2)], spans) == ()
    # The second ends within the first, and the third begins before that ends.
    (alone,) = find_traces([Moment(0, 10), Moment(1, 2), Moment(9, 10.5), Moment(11, 12)], spans)
    assert [each.name for each in alone.spans] == ["s3"]


def test_calls_that_follow_each_other_at_once_overlap_none() -> None:
    spans = [span(1, 0, 1), span(2, 1, 3)]
    assert len(find_traces([Moment(0, 1), Moment(1, 3)], spans)) == 2


def test_depth_is_that_of_the_spans_around() -> None:
    spans = [span(1, 0, 9), span(2, 1, 8, 1), span(3, 2, 3, 2), span(4, 8, 9, 1), span(5, 9, 10)]
    (trace,) = find_traces([Moment(0, 10)], spans)
    assert [each.depth for each in trace.spans] == [0, 1, 2, 1, 0]


def test_longest_spans_are_kept_in_order_and_the_others_counted() -> None:
    spans = [span(n, n, n + (0.5 if n % 2 else 0.9)) for n in range(1, 301)]
    (trace,) = find_traces([Moment(0, 400)], spans)
    assert len(trace.spans) == 150
    assert trace.omitted == 150
    assert all(round(each.end - each.start, 1) == 0.9 for each in trace.spans)
    assert [each.start for each in trace.spans] == sorted(each.start for each in trace.spans)


def test_path_through_spans_that_were_left_out_names_none() -> None:
    spans = [span(n, n, n + 0.5 + n / 1000) for n in range(1, 152)]
    (trace,) = find_traces([Moment(1, 153)], spans)
    assert trace.omitted == 1
    first, _, second, *_ = trace.path  # between them none was open
    assert (first.span, second.span) == (None, 0)
    assert first.seconds == pytest.approx(0.501)


def test_long_path_is_cut() -> None:
    spans = [span(n, n, n + 0.5) for n in range(1, 301)]
    (trace,) = find_traces([Moment(0, 400)], spans)
    assert len(trace.path) == 300


def test_attributes_and_arguments_are_not_told() -> None:
    assert "prompt" not in repr(find_traces([Moment(0, 2)], [span(1, 0, 1)]))


def test_noun_stands_in_the_titles() -> None:
    (trace,) = find_traces([Moment(0, 2)], [span(1, 0, 1)], "watched block")
    assert trace.title == "the watched block"
