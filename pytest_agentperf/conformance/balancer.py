"""A suite for load balancers: `class TestOurs(BalancerConformance)` with one `make_balancer`."""

from pytest_agentperf.conformance.balancer_basics import CapacityTests, HealthTests, LoadTests

__all__ = ["BalancerConformance"]


class BalancerConformance(LoadTests, CapacityTests, HealthTests):
    """Tests of a balancer whose `acquire()` or `lease()` is a context manager of one backend.

    Sync or async; or `pick()` returns a backend, which `release(backend)` gives back; or override
    `lease`. Define `make_balancer(self, *, backends, clock)`; make it async if that suits you.
    Nothing else is passed to it. All backends are alike, and none is slow or new for long: switch
    off what grows shares slowly.

    Attributes:
        supports_even_load: Leases held at the same time spread evenly, as by round-robin and by
            least load; False for a random choice.
        supports_least_load: So they do whatever went before: a lease goes to a backend with the
            fewest. Not so by round-robin.
        supports_capacity: A backend has at most `capacity` leases at a time, and further callers
            wait; let your factory pass `self.capacity` on.
        supports_fifo: They are served in the order in which they came.
        supports_health: A backend is out of rotation after `max_failures` leases in a row whose
            block raised, for `cooldown` seconds; let your factory pass them on. It is back, at the
            latest, after `max_failures` leases without an error.
    """

    def test_any_schedule_leaves_nobody_waiting_and_no_load_behind(self) -> None:
        """Random schedules of leases and cancellations; shrunk to a short program.

        Seen in BerriAI/litellm#40401 (counters drifted, 93.7 % went to one backend).
        """
        from pytest_agentperf.conformance.balancer_machine import BalancerMachine

        self.play_machine(lambda: BalancerMachine(self), steps=25)
