"""Unfinished work: tasks, coroutines and async generators that were left behind."""

import asyncio
import gc
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from threading import get_ident
from types import AsyncGeneratorType, CodeType, FunctionType
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet, ref

from pytest_agentperf.measure.concurrency.leaks.leak import Kind, Leak, LeakSource, leak
from pytest_agentperf.measure.concurrency.origins import (
    caller,
    current_task,
    innermost,
    suspended_at,
    users_caller,
)
from pytest_agentperf.measure.frames import Site
from pytest_agentperf.measure.hooks import Hooks

__all__ = ["Collector", "CoroutineLeaks", "GeneratorLeaks", "TaskLeaks"]

_Task: TypeAlias = asyncio.Task[Any]
_Generator: TypeAlias = AsyncGeneratorType[Any, Any]
_FirstIteration: TypeAlias = Callable[[Any], None]
_Handler: TypeAlias = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class Collector(LeakSource):
    """Knows when the garbage collector runs: what it finds may be older than the watch."""

    def __init__(self) -> None:
        self.runs = False

    def start(self) -> None:
        """Listen for collections."""
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Stop listening."""
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        self.runs = phase == "start"


class TaskLeaks(LeakSource):
    """Tasks that were created and never ended, and those whose failure nobody has seen.

    Args:
        loop: The running loop.
        hooks: Takes the hook that notes who creates a task.
        collector: Tells which tasks may be older than the watch.
        origins: Whether to note who creates a task, at half the cost of creating it; without,
            a failed task is only seen when it is dropped.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, hooks: Hooks, collector: Collector, *, origins: bool
    ) -> None:
        self._loop = loop
        self._hooks = hooks
        self._collector = collector
        self._origins = origins
        self._before: WeakSet[_Task] = WeakSet()
        # By `id`: a task of the same `id` replaces the entry of one that is gone, so that there are
        # no more entries than there were tasks at once, at a third of the price of weak keys. A
        # task that is older than the watch has none, since nobody else could have had its `id`.
        self._made: dict[int, tuple[ref[_Task], Site | None]] = {}
        self._dropped: Counter[tuple[Kind, str, str, Site | None]] = Counter()
        self._handler: _Handler | None = None
        self._previous: _Handler | None = None
        self._turn: object = None  # known to the handler of this start: one may outlast its stop

    def remember(self) -> None:
        """Note which tasks there are."""
        self._before.update(asyncio.all_tasks(self._loop))

    def start(self) -> None:
        """Note who creates tasks, and which are dropped."""
        # Not by a task factory: with one, Python 3.13.0 names every task "None".
        if self._origins and not self._hooks.place(self._loop, "create_task", self._noting):
            self._origins = False
            self.notes = ("who creates a task is not seen: this loop lets nobody watch it",)
        self._previous = self._loop.get_exception_handler()
        self._handler = self._telling(self._previous)
        self._loop.set_exception_handler(self._handler)

    def stop(self) -> None:
        """Give the exception handler back."""
        if self._loop.get_exception_handler() is self._handler:
            self._loop.set_exception_handler(self._previous)
        self._handler = self._turn = None

    def leaks(self) -> Iterator[Leak]:
        """Return the tasks that are left now, and those that failed."""
        ours = current_task()
        for task in asyncio.all_tasks(self._loop):
            if task is not ours and task not in self._before:
                what = f"task {task.get_name()!r} ({_function(task)}) has not ended"
                now = innermost(suspended_at(task.get_coro()))
                site = self._site_of(task)
                yield leak("task", task.get_name(), what, made="created", site=site, now=now)
        for (kind, name, what, site), count in (self._dropped + self._failed()).items():
            yield leak(kind, name, what, made="created", site=site, count=count)

    def origin(self) -> Site | None:
        """Return the line of the user's that is behind the current call, or behind its task."""
        site = users_caller(2)
        if site is None and (task := current_task()):
            site = self._site_of(task)
        return site or caller(2)

    def _site_of(self, task: _Task) -> Site | None:
        reference, site = self._made.get(id(task), (None, None))
        # The garbage collector takes the references first, and asks the task for its last words.
        is_its = reference and (reference() is task or self._collector.runs)
        return site if is_its else None

    def _noting(self, create_task: Callable[..., _Task]) -> Callable[..., _Task]:
        hooks, made = self._hooks, self._made

        def create(coro: Any, **kwargs: Any) -> _Task:
            task = create_task(coro, **kwargs)
            if hooks.active:
                try:
                    made[id(task)] = ref(task), users_caller(2) or self.origin()
                except TypeError:  # a task of another kind, without weak references
                    return task
            return task

        return create

    def _failed(self) -> Counter[tuple[Kind, str, str, Site | None]]:
        """Return the failed tasks that are kept by somebody who has not looked."""
        # `task.exception()` would count as looking, and Python would be silent about it as well.
        return Counter(
            ("failed task", _function(task), _failure(task, task._exception), site)  # noqa: SLF001
            for reference, site in self._made.copy().values()
            if (task := reference()) and task.done() and getattr(task, "_log_traceback", False)
        )

    def _telling(self, previous: _Handler | None) -> _Handler:
        """Return an exception handler that takes note and leaves the rest to *previous*."""
        turn = self._turn = object()

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            task = context.get("future") or context.get("task")
            if turn is self._turn and isinstance(task, asyncio.Task) and self._is_ours(task):
                self._note_dropped(task, context)
            if previous is None:
                loop.default_exception_handler(context)
            else:
                previous(loop, context)

        return handle

    def _is_ours(self, task: _Task) -> bool:
        return id(task) in self._made if self._origins else not self._collector.runs

    def _note_dropped(self, task: _Task, context: dict[str, Any]) -> None:
        message, site = context.get("message", ""), self._site_of(task)
        if "never retrieved" in message:
            what = _failure(task, context.get("exception"))
            self._dropped["failed task", _function(task), what, site] += 1
        elif "destroyed" in message:
            what = f"a task of {_function(task)} was dropped while it was pending"
            self._dropped["task", _function(task), what, site] += 1


