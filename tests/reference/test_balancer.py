"""The balancer: even loads, exact counts, backends that fail and come back, a fair queue.

The event loop of these tests jumps to its next timer, and fails a test that would wait for ever.
"""

import asyncio
import gc
import heapq
import math
import pickle
import random
import selectors
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack, ExitStack
from typing import Any, cast

import pytest

from pytest_agentperf.reference.balancer import (
    AllUnhealthyError,
    Backend,
    BackendStats,
    Balancer,
    BalancerFullError,
    BalancerStats,
    BalancerTimeoutError,
    BalancerTypeError,
    BalancerUsageError,
    BalancerValueError,
    Strategy,
)


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise AssertionError("deadlock: everything waits and no timer is set")
            self.now += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def now() -> float:
    return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run *main* in virtual time; no task and no timer may be left."""

    async def checked() -> None:
        await main
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        timers = [each for each in cast("Any", loop)._scheduled if not each.cancelled()]
        assert not timers, timers

    problems: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        runner.run(checked())
        gc.collect()
    assert not problems, problems


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def of(stats: BalancerStats, backend: object) -> BackendStats:
    return next(each for each in stats.backends if each.backend == backend)


def pick(balancer: Balancer[Any], error: BaseException | None = None) -> Any:
    """Return the backend of a lease that ends at once, with *error*."""
    lease = balancer.lease_nowait()
    backend = lease.__enter__()
    lease.__exit__(None, error, None)
    return backend


def picks(balancer: Balancer[Any], count: int) -> list[Any]:
    return [pick(balancer) for _ in range(count)]


def fail(balancer: Balancer[Any], backend: object, times: int = 1) -> None:
    """Let leases of *backend* fail; those of others succeed."""
    while times:
        lease = balancer.lease_nowait()
        is_it = lease.__enter__() == backend
        lease.__exit__(None, OSError("down") if is_it else None, None)
        times -= is_it


def hold(balancer: Balancer[Any], stack: ExitStack, count: int) -> list[Any]:
    return [stack.enter_context(balancer.lease_nowait()) for _ in range(count)]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# Strategies


def test_round_robin_takes_turns() -> None:
    assert "".join(picks(Balancer("abc", "round_robin"), 7)) == "abcabca"


def test_round_robin_ignores_weights() -> None:
    balancer = Balancer({"a": Backend(weight=9), "b": Backend()}, "round_robin")
    assert Counter(picks(balancer, 100)) == {"a": 50, "b": 50}


def test_round_robin_gives_the_turns_of_an_unhealthy_backend_to_all_others_alike(
    clock: FakeClock,
) -> None:
    balancer = Balancer("abcd", "round_robin", max_failures=1, clock=clock)
    fail(balancer, "b")
    counts = Counter(picks(balancer, 300))
    assert counts == {"a": 99, "c": 100, "d": 101}  # "a" had its turn before "b"


def test_round_robin_gives_the_turns_of_a_full_backend_to_all_others_alike() -> None:
    backends = dict.fromkeys("abcd", Backend()) | {"b": Backend(capacity=1)}
    balancer = Balancer(backends, "round_robin")
    with ExitStack() as stack:
        assert hold(balancer, stack, 2) == ["a", "b"]
        counts = Counter(picks(balancer, 300))
        assert counts == {"a": 99, "c": 100, "d": 101}  # "a" had its turn before "b"
    assert Counter(picks(balancer, 400)) == dict.fromkeys("abcd", pytest.approx(100, abs=1))


def test_weighted_spreads_turns_as_nginx_does() -> None:
    balancer = Balancer({"a": Backend(weight=5), "b": Backend(), "c": Backend()}, "weighted")
    # The sequence of nginx's commit 52327e0627f4 ("smooth weighted round-robin balancing").
    assert "".join(picks(balancer, 14)) == "aabacaa" * 2


def test_least_loaded_takes_the_least_load_for_its_weight() -> None:
    balancer = Balancer({"big": Backend(weight=3), "small": Backend(weight=1)}, "least_loaded")
    with ExitStack() as stack:
        assert Counter(hold(balancer, stack, 400)) == {"big": 300, "small": 100}


def test_least_loaded_breaks_ties_at_random_and_heats_no_backend() -> None:
    for backends in ("abcd", "dcba"):
        rand = random.Random(5)
        counts = Counter(picks(Balancer(backends, rand=rand.random), 4000))
        # 1000 expected, standard deviation 27.
        assert min(counts.values()) > 890
        assert max(counts.values()) < 1110


@pytest.mark.parametrize(("strategy", "count"), [("least_loaded", 17), ("p2c", 3), ("p2c", 1)])
def test_two_choices_keep_loads_even(strategy: Strategy, count: int) -> None:
    balancer = Balancer(range(count), strategy, rand=random.Random(6).random)
    with ExitStack() as stack:
        hold(balancer, stack, 100 * count)
        loads = [each.load for each in balancer.stats().backends]
        assert max(loads) - min(loads) <= 8


class Counting:
    """A random source that counts its use."""

    def __init__(self) -> None:
        self.used = 0
        self.random = random.Random(7)

    def __call__(self) -> float:
        self.used += 1
        return self.random.random()


@pytest.mark.parametrize(("count", "used"), [(16, 1), (17, 2)])
def test_least_loaded_compares_two_above_sixteen_backends(count: int, used: int) -> None:
    rand = Counting()
    pick(Balancer(range(count), rand=rand))
    assert rand.used == used


def test_two_choices_are_two_different_backends() -> None:
    values = iter([0.0, 0.0] * 50)
    balancer = Balancer("ab", "p2c", rand=lambda: next(values))
    with ExitStack() as stack:
        assert Counter(hold(balancer, stack, 50)) == {"a": 25, "b": 25}


def simulate(strategy: Strategy, speeds: list[float], *, is_weighted: bool) -> tuple[float, float]:
    """Return p50 and p99 of the latency of 10,000 calls at 75 % load, in mean times of a call.

    Calls come at random (Poisson); each backend serves one at a time, of exponential length.
    """
    rand, clock = random.Random(8), FakeClock()
    backends = {
        number: Backend(weight=speed if is_weighted else 1) for number, speed in enumerate(speeds)
    }
    balancer = Balancer(backends, strategy, clock=clock, rand=rand.random)
    free = [0.0] * len(speeds)
    ends: list[tuple[float, int, Any]] = []
    latencies = []
    for call in range(10_000):
        clock.now += rand.expovariate(0.75 * sum(speeds))
        while ends and ends[0][0] <= clock.now:
            heapq.heappop(ends)[2].__exit__(None, None, None)
        lease = balancer.lease_nowait()
        backend = lease.__enter__()
        free[backend] = max(clock.now, free[backend]) + rand.expovariate(speeds[backend])
        latencies.append(free[backend] - clock.now)
        heapq.heappush(ends, (free[backend], call, lease))
    latencies.sort()
    return latencies[5_000], latencies[9_900]


@pytest.mark.parametrize("slow", ["first", "last"])
def test_least_loaded_beats_every_other_strategy_with_slow_backends(slow: str) -> None:
    speeds = [1.0] * 6 + [0.25] * 2
    if slow == "first":
        speeds.reverse()
    p50, p99 = simulate("least_loaded", speeds, is_weighted=True)  # 1.2 and 7
    blind_p50, blind_p99 = simulate("round_robin", speeds, is_weighted=True)  # 1.8 and 2800
    assert p50 < 0.75 * blind_p50
    assert p99 < blind_p99 / 100  # the slow backends of round-robin never catch up
    assert p99 < 0.6 * simulate("weighted", speeds, is_weighted=True)[1]  # 18
    assert p99 < 0.8 * simulate("p2c", speeds, is_weighted=True)[1]  # 10
    assert p99 < 0.7 * simulate("least_loaded", speeds, is_weighted=False)[1]  # 14
    assert p99 < 10


# Loads


@pytest.mark.parametrize(
    "error", [None, OSError(), KeyError(), asyncio.CancelledError(), KeyboardInterrupt()]
)
def test_load_goes_down_once_however_a_lease_ends(error: BaseException | None) -> None:
    balancer = Balancer("a", max_failures=99)
    lease = balancer.lease_nowait()
    lease.__enter__()
    assert balancer.stats().load == 1
    for _ in range(3):
        lease.__exit__(None, error, None)
    assert balancer.stats().load == 0


def test_load_goes_down_when_the_caller_is_cancelled() -> None:
    async def main() -> None:
        balancer = Balancer("a", clock=now)

        async def work() -> None:
            async with balancer.lease():
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(work()) for _ in range(10)]
        await turns()
        assert balancer.stats().load == 10
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        stats = balancer.stats()
        assert (stats.load, stats.failures, of(stats, "a").is_healthy) == (0, 0, True)

    run(main())


def test_cancellation_is_no_success_either(clock: FakeClock) -> None:
    balancer = Balancer("a", max_failures=2, clock=clock)
    for error in (OSError(), asyncio.CancelledError(), OSError()):
        pick(balancer, error)
    assert not of(balancer.stats(), "a").is_healthy


def test_no_backend_gets_more_leases_than_its_capacity() -> None:
    balancer = Balancer({"a": Backend(capacity=2), "b": Backend(capacity=3)})
    with ExitStack() as stack:
        assert Counter(hold(balancer, stack, 5)) == {"a": 2, "b": 3}
        with pytest.raises(BalancerFullError, match=r"no backend is free.*'a' 2/2, 'b' 3/3"):
            hold(balancer, stack, 1)
    assert balancer.stats().load == 0
    assert balancer.stats().rejected == 1


def test_lease_can_be_used_once() -> None:
    async def main() -> None:
        balancer = Balancer("a", clock=now)
        lease = balancer.lease()
        async with lease:
            with pytest.raises(BalancerUsageError, match="one a block"):
                await lease.__aenter__()
        with pytest.raises(BalancerUsageError, match="one a block"):
            await lease.__aenter__()
        assert balancer.stats().load == 0

    run(main())


# Waiting


def test_callers_get_leases_in_the_order_of_their_arrival() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1), "b": Backend(capacity=1)}, clock=now)
        order: list[int] = []

        async def work(number: int) -> None:
            async with balancer.lease():
                order.append(number)
                await asyncio.sleep(1)

        await asyncio.gather(*(work(number) for number in range(20)))
        assert order == list(range(20))
        assert now() == 10

    run(main())


def test_newcomer_cannot_take_what_was_handed_to_a_waiter() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        first = balancer.lease()
        await first.__aenter__()
        second = balancer.lease()
        waiter = asyncio.create_task(second.__aenter__())
        await turns()
        await first.__aexit__(None, None, None)
        with pytest.raises(BalancerFullError):
            pick(balancer)
        assert await waiter == "a"
        await second.__aexit__(None, None, None)
        assert pick(balancer) == "a"

    run(main())


def test_turns_of_many_workers_are_even() -> None:
    async def main() -> None:
        balancer = Balancer({n: Backend(capacity=5) for n in range(2)}, clock=now)
        done = [0] * 100

        async def work(number: int) -> None:
            while now() < 100:
                async with balancer.lease():
                    await asyncio.sleep(1)
                done[number] += 1

        await asyncio.gather(*(work(number) for number in range(100)))
        assert max(done) - min(done) <= 1

    run(main())


def test_grant_that_meets_a_cancelled_waiter_goes_to_the_next() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        holder = balancer.lease()
        await holder.__aenter__()
        leases = [balancer.lease() for _ in range(3)]
        first, second, third = (asyncio.create_task(lease.__aenter__()) for lease in leases)
        await turns()
        await holder.__aexit__(None, None, None)  # granted to the first, which has not run yet
        first.cancel()
        await turns()
        assert first.cancelled()
        assert second.done()
        assert not third.done()
        stats = balancer.stats()
        assert (stats.load, stats.waiting, stats.cancelled) == (1, 1, 1)
        for lease, task in ((leases[1], second), (leases[2], third)):
            await task
            await lease.__aexit__(None, None, None)
        assert balancer.stats().load == 0

    run(main())


def test_cancelled_waiter_that_has_not_run_yet_blocks_no_newcomer() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        holder = balancer.lease()
        await holder.__aenter__()
        waiter = asyncio.create_task(balancer.lease().__aenter__())
        await turns()
        waiter.cancel()
        await holder.__aexit__(None, None, None)
        assert pick(balancer) == "a"
        await asyncio.wait([waiter])
        assert balancer.stats().waiting == 0

    run(main())


def test_waiter_collected_with_its_coroutine_leaves_the_queue() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        with ExitStack() as stack:
            hold(balancer, stack, 1)
            coroutine = balancer.lease().__aenter__()
            coroutine.send(None)
            assert balancer.stats().waiting == 1
            coroutine.close()
            assert balancer.stats().waiting == 0
        assert pick(balancer) == "a"

    run(main())


def test_waiter_gets_a_timeout_at_its_time_and_the_next_keeps_its_place() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, lease_timeout=9, clock=now)
        with ExitStack() as stack:
            hold(balancer, stack, 1)
            patient = asyncio.create_task(balancer.lease(math.inf).__aenter__())
            for timeout, end in ((2, 2), (None, 11)):
                with pytest.raises(
                    BalancerTimeoutError, match=r"no backend became free.*1 waiting"
                ):
                    await balancer.lease(timeout).__aenter__()
                assert now() == end
        assert await patient == "a"
        stats = balancer.stats()
        assert (stats.timeouts, stats.waiting, stats.load) == (2, 0, 1)

    run(main())


def test_long_timeout_at_the_head_does_not_delay_a_shorter_one_behind() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        with ExitStack() as stack:
            hold(balancer, stack, 1)
            long = asyncio.create_task(balancer.lease(100).__aenter__())
            await turns()
            with pytest.raises(BalancerTimeoutError):
                await balancer.lease(1).__aenter__()
            assert now() == 1
            long.cancel()
            await asyncio.wait([long])

    run(main())


def test_timeout_of_zero_does_not_wait() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        async with balancer.lease(0):
            with pytest.raises(BalancerTimeoutError):
                await balancer.lease(0).__aenter__()
        assert balancer.stats().timeouts == 1

    run(main())


def test_grant_in_the_same_tick_as_the_timeout_is_kept_or_passed_on() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        for _ in range(2):
            holder = balancer.lease()
            await holder.__aenter__()
            lease = balancer.lease(1)
            waiter = asyncio.create_task(lease.__aenter__())
            await asyncio.sleep(1)  # both timers ring in one tick
            await holder.__aexit__(None, None, None)
            await asyncio.wait([waiter])
            if waiter.exception() is None:
                await lease.__aexit__(None, None, None)
            assert balancer.stats().load == 0
            assert pick(balancer) == "a"

    run(main())


def test_one_caller_more_than_may_wait_is_refused() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, max_waiting=2, clock=now)
        with ExitStack() as stack:
            hold(balancer, stack, 1)
            tasks = [asyncio.create_task(balancer.lease().__aenter__()) for _ in range(2)]
            await turns()
            with pytest.raises(BalancerFullError, match="max_waiting=2 callers wait"):
                await balancer.lease().__aenter__()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    run(main())


def test_many_cancelled_waiters_leave_nothing_behind() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        with ExitStack() as stack:
            hold(balancer, stack, 1)
            tasks = [asyncio.create_task(balancer.lease(99).__aenter__()) for _ in range(5000)]
            await turns()
            for task in tasks[:0:-1]:
                task.cancel()
            await asyncio.wait(tasks[1:])
            assert balancer.stats().waiting == 1
            assert len(balancer._waiters) <= 18
        assert await tasks[0] == "a"

    run(main())


def test_waiters_of_a_dead_loop_are_forgotten() -> None:
    balancer = Balancer({"a": Backend(capacity=1)})
    lease = balancer.lease()
    stale = balancer.lease(60).__aenter__()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(lease.__aenter__())
    loop.call_soon(stale.send, None)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert balancer.stats().waiting == 1

    async def main() -> None:
        with pytest.raises(BalancerTimeoutError):
            await balancer.lease(0.01).__aenter__()
        lease._end(None)  # of the dead loop: its place is free
        async with balancer.lease() as backend:
            assert backend == "a"

    asyncio.run(main())
    stale.close()
    stats = balancer.stats()
    assert (stats.load, stats.waiting) == (0, 0)


def test_caller_of_another_loop_is_refused_while_callers_of_the_first_wait() -> None:
    balancer = Balancer({"a": Backend(capacity=1)})

    async def main() -> None:
        with ExitStack() as stack:
            hold(balancer, stack, 1)
            waiter = asyncio.create_task(balancer.lease().__aenter__())
            await asyncio.sleep(0)
            with pytest.raises(BalancerUsageError, match="callers of another event loop"):
                await asyncio.to_thread(asyncio.run, balancer.lease().__aenter__())
            waiter.cancel()
            await asyncio.wait([waiter])

    asyncio.run(main())


# Health


@pytest.mark.parametrize("max_failures", [1, 3])
def test_backend_goes_out_at_the_last_failure_in_a_row(clock: FakeClock, max_failures: int) -> None:
    balancer = Balancer("ab", max_failures=max_failures, cooldown=30, clock=clock)
    fail(balancer, "a", max_failures - 1)
    assert of(balancer.stats(), "a").is_healthy
    fail(balancer, "a")
    stats = of(balancer.stats(), "a")
    assert (stats.is_healthy, stats.cooling_until, stats.failures) == (False, 30, max_failures)
    assert set(picks(balancer, 100)) == {"b"}


def test_success_ends_a_row_of_failures(clock: FakeClock) -> None:
    balancer = Balancer("a", max_failures=2, clock=clock)
    for error in (OSError(), None, OSError(), None):
        pick(balancer, error)
    assert of(balancer.stats(), "a").is_healthy


def test_backend_out_of_rotation_is_probed_after_its_cooldown_and_not_before(
    clock: FakeClock,
) -> None:
    balancer = Balancer("ab", max_failures=1, cooldown=30, clock=clock)
    fail(balancer, "a")
    clock.now = 29.999
    assert set(picks(balancer, 50)) == {"b"}
    clock.now = 30
    assert pick(balancer) == "a"


def test_one_call_at_a_time_probes_a_backend(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, cooldown=30, clock=clock)
    fail(balancer, "a")
    clock.now = 30
    with ExitStack() as stack:
        assert hold(balancer, stack, 50) == ["a"] + ["b"] * 49


def test_backend_comes_back_after_the_last_success_needed(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, successes_needed=3, cooldown=30, clock=clock)
    fail(balancer, "a")
    clock.now = 30
    assert picks(balancer, 2) == ["a", "a"]
    assert not of(balancer.stats(), "a").is_healthy
    assert pick(balancer) == "a"
    stats = of(balancer.stats(), "a")
    assert (stats.is_healthy, stats.cooling_until) == (True, None)


def test_failed_probe_costs_a_whole_cooldown_and_the_successes_so_far(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=3, successes_needed=2, cooldown=30, clock=clock)
    fail(balancer, "a", 3)
    clock.now = 30
    assert pick(balancer) == "a"
    assert pick(balancer, OSError()) == "a"
    assert of(balancer.stats(), "a").cooling_until == 60
    clock.now = 60
    assert pick(balancer) == "a"
    assert not of(balancer.stats(), "a").is_healthy


def test_flapping_backend_stays_out(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, successes_needed=2, cooldown=30, clock=clock)
    fail(balancer, "a")
    for _ in range(50):  # each other call fails
        clock.now += 30
        assert pick(balancer) == "a"
        assert pick(balancer, OSError()) == "a"
        assert set(picks(balancer, 20)) == {"b"}
    assert not of(balancer.stats(), "a").is_healthy


def test_cancelled_probe_lets_the_next_call_probe(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, successes_needed=1, cooldown=30, clock=clock)
    fail(balancer, "a")
    clock.now = 30
    assert pick(balancer, asyncio.CancelledError()) == "a"
    assert not of(balancer.stats(), "a").is_healthy
    assert pick(balancer) == "a"
    assert of(balancer.stats(), "a").is_healthy


def test_probe_that_never_ends_is_followed_by_another_after_a_cooldown(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, successes_needed=1, cooldown=30, clock=clock)
    fail(balancer, "a")
    clock.now = 30
    stuck = balancer.lease_nowait()
    assert stuck.__enter__() == "a"
    clock.now = 59.999
    assert pick(balancer) == "b"
    clock.now = 60
    assert pick(balancer) == "a"
    assert of(balancer.stats(), "a").is_healthy
    stuck.__exit__(None, OSError(), None)  # from before it came back
    assert of(balancer.stats(), "a").is_healthy


def test_later_cooldown_does_not_shorten_the_one_before(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, cooldown=30, clock=clock)
    balancer.cool_down("a", 300)
    balancer.cool_down("a", 5)
    assert of(balancer.stats(), "a").cooling_until == 300
    balancer.cool_down("a", 400)
    assert of(balancer.stats(), "a").cooling_until == 400


def test_cooldown_while_a_probe_runs_outlasts_its_success(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, successes_needed=1, cooldown=30, clock=clock)
    fail(balancer, "a")
    clock.now = 30
    with balancer.lease_nowait() as backend:
        assert backend == "a"
        balancer.cool_down("a", 100)
    assert of(balancer.stats(), "a").cooling_until == 130
    assert set(picks(balancer, 20)) == {"b"}


def test_late_results_do_not_bring_a_backend_back_or_out(clock: FakeClock) -> None:
    balancer = Balancer("a", max_failures=1, successes_needed=1, cooldown=30, clock=clock)
    early = [balancer.lease_nowait() for _ in range(4)]
    for lease in early:
        lease.__enter__()
    fail(balancer, "a")
    clock.now = 30
    early[0].__exit__(None, None, None)
    early[1].__exit__(None, OSError(), None)
    stats = of(balancer.stats(), "a")
    assert (stats.is_healthy, stats.cooling_until) == (False, 30)
    assert pick(balancer) == "a"
    for lease in early[2:]:
        lease.__exit__(None, OSError(), None)
    stats = of(balancer.stats(), "a")
    assert (stats.is_healthy, stats.load, stats.failures) == (True, 0, 4)


def test_error_that_is_no_failure_counts_neither_way(clock: FakeClock) -> None:
    balancer = Balancer(
        "a", max_failures=2, is_failure=lambda error: isinstance(error, OSError), clock=clock
    )
    for error in (OSError(), KeyError(), KeyError(), OSError()):
        pick(balancer, error)
    stats = of(balancer.stats(), "a")
    assert (stats.is_healthy, stats.failures) == (False, 2)


def test_error_of_is_failure_does_not_hide_the_callers_nor_leak_the_lease(
    clock: FakeClock,
) -> None:
    def broken(error: Exception) -> bool:
        raise ZeroDivisionError("no judgement")

    balancer = Balancer("a", max_failures=1, is_failure=broken, clock=clock)
    with pytest.raises(KeyError) as caught, balancer.lease_nowait():
        raise KeyError("mine")
    assert caught.value.__notes__ == ["is_failure raised ZeroDivisionError('no judgement')"]
    stats = of(balancer.stats(), "a")
    assert (stats.load, stats.is_healthy) == (0, False)


# All unhealthy


def test_callers_get_an_error_when_all_are_unhealthy(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, cooldown=30, clock=clock)
    fail(balancer, "a")
    clock.now = 10
    fail(balancer, "b")
    clock.now = 12
    with pytest.raises(AllUnhealthyError, match=r"no backend is healthy.*'a' 0/inf out") as caught:
        pick(balancer)
    assert caught.value.retry_after == 18
    assert pickle.loads(pickle.dumps(caught.value)).retry_after == 18  # noqa: S301
    assert balancer.stats().rejected == 1
    clock.now = 30
    assert pick(balancer) == "a"


def test_waiting_callers_get_each_an_error_when_the_last_backend_goes_out() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, max_failures=1, cooldown=30, clock=now)
        holder = balancer.lease()
        await holder.__aenter__()
        tasks = [asyncio.create_task(balancer.lease().__aenter__()) for _ in range(3)]
        await turns()
        await holder.__aexit__(None, OSError(), None)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [AllUnhealthyError] * 3
        assert len(set(map(id, results))) == 3
        assert balancer.stats().waiting == 0

    run(main())


def test_unhealthy_backends_are_used_when_all_are_and_the_policy_is_to_fail_open(
    clock: FakeClock,
) -> None:
    balancer = Balancer(
        {"a": Backend(capacity=3), "b": Backend(capacity=5)},
        all_unhealthy="fail_open",
        max_failures=1,
        successes_needed=1,
        cooldown=30,
        clock=clock,
    )
    for backend in "ab":
        balancer.cool_down(backend, 30)
    with ExitStack() as stack:
        assert Counter(hold(balancer, stack, 8)) == {"a": 3, "b": 5}
        with pytest.raises(BalancerFullError):
            pick(balancer)
    # They answered, and yet the cooldown stands: who asked for it may know more.
    assert {each.cooling_until for each in balancer.stats().backends} == {30}


def test_healthy_backends_alone_are_used_while_there_are_any_that_fail_open(
    clock: FakeClock,
) -> None:
    balancer = Balancer("ab", all_unhealthy="fail_open", max_failures=1, clock=clock)
    fail(balancer, "a")
    assert set(picks(balancer, 50)) == {"b"}


def test_callers_wait_for_the_first_cooldown_to_end_where_the_policy_is_to_wait() -> None:
    async def main() -> None:
        balancer = Balancer(
            "ab",
            all_unhealthy="wait",
            max_failures=1,
            successes_needed=1,
            cooldown=30,
            clock=now,
        )
        balancer.cool_down("a", 20)
        balancer.cool_down("b", 10)
        leases = [balancer.lease() for _ in range(3)]
        order: list[tuple[str, float]] = []

        async def work(lease: Any) -> None:
            async with lease as backend:
                order.append((backend, now()))
                await asyncio.sleep(3)

        await asyncio.gather(*map(work, leases))
        assert order == [("b", 10), ("b", 13), ("b", 13)]

    run(main())


def test_waiting_for_a_cooldown_ends_with_the_timeout() -> None:
    async def main() -> None:
        balancer = Balancer("a", all_unhealthy="wait", clock=now)
        balancer.cool_down("a", 20)
        with pytest.raises(BalancerTimeoutError):
            await balancer.lease(5).__aenter__()
        assert now() == 5

    run(main())


def test_cooldown_that_ends_while_others_are_busy_frees_a_waiter() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1), "b": Backend()}, cooldown=30, clock=now)
        balancer.cool_down("b", 7)
        async with balancer.lease() as first, balancer.lease() as second:
            assert (first, second, now()) == ("a", "b", 7)

    run(main())


# Ramp-up


def test_recovered_backend_takes_its_full_share_step_by_step(clock: FakeClock) -> None:
    balancer = Balancer(
        "ab", "weighted", max_failures=1, successes_needed=1, cooldown=30, ramp_up=10, clock=clock
    )
    fail(balancer, "a")
    clock.now = 30
    assert pick(balancer) == "a"
    # Of weights s and 1 the first gets s ÷ (1 + s) of the turns.
    for after, share, turns in ((0, 0.1, 100), (0.5, 0.1, 100), (5, 0.5, 367), (10, 1, 550)):
        clock.now = 30 + after
        assert Counter(picks(balancer, 1100))["a"] == pytest.approx(turns, abs=2)
        assert of(balancer.stats(), "a").share == share


@pytest.mark.parametrize(("ramp_up", "flooded_with"), [(10, 7), (0, 49)])
def test_new_backend_is_not_flooded(clock: FakeClock, ramp_up: float, flooded_with: int) -> None:
    balancer = Balancer("ab", ramp_up=ramp_up, clock=clock)
    with ExitStack() as stack:
        hold(balancer, stack, 98)
        balancer.add("new")
        counts = Counter(hold(balancer, stack, 49))
        # Loads ÷ shares become even: 70 ÷ 1, 70 ÷ 1 and 7 ÷ 0.1; without a ramp 49 each.
        assert counts["new"] == pytest.approx(flooded_with, abs=1)


def test_backends_given_at_first_do_not_ramp_up(clock: FakeClock) -> None:
    assert {each.share for each in Balancer("ab", clock=clock).stats().backends} == {1}


# Adding and removing


def test_added_backend_serves_those_who_wait() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        async with balancer.lease():
            lease = balancer.lease()
            waiter = asyncio.create_task(lease.__aenter__())
            await turns()
            balancer.add("b")
            assert await waiter == "b"
            await lease.__aexit__(None, None, None)

    run(main())


def test_removed_backend_gets_no_more_leases_and_those_it_has_end(clock: FakeClock) -> None:
    balancer = Balancer("ab", max_failures=1, clock=clock)
    with ExitStack() as stack:
        hold(balancer, stack, 2)
        balancer.remove("a")
        assert set(picks(balancer, 50)) == {"b"}
        assert balancer.stats().load == 1
    balancer.add("a")
    assert of(balancer.stats(), "a").load == 0


def test_failure_of_a_removed_backend_changes_nothing(clock: FakeClock) -> None:
    balancer = Balancer({"a": Backend(capacity=1)}, max_failures=1, clock=clock)
    lease = balancer.lease_nowait()
    lease.__enter__()
    balancer.remove("a")
    balancer.add("a", Backend(capacity=1))
    lease.__exit__(None, OSError("down"), None)
    assert of(balancer.stats(), "a").is_healthy
    assert picks(balancer, 3) == ["a"] * 3


@pytest.mark.parametrize("policy", ["raise", "fail_open"])
def test_balancer_without_backends_raises(policy: Any) -> None:
    balancer: Balancer[str] = Balancer([], all_unhealthy=policy)
    with pytest.raises(AllUnhealthyError, match="none") as caught:
        pick(balancer)
    assert caught.value.retry_after == math.inf


def test_balancer_without_backends_waits_for_one_where_the_policy_is_to_wait() -> None:
    async def main() -> None:
        balancer: Balancer[str] = Balancer([], all_unhealthy="wait", clock=now)
        lease = balancer.lease()
        waiter = asyncio.create_task(lease.__aenter__())
        await turns()
        balancer.add("a")
        assert await waiter == "a"

    run(main())


def test_removing_the_last_backend_fails_those_who_wait() -> None:
    async def main() -> None:
        balancer = Balancer({"a": Backend(capacity=1)}, clock=now)
        async with balancer.lease():
            waiter = asyncio.create_task(balancer.lease().__aenter__())
            await turns()
            balancer.remove("a")
            with pytest.raises(AllUnhealthyError):
                await waiter

    run(main())


# Idle, reports, bad input


def test_idle_balancer_has_no_timer_and_no_task() -> None:
    async def main() -> None:
        balancer = Balancer(
            {"a": Backend(capacity=1), "b": Backend()}, all_unhealthy="wait", clock=now
        )
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(balancer.lease(5))
        for backend in "ab":
            balancer.cool_down(backend, 30)
        with pytest.raises(BalancerTimeoutError):
            await balancer.lease(5).__aenter__()
        balancer.add("c")

    run(main())  # which looks for timers and tasks


def test_stats_are_frozen_and_complete(clock: FakeClock) -> None:
    balancer = Balancer(
        {"a": Backend(weight=2, capacity=3), "b": Backend()},
        "round_robin",
        max_failures=1,
        cooldown=30,
        clock=clock,
    )
    fail(balancer, "b")
    with balancer.lease_nowait():
        stats = balancer.stats()
    others = stats.picks - 2
    assert stats == BalancerStats(
        backends=(
            BackendStats("a", 2, 1, 3, 1, others + 1, 0, is_healthy=True, cooling_until=None),
            BackendStats("b", 1, 1, None, 0, 1, 1, is_healthy=False, cooling_until=30),
        ),
        load=1,
        waiting=0,
        picks=others + 2,
        failures=1,
        timeouts=0,
        cancelled=0,
        rejected=0,
    )
    with pytest.raises(AttributeError):
        stats.load = 0  # type: ignore[misc]


def test_repr_tells_loads_and_health(clock: FakeClock) -> None:
    balancer = Balancer({"a": Backend(capacity=3), "b": Backend()}, max_failures=1, clock=clock)
    balancer.cool_down("b", 30)
    lease = balancer.lease_nowait()
    assert repr(lease) == "<LeaseNowait of nothing>"
    with lease:
        assert repr(lease) == "<LeaseNowait of 'a'>"
        assert repr(balancer) == (
            "<Balancer least_loaded, 1/2 healthy, 0 waiting, 0 of 1 failed: 'a' 1/3, 'b' 0/inf out>"
        )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"strategy": "random"}, "strategy='random': expected one of least_loaded, p2c, weighted"),
        ({"all_unhealthy": "panic"}, "all_unhealthy='panic': expected one of raise, fail_open"),
        ({"max_failures": 0}, "max_failures=0: expected an integer of at least 1"),
        ({"cooldown": 0}, "cooldown=0: expected a number above 0"),
        ({"cooldown": math.inf}, "cooldown=inf"),
        ({"successes_needed": 0}, "successes_needed=0"),
        ({"ramp_up": -1}, "ramp_up=-1: expected a number from 0"),
        ({"lease_timeout": math.nan}, "lease_timeout=nan"),
        ({"max_waiting": -1}, "max_waiting=-1: expected an integer of at least 0"),
        ({"backends": "aa"}, "backend 'a' is there already"),
    ],
)
def test_setting_out_of_range_is_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(BalancerValueError, match=error):
        Balancer(**({"backends": "ab"} | options))


async def later(*_: object) -> bool:
    return True


@pytest.mark.parametrize(
    "options",
    [
        {"max_failures": 1.5},
        {"cooldown": "30"},
        {"ramp_up": None},
        {"max_waiting": 2.0},
        {"is_failure": later},
        {"clock": 0},
        {"rand": later},
    ],
)
def test_setting_of_the_wrong_type_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(BalancerTypeError, match=next(iter(options))):
        Balancer("ab", **options)


def test_backend_with_a_bad_weight_or_capacity_or_key_is_refused() -> None:
    for weight in (0, -1, math.nan, math.inf):
        with pytest.raises(BalancerValueError, match="weight"):
            Backend(weight=weight)
    with pytest.raises(BalancerValueError, match="capacity=0"):
        Backend(capacity=0)
    with pytest.raises(BalancerTypeError, match=r"capacity=2\.5"):
        Backend(capacity=2.5)  # type: ignore[arg-type]
    with pytest.raises(BalancerTypeError, match="expected a hashable object"):
        Balancer([cast("Any", [])])
    with pytest.raises(BalancerTypeError, match="'a': expected a Backend, got 5"):
        Balancer({"a": cast("Any", 5)})


def test_calls_about_backends_that_are_not_there_name_those_that_are() -> None:
    balancer = Balancer("ab")
    with pytest.raises(BalancerValueError, match="backend 'c' is not there; there are: 'a', 'b'"):
        balancer.remove("c")
    with pytest.raises(BalancerValueError, match="'c' is not there"):
        balancer.cool_down("c", 1)
    with pytest.raises(BalancerTypeError, match="hashable"):
        balancer.remove(cast("Any", []))
    with pytest.raises(BalancerValueError, match="seconds=-1"):
        balancer.cool_down("a", -1)
    with pytest.raises(BalancerValueError, match="'a' is there already"):
        balancer.add("a")
    with pytest.raises(BalancerValueError, match="timeout=-1"):
        balancer.lease(-1)
