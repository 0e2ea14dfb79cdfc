"""The notes on a load: what whoever reads its numbers must know."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_agentperf.core.units import Unit, format_quantity

if TYPE_CHECKING:
    from pytest_agentperf.measure.load.result import LoadResult

__all__ = ["notes_of"]


def notes_of(result: "LoadResult") -> Iterator[str]:
    """Return the sentences that whoever reads the numbers must know."""
    tally, plan, calls = result.tally, result.plan, result.calls
    if not plan.is_open:
        yield (
            f"{plan}: whoever waits does not call, so a stall counts once for each user; rate="
            " counts every call that was due"
        )
    if tally.held:
        yield (
            f"{tally.held} calls found max_in_flight={plan.max_in_flight} calls in flight and"
            " waited, which counts as latency"
        )
    if result.errors:
        counted = ", ".join(f"{n} × {name}" for name, n in result.errors.most_common())
        first = f", the first with {tally.first_error}" if tally.first_error else ""
        yield f"{result.failed.count} of {calls} calls failed ({counted}){first}"
    grace = _time(plan.grace)
    if tally.unsent:
        yield f"{tally.unsent} calls were due and could not start within grace {grace}: they failed"
    if tally.unfinished and not tally.ended:
        yield f"{tally.unfinished} calls did not end within grace {grace}: they failed"
    if tally.stubborn:
        yield (
            f"{tally.stubborn} calls went on although they were cancelled, and are not counted: an"
            " async function must let CancelledError through, and nothing cancels a thread"
        )
    if tally.ended:
        yield f"the load ended after {_time(tally.seconds)}: {tally.ended}"
    yield from (*tally.lost, *tally.notes)
    if result.doubt:
        yield result.doubt


def _time(seconds: float) -> str:
    return format_quantity(seconds, Unit.SECONDS)
