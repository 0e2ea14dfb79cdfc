"""Rounds: how many calls come next, decided between the calls and without making any."""

import math
from collections.abc import Callable
from typing import NamedTuple

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.monitors import Room
from pytest_agentperf.measure.recording import Recording

__all__ = ["Plan", "Schedule"]

_BLOCK = 10_000
_APART = 5e-3  # seconds between two readings of memory, each of which takes some 30 us


class Plan(NamedTuple):
    """How often to call and when to stop.

    Attributes:
        rounds: Recorded calls until the verdicts are first looked at.
        warmup: Calls made first and not recorded.
        max_calls: All calls, the warmup's included.
        max_time: Seconds after which no further call begins.
        max_tokens: Tokens of all calls, or None.
        max_cost: Dollars of all calls, or None.
        is_open: Whether more calls could close a verdict on what was measured so far.
        announce: Tells the user something that cannot wait for the end.
        stated: What the user states.
    """

    rounds: int
    warmup: int
    max_calls: int
    max_time: float
    max_tokens: int | None
    max_cost: float | None
    is_open: Callable[[Measurement], bool]
    announce: Callable[[str], None]
    stated: Effort = Effort()


class Schedule:
    """Decides after each block of calls how many come next.

    The verdicts are looked at after `rounds` calls, twice as many, four times as many, and so on.

    Args:
        plan: What to do.
        recording: Where the calls are recorded.
        subject: What is called, for messages.
        now: When the first call begins.
    """

    __slots__ = (
        "_began",
        "_is_over",
        "_made",
        "_plan",
        "_recording",
        "_subject",
        "_target",
        "_warm",
        "deadline",
    )

    def __init__(self, plan: Plan, recording: Recording, subject: str, now: float) -> None:
        self._plan = plan
        self._recording = recording
        self._subject = subject
        self._began = now
        self._made = 0
        self._is_over = False
        self._target = plan.rounds
        self.deadline = now + plan.max_time
        self._warm: Recording | None = None
        # Several schedules may share a recording; each adds its looks to those before.
        planned = recording.looks + self._planned_looks()
        recording.planned_looks = max(recording.planned_looks, planned)

    def _planned_looks(self) -> int:
        """Return how often the verdicts would be looked at if they never closed."""
        most = self._plan.max_calls - self._plan.warmup
        return 1 + max(math.ceil(math.log2(max(most, 1) / self._plan.rounds)), 0)

    @property
    def needs_usage(self) -> bool:
        """Whether a bound depends on what each call used."""
        return self._plan.max_tokens is not None or self._plan.max_cost is not None

    @property
    def needs_moments(self) -> bool:
        """Whether it is asked when each call began and ended."""
        return self._recording.moments is not None

    @property
    def recording(self) -> Recording:
        """Where the next call is recorded: apart while warming up and when all rounds are made."""
        is_round = self._made >= self._plan.warmup and not self._is_over
        return self._recording if is_round else self.warm

    @property
    def warm(self) -> Recording:
        """Where calls are recorded that are no rounds."""
        if self._warm is None:
            self._warm = Recording(None)
        return self._warm

    def delay(self, seconds: float) -> None:
        """Forget *seconds* in which nobody awaited the calls."""
        self._began += seconds
        self.deadline += seconds

    def ended(self, calls: int) -> None:
        """Note that *calls* more calls were made."""
        self._made += calls

    def room(self, now: float) -> Room:
        """Return what the user's bounds leave for further calls."""
        stated = self._plan.stated
        return Room(
            calls=None if stated.max_calls is None else max(self._plan.max_calls - self._made, 0),
            seconds=None if stated.max_time is None else max(self.deadline - now, 0.0),
        )

    def close(self, now: float) -> str:
        """End the rounds; return which bound forbids one more call, empty for none."""
        self._is_over = True
        plan = self._plan
        if self.needs_usage:
            return "max_tokens" if plan.max_cost is None else "max_cost"
        if self._made >= plan.max_calls:
            return f"max_calls {plan.max_calls}"
        is_late = now >= self.deadline
        return f"max_time {format_quantity(plan.max_time, Unit.SECONDS)}" if is_late else ""

    def next_block(self, now: float) -> int:
        """Return how many calls to make before asking again; 0 when it is enough."""
        warming = self._plan.warmup - self._made
        if warming > 0:
            return self._within_bounds(1, now)
        rounds = -warming
        if self._recording.levels is not None:
            self._recording.levels.note(self._recording.calls)
        if rounds >= self._target:
            self._recording.looks += 1
            if not self._plan.is_open(self._recording.measurement()):
                return 0
            self._target = min(2 * self._target, self._plan.max_calls - self._plan.warmup)
            if rounds >= self._target:
                return self._stop(f"max_calls {self._plan.max_calls}")
        if rounds == 1:
            self._foretell(now)
        # The first round is made alone: it shows whether the others will fit.
        wanted = min(self._target - rounds, self._longest_block(now)) if rounds else 1
        return self._within_bounds(1 if self.needs_usage else wanted, now)

    def _longest_block(self, now: float) -> int:
        """Return how many calls to make at most before the next look at anything."""
        if self._recording.levels is None:
            return _BLOCK
        seconds = max(now - self._began, 1e-9)
        return min(max(round(_APART * self._made / seconds), 1), _BLOCK)

    def _within_bounds(self, wanted: int, now: float) -> int:
        """Return how many of the *wanted* calls the bounds allow."""
        plan = self._plan
        allowed = min(wanted, plan.max_calls - self._made)
        if allowed <= 0:
            return self._stop(f"max_calls {plan.max_calls}")
        if self._made and now >= self.deadline:
            return self._stop(f"max_time {format_quantity(plan.max_time, Unit.SECONDS)}")
        if self._made and self.needs_usage:
            reason = self._spent()
            if reason:
                return self._stop(reason)
        return allowed

    def _spent(self) -> str:
        """Return which bound on spending one more call would break, empty for none."""
        plan, sides = self._plan, (self._recording.spending, self.warm.spending)
        bounds = (
            (plan.max_tokens, f"max_tokens {plan.max_tokens}", "tokens_per_call"),
            (plan.max_cost, f"max_cost ${plan.max_cost}", "cost_per_call"),
        )
        for bound, name, metric in bounds:
            reason = next(filter(None, (side.why_unknown(metric) for side in sides)), "")
            if bound is not None and reason:
                return f"{name}, which cannot be kept: {reason}"
        if plan.max_tokens is not None:
            next_one = max(side.most_tokens for side in sides)
            if sum(side.tokens for side in sides) + next_one > plan.max_tokens:
                return bounds[0][1]
        if plan.max_cost is not None:
            next_one = max(side.most_dollars for side in sides)
            # A sum of floats: 3 × $0.1 must fit into $0.3.
            if sum(side.dollars for side in sides) + next_one > plan.max_cost * (1 + 1e-9):
                return bounds[1][1]
        return ""

    def _stop(self, bound: str) -> int:
        """End the calls because of *bound*."""
        self._recording.bound = bound
        rounds = max(self._made - self._plan.warmup, 0)
        if rounds < self._plan.rounds:
            self._recording.note(f"{rounds} of {self._plan.rounds} rounds were made within {bound}")
        return 0

    def _foretell(self, now: float) -> None:
        """Say at once where the first round shows that the others will not fit."""
        plan = self._plan
        seconds = now - self._began
        first = self._recording.latency.mean if self._recording.latency.count else seconds
        needed = seconds + (plan.rounds - 1) * first
        # The last round must begin in time; it may end later.
        if plan.rounds > 1 and needed - first >= plan.max_time:
            shown, bound, enough = (
                format_quantity(number, Unit.SECONDS)
                for number in (first, plan.max_time, 1.2 * needed)
            )
            plan.announce(
                f"{self._subject}: {plan.rounds} rounds of about {shown} will not fit in max_time"
                f" {bound}; max_time={enough.replace(' ', '')!r} would do"
            )
