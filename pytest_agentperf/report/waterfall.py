"""The waterfall: the spans of one call as bars over time, with the critical path."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from pytest_agentperf.core.detail import PathStep, Trace, TraceSpan
from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.axes import Axis
from pytest_agentperf.report.page.markup import quantity, short, text
from pytest_agentperf.report.svg import svg

__all__ = ["path_shares", "waterfall"]

_ROW: Final = 18
_WIDTH: Final = 520
_LEFT: Final = 132
_RIGHT: Final = 460
_MOST: Final = 40
_OUTSIDE: Final = "outside of spans"
_LETTERS: Final = 19


def waterfall(trace: Trace, seconds: float) -> str:
    """Return *trace* as bars, underlined where they are on the critical path.

    Args:
        trace: The spans of one call.
        seconds: What the width stands for, at least as long as the call took.
    """
    shown = _shown(trace)
    across = Axis(0.0, max(seconds, 1e-9), _LEFT, _RIGHT)
    steps: defaultdict[int, list[PathStep]] = defaultdict(list)
    for step in trace.path:
        if step.span is not None:
            steps[step.span].append(step)
    height = _ROW * len(shown)
    body = [_grid(across, height)]
    for row, place in enumerate(shown):
        body.append(_bar(trace.spans[place], steps[place], across, _ROW * row))
    label = f"{trace.title}: {len(shown)} spans over {quantity(trace.seconds, Unit.SECONDS)}"
    return svg(_WIDTH, height + 22, label, body, "fall")


def _shown(trace: Trace) -> list[int]:
    """Return the places of the spans to draw: the longest ones, in order."""
    spans = trace.spans
    places = sorted(range(len(spans)), key=lambda place: spans[place].start - spans[place].end)
    return sorted(places[:_MOST])


def _grid(across: Axis, height: float) -> str:
    ticks = [(across.place(tick), tick) for tick in across.ticks(5)]
    lines = "".join(f"M{x:.0f} 0V{height}" for x, _ in ticks)
    labels = "".join(
        f'<text x="{x:.0f}" y="{height + 15}" text-anchor="middle">'
        f"{quantity(tick, Unit.SECONDS)}</text>"
        for x, tick in ticks
    )
    return f'<path class="grid" d="{lines}"/>{labels}'


def _bar(span: TraceSpan, steps: list[PathStep], across: Axis, top: int) -> str:
    left, right = across.place(span.start), across.place(span.end)
    width = max(right - left, 1.0)
    took = quantity(span.end - span.start, Unit.SECONDS)
    underline = "".join(
        f"M{across.place(step.start):.1f} {top + 13.5}"
        f"h{max(across.place(step.start + step.seconds) - across.place(step.start), 0.6):.1f}"
        for step in steps
    )
    failed = f" ✕ {text(span.error, 60)}" if span.error else ""
    indent = 8 * min(span.depth, 6)
    kind = "span bad" if span.error else "span"
    title = f"{text(span.name, 200)} took {took}{failed}; {text(span.where, 300)}"
    return (
        f"<g><title>{title}</title>"
        f'<text class="name" x="{indent}" y="{top + 13}">'
        f"{short(span.name, _LETTERS - indent // 6)}{failed and ' ✕'}</text>"
        f'<rect class="{kind}" x="{left:.1f}" y="{top + 3}" width="{width:.1f}" height="12"/>'
        + (f'<path class="crit" d="{underline}"/>' if underline else "")
        + f'<text x="{right + 5:.0f}" y="{top + 13}">{took}</text></g>'
    )


def path_shares(trace: Trace) -> Mapping[str, float]:
    """Return what share of *trace* each name of its critical path took, the largest first."""
    shares: defaultdict[str, float] = defaultdict(float)
    for step in trace.path:
        name = _OUTSIDE if step.span is None else trace.spans[step.span].name
        shares[name] += step.seconds / (trace.seconds or 1e-9)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
