"""The notes on a load: what whoever reads its numbers must know."""

from collections.abc import Iterator

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.tally import Cell, LoadTally

__all__ = ["notes_of"]


def notes_of(plan: LoadPlan, tally: LoadTally, whole: Cell) -> Iterator[str]:
    """Return the sentences that whoever reads the numbers of a load must know.

    Args:
        plan: The load.
        tally: What was recorded.
        whole: All calls of it, without those of the warmup.
    """
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
    if whole.errors:
        counted = ", ".join(f"{n} × {name}" for name, n in whole.errors.most_common())
        first = f", the first with {tally.first_error}" if tally.first_error else ""
        yield f"{whole.failed.count} of {whole.calls} calls failed ({counted}){first}"
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
    made, _ = tally.made()
    if plan.requests is not None and made + tally.stubborn < plan.requests and not tally.ended:
        yield (
            f"{made} of requests={plan.requests} were made within {_time(plan.seconds)}; state a"
            " longer duration"
        )
    if tally.ended:
        yield f"the load ended after {_time(tally.seconds)}: {tally.ended}"
    yield from (*tally.lost, *tally.notes)


def _time(seconds: float) -> str:
    return format_quantity(seconds, Unit.SECONDS)
