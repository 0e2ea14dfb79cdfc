"""Spans as a test plans them, to be compared with what was computed by hand."""

from typing import Any

from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.values import values_of

from ...conftest import FakeClock  # noqa: TID252 -- the test folders are no installed packages

__all__ = ["FakeClock", "call", "planned"]


def call(id_: int, name: str, start: float, end: float, **more: Any) -> Span:
    """Return a span of an async call of `Task-1`; *given* and *found* are argument and result."""
    given, found = more.pop("given", ("the question",)), more.pop("found", None)
    return Span(
        id_,
        name,
        start,
        end,
        **{
            "task": f"Task-{more.get('strand', 1)}",
            "strand": 1,
            "in_task": True,
            "arguments": values_of(given),
            "result": values_of((found,), is_result=True),
            **more,
        },
    )


def planned(**times: tuple[float, float] | tuple[float, float, str]) -> list[Span]:
    """Return spans by their names with start, end and the name of the parent."""
    ids = {name: id_ for id_, name in enumerate(times, 1)}
    return [
        call(ids[name], name, when[0], when[1], parent=ids[when[2]] if len(when) > 2 else None)
        for name, when in times.items()
    ]
