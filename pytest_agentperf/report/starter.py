"""A first budget file, written from what a run measured."""

from collections.abc import Iterator, Sequence
from typing import Final

from pytest_agentperf.core.metrics import find_metric, needed_values
from pytest_agentperf.core.units import format_exact, format_quantity
from pytest_agentperf.judge.node_ids import NodePattern
from pytest_agentperf.report.escape import toml_string
from pytest_agentperf.report.record import MeasurementRecord, PerfRecord

__all__ = ["starter_file"]

_HEADROOM: Final = 1.3
_LEAST: Final = 1e-3
_EXACT: Final = ("tokens_per_call", "cost_per_call", "llm_calls", "tool_calls", "retries")
_HEAD: Final = """\
# Budgets of the measured tests: pytest --perf-budget {name}
# Times are what the last run saw, times {headroom:g} and 1 ms at least; counts have no noise and
# are exact.
version = 1
"""


def starter_file(records: Sequence[PerfRecord], name: str) -> str:
    """Return the text of a budget file called *name* that *records* keep."""
    lines = [_HEAD.format(name=name, headroom=_HEADROOM)]
    for record in records:
        for measurement in record.measurements:
            label = f"#{measurement.label}" if measurement.label else ""
            pattern = NodePattern.parse(record.nodeid + label)
            limits = list(_limits(measurement))
            # A label may hold characters that no pattern can tell from the node id.
            if limits and pattern.label == measurement.label:
                lines.append(f"[tests.{toml_string(pattern.text)}]")
                lines += [f"{metric} = {toml_string(limit)}" for metric, limit in limits]
                lines.append("")
    return "\n".join(lines)


def _limits(measurement: MeasurementRecord) -> Iterator[tuple[str, str]]:
    """Return the limits that *measurement* suggests, by metric."""
    for quantity in ("latency", "ttft"):
        # A percentile can be judged where there are enough calls; the highest value always can.
        has_enough = measurement.calls >= needed_values(find_metric(f"{quantity}_p95"))
        metric = f"{quantity}_p95" if has_enough else f"{quantity}_max"
        if metric in measurement.metrics:
            value = max(measurement.metrics[metric] * _HEADROOM, _LEAST)
            short = "p95" if metric == "latency_p95" else metric.removesuffix("_max")
            yield short, format_quantity(value, find_metric(metric).unit, 2).replace(" ", "")
    for metric in _EXACT:
        if metric in measurement.metrics:
            value = measurement.metrics[metric]
            yield metric, format_exact(value, find_metric(metric).unit)
