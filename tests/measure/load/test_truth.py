"""Tests of when the times of a load are those of the generator."""

from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.load.truth import doubt_of

NOTHING = Sample()


def same(value: float) -> Sample:
    return Sample([value] * 200)


def test_generator_is_late_above_a_tenth_of_the_p99() -> None:
    assert not doubt_of(same(1.0), same(0.1), NOTHING)
    late = doubt_of(same(1.0), same(0.101), NOTHING)
    assert late == (
        "the generator was late itself: its p99 dispatch delay, 101 ms, is over 10% of the p99"
        " latency, 1 s; lower the rate, or spread it"
    )


def test_loop_is_late_above_a_twentieth_of_the_median() -> None:
    assert not doubt_of(same(1.0), NOTHING, same(0.05))
    late = doubt_of(same(1.0), NOTHING, same(0.051))
    assert late.startswith("the event loop was late itself: its p99 lag, 51 ms, is over")
    assert "5% of the median latency, 1 s" in late


def test_few_late_calls_are_no_doubt() -> None:
    rare = Sample([0.0] * 199 + [5.0])
    assert not doubt_of(same(1.0), rare, rare)


def test_nothing_is_in_doubt_where_no_call_succeeded() -> None:
    assert not doubt_of(NOTHING, same(1.0), same(1.0))
