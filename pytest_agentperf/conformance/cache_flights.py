"""Single-flight: concurrent callers of a key share one computation, whatever happens to some."""

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.conformance.cache_subject import CacheSuite
from pytest_agentperf.conformance.stuck import in_thread
from pytest_agentperf.conformance.suite import expect, require, scenario
from pytest_agentperf.conformance.virtual import turns

__all__ = ["AsyncFlightTests", "ThreadFlightTests"]

CALLERS = 50
THREADS = 8
THREAD_TIME = 0.05  # real seconds in which threads that can go on do so


class _Load:
    """An async computation that ends when told to."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Future[Any]] = []
        self.cancelled = 0

    async def __call__(self) -> Any:
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        try:
            return await gate
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def end(self, result: Any) -> None:
        for gate in self.gates:
            if not gate.done() and isinstance(result, BaseException):
                gate.set_exception(result)
            elif not gate.done():
                gate.set_result(result)


class AsyncFlightTests(CacheSuite):
    """Among tasks."""

    async def _share(self, count: int) -> tuple[Any, _Load, list[asyncio.Task[Any]]]:
        """Start *count* callers of one key; return what they called, and their tasks."""
        flight, load = await self._async_flight(), _Load()
        tasks = [asyncio.create_task(flight("key", load), name=f"caller {n}") for n in range(count)]
        await turns()
        return flight, load, tasks

    async def _async_flight(self) -> Callable[[Any, Any], Any]:
        flight = self.async_flight((await self.new_cache()).cache)
        if flight is None:
            pytest.skip("async_flight is None: it shares no computations among tasks")
        return flight

    @scenario("supports_single_flight")
    async def test_concurrent_tasks_share_one_computation(self) -> None:
        """Seen in aio-libs/aiocache#27, #217, #527 and BerriAI/litellm#20030 (a stampede)."""
        _, load, tasks = await self._share(CALLERS)
        expect(len(load.gates), 1, f"computations that {CALLERS} concurrent callers began")
        load.end("value")
        expect(await asyncio.gather(*tasks), ["value"] * CALLERS, "what the callers got")

    @scenario("supports_single_flight")
    async def test_slow_computation_is_still_shared(self) -> None:
        """Seen in aio-libs/aiocache#443 (the lease ended before the computation)."""
        flight, load, tasks = await self._share(2)
        await asyncio.sleep(30)
        tasks.append(asyncio.create_task(flight("key", load)))
        await turns()
        expect(len(load.gates), 1, "computations begun within 30 s of one that still runs")
        load.end("value")
        await asyncio.gather(*tasks)

    @scenario("supports_single_flight")
    async def test_result_is_kept_and_computed_no_more(self) -> None:
        """Seen in aio-libs/aiocache#540 (None was computed each time)."""
        flight = await self._async_flight()
        for value in ("value", None, 0):
            calls: list[Any] = []

            async def load(calls: list[Any] = calls, value: Any = value) -> Any:
                calls.append(value)
                return value

            got = [await flight(f"key of {value}", load) for _ in range(3)]
            expect(got, [value] * 3, "what three calls in a row returned")
            expect(len(calls), 1, f"computations of {value!r} by three calls in a row")

    @scenario("supports_single_flight")
    async def test_different_keys_are_computed_at_the_same_time(self) -> None:
        """Seen in tkem/cachetools#317 (one lock for all keys)."""
        flight, load = await self._async_flight(), _Load()
        tasks = [asyncio.create_task(flight(f"key {n}", load)) for n in range(3)]
        await turns()
        expect(len(load.gates), 3, "computations under way for three keys")
        load.end("value")
        await asyncio.gather(*tasks)

    @scenario("supports_single_flight")
    async def test_exception_reaches_every_task_and_is_not_kept(self) -> None:
        """Seen in Yiling-J/theine#34 (a hang) and imnotjames/cachetools-async#14 (kept)."""
        flight, load, tasks = await self._share(5)
        load.end(ValueError("no value"))
        got = await asyncio.gather(*tasks, return_exceptions=True)
        expect([type(each) for each in got], [ValueError] * 5, "what the callers got")

        async def works() -> str:
            return "value"

        expect(await flight("key", works), "value", "the next call after a computation that failed")

    @scenario("supports_single_flight")
    async def test_no_exception_is_reported_as_never_retrieved(self) -> None:
        """Seen in iamsinghrajat/async-cache#30 (noise in the log)."""
        _, load, tasks = await self._share(3)
        for task in tasks[1:]:
            task.cancel()
        await turns()
        load.end(ValueError("no value"))
        await asyncio.gather(*tasks, return_exceptions=True)
        del load, tasks, _
        gc.collect()
        await turns()
        problems = [each["message"] for each in self.runner.problems]
        expect(problems, [], "what the event loop would log")

    @scenario("supports_single_flight")
    async def test_cancelling_the_first_caller_leaves_the_others_theirs(self) -> None:
        """Seen in aio-libs/async-lru#697 (followers were cancelled too)."""
        _, load, tasks = await self._share(3)
        tasks[0].cancel()
        await turns()
        load.end("value")
        got = await asyncio.gather(*tasks, return_exceptions=True)
        require(isinstance(got[0], asyncio.CancelledError), f"the cancelled caller got {got[0]!r}")
        expect(got[1:], ["value"] * 2, "what the others got")
        expect(len(load.gates), 1, "computations, with the first of three callers cancelled")

    @scenario("supports_single_flight")
    async def test_cancelling_another_caller_leaves_the_first_its_own(self) -> None:
        """Seen in Yiling-J/theine#34 (`InvalidStateError` for the first)."""
        _, load, tasks = await self._share(3)
        tasks[1].cancel()
        await turns()
        load.end("value")
        got = await asyncio.gather(*tasks, return_exceptions=True)
        expect([got[0], got[2]], ["value"] * 2, "what the callers got that were not cancelled")

    @scenario("supports_single_flight")
    async def test_key_works_again_after_all_its_callers_were_cancelled(self) -> None:
        """Seen in aio-libs/async-lru#708 (who waits for a computation that nobody wants)."""
        flight, load, tasks = await self._share(3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        again = asyncio.create_task(flight("key", load))
        await turns()
        load.end("value")
        expect(await again, "value", "a call after all callers were cancelled")

    @scenario("supports_single_flight", "supports_delete")
    async def test_value_deleted_while_it_is_computed_is_not_kept(self) -> None:
        """Seen in aio-libs/async-lru#503 (cleared in the middle of a computation)."""
        cache = await self.new_cache()
        flight, load = self.async_flight(cache.cache), _Load()
        if flight is None:
            pytest.skip("async_flight is None: it shares no computations among tasks")
        task = asyncio.create_task(flight("key", load))
        await turns()
        await cache.delete("key")
        load.end("old")
        expect(await task, "old", "what the caller got whose key was deleted meanwhile")

        async def new() -> str:
            return "new"

        expect(await flight("key", new), "new", "a call after the key was deleted")

    def test_values_survive_their_event_loop(self) -> None:
        """Seen in aio-libs/async-lru#480 (a second loop; pytest-asyncio makes one for each test).

        The computation of a loop that was closed under way must not block the key for ever.
        """
        self.need("supports_single_flight")
        self.play_in_two_loops(self._first_loop, self._second_loop)

    async def _first_loop(self) -> None:
        self._flight = await self._async_flight()

        async def value() -> str:
            return "value"

        await self._flight("done", value)
        self._abandoned = asyncio.create_task(self._flight("under way", _Load()))
        await turns()

    async def _second_loop(self) -> None:
        async def again() -> str:
            return "computed again"

        expect(await self._flight("done", again), "value", "a value kept from a closed loop")
        got = await self._flight("under way", again)
        expect(got, "computed again", "a key whose computation ended with its loop")


class ThreadFlightTests(CacheSuite):
    """Among threads."""

    async def _thread_flight(self) -> Callable[[Any, Any], Any]:
        flight = self.thread_flight((await self.new_cache()).cache)
        if flight is None:
            pytest.skip("thread_flight is None: it shares no computations among threads")
        return flight

    @scenario("supports_single_flight")
    async def test_concurrent_threads_share_one_computation(self) -> None:
        """Seen in tkem/cachetools#294 (1,000 misses) and awolverp/cachebox#61."""
        flight = await self._thread_flight()
        calls: list[int] = []
        gate = threading.Event()

        def load() -> str:
            calls.append(1)
            gate.wait(THREAD_TIME)
            return "value"

        futures = [in_thread(flight, "key", load) for _ in range(THREADS)]
        got = [future.result() for future in futures]
        expect(got, ["value"] * THREADS, "what the threads got")
        expect(len(calls), 1, f"computations that {THREADS} concurrent threads began")

    @scenario("supports_single_flight")
    async def test_exception_releases_every_thread_and_is_not_kept(self) -> None:
        """Seen in Yiling-J/theine#34 (its sync twin: every later call of the key hangs)."""
        flight = await self._thread_flight()

        def fails() -> str:
            threading.Event().wait(THREAD_TIME)
            raise ValueError("no value")

        futures = [in_thread(flight, "key", fails) for _ in range(THREADS)]
        got = [type(future.exception()) for future in futures]
        expect(got, [ValueError] * THREADS, "what the threads got")
        expect(flight("key", lambda: "value"), "value", "the next call after one that failed")

    @scenario("supports_single_flight")
    async def test_different_keys_are_computed_by_threads_at_the_same_time(self) -> None:
        """Seen in tkem/cachetools#317 (one lock for all keys)."""
        flight = await self._thread_flight()
        barrier = threading.Barrier(2)

        def meet() -> str:
            try:
                barrier.wait(10 * THREAD_TIME)
            except threading.BrokenBarrierError:
                return "alone"
            return "together"

        futures = [in_thread(flight, key, meet) for key in "ab"]
        got = [future.result() for future in futures]
        expect(got, ["together"] * 2, "how two keys were computed")

    @scenario("supports_single_flight")
    async def test_computation_may_call_the_cache_for_another_key(self) -> None:
        """Seen in awolverp/cachebox#54 (a deadlock)."""
        flight = await self._thread_flight()
        got = flight("outer", lambda: "outer of " + flight("inner", lambda: "inner"))
        expect(got, "outer of inner", "a computation that needs another key")
