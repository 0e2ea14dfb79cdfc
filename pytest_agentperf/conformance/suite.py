"""What all suites share: how a test runs, what it says, and how a capability is declared."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import pytest

from pytest_agentperf.conformance.stuck import call_within
from pytest_agentperf.conformance.virtual import Runner, VirtualClock
from pytest_agentperf.core.errors import AgentPerfError

__all__ = [
    "ConformanceError",
    "ContractError",
    "Suite",
    "expect",
    "require",
    "run_without_loop",
    "scenario",
    "settle",
]

S = TypeVar("S", bound="Suite")


class ConformanceError(AgentPerfError, AssertionError):
    """A component does what it must not do."""


class ContractError(AgentPerfError, TypeError):
    """A factory returned what the suite cannot use."""


# Not `assert`: pytest rewrites the assertions of test modules, not of every installed package.


def require(condition: object, message: str) -> None:
    """Fail the test with *message* unless *condition* holds."""
    __tracebackhide__ = True
    if not condition:
        raise ConformanceError(message)


def expect(got: object, wanted: object, what: str) -> None:
    """Fail the test unless *got* equals *wanted* and has its type."""
    __tracebackhide__ = True
    if type(got) is not type(wanted) or got != wanted:
        raise ConformanceError(f"{what}: got {got!r}, expected {wanted!r}")


async def settle(value: Any) -> Any:
    """Return *value*, or what it gives when awaited: components may be sync or async."""
    return await value if inspect.isawaitable(value) else value


class Suite:
    """A class whose tests a user inherits.

    Attributes:
        deadline: Real seconds that one test may take; a test that takes longer fails with the
            stacks of what hangs. State machines get four times as much. None: no deadline, and the
            test runs in pytest's own thread, for debuggers and for what is bound to one thread.
        needs_loop: Whether factories and methods are called while an event loop runs. False is for
            sync components that run a loop of their own.
        examples: Random programs that a state machine runs.
    """

    deadline: float | None = 10.0
    needs_loop = True
    examples = 60
    clock: VirtualClock
    runner: Runner

    def play(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one test in virtual time, under the deadline."""
        __tracebackhide__ = True
        call_within(self.deadline, functools.partial(self.run, body))

    def run(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *body* with a clock and, unless `needs_loop` is False, an event loop of its own."""
        __tracebackhide__ = True
        self.clock = VirtualClock()
        if not self.needs_loop:
            run_without_loop(body())
            return
        self.runner = self.new_runner(self.clock)
        try:
            self.runner.run(body())
        finally:
            self.runner.close()

    def play_in_two_loops(
        self,
        first: Callable[[], Coroutine[Any, Any, None]],
        second: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Run a test in two event loops; the first is closed under whatever waits in it."""

        def play() -> None:
            self.clock = VirtualClock()
            self.runner = before = self.new_runner(self.clock)
            try:
                before.run(first())
                before.abandon()
                self.run(second)
            finally:
                before.close()

        if not self.needs_loop:
            pytest.skip("needs_loop = False: it uses no event loop of the suite")
        call_within(self.deadline, play)

    def new_runner(self, clock: VirtualClock) -> Runner:
        """Return what runs coroutines in the virtual time of *clock*."""
        return Runner(clock, 1e9 if self.deadline is None else 0.8 * self.deadline)

    def play_machine(self, new_machine: Any, steps: int = 30) -> None:
        """Run random programs of a hypothesis state machine; a failure shrinks to a short one."""
        __tracebackhide__ = True
        from hypothesis import HealthCheck, Phase, settings
        from hypothesis.stateful import run_state_machine_as_test

        # The same programs each time: who changed nothing sees no new failure.
        chosen = settings(
            max_examples=self.examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )

        def play() -> None:
            __tracebackhide__ = True
            run_state_machine_as_test(new_machine, settings=chosen)

        call_within(None if self.deadline is None else 4 * self.deadline, play)

    def need(self, capability: str) -> None:
        """Skip the test unless the suite declares *capability*."""
        if not getattr(self, capability):
            name = type(self).__name__
            pytest.skip(f"{capability} = False: {name} declares that its component lacks it")

    async def made(self, factory: Callable[..., Any], methods: str, **arguments: Any) -> Any:
        """Return what *factory* makes, if it has all of *methods*."""
        __tracebackhide__ = True
        component = await settle(factory(**arguments))
        names = methods.split()
        missing = [name.split("|")[0] for name in names if not _has(component, name)]
        if missing:
            raise ContractError(
                f"{type(self).__name__}.{factory.__name__} returned {component!r} without "
                f"{', '.join(missing)}: return what has {', '.join(names)}, or a short adapter"
            )
        return component


def _has(component: object, method: str) -> bool:
    return any(
        callable(getattr(type(component), name, None)) or callable(getattr(component, name, None))
        for name in method.split("|")
    )


def run_without_loop(body: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that awaits nothing, without any event loop."""
    try:
        body.send(None)
    except StopIteration:
        return
    body.close()
    raise ContractError("needs_loop = False, but the component is async; leave needs_loop True")


Scenario: TypeAlias = Callable[[S], Coroutine[Any, Any, None]]


def scenario(*needs: str) -> Callable[[Scenario[S]], Callable[[S], None]]:
    """Return a decorator that makes a test of an async method; *needs* are capabilities."""

    def decorate(body: Scenario[S]) -> Callable[[S], None]:
        @functools.wraps(body)
        def test(self: S) -> None:
            __tracebackhide__ = True
            for capability in needs:
                self.need(capability)
            self.play(functools.partial(body, self))

        del test.__dict__["__wrapped__"]  # or plugins take it for async
        return test

    return decorate
