"""What a load balancer promises: load, capacity and health."""

import asyncio

from pytest_agentperf.conformance.balancer_subject import SOON, BalancerSuite
from pytest_agentperf.conformance.suite import expect, require, scenario
from pytest_agentperf.conformance.virtual import turns

__all__ = ["CapacityTests", "HealthTests", "LoadTests"]

MANY = 100  # leases, one after the other: a fair choice leaves none of three out
TICKS = range(7)


class LoadTests(BalancerSuite):
    """Who gets how much."""

    @scenario()
    async def test_every_backend_is_used(self) -> None:
        """Seen in varnishcache/varnish-cache#589 and yyyar/gobetween#175 (one never was).

        A tie must not always go to the first: BerriAI/litellm#40401.
        """
        balancer = await self.new_balancer()
        used = set(await balancer.use(MANY))
        expect(used, {*balancer.backends}, f"backends used by {MANY} leases, one after the other")

    @scenario()
    async def test_single_backend_is_always_used(self) -> None:
        """Seen in BerriAI/litellm#8668 (a single one was treated in another way)."""
        balancer = await self.new_balancer(["only"])
        expect(await balancer.use(5), ["only"] * 5, "backends of five leases")

    @scenario("supports_even_load")
    async def test_leases_at_the_same_time_spread_evenly(self) -> None:
        """Seen in zalando/skipper#608 and linkerd/linkerd#1441 (load went to a few)."""
        balancer = await self.new_balancer()
        for _ in range(3):
            await balancer.check_even("by a balancer without disturbance")

    @scenario("supports_even_load")
    async def test_load_stays_even_after_leases_were_cancelled(self) -> None:
        """Seen in BerriAI/litellm#40401 (a missing decrement: 93.7 % went to one backend)."""
        balancer = await self.new_balancer()
        for ticks in TICKS:
            holders = [balancer.ask() for _ in range(2)]
            await turns(ticks)
            for each in holders:
                each.cancel()
            await turns(20)
        await balancer.check_even("after leases were cancelled")

    @scenario("supports_even_load")
    async def test_load_stays_even_after_leases_ended_with_errors(self) -> None:
        """Seen in BerriAI/litellm#40401 and haproxy/haproxy#1003 (counters kept by errors)."""
        balancer = await self.new_balancer()
        for _ in range(2 if self.supports_health else 10):
            for holder in await balancer.hold(len(balancer.backends)):
                holder.end(ValueError("in the block"))
            await turns(20)
            await balancer.end(await balancer.hold(len(balancer.backends)))
        await balancer.check_even("after leases ended with errors")

    @scenario("supports_even_load")
    async def test_backend_that_is_busy_gets_no_more_than_the_idle(self) -> None:
        """Seen in haproxy/haproxy#2744 (a limit looked at before the load was counted)."""
        balancer = await self.new_balancer()
        holders = [balancer.ask() for _ in balancer.backends]
        await turns(20)
        used = sorted(each.backend for each in holders)
        expect(used, [*balancer.backends], "backends of leases taken in the same turn")
        await balancer.end(holders)

    @scenario()
    async def test_error_in_the_block_reaches_the_caller(self) -> None:
        """Seen in CONNECT-Solution/CONNECT#1914 (errors were swallowed)."""
        balancer = await self.new_balancer()
        error = ValueError("in the block")
        (holder,) = await balancer.hold(1)
        holder.end(error)
        await turns(20)
        require(holder.error is error, f"the block raised {error!r}, its caller {holder.error!r}")

    @scenario()
    async def test_two_balancers_share_nothing(self) -> None:
        """Seen in alastairtree/LazyCache#198 (state of a class, not of an instance)."""
        one, other = await self.new_balancer(["a", "b"]), await self.new_balancer(["c", "d"])
        found = [set(await one.use(MANY)), set(await other.use(MANY))]
        expect(found, [{"a", "b"}, {"c", "d"}], "backends used by two balancers")


