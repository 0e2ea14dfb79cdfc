"""The steps of an event loop, told apart from what a watchdog sees of it now and then."""

from collections.abc import Iterable
from typing import Final, TypeAlias

from pytest_agentperf.measure.frames import Site, culprit

__all__ = ["IDLE", "NEXT", "Stack", "Step", "Steps", "main_stack", "overlapping"]

Stack: TypeAlias = tuple[Site, ...]

IDLE: Final = 0
"""The loop waits for something to do."""
NEXT: Final = 1
"""A step runs, and the ping comes right after it."""

_STACKS: Final = 200


class Step:
    """One callback, or a task from one `await` to the next, as far as it was seen.

    Attributes:
        key: Which one it is; of meaning until the loop answers the ping.
        began: The latest moment at which it can have begun.
        ended: The earliest moment at which it can have ended.
        seconds_at: How long it was at each stack.
        task: The name of the task; empty for a callback.
    """

    __slots__ = ("began", "ended", "key", "seconds_at", "task")

    def __init__(self, key: int, began: float, ended: float, task: str = "") -> None:
        self.key = key
        self.began = began
        self.ended = ended
        self.seconds_at: dict[Stack, float] = {}
        self.task = task

    @property
    def seconds(self) -> float:
        """How long it took at least."""
        return self.ended - self.began

    def see(self, at: float, stack: Stack, task: str) -> None:
        """Note that it still runs, and where it is."""
        known = self.seconds_at
        if stack in known or len(known) < _STACKS:
            known[stack] = known.get(stack, 0.0) + at - self.ended
        self.ended = at
        self.task = task or self.task


class Steps:
    """Follows the steps of a loop between a ping and its answer.

    A loop runs what is ready first in, first out, so that until it answers a ping no task has two
    steps; a step that is seen twice with one key is one step. All decisions are made here, from
    what was seen, and none depends on a clock.

    Args:
        ping_follows: Whether the ping is taken to come right after the last step that was seen,
            where the loop does not show what is next.
    """

    __slots__ = ("_ping_follows", "current")

    def __init__(self, *, ping_follows: bool = False) -> None:
        self._ping_follows = ping_follows
        self.current: Step | None = None

    def see(
        self,
        at: float,
        key: int,
        stack: Stack | None,
        *,
        task: str = "",
        since: float | None = None,
    ) -> Step | None:
        """Note which step runs, and where it is.

        Args:
            at: The moment, in seconds.
            key: The step, `NEXT` or `IDLE`.
            stack: Its lines, outermost first; None where nobody looked.
            task: The name of its task.
            since: From when on it certainly ran, if it was not seen before; None for *at*.

        Returns:
            The step that ended thereby, if one did.
        """
        ended = None
        if self.current is None or self.current.key != key:
            ended = self.current
            began = at if since is None else since
            self.current = Step(key, began, began)
        if stack is not None:
            self.current.see(at, stack, task)
        return ended

    def answer(self, at: float) -> Step | None:
        """Note that the loop answered the ping, and return the step that ended before, if any."""
        step, self.current = self.current, None
        if step and (self._ping_follows or step.key in {NEXT, IDLE}):
            step.ended = at
        return step

    def finish(self, at: float, key: int | None) -> Step | None:
        """Return the step under way, if any, which runs until *at* if it is *key*."""
        step, self.current = self.current, None
        if step and step.key == key:
            step.ended = at
        return step


def main_stack(step: Step) -> Stack:
    """Return the stack at which *step* was longest, counted by the line to blame."""
    seconds: dict[Site | None, float] = {}
    for stack, spent in step.seconds_at.items():
        site = culprit(stack)
        seconds[site] = seconds.get(site, 0.0) + spent
    worst = max(seconds, key=lambda site: seconds[site], default=None)
    stacks = (stack for stack in step.seconds_at if culprit(stack) == worst)
    return max(stacks, key=lambda stack: step.seconds_at[stack], default=())


def overlapping(steps: Iterable[Step], began: float, ended: float) -> Step | None:
    """Return the step of *steps* that was seen most between *began* and *ended*; None for none."""

    def shared(step: Step) -> float:
        return min(step.ended, ended) - max(step.began, began)

    return max((step for step in steps if shared(step) >= 0), key=shared, default=None)
