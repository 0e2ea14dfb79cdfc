"""The gate in the terminal: what changed, a line each, and how many did not."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from pytest_agentperf.judge.compare import find_common
from pytest_agentperf.judge.comparison import STANDARD, Outcome
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.record import ComparisonRecord, PerfRecord
from pytest_agentperf.report.terminal import Line

__all__ = ["comparison_lines", "gate_lines"]

_STATUSES: Final = {
    Outcome.REGRESSED.value: "failed",
    Outcome.UNDECIDED.value: "undecided",
    Outcome.FASTER.value: "passed",
}
_WORST_FIRST: Final = tuple(outcome.value for outcome in Outcome)


def gate_lines(records: Sequence[PerfRecord], verbosity: int) -> list[Line]:
    """Return what the gate says about *records*; see `comparison_lines`."""
    return comparison_lines([one for record in records for one in record.comparisons], verbosity)


def comparison_lines(comparisons: Iterable[ComparisonRecord], verbosity: int) -> list[Line]:
    """Return a line for each test that changed, and one for all; empty without comparisons.

    Args:
        comparisons: In any order; the worst come first.
        verbosity: Negative: only what regressed or is undecided; positive: every test.
    """
    found = sorted(comparisons, key=_place)
    shown = [
        Line(_sentence(one), _STATUSES.get(one.outcome, ""))
        for one in found
        if verbosity > 0 or one.outcome in _shown_outcomes(verbosity)
    ]
    if found and (verbosity >= 0 or shown):
        shown.append(Line(_totals(found)))
        shifts = [math.log(one.ratio) for one in found if one.ratio]
        common = find_common(shifts, STANDARD)
        shown += [Line(common.sentence, "undecided")] if common else []
    return shown


def _place(one: ComparisonRecord) -> int:
    return _WORST_FIRST.index(one.outcome) if one.outcome in _WORST_FIRST else 0


def _shown_outcomes(verbosity: int) -> list[str]:
    return list(_STATUSES)[: 3 if verbosity >= 0 else 2]


def _sentence(one: ComparisonRecord) -> str:
    told = (
        one.sentence if one.sentence.startswith(one.outcome) else f"{one.outcome}: {one.sentence}"
    )
    return plain_line(f"{one.name} {told}")


def _totals(found: Sequence[ComparisonRecord]) -> str:
    counted = Counter(one.outcome for one in found)
    against = ", ".join(dict.fromkeys(one.against for one in found))
    parts = [f"{counted[name]} {name}" for name in _WORST_FIRST if counted[name]]
    return plain_line(f"against {against}: {', '.join(parts)}")
