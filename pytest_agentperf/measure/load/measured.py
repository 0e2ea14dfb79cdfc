"""What a load came to, as it crosses to those who judge it."""

from collections.abc import Iterator, Mapping
from typing import Final

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.series import Curve, Point
from pytest_agentperf.measure.load.result import LoadPart, LoadResult

__all__ = ["TIMES", "measurements_of"]

TIMES: Final = ("latency", "ttft", "itl", "throughput", "goodput")
"""The quantities that are doubtful where the generator itself was late."""

_PERCENTILES: Final = (50, 95, 99)


def measurements_of(
    result: LoadResult, label: str | None, each: str | None = None
) -> Iterator[Measurement]:
    """Return the measurement of a load and, by their names, those of its parts.

    Args:
        result: What it came to.
        label: The user's name for it.
        each: ``"stage"`` or ``"window"`` where the budgets hold for each apart; None for neither.
    """
    doubts = dict.fromkeys(TIMES, result.doubt) if result.doubt else {}
    if lost := "; ".join(result.tally.lost):  # and nobody knows what its calls came to
        doubts = dict.fromkeys((*TIMES, "error_rate"), f"{lost}; run it again")
    yield Measurement(
        label=label,
        subject=f"{result.subject} ({result.plan})",
        calls=result.calls,
        errors=result.failed.count,
        samples=_samples(result.whole),
        values=_values(result.whole),
        doubts=doubts,
        notes=result.notes,
        curves=_curves(result),
    )
    parts = list({"stage": result.stages, "window": result.windows}.get(each or "", ()))
    scenarios = list(result.scenarios.values()) if len(result.scenarios) > 1 else []
    for part in (*scenarios, *parts):
        # The throughput of a scenario is its share of the whole, which its budget is for.
        values = (
            {"error_rate": part.error_rate} if part in scenarios and part.calls else _values(part)
        )
        yield Measurement(
            label=part.name,
            subject=f"{result.subject}, {part.name}",
            calls=part.calls,
            errors=part.failed.count,
            samples=_samples(part),
            values=values,
            doubts=doubts,
        )


def _samples(part: LoadPart) -> Mapping[str, Sample]:
    found = {"ttft": part.ttft, "itl": part.itl}
    samples = {name: sample for name, sample in found.items() if sample.count}
    return {"latency": part.latency, **samples} if part.calls else samples


def _values(part: LoadPart) -> Mapping[str, float]:
    if not part.calls:
        return {}
    values = {"throughput": part.throughput, "error_rate": part.error_rate}
    return {**values, "goodput": part.goodput} if part.has_goodput else values


def _curves(result: LoadResult) -> Mapping[str, Curve]:
    """Return how the load went over its windows."""
    ended = [part for part in result.windows if part.latency.count]
    tails = {
        f"p{p} latency": [Point(part.end, part.latency.percentile(p)) for part in ended]
        for p in _PERCENTILES
    }
    called = [part for part in result.windows if part.calls]
    rates = [Point(part.end, part.throughput) for part in result.windows]
    # By Little's law, of the calls that were due in each window.
    busy = [Point(part.end, _seconds_in_calls(part) / part.seconds) for part in result.windows]
    failed = [Point(part.end, part.error_rate) for part in called]
    return {
        "throughput": Curve("seconds", "/s", tuple(rates)),
        **{name: Curve("seconds", "s", tuple(points)) for name, points in tails.items()},
        "in flight": Curve("seconds", "", tuple(busy)),
        "error rate": Curve("seconds", "share", tuple(failed)),
    }


def _seconds_in_calls(part: LoadPart) -> float:
    return part.latency.sum + part.failed.sum
