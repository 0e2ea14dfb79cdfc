"""What every circuit breaker promises, one call after the other and several at a time."""

import asyncio
from typing import Any

from pytest_agentperf.conformance.breaker_subject import (
    BreakerSubject,
    BreakerSuite,
    made,
)
from pytest_agentperf.conformance.suite import expect, require, scenario

__all__ = ["ConcurrencyTests", "StateTests"]


class StateTests(BreakerSuite):
    """Closed, open, half-open."""

    @scenario()
    async def test_results_and_errors_reach_the_caller_as_they_are(self) -> None:
        """Seen in danielfm/pybreaker#60 and spring-attic/spring-retry#82 (errors replaced)."""
        breaker = await self.new_breaker(3)
        await breaker.succeed()
        for _ in range(3):  # the one that opens the circuit too
            outcome = await breaker.attempt(ValueError("failure"), is_exact=True)
            expect(outcome, "raised", "a call that fails")

    @scenario()
    async def test_circuit_opens_after_max_failures_and_not_before(self) -> None:
        """Seen in axisrow/tg_content_factory#1394 (a count other than what was said)."""
        for max_failures in (1, 2, 5):
            breaker = await self.new_breaker(max_failures)
            for number in range(max_failures):
                outcome = await breaker.attempt(ValueError("failure"))
                what = f"call {number + 1} of those that fail, with max_failures={max_failures}"
                expect(outcome, "raised", what)
            what = f"a call after {max_failures} failures, with max_failures={max_failures}"
            expect(await breaker.attempt(), "rejected", what)

    @scenario()
    async def test_success_begins_the_count_of_failures_anew(self) -> None:
        """Seen in App-vNext/Polly#131 and soundcloud/simple_circuit_breaker#1."""
        breaker = await self.new_breaker()
        for _ in range(4):
            await breaker.fail(2)
            await breaker.succeed()

    @scenario()
    async def test_open_circuit_makes_no_call_until_its_time_is_over(self) -> None:
        """Seen in nodeshift/opossum#119 (the flood-gates were open)."""
        breaker = await self.new_breaker()
        await breaker.open()
        await breaker.wait(self.early)
        await breaker.reject()

    @scenario()
    async def test_open_circuit_lets_a_call_through_when_its_time_is_over(self) -> None:
        """Seen in connor4312/cockatiel#91 and failsafe-go/failsafe-go#97 (open for ever)."""
        breaker = await self.new_breaker()
        await breaker.open()
        await breaker.wait(self.late)
        expect(
            await breaker.attempt(), "returned", f"a call {self.late:g} s after the circuit opened"
        )

    @scenario()
    async def test_rejected_calls_do_not_prolong_the_time(self) -> None:
        """Seen in Abilityai/trinity#688 (each one began it anew)."""
        breaker = await self.new_breaker()
        await breaker.open()
        for _ in range(9):
            await breaker.wait(self.early / 9)
            await breaker.reject()
        await breaker.wait(self.late - self.early)
        expect(await breaker.attempt(), "returned", "a call after the time, with others rejected")

    @scenario()
    async def test_successful_probe_closes_the_circuit(self) -> None:
        """Seen in auth0/disyuntor#6 (half-open for ever)."""
        breaker = await self.new_breaker()
        await breaker.open()
        await breaker.wait(self.late)
        await breaker.succeed()
        await breaker.fail(2)
        await breaker.succeed()

    @scenario()
    async def test_failed_probe_opens_the_circuit_for_the_full_time(self) -> None:
        """Seen in msoedov/agentic_security#328, marc-shade/world-intel-mcp#7 and opossum#119."""
        breaker = await self.new_breaker()
        await breaker.open()
        for _ in range(2):
            await breaker.wait(self.late)
            await breaker.fail()
            await breaker.reject()
            await breaker.wait(self.early)
            await breaker.reject()
        await breaker.wait(self.late - self.early)
        await breaker.succeed()

    @scenario()
    async def test_each_rejection_is_a_new_exception(self) -> None:
        """Seen in python/cpython#90873 and aio-libs/async-lru#199 (tracebacks that grow)."""
        breaker = await self.new_breaker()
        await breaker.open()
        errors = [await breaker.reject() for _ in range(3)]
        expect(len({id(each) for each in errors}), 3, "exception objects of 3 rejections")

    @scenario()
    async def test_two_breakers_share_nothing(self) -> None:
        """Seen in alastairtree/LazyCache#198 (state of a class, not of an instance)."""
        one, other = await self.new_breaker(), await self.new_breaker()
        await one.open()
        await other.succeed()

    @scenario("supports_ignored")
    async def test_ignored_error_is_no_failure(self) -> None:
        """Seen in smallrye/smallrye-fault-tolerance#320 (ignored errors counted)."""
        breaker = await self.new_breaker()
        for _ in range(5):
            expect(await breaker.attempt(self.ignored()), "raised", "a call with an ignored error")
        await breaker.succeed()

    @scenario("supports_ignored")
    async def test_probe_that_ends_with_an_ignored_error_makes_room(self) -> None:
        """Seen in resilience4j/resilience4j#544 (stuck in half-open)."""
        breaker = await self.new_breaker()
        await breaker.open()
        await breaker.wait(self.late)
        await breaker.attempt(self.ignored())
        expect(await breaker.attempt(), "returned", "the call after a probe with an ignored error")


