"""A batcher for asyncio: callers hand in single items, a function gets them as lists.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. The first item opens a batch, which those that follow join. With no batch at work its
task is made at once; a task's first step comes at the end of the loop's turn and takes what has
joined by then, so that a lone caller does not wait. Otherwise the batch starts when it is full,
when another one ends or after `max_wait`. Nothing polls: an idle batcher has neither task nor
timer. A cancelled caller cancels its own future only, and every future is settled once. A batcher
belongs to one event loop at a time and to its thread.
"""

import asyncio
import contextlib
import contextvars
import inspect
import math
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import compress
from threading import get_ident
from types import MappingProxyType
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

__all__ = [
    "BatchCancelledError",
    "BatchFailedError",
    "BatchResultError",
    "Batcher",
    "BatcherClosedError",
    "BatcherError",
    "BatcherFullError",
    "BatcherStats",
    "BatcherTypeError",
    "BatcherUsageError",
    "BatcherValueError",
]

T = TypeVar("T")
R = TypeVar("R")
_Weight: TypeAlias = int | float
LOOKS: Final = 64  # callers that a refusal looks at, on average, for one that has gone
_is_done = asyncio.Future.done
_at_work: contextvars.ContextVar["Batcher[Any, Any]"] = contextvars.ContextVar("batcher_at_work")


class BatcherError(Exception):
    """Any error that a batcher raises on purpose."""


class BatcherValueError(BatcherError, ValueError):
    """An argument out of range, or an item too heavy for any batch."""


class BatcherTypeError(BatcherError, TypeError):
    """An argument of the wrong type."""


class BatcherUsageError(BatcherError, RuntimeError):
    """A batcher used where or when it cannot work."""


class BatcherClosedError(BatcherUsageError):
    """The batcher was closed before the item was processed."""


class BatcherFullError(BatcherError, RuntimeError):
    """As many items wait as `max_queue` admits."""


class BatchResultError(BatcherError, ValueError):
    """`process` returned something other than one result for each item."""


class BatchFailedError(BatcherError, RuntimeError):
    """`process` raised what cannot be copied or handed to a caller; `__cause__` is the original."""


class BatchCancelledError(BatchFailedError):
    """The batch was cancelled, not its caller: by `process` itself or at the end of the loop."""


@dataclass(frozen=True, slots=True)
class BatcherStats:
    """What a batcher holds and what it has done; times in seconds.

    Attributes:
        queued: Items that wait, those of callers cancelled meanwhile perhaps included.
        running: Batches at work or about to start, and threads whose callers have gone.
        sizes: Batches so far, by number of items.
        starts: Batches by what started them: `idle` (a worker had nothing else to do), `full`,
            `time` (`max_wait` was over) or `close`.
        completed: Items answered with a result.
        failed: Items answered with an error, of their own or of their batch.
        cancelled: Items whose caller had gone before their batch started.
        abandoned: Items whose caller had gone before their batch ended.
        rejected: Items refused by `max_queue`.
        wait_total: Waits of the first item of each batch, altogether; others wait less.
        wait_max: The longest wait of any item.
        process_total: Time that workers were busy, altogether.
        process_max: The longest batch.
    """

    queued: int
    running: int
    sizes: Mapping[int, int]
    starts: Mapping[str, int]
    completed: int
    failed: int
    cancelled: int
    abandoned: int
    rejected: int
    wait_total: float
    wait_max: float
    process_total: float
    process_max: float

    @property
    def batches(self) -> int:
        """Batches so far."""
        return sum(self.sizes.values())

    @property
    def items(self) -> int:
        """Items in them."""
        return sum(size * count for size, count in self.sizes.items())

    @property
    def mean_size(self) -> float:
        """Items ÷ batches; 0 without a batch."""
        return self.items / max(self.batches, 1)


@dataclass(slots=True, eq=False)
class _Batch:
    """Items that are processed together, from the first one until the worker is free again."""

    limit: int  # items at which it is full
    since: float
    items: list[Any] = field(default_factory=list)
    futures: list[asyncio.Future[Any]] = field(default_factory=list)  # empty once settled
    weight: _Weight = 0
    reason: str = ""  # why it may start; empty while it must wait
    timer: asyncio.TimerHandle | None = None
    task: Any = None
    began: float = math.inf
    thread: Any = None  # its future, which outlives the task
    unwatched: Iterator[asyncio.Future[Any]] | None = None

    def let_start(self, reason: str) -> None:
        """Let it start as soon as a worker is free."""
        self.reason = self.reason or reason
        if self.timer is not None:
            self.timer.cancel()

    def watch(self, _: object = None) -> None:
        """Cancel the work when its last caller goes, by a callback on one open future at a time."""
        if not self.futures:
            return
        self.unwatched = self.unwatched or iter(self.futures)
        for future in self.unwatched:
            if not future.done():
                future.add_done_callback(self.watch)
                return
        self.task.cancel()