class CapacityTests(BalancerSuite):
    """Backends that take so many at a time."""

    @scenario("supports_capacity")
    async def test_no_backend_has_more_than_its_capacity(self) -> None:
        """Seen in haproxy/haproxy#2744 (more sessions than the limit)."""
        balancer = await self.new_balancer()
        most = self.capacity * len(balancer.backends)
        holders = [balancer.ask() for _ in range(most + 3)]
        await turns(20)
        served = [each for each in holders if each.is_served]
        expect(len(served), most, f"leases at a time, with capacity={self.capacity}")
        load = sorted(each.backend for each in served)
        expect(load, sorted([*balancer.backends] * self.capacity), "backends of these leases")
        await balancer.end(holders)
        await balancer.end(holders)
        left = sum(not each.task.done() for each in holders)
        expect(left, 0, "callers that still wait after all leases ended")

    @scenario("supports_capacity")
    async def test_waiter_is_served_when_a_lease_ends(self) -> None:
        """Seen in djc/bb8#122 (an end between looking and queueing woke nobody)."""
        for ticks in TICKS:
            balancer = await self.new_balancer(["only"])
            holders = await balancer.hold(self.capacity)
            waiter = balancer.ask()
            await turns(ticks)
            require(not waiter.is_served, f"{self.capacity + 1} leases at a time of one backend")
            holders[0].end()
            await asyncio.sleep(SOON)
            require(waiter.is_served, "a caller still waits after a lease ended")
            await balancer.end([*holders, waiter])

    @scenario("supports_capacity")
    async def test_slot_granted_to_a_cancelled_waiter_goes_to_the_next(self) -> None:
        """Seen in aio-libs/aiohttp#9670 and agronholm/anyio#947 (0 borrowed, 14 waiting)."""
        for ticks in TICKS:
            balancer = await self.new_balancer(["only"])
            holders = await balancer.hold(self.capacity)
            cancelled, waiter = balancer.ask(), balancer.ask()
            await turns()
            holders[0].end()
            await turns(ticks)
            cancelled.cancel()
            await asyncio.sleep(SOON)
            text = f"a slot was lost: its waiter was cancelled {ticks} turns after a lease ended"
            require(waiter.is_served, text)
            await balancer.end([*holders, waiter])
            await balancer.end(await balancer.hold(self.capacity))

    @scenario("supports_capacity")
    async def test_cancelled_waiter_does_not_block_the_queue(self) -> None:
        """Seen in agronholm/anyio#1145 (the cancelled one stayed at the head)."""
        balancer = await self.new_balancer(["only"])
        holders = await balancer.hold(self.capacity)
        waiters = [balancer.ask() for _ in range(3)]
        await turns()
        waiters[0].cancel()
        await turns()
        require(waiters[0].task.cancelled(), "a cancelled caller did not end so")
        await balancer.end(holders[:1])
        await asyncio.sleep(SOON)
        require(waiters[1].is_served, "a caller behind a cancelled one still waits")
        await balancer.end(holders)
        await balancer.end(waiters)
        await balancer.end(waiters)

    @scenario("supports_capacity", "supports_fifo")
    async def test_waiters_are_served_in_the_order_they_came(self) -> None:
        """Seen in golang/go#31708 (a random order has no bound)."""
        balancer = await self.new_balancer(["only"])
        holders = await balancer.hold(self.capacity)
        waiters = [balancer.ask() for _ in range(5)]
        await turns()
        for number, holder in enumerate([*holders[:1], *waiters[:-1]]):
            holder.end()
            await turns(20)
            served = [place for place, each in enumerate(waiters) if each.is_served]
            expect(served, [*range(number + 1)], "callers served so far, by their place")
        await balancer.end([*holders, *waiters])


class HealthTests(BalancerSuite):
    """Backends that fail."""

    @scenario("supports_health")
    async def test_failing_backend_goes_out_of_rotation(self) -> None:
        """Seen in BerriAI/litellm#27610 and envoyproxy/envoy#28304 (still chosen)."""
        balancer = await self.new_balancer()
        await balancer.fail("a", self.max_failures)
        used = set(await balancer.use(MANY))
        expect(used, {"b", "c"}, f"backends used after 'a' failed {self.max_failures} times")

    @scenario("supports_health")
    async def test_few_failures_leave_a_backend_in_rotation(self) -> None:
        """Seen in BerriAI/litellm#8668 (a number of failures other than allowed)."""
        balancer = await self.new_balancer()
        for _ in range(2):
            await balancer.fail("a", self.max_failures - 1)
            used = set(await balancer.use(MANY))
            expect(used, {"a", "b", "c"}, f"backends used after {self.max_failures - 1} failures")

    @scenario("supports_health")
    async def test_backend_stays_out_for_its_cooldown(self) -> None:
        """Seen in BerriAI/litellm#40130 (an earlier, shorter deadline was kept)."""
        balancer = await self.new_balancer()
        await balancer.fail("a", self.max_failures)
        await asyncio.sleep(0.9 * self.cooldown)
        expect(set(await balancer.use(MANY)), {"b", "c"}, "backends used before the cooldown ended")

    @scenario("supports_health")
    async def test_backend_comes_back_after_its_cooldown(self) -> None:
        """Seen in morphik-org/morphik-core#398 and deltawi/deltallm#247 (out for ever)."""
        balancer = await self.new_balancer()
        await balancer.fail("a", self.max_failures)
        await asyncio.sleep(1.1 * self.cooldown)
        await balancer.use(MANY)
        used = set(await balancer.use(MANY))
        expect(used, {"a", "b", "c"}, "backends used after the cooldown")

    @scenario("supports_health")
    async def test_cancelled_leases_are_no_failures(self) -> None:
        """Seen in wshobson/maverick-mcp#272 (impatient users took it out)."""
        balancer = await self.new_balancer()
        await balancer.fail("a", 3 * self.max_failures, asyncio.CancelledError())
        used = set(await balancer.use(MANY))
        expect(used, {"a", "b", "c"}, "backends used after leases were cancelled")

    @scenario("supports_health", "supports_even_load")
    async def test_load_of_a_backend_that_is_out_is_shared_by_all_others(self) -> None:
        """Seen in apache/servicetalk#3021 and npgsql/npgsql#4181 (its neighbour had double)."""
        balancer = await self.new_balancer()
        await balancer.fail("a", self.max_failures)
        found = await balancer.load(2 * max(1, self.capacity - 1))
        expect(found["b"], found["c"], "leases held by 'b' beside those of 'c', with 'a' out")

    @scenario("supports_health")
    async def test_balancer_recovers_after_all_backends_failed(self) -> None:
        """Seen in BerriAI/litellm#3646 (no deployment was ever available again)."""
        balancer = await self.new_balancer()
        for backend in balancer.backends:
            await balancer.fail(backend, self.max_failures)
        caller = balancer.ask()  # raise, wait or fail open: that is the balancer's policy
        await turns(20)
        caller.end()
        await asyncio.sleep(1.1 * self.cooldown)
        require(caller.task.done(), "a caller still waits after the cooldown of all backends")
        await balancer.use(MANY)
        expect(set(await balancer.use(MANY)), {"a", "b", "c"}, "backends used after the cooldown")