class ConcurrencyTests(BreakerSuite):
    """Calls at the same time, cancelled calls, late results."""

    async def _half_open(self) -> BreakerSubject:
        breaker = await self.new_breaker()
        await breaker.open()
        await breaker.wait(self.late)
        return breaker

    @scenario("supports_async")
    async def test_closed_circuit_makes_calls_at_the_same_time(self) -> None:
        """Seen in tkem/cachetools#317 (one lock around all that runs)."""
        breaker = await self.new_breaker()
        gate = asyncio.get_running_loop().create_future()
        calls = [breaker.begin(gate) for _ in range(5)]
        expect(await made(*calls), 5, "calls of a closed circuit under way at the same time")
        gate.set_result("value")
        expect(await asyncio.gather(*calls), ["value"] * 5, "what the callers got")

    @scenario("supports_async")
    async def test_half_open_circuit_makes_one_call_at_a_time(self) -> None:
        """Seen in resilience4j/resilience4j#1432 and pathosDev/actor-ts#457 (20 of 20)."""
        breaker = await self._half_open()
        gate = asyncio.get_running_loop().create_future()
        calls = [breaker.begin(gate) for _ in range(20)]
        expect(await made(*calls), 1, "of 20 calls of a half-open circuit that were made")
        gate.set_result("value")
        await asyncio.gather(*calls, return_exceptions=True)
        await breaker.succeed()

    @scenario("supports_async")
    async def test_cancelled_probe_makes_room_for_the_next(self) -> None:
        """Seen in monix/monix#1080 and resilience4j/resilience4j#935 (half-open for ever)."""
        breaker = await self._half_open()
        probe = breaker.begin(asyncio.get_running_loop().create_future())
        expect(await made(probe), 1, "probes made")
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        require(probe.cancelled(), "a cancelled call did not end so")
        await breaker.wait(self.late)
        expect(await breaker.attempt(), "returned", "a call after the probe was cancelled")

    @scenario("supports_async")
    async def test_cancellation_is_no_failure(self) -> None:
        """Seen in wshobson/maverick-mcp#272 (impatient users opened the circuit)."""
        breaker = await self.new_breaker()
        for _ in range(5):
            call = breaker.begin(asyncio.get_running_loop().create_future())
            await made(call)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        expect(await breaker.attempt(), "returned", "a call after five cancelled ones")

    @scenario("supports_async")
    async def test_late_success_does_not_close_the_circuit(self) -> None:
        """Seen in wshobson/maverick-mcp#272 (a call that began before)."""
        breaker = await self.new_breaker()
        gate = asyncio.get_running_loop().create_future()
        late = breaker.begin(gate)
        await made(late)
        await breaker.open()
        gate.set_result("value")
        expect(await late, "value", "what the caller got whose call began before")
        await breaker.reject()

    @scenario("supports_async", "supports_generations")
    async def test_late_failure_does_not_open_the_circuit_again(self) -> None:
        """Seen in wshobson/maverick-mcp#272 (a call that began before)."""
        breaker = await self.new_breaker(1)
        gate: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        late = breaker.begin(gate)
        await made(late)
        await breaker.open()
        await breaker.wait(self.late)
        await breaker.succeed()
        gate.set_exception(ValueError("late"))
        await asyncio.gather(late, return_exceptions=True)
        expect(await breaker.attempt(), "returned", "a call after a late failure")

    @scenario("supports_async", "supports_probe_timeout")
    async def test_probe_that_never_ends_gives_its_place_up(self) -> None:
        """Seen in diegosouzapw/OmniRoute#13836 and resilience4j/resilience4j#935."""
        breaker = await self._half_open()
        probe = breaker.begin(asyncio.get_running_loop().create_future())
        await made(probe)
        await breaker.wait(0.9 * self.probe_timeout)
        await breaker.reject()
        await breaker.wait(0.2 * self.probe_timeout)
        expect(await breaker.attempt(), "returned", "a call after the time of a probe was over")
