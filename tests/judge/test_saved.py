"""Tests of comparing two saved runs."""

import pytest

from pytest_agentperf.judge.comparison import Outcome
from pytest_agentperf.judge.runs import Count, Run
from pytest_agentperf.judge.saved import compare_saved


def outcome(ratio: float, tests: int = 1) -> Outcome:
    names = [f"t{number}" for number in range(tests)]
    base = {name: Run(0.01, 20) for name in names}
    head = base | {"t0": Run(0.01 * ratio, 20)}
    return compare_saved(base, head).tests[0].outcome


# A pair has a deviation of 0.08 * sqrt(2) = 11.3 %; p = .005 lies at 2.576 of them (2.581 with
# 1,000 degrees of freedom): exp(0.2920) = 1.339.
@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1.0, "undecided"), (1.33, "undecided"), (1.35, "regressed"), (0.5, "faster")],
)
def test_change_beyond_what_two_runs_may_differ_by_is_one(ratio: float, expected: str) -> None:
    assert outcome(ratio).value == expected


def test_more_tests_ask_for_a_larger_change() -> None:
    assert outcome(1.35, tests=50) is Outcome.UNDECIDED
    assert outcome(1.60, tests=50) is Outcome.REGRESSED


def test_count_that_changed_is_a_regression_whatever_the_times() -> None:
    base, head = ({"t": Run(1, 5, counts={"llm_calls": Count(n, n, n)})} for n in (2, 3))
    assert compare_saved(base, head).tests[0].outcome is Outcome.REGRESSED
    assert compare_saved(head, base).tests[0].outcome is not Outcome.REGRESSED


def test_tail_is_not_judged() -> None:
    base = {"t": Run(1, 60, tuple([1.0] * 60))}
    head = {"t": Run(1, 60, tuple([1.0] * 40 + [9.0] * 20))}
    assert compare_saved(base, head).tests[0].tail is None


def test_what_one_side_lacks_or_has_otherwise_is_not_compared() -> None:
    base = {"a": Run(1, 1), "b": Run(1, 1, body="x"), "c": Run(1, 1, environment="x")}
    head = {"b": Run(1, 1, body="y"), "c": Run(1, 1, environment="y"), "d": Run(1, 1)}
    found = {one.name: one.outcome.value for one in compare_saved(base, head).tests}
    assert found == {
        "a": "gone",
        "b": "not comparable",
        "c": "other environment",
        "d": "new",
    }
