"""The truth of a load: whether its numbers are those of what was called, or its own."""

from typing import Final

from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.units import Unit, format_quantity

__all__ = ["doubt_of"]

_LATE: Final = 0.1  # of the p99 of the latency
_LAG: Final = 0.05  # of its median


def doubt_of(latency: Sample, late: Sample, lag: Sample) -> str:
    """Return why times may be those of the generator, or an empty text.

    A call whose start or end the event loop sees late is no slower for a user.

    Args:
        latency: Seconds of the calls.
        late: Seconds by which the generator started them late.
        lag: Seconds by which the event loop ran timers late.
    """
    if not latency.count:
        return ""
    p99, median = latency.percentile(99), latency.percentile(50)
    if late.count and late.percentile(99) > _LATE * p99:
        return (
            f"the generator was late itself: its p99 dispatch delay, {_time(late.p99)}, is over"
            f" {_LATE:.0%} of the p99 latency, {_time(p99)}; lower the rate, or spread it"
        )
    if lag.count and lag.percentile(99) > _LAG * median:
        return (
            f"the event loop was late itself: its p99 lag, {_time(lag.p99)}, is over {_LAG:.0%} of"
            f" the median latency, {_time(median)}; call less at once, or from a process of its own"
        )
    return ""


def _time(seconds: float) -> str:
    return format_quantity(seconds, Unit.SECONDS)
