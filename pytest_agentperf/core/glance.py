"""A load at a glance: how it goes while it runs, as that crosses to those who show it."""

from dataclasses import dataclass

__all__ = ["Glance"]


@dataclass(frozen=True, slots=True)
class Glance:
    """How a load goes.

    Attributes:
        calls: Calls that ended, failed ones too.
        errors: Those that raised.
        rate: Calls that ended in a second, of late.
        in_flight: Calls that have started and not ended.
        percentiles: Seconds by percentile, as in ``{50: 0.012}``, of the latest calls; empty
            before the first has ended.
        seconds_left: Until the end; None where nobody knows.
        calls_left: To the end; None where their number is not bounded.
        workers: Processes that make the calls and tell nothing before the end; 0 for none. What
            their calls come to is not known then.
    """

    calls: int
    errors: int
    rate: float
    in_flight: int
    percentiles: dict[int, float]
    seconds_left: float | None = None
    calls_left: int | None = None
    workers: int = 0
