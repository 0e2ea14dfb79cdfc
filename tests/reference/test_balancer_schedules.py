"""The balancer under random schedules, in virtual time: its invariants hold after every step."""

import asyncio
import gc
import math
import selectors
from typing import Any, cast

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.balancer import (
    AllUnhealthyError,
    Backend,
    Balancer,
    BalancerFullError,
    BalancerTimeoutError,
    Policy,
    Strategy,
)

TARGETS = st.sampled_from("abcd")
BACKENDS = st.builds(Backend, st.sampled_from([1.0, 2.0]), st.sampled_from([1, 2, None]))
OUTCOMES = {
    "succeed": None,
    "fail": OSError("down"),
    "ignore": KeyError("mine"),
    "cancel": asyncio.CancelledError(),
}
STEPS = st.one_of(
    st.tuples(st.just("lease"), st.sampled_from([None, None, 0.0, 1.0, 7.0])),
    st.tuples(st.just("lease"), st.sampled_from([None, None, 0.0, 1.0, 7.0])),
    st.tuples(st.just("nowait"), st.just(0)),
    st.tuples(st.just("succeed"), st.integers(0, 30)),
    st.tuples(st.just("fail"), st.integers(0, 30)),
    st.tuples(st.just("fail"), st.integers(0, 30)),
    st.tuples(st.just("ignore"), st.integers(0, 30)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("abort"), st.integers(0, 30)),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.just("tick"), st.sampled_from([0.5, 1.0, 3.0, 5.0, 12.0])),
    st.tuples(st.just("add"), TARGETS, BACKENDS),
    st.tuples(st.just("remove"), TARGETS),
    st.tuples(st.just("cool"), TARGETS, st.sampled_from([0.0, 2.0, 20.0])),
)


