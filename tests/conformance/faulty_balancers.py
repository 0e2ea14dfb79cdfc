"""A right load balancer, and wrong ones."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from tests.conformance.faulty import caught_by


class RightBalancer:
    """Least load, ties in turn, with capacity, a fair queue and health."""

    def __init__(
        self, backends: Any, clock: Any, capacity: int, failures: int, cooldown: float
    ) -> None:
        self.backends: list[str] = [*backends]
        self.clock = clock
        self.capacity, self.max_failures, self.cooldown = capacity, failures, cooldown
        self.load = dict.fromkeys(self.backends, 0)
        self.failures = dict.fromkeys(self.backends, 0)
        self.out_until = dict.fromkeys(self.backends, float("-inf"))
        self.waiters: deque[asyncio.Future[str]] = deque()

    @asynccontextmanager
    async def acquire(self) -> Any:
        backend = await self.take()
        try:
            yield backend
        except BaseException as error:
            self.give(backend, error)
            raise
        else:
            self.give(backend, None)

    async def take(self) -> str:
        backend = self.choose()
        if backend is not None:
            self.load[backend] += 1
            return backend
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiters.append(future)
        try:
            return await future
        except BaseException:
            self.leave(future)
            raise

    def leave(self, future: Any) -> None:
        if future.done() and not future.cancelled():
            self.free(future.result())

    def choose(self) -> str | None:
        ready = [each for each in self.backends if self.is_ready(each)]
        if not ready:
            return None
        backend = min(ready, key=self.cost)
        self.backends.remove(backend)
        self.backends.append(backend)
        return backend

    def cost(self, backend: str) -> float:
        return self.load[backend]

    def is_ready(self, backend: str) -> bool:
        out = [each for each in self.backends if self.clock() < self.out_until[each]]
        is_out = backend in out and len(out) < len(self.backends)
        return not is_out and self.load[backend] < self.capacity

    def give(self, backend: str, error: BaseException | None) -> None:
        if error is None:
            self.failures[backend] = 0
        elif self.is_failure(error):
            self.failures[backend] += 1
            if self.failures[backend] >= self.max_failures:
                self.out_until[backend] = self.clock() + self.cooldown
                self.failures[backend] = 0
        self.free(backend)

    def is_failure(self, error: BaseException) -> bool:
        return isinstance(error, Exception)

    def free(self, backend: str) -> None:
        while self.waiters:
            future = self.next_waiter()
            if not future.done():
                future.set_result(backend)
                return
        self.load[backend] -= 1

    def next_waiter(self) -> Any:
        return self.waiters.popleft()


@caught_by("test_every_backend_is_used")
class TakesTheFirstOfEquals(RightBalancer):
    def choose(self) -> str | None:
        return min(filter(self.is_ready, self.backends), key=self.cost, default=None)


@caught_by("test_single_backend_is_always_used")
class NeedsTwo(RightBalancer):
    def is_ready(self, backend: str) -> bool:
        return len(self.backends) > 1 and super().is_ready(backend)


@caught_by("test_leases_at_the_same_time_spread_evenly")
class FillsOneAfterTheOther(RightBalancer):
    def cost(self, backend: str) -> float:
        return -self.load[backend]


@caught_by("test_load_stays_even_after_leases_were_cancelled")
class KeepsTheLoadOfTheCancelled(RightBalancer):
    def give(self, backend: str, error: BaseException | None) -> None:
        if error is None or isinstance(error, Exception):
            super().give(backend, error)


@caught_by("test_load_stays_even_after_leases_ended_with_errors")
class KeepsTheLoadOfErrors(RightBalancer):
    def give(self, backend: str, error: BaseException | None) -> None:
        super().give(backend, error)
        self.load[backend] += isinstance(error, ValueError)


@caught_by("test_backend_that_is_busy_gets_no_more_than_the_idle")
class CountsLeasesLate(RightBalancer):
    async def take(self) -> str:
        backend = self.backends[0]
        await asyncio.sleep(0)
        self.load[backend] += 1
        return backend


@caught_by("test_error_in_the_block_reaches_the_caller")
class SwallowsErrors(RightBalancer):
    @asynccontextmanager
    async def acquire(self) -> Any:
        backend = await self.take()
        try:
            yield backend
        except ValueError as error:
            self.give(backend, error)
        else:
            self.give(backend, None)


@caught_by("test_two_balancers_share_nothing")
class SharesItsBackends(RightBalancer):
    state: ClassVar[dict[str, Any]] = {}

    def __init__(
        self, backends: Any, clock: Any, capacity: int, failures: int, cooldown: float
    ) -> None:
        super().__init__(backends, clock, capacity, failures, cooldown)
        self.state.update(self.__dict__)
        self.__dict__ = self.state


@caught_by("test_no_backend_has_more_than_its_capacity")
class IgnoresCapacity(RightBalancer):
    def is_ready(self, backend: str) -> bool:
        return self.load[backend] <= self.capacity


@caught_by("test_waiter_is_served_when_a_lease_ends")
class WakesNobody(RightBalancer):
    def free(self, backend: str) -> None:
        self.load[backend] -= 1


@caught_by("test_slot_granted_to_a_cancelled_waiter_goes_to_the_next")
class LosesWhatItGranted(RightBalancer):
    def leave(self, future: Any) -> None:
        pass


@caught_by("test_cancelled_waiter_does_not_block_the_queue")
class WakesTheCancelled(RightBalancer):
    def free(self, backend: str) -> None:
        if self.waiters and self.waiters[0].done():
            self.waiters.popleft()
        else:
            super().free(backend)


@caught_by("test_waiters_are_served_in_the_order_they_came")
class ServesTheLastFirst(RightBalancer):
    def next_waiter(self) -> Any:
        return self.waiters.pop()


@caught_by("test_failing_backend_goes_out_of_rotation")
class KeepsFailingBackends(RightBalancer):
    def is_failure(self, error: BaseException) -> bool:
        return False


@caught_by("test_few_failures_leave_a_backend_in_rotation")
class GivesUpTooEarly(RightBalancer):
    def __init__(
        self, backends: Any, clock: Any, capacity: int, failures: int, cooldown: float
    ) -> None:
        super().__init__(backends, clock, capacity, failures - 1, cooldown)


@caught_by("test_backend_stays_out_for_its_cooldown")
class ComesBackTooEarly(RightBalancer):
    def __init__(
        self, backends: Any, clock: Any, capacity: int, failures: int, cooldown: float
    ) -> None:
        super().__init__(backends, clock, capacity, failures, cooldown / 2)


@caught_by("test_backend_comes_back_after_its_cooldown")
class NeverComesBack(RightBalancer):
    def __init__(
        self, backends: Any, clock: Any, capacity: int, failures: int, cooldown: float
    ) -> None:
        super().__init__(backends, clock, capacity, failures, float("inf"))


@caught_by("test_cancelled_leases_are_no_failures")
class TakesCancellationsForFailures(RightBalancer):
    def is_failure(self, error: BaseException) -> bool:
        return True


@caught_by("test_load_of_a_backend_that_is_out_is_shared_by_all_others")
class GivesTheNeighbourDouble(RightBalancer):
    turn = 0

    def choose(self) -> str | None:
        self.turn += 1
        names = sorted(self.backends)
        for step in range(len(names)):
            name = names[(self.turn + step) % len(names)]
            if self.clock() >= self.out_until[name]:
                return name
        return None


@caught_by("test_balancer_recovers_after_all_backends_failed")
class StaysDown(RightBalancer):
    def is_ready(self, backend: str) -> bool:
        if all(self.clock() < until for until in self.out_until.values()):
            self.out_until = dict.fromkeys(self.out_until, float("inf"))
            raise RuntimeError("no backend is available")
        return self.clock() >= self.out_until[backend] and super().is_ready(backend)
