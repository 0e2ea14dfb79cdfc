"""The metrics: one table of what can be measured, shown and limited.

    metric    ::= quantity "_" statistic | quantity | statistic
    statistic ::= "min" | "mean" | "max" | "stddev" | "p" digits ["_" digits]

A bare statistic is one of latency: `p95` is `latency_p95`. `latency` alone is `latency_max`:
a limit on it holds for every single call.
"""

import enum
import functools
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from pytest_agentperf.core.errors import BudgetError, UnknownNameError
from pytest_agentperf.core.units import Unit

__all__ = [
    "ALIASES",
    "QUANTITIES",
    "Direction",
    "Metric",
    "Quantity",
    "Statistic",
    "find_metric",
    "needed_values",
    "percentile_of",
]


class Direction(enum.Enum):
    """Which side of a limit is good."""

    UPPER = "upper"
    LOWER = "lower"


class Statistic(enum.Enum):
    """How the values of a sample become one number; percentiles stand beside these."""

    MIN = "min"
    MEAN = "mean"
    MAX = "max"
    STDDEV = "stddev"


class Quantity(NamedTuple):
    """What one recorder measures: an entry of the table.

    Attributes:
        name: The first part of the metric's name, or the whole of it.
        unit: What the number counts.
        direction: Which kind of limit it takes.
        recorder: Who records it, as a user would write it.
        statistic: How a bare name is read off the sample of the calls; None where the recorder
            states one number, which has no statistics.
        has_statistics: Whether `<name>_p95` and the like exist.
        title: What reports call it; the name with blanks where empty.
    """

    name: str
    unit: Unit
    direction: Direction
    recorder: str
    statistic: Statistic | None = None
    has_statistics: bool = False
    title: str = ""


class Metric(NamedTuple):
    """A quantity and the statistic that a limit is put on.

    Attributes:
        name: The canonical name, as in `latency_p95`.
        quantity: The entry of the table.
        statistic: None where the recorder states one number.
        percentile: The exact percentile in (0, 100) where the metric is one, else None.
    """

    name: str
    quantity: Quantity
    statistic: Statistic | None = None
    percentile: Fraction | None = None

    @property
    def unit(self) -> Unit:
        """What the number counts."""
        return self.quantity.unit

    @property
    def title(self) -> str:
        """The words of a sentence: `p95 latency`, `tokens per call`."""
        title = self.quantity.title or self.quantity.name.replace("_", " ")
        if not self.quantity.has_statistics:
            return title
        suffix = self.name.removeprefix(self.quantity.name + "_")
        return f"{suffix.replace('_', '.')} {title}"


_TIMER: Final = "perf_timer, from what a call returns"
_STREAM: Final = "perf_timer on a stream"
_WATCH: Final = "perf_concurrency"
_MEMORY: Final = "perf_memory"
_COUNT: Final = 'perf_timer.count(obj, "method", metric="{}")'


def _sampled(name: str, unit: Unit, recorder: str) -> Quantity:
    return Quantity(name, unit, Direction.UPPER, recorder, Statistic.MAX, has_statistics=True)


def _per_call(name: str, unit: Unit, recorder: str) -> Quantity:
    # The highest of all calls: a limit per call holds for every call, as `latency` does.
    return Quantity(name, unit, Direction.UPPER, recorder.format(name), Statistic.MAX)


def _upper(name: str, unit: Unit, recorder: str) -> Quantity:
    return Quantity(name, unit, Direction.UPPER, recorder)


def _lower(name: str, unit: Unit, recorder: str) -> Quantity:
    return Quantity(name, unit, Direction.LOWER, recorder)


QUANTITIES: Final[Mapping[str, Quantity]] = {
    quantity.name: quantity
    for quantity in (
        _sampled("latency", Unit.SECONDS, "perf_timer, or the body of a test without it"),
        _sampled("ttft", Unit.SECONDS, _STREAM),
        _sampled("itl", Unit.SECONDS, _STREAM),
        _lower("items_per_second", Unit.RATE, _STREAM),
        _lower("throughput", Unit.RATE, "perf_load"),
        _lower("goodput", Unit.RATE, "perf_load with goodput="),
        _upper("error_rate", Unit.SHARE, "perf_load, and wrap, patch and measure of perf_timer"),
        _per_call("tokens_per_call", Unit.COUNT, _TIMER),
        _per_call("input_tokens_per_call", Unit.COUNT, _TIMER),
        _per_call("output_tokens_per_call", Unit.COUNT, _TIMER),
        _per_call("cost_per_call", Unit.DOLLARS, _TIMER),
        _upper("cost_total", Unit.DOLLARS, _TIMER),
        _lower("output_tokens_per_second", Unit.RATE, "perf_timer on a stream with usage"),
        _per_call("llm_calls", Unit.COUNT, _COUNT),
        _per_call("tool_calls", Unit.COUNT, _COUNT),
        _per_call("retries", Unit.COUNT, _COUNT),
        _lower("parallelism", Unit.FACTOR, _WATCH),
        _upper("in_flight_max", Unit.COUNT, _WATCH),
        _upper("sequential_calls", Unit.COUNT, _WATCH),
        _upper("repeated_calls", Unit.COUNT, _WATCH),
        _upper("loop_block_max", Unit.SECONDS, _WATCH),
        _upper("loop_block_total", Unit.SECONDS, _WATCH),
        _upper("loop_lag_p99", Unit.SECONDS, _WATCH),
        _upper("leaked_tasks", Unit.COUNT, _WATCH),
        _upper("leaked_threads", Unit.COUNT, _WATCH),
        _upper("leaked_fds", Unit.COUNT, _WATCH),
        _upper("memory_peak", Unit.BYTES, _MEMORY),
        _upper("memory_growth", Unit.BYTES, _MEMORY),
        _upper("memory_growth_per_call", Unit.BYTES, "perf_memory.leak"),
        _upper("rss_peak", Unit.BYTES, _MEMORY),
        _upper("gc_pause_max", Unit.SECONDS, _MEMORY),
        _upper("gc_pause_total", Unit.SECONDS, _MEMORY),
        _upper("cpu_time_per_call", Unit.SECONDS, _MEMORY),
        _upper("cpu_percent", Unit.SHARE, _MEMORY),
        _lower("hit_rate", Unit.SHARE, "perf_cache"),
        _lower("time_saved", Unit.SECONDS, "perf_cache"),
        _lower("prefix_reuse", Unit.SHARE, "perf_cache.prefix"),
        _upper("misses", Unit.COUNT, "perf_cache"),
        _upper("evictions", Unit.COUNT, "perf_cache"),
        _upper("pool_utilization_max", Unit.SHARE, "perf_pool"),
        _upper("pool_wait_p95", Unit.SECONDS, "perf_pool"),
        _lower("pool_reuse_rate", Unit.SHARE, "perf_pool"),
    )
}

