"""The sentences of the regression gate, in which every number stands that led to the verdict."""

from collections.abc import Mapping, Sequence
from typing import Final

from pytest_agentperf.core.metrics import QUANTITIES
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.judge.comparison import (
    CommonShift,
    CountChange,
    LatencyChange,
    Outcome,
    TailChange,
)
from pytest_agentperf.judge.history import LEAST_RUNS

__all__ = ["describe_change", "describe_common", "describe_obstacle", "format_change"]

_CURES: Final[Mapping[Outcome, str]] = {
    Outcome.NEW: f"new: {{known}} of {LEAST_RUNS} runs that it takes to compare",
    Outcome.GONE: "gone: the base has it and this run does not",
    Outcome.NOT_COMPARABLE: "not comparable: the test or its input changed",
    Outcome.OTHER_ENVIRONMENT: "other environment: no run of the base is from one like this",
}


def describe_obstacle(outcome: Outcome, known: int | None = None) -> str:
    """Return why a test was not compared; *known* is the number of its runs in a history."""
    if outcome is Outcome.NEW and known is None:
        return "new: the base does not have it"
    return _CURES[outcome].format(known=known)


def describe_change(
    outcome: Outcome,
    latency: LatencyChange,
    tail: TailChange | None,
    counts: Sequence[CountChange],
    *,
    is_duet: bool,
) -> str:
    """Return what changed in one sentence, the cause of a regression first."""
    parts = [_of_count(count) for count in counts if count.is_regressed]
    if tail and tail.is_regressed:
        parts.append(_of_tail(tail))
    parts.append(_of_latency(latency, is_duet=is_duet))
    parts += [_of_count(count) for count in counts if _is_news(count)]
    if outcome is Outcome.UNDECIDED:
        more = "pairs" if is_duet else "runs, or a comparison with a revision,"
        parts.append(f"undecided: more {more} would tell it from noise")
    return "; ".join(parts)


def _of_latency(change: LatencyChange, *, is_duet: bool) -> str:
    low, high = change.interval
    runs = (
        f"{change.runs} pair{'s' * (change.runs != 1)}"
        if is_duet
        else f"{change.runs} earlier runs"
    )
    beside = " beside the reference workload" if change.is_beside_reference else ""
    return (
        f"latency median {format_quantity(change.base, Unit.SECONDS)}"
        f" → {format_quantity(change.head, Unit.SECONDS)}, {format_change(change.ratio)}{beside}"
        f" (95 % CI {_percent(low)}…{format_change(high)}, p = {_chance(change.p)},"
        f" {runs} × {change.calls} calls, could show {format_change(1 + change.detectable)})"
    )


def _of_tail(tail: TailChange) -> str:
    return (
        f"{format_quantity(tail.head, Unit.SHARE, 2)} of the calls are as slow as the slowest"
        f" {format_quantity(tail.base, Unit.SHARE, 2)} were, relative to their median"
        f" (p = {_chance(tail.p)})"
    )


def _of_count(count: CountChange) -> str:
    known = QUANTITIES.get(count.name)
    unit = known.unit if known else Unit.COUNT
    change = f", {format_change(count.head / count.base)}" if count.base else ""
    sure = "exact" if count.p is None else f"p = {_chance(count.p)}"
    before, after = (format_quantity(value, unit) for value in (count.base, count.head))
    return f"{count.name.replace('_', ' ')} {before} → {after}{change} ({sure})"


def _is_news(count: CountChange) -> bool:
    """Return whether a count that is no regression changed all the same."""
    return not count.is_regressed and count.p is None and count.base != count.head


def describe_common(ratio: float, moved: int, tests: int) -> CommonShift:
    """Return the finding that *moved* of *tests* changed by about *ratio*."""
    which = f"all {tests}" if moved == tests else f"{moved} of {tests}"
    sentence = f"{which} tests {format_change(ratio)}: machine or a shared dependency"
    return CommonShift(ratio, moved, tests, sentence)


def format_change(ratio: float) -> str:
    """Return *ratio* as a change: `+22 %`, `-4.1 %`, `×3.2` from a doubling on."""
    if ratio >= 3:  # noqa: PLR2004 -- beyond, percents are hard to read
        return f"×{ratio:.2g}" if ratio < 100 else f"×{ratio:.0f}"  # noqa: PLR2004
    return f"{_percent(ratio)} %"


def _percent(ratio: float) -> str:
    change = 100 * (ratio - 1)
    digits = 0 if abs(change) >= 9.95 else 1  # noqa: PLR2004 -- two digits either way
    return f"{change:+.{digits}f}"


def _chance(p: float) -> str:
    return "0" if p == 0 else f"{p:.1g}" if p >= 1e-4 else f"{p:.0e}"  # noqa: PLR2004
