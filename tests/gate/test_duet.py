"""Tests of the order, the looks and the bounds of a duet, with sides that take scripted time."""

from collections.abc import Callable

import pytest

from pytest_agentperf.gate.duet import Bounds, Duet, Sides
from pytest_agentperf.gate.errors import BeyondBoundsError, BrokenGateError
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.judge.comparison import Outcome
from pytest_agentperf.judge.runs import Count, Run

NAMES = ("a", "b", "c", "d", "e")
MEDIAN = 1 / 128  # seconds, whose sums are exact


class Machine:
    """Runs both sides in virtual time: each process takes a second.

    Args:
        medians: Returns the median of a test of the head in a pair, given both.
        names: The tests.
        dollars: Of each call.
    """

    def __init__(
        self,
        medians: Callable[[str, int], float] = lambda *_: MEDIAN,
        names: tuple[str, ...] = NAMES,
        dollars: float = 0.0,
    ) -> None:
        self.medians, self.names, self.dollars = medians, names, dollars
        self.now = 0.0
        self.began: list[tuple[str, int]] = []
        self.asked: list[tuple[str, ...] | None] = []
        self.said: list[str] = []

    def side(self, title: str, seed: int, only: tuple[str, ...] | None) -> SideReport:
        self.now += 1
        self.began.append((title, seed))
        self.asked.append(only)
        counts = {"cost_per_call": Count(*[self.dollars] * 3)} if self.dollars else {}
        runs = {
            name: Run(self.medians(name, seed) if title == "head" else MEDIAN, 20, counts=counts)
            for name in (self.names if only is None else only)
        }
        return SideReport(runs, dict.fromkeys(runs, 20), unpriced=("a",))

    def duet(
        self, pairs: int | None = None, max_time: float = 1e6, max_cost: float | None = None
    ) -> Duet:
        def base(seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:
            return self.side("base", seed, only)

        def head(seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:
            return self.side("head", seed, only)

        bounds = Bounds(pairs, max_time, max_cost)
        return Duet(Sides(base, head), bounds, self.said.append, lambda: self.now)


def noisy(name: str, pair: int) -> float:
    """Return a median that stays open: slower, but by far not in every pair."""
    return MEDIAN * (1.3 if pair % 2 else 0.85) if name == "b" else MEDIAN


def test_time_that_is_used_up_leaves_none_for_a_probe() -> None:
    for used, began in ((9.99, True), (10.0, False)):
        machine = Machine()
        sides = machine.duet()._sides
        duet = Duet(sides, Bounds(2, 10.0, used=used), print, lambda: machine.now)  # noqa: B023
        with pytest.raises(BeyondBoundsError, match="--perf-max-time 10 s"):
            duet.run()
        assert bool(machine.began) is began


def test_order_flips_from_pair_to_pair_and_a_pair_shares_its_seed() -> None:
    machine = Machine()
    machine.duet(pairs=3).run()
    assert machine.began == [
        *(("head", 0), ("base", 0)),  # the probe
        *(("base", 1), ("head", 1)),
        *(("head", 2), ("base", 2)),
        *(("base", 3), ("head", 3)),
    ]


@pytest.mark.parametrize(("names", "pairs"), [(NAMES, 5), (NAMES[:4], 10)])
def test_few_tests_share_no_variance_and_take_more_pairs(
    names: tuple[str, ...], pairs: int
) -> None:
    duet = Machine(names=names).duet()
    found = duet.run()
    assert duet.pairs == pairs
    assert {test.outcome for test in found.tests} == {Outcome.UNCHANGED}


def test_tests_that_stay_open_take_more_pairs_alone() -> None:
    machine = Machine(noisy)
    duet = machine.duet()
    found = duet.run()
    assert duet.pairs == 40
    assert machine.asked[2:12] == [NAMES] * 10
    assert set(machine.asked[12:]) == {("b",)}
    assert {test.name: test.outcome for test in found.tests} == {
        **dict.fromkeys(NAMES, Outcome.UNCHANGED),
        "b": Outcome.UNDECIDED,
    }


def test_what_the_first_look_saw_of_all_tests_stays_whatever_later_ones_see_of_few() -> None:
    def drifting(name: str, pair: int) -> float:
        if name != "b":
            return MEDIAN * 1.04
        return MEDIAN * (0.7 if pair > 5 else 1.2 if pair % 2 else 0.9)

    found = Machine(drifting).duet().run()
    assert found.common
    assert found.common.moved == 5


def test_stated_pairs_are_made_exactly_and_judged_once() -> None:
    duet = Machine(noisy).duet(pairs=3)
    found = duet.run()
    assert duet.pairs == 3
    assert "3 pairs × 20 calls" in found.tests[1].sentence


def test_slower_test_is_found() -> None:
    found = Machine(lambda name, _: MEDIAN * (2 if name == "c" else 1)).duet().run()
    assert [test.name for test in found.having(Outcome.REGRESSED)] == ["c"]


def test_plan_is_said_before_the_pairs_and_what_is_left_after_each() -> None:
    machine = Machine()
    machine.duet(pairs=2, max_time=600).run()
    # A probe of 2 s, and 5 tests × 20 calls × 7.8 ms on both sides.
    assert machine.said == [
        "5 tests, 2 pairs of base and head: 400 calls, about 7.1 s, all within 10 min",
        "pair 1 of 2, about 2 s left",
        "pair 2 of 2",
    ]


def test_time_ends_the_pairs_and_is_named() -> None:
    # The probe takes 2 s, a pair is expected to take 3.6 s and takes 2 s.
    machine = Machine()
    duet = machine.duet(max_time=10)
    found = duet.run()
    assert duet.pairs == 4
    assert duet.notes == ["4 of 5 pairs were made within --perf-max-time 10 s"]
    assert len(found.tests) == 5
    assert machine.now == 10


@pytest.mark.parametrize(("max_time", "is_enough"), [(9.125, True), (9.12, False)])
def test_time_for_fewer_than_two_pairs_is_refused(max_time: float, is_enough: bool) -> None:
    duet = Machine().duet(max_time=max_time)
    if is_enough:
        duet.run()
        return
    with pytest.raises(BrokenGateError) as caught:
        duet.run()
    assert duet.pairs == 0
    assert str(caught.value) == (
        "--perf-against: 2 pairs, the fewest that tell anything, take 400 calls, about 7.1 s, which"
        " is beyond --perf-max-time 9.12 s; raise it, or select fewer tests"
    )


def test_money_ends_the_pairs_and_what_is_not_priced_is_said() -> None:
    # Probe and pair take $2 each: 2 sides × 5 tests × 20 calls × $0.01.
    duet = Machine(dollars=0.01).duet(max_cost=8.5)
    duet.run()
    assert duet.pairs == 3
    assert duet.notes == [
        (
            "what a costs is unknown (1 such), so --perf-max-cost does not bound it; state its"
            " price in [prices] of the budget file"
        ),
        "3 of 5 pairs were made within --perf-max-cost $8.5",
    ]
    with pytest.raises(BrokenGateError, match=r"beyond --perf-max-cost \$5\.9; raise it"):
        Machine(dollars=0.01).duet(max_cost=5.9).run()


def test_nothing_is_run_where_nothing_can_be_compared() -> None:
    machine = Machine()
    duet = machine.duet()
    duet._sides = Sides(lambda *_, **__: SideReport({}), duet._sides.head)
    found = duet.run()
    assert machine.began == [("head", 0)]
    assert {test.outcome for test in found.tests} == {Outcome.NEW}


def test_base_is_asked_for_the_tests_of_the_head_where_single_ones_were_named() -> None:
    machine = Machine(names=("t::a", "t::a#x"))
    duet = machine.duet(pairs=2)
    duet._sides = Sides(duet._sides.base, duet._sides.head, are_named=True)
    duet.run()
    assert machine.asked[:2] == [None, ("t::a",)]
