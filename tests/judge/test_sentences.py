"""Tests of the sentences of the regression gate."""

import math

import pytest

from pytest_agentperf.judge.compare import compare_duet, compare_history
from pytest_agentperf.judge.comparison import Outcome
from pytest_agentperf.judge.runs import Count, Run
from pytest_agentperf.judge.sentences import describe_obstacle, format_change


def runs(*seconds: float) -> list[Run]:
    return [Run(each, 20, counts={"llm_calls": Count(2, 2, 2)}) for each in seconds]


BASE = runs(0.0124, 0.0125, 0.0123, 0.0124, 0.0124)
HEAD = runs(0.0151, 0.0150, 0.0152, 0.0154, 0.0149)


def test_duet_states_medians_ratio_interval_chance_and_numbers() -> None:
    found = compare_duet({"t": BASE}, {"t": HEAD}).tests[0]
    assert found.outcome is Outcome.REGRESSED
    assert found.sentence == (
        "latency median 12.4 ms → 15.1 ms, +22 % (95 % CI +20…+24 %, p = 5e-06,"
        " 5 pairs × 20 calls, could show +6.1 %)"
    )


def test_history_states_its_runs() -> None:
    found = compare_history({"t": BASE}, {"t": HEAD[:1]}).tests[0]
    assert ", 5 earlier runs × 20 calls, " in found.sentence


def test_undecided_comparison_names_its_cure() -> None:
    base, head = runs(0.01, 0.01, 0.01), runs(0.011, 0.013, 0.012)
    duet = compare_duet({"t": base}, {"t": head}).tests[0]
    assert duet.outcome is Outcome.UNDECIDED
    assert duet.sentence.endswith("; undecided: more pairs would tell it from noise")
    known = runs(0.010, 0.012, 0.011, 0.009, 0.010)
    alone = compare_history({"t": known}, {"t": head[1:2]}).tests[0]
    assert alone.sentence.endswith(
        "; undecided: more runs, or a comparison with a revision, would tell it from noise"
    )


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (1.224, "+22 %"),
        (1.0996, "+10 %"),
        (1.0951, "+9.5 %"),
        (1.041, "+4.1 %"),
        (0.959, "-4.1 %"),
        (0.5, "-50 %"),
        (1.0, "+0.0 %"),
        (2.99, "+199 %"),
        (3.0, "×3"),
        (12.34, "×12"),
        (123.4, "×123"),
    ],
)
def test_change_is_written_with_two_digits(ratio: float, expected: str) -> None:
    assert format_change(ratio) == expected


def test_tests_that_cannot_be_compared_say_why() -> None:
    assert describe_obstacle(Outcome.NEW) == "new: the base does not have it"
    assert describe_obstacle(Outcome.NEW, 3) == "new: 3 of 5 runs that it takes to compare"
    assert describe_obstacle(Outcome.GONE) == "gone: the base has it and this run does not"
    assert "the test or its input changed" in describe_obstacle(Outcome.NOT_COMPARABLE)
    assert "no run of the base is from one like this" in describe_obstacle(
        Outcome.OTHER_ENVIRONMENT, 0
    )


def test_chance_is_written_without_false_digits() -> None:
    head = [Run(0.0124 * math.exp(0.2), 20, counts={"llm_calls": Count(2, 2, 2)})] * 5
    still = compare_duet({"t": [BASE[0]] * 5}, {"t": head}).tests[0]
    assert "p = 0," in still.sentence
