"""The duet: pairs of processes, base and head in turn, until the judge has seen enough.

The order flips from pair to pair (ABBA), since a fixed one would favour a side. What a pair takes
is known from a probe, in which both sides make every call once; it warms files and bytecode too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.gate.errors import BeyondBoundsError
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.gate.pairing import (
    LEAST_PAIRS,
    Pair,
    PairCost,
    comparable_names,
    describe_cost,
    dollars_of,
    foresee,
    judge_pairs,
)
from pytest_agentperf.gate.runs_of import nodeid_of
from pytest_agentperf.judge.comparison import STANDARD, Rule, SuiteComparison
from pytest_agentperf.judge.duet import planned_pairs
from pytest_agentperf.judge.storedrun import pooled_latencies

__all__ = ["Bounds", "Duet", "RunSide", "Sides"]


class RunSide(Protocol):
    """Runs one side in a fresh process."""

    def __call__(self, seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:
        """Return what it measured; *only* are the node ids to run, None for all."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared.

    Attributes:
        base: Runs the base.
        head: Runs the head.
        are_named: Whether the user named single tests: what else the base has is not gone.
    """

    base: RunSide
    head: RunSide
    are_named: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the user allows a duet.

    Attributes:
        pairs: Pairs, judged once; None: as many as the verdicts need, judged in several looks.
        max_time: Seconds, those of the probe included.
        max_cost: Dollars, likewise; None: any.
        used: Seconds of the time that are gone already.
    """

    pairs: int | None
    max_time: float
    max_cost: float | None = None
    used: float = 0.0