class CoroutineLeaks(LeakSource):
    """Coroutines that were dropped without ever being awaited.

    One that is kept is not seen: to find it would take a walk over all objects, which is 70 ns
    for each of them. Python itself reports it when it is dropped at last.
    """

    def __init__(self, hooks: Hooks, collector: Collector) -> None:
        self._hooks = hooks
        self._collector = collector
        self._dropped: Counter[tuple[CodeType, Site | None]] = Counter()

    def start(self) -> None:
        """Listen to what Python warns of."""
        # Behind the warning, so that no filter can hide it and none has to be changed.
        if not self._hooks.place(warnings, "_warn_unawaited_coroutine", self._noting):
            self.notes = ("un-awaited coroutines are not seen: this Python reports them otherwise",)

    def leaks(self) -> Iterator[Leak]:
        """Return the coroutines that were dropped, by the line that did it."""
        for (code, site), count in self._dropped.items():
            name = _short(code.co_qualname)
            what = f"coroutine {name} was never awaited"
            now = None if site else (code, code.co_firstlineno)
            yield leak("coroutine", name, what, made="dropped", site=site, now=now, count=count)

    def _noting(self, report: Any) -> Callable[..., object] | None:
        if "warn" not in getattr(getattr(report, "__code__", None), "co_names", ()):
            return None
        known = report.__globals__

        def warn(message: str, *, stacklevel: int = 1, **kwargs: Any) -> None:
            if self._hooks.active:
                self._note(kwargs.get("source"))
            known["warn"](message, stacklevel=stacklevel + 1, **kwargs)

        # A function around this one would be what the warning blames: it counts stack levels.
        names = {"__builtins__", *report.__code__.co_names} & known.keys()
        with_ours = {name: known[name] for name in names} | {"warn": warn}
        return FunctionType(report.__code__, with_ours, report.__name__)

    def _note(self, coroutine: Any) -> None:
        if not self._collector.runs and hasattr(coroutine, "cr_code"):
            self._dropped[coroutine.cr_code, caller(2)] += 1


class GeneratorLeaks(LeakSource):
    """Async generators that were begun, and neither exhausted nor closed."""

    def __init__(self) -> None:
        self._begun: WeakKeyDictionary[_Generator, tuple[Site | None, Any]] = WeakKeyDictionary()
        self._hook: _FirstIteration | None = None
        self._previous: _FirstIteration | None = None
        self._thread = 0
        self._turn: object = None

    def start(self) -> None:
        """Note the async generators that this thread begins from now on."""
        self._thread = get_ident()
        self._previous = sys.get_asyncgen_hooks().firstiter
        self._hook = self._noting(self._previous)
        sys.set_asyncgen_hooks(firstiter=self._hook)

    def stop(self) -> None:
        """Give the hook back; a loop that has ended has done so already."""
        if self._thread == get_ident() and sys.get_asyncgen_hooks().firstiter is self._hook:
            sys.set_asyncgen_hooks(firstiter=self._previous)
        self._hook = self._turn = None

    def leaks(self) -> Iterator[Leak]:
        """Return the generators that are open, except those of tasks that still use them."""
        for generator, (site, user) in list(self._begun.items()):
            task = user() if user else None
            is_used = task is not None and task is not current_task() and not task.done()
            if generator.ag_frame is not None and not is_used:
                name = _short(generator.__qualname__)
                what = f"async generator {name} was left open"
                now = innermost(suspended_at(generator))
                yield leak("async generator", name, what, made="begun", site=site, now=now)

    def _noting(self, previous: _FirstIteration | None) -> _FirstIteration:
        """Return a hook that takes note and leaves the rest to *previous*."""
        turn = self._turn = object()

        def begin(generator: Any) -> None:
            if turn is self._turn:
                task = current_task()
                self._begun[generator] = caller(2), task and ref(task)
            if previous is not None:
                previous(generator)

        return begin


def _function(task: _Task) -> str:
    """Return the name of the coroutine function that *task* runs."""
    coroutine = task.get_coro()
    return _short(getattr(coroutine, "__qualname__", type(coroutine).__name__))


def _short(qualname: str) -> str:
    return qualname.rpartition("<locals>.")[2]


def _failure(task: _Task, error: BaseException | None) -> str:
    # A user's `__str__` may fail; this way of asking cannot.
    text = traceback.format_exception_only(error)[-1].strip() if error else "an error"
    return f"a task of {_function(task)} failed with {text}, and nobody awaited it"
