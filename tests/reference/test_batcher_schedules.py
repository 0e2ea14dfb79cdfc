"""Random schedules of callers, answers, failures and cancellations: invariants after every step."""

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.batcher import (
    BatchCancelledError,
    Batcher,
    BatcherClosedError,
    BatcherFullError,
    BatchResultError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock and whose threads the schedule moves."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, function: Any, *arguments: Any) -> Any:  # type: ignore[override]
        future = self.create_future()
        self.threads.append((future, lambda: function(*arguments)))
        return future


OUTCOMES = ["fine", "raise", "fine", "mixed", "fine", "cancelled", "fine", "short", "long", "none"]
ERRORS = (KeyError, BatchResultError, BatchCancelledError, BatcherClosedError)
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 5)),
    st.tuples(st.just("submit"), st.integers(0, 5)),
    st.tuples(st.just("burst"), st.integers(2, 9)),
    st.tuples(st.just("ask"), st.integers(0, 5)),
    st.tuples(st.just("answer"), st.integers(0, 20), st.sampled_from(OUTCOMES)),
    st.tuples(st.just("answer"), st.integers(0, 20), st.sampled_from(OUTCOMES)),
    st.tuples(st.just("thread"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 40)),
    st.tuples(st.just("cancel"), st.integers(0, 40)),
    st.tuples(st.just("steal"), st.integers(0, 40)),
    st.tuples(st.just("sweep"), st.integers(0, 20)),
    st.tuples(st.just("tick"), st.sampled_from([0.5, 1.0])),
    st.tuples(st.just("turn"), st.just(0)),
    st.tuples(st.just("turn"), st.just(0)),
)
OPTIONS = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 4),
        "max_workers": st.integers(1, 3),
        "eager": st.booleans(),
        "max_wait": st.sampled_from([0, 1.0]),
        "max_queue": st.sampled_from([None, 1, 3, 8]),
    }
)