class Duet:
    """Runs both sides and judges them.

    Args:
        sides: What is compared.
        bounds: What may be spent.
        say: Tells the user something at once.
        clock: The clock.
        rule: What makes a change a regression.
        tests: See `judge_pairs`.

    Attributes:
        made: What each pair measured, oldest first, without the probe.
        dollars: What its calls cost so far, as far as that is known.
        notes: What weakens the verdicts, in sentences.
    """

    def __init__(
        self,
        sides: Sides,
        bounds: Bounds,
        say: Callable[[str], None],
        clock: Clock,
        rule: Rule = STANDARD,
        tests: int | None = None,
    ) -> None:
        self._sides, self._bounds, self._rule, self._tests = sides, bounds, rule, tests
        self._say, self._clock = say, clock
        self._began = clock()
        self.dollars = 0.0
        self.made: list[Pair] = []
        self.notes: list[str] = []

    @property
    def pairs(self) -> int:
        """Pairs that were made, beside the probe."""
        return len(self.made)

    def base_latencies(self) -> dict[str, tuple[float, ...]]:
        """Return seconds of the calls that the base made, ascending and thinned, by name."""
        names = dict.fromkeys(name for pair in self.made for name in pair.base.runs)
        sides = [pair.base.runs for pair in self.made]
        return {
            name: pooled_latencies(runs[name] for runs in sides if name in runs) for name in names
        }

    def run(self) -> SuiteComparison:
        """Return what the gate says about all tests.

        Raises:
            BrokenGateError: A side could not measure.
            BeyondBoundsError: The bounds do not allow two pairs.
        """
        if self._seconds() >= self._bounds.max_time:
            raise BeyondBoundsError(f"--perf-against: {self._max_time()} is used up; raise it")
        probe = self._probe()
        seconds = self._clock() - self._began
        names = comparable_names(probe)
        plan = (self._bounds.pairs,) if self._bounds.pairs else planned_pairs(len(names))
        verdicts, waiting = None, names
        for pairs in plan if names else ():
            cost = foresee(probe, waiting, seconds)
            if verdicts is None:
                self._announce(names, plan, cost)
            is_whole = self._make(pairs, waiting, cost)
            look = judge_pairs(probe, self.made, self._rule, len(plan), self._tests)
            verdicts = verdicts.followed_by(look) if verdicts else look
            waiting = tuple(name for name in names if name in verdicts.open_tests)
            if not (is_whole and waiting):
                break
        return verdicts or judge_pairs(probe, (), self._rule, 1)

    def _probe(self) -> Pair:
        head = self._sides.head(0, is_probe=True, only=None)
        named = tuple(dict.fromkeys((*map(nodeid_of, head.runs), *head.unmeasured)))
        base = self._sides.base(0, is_probe=True, only=named if self._sides.are_named else None)
        probe = Pair(base, head)
        self.dollars += dollars_of(probe)
        unpriced = {*base.unpriced, *head.unpriced}
        if self._bounds.max_cost is not None and unpriced:
            self.notes.append(
                f"what {min(unpriced)} costs is unknown ({len(unpriced)} such), so --perf-max-cost"
                " does not bound it; state its price in [prices] of the budget file"
            )
        return probe

    def _announce(self, names: tuple[str, ...], plan: tuple[int, ...], cost: PairCost) -> None:
        """Say what will be done and what it takes, or refuse where it is too much."""
        self._refuse_beyond(cost)
        tests = "1 test" if len(names) == 1 else f"{len(names)} tests"
        more = f"; up to {plan[-1]} pairs for what stays open" if len(plan) > 1 else ""
        within = format_quantity(self._bounds.max_time, Unit.SECONDS)
        self._say(
            f"{tests}, {plan[0]} pairs of base and head: {describe_cost(cost, plan[0])}{more}, all"
            f" within {within}"
        )

    def _refuse_beyond(self, cost: PairCost) -> None:
        bound = self._exceeded(cost, LEAST_PAIRS)
        if bound:
            raise BeyondBoundsError(
                f"--perf-against: {LEAST_PAIRS} pairs, the fewest that tell anything, take"
                f" {describe_cost(cost, LEAST_PAIRS)}, which is beyond {bound}; raise it, or select"
                " fewer tests"
            )

    def _exceeded(self, cost: PairCost, pairs: int) -> str:
        """Return which bound forbids *pairs* more pairs, empty for none."""
        bounds = self._bounds
        if self._seconds() + pairs * cost.seconds > bounds.max_time:
            return self._max_time()
        if bounds.max_cost is not None and self.dollars + pairs * cost.dollars > bounds.max_cost:
            return f"--perf-max-cost {format_quantity(bounds.max_cost, Unit.DOLLARS)}"
        return ""

    def _seconds(self) -> float:
        """Return what is gone of the time that is allowed."""
        return self._bounds.used + self._clock() - self._began

    def _max_time(self) -> str:
        return f"--perf-max-time {format_quantity(self._bounds.max_time, Unit.SECONDS)}"

    def _make(self, pairs: int, names: tuple[str, ...], cost: PairCost) -> bool:
        """Make pairs of *names* until there are *pairs*; return whether the bounds allow all."""
        only = tuple(dict.fromkeys(map(nodeid_of, names)))
        while self.pairs < pairs:
            bound = self._exceeded(cost, 1)
            if bound and self.pairs >= LEAST_PAIRS:
                self.notes.append(f"{self.pairs} of {pairs} pairs were made within {bound}")
                return False
            began = self._clock()
            self._make_one(only)
            # What it took tells more than what it was expected to.
            cost = cost._replace(seconds=self._clock() - began)
            self._say_progress(pairs, cost)
        return True

    def _make_one(self, only: tuple[str, ...]) -> None:
        seed = self.pairs + 1
        reports = {}
        order = ("base", "head") if seed % 2 else ("head", "base")
        for side in order:
            run: RunSide = getattr(self._sides, side)
            reports[side] = run(seed, is_probe=False, only=only)
        pair = Pair(**reports)
        self.made.append(pair)
        self.dollars += dollars_of(pair)

    def _say_progress(self, pairs: int, cost: PairCost) -> None:
        left = format_quantity((pairs - self.pairs) * cost.seconds, Unit.SECONDS, 2)
        rest = f", about {left} left" if self.pairs < pairs else ""
        self._say(f"pair {self.pairs} of {pairs}{rest}")
