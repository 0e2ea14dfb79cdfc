"""A right circuit breaker, and wrong ones."""

import asyncio
from typing import Any, ClassVar

from tests.conformance.faulty import caught_by


class OpenCircuitError(Exception):
    pass


class RightBreaker:
    """A breaker with everything that the suite can ask for."""

    def __init__(self, max_failures: int, reset_timeout: float, clock: Any, ignored: Any) -> None:
        self.max_failures, self.reset_timeout, self.clock = max_failures, reset_timeout, clock
        self.ignored = ignored
        self.streak = self.generation = 0
        self.opened: float | None = None
        self.probe_until = float("-inf")

    async def call(self, function: Any) -> Any:
        generation = self.enter()
        try:
            result = await function()
        except BaseException as error:
            self.leave(generation, error)
            raise
        self.leave(generation, None)
        return result

    def enter(self) -> int:
        if self.opened is not None:
            if self.clock() < self.opened + self.reset_timeout or self.is_probed():
                self.reject()
            self.probe_until = self.clock() + 60
            self.generation += 1
        return self.generation

    def is_probed(self) -> bool:
        return bool(self.clock() < self.probe_until)

    def reject(self) -> None:
        raise OpenCircuitError

    def leave(self, generation: int, error: BaseException | None) -> None:
        if generation != self.generation:
            return
        self.probe_until = float("-inf")
        if error is None:
            self.close()
        elif self.is_failure(error):
            self.fail()

    def is_failure(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and not isinstance(error, self.ignored)

    def close(self) -> None:
        self.streak = 0
        if self.opened is not None:
            self.opened = None
            self.generation += 1

    def fail(self) -> None:
        self.streak += 1
        if self.opened is not None or self.streak >= self.max_failures:
            self.opened = self.clock()
            self.generation += 1


@caught_by("test_results_and_errors_reach_the_caller_as_they_are")
class ReplacesTheLastError(RightBreaker):
    async def call(self, function: Any) -> Any:
        was_open = self.opened
        try:
            return await super().call(function)
        except ValueError as error:
            if self.opened is not None and was_open is None:
                raise OpenCircuitError from error
            raise


@caught_by("test_circuit_opens_after_max_failures_and_not_before")
class OpensOneTooLate(RightBreaker):
    def __init__(self, max_failures: int, reset_timeout: float, clock: Any, ignored: Any) -> None:
        super().__init__(max_failures + 1, reset_timeout, clock, ignored)


@caught_by("test_success_begins_the_count_of_failures_anew")
class CountsAllFailures(RightBreaker):
    def close(self) -> None:
        streak = self.streak if self.opened is None else 0
        super().close()
        self.streak = streak


@caught_by("test_open_circuit_makes_no_call_until_its_time_is_over")
class OpensForHalfTheTime(RightBreaker):
    def __init__(self, max_failures: int, reset_timeout: float, clock: Any, ignored: Any) -> None:
        super().__init__(max_failures, reset_timeout / 2, clock, ignored)


@caught_by("test_open_circuit_lets_a_call_through_when_its_time_is_over")
class StaysOpen(RightBreaker):
    def enter(self) -> int:
        if self.opened is not None:
            self.reject()
        return super().enter()


@caught_by("test_rejected_calls_do_not_prolong_the_time")
class StaysOpenWhileAsked(RightBreaker):
    def reject(self) -> None:
        self.opened = self.clock()
        super().reject()


@caught_by("test_successful_probe_closes_the_circuit")
class StaysHalfOpen(RightBreaker):
    def close(self) -> None:
        if self.opened is None:
            super().close()


@caught_by("test_failed_probe_opens_the_circuit_for_the_full_time")
class KeepsTheTimeOfTheFirstFailure(RightBreaker):
    def fail(self) -> None:
        opened = self.opened
        super().fail()
        self.opened = self.opened if opened is None else opened


@caught_by("test_each_rejection_is_a_new_exception")
class RaisesTheSameAgain(RightBreaker):
    error = OpenCircuitError()

    def reject(self) -> None:
        raise self.error


@caught_by("test_two_breakers_share_nothing")
class SharesItsState(RightBreaker):
    state: ClassVar[dict[str, Any]] = {}

    def __init__(self, max_failures: int, reset_timeout: float, clock: Any, ignored: Any) -> None:
        super().__init__(max_failures, reset_timeout, clock, ignored)
        self.state.update(self.__dict__)
        self.__dict__ = self.state


@caught_by("test_ignored_error_is_no_failure")
class CountsEveryError(RightBreaker):
    def is_failure(self, error: BaseException) -> bool:
        return isinstance(error, Exception)


@caught_by("test_probe_that_ends_with_an_ignored_error_makes_room")
class IsStuckAfterAnIgnoredError(RightBreaker):
    def leave(self, generation: int, error: BaseException | None) -> None:
        if not isinstance(error, self.ignored):
            super().leave(generation, error)


@caught_by("test_closed_circuit_makes_calls_at_the_same_time")
class CallsOneAtATime(RightBreaker):
    def __init__(self, max_failures: int, reset_timeout: float, clock: Any, ignored: Any) -> None:
        super().__init__(max_failures, reset_timeout, clock, ignored)
        self.turn = asyncio.Lock()

    async def call(self, function: Any) -> Any:
        async with self.turn:
            return await super().call(function)


@caught_by("test_half_open_circuit_makes_one_call_at_a_time")
class LetsAllThroughHalfOpen(RightBreaker):
    def is_probed(self) -> bool:
        return False


@caught_by("test_cancelled_probe_makes_room_for_the_next")
class IsStuckAfterACancelledProbe(RightBreaker):
    def leave(self, generation: int, error: BaseException | None) -> None:
        if not isinstance(error, asyncio.CancelledError):
            super().leave(generation, error)


@caught_by("test_cancellation_is_no_failure")
class CountsCancellations(RightBreaker):
    def is_failure(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError) or super().is_failure(error)


@caught_by("test_late_success_does_not_close_the_circuit")
class IsClosedByALateSuccess(RightBreaker):
    def leave(self, generation: int, error: BaseException | None) -> None:
        super().leave(self.generation if error is None else generation, error)


@caught_by("test_late_failure_does_not_open_the_circuit_again")
class IsOpenedByALateFailure(RightBreaker):
    def leave(self, generation: int, error: BaseException | None) -> None:
        super().leave(generation if error is None else self.generation, error)


@caught_by("test_probe_that_never_ends_gives_its_place_up")
class WaitsForAProbeForEver(RightBreaker):
    def is_probed(self) -> bool:
        return self.probe_until > 0