class JumpingSelector(selectors.DefaultSelector):
    """Takes no time; the loop's clock jumps to the next timer instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events:
            assert timeout is not None, "deadlock: everything waits and no timer is set"
            self.now += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


class Watched(Balancer[str]):
    """Checks each grant against the rules when it is made."""

    grants = queued = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.order: list[int] = []  # of those that waited, as they were served

    async def _wait(self, timeout: float) -> Any:  # noqa: ASYNC109
        self.queued += 1
        number = self.queued
        grant = await super()._wait(timeout)
        self.order.append(number)
        return grant

    def _take(self) -> Any:
        has_waiters = any(not future.done() for future in self._waiters)
        grant = super()._take()
        assert grant is None or not has_waiters, "a newcomer overtook who waits"
        return grant

    def _grant(self, state: Any) -> Any:
        assert self._states[state.target] is state, "it was removed"
        assert state.load < state.capacity
        if state.is_out:
            is_due = max(state.cooling_until, state.probe_ends) <= self._clock()
            is_open = self._policy == "fail_open" and not self.in_rotation()
            assert is_due or is_open, "it is neither healthy nor due for a probe"
        self.grants += 1
        return super()._grant(state)

    def in_rotation(self) -> list[Any]:
        return [state for state in self._states.values() if not state.is_out]


class Schedule:
    """Callers of a balancer, each held up until a step tells how it ends."""

    def __init__(self, balancer: Watched) -> None:
        self.balancer = balancer
        self.loop = asyncio.get_running_loop()
        self.tasks: list[asyncio.Task[str]] = []
        self.holds: list[tuple[Any, asyncio.Future[None]]] = []  # backend's state, how it ends
        self.arrived: list[int] = []  # callers that wait, in order
        self.served: list[int] = []
        self.failures = 0
        self.cooling: dict[int, float] = {}

    async def call(self, number: int, timeout: float | None) -> str:  # noqa: ASYNC109
        """Use one lease; return how it ended."""
        gate: asyncio.Future[None] = self.loop.create_future()
        lease = self.balancer.lease(timeout)
        self.arrived.append(number)
        try:
            async with lease:
                self.served.append(number)
                hold = (cast("Any", lease._grant).state, gate)
                self.holds.append(hold)
                try:
                    await gate
                finally:
                    self.holds.remove(hold)
        except (BalancerTimeoutError, AllUnhealthyError, OSError, KeyError) as error:
            self.failures += type(error) is OSError
            return type(error).__name__
        return "served"

    def step(self, name: str, what: Any, *rest: Any) -> None:
        """Take a step that needs no time."""
        balancer = self.balancer
        if name == "lease":
            self.tasks.append(self.loop.create_task(self.call(len(self.tasks), what)))
        elif name == "nowait":
            self.take_at_once()
        elif name == "abort" and self.tasks:
            self.tasks[what % len(self.tasks)].cancel()
        elif name in OUTCOMES:
            self.end(name, what)
        elif name == "add" and what not in balancer._states:
            balancer.add(what, *rest)
        elif name == "remove" and what in balancer._states:
            balancer.remove(what)
        elif name == "cool" and what in balancer._states:
            balancer.cool_down(what, *rest)

    def take_at_once(self) -> None:
        try:
            with self.balancer.lease_nowait():
                pass
        except (BalancerFullError, AllUnhealthyError):
            assert not self.balancer._ready or self.balancer.stats().waiting

    def end(self, name: str, which: int) -> None:
        gates = [gate for _, gate in self.holds if not gate.done()]
        if not gates:
            return
        gate, error = gates[which % len(gates)], OUTCOMES[name]
        if name == "cancel":
            gate.cancel()
        elif error is None:
            gate.set_result(None)
        else:
            gate.set_exception(type(error)(*error.args))

    def check(self) -> None:
        """Check what holds at any time."""
        balancer, stats = self.balancer, self.balancer.stats()
        assert stats.waiting >= 0
        assert stats.picks == balancer.grants
        states = list(balancer._states.values())
        for state in states:
            assert 0 <= state.load <= state.capacity
            assert 0.1 <= state.share <= 1
        ready = {id(s) for s in states if not s.is_out and s.load < s.capacity}
        assert [balancer._ready[s.position] is s for s in balancer._ready].count(False) == 0
        assert {id(state) for state in balancer._ready} == ready
        assert {id(state) for state in balancer._out} == {id(s) for s in states if s.is_out}
        assert len(balancer._out) == sum(state.is_out for state in states)
        if any(not future.done() for future in balancer._waiters):
            self.check_nothing_is_kept_from_waiters()
        cooling = {id(state): state.cooling_until for state in balancer._out}
        for key, until in cooling.items():
            assert until >= self.cooling.get(key, -math.inf), "a cooldown was cut short"
        self.cooling = cooling

    def check_nothing_is_kept_from_waiters(self) -> None:
        balancer = self.balancer
        assert not balancer._ready
        roomy = [state for state in balancer._out if state.load < state.capacity]
        if not balancer.in_rotation():
            assert balancer._policy == "wait" or (balancer._policy == "fail_open" and not roomy)
        if roomy:
            timer = balancer._timer
            assert timer is not None
            assert not timer.cancelled()
            next_probe = min(max(s.cooling_until, s.probe_ends) for s in roomy)
            assert timer.when() == pytest.approx(next_probe)

    def check_settled(self) -> None:
        """Check what holds when every task has run as far as it can."""
        stats = self.balancer.stats()
        for state in self.balancer._states.values():
            assert state.load == sum(each is state for each, _ in self.holds)
        ended = {number for number, task in enumerate(self.tasks) if task.done()}
        assert stats.waiting == len(set(self.arrived) - set(self.served) - ended)
        assert stats.failures == self.failures
        assert self.balancer.order == sorted(self.balancer.order), "first come, first served"


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def play(policy: Policy, strategy: Strategy, steps: list[tuple[Any, ...]]) -> None:
    balancer = Watched(
        {"a": Backend(capacity=1), "b": Backend(capacity=2)},
        strategy,
        all_unhealthy=policy,
        max_failures=2,
        cooldown=5,
        successes_needed=2,
        ramp_up=6,
        is_failure=lambda error: isinstance(error, OSError),
        clock=asyncio.get_running_loop().time,
    )
    schedule = Schedule(balancer)
    for name, *what in steps:
        if name == "turn":
            await turns(what[0])
        elif name == "tick":
            await asyncio.sleep(what[0])
            await turns(6)
            schedule.check_settled()
        else:
            schedule.step(name, *what)
        schedule.check()
    await finish(schedule)


async def finish(schedule: Schedule) -> None:
    """End all calls; the balancer must be as new."""
    balancer = schedule.balancer
    await turns(6)
    schedule.check_settled()
    for number in range(len(schedule.tasks)):  # half of them are answered, half are cancelled
        schedule.end("succeed", 0)
        await turns(3)
        schedule.tasks[-number - 1].cancel()
        await turns(3)
        schedule.check()
    if schedule.tasks:
        await asyncio.wait(schedule.tasks)
    stats = balancer.stats()
    assert (stats.load, stats.waiting, len(schedule.holds)) == (0, 0, 0)
    assert balancer._timer is None
    assert len(schedule.served) == len(set(schedule.served)), "each was served once"
    outcomes = ["cancelled" if task.cancelled() else task.result() for task in schedule.tasks]
    assert outcomes.count("BalancerTimeoutError") == stats.timeouts
    await asyncio.sleep(100)  # longer than any cooldown: every backend can be had again
    for _ in range(10 * len(balancer._states)):
        async with balancer.lease(0):
            pass
    assert not balancer._out


@pytest.mark.parametrize("strategy", ["least_loaded", "p2c", "weighted", "round_robin"])
@pytest.mark.parametrize("policy", ["raise", "fail_open", "wait"])
def test_random_schedules_keep_the_invariants(policy: Policy, strategy: Strategy) -> None:
    problems: list[dict[str, Any]] = []

    @seed(9)
    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(STEPS, min_size=40, max_size=120))
    def run(steps: list[tuple[Any, ...]]) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: problems.append(context))
            runner.run(play(policy, strategy, steps))
            assert not problems, problems

    run()
    gc.collect()  # an error that nobody took would be reported now
    assert not problems, problems
