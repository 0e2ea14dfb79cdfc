"""Tests of what pairs up, what does not, and what it takes."""

import pytest

from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.gate.pairing import (
    Pair,
    PairCost,
    comparable_names,
    describe_cost,
    dollars_of,
    foresee,
    judge_pairs,
)
from pytest_agentperf.judge.comparison import STANDARD, Outcome
from pytest_agentperf.judge.runs import Count, Run


def side(seconds: float = 0.01, *names: str, **unmeasured: str) -> SideReport:
    runs = {name: Run(seconds, 20) for name in names or ("t",)}
    return SideReport(runs, dict.fromkeys(runs, 21), unmeasured)


def outcomes(probe: Pair, *pairs: Pair) -> dict[str, tuple[Outcome, str]]:
    found = judge_pairs(probe, pairs, STANDARD, 1)
    return {test.name: (test.outcome, test.sentence) for test in found.tests}


def test_test_of_both_sides_is_compared() -> None:
    pair = Pair(side(0.01), side(0.02))
    assert outcomes(pair, pair, pair)["t"][0] is Outcome.REGRESSED
    assert outcomes(pair, pair._replace(head=pair.base), pair)["t"][0] is Outcome.UNDECIDED


def test_new_and_gone_tests_are_told() -> None:
    found = outcomes(Pair(side(0.01, "old"), side(0.01, "new")))
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "new": Outcome.NEW,
        "old": Outcome.GONE,
    }


def test_changed_body_and_other_environment_are_told_without_pairs() -> None:
    for change, outcome in (
        ({"body": "b"}, Outcome.NOT_COMPARABLE),
        ({"environment": "e"}, Outcome.OTHER_ENVIRONMENT),
    ):
        probe = Pair(side(), SideReport({"t": Run(0.01, 20, **change)}))  # type: ignore[arg-type]
        assert comparable_names(probe) == ()
        assert outcomes(probe)["t"][0] is outcome


@pytest.mark.parametrize("broken", ["base", "head"])
def test_test_that_one_side_could_not_measure_is_not_comparable(broken: str) -> None:
    sides = {"base": side(), "head": side(), broken: SideReport({}, {}, {"t": "was skipped"})}
    assert outcomes(Pair(**sides)) == {
        "t": (Outcome.NOT_COMPARABLE, f"not comparable: it was skipped on the {broken}")
    }


def test_test_that_no_side_could_measure_is_left_to_the_ordinary_run() -> None:
    skipped = SideReport({}, {}, {"t": "was skipped"})
    assert outcomes(Pair(skipped, skipped)) == {}
    assert outcomes(Pair(SideReport({}), skipped)) == {}


def test_pairs_that_one_side_did_not_measure_do_not_count() -> None:
    whole = Pair(side(0.01), side(0.02))
    half = Pair(side(0.01), SideReport({}, {}, {"t": "failed (oh)"}))
    assert outcomes(whole, whole, half, whole)["t"][0] is Outcome.REGRESSED
    sentence = "not comparable: it failed (oh) and only 1 of 3 pairs have it"
    assert outcomes(whole, whole, half, half) == {"t": (Outcome.NOT_COMPARABLE, sentence)}


def test_cost_of_a_pair_is_that_of_its_planned_calls_beside_the_start() -> None:
    counts = {"cost_per_call": Count(0.1, 0.2, 0.3)}
    priced = SideReport({"t": Run(0.5, 1, counts=counts)}, {"t": 21})
    blocks = SideReport({"t": Run(0.25, 4)})  # that plan nothing make the calls that they make
    cost = foresee(Pair(priced, blocks), ["t"], 3.0)
    assert cost == pytest.approx((25, 3 + 21 * 0.5 + 4 * 0.25, 21 * 0.2))
    assert foresee(Pair(priced, blocks), [], 3.0) == PairCost(0, 3.0, 0.0)
    assert dollars_of(Pair(priced, blocks)) == pytest.approx(0.2)


def test_cost_is_told_for_all_pairs_and_money_where_there_is_any() -> None:
    assert describe_cost(PairCost(40, 6.0, 0.0), 5) == "200 calls, about 30 s"
    assert describe_cost(PairCost(40, 6.0, 0.01), 5) == "200 calls, about 30 s, $0.05"
