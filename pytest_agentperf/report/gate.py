"""The gate in the terminal: what changed, a line each, and how many did not."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from pytest_agentperf.judge.compare import find_common
from pytest_agentperf.judge.comparison import STANDARD, Outcome
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.record import ComparisonRecord
from pytest_agentperf.report.terminal import Line

__all__ = ["comparison_lines", "told"]

_STATUSES: Final = {
    Outcome.REGRESSED.value: "failed",
    Outcome.UNDECIDED.value: "undecided",
    Outcome.FASTER.value: "passed",
}
_WORST_FIRST: Final = tuple(outcome.value for outcome in Outcome)
_ALARMING: Final = _WORST_FIRST[:2]
# What many tests at once may come to, with nothing to do about it.
_COUNTED: Final = {
    Outcome.UNCHANGED.value,
    Outcome.NEW.value,
    Outcome.OTHER_ENVIRONMENT.value,
}


def comparison_lines(
    comparisons: Iterable[ComparisonRecord],
    verbosity: int,
    failing: Collection[str] = (Outcome.REGRESSED.value,),
) -> list[Line]:
    """Return a line for each test that changed, and one for all; empty without comparisons.

    Args:
        comparisons: In any order; the worst come first.
        verbosity: Negative: only what regressed or is undecided; positive: every test.
        failing: The outcomes that fail a test.
    """
    found = sorted(comparisons, key=_place)
    lines = [
        Line(plain_line(f"{one.outcome}: {one.name}: {told(one)}"), _status(one, failing))
        for one in found
        if _is_shown(one.outcome, verbosity)
    ]
    if found and (verbosity >= 0 or lines):
        shifts = [math.log(one.ratio) for one in found if one.ratio]
        common = find_common(shifts, STANDARD)
        lines += [Line(f"note: {common.sentence}", "warned")] if common else []
        lines.append(Line(_totals(found)))
    return lines


def told(one: ComparisonRecord) -> str:
    """Return the sentence of *one* without its outcome in front."""
    return one.sentence.removeprefix(f"{one.outcome}: ")


def _place(one: ComparisonRecord) -> int:
    return _WORST_FIRST.index(one.outcome) if one.outcome in _WORST_FIRST else 0


def _is_shown(outcome: str, verbosity: int) -> bool:
    if verbosity == 0:
        return outcome not in _COUNTED
    return verbosity > 0 or outcome in _ALARMING


def _status(one: ComparisonRecord, failing: Collection[str]) -> str:
    status = _STATUSES.get(one.outcome, "")
    return "warned" if status == "failed" and one.outcome not in failing else status


def _totals(found: Sequence[ComparisonRecord]) -> str:
    counted = Counter(one.outcome for one in found)
    against = ", ".join(dict.fromkeys(one.against for one in found))
    parts = [f"{counted[name]} {name}" for name in _WORST_FIRST if counted[name]]
    return plain_line(f"against {against}: {', '.join(parts)}")
