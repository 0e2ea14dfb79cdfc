"""Acceptance: findings that the user knows and accepts, with a reason, by cause, file and function.

[accept.blocking]
"src/agent.py::Agent.load" = "reads 2 kB, once"
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pytest_agentperf.core.finding import Finding

if TYPE_CHECKING:
    from pytest_agentperf.judge.node_ids import NodePattern

__all__ = ["Acceptance", "Acceptances"]


class Acceptance(NamedTuple):
    """One accepted kind of finding.

    Attributes:
        cause: One of `pytest_agentperf.core.finding.CAUSES`.
        pattern: Meets `file::function`, or `::name` of what has no line of its own.
        reason: Why it is accepted.
        source: Where the user wrote it.
    """

    cause: str
    pattern: "NodePattern"
    reason: str
    source: str

    def covers(self, finding: Finding) -> bool:
        """Return whether *finding* is accepted."""
        if finding.cause != self.cause:
            return False
        place = finding.place
        met = f"{place.file}::{place.function}" if place else f"::{finding.name}"
        return bool(self.pattern.matches(met.replace("\\", "/")))


class Acceptances:
    """What is accepted in one session, and which of it was met.

    Args:
        stated: What the user accepts.

    Attributes:
        used: Sources of those that covered a finding.
    """

    def __init__(self, stated: Iterable[Acceptance]) -> None:
        self._stated = list(stated)
        self.used: set[str] = set()

    def cover(self, finding: Finding) -> bool:
        """Return whether *finding* is accepted, and remember by what."""
        covering = [stated.source for stated in self._stated if stated.covers(finding)]
        self.used.update(covering)
        return bool(covering)

    def unused(self) -> list[str]:
        """Return a sentence for each that covered nothing."""
        return [
            f"{stated.source}: nothing of the kind was found; remove it ({stated.reason})"
            for stated in self._stated
            if stated.source not in self.used
        ]
