"""Figures of one measurement: each appears where there is something to draw."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_agentperf.core.detail import Detail, LoopBlock, Trace
from pytest_agentperf.core.metrics import find_metric
from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.page.levels import level_figures
from pytest_agentperf.report.page.markup import (
    figure,
    known_status,
    number,
    quantity,
    text,
    unit_of,
)
from pytest_agentperf.report.record import MeasurementRecord, VerdictRecord
from pytest_agentperf.report.run import Row
from pytest_agentperf.report.svg import Mark, Shape, ecdf, sparkline, strip
from pytest_agentperf.report.waterfall import path_shares, waterfall

__all__ = ["figures"]

_TIMES: Final = {
    "latency": "Latency",
    "ttft": "Time to first item",
    "itl": "Time between items",
}
_LEAST: Final = 3  # values of which a distribution is drawn
_PERCENTILES: Final = (("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))
_STEPS: Final = 4


def figures(row: Row) -> Iterator[str]:
    """Yield the figures of *row*."""
    measurement = row.measurement
    if measurement is None:
        return
    detail = measurement.detail or Detail()
    for name, title in _TIMES.items():
        yield from _distribution(name, title, measurement, detail, row.verdicts)
    yield from _per_call(measurement, detail)
    longest = max((trace.seconds for trace in detail.traces), default=0.0)
    for trace in detail.traces:
        yield _trace(trace, longest)
    yield from level_figures(measurement.curves)
    if detail.lookups:
        yield _lookups(detail.lookups)
    if detail.blocks:
        yield _blocks(detail.blocks)


# Distributions


def _distribution(
    name: str,
    title: str,
    measurement: MeasurementRecord,
    detail: Detail,
    verdicts: Sequence[VerdictRecord],
) -> Iterator[str]:
    now = _shape("now", "this run", *_points(name, measurement.metrics, detail.quantiles))
    if len(now.xs) < _LEAST or now.xs[0] < 0:
        return
    shapes, note = [now], _counted(name, measurement)
    base = detail.baseline.get(name, ())
    if len(base) >= _LEAST:
        shapes.insert(0, _shape("base", "baseline", base, _even(len(base))))
        note += "; dashed: the baseline"
    marks = [mark for verdict in verdicts if (mark := _mark(name, verdict))]
    label = f"{title}: {_counted(name, measurement)}"
    yield figure(title, note, ecdf(label, Unit.SECONDS, shapes, marks[:3]))


def _shape(kind: str, title: str, xs: Sequence[float], ys: Sequence[float]) -> Shape:
    return Shape(kind, title, xs, ys)


def _points(
    name: str, metrics: Mapping[str, float], found: Mapping[str, Sequence[float]]
) -> tuple[Sequence[float], Sequence[float]]:
    """Return values and shares: all that are known, else a few percentiles."""
    if name in found:
        return found[name], _even(len(found[name]))
    known = [*_PERCENTILES, ("max", 1.0)]
    few = [
        (metrics[f"{name}_{short}"], share)
        for short, share in known
        if f"{name}_{short}" in metrics
    ]
    return [value for value, _ in few], [share for _, share in few]


def _even(count: int) -> Sequence[float]:
    return [place / max(count - 1, 1) for place in range(count)]


def _counted(name: str, measurement: MeasurementRecord) -> str:
    median, p95 = (measurement.metrics.get(f"{name}_{each}") for each in ("p50", "p95"))
    return f"median {number(name, median)}, p95 {number(name, p95)}"


def _mark(name: str, verdict: VerdictRecord) -> Mark | None:
    """Return the limit of *verdict* as a mark, where it is one on the sample *name*."""
    bound = verdict.limit if verdict.limit is not None else verdict.warn
    try:
        metric = find_metric(verdict.metric)
    except ValueError:
        return None
    if bound is None or bound < 0 or metric.quantity.name != name:
        return None
    status = known_status(verdict.status)
    statistic = metric.name.removeprefix(f"{name}_").replace("_", ".")
    label = f"{statistic} ≤ {quantity(bound, metric.unit)}"
    if metric.percentile is not None:
        return Mark(label, bound, status, verdict.value, float(metric.percentile) / 100)
    shares = {"min": 0.0, "max": 1.0}
    value = verdict.value if statistic in shares else None
    return Mark(label, bound, status, value, shares.get(statistic, 0.5))


# Tokens, cost and counts


def _per_call(measurement: MeasurementRecord, detail: Detail) -> Iterator[str]:
    names = [name for name in detail.quantiles if name not in _TIMES]
    rows = "".join(_count(name, detail.quantiles[name]) for name in names if detail.quantiles[name])
    total = measurement.metrics.get("cost_total")
    if rows:
        note = "" if total is None else f"cost of all calls {number('cost_total', total)}"
        head = (
            '<thead><tr><th scope="col">Count</th><th scope="col" class="n">min</th>'
            '<th scope="col" class="n">median</th><th scope="col" class="n">max</th>'
            '<th scope="col">ascending</th></tr></thead>'
        )
        body = f'<table class="small">{head}<tbody>{rows}</tbody></table>'
        yield figure("Per call", note, body)


def _count(name: str, values: Sequence[float]) -> str:
    unit = unit_of(name)
    shown = (quantity(each, unit) for each in (values[0], values[len(values) // 2], values[-1]))
    cells = "".join(f'<td class="n">{each}</td>' for each in shown)
    title = text(name.removesuffix("_per_call").replace("_", " "), 60)
    return f'<tr><th scope="row">{title}</th>{cells}<td>{sparkline(values, title)}</td></tr>'


# Spans, caches and the event loop


def _trace(trace: Trace, seconds: float) -> str:
    shares = [*path_shares(trace).items()][:_STEPS]
    words = ", ".join(f"{name[:40]} {100 * share:.0f} %" for name, share in shares)
    left = f"; {trace.omitted} shorter spans left out" if trace.omitted else ""
    took = quantity(trace.seconds, Unit.SECONDS)
    title = f"Spans of the {trace.title.removeprefix('the ')}, {took}"
    return figure(title, f"critical path (underlined): {words}{left}", waterfall(trace, seconds))


def _lookups(lookups: str) -> str:
    hits, misses = lookups.count("H"), lookups.count("M")
    last = "the last of them; " if lookups.startswith("…") else ""
    note = f"{last}{hits} hits (tall) and {misses} misses (short), in order"
    label = f"Cache lookups: {hits} hits and {misses} misses"
    return figure("Cache lookups", note, strip(lookups.lstrip("…"), label), "full")


def _blocks(blocks: Sequence[LoopBlock]) -> str:
    worst = max(block.seconds for block in blocks) or 1.0
    items = "".join(_block(block, worst) for block in blocks)
    return figure(
        "Event loop blocked", "by start, with what was running", f"<ol>{items}</ol>", "full"
    )


def _block(block: LoopBlock, worst: float) -> str:
    stack = "\n".join(text(line, 300) for line in block.stack)
    width = f"{100 * max(block.seconds, 0) / worst:.0f}"
    return (
        f'<li><svg class="bar" viewBox="0 0 100 10" aria-hidden="true">'
        f'<rect class="block" y="2" width="{width}" height="6" rx="1"/></svg>'
        f"<b>{quantity(block.seconds, Unit.SECONDS)}</b> {text(block.cause, 60)}"
        f" at {quantity(block.start, Unit.SECONDS)}"
        f"<details><summary>{text(block.sentence, 400)}</summary><pre>{stack}</pre></details></li>"
    )
