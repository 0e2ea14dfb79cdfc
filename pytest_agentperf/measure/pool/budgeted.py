"""What budgets are held against of a tally, and why a number of it is not known."""

from collections.abc import Callable
from typing import Any, Final

from pytest_agentperf.core.errors import CheckError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.pool.findings import fullness, waiting
from pytest_agentperf.measure.pool.tally import Tally

__all__ = ["demand", "measurement_of", "reuse_rate", "utilization", "wait_p95"]

_WORDS: Final = {
    "acquired": "how many leases were taken",
    "created": "how many connections were opened",
    "full": "when the pool was full",
    "held": "what was in use",
    "in_use_max": "what was in use",
    "in_use_mean": "what was in use",
    "load": "what the load was",
    "reused": "how many leases needed no new connection",
    "wait": "how long callers waited",
    "waits": "how many callers waited",
}
_RARE: Final = 0.05  # the share of callers above a 95th percentile


def demand(tally: Tally, name: str, *, is_used: bool = True) -> Any:
    """Return the number *name* of *tally*.

    Raises:
        CheckError: It is not known, or *is_used* and nobody used the pool.
    """
    __tracebackhide__ = True
    if is_used and not tally.is_used:
        raise CheckError(_unused(tally))
    value = getattr(tally, name)
    if name == "held" and tally.in_use_max is None:
        value = None
    if value is None:
        raise CheckError(_why_unknown(tally, name))
    return value


def wait_p95(tally: Tally) -> float:
    """Return the seconds that 95 % of the callers needed at most to get a connection.

    Raises:
        CheckError: It is not known.
    """
    __tracebackhide__ = True
    if tally.is_used and tally.wait.count:
        return tally.wait.percentile(95)
    # Where only a counter tells, so much is certain: those who did not wait waited 0 s.
    acquired, waits = demand(tally, "acquired"), demand(tally, "waits")
    if waits < _RARE * acquired:
        return 0.0
    raise CheckError(_why_unknown(tally, "wait"))


def _unused(tally: Tally) -> str:
    return (
        f"nothing was acquired from {tally.name} inside the block, so nothing can be said of it;"
        " use that very pool inside the block"
    )


def _why_unknown(tally: Tally, name: str) -> str:
    if name == "capacity":
        return f"{tally.name} has no limit, and so no utilization; look at in_use_max"
    if name in tally.unknown:
        return f"of {tally.name} it is not known {_WORDS[name]}: {tally.unknown[name]}"
    return f"the counts of {tally.name} do not tell {_WORDS[name]}"


def utilization(tally: Tally) -> float:
    """Return leases at once at most ÷ leases possible.

    Raises:
        CheckError: It is not known.
    """
    __tracebackhide__ = True
    return float(demand(tally, "in_use_max") / demand(tally, "capacity"))


def reuse_rate(tally: Tally) -> float:
    """Return leases that needed no new connection ÷ all.

    Raises:
        CheckError: It is not known, or there was none.
    """
    __tracebackhide__ = True
    reused, acquired = demand(tally, "reused"), demand(tally, "acquired")
    if not acquired:
        raise CheckError(f"nobody who asked got a connection of {tally.name}, so none was reused")
    return float(reused / acquired)


_READINGS: Final[dict[str, Callable[[Tally], float]]] = {
    "pool_utilization_max": utilization,
    "pool_wait_p95": wait_p95,
    "pool_reuse_rate": reuse_rate,
}


def measurement_of(
    tally: Tally, label: str | None, findings: tuple[Finding, ...], *, is_paid: bool
) -> Measurement:
    """Return the numbers of *tally* that have metrics, and why the others are not known."""
    values: dict[str, float] = {}
    unknown: dict[str, str] = {}
    for name, read in _READINGS.items():
        try:
            values[name] = read(tally)
        except CheckError as error:
            unknown[name] = str(error)
    return Measurement(
        label=label,
        subject=tally.name,
        calls=(tally.acquired or 0) + tally.failed,
        errors=tally.failed,
        samples={},
        values=values,
        unknown=unknown,
        notes=tally.notes,
        causes=_causes(tally),
        findings=findings,
        monitors=("pool probe",) if is_paid else (),
    )


def _causes(tally: Tally) -> dict[str, str]:
    causes = {}
    if tally.in_use_max and tally.capacity:
        causes["pool_utilization_max"] = f"{fullness(tally)}; {tally.advice}"
    if tally.waits:
        causes["pool_wait_p95"] = f"{waiting(tally)}; {tally.advice}"
    if tally.created is not None and tally.acquired:
        causes["pool_reuse_rate"] = (
            f"{tally.acquired} leases of {tally.name} opened {tally.created} connections"
        )
    return causes
