"""From measurements to runs: what one process saw of a test, as the gate's judge takes it."""

from collections.abc import Iterable
from typing import Final

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.metrics import QUANTITIES
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.units import Unit
from pytest_agentperf.judge.node_ids import split_label
from pytest_agentperf.judge.runs import Count, Run
from pytest_agentperf.judge.storedrun import evenly_ranked

__all__ = ["nodeid_of", "runs_of"]

_LATENCIES: Final = 200
_COUNTED: Final = frozenset({Unit.COUNT, Unit.DOLLARS})


def runs_of(
    nodeid: str, measurements: Iterable[Measurement], environment: str, body: str
) -> dict[str, Run]:
    """Return the runs that *measurements* of one test are, by `nodeid` or `nodeid#label`.

    Args:
        nodeid: The test.
        measurements: What one process recorded of it; those without a latency are left out.
        environment: See `environment_key`.
        body: See `body_hash`. What watched the calls goes into it too: it costs time.
    """
    runs = {}
    for measurement in measurements:
        latency = measurement.samples.get("latency")
        if latency is None or not latency.count:
            continue
        name = f"{nodeid}#{measurement.label}" if measurement.label else nodeid
        runs[name] = Run(
            median=latency.percentile(50),
            calls=latency.count,
            latencies=_ranked(latency),
            counts=_counts(measurement),
            environment=environment,
            body="+".join((body, *measurement.monitors)),
        )
    return runs


def nodeid_of(name: str) -> str:
    """Return the node id of the test whose run is called *name*, without the label."""
    return split_label(name)[0]


def _ranked(latency: Sample) -> tuple[float, ...]:
    """Return the values of *latency* in order, or of many those of evenly spaced ranks."""
    return evenly_ranked(lambda rank: latency.ordered(rank + 1), latency.count, _LATENCIES)


def _counts(measurement: Measurement) -> dict[str, Count]:
    """Return what *measurement* counted: per call, or once for all of it."""
    per_call = {
        name: Count(sample.min, sample.mean, sample.max)
        for name, sample in measurement.samples.items()
        if sample.count and QUANTITIES[name].unit in _COUNTED
    }
    once = {
        name: Count(value, value, value)
        for name, value in measurement.values.items()
        if QUANTITIES[name].unit is Unit.COUNT
    }
    return {**once, **per_call}
