"""The history of tests as text: a table with a sparkline for each, or the runs of one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.judge.baseline import Entry, Past
from pytest_agentperf.judge.sentences import format_change
from pytest_agentperf.report.escape import plain_line

__all__ = ["history_table", "runs_table", "sparkline"]

_BARS: Final = "▁▂▃▄▅▆▇█"
_LEAST_SPAN: Final = 0.25
_COMMIT: Final = 12


def history_table(tests: Mapping[str, Past]) -> str:
    """Return a line for each of *tests*, in order of their names."""
    from tabulate import tabulate

    header = ("runs", "median", "", "history", "commits", "test")
    cells = [_row(name, past) for name, past in sorted(tests.items())]
    columns = ("right", "right", "right", "left", "left", "left")
    return tabulate(cells, headers=header, colalign=columns, disable_numparse=True)


def _row(name: str, past: Past) -> tuple[str, ...]:
    medians = [entry.run.median for entry in past.runs]
    refused = f" + {len(past.refused)} regressed" if past.refused else ""
    counted = f"{len(medians)}{refused}"
    if not medians:
        return counted, "-", "", "", "", plain_line(name)
    change = format_change(past.runs[-1].run.scale / past.runs[0].run.scale)
    commits = [plain_line(entry.commit)[:_COMMIT] or "?" for entry in past.runs]
    between = commits[0] if commits[0] == commits[-1] else f"{commits[0]}…{commits[-1]}"
    return (
        counted,
        format_quantity(medians[-1], Unit.SECONDS),
        change,
        sparkline(medians),
        between,
        plain_line(name),
    )


def runs_table(past: Past) -> str:
    """Return a line for each run of a test, oldest first."""
    from tabulate import tabulate

    cells = [*_runs(past.runs, ""), *_runs(past.refused, "regressed")]
    header = ("time", "commit", "calls", "median", "")
    columns = ("left", "left", "right", "right", "left")
    return tabulate(cells, headers=header, colalign=columns, disable_numparse=True)


def _runs(entries: Sequence[Entry], note: str) -> Iterator[tuple[str, ...]]:
    for entry in entries:
        run = entry.run
        median = format_quantity(run.median, Unit.SECONDS)
        yield plain_line(entry.time), plain_line(entry.commit), str(run.calls), median, note


def sparkline(values: Sequence[float]) -> str:
    """Return *values* as a row of bars.

    The lowest is the lowest bar; the full height is a quarter more at least, so that noise is not
    drawn as mountains.

    Args:
        values: Any unit, 0 or more; one at least.
    """
    low = min(values)
    span = max(max(values) - low, _LEAST_SPAN * low) or 1.0
    last = len(_BARS) - 1
    return "".join(_BARS[round((value - low) / span * last)] for value in values)
