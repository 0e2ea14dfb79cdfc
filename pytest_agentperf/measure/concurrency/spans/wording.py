"""Wording: how findings and failed assertions speak of spans."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.concurrency.spans.span import Span

__all__ = ["at_place", "listed", "named", "took", "with_times"]

_MAX_LISTED: Final = 6


def took(seconds: float) -> str:
    """Return a duration, as in ``"650 ms"``."""
    return format_quantity(seconds, Unit.SECONDS)


def listed(parts: Sequence[str]) -> str:
    """Return *parts* as a list in words; what is too much is counted."""
    if len(parts) > _MAX_LISTED:
        parts = [*parts[: _MAX_LISTED - 1], f"{len(parts) - _MAX_LISTED + 1} more"]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def with_times(spans: Iterable[Span]) -> str:
    """Return what ran and for how long: ``"search (300 ms) and fetch × 3 (90 ms)"``."""
    parts = []
    for name, group in groupby(spans, key=lambda span: span.name):
        seconds = [span.seconds for span in group]
        times = f" × {len(seconds)}" if len(seconds) > 1 else ""
        parts.append(f"{name}{times} ({took(sum(seconds))})")
    return listed(parts)


def named(spans: Iterable[Span]) -> str:
    """Return the names of *spans*, each once."""
    return listed(list(dict.fromkeys(span.name for span in spans)))


def at_place(span: Span) -> str:
    """Return who called *span*: ``" (agent.py:41 in Agent.ask: …)"``; empty where unknown."""
    return f" ({span.place})" if span.place else ""
