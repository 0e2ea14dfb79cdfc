"""Spread: work that several workers begin at the same moment, as who asks for it sees it."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pytest_agentperf.core.errors import LoadError
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.load.shares import Hello, Share, do_share, say_hello
from pytest_agentperf.measure.load.travel import pack, pack_by_value, told
from pytest_agentperf.measure.load.workers import Workers

__all__ = ["Spread", "SpreadResult"]

_LEAD: Final = 0.3  # seconds from the agreement to the agreed moment
_NOTABLE: Final = 0.1  # seconds after the agreed moment that are worth a word
_PATIENCE: Final = 60.0
_LAST_WORDS: Final = 2.0  # seconds for what comes back although it was interrupted
_ONE_PROCESS: Final = (
    "{} shares ran in {} process{}, whose threads share a core; give each worker a process"
)


@dataclass(frozen=True, slots=True)
class SpreadResult:
    """What came of the shares.

    Attributes:
        results: What the function returned, in the order of the shares that came back.
        lost: A sentence for each share that did not.
        notes: Sentences on shares that disturbed each other, or did not begin together.
    """

    results: tuple[Any, ...]
    lost: tuple[str, ...]
    notes: tuple[str, ...]


class Spread:
    """The same function in several workers.

    Args:
        workers: Who they are.
        work: A function of the number of a share.
        functions: The user's functions in it.
        seconds: How long a share takes.
        grace: Seconds that it may take longer.
        patience: Seconds to wait for workers to come, and for shares that should be over.

    Raises:
        LoadError: The function cannot travel to other processes.
    """

    def __init__(
        self,
        workers: Workers,
        work: Callable[[int], Any],
        functions: tuple[Callable[..., Any], ...],
        seconds: float,
        grace: float = 0.0,
        patience: float = _PATIENCE,
    ) -> None:
        self._workers, self._work, self._functions = workers, work, functions
        self._seconds, self._grace, self._patience = seconds, grace, patience
        self._packed, self._is_by_value = pack(work, functions), False
        self._hellos: dict[tuple[str, int, int], Hello] = {}
        self._ahead: dict[str, float] = {}
        self._answers: list[_Answer] = []
        self._has_begun, self._start = False, 0.0

    async def run(self) -> SpreadResult:
        """Have each worker do its share; return what came of them.

        Raises:
            LoadError: The workers do not come, cannot do the work, or none of them came back.
            CancelledError: It was cancelled; `result` has what had come back by then.
        """
        try:
            await self._gather_workers()
            await self._do()
        finally:
            await asyncio.shield(asyncio.to_thread(self._workers.end, self._busy()))
        result = self.result
        if not result.results:
            raise LoadError("; ".join(result.lost))
        return result

    @property
    def result(self) -> SpreadResult:
        """What has come of the shares so far."""
        count, answers = self._workers.count, self._answers if self._has_begun else []
        losses = [(number, _loss(answer)) for number, answer in enumerate(answers, 1)]
        done = [(n, answers[n - 1].value) for n, loss in losses if not loss]
        notes = [
            f"share {number} of {count} began {_shown(came.late)} after the others"
            for number, came in done
            if came.late > _NOTABLE
        ]
        processes = len({(hello.host, hello.pid) for hello in self._hellos.values()})
        if 0 < processes < count:
            notes.append(_ONE_PROCESS.format(count, processes, "es" if processes > 1 else ""))
        return SpreadResult(
            tuple(came.result for _, came in done),
            tuple(f"share {number} of {count} was lost: {loss}" for number, loss in losses if loss),
            tuple(notes),
        )

    @property
    def seconds_left(self) -> float | None:
        """Until the shares should be over; None where they have not begun."""
        return self._start + self._seconds - time.time() if self._has_begun else None

    # Who is there

    async def _gather_workers(self) -> None:
        """Ask until there are as many workers as shares, which all can do the work."""
        deadline, count, attempt = time.monotonic() + self._patience, self._workers.count, 0
        while len(self._hellos) < count:
            attempt += 1
            asked = [(number, attempt, self._packed) for number in range(count)]
            answers = await self._ask(say_hello, asked, max(deadline - time.monotonic(), 0.0))
            came = [answer for answer in answers if answer.value is not None]
            for answer in came:
                self._meet(answer.value, answer.at)
            if time.monotonic() >= deadline and len(self._hellos) < count:
                raise LoadError(
                    f"{len(self._hellos)} of {count} workers came within {_shown(self._patience)};"
                    " give workers= as many as there are at the same time"
                )
            if problem := next((each.problem for each in answers if each.problem), ""):
                raise LoadError(f"the workers of the load did not come: {problem}")
            if problem := next((each.value.problem for each in came if each.value.problem), ""):
                self._repack(problem)

    def _meet(self, hello: Hello, heard: float) -> None:
        """Take note of a worker, and of its clock: an answer that took no time tells most."""
        self._hellos[hello.name] = hello
        if hello.host != socket.gethostname():
            guess = hello.wall - heard
            self._ahead[hello.host] = max(guess, self._ahead.get(hello.host, guess))

    def _repack(self, problem: str) -> None:
        """Send the code of the functions too, where the workers cannot import them."""
        if self._is_by_value:
            raise LoadError(f"the workers cannot load what they are to call: {problem}")
        why = f"cannot be loaded by the workers ({problem})"
        self._packed, self._is_by_value = pack_by_value(self._work, self._functions, why), True
        self._hellos.clear()  # those who could load it are asked again, too

    # What they do

    def _busy(self) -> set[int] | None:
        """Return the ids of the processes, where some may still be at work."""
        is_over = self._has_begun and all(answer.value is not None for answer in self._answers)
        return None if is_over else {hello.pid for hello in self._hellos.values()}

    async def _do(self) -> None:
        self._has_begun, self._start = True, time.time() + _LEAD
        shares = [
            (Share(number, self._packed, self._start, self._ahead),)
            for number in range(self._workers.count)
        ]
        await self._ask(do_share, shares, _LEAD + self._seconds + self._grace + self._patience)

    async def _ask(
        self, call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], seconds: float
    ) -> "list[_Answer]":
        """Have each worker call *call* with its *arguments*, at the same time; keep the answers."""
        tasks = [
            asyncio.create_task(self._answer(number, call, *args))
            for number, args in enumerate(arguments)
        ]
        late = f"no answer within {_shown(seconds)}"
        try:
            await asyncio.wait(tasks, timeout=seconds)
        except asyncio.CancelledError:
            late = "the load was interrupted"
            await asyncio.wait(tasks, timeout=_LAST_WORDS)  # processes are interrupted as well
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._answers = [_answer_of(task, late) for task in tasks]
        return self._answers

    async def _answer(self, number: int, call: Callable[..., Any], *args: Any) -> "_Answer":
        try:
            value = await asyncio.wrap_future(self._workers.submit(number, call, *args))
        except Exception as error:  # noqa: BLE001 -- executors have errors of their own
            return _Answer(problem=told(error))
        return _Answer(value, time.time())


class _Answer(NamedTuple):
    """What a worker answered.

    Attributes:
        value: What it returned.
        at: When that was heard, in seconds since 1970.
        problem: Why there is none; empty where there is one.
    """

    value: Any = None
    at: float = 0.0
    problem: str = ""


def _answer_of(task: "asyncio.Task[_Answer]", late: str) -> _Answer:
    if task.done() and not task.cancelled():
        return task.result()
    return _Answer(problem="its executor was shut down" if task.cancelled() else late)


def _loss(answer: _Answer) -> str:
    """Return why *answer* is no result of a share; empty where it is one."""
    came = answer.value
    if answer.problem or came.problem:
        return str(answer.problem or came.problem)
    if came.result is None:
        return f"its worker died, and another would have begun it {_shown(came.late)} too late"
    return ""


def _shown(seconds: float) -> str:
    return format_quantity(seconds, Unit.SECONDS)