ALIASES: Final[Mapping[str, str]] = {
    "latency": "latency_max",
    "ttft": "ttft_max",
    "itl": "itl_max",
    "memory_mb": "memory_peak",
    "memory_per_request": "memory_peak",
    "tokens_per_request": "tokens_per_call",
    "cost_per_request": "cost_per_call",
}
"""Other spellings; besides, `api_response_time_<statistic>` is `latency_<statistic>`.

`memory_mb` takes a bare number of megabytes.
"""

# One spelling for each: `p095` and `p95_0` would be limits beside that on `p95`.
_STATISTIC: Final = re.compile(r"p(0|[1-9][0-9]{0,2})(?:_([0-9]{0,2}[1-9]))?")
_COMMON: Final = ("min", "mean", "max", "stddev", "p50", "p90", "p95", "p99", "p99_9")


@functools.cache
def find_metric(name: str) -> Metric:
    """Return the metric called *name*, by its long name, its short one or an alias.

    Raises:
        UnknownNameError: There is no such metric, or the percentile is not in (0, 100).
    """
    full = ALIASES.get(name, name)
    if full in QUANTITIES:
        quantity = QUANTITIES[full]
        return Metric(full, quantity, quantity.statistic)
    prefix, _, statistic = full.rpartition("_")
    if statistic.isdecimal() and _STATISTIC.fullmatch(f"{prefix.rpartition('_')[2]}_{statistic}"):
        prefix, _, whole = prefix.rpartition("_")  # the `9` of `p99_9`
        statistic = f"{whole}_{statistic}"
    if statistic == full or prefix == "api_response_time":
        prefix = "latency"
    quantity_or_none = QUANTITIES.get(prefix)
    if quantity_or_none is None or not quantity_or_none.has_statistics:
        raise UnknownNameError("metric", name, _known_names())
    return _with_statistic(quantity_or_none, statistic, name)


def _with_statistic(quantity: Quantity, statistic: str, name: str) -> Metric:
    """Return the metric of *quantity* and *statistic*; *name* is what the user wrote."""
    full = f"{quantity.name}_{statistic}"
    if statistic in {known.value for known in Statistic}:
        return Metric(full, quantity, Statistic(statistic))
    percentile = percentile_of(statistic)
    if percentile is not None and 0 < percentile < 100:  # noqa: PLR2004 -- per cent
        return Metric(full, quantity, percentile=percentile)
    if percentile is not None:
        raise BudgetError(
            f"metric {name!r}: expected a percentile above 0 and below 100;"
            f" the highest value is {quantity.name}_max, the lowest {quantity.name}_min"
        )
    if quantity.name == "latency" and "_" not in name:
        raise UnknownNameError("metric", name, _known_names())
    raise UnknownNameError(f"statistic of {quantity.name}", statistic, _COMMON)


def needed_values(metric: Metric) -> int:
    """Return the number of values from which *metric* can be told from the highest one.

    20 for p95, 100 for p99, 1000 for p99_9; 1 for what is no percentile.
    """
    if metric.percentile is None:
        return 1
    return math.ceil(1 / (1 - metric.percentile / 100))


def percentile_of(statistic: str) -> Fraction | None:
    """Return the percentile that *statistic* names, exactly, or None: `p99_9` is 999/10."""
    match = _STATISTIC.fullmatch(statistic)
    return Fraction(f"{match[1]}.{match[2] or 0}") if match else None


def _known_names() -> set[str]:
    """Return the names that a misspelled one is compared with."""
    sampled = {name for name, quantity in QUANTITIES.items() if quantity.has_statistics}
    spelled = {f"{name}_{statistic}" for name in sampled for statistic in _COMMON}
    return {*QUANTITIES, *ALIASES, *spelled, *_COMMON}
