"""Names of a leak: lines, types and holders, as far as the readings cannot tell them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.measure.memory.holders import Chain, find_chain
from pytest_agentperf.measure.memory.leakedtypes import LeakType, find_leftovers
from pytest_agentperf.measure.memory.naming import LeakLine, Sizes, leaked_lines
from pytest_agentperf.measure.memory.readings import Trace

__all__ = ["NAMING_CALLS", "Names", "find_names"]

NAMING_CALLS: Final = 30
_PARTIAL: Final = "there were too many objects to look at all of them for their types"


@dataclass(frozen=True, slots=True)
class Names:
    """What leaks by name.

    Attributes:
        lines: The lines that allocate it.
        types: Its types.
        chain: Who holds one of the objects; None where none was found.
        notes: What could not be looked at, in sentences.
    """

    lines: tuple[LeakLine, ...] = ()
    types: tuple[LeakType, ...] = ()
    chain: Chain | None = None
    notes: tuple[str, ...] = ()


def find_names(
    grown: Sizes, calls: int, born: Sequence[Any], traced_calls: int, trace: Trace, clock: Clock
) -> Names:
    """Return the names behind *grown*, when the calls that name have been made; end the trace.

    Args:
        grown: Bytes by the line that allocated them.
        calls: In how many calls.
        born: What came in the calls that name, and is held.
        traced_calls: The calls that are traced, those before included where a trace was found on.
        trace: What knows the lines.
        clock: Returns seconds.
    """
    lines = leaked_lines(grown, calls)
    found = find_leftovers(grown, traced_calls, born, clock=clock)
    trace.end()  # beside which the search for holders would take ten times as long
    chain = None if found.sample is None else find_chain(found.sample, clock=clock)
    if chain and not chain.links and found.holder is not None:
        chain = find_chain(found.holder, clock=clock)  # one that the garbage collector has left out
    return Names(lines, found.types, chain, (_PARTIAL,) if found.is_partial else ())
