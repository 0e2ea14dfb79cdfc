"""What a tally says of a pool, as sentences with numbers and the size that the load needs."""

from collections.abc import Iterator
from typing import Final

from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.pool.tally import HeldLease, Tally

__all__ = ["NEAR_CAPACITY", "fullness", "leaks", "pool_findings", "waiting"]

NEAR_CAPACITY: Final = 0.9
"""Share of the capacity from which a pool counts as nearly full, as in `reference.pool`."""

_EVIDENCE: Final = 5  # leases from which it is told that a pool is too large, or of no use
_OVERSIZED: Final = 2  # times what was ever in use, and what the load needs
_NAMED: Final = 3


def pool_findings(tally: Tally) -> tuple[Finding, ...]:
    """Return what the author of the test would want to know."""
    rules = (_near_capacity, _waits, _leaks, _never_reused, _oversized)
    return tuple(finding for rule in rules for finding in rule(tally))


def _near_capacity(tally: Tally) -> Iterator[Finding]:
    if tally.capacity and (tally.in_use_max or 0) >= NEAR_CAPACITY * tally.capacity:
        yield Finding(
            "pool_near_capacity",
            f"{fullness(tally)}; {tally.advice}",
            name=tally.name,
            count=tally.in_use_max or 0,
            seconds=tally.full,
        )


def _waits(tally: Tally) -> Iterator[Finding]:
    if tally.waits:
        sentence = f"{waiting(tally)}; {tally.advice}"
        yield Finding("pool_wait", sentence, name=tally.name, count=tally.waits)


def _leaks(tally: Tally) -> Iterator[Finding]:
    places = dict.fromkeys(lease.place for lease in tally.held)
    for place in places:
        held = [lease for lease in tally.held if lease.place == place]
        longest = max(lease.seconds for lease in held)
        sentence = f"{leaks(tally, tuple(held))}; {tally.advice}"
        yield Finding("pool_leak", sentence, place, tally.name, len(held), longest)


def _never_reused(tally: Tally) -> Iterator[Finding]:
    acquired, created = tally.acquired or 0, tally.created or 0
    # As many as were needed at once had to be opened: only beyond that something could be reused.
    if tally.reused == 0 and acquired > (tally.in_use_max or 1) and created > 1:
        yield Finding(
            "pool_not_reused",
            f"no connection of {tally.name} was reused: {acquired} leases opened {created};"
            f" keep them open between calls, and share one pool; {tally.advice}",
            name=tally.name,
            count=created,
        )


def _oversized(tally: Tally) -> Iterator[Finding]:
    if not tally.capacity or not tally.load or (tally.acquired or 0) < _EVIDENCE:
        return
    needed = max(tally.in_use_max or 0, tally.load.size() * tally.load.share, 1)
    if tally.capacity >= _OVERSIZED * needed and tally.capacity - needed > 1:
        yield Finding(
            "pool_oversized",
            f"at most {tally.in_use_max} of {tally.capacity} {tally.unit}s of {tally.name} were in"
            f" use at once; {tally.advice}",
            name=tally.name,
            count=tally.capacity,
        )


def fullness(tally: Tally) -> str:
    """Return how full the pool was, at most and for how long."""
    used = (
        f"{tally.in_use_max} of {tally.capacity} {tally.unit}s of {tally.name} were in use at once"
    )
    if not tally.full:
        return used
    full, block = (format_quantity(each, Unit.SECONDS) for each in (tally.full, tally.seconds))
    return f"{used}, all of them for {full} of {block}"


def waiting(tally: Tally) -> str:
    """Return how many callers waited, and how long."""
    asked = (tally.acquired or 0) + tally.failed
    callers = f"{tally.waits} of {asked}" if tally.acquired is not None else f"{tally.waits}"
    text = f"{callers} callers waited for a {tally.unit} of {tally.name}"
    if tally.wait.count:
        p95, longest = (
            format_quantity(each, Unit.SECONDS)
            for each in (tally.wait.percentile(95), tally.wait.max)
        )
        text += f" (p95 of all {p95}, longest {longest})"
    elif tally.wait_mean is not None:
        text += f" ({format_quantity(tally.wait_mean, Unit.SECONDS)} on average)"
    return f"{text}, and {tally.failed} got none" if tally.failed else text


def leaks(tally: Tally, held: tuple[HeldLease, ...]) -> str:
    """Return how many leases were not returned, and the lines that took them."""
    longest = format_quantity(max(lease.seconds for lease in held), Unit.SECONDS)
    places = list(dict.fromkeys(str(lease.place) for lease in held if lease.place))
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    taken = f", taken at {', '.join(places[:_NAMED])}{more}" if places else ""
    one = len(held) == 1
    number = (
        f"{len(held)} {tally.unit}{'' if one else 's'} of {tally.name} {'was' if one else 'were'}"
    )
    return f"{number} not returned when the block ended, held for {longest}{taken}"
