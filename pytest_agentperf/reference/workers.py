"""A bounded worker pool for asyncio: so many jobs at work, so many in the queue, no more.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. Each job runs in a task of its own, made when a worker is free and with the context of
its submitter, so that a job that is cancelled takes no worker with it and an idle pool has no task.
Sync functions run in threads of the pool, made on demand and ended after `idle_timeout`; a thread
cannot be cancelled and keeps its worker until it ends. Nothing polls. A pool belongs to one event
loop at a time and to its thread.
"""

import asyncio
import contextlib
import contextvars
import functools
import inspect
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar, cast, overload

__all__ = [
    "JobCancelledError",
    "WorkerPool",
    "WorkersClosedError",
    "WorkersError",
    "WorkersFullError",
    "WorkersStats",
    "WorkersTypeError",
    "WorkersUsageError",
    "WorkersValueError",
    "chunks",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_Items: TypeAlias = Iterable[T] | AsyncIterable[T]


class WorkersError(Exception):
    """Any error that a worker pool raises on purpose."""


class WorkersValueError(WorkersError, ValueError):
    """An argument out of range."""


class WorkersTypeError(WorkersError, TypeError):
    """An argument of the wrong type."""


class WorkersUsageError(WorkersError, RuntimeError):
    """A worker pool used where or when it cannot work."""


class WorkersClosedError(WorkersUsageError):
    """The pool was closed before the job was done."""


class WorkersFullError(WorkersError, RuntimeError):
    """As many jobs wait as `max_queue` admits."""


class JobCancelledError(WorkersError, RuntimeError):
    """The job was cancelled, or ended by what is no `Exception`; its caller was not cancelled."""


@dataclass(frozen=True, slots=True)
class WorkersStats:
    """What a worker pool does and has done; times in seconds.

    Attributes:
        busy: Workers at work, also for a caller that has gone.
        queued: Jobs that wait for a worker.
        done: Jobs that returned.
        failed: Jobs that raised, or were cut off by `close`.
        cancelled: Jobs cancelled by their callers.
        rejected: Jobs refused by `max_queue`.
        wait_total: What jobs waited for a worker altogether.
        wait_max: The longest wait.
        work_total: What workers have worked altogether.
        work_max: The longest job.
    """

    busy: int
    queued: int
    done: int
    failed: int
    cancelled: int
    rejected: int
    wait_total: float
    wait_max: float
    work_total: float
    work_max: float


@dataclass(slots=True, eq=False)
class _Job:
    call: functools.partial[Any]
    context: contextvars.Context
    since: float  # it waits, then works
    task: asyncio.Task[Any] | None = None
    thread: Future[Any] | None = None


def _check(name: str, value: Any, kind: Any, least: float) -> Any:
    """Return *value* if it is a finite number of *kind* from *least*."""
    what = "an integer" if kind is int else "seconds"
    wanted = f"{name}={value!r}: expected {what} from {least}"
    if not isinstance(value, kind) or isinstance(value, bool):
        raise WorkersTypeError(wanted)
    if not least <= value < math.inf:
        raise WorkersValueError(wanted)
    return value


def _seconds(name: str, value: float | None) -> float | None:
    return None if value is None else _check(name, value, int | float, 0)


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def _call(call: Callable[[], R]) -> R:
    try:
        return call()
    except StopIteration as error:  # no future can hold it: its waiter would hang
        raise RuntimeError("the job raised StopIteration") from error


async def _each(items: _Items[T]) -> AsyncGenerator[T, None]:
    """Yield *items*, and close a generator that yields them."""
    if isinstance(items, AsyncIterable):
        iterator = aiter(items)
        try:
            async for item in iterator:
                yield item
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()
    else:
        for item in items:
            yield item


@contextlib.asynccontextmanager
async def _reading(
    items: _Items[T], limit: int, put: Callable[[T], object], end: Callable[[object], object]
) -> AsyncGenerator[tuple[asyncio.Task[None], asyncio.Semaphore], None]:
    """Let a task *put* the items, *limit* of them in advance of the releases of the semaphore.

    One task reads and closes them: a generator's cancel scopes are bound to their task
    (modelcontextprotocol/python-sdk#79).
    """
    room = asyncio.Semaphore(limit)

    async def read() -> None:
        async with contextlib.aclosing(_each(items)) as each:
            await room.acquire()
            async for item in each:
                put(item)
                await room.acquire()

    reader = asyncio.create_task(read())
    reader.add_done_callback(end)
    try:
        yield reader, room
        await reader
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def chunks(
    items: _Items[T], size: int = 100, max_wait: float | None = None
) -> AsyncGenerator[list[T], None]:
    """Yield lists of *size* items; read one list in advance.

    Args:
        items: Iterable or async iterable.
        size: Items in a list; the last may have fewer.
        max_wait: Seconds from its first item when a list goes that is not full; None: never.
    """
    limit, delay = _check("size", size, int, 1), _seconds("max_wait", max_wait)
    due, timer = asyncio.Event(), None
    chunk: list[T] = []

    def put(item: T) -> None:
        nonlocal timer
        chunk.append(item)
        if len(chunk) == 1 and delay is not None:
            timer = asyncio.get_running_loop().call_later(delay, due.set)
        if len(chunk) == limit:
            ring()

    def ring(_: object = None) -> None:
        due.set()
        if timer is not None:
            timer.cancel()

    async with _reading(items, limit, put, ring) as (reader, room):
        while chunk or not reader.done():
            await due.wait()
            due.clear()
            full = chunk.copy()
            chunk.clear()
            for _ in full:
                room.release()
            if full:
                yield full


class WorkerPool:
    """Run up to `max_workers` jobs at once, the oldest first.

    A job must not wait for another one of its pool: when all workers do that nothing moves.

    Args:
        max_workers: Jobs at work at most.
        max_queue: Jobs that may wait; one more gets `WorkersFullError`. None: no limit.
        idle_timeout: Seconds after the last sync job when threads end; None keeps them.
        clock: Seconds; never goes back.

    Raises:
        WorkersValueError: An argument is out of range.
        WorkersTypeError: An argument has the wrong type.
    """

    def __init__(
        self,
        max_workers: int,
        max_queue: int | None = None,
        *,
        idle_timeout: float | None = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not callable(clock):
            raise WorkersTypeError(f"clock={clock!r}: expected a function")
        self._max_workers = _check("max_workers", max_workers, int, 1)
        self._max_queue = math.inf if max_queue is None else _check("max_queue", max_queue, int, 0)
        self._idle_timeout = _seconds("idle_timeout", idle_timeout)
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._done = self._failed = self._cancelled = self._rejected = 0
        self._wait_total = self._wait_max = self._work_total = self._work_max = 0.0
        self._threads: ThreadPoolExecutor | None = None
        self._rest: asyncio.TimerHandle | None = None  # ends unused threads
        self._reset()

    def _reset(self) -> None:
        """Forget what belongs to an event loop."""
        self._queue: OrderedDict[asyncio.Future[Any], _Job] = OrderedDict()
        self._running: dict[asyncio.Future[Any], _Job] = {}
        self._closers: list[asyncio.Future[None]] = []
        self._end_threads()

    @overload
    def submit(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]: ...
    @overload
    def submit(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]: ...
    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Queue a call and return its future; cancelling the future cancels the call.

        An async function runs in a task, any other in a thread.

        Raises:
            WorkersFullError: `max_queue` jobs wait.
            WorkersClosedError: The pool is closed.
            WorkersUsageError: There is no running event loop, or another one uses the pool.
            WorkersTypeError: *function* is none.
        """
        return self._enqueue(self._max_queue, function, *args, **kwargs)

    async def map(
        self,
        function: Callable[[T], Any],
        items: _Items[T],
        *,
        ordered: bool = True,
        ahead: int | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Yield the result of *function* for each item; the first error ends it.

        Items are taken as results are, so that they may be endless. When it ends early its other
        jobs are cancelled: enter it with `contextlib.aclosing` if the loop over it may be left.
        For a stream in chunks: `pool.map(function, chunks(stream, 100))`.

        Args:
            function: Async or sync function of an item.
            items: Iterable or async iterable; one task reads it.
            ordered: False yields results as they come.
            ahead: Items taken whose results were not, at most; None: `max_workers`. `max_queue`
                does not refuse them.
        """
        limit = self._max_workers if ahead is None else _check("ahead", ahead, int, 1)
        begun: set[asyncio.Future[Any]] = set()
        ready: deque[asyncio.Future[Any]] = deque()
        news = asyncio.Event()

        def arrive(job: asyncio.Future[Any]) -> None:
            ready.append(job)
            news.set()

        def put(item: T) -> None:
            job = self._enqueue(math.inf, function, item)
            begun.add(job)
            if ordered:
                arrive(job)
            else:
                job.add_done_callback(arrive)

        async with _reading(items, limit, put, lambda _: news.set()) as (reader, room):
            try:
                while begun or not reader.done():
                    if ready:
                        job = ready.popleft()
                        result = await job
                        begun.discard(job)
                        room.release()
                        yield result
                    else:
                        news.clear()
                        await news.wait()
            finally:
                for job in begun:
                    job.cancel()  # asyncio then does not log the error of a done one, either

    def stats(self) -> WorkersStats:
        """Return what the pool does and has done."""
        return WorkersStats(
            busy=len(self._running),
            queued=len(self._queue),
            done=self._done,
            failed=self._failed,
            cancelled=self._cancelled,
            rejected=self._rejected,
            wait_total=self._wait_total,
            wait_max=self._wait_max,
            work_total=self._work_total,
            work_max=self._work_max,
        )

    async def close(self, drain: bool = True, timeout: float | None = None) -> None:  # noqa: ASYNC109, FBT001, FBT002
        """Refuse new jobs and wait for the others.

        A second call joins the first, or hastens it with `drain=False`. A cancelled call leaves the
        pool closed and what drains draining.

        Args:
            drain: False fails what waits or runs with `WorkersClosedError` and cancels it.
            timeout: Seconds after which the same happens and nothing is waited for.
        """
        limit = _seconds("timeout", timeout)
        if self._loop is None or self._loop.is_closed():
            self._is_closed = True
            self._reset()
            return
        if asyncio.get_running_loop() is not self._loop:
            raise WorkersUsageError(f"{self!r} is in use by another event loop; close it there")
        me = asyncio.current_task()
        if any(job.task in (me, None) for job in self._running.values()):  # None: begins eagerly
            raise WorkersUsageError("close() was called by a job, which it would wait for")
        self._is_closed = True
        if not drain:
            self._abort()
        if self._running:
            closer = self._loop.create_future()
            self._closers.append(closer)
            await asyncio.wait([closer], timeout=limit)
            self._abort()
        self._end_threads()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        await self.close(drain=error is None)

    def __repr__(self) -> str:
        return (
            f"<WorkerPool {'closed' if self._is_closed else 'open'}: "
            f"{len(self._running)}/{self._max_workers} busy, {len(self._queue)} queued>"
        )

    def _bind(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, which the pool now belongs to."""
        if self._is_closed:
            raise WorkersClosedError(f"{self!r} takes no more jobs")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise WorkersUsageError(f"{self!r} needs a running event loop") from error
        if loop is not self._loop:
            if self._loop is not None and not self._loop.is_closed():
                raise WorkersUsageError(f"{self!r} is in use by another event loop: {self._loop!r}")
            self._reset()  # nobody awaits the futures of a dead loop
            self._loop = loop
        return loop

    def _enqueue(
        self, max_queue: float, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        loop = self._bind()
        if not callable(function):
            raise WorkersTypeError(f"function={function!r}: expected a function and its arguments")
        if len(self._running) >= self._max_workers and len(self._queue) >= max_queue:
            self._rejected += 1
            raise WorkersFullError(f"max_queue={max_queue} jobs wait; {self!r}")
        call = functools.partial(function, *args, **kwargs)
        future = loop.create_future()
        self._queue[future] = _Job(call, contextvars.copy_context(), self._clock())
        future.add_done_callback(self._leave)
        self._pump()
        return future

    def _pump(self) -> None:
        """Put free workers to the oldest jobs."""
        while self._queue and len(self._running) < self._max_workers:
            future, job = self._queue.popitem(last=False)
            if future.done():  # cancelled in this turn
                continue
            self._running[future] = job
            now = self._clock()
            self._wait_total += now - job.since
            self._wait_max = max(self._wait_max, now - job.since)
            job.since = now
            job.task = future.get_loop().create_task(self._work(future, job), context=job.context)
            job.task.add_done_callback(functools.partial(self._end, future, job))

    async def _work(self, future: asyncio.Future[Any], job: _Job) -> Any:
        if future.done():  # cancelled in the turn of its submission
            return None
        if _is_async(job.call.func):
            return await job.call()
        if self._threads is None:  # not the loop's, which has few threads for everybody
            self._threads = ThreadPoolExecutor(self._max_workers, "worker-pool")
        job.thread = self._threads.submit(contextvars.copy_context().run, _call, job.call)
        result = await asyncio.wrap_future(job.thread)
        return await result if inspect.isawaitable(result) else result

    def _end(self, future: asyncio.Future[Any], job: _Job, task: asyncio.Task[Any]) -> None:
        """Answer the caller; free the worker, unless its thread goes on."""
        self._settle(future, task)
        if job.thread is None or job.thread.done():
            self._free(future, job)
        else:  # python/cpython#107505
            job.thread.add_done_callback(lambda _: self._free_later(future, job))

    def _settle(self, future: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
        """Give the outcome of *task* to a caller that has not gone."""
        if future.done():
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._done += 1
            future.set_result(task.result())
        elif isinstance(error, Exception):
            self._failed += 1
            future.set_exception(error)
        else:
            self._cut(future, JobCancelledError(f"{error!r} ended the job, not its caller"))
            if task.cancelling() and all(each.cancelling() for each in asyncio.all_tasks()):
                self._abort()  # the loop is ending: what is queued would only begin

    def _cut(self, future: asyncio.Future[Any], error: WorkersError) -> None:
        self._failed += 1
        future.set_exception(error)
        future.exception()  # asyncio shall not log it if nobody awaits it

    def _free_later(self, future: asyncio.Future[Any], job: _Job) -> None:
        """Free a worker from its thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            future.get_loop().call_soon_threadsafe(self._free, future, job)

    def _free(self, future: asyncio.Future[Any], job: _Job) -> None:
        """Give the worker of an ended job to the next."""
        spent = self._clock() - job.since
        self._work_total += spent
        self._work_max = max(self._work_max, spent)
        del self._running[future]
        if job.thread is not None and self._idle_timeout is not None:
            if self._rest is not None:
                self._rest.cancel()
            self._rest = future.get_loop().call_later(self._idle_timeout, self._end_threads)
        self._pump()
        if not self._running:
            if self._is_closed:
                self._end_threads()
            for closer in self._closers:
                closer.set_result(None)

    def _end_threads(self) -> None:
        """Let threads end, those at work after their job."""
        if self._rest is not None:
            self._rest.cancel()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self._threads = self._rest = None

    def _leave(self, future: asyncio.Future[Any]) -> None:
        """Drop the job of a caller that has cancelled it."""
        if future.cancelled():
            self._cancelled += 1
            self._queue.pop(future, None)
            job = self._running.get(future)
            if job is not None:
                cast("asyncio.Task[Any]", job.task).cancel()

    def _abort(self) -> None:
        """Fail every caller and cancel the work."""
        for future in (*self._queue, *self._running):
            if not future.done():
                self._cut(future, WorkersClosedError("closed before the job was done"))
        self._queue.clear()
        for job in self._running.values():
            cast("asyncio.Task[Any]", job.task).cancel()
