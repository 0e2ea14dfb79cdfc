"""Runs that tests of reports write, and golden files to compare them with."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st

from pytest_agentperf.report.record import (
    ComparisonRecord,
    CurveRecord,
    MeasurementRecord,
    PerfRecord,
    VerdictRecord,
)
from pytest_agentperf.report.run import Run

# Every character, lone surrogates and controls included.
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=20)


def measurement(
    label: str | None = None,
    metrics: Mapping[str, float] | None = None,
    calls: int = 20,
    notes: Sequence[str] = (),
) -> MeasurementRecord:
    numbers = {"latency_p50": 0.5, "latency_p95": 0.912} if metrics is None else metrics
    return MeasurementRecord(label, "ask", calls, 0, numbers, {}, notes)


def verdict(
    status: str = "passed",
    metric: str = "latency_p95",
    value: float | None = 0.912,
    limit: float | None = 1.0,
    label: str | None = None,
    warn: float | None = None,
    sentence: str = "",
) -> VerdictRecord:
    words = sentence or f"sentence of {metric}"
    return VerdictRecord(status, metric, label, value, limit, warn, "here", words)


def record(
    name: str,
    verdicts: Sequence[VerdictRecord] = (),
    measurements: Sequence[MeasurementRecord] | None = None,
    not_applicable: int = 0,
) -> PerfRecord:
    recorded = [measurement()] if measurements is None else measurements
    return PerfRecord(f"t.py::{name}", recorded, verdicts, not_applicable)


RECORDS = (
    record("test_free", not_applicable=1),
    record("test_pass", [verdict(), verdict(metric="latency_max", limit=2.0, value=1.25)]),
    record(
        "test_warn",
        [
            verdict("warned", warn=0.9, sentence="p95 was 912 ms, warning from 900 ms"),
            verdict(metric="tokens_per_call", value=30.0, limit=100.0),
        ],
        [measurement(notes=["few calls; make more"])],
        not_applicable=1,
    ),
    record(
        "test_fail",
        [
            verdict("failed", limit=0.8),
            verdict("failed", "throughput", 30.0, 50.0),
            verdict("failed", "hit_rate", 0.5, 0.9),
            verdict("failed", "llm_calls", 4.0, 3.0),
            verdict("undecided", "cost_per_call", None, 0.02, sentence="cost unknown; give usage="),
        ],
    ),
    record(
        "test_open",
        [
            verdict("undecided", label="plan", sentence="p95 is undecided; state rounds=40"),
            verdict("failed", "latency_max", None, 1.0, label="lost", sentence="not measured"),
        ],
        [measurement("plan", calls=1, notes=["few calls; make more"]), measurement("idle", {})],
    ),
)

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, text: str, folder: Path = GOLDEN) -> None:
    """Compare *text* with a golden file; on a mismatch show a diff and leave the new one beside."""
    path = folder / name
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if text != old:
        path.with_name(f"{name}.new").write_text(text, encoding="utf-8")
        lines = difflib.unified_diff(old.splitlines(), text.splitlines(), "old", "new", lineterm="")
        pytest.fail(f"{path} is not what came out:\n" + "\n".join(lines), pytrace=False)


TIMES = {
    "latency_min": 0.4,
    "latency_mean": 0.55,
    "latency_max": 1.25,
    "latency_stddev": 0.125,
    "latency_p25": 0.45,
    "latency_p50": 0.5,
    "latency_p75": 0.6,
    "latency_p90": 0.7,
    "latency_p95": 0.912,
    "latency_p99": 1.2,
}
COUNTS = {"tokens_per_call": 271.0, "throughput": 1.8182, "hit_rate": 0.5, "memory_peak": 1.5e6}
RUN = Run(
    [
        *RECORDS,
        PerfRecord(
            "agents/test_b.py::test_answer",
            [
                MeasurementRecord(
                    None,
                    "ask",
                    40,
                    0,
                    {**TIMES, **COUNTS},
                    {},
                    [],
                    ["search and index ran one after the other"],
                    curves={"rss": CurveRecord("calls", "B", [[1, 1e6], [20, 3e6], [40, 2e6]])},
                )
            ],
            [
                VerdictRecord(
                    *("passed", "latency_p95", None, 0.912, 1.0, None),
                    *("budgets.toml", "p95 latency was 912 ms, budget 1 s", 0.88, 0.951),
                )
            ],
            0,
            comparisons=[
                ComparisonRecord(
                    "agents/test_b.py::test_answer",
                    "regressed",
                    "median latency 500 ms is 12 % above 446 ms",
                    *("origin/main@a1b2c3d", 0.446, 0.5, 1.121, 1.08, 1.16, 0.0004, 10),
                )
            ],
        ),
    ],
    created="2026-11-21T15:00:00+00:00",
    environment="a processor × 2; Linux x86_64; cpython-311; asyncio; 0 xdist workers",
    versions={"pytest-agentperf": "0.1.0", "pytest": "9.2.0"},
    exit_status=1,
    places={"t.py::test_fail": "t.py:12", "t.py::test_warn": "sub/t.py:40"},
    lost=["t.py::test_crash"],
    notes=['budgets.toml: tests."gone" matches no collected test'],
)
"""A run with one of everything."""