class Schedule:
    """One batcher, its callers and its process, moved step by step."""

    def __init__(self, loop: Loop, options: dict[str, Any], *, is_sync: bool, weighs: bool) -> None:
        self.loop, self.is_sync, self.options = loop, is_sync, options
        self.max_weight = 6.0 if weighs else math.inf
        if weighs:
            options = {**options, "weight": lambda item: item[1], "max_weight": self.max_weight}
        process: Any = self.process_in_thread if is_sync else self.process
        self.batcher: Batcher[tuple[int, int], Any] = Batcher(process, clock=loop.time, **options)
        self.futures = list[asyncio.Future[Any]]()  # of item 0, 1, ...
        self.settled = list[int]()
        self.asking = list[asyncio.Task[Any]]()
        self.gates = list[asyncio.Future[str]]()
        self.processed = list[int]()
        self.outcomes = dict[int, str]()
        self.at_work = 0

    # The process: it answers each item with its number

    def begin(self, items: list[tuple[int, int]]) -> list[int]:
        numbers = [number for number, _ in items]
        assert 0 < len(items) <= self.options["batch_size"]
        assert sum(weight for _, weight in items) <= self.max_weight
        assert not set(numbers) & set(self.processed), "processed twice"
        if not self.is_sync:
            assert not any(self.futures[number].done() for number in numbers)
            assert self.options["max_workers"] > 1 or min(numbers) > max(self.processed, default=-1)
            assert numbers == sorted(numbers)
        self.processed += numbers
        return numbers

    def answer(self, numbers: list[int], outcome: str) -> Any:
        self.outcomes |= dict.fromkeys(numbers, outcome)
        if outcome == "raise":
            raise KeyError(*numbers)
        if outcome == "cancelled":
            raise asyncio.CancelledError
        return {
            "fine": numbers,
            "short": numbers[1:],
            "long": [*numbers, 0],
            "none": None,
            "mixed": [KeyError(each) if each % 2 else each for each in numbers],
        }[outcome]

    async def process(self, items: list[tuple[int, int]]) -> Any:
        numbers, gate = self.begin(items), self.loop.create_future()
        self.gates.append(gate)
        self.at_work += 1
        assert self.at_work <= self.options["max_workers"]
        try:
            return self.answer(numbers, await gate)
        finally:
            self.at_work -= 1
            self.gates.remove(gate)

    def process_in_thread(self, items: list[tuple[int, int]]) -> Any:
        numbers = self.begin(items)
        return self.answer(numbers, OUTCOMES[numbers[0] % len(OUTCOMES)])

    # The moves

    def submit(self, weight: int) -> asyncio.Future[Any] | None:
        number = len(self.futures)
        try:
            future = self.batcher.submit((number, weight))
        except BatcherFullError:
            assert self.batcher.stats().queued >= self.options["max_queue"]
            return None
        self.futures.append(future)
        self.settled.append(0)
        future.add_done_callback(lambda _: self.count(number))
        return future

    def count(self, number: int) -> None:
        self.settled[number] += 1

    async def ask(self, weight: int) -> None:
        future = self.submit(weight)
        if future is not None:
            await future

    def run_thread(self, place: int) -> None:
        future, function = self.loop.threads.pop(place)
        if not future.cancelled():
            future.set_result(function())

    def move(self, step: str, what: Any, *rest: Any) -> None:  # noqa: C901
        callers = [*self.futures, *self.asking]
        gates = [gate for gate in self.gates if not gate.done()]
        if step == "submit":
            self.submit(what)
        elif step == "burst":
            for weight in range(what):
                self.submit(weight % 6)
        elif step == "ask":
            self.asking.append(self.loop.create_task(self.ask(what)))
        elif step == "answer" and gates:
            gates[what % len(gates)].set_result(rest[0])
        elif step == "thread" and self.loop.threads:
            self.run_thread(what % len(self.loop.threads))
        elif step == "cancel" and callers:
            callers[what % len(callers)].cancel()
        elif step == "steal" and self.futures and not self.futures[what % len(self.futures)].done():
            self.futures[what % len(self.futures)].set_result("stolen")
        elif step == "sweep" and self.batcher._running:
            [*self.batcher._running][what % len(self.batcher._running)].cancel()
        elif step == "tick":
            self.loop.now += what

    # What must hold

    def check(self) -> None:
        batcher, stats = self.batcher, self.batcher.stats()
        running = batcher._running.values()
        assert stats.running <= self.options["max_workers"]
        assert stats.queued <= (self.options["max_queue"] or math.inf)
        unbegun = [each for each in running if each.began == math.inf and each is not batcher._open]
        assert batcher._waiting == sum(len(each.items) for each in (*batcher._ready, *unbegun))
        at_work = sum(len(each.futures) for each in running if each.began < math.inf)
        ended = stats.completed + stats.failed + stats.cancelled + stats.abandoned
        assert len(self.futures) == stats.queued + at_work + ended
        assert stats.items == sum(size * count for size, count in stats.sizes.items())
        assert stats.batches == sum(stats.starts.values())
        assert max(self.settled, default=0) <= 1
        if batcher._ready or (batcher._open is not None and batcher._open.reason):
            assert stats.running  # the end of which starts what waits
        loop: Any = self.loop
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]
        assert len(timers) <= (batcher._open is not None and batcher._open.task is None)

    def check_results(self) -> None:
        assert self.settled == [1] * len(self.futures)
        for number, future in enumerate(self.futures):
            outcome = self.outcomes.get(number)
            if future.cancelled():
                continue
            if (error := future.exception()) is not None:
                assert isinstance(error, ERRORS[2 if outcome == "fine" else 0 :])
            elif future.result() != "stolen":
                assert future.result() == number
                assert outcome in ("fine", "mixed")

    async def play(self, steps: list[Any], *, drain: bool) -> None:
        for step in steps:
            self.move(*step)
            if step[0] == "turn":
                await asyncio.sleep(0)
            self.check()
        closing = asyncio.ensure_future(self.batcher.close(drain=drain))
        for _ in range(1000):
            await asyncio.sleep(0)
            self.check()
            if closing.done():
                break
            for gate in self.gates:
                if not gate.done():
                    gate.set_result("fine")
            if self.loop.threads:
                self.run_thread(0)
        await closing
        await asyncio.gather(*self.asking, return_exceptions=True)
        await asyncio.sleep(0)  # for what counts the settled ones
        self.check()
        self.check_results()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.batcher.stats().queued == self.batcher.stats().running == 0


@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("is_sync", [False, True])
def test_every_caller_is_settled_once_and_no_item_is_processed_twice(
    is_sync: bool, weighs: bool
) -> None:
    played = 0

    @seed(3)
    @settings(max_examples=150, deadline=None, database=None)
    @given(OPTIONS, st.lists(STEPS, min_size=20, max_size=80), st.booleans())
    def run(options: dict[str, Any], steps: list[Any], drain: bool) -> None:
        nonlocal played
        played += len(steps)
        noise = list[Any]()
        with asyncio.Runner(loop_factory=Loop) as runner:
            loop: Any = runner.get_loop()
            loop.set_exception_handler(lambda _, context: noise.append(context))
            schedule = Schedule(loop, options, is_sync=is_sync, weighs=weighs)
            runner.run(schedule.play(steps, drain=drain))
        assert noise == []

    run()
    assert played > 3000
