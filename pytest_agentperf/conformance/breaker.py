"""A suite for circuit breakers: `class TestOurs(BreakerConformance)` with one `make_breaker`."""

from pytest_agentperf.conformance.breaker_basics import ConcurrencyTests, StateTests

__all__ = ["BreakerConformance"]


class BreakerConformance(StateTests, ConcurrencyTests):
    """Tests of a breaker with `await breaker.call(function)`; or override `call`.

    Define `make_breaker(self, *, max_failures, reset_timeout, clock)`; make it async if that suits
    you. Nothing else is passed to it.

    A breaker passes results and errors on. It opens after `max_failures` failures in a row and then
    rejects calls without making them, each by a new exception. After `reset_timeout` it lets one
    call through at a time: a success closes it, a failure opens it again. A cancelled call counts
    neither way. Times are never looked at exactly at `reset_timeout`.

    Attributes:
        supports_clock: It goes by the clock given. False: it goes by real time, and tests wait.
        supports_async: It calls async functions. False: plain ones, and without the tests of
            calls at the same time.
        supports_generations: What began before the circuit opened and closed no longer counts.
        supports_ignored: Errors of the type `ignored` are no failures; let your factory see to it.
        supports_probe_timeout: A call of a half-open circuit that never ends gives its place up
            after `probe_timeout` seconds; let your factory see to it.
    """

    def test_any_program_sees_the_right_state(self) -> None:
        """Random programs against a model; a failure is shrunk to a short program.

        Seen in App-vNext/Polly#131 and nodeshift/opossum#119.
        """
        self.need("supports_clock")
        from pytest_agentperf.conformance.breaker_machine import BreakerMachine

        self.play_machine(lambda: BreakerMachine(self))
