"""Budgets that ask for memory, pauses or processor time: what is metered of a test, and when."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeAlias

import pytest

from pytest_agentperf.body import has_examples, replaced_function
from pytest_agentperf.judge.limits import Limit, ResolvedLimits

__all__ = [
    "CPU",
    "CPU_CALLS",
    "PER_CALL",
    "TRACED",
    "asked_quantities",
    "asks_memory",
    "body_parts",
    "is_traced_alone",
    "metered_body",
    "needs_rerun",
    "provided_by",
]

NewBlock: TypeAlias = Callable[[], AbstractContextManager[object]]

TRACED: Final = ("memory_peak", "memory_growth")
"""Quantities that a trace finds, which no time is taken beside."""

PER_CALL: Final = "memory_growth_per_call"
"""The quantity that only many further calls can tell."""

_MEMORY: Final = frozenset({*TRACED, PER_CALL, "rss_peak"})

CPU: Final = ("cpu_time_per_call", "cpu_percent")
"""Quantities of the processors, of each call."""

CPU_CALLS: Final = 5
"""Calls over which they are taken where the timed ones are many."""

_BODY: Final = {
    "rss_peak": "process",
    "gc_pause_max": "pauses",
    "gc_pause_total": "pauses",
    "cpu_time_per_call": "cpu",
    "cpu_percent": "cpu",
}
"""What a block around the body of a test must meter, by the quantity that is limited."""

_TIMES: Final = frozenset({"latency", "ttft", "itl", "items_per_second", "cpu_time_per_call"})


def asked_quantities(item: pytest.Item, limits: Iterable[Limit]) -> frozenset[str]:
    """Return the quantities that *limits* ask to be metered in *item*.

    Nothing where its code does that itself, and nothing that only `defaults` and the like limit.
    """
    if "perf_memory" in getattr(item, "fixturenames", ()) or not isinstance(item, pytest.Function):
        return frozenset()
    return frozenset(limit.metric.quantity.name for limit in limits if limit.is_stated)


def asks_memory(item: pytest.Item, asked: frozenset[str]) -> bool:
    """Return whether the user wants to know of memory: by the *asked* ones, or by the code."""
    return "perf_memory" in getattr(item, "fixturenames", ()) or not asked.isdisjoint(_MEMORY)


def body_parts(asked: frozenset[str]) -> frozenset[str]:
    """Return what to meter around the body of a test, given the quantities that are *asked*."""
    return frozenset(_BODY[name] for name in asked if name in _BODY)


def is_traced_alone(item: pytest.Item, limits: ResolvedLimits, asked: frozenset[str]) -> bool:
    """Return whether the one run of the body of *item* is traced, for nothing is timed in it."""
    return not asked.isdisjoint(TRACED) and _is_once(item, limits)


def _is_once(item: pytest.Item, limits: ResolvedLimits) -> bool:
    """Return whether the body of *item* may run but once."""
    is_single = limits.effort.rounds in {None, 1} and not limits.effort.rerun
    return is_single and not has_examples(item)


def needs_rerun(item: pytest.Item, limits: ResolvedLimits) -> str:
    """Return the sentence on limits that one run of the body cannot serve; empty where it can."""
    stated = [limit for _, limit in limits.items() if limit.is_stated]
    asked = asked_quantities(item, stated)
    if PER_CALL in asked and _is_once(item, limits):
        source = next(limit.source for limit in stated if limit.metric.quantity.name == PER_CALL)
        return (
            f"{source}: {PER_CALL} takes many calls, and the body of this test runs once; add"
            " @pytest.mark.perf(rerun=True), which runs it until that is known"
        )
    if not is_traced_alone(item, limits, asked):
        return ""
    timed = next((limit for limit in stated if limit.metric.quantity.name in _TIMES), None)
    if timed is None:
        return ""
    traced = next(limit for limit in stated if limit.metric.quantity.name in TRACED)
    return (
        f"{traced.source}: a trace of {traced.metric.name} would slow down what {timed.metric.name}"
        " times; add @pytest.mark.perf(rerun=True), which runs the test once more for the trace"
    )


@contextmanager
def metered_body(item: pytest.Item, new_block: NewBlock) -> Iterator[None]:
    """Put a block around the body of *item*, a function, while it runs inside this context."""
    assert isinstance(item, pytest.Function)  # noqa: S101 -- nothing is asked of other items
    with replaced_function(item, lambda body: _metered(body, new_block)):
        yield


def provided_by(item: pytest.Item) -> Callable[[object], str | None]:
    """Return a function that returns the name of the fixture of *item* that provides an object."""

    def name_of(obj: object) -> str | None:
        provided = getattr(item, "funcargs", {})
        return next((name for name, value in provided.items() if value is obj), None)

    return name_of


def _metered(function: Callable[..., Any], new_block: NewBlock) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def metered_async(*args: Any, **kwargs: Any) -> Any:
            with new_block():
                return await function(*args, **kwargs)

        return metered_async

    @functools.wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        with new_block():
            return function(*args, **kwargs)

    return metered