class _Work(asyncio.Task[None]):
    """The task of a batch."""

    __slots__ = ()

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the task, but not before its first step: it would settle nobody."""
        if inspect.getcoroutinestate(cast("Any", self.get_coro())) == inspect.CORO_CREATED:
            self.get_loop().call_soon(super().cancel, msg)
            return True
        return super().cancel(msg)


def _number(name: str, value: Any, wanted: str, low: float, kind: Any = int | float) -> Any:
    """Return *value* if it is a finite number of this kind and at least *low*."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BatcherTypeError(f"{name}={value!r}: expected {wanted}")
    if not low <= value < math.inf:
        raise BatcherValueError(f"{name}={value!r}: expected {wanted}")
    return value


def _is_async(function: object) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _copy(error: BaseException) -> Any:
    """Return *error* for one caller; one object for all would mix and grow tracebacks.

    The copy is made without the constructor of the user's class, which may want more than `args`.
    """
    made: Any = BatchFailedError(f"process raised {type(error).__qualname__}")
    if isinstance(error, asyncio.CancelledError):
        made = BatchCancelledError("process was cancelled; the caller was not")
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        kind: Any = type(error)
        builtin: Any = next(each for each in kind.__mro__ if each.__module__ == "builtins")
        with contextlib.suppress(Exception):  # of the user's class
            _, args, *state = builtin.__reduce__(error)
            copy = kind.__new__(kind, *args)
            builtin.__init__(copy, *args)
            copy.__setstate__(*state or [None])
            if hasattr(copy, "__notes__"):
                copy.__notes__ = list(copy.__notes__)
            copy.__cause__ = error
            made = copy if type(copy) is kind else made
    made.__cause__ = error
    return made


def _listed(answers: Any, count: int) -> Any:
    """Return as a list what `process` returned for *count* items."""
    if not isinstance(answers, list):
        unordered = str, bytes, bytearray, Mapping, AbstractSet
        if not isinstance(answers, Iterable) or isinstance(answers, unordered):
            raise BatchResultError(
                f"process returned a {type(answers).__name__} for {count} items; "
                "expected a sequence of as many results"
            )
        answers = list(answers)
    if len(answers) != count:
        raise BatchResultError(
            f"process returned {len(answers)} results for {count} items; expected as many"
        )
    return answers


