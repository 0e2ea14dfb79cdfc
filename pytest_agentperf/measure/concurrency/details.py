"""Details of watches: the spans of single calls, and what held the event loop."""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_agentperf.core.detail import Detail, LoopBlock
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking
from pytest_agentperf.measure.concurrency.spans.traces import Moment, find_traces
from pytest_agentperf.measure.concurrency.watch import Watch

__all__ = ["watch_details"]

_MOST_BLOCKS: Final = 20
_MOST_LINES: Final = 30


def watch_details(
    watches: Sequence[Watch], calls: Mapping[str | None, Sequence[tuple[float, float]]]
) -> Iterator[tuple[str | None, Detail]]:
    """Yield what a report draws of *watches*, by label.

    Args:
        watches: Those of one test whose blocks have ended.
        calls: When timed calls ran, by label. Spans belong to them, and to the blocks of the
            watches only where no timed call has any.
    """
    spans = [span for watch in watches for span in watch.spans]
    is_of_calls = False
    for label, moments in calls.items():
        traces = find_traces([Moment(*moment) for moment in moments], spans)
        is_of_calls |= bool(traces)
        yield label, Detail(traces=traces)
    for label, group in _by_label(watches).items():
        blocks = tuple(_block(block, watch) for watch, block in _worst(group))
        around = [] if is_of_calls else [Moment(*watch.block) for watch in group]
        yield label, Detail(traces=find_traces(around, spans, "watched block"), blocks=blocks)


def _by_label(watches: Sequence[Watch]) -> Mapping[str | None, list[Watch]]:
    groups: defaultdict[str | None, list[Watch]] = defaultdict(list)
    for watch in watches:
        groups[watch.label].append(watch)
    return groups


def _worst(watches: Sequence[Watch]) -> list[tuple[Watch, Blocking]]:
    """Return what held the event loop longest, in order."""
    found = [(watch, block) for watch in watches for block in (*watch.blocking, *watch.stalls)]
    worst = heapq.nlargest(_MOST_BLOCKS, found, key=lambda pair: pair[1].seconds)
    return sorted(worst, key=lambda pair: pair[1].start)


def _block(block: Blocking, watch: Watch) -> LoopBlock:
    start = block.start - watch.block[0]
    stack = block.stack[-_MOST_LINES:]
    return LoopBlock(start, block.seconds, block.cause, str(block), stack)
