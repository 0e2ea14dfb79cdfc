"""A run as builtin types, as files and the processes of xdist hold it, in few bytes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from itertools import chain
from typing import Any, Final

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.jsonfile import is_number
from pytest_agentperf.judge.runs import Count, Run

__all__ = [
    "KEPT_LATENCIES",
    "evenly_ranked",
    "pooled_latencies",
    "run_from_builtin",
    "run_to_builtin",
    "thinned",
]

KEPT_LATENCIES: Final = 60
"""Latencies of a run that are kept for its tail."""

_DIGITS: Final = 4
_DIGITS_OF_MEDIAN: Final = 7


def evenly_ranked(at: Callable[[int], float], count: int, most: int) -> tuple[float, ...]:
    """Return up to *most* of *count* values, evenly spaced by rank, in ascending order.

    Each is the middle of its share: with the extremes among them, the tail would weigh more than
    it does among all.

    Args:
        at: Returns the value of a rank from 0.
        count: How many values there are.
        most: How many to take.
    """
    taken = min(count, most)
    return tuple(at((2 * place + 1) * count // (2 * taken)) for place in range(taken))


def pooled_latencies(runs: Iterable[Run], most: int = 200) -> tuple[float, ...]:
    """Return the latencies of all *runs*, ascending; of more than *most* those evenly spaced."""
    found = sorted(chain.from_iterable(run.latencies for run in runs))
    return evenly_ranked(found.__getitem__, len(found), most)


def thinned(run: Run) -> Run:
    """Return *run* as it is kept: with few latencies, and few digits of each."""
    latencies = evenly_ranked(run.latencies.__getitem__, len(run.latencies), KEPT_LATENCIES)
    return replace(
        run,
        median=_rounded(run.median, _DIGITS_OF_MEDIAN),
        latencies=tuple(_rounded(latency, _DIGITS) for latency in latencies),
        reference=None if run.reference is None else _rounded(run.reference, _DIGITS),
    )


def run_to_builtin(run: Run) -> dict[str, Any]:
    """Return *run* as builtin types that JSON can hold."""
    found = {each.name: getattr(run, each.name) for each in fields(Run)}
    counts = {name: list(map(float, count)) for name, count in run.counts.items()}
    return found | {"latencies": list(run.latencies), "counts": counts}


def run_from_builtin(content: object) -> Run:
    """Return the run that `run_to_builtin` made *content* from.

    Raises:
        FileFormatError: *content* is nothing of the kind; says which part of it.
    """
    if not isinstance(content, Mapping):
        raise FileFormatError(f"got {content!r:.60}, expected an object")
    for name, (check, expected) in _CHECKS.items():
        if not check(content.get(name)):
            found = repr(content[name])[:60] if name in content else "nothing"
            raise FileFormatError(f"{name}: got {found}, expected {expected}")
    known = {name: content[name] for name in _CHECKS}
    counts = {name: Count(*numbers) for name, numbers in content["counts"].items()}
    return Run(**known | {"latencies": tuple(content["latencies"]), "counts": counts})


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _is_time(value: object) -> bool:
    return is_number(value) and float(value) >= 0  # type: ignore[arg-type]


def _are_times(value: object) -> bool:
    # A history has a million of them, which only loops of the interpreter itself are fast with.
    if not isinstance(value, list) or not {*map(type, value)} <= {int, float}:
        return False
    return not value or (value == sorted(value) and _is_time(value[0]) and _is_time(value[-1]))


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_count(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == len(Count._fields) and all(map(is_number, value))
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_CHECKS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "median": (_is_time, "seconds"),
    "calls": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "latencies": (_are_times, "a list of ascending seconds"),
    "counts": (_are_counts, "lowest, mean and highest by name"),
    "environment": (_is_text, "text"),
    "body": (_is_text, "text"),
    "reference": (lambda value: value is None or (_is_time(value) and value != 0), "seconds"),
}