class Batcher(Generic[T, R]):
    """Collect the items of many callers and process them together.

    Close it at the end, or use it as `async with`, which does not drain after an error.

    Args:
        process: Function of a list of items that returns as many results, in order. A result that
            is an exception is raised to its caller, an exception raised to every caller of the
            batch; each gets a copy whose `__cause__` is the original. It runs in the context in
            which the batcher was made: an async function in a task, which is cancelled when all
            its callers have gone, another in a thread of the loop's default executor.
        batch_size: Items in a batch at most.
        max_wait: Seconds that an item waits for others at most, while a worker is free.
        max_workers: Batches at work at most; with one, a slow batch holds up all that follow. A
            *process* that awaits its own batcher takes a worker for each level.
        eager: With no batch at work items are processed at the end of this turn of the loop, and
            a batch that ends is followed by what has queued. False waits for a full batch or
            `max_wait`.
        max_queue: Items that may wait; one more gets `BatcherFullError`. None: no limit. The place
            of a cancelled caller may stay taken for `max_queue` ÷ 64 refusals.
        weight: Function of an item that gives its weight (tokens, bytes), at least 0.
        max_weight: Weight of a batch at most.
        clock: Seconds; never goes back.

    Raises:
        BatcherValueError: An argument is out of range.
        BatcherTypeError: An argument has the wrong type.
    """

    def __init__(  # noqa: PLR0913
        self,
        process: Callable[[list[T]], Awaitable[Iterable[R]] | Iterable[R]],
        *,
        batch_size: int = 100,
        max_wait: float = 0.1,
        max_workers: int = 4,
        eager: bool = True,
        max_queue: int | None = None,
        weight: Callable[[T], _Weight] | None = None,
        max_weight: _Weight | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not callable(process):
            raise BatcherTypeError(f"process={process!r}: expected a function")
        for name, function in (("weight", len if weight is None else weight), ("clock", clock)):
            if not callable(function) or _is_async(function):
                raise BatcherTypeError(f"{name}={function!r}: expected a function, not async")
        if (weight is None) != (max_weight is None):
            raise BatcherValueError(
                f"weight={weight!r}, max_weight={max_weight!r}: expected both or none of them"
            )
        whole, above = "an integer of at least 1", "a number above 0"
        self._size: int = _number("batch_size", batch_size, whole, 1, int)
        self._max_workers: int = _number("max_workers", max_workers, whole, 1, int)
        self._max_wait: float = _number("max_wait", max_wait, "seconds from 0", 0)
        self._max_queue: Any = math.inf
        if max_queue is not None:
            self._max_queue = _number("max_queue", max_queue, whole, 1, int)
        self._max_weight = math.inf
        if max_weight is not None:
            self._max_weight = _number("max_weight", max_weight, above, math.ulp(0.0))
        self._process: Callable[[list[T]], Any] = process
        self._is_async, self._weight = _is_async(process), weight
        self._clock, self._is_eager, self._is_closed = clock, bool(eager), False
        self._name = f"Batcher of {getattr(process, '__qualname__', repr(process))}"
        # Tasks of the batcher must not live in the context of whoever came first: jackc/pgx#1021.
        self._context = contextvars.copy_context()
        self._context.run(_at_work.set, self)
        self._loop: Any = None
        self._is_running: Callable[[], bool] = bool  # bool() is False: no loop of ours runs
        self._open: _Batch | None = None  # the batch that items join; it may have its task already
        self._ready: deque[_Batch] = deque()  # batches that nobody joins any more
        self._running: dict[asyncio.Task[None], _Batch] = {}
        self._waiting = 0  # items in batches that have not begun, the open one's excepted
        self._thread = self._looks = 0
        self._sizes: dict[int, int] = defaultdict(int)
        self._starts: dict[str, int] = defaultdict(int)
        # Not attributes: those of an object with more than 30 of them are slower to find.
        self._totals: dict[str, Any] = dict.fromkeys(BatcherStats.__slots__[4:], 0)

    async def __call__(self, item: T) -> R:
        """Return the result of *item*; see `submit` for what is raised."""
        return await self.submit(item)

    def submit(self, item: T) -> asyncio.Future[R]:
        """Queue *item* and return the future of its result.

        Raises:
            BatcherFullError: `max_queue` items wait.
            BatcherClosedError: The batcher is closed.
            BatcherUsageError: There is no running event loop, or another one uses the batcher.
            BatcherValueError: The item's weight is negative, not finite or above `max_weight`.
            BatcherTypeError: The item's weight is no number.
        """
        # Not get_running_loop(): before 3.12 it asks the kernel for the process id.
        if get_ident() != self._thread or not self._is_running():
            self._bind()
        batch = self._open if self._weight is None else self._weigh(self._weight(item))
        if batch is None:
            batch = self._open_batch()
        future: asyncio.Future[R] = asyncio.Future(loop=self._loop)
        batch.items.append(item)
        batch.futures.append(future)
        if len(batch.items) >= batch.limit:
            self._seal(batch, "full")
        return future

    def stats(self) -> BatcherStats:
        """Return what the batcher holds and what it has done."""
        return BatcherStats(
            queued=self._waiting + (0 if self._open is None else len(self._open.items)),
            running=len(self._running),
            sizes=MappingProxyType(dict(sorted(self._sizes.items()))),
            starts=MappingProxyType(dict(self._starts)),
            **self._totals,
        )

    async def close(self, drain: bool = True, timeout: float | None = None) -> None:  # noqa: ASYNC109, FBT001, FBT002
        """Refuse new items, settle all others and wait for the batches at work.

        A second call joins the first, or hastens it with `drain=False`. A cancelled call leaves
        the batcher closed and what drains draining.

        Args:
            drain: False fails what waits with `BatcherClosedError` and cancels what runs.
            timeout: Seconds after which what is left fails likewise and threads are left alone.

        Raises:
            BatcherUsageError: `process` would wait for itself, or the loop is not the batcher's.
        """
        if timeout is not None:
            _number("timeout", timeout, "seconds from 0, or None", 0)
        if self._loop is None or self._loop.is_closed():
            self._forget()
        elif asyncio.get_running_loop() is not self._loop:
            raise BatcherUsageError(f"{self!r} is in use by another event loop; close it there")
        if self._running and _at_work.get(None) is self:
            raise BatcherUsageError(f"process would wait for itself by closing {self!r}")
        self._is_closed, self._thread = True, 0
        if self._open is not None:
            self._seal(self._open, "close")
        if not drain:
            self._abort()
        try:
            async with asyncio.timeout(timeout):
                while self._running:
                    busy = [
                        each.thread if task.done() else task for task, each in self._running.items()
                    ]
                    await asyncio.wait(busy)
        except TimeoutError:
            self._abort()

    async def __aenter__(self) -> "Batcher[T, R]":
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        await self.close(drain=error is None)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return (
            f"<{self._name}, {state}: {self.stats().queued} items queued, "
            f"{len(self._running)}/{self._max_workers} batches at work>"
        )

    # The queue: batches that have not begun

    def _bind(self) -> None:
        """Make the running loop the batcher's, if the one before is dead."""
        if self._is_closed:
            raise BatcherClosedError(f"{self!r} takes no more items")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise BatcherUsageError(f"{self!r} needs a running event loop") from error
        if loop is not self._loop:
            if self._loop is not None and not self._loop.is_closed():
                raise BatcherUsageError(f"{self!r} is in use by another event loop: {self._loop!r}")
            self._forget()
        self._loop, self._thread, self._is_running = loop, get_ident(), loop.is_running

    def _forget(self) -> None:
        """Give up what a dead loop has left; nobody awaits its futures."""
        for batch in (*self._ready, *self._running.values(), *filter(None, [self._open])):
            self._totals["abandoned"] += len(batch.futures)
            batch.futures.clear()
        self._open, self._waiting = None, 0
        self._ready.clear()
        self._running.clear()

    def _open_batch(self) -> _Batch:
        if self._waiting >= self._max_queue:
            self._look_for_gone()
        room = self._max_queue - self._waiting
        if room <= 0:
            self._totals["rejected"] += 1
            raise BatcherFullError(
                f"{self!r} is full: max_queue={self._max_queue}; submit fewer items at once"
            )
        batch = self._open = _Batch(min(self._size, room), self._clock())
        if self._is_eager and not self._running:
            batch.reason = "idle"
            self._start(batch)
        elif batch.limit > 1:
            batch.timer = self._loop.call_later(self._max_wait, self._ring, batch)
        return batch

    def _weigh(self, found: object) -> _Batch:
        """Return the batch for an item that weighs what was *found*, with its weight."""
        weight = _number("weight of an item", found, "a number from 0", 0)
        if weight > self._max_weight:
            raise BatcherValueError(
                f"weight of an item is {weight!r}: expected at most max_weight={self._max_weight!r}"
            )
        if self._open is not None and self._open.weight + weight > self._max_weight:
            self._seal(self._open, "full")
        batch = self._open or self._open_batch()
        batch.weight += weight
        if batch.weight >= self._max_weight:
            batch.limit = 0
        return batch

    def _seal(self, batch: _Batch, reason: str) -> None:
        """Let no more items join the open batch, and start it if a worker is free."""
        self._open = None
        self._waiting += len(batch.items)
        batch.let_start(reason)
        if batch.task is None:
            self._ready.append(batch)
            self._pump()
            if self._ready:
                self._look_for_gone()

    def _ring(self, batch: _Batch) -> None:
        batch.let_start("time")
        self._pump()

    def _pump(self) -> None:
        """Start what may start."""
        while len(self._running) < self._max_workers:
            if self._ready:
                self._start(self._ready.popleft())
            elif self._open is not None and self._open.reason and self._open.task is None:
                self._start(self._open)
            else:
                return

    def _look_for_gone(self) -> None:
        """Forget callers that have gone, in O(1) for an item or a refusal, all in all."""
        self._looks += self._size + LOOKS
        if self._looks < self._waiting:
            return
        self._looks = 0
        for batch in (*self._ready, *self._running.values()):
            if batch.began == math.inf:
                self._drop_gone(batch)
        self._ready = deque(batch for batch in self._ready if batch.items)

    def _drop_gone(self, batch: _Batch) -> None:
        if not any(map(_is_done, batch.futures)):
            return
        live = [not future.done() for future in batch.futures]
        batch.items = list(compress(batch.items, live))
        batch.futures = list(compress(batch.futures, live))
        self._waiting -= live.count(False)
        self._totals["cancelled"] += live.count(False)

    def _refill(self, batch: _Batch) -> None:
        """Give the places of callers that have gone to those that follow: ray-project/ray#41057."""
        while self._ready and len(batch.items) < self._size:
            after = self._ready[0]
            self._drop_gone(after)
            weight = batch.weight + after.weight
            if len(batch.items) + len(after.items) > self._size or weight > self._max_weight:
                return
            batch.items += after.items
            batch.futures += after.futures
            batch.weight = weight
            self._ready.popleft()

    # A batch at work

    def _start(self, batch: _Batch) -> None:
        context = self._context.copy()
        # Not create_task(): an eager task factory would begin before other items have joined.
        task = _Work(self._work(batch), loop=self._loop, name=self._name, context=context)
        batch.task, self._running[task] = task, batch

    async def _work(self, batch: _Batch) -> None:
        try:
            if self._begin(batch):
                answers = await (
                    self._process(batch.items) if self._is_async else self._in_thread(batch)
                )
                if batch.futures:
                    self._settle(batch, _listed(answers, len(batch.futures)))
        except BaseException as error:
            self._fail(batch, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._end(batch)

    def _begin(self, batch: _Batch) -> bool:
        """Take a batch off the queue; tell whether somebody waits for it."""
        if batch is self._open:
            self._open = None
            self._waiting += len(batch.items)
        self._drop_gone(batch)
        if self._ready:
            self._refill(batch)
        self._waiting -= len(batch.items)
        batch.began = self._clock()
        if not batch.futures:
            return False
        batch.futures[0].add_done_callback(batch.watch)
        self._sizes[len(batch.items)] += 1
        self._starts[batch.reason] += 1
        wait, totals = batch.began - batch.since, self._totals
        totals["wait_total"] += wait
        if wait > totals["wait_max"]:  # noqa: PLR1730 - max() costs a call
            totals["wait_max"] = wait
        return True

    async def _in_thread(self, batch: _Batch) -> Any:
        run = contextvars.copy_context().run
        batch.thread = self._loop.run_in_executor(None, run, self._call, batch)
        # Not cancelled with the task: the worker is busy as long as the thread (cpython#107505).
        answers = await asyncio.shield(batch.thread)
        return await answers if inspect.isawaitable(answers) else answers

    def _call(self, batch: _Batch) -> Any:
        """Call a sync `process` in its thread, where a generator that it returns runs, too."""
        if not batch.futures:
            return None
        count = len(batch.items)
        try:
            answers = self._process(batch.items)
            return list(answers) if isinstance(answers, Iterator) else answers
        except BaseException as error:  # noqa: BLE001 - a future takes not all: cpython#112182
            return [error] * count

    def _settle(self, batch: _Batch, answers: list[Any]) -> None:
        """Give each caller that still waits its answer."""
        futures, batch.futures = batch.futures, []
        futures[0].remove_done_callback(batch.watch)
        gone = failed = 0
        for future, answer in zip(futures, answers):  # noqa: B905 - as many, and a keyword costs
            if future.done():
                gone += 1
            elif isinstance(answer, BaseException):
                future.set_exception(_copy(answer))
                failed += 1
            else:
                future.set_result(answer)
        totals = self._totals
        totals["completed"] += len(answers) - gone - failed
        if gone or failed:
            totals["failed"] += failed
            totals["abandoned"] += gone

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        if batch.futures:
            self._settle(batch, [error] * len(batch.futures))

    def _end(self, batch: _Batch) -> None:
        """Free the worker, of a thread that has outlived its task when the thread ends."""
        if batch.thread is not None and not batch.thread.done():
            batch.thread.add_done_callback(lambda _: self._end(batch))
        elif self._running.pop(batch.task, None) is not None:
            spent, totals = self._clock() - batch.began, self._totals
            totals["process_total"] += spent
            if spent > totals["process_max"]:  # noqa: PLR1730 - max() costs a call
                totals["process_max"] = spent
            if self._open is not None and self._is_eager:
                self._open.let_start("idle")
            if self._open is not None or self._ready:
                self._pump()

    def _abort(self) -> None:
        """Fail every caller and cancel the work."""
        for batch in (*self._ready, *self._running.values()):
            self._fail(batch, BatcherClosedError("closed before the item was processed"))
            if batch.began == math.inf:
                self._waiting -= len(batch.items)
                batch.items = []
            if batch.task is not None:
                batch.task.cancel()
        self._ready.clear()
