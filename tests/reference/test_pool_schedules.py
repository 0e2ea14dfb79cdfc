"""Random schedules of everything that can happen to a pool; what must hold does so at each step."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.pool import (
    CHECK,
    ConnectFailedError,
    Pool,
    PoolClosedError,
    PoolFullError,
    PoolTimeoutError,
)

Run: TypeAlias = Callable[..., None]
Step: TypeAlias = tuple[str, Any]

EXCLUSIVE = st.fixed_dictionaries({"leases_per_connection": st.just(1), "reset": st.booleans()})
SHARED = st.fixed_dictionaries({"leases_per_connection": st.just(3), "reset": st.just(value=False)})
OPTIONS = st.tuples(
    st.one_of(EXCLUSIVE, EXCLUSIVE, SHARED),
    st.fixed_dictionaries(
        {
            "max_size": st.sampled_from([1, 2, 4]),
            "min_size": st.integers(0, 4),
            "acquire_timeout": st.sampled_from([None, None, 1.0]),
            "idle_timeout": st.sampled_from([None, 2.0]),
            "max_lifetime": st.sampled_from([None, 5.0]),
            "validate": st.booleans(),
            "validate_after": st.sampled_from([0.0, 1.0]),
            "is_broken": st.booleans(),
            "max_waiting": st.sampled_from([None, None, 5]),
            "on_near_capacity": st.booleans(),
        }
    ),
).map(lambda two: two[0] | two[1])
STEPS = st.one_of(
    st.tuples(st.just("acquire"), st.sampled_from([None, None, 0, 0.3, 3, math.inf])),
    st.tuples(st.just("acquire"), st.just(None)),
    st.tuples(st.just("acquire many"), st.integers(2, 8)),
    st.tuples(st.just("end"), st.sampled_from(["", "", "", "ValueError", "OSError", "broken"])),
    st.tuples(st.just("end"), st.just("")),
    st.tuples(st.just("cancel waiter"), st.integers(0, 7)),
    st.tuples(st.just("cancel holder"), st.integers(0, 7)),
    st.tuples(st.just("refuse"), st.sampled_from(["", "", "OSError", "CancelledError"])),
    st.tuples(st.just("slow"), st.sampled_from([0, 0, 0.5, 2, 40])),
    st.tuples(st.just("sick"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0, 0, 0, 0, 0.1, 0.5, 3])),
    st.tuples(st.just("block"), st.sampled_from([1, 6])),
)
ERRORS: dict[str, type[BaseException]] = {
    "ValueError": ValueError,
    "OSError": OSError,
    "CancelledError": asyncio.CancelledError,
}


class World:
    """A pool, its server and its callers, and what each of them saw."""

    def __init__(self, options: dict[str, Any], *, is_eager: bool) -> None:
        loop = asyncio.get_running_loop()
        self.slow, self.refuse, self.sick = 0.0, "", False
        self.open: set[int] = set()
        self.opened = 0
        self.users: Counter[int] = Counter()
        self.broken: set[int] = set()
        self.waiting: dict[int, asyncio.Task[None] | None] = {}  # by the order of arrival
        self.holding: dict[asyncio.Task[None], asyncio.Future[str]] = {}
        self.calls = self.last_turn = self.delivered = 0
        self.outcomes: Counter[str] = Counter()
        self.is_closing = False
        hooks = {"validate": self.examine, "reset": self.examine, "is_broken": self.is_broken}
        hooks["on_near_capacity"] = lambda stats: self.outcomes.update(alarms=1)
        options = options | {name: hook if options[name] else None for name, hook in hooks.items()}
        if is_eager and (factory := getattr(asyncio, "eager_task_factory", None)):
            loop.set_task_factory(factory)
        self.size, self.share = options["max_size"], options["leases_per_connection"]
        options["min_size"] = min(options["min_size"], self.size)
        self.pool: Pool[int] = Pool(
            self.connect, self.close, connect_timeout=30, clock=loop.time, **options
        )

    # The server

    async def connect(self) -> int:
        await asyncio.sleep(self.slow)
        if self.refuse:
            raise ERRORS[self.refuse]
        self.opened += 1
        self.open.add(self.opened)
        assert len(self.open) <= self.size
        return self.opened

    async def close(self, connection: int) -> None:
        assert not self.users[connection] or self.is_closing
        try:
            await asyncio.sleep(self.slow)
        finally:
            self.open.remove(connection)
        if self.sick:
            raise OSError

    async def examine(self, connection: int) -> bool:
        assert not self.users[connection]
        await asyncio.sleep(self.slow)
        if self.sick and connection % 2:
            raise OSError
        return not self.sick

    def is_broken(self, connection: int, error: BaseException | None) -> bool:
        if isinstance(error, OSError):
            self.broken.add(connection)
        return connection in self.broken

    # The callers

    async def call(self, turn: int, timeout: float | None) -> None:  # noqa: ASYNC109
        task = asyncio.current_task()
        assert task is not None
        waited: list[bool] = []
        asyncio.get_running_loop().call_soon(waited.append, True)
        ahead = [future for future in self.pool._waiters if not future.done()]
        try:
            async with self.pool.acquire(timeout) as connection:
                del self.waiting[turn]
                self.delivered += 1
                if waited:
                    assert turn > self.last_turn, "not first in, first out"
                    self.last_turn = turn
                else:
                    assert all(future.done() for future in ahead), "overtook a waiter"
                await self.use(connection, task)
        except asyncio.CancelledError:
            self.outcomes["cancelled"] += 1
            raise
        except (PoolTimeoutError, PoolFullError, ConnectFailedError, PoolClosedError) as error:
            self.outcomes[type(error).__name__] += 1
        except (ValueError, OSError):
            self.outcomes["error"] += 1
        else:
            self.outcomes["done"] += 1
        finally:
            self.waiting.pop(turn, None)

    async def use(self, connection: int, task: asyncio.Task[None]) -> None:
        assert connection in self.open
        self.users[connection] += 1
        assert self.users[connection] <= self.share, "a slot was given twice"
        self.holding[task] = asyncio.get_running_loop().create_future()
        try:
            end = await self.holding[task]
            if end in ERRORS:
                raise ERRORS[end]
            if end == "broken":
                self.broken.add(connection)
        finally:
            del self.holding[task]
            self.users[connection] -= 1

    def start(self, timeout: float | None) -> None:
        self.calls = turn = self.calls + 1
        self.waiting[turn] = None
        task = asyncio.create_task(self.call(turn, timeout))
        if turn in self.waiting:  # an eager task may have gone on already
            self.waiting[turn] = task
        # A task that is cancelled before it begins runs no line of its own.
        task.add_done_callback(
            lambda _: self.outcomes.update(cancelled=self.waiting.pop(turn, self) is not self)
        )

    # The schedule

    async def step(self, what: str, value: Any) -> None:
        if what == "acquire":
            self.start(value)
        elif what == "acquire many":
            for _ in range(value):
                self.start(None)
        elif what == "end":
            if open_ended := [each for each in self.holding.values() if not each.done()]:
                open_ended[0].set_result(value)
        elif what in ("cancel waiter", "cancel holder"):
            tasks = self.waiting.values() if what == "cancel waiter" else self.holding
            if alive := [task for task in tasks if task is not None]:
                alive[value % len(alive)].cancel()
        elif what == "wait":
            await asyncio.sleep(value)
        elif what == "block":
            loop: Any = asyncio.get_running_loop()
            loop.sleep_through(value)
        else:
            setattr(self, what, value)

    def check(self) -> None:
        pool, stats, running = self.pool, self.pool.stats(), self.pool._running
        live = [future for future in pool._waiters if not future.done()]
        held = [holder for entry in pool._entries for holder in entry.holders]
        assert stats.total + stats.connecting + stats.closing <= self.size
        assert running["connect"] + running["close"] + running[CHECK] == len(pool._tasks)
        assert len(held) == stats.active + held.count(CHECK) <= stats.capacity
        assert sum(self.users.values()) <= stats.active or self.is_closing
        assert all(len(entry.holders) < self.share and not entry.fate for entry in pool._free)
        assert len(set(map(id, pool._free))) == len(pool._free)
        if not self.is_closing:
            self.check_progress(len(live), len(pool._free))

    def check_progress(self, live: int, free: int) -> None:
        """Whoever waits has something to wait for, and nothing useful lies idle."""
        pool, running = self.pool, self.pool._running
        coming = self.share * (running["connect"] + running[CHECK])
        if live:
            assert not free or live <= coming, "somebody waits while a connection is idle"
            size = len(pool._entries) + running["connect"] + running["close"]
            is_backing_off = pool._delay > 0 and (pool._timer or running["connect"])
            assert size >= self.size or live <= coming or is_backing_off, (
                "nobody connects for a waiter"
            )
        deadlines = [lease._deadline for lease in pool._waiters.values()]
        if (soonest := min(deadlines, default=math.inf)) < math.inf:
            assert pool._timer is not None
            assert pool._wake <= max(soonest, asyncio.get_running_loop().time() + 1e-3)

    async def run(self, steps: list[Step], end: tuple[str, float | None]) -> None:
        await asyncio.gather(self.pool.start(), return_exceptions=True)
        for step in steps:
            await self.step(*step)
            self.check()
        if end[0] == "rest":
            await self.rest()
        await self.finish(end[1])

    async def rest(self) -> None:
        """Let the world become well and all callers end; then every slot still works."""
        self.slow, self.refuse, self.sick = 0, "", False
        while self.waiting or self.holding:  # a waiter that is forgotten is a deadlock
            await self.step("end", "")
            await asyncio.sleep(0.1)
            self.check()
        await asyncio.sleep(100)
        stats = self.pool.stats()
        assert (stats.active, stats.waiting, stats.connecting, stats.closing) == (0, 0, 0, 0)
        assert stats.total == stats.idle >= self.pool._min
        leases = [await self.pool.acquire(5) for _ in range(self.size)]
        for lease in leases:
            lease.release()
        assert not self.pool._waiters

    async def finish(self, timeout: float | None) -> None:  # noqa: ASYNC109
        self.is_closing = True
        closing = asyncio.create_task(self.pool.close(timeout))
        await asyncio.sleep(0)
        while not closing.done() or self.holding:
            if timeout is None or closing.done():
                await self.step("end", "")
            await asyncio.sleep(0.1)
            self.check()
        await closing
        await asyncio.sleep(0.1)
        assert not self.waiting
        stats = self.pool.stats()
        assert not self.open
        assert (stats.active, stats.total, stats.connecting, stats.closing) == (0, 0, 0, 0)
        assert stats.created == sum(stats.closed.values()) == self.opened
        assert stats.leases - self.delivered in {0, *range(self.size + 1)}
        answered = sum(count for name, count in self.outcomes.items() if name != "alarms")
        assert answered == self.calls, "a caller was answered not once"


@pytest.mark.filterwarnings("ignore:closed a pool after")
def test_pool_keeps_its_invariants_at_each_step_of_any_schedule(run: Run) -> None:
    steps = 0

    @seed(1)
    @settings(max_examples=300, deadline=None, database=None)
    @given(
        OPTIONS,
        st.lists(STEPS, min_size=10, max_size=80),
        st.sampled_from([("rest", None), ("rest", None), ("close", None), ("close", 0.5)]),
        st.booleans(),
    )
    def follow(
        options: dict[str, Any],
        schedule: list[Step],
        end: tuple[str, Any],
        is_eager: bool,
    ) -> None:
        nonlocal steps
        steps += len(schedule)

        async def main() -> None:
            await World(options, is_eager=is_eager).run(schedule, end)

        run(main(), collect=False)

    follow()
    assert steps > 5_000
