"""The JSON of pytest-benchmark, as its command `compare` and github-action-benchmark read it."""

import json
from typing import Any, Final

from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.run import Row, Run

__all__ = ["benchmark_report"]

_SHORTEST: Final = 1e-12  # no call is that short, and no rate is infinite
_STATISTICS: Final = {
    "min": "latency_min",
    "max": "latency_max",
    "mean": "latency_mean",
    "stddev": "latency_stddev",
    "q1": "latency_p25",
    "median": "latency_p50",
    "q3": "latency_p75",
}


def benchmark_report(run: Run) -> str:
    """Return the latencies of *run*, a benchmark for each measurement that has them."""
    rows = [row for row in run.rows if row.metrics.keys() >= set(_STATISTICS.values())]
    content = {
        "machine_info": {"description": run.environment},
        "commit_info": {},
        "benchmarks": [_benchmark(row) for row in rows],
        "datetime": run.created,
        "version": run.versions.get("pytest-agentperf", ""),
    }
    return json.dumps(content, allow_nan=False, indent=1) + "\n"


def _benchmark(row: Row) -> dict[str, Any]:
    name = plain_line(row.name)
    return {
        "group": None,
        "name": name.rpartition("::")[2] or name,
        "fullname": name,
        "params": None,
        "param": None,
        "extra_info": dict(row.metrics),
        "options": {"timer": "perf_counter"},
        "stats": _stats(row),
    }


def _stats(row: Row) -> dict[str, Any]:
    stats: dict[str, Any] = {name: row.metrics[metric] for name, metric in _STATISTICS.items()}
    mean = stats["mean"]
    return {
        **stats,
        "iqr": stats["q3"] - stats["q1"],
        "ops": 1 / mean if mean > _SHORTEST else 0.0,
        "rounds": row.measurement.calls if row.measurement else 0,
        "iterations": 1,
        "outliers": "-",  # they were not counted, and the column wants a text
    }
