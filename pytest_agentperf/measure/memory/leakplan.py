"""How often a function is called to find out whether it leaks, and what it may leave."""

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.staged import LIMITS, NATIVE, STAGES, calls_needed

__all__ = ["LeakPlan"]


@dataclass(frozen=True, slots=True)
class LeakPlan:
    """What the user states.

    Attributes:
        max_leak_per_call: Bytes that a call may leave, above 0.
        calls: The most calls before the verdict, those of the warmup included; None for as many as
            it takes to call something a leak. With more, the verdict rests on more.
        warmup: Calls made first, of which nothing is counted.
        max_time: Seconds after which no further call begins.

    Raises:
        UsageError: An argument cannot be meant.
    """

    max_leak_per_call: float = LIMITS["traced"]
    calls: int | None = None
    warmup: int = 20
    max_time: float = 60.0

    def __post_init__(self) -> None:
        if not self.max_leak_per_call > 0:
            stated = self.max_leak_per_call
            raise UsageError(f"max_leak_per_call={stated!r}: expected a size above 0, as in '1kB'")
        for name, least in (("calls", 1), ("warmup", 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise UsageError(f"{name}={value!r}: expected a number of calls, from {least}")

    @property
    def needed(self) -> int:
        """The calls after which a leak can be told."""
        return self.warmup + calls_needed(STAGES)

    @property
    def stages(self) -> int:
        """The stages for which there are calls."""
        most, stages = self.needed if self.calls is None else self.calls, 0
        while self.warmup + calls_needed(stages + 1) <= most:
            stages += 1
        return stages

    @property
    def limits(self) -> Mapping[str, float]:
        """How much of each thing a call may leave."""
        stated = self.max_leak_per_call
        native = {what: max(LIMITS[what], stated) for what in NATIVE}
        return {**LIMITS, "traced": stated, **native}

    def cut_short(self, made: int, seconds: float, grew: str) -> str:
        """Return why nothing was decided, and what would decide.

        Args:
            made: Calls made, in how many *seconds*.
            seconds: Wall time.
            grew: What was seen until then, in words; may be empty.
        """
        seen = f"{grew} in {made} calls" if grew else f"{made} calls were made"
        more = f"{self.needed} calls would decide"
        if not self._is_out_of_time(made, seconds):
            return f"{seen}, and calls={self.calls} allows no more; {more}"
        bound = format_quantity(self.max_time, Unit.SECONDS)
        takes = format_quantity(seconds / max(made, 1) * self.needed, Unit.SECONDS, 2)
        return f"{seen}, and max_time {bound} was over; {more}, which takes about {takes}"

    def _is_out_of_time(self, made: int, seconds: float) -> bool:
        return seconds >= self.max_time and made < self.warmup + calls_needed(self.stages)
