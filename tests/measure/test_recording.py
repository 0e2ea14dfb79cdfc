"""A recording: what its measurement says after calls that ended and calls that raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.usage import Usage
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.spending import UsageReading
from pytest_agentperf.measure.stream import ItemClock

from .conftest import FakeClock


def streamed(clock: FakeClock, *gaps: float) -> ItemClock:
    """Return the times of a stream whose items came after *gaps*."""
    items = ItemClock(clock(), clock)
    for gap in gaps:
        clock.advance(gap)
        items.item("a")
    return items


def test_recording_of_nothing_has_no_numbers(recording: Recording) -> None:
    measured = recording.measurement()
    assert (measured.calls, measured.errors) == (0, 0)
    assert measured.samples == {}
    assert measured.values == {}
    assert measured.unknown == {}
    assert measured.notes == ()
    assert measured.subject == "the test"


def test_recording_keeps_latencies_in_order(recording: Recording) -> None:
    for seconds in (0.5, 2.0, 0.25):
        recording.add(seconds)
    measured = recording.measurement()
    assert list(measured.samples["latency"]) == [0.5, 2.0, 0.25]
    assert measured.calls == 3
    assert measured.values["error_rate"] == 0


def test_recording_counts_errors_apart(recording: Recording) -> None:
    recording.add(1.0)
    recording.fail(8.0, ValueError("no"))
    recording.fail(9.0, ValueError("no"))
    recording.fail(9.0, TimeoutError())
    measured = recording.measurement()
    assert list(measured.samples["latency"]) == [1.0]
    assert list(recording.failed) == [8.0, 9.0, 9.0]
    assert (measured.calls, measured.errors) == (4, 3)
    assert measured.values["error_rate"] == 0.75
    assert measured.notes == ("3 of 4 calls raised (2 × ValueError, 1 × TimeoutError)",)


def test_recording_of_errors_alone_has_an_error_rate(recording: Recording) -> None:
    recording.fail(1.0, ValueError())
    measured = recording.measurement()
    assert measured.values["error_rate"] == 1
    assert measured.samples["latency"].count == 0


def test_recording_of_a_body_has_no_error_rate() -> None:
    recording = Recording(None, is_body=True)
    recording.add(1.0)
    assert "error_rate" not in recording.measurement().values


def test_recording_reports_streams(recording: Recording, clock: FakeClock) -> None:
    recording.add(4.0, streamed(clock, 0.5, 0.25, 0.75))
    recording.add(2.0, streamed(clock, 1.0, 0.5))
    measured = recording.measurement()
    assert list(measured.samples["ttft"]) == [0.5, 1.0]
    assert list(measured.samples["itl"]) == [0.25, 0.75, 0.5]
    assert measured.values["items_per_second"] == 5 / 6
    assert measured.unknown == {}


def test_recording_without_streams_knows_nothing_of_them(recording: Recording) -> None:
    recording.add(4.0)
    measured = recording.measurement()
    assert not {"ttft", "itl"} & set(measured.samples)
    assert not {"ttft", "itl"} & set(measured.unknown)


def test_recording_says_why_the_times_of_an_empty_stream_are_unknown(
    recording: Recording, clock: FakeClock
) -> None:
    recording.add(4.0, streamed(clock))
    measured = recording.measurement()
    assert measured.unknown["ttft"].startswith("no item of the stream had content")
    assert measured.unknown["itl"].startswith("no stream had two items with content")
    assert "items_per_second" not in measured.values


def test_recording_says_why_the_gaps_of_single_items_are_unknown(
    recording: Recording, clock: FakeClock
) -> None:
    recording.add(4.0, streamed(clock, 1.0))
    assert set(recording.measurement().unknown) == {"itl"}


def test_recording_survives_streams_that_take_no_time(
    recording: Recording, clock: FakeClock
) -> None:
    recording.add(0.0, streamed(clock, 0.0))
    recording.read("a", "ask", UsageReading(), streamed=Usage(1, 2), is_stream=True)
    assert not {"items_per_second", "output_tokens_per_second"} & set(
        recording.measurement().values
    )


def test_recording_divides_the_tokens_of_streams_by_their_time(
    recording: Recording, clock: FakeClock
) -> None:
    recording.add(4.0, streamed(clock, 1.0, 1.0))
    recording.read("a", "ask", UsageReading(), streamed=Usage(9, 12), is_stream=True)
    assert recording.measurement().values["output_tokens_per_second"] == 3.0


def test_recording_says_why_the_token_rate_of_a_stream_is_unknown(
    recording: Recording, clock: FakeClock
) -> None:
    recording.add(4.0, streamed(clock, 1.0, 1.0))
    recording.read(["a"], "ask", UsageReading(), is_stream=True)
    measured = recording.measurement()
    assert "output_tokens_per_second" not in measured.values
    assert "ask returned list" in measured.unknown["output_tokens_per_second"]


def test_recording_of_plain_calls_has_no_token_rate(recording: Recording) -> None:
    recording.add(4.0)
    recording.read({"input_tokens": 1, "output_tokens": 2}, "ask", UsageReading())
    measured = recording.measurement()
    assert "output_tokens_per_second" not in {*measured.values, *measured.unknown}
    assert list(measured.samples["output_tokens_per_call"]) == [2]


def test_recording_adds_the_cost_up(recording: Recording) -> None:
    for dollars in (0.5, 0.25):
        recording.add(1.0)
        recording.read(dollars, "ask", UsageReading(cost=lambda reply: reply))
    measured = recording.measurement()
    assert list(measured.samples["cost_per_call"]) == [0.5, 0.25]
    assert measured.values["cost_total"] == 0.75


def test_recording_has_no_total_of_unknown_costs(recording: Recording) -> None:
    recording.add(1.0)
    recording.read("a", "ask", UsageReading(wants_cost=True))
    measured = recording.measurement()
    assert "cost_total" not in measured.values
    assert "cost_total" in measured.unknown


def test_recording_keeps_counts_of_each_call(recording: Recording) -> None:
    recording.add(1.0, counts={"tool_calls": 2})
    recording.add(1.0, counts={"tool_calls": 0})
    assert list(recording.measurement().samples["tool_calls"]) == [2, 0]


def test_recording_names_its_only_subject_without_a_note(recording: Recording) -> None:
    recording.name("Agent.ask")
    recording.name("Agent.ask")
    measured = recording.measurement()
    assert measured.subject == "Agent.ask"
    assert measured.notes == ()


def test_recording_notes_that_subjects_share_it(recording: Recording) -> None:
    for subject in ("ask", "plan", "act", "rest"):
        recording.name(subject)
    measured = recording.measurement()
    assert measured.subject == "ask and plan and act"
    assert measured.notes == (
        'ask, plan, act share one measurement; tell them apart with perf_timer["label"]',
    )


def test_recording_notes_a_sentence_once(recording: Recording) -> None:
    recording.note("too few")
    recording.note("too few")
    assert recording.measurement().notes == ("too few",)


def test_recording_passes_on_label_bound_and_looks() -> None:
    recording = Recording("plan")
    recording.bound, recording.looks, recording.planned_looks = "max_calls 7", 2, 5
    measured = recording.measurement()
    assert (measured.label, measured.bound) == ("plan", "max_calls 7")
    assert (measured.looks, measured.planned_looks) == (2, 5)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans())))
def test_recording_counts_each_call_once(calls: list[tuple[int, bool]]) -> None:
    recording = Recording(None)
    for seconds, raised in calls:
        if raised:
            recording.fail(seconds, ValueError())
        else:
            recording.add(seconds)
    measured = recording.measurement()
    failed = sum(raised for _, raised in calls)
    assert (measured.calls, measured.errors) == (len(calls), failed)
    if calls:
        assert measured.values["error_rate"] == pytest.approx(failed / len(calls))
        assert measured.samples["latency"].count == len(calls) - failed
