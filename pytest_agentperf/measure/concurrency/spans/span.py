"""Spans that have been recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_agentperf.core.finding import Place
from pytest_agentperf.measure.concurrency.spans.running import RunningSpan
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN, Values
from pytest_agentperf.measure.frames import Site, place_of

__all__ = ["Overlap", "Span", "freeze"]


@dataclass(frozen=True, slots=True)
class Span:
    """A named interval.

    Attributes:
        id: Its number, from 1, in order of beginning.
        name: What it is called; spans of one name are counted together.
        start: When it began, in seconds by the recorder's clock.
        end: When it ended; the end of the watch where it had not.
        parent: The `id` of the innermost open span around it; None for the watch itself.
        task: The name of its task; of its thread where no task ran.
        strand: Tells tasks, and threads, of the same name apart.
        in_task: Whether a task ran it.
        site: The line that called or entered it, else the first of its function.
        error: The name of the exception's type that ended it; empty for none.
        is_open: Whether it had not ended when the watch did.
        is_awaited: Whether it may overlap others of its task's: it is no plain function's.
        receiver: Tells apart the objects on which methods of the same name are called.
        attributes: What `span("name", **attributes)` was given: numbers, and text of 200 letters.
        arguments: What it was called with.
        result: What it returned.
    """

    id: int
    name: str
    start: float
    end: float
    parent: int | None = None
    task: str = ""
    strand: int = 0
    in_task: bool = False
    site: Site | None = None
    error: str = ""
    is_open: bool = False
    is_awaited: bool = True
    receiver: int = 0
    attributes: Mapping[str, object] = field(default_factory=dict)
    arguments: Values = UNKNOWN
    result: Values = UNKNOWN

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start

    @property
    def place(self) -> Place | None:
        """The line of `site` as a reader knows it."""
        return None if self.site is None else place_of(self.site)


@dataclass(frozen=True, slots=True)
class Overlap:
    """The moment at which the most spans of one name were in flight.

    Attributes:
        name: Their name.
        count: How many there were.
        at: When the last of them began, by the recorder's clock.
        spans: Those of them that began first, 16 at most.
    """

    name: str
    count: int
    at: float
    spans: tuple[Span, ...]


def freeze(span: RunningSpan, now: float) -> Span:
    """Return what is known of *span* at *now*."""
    return Span(
        id=span.id,
        name=span.name,
        start=span.start,
        end=span.end if span.recorder is None else max(now, span.start),
        parent=span.parent,
        task=span.task,
        strand=span.strand,
        in_task=span.in_task,
        site=span.site,
        error=span.error,
        is_open=span.is_open,
        is_awaited=span.subject.is_awaited,
        receiver=span.receiver,
        attributes=span.attributes,
        arguments=span.arguments,
        result=span.result,
    )
