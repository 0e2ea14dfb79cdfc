"""Runs that have everything a page draws, made up with a fixed seed."""

import random
from dataclasses import replace

from pytest_agentperf.core.detail import Detail, LoopBlock, PathStep, Trace, TraceSpan, quantiles
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.report.record import (
    ComparisonRecord,
    CurveRecord,
    MeasurementRecord,
    PerfRecord,
    VerdictRecord,
)
from pytest_agentperf.report.run import Run

__all__ = ["big_run", "full_record", "full_run", "hostile_run"]

STATISTICS = ("min", "mean", "max", "stddev", "p50", "p90", "p95", "p99")
SPANS = ("plan", "search", "search", "search", "rank", "model")


def trace(title: str, seconds: float) -> Trace:
    """Return a call whose spans ran in turn."""
    step = seconds / len(SPANS)
    spans = tuple(
        TraceSpan(name, nth * step, (nth + 1) * step, 0, f"agent.py:{nth} in ask", "")
        for nth, name in enumerate(SPANS)
    )
    path = tuple(PathStep(nth, nth * step, step) for nth in range(len(SPANS)))
    return Trace(title, seconds, spans, path, 0)


def verdicts(metrics: dict[str, float], *, is_failed: bool) -> list[VerdictRecord]:
    limits = {"latency_p95": 0.3, "ttft_p95": 0.08, "tokens_per_call": 400.0, "hit_rate": 0.9}
    return [
        VerdictRecord(
            "failed" if is_failed and nth == 0 else "passed",
            name,
            None,
            metrics[name],
            limit,
            None,
            f"budgets.toml: tests.*.{name}",
            f"{name} was {metrics[name]:g}, budget {limit:g}",
            *((0.9 * metrics[name], 1.1 * metrics[name]) if "p95" in name else ()),
        )
        for nth, (name, limit) in enumerate(limits.items())
    ]


def full_record(name: str, calls: int = 200, *, is_failed: bool = False) -> PerfRecord:
    """Return the record of a test of which there is something for every part of a page."""
    rng = random.Random(name)
    samples = {
        "latency": Sample(rng.lognormvariate(-1.6, 0.3) for _ in range(calls)),
        "ttft": Sample(rng.lognormvariate(-3.2, 0.2) for _ in range(calls)),
        "itl": Sample(rng.lognormvariate(-5, 0.2) for _ in range(calls)),
        "tokens_per_call": Sample((float(rng.randrange(200, 400)) for _ in range(calls)), lowest=1),
    }
    metrics = {
        f"{quantity}_{statistic}": getattr(sample, statistic)
        for quantity, sample in samples.items()
        if not quantity.startswith("tokens")
        for statistic in STATISTICS
    }
    metrics |= {"tokens_per_call": samples["tokens_per_call"].max, "hit_rate": 0.95}
    shifted = Sample(0.9 * value for value in samples["latency"])
    detail = Detail(
        {quantity: quantiles(sample) for quantity, sample in samples.items()},
        {"latency": quantiles(shifted)},
        (
            trace("median call", metrics["latency_p50"]),
            trace("slowest call", metrics["latency_max"]),
        ),
        tuple(
            LoopBlock(nth, 0.03 * nth, "computing", "blocked at agent.py:7", ("a.py:1 in f", "x"))
            for nth in range(1, 4)
        ),
        "".join(rng.choice("HHHM") for _ in range(200)),
    )
    measurement = MeasurementRecord(
        None,
        "ask",
        calls,
        0,
        metrics,
        {"cost_per_call": "no price"},
        ["few calls; make more"],
        ["search × 3 ran one after the other"],
        ["loop watch"],
        {"memory": curve("B", rng), "rate": curve("/s", rng)},
        {"cprofile": "/home/a b/c.prof"},
        detail,
    )
    against = ComparisonRecord(
        *(name, "regressed", "+11 %, p = 0.001", "base main@a1b2c3d", 0.18, 0.2),
        *(1.11, 1.05, 1.17, 0.001, 10),
    )
    return PerfRecord(
        name, [measurement], verdicts(metrics, is_failed=is_failed), 0, comparisons=[against]
    )


def curve(unit: str, rng: random.Random) -> CurveRecord:
    points = [[nth, 1e6 + 1e4 * nth + rng.random()] for nth in range(200)]
    return CurveRecord("seconds", unit, points)


def full_run() -> Run:
    """Return a run of a few tests, one of them failed."""
    records = [full_record(f"t.py::test_{nth}", is_failed=nth == 1) for nth in range(3)]
    return Run(
        records,
        created="2026-11-21T15:00:00+00:00",
        environment="a processor × 2; Linux; cpython-311",
        versions={"pytest": "9.2.0"},
        lost=["t.py::test_crash"],
    )


def big_run(tests: int, calls: int = 1000) -> Run:
    """Return a run of many tests."""
    names = (f"tests/perf/test_agents.py::test_{nth}" for nth in range(tests))
    return Run([full_record(name, calls, is_failed=not nth % 20) for nth, name in enumerate(names)])


HOSTILE = (
    "<script>hacked=1</script>\"'><img src=x onerror=hacked=1>]]>-->${hacked=1}|`\n\x1b[31m\u202e"
    "\ud800&lt;%3A"
)


def hostile_run(text: str = HOSTILE) -> Run:
    """Return a run whose every text is *text*."""
    benign = full_record("t.py::test", is_failed=True)
    (measurement,) = benign.measurements
    assert measurement.detail is not None
    detail = replace(
        measurement.detail,
        quantiles={**measurement.detail.quantiles, text: (1.0, 2.0)},
        traces=tuple(hostile_trace(each, text) for each in measurement.detail.traces),
        blocks=(LoopBlock(0.0, 0.1, text, text, (text, text)),),
    )
    hostile = measurement._replace(
        label=text,
        subject=text,
        metrics={**measurement.metrics, text: 1.0},
        unknown={text: text},
        notes=[text],
        findings=[text] * 7,
        monitors=[text],
        curves={text: CurveRecord(text, text, [[0.0, 1.0], [1.0, 2.0]])},
        profiles={text: text},
        detail=detail,
    )
    verdicts = [each._replace(label=text, source=text, sentence=text) for each in benign.verdicts]
    strange = verdicts[0]._replace(metric=text, value=1.0, limit=2.0)
    compared = [
        each._replace(name=f"t.py::{text}#{text}", sentence=text, outcome=text)
        for each in benign.comparisons
    ]
    record = benign._replace(
        nodeid=f"t.py::{text}",
        measurements=[hostile],
        verdicts=[*verdicts, strange],
        comparisons=compared,
    )
    return Run([record], text, text, {text: text}, 1, {text: text}, [text], [text])


def hostile_trace(found: Trace, text: str) -> Trace:
    spans = tuple(replace(span, name=text, where=text, error=text) for span in found.spans)
    return replace(found, title=text, spans=spans)
