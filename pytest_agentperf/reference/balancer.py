"""A load balancer for asyncio: backends with weight, capacity and health, and a fair queue.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. A strategy is a function that chooses among the backends which are in rotation and
below capacity. A grant counts one up on its backend, its synchronous end one down, so that no
cancellation can split them. While every backend is busy callers queue on one bare future each, and
what becomes free goes to the first of them before a newcomer can take it. A backend that fails goes
out of rotation for a cooldown, then one call at a time probes it, and when it is back its share
grows slowly. What began before a backend went out or came back has no say about it. Nothing polls:
a timer runs only while somebody waits, for a timeout or for a cooldown's end. A balancer belongs to
one thread and, while somebody waits, to one event loop.
"""

import asyncio
import inspect
import math
import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast, get_args

__all__ = [
    "AllUnhealthyError",
    "Backend",
    "BackendStats",
    "Balancer",
    "BalancerError",
    "BalancerFullError",
    "BalancerStats",
    "BalancerTimeoutError",
    "BalancerTypeError",
    "BalancerUsageError",
    "BalancerValueError",
    "Lease",
    "LeaseNowait",
]

B = TypeVar("B", bound=Hashable)
Strategy: TypeAlias = Literal["least_loaded", "p2c", "weighted", "round_robin"]
Policy: TypeAlias = Literal["raise", "fail_open", "wait"]
Rand: TypeAlias = Callable[[], float]
SCANNED: Final = 16  # above so many backends comparing two costs less than looking at all
RAMP_FLOOR: Final = 0.1  # the part of its weight that a recovered or new backend begins with


class BalancerError(Exception):
    """Any error that a balancer raises on purpose."""


class BalancerValueError(BalancerError, ValueError):
    """An argument out of range."""


class BalancerTypeError(BalancerError, TypeError):
    """An argument of the wrong type."""


class BalancerUsageError(BalancerError, RuntimeError):
    """A balancer or lease used where or when it cannot work."""


class BalancerTimeoutError(BalancerError, TimeoutError):
    """No backend became free in time."""


class BalancerFullError(BalancerError, RuntimeError):
    """No backend is free, and the caller may not wait."""


class AllUnhealthyError(BalancerError, RuntimeError):
    """Every backend is out of rotation, or there is none.

    Attributes:
        retry_after: Seconds until one may be probed; `math.inf` if there is none.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class BackendStats:
    """What a backend holds and has counted.

    Attributes:
        backend: As it was given.
        weight: As it was given.
        share: The part of its weight that counts now, in [0.1, 1]: less while it ramps up.
        capacity: Leases that it may have at once; None: any number.
        load: Leases that it has.
        picks: Leases that it got.
        failures: Leases that ended with a failure.
        is_healthy: Whether it is in rotation.
        cooling_until: When it may be probed, on the balancer's clock; None if it is in rotation.
    """

    backend: Any
    weight: float
    share: float
    capacity: int | None
    load: int
    picks: int
    failures: int
    is_healthy: bool
    cooling_until: float | None


@dataclass(frozen=True, slots=True)
class BalancerStats:
    """What a balancer holds and has counted; the counts include removed backends.

    Attributes:
        backends: Those that are there, in the order of their addition.
        load: Leases that these have.
        waiting: Callers that wait.
        picks: Leases granted.
        failures: Leases that ended with a failure.
        timeouts: Callers that waited in vain.
        cancelled: Callers cancelled while they waited.
        rejected: Callers that got a `BalancerFullError` or `AllUnhealthyError`.
    """

    backends: tuple[BackendStats, ...]
    load: int
    waiting: int
    picks: int
    failures: int
    timeouts: int
    cancelled: int
    rejected: int


def _number(name: str, value: object, *, is_positive: bool = False) -> float:
    """Return *value* if it is a number from 0, or above 0 and finite."""
    wanted = f"{name}={value!r}: expected a number {'above' if is_positive else 'from'} 0"
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BalancerTypeError(wanted)
    if not value >= 0 or (is_positive and not 0 < value < math.inf):  # refuses NaN too
        raise BalancerValueError(wanted)
    return float(value)


def _count(name: str, value: object, minimum: int = 1) -> int:
    """Return *value* if it is an integer of at least *minimum*."""
    wanted = f"{name}={value!r}: expected an integer of at least {minimum}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise BalancerTypeError(wanted)
    if value < minimum:
        raise BalancerValueError(wanted)
    return value


def _one_of(name: str, value: object, choices: Iterable[str]) -> None:
    if value not in tuple(choices):
        raise BalancerValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def _function(name: str, value: object) -> None:
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise BalancerTypeError(f"{name}={value!r}: expected a function that is not async")


@dataclass(frozen=True, slots=True)
class Backend:
    """The power and the limit of a backend.

    Attributes:
        weight: Its power beside the others'; above 0.
        capacity: Leases that it may have at once; None: any number.
    """

    weight: float = 1.0
    capacity: int | None = None

    def __post_init__(self) -> None:
        _number("weight", self.weight, is_positive=True)
        if self.capacity is not None:
            _count("capacity", self.capacity)


@dataclass(slots=True, eq=False)
class _State(Generic[B]):
    """A backend as the balancer sees it."""

    target: B
    backend: Backend
    weight: float
    capacity: float
    share: float = 1.0
    load: int = 0
    credit: float = 0.0  # of `smooth_weighted` alone
    position: int = -1  # among those ready for a lease; -1: it is not ready
    is_out: bool = False  # of rotation
    is_gone: bool = False  # removed: its leases only end
    term: int = 0  # grows when it goes out or comes back
    streak: int = 0  # failures in a row in rotation, successes in a row out of it
    cooling_until: float = -math.inf
    probe: "_Grant[B] | None" = None
    probe_ends: float = -math.inf  # then another may probe, even if that one has not ended
    ramp_began: float = 0.0
    picks: int = 0
    failures: int = 0

    def has_room(self) -> bool:
        return self.load < self.capacity

    def due(self) -> float:
        """Return when it may be probed, if it is out."""
        return max(self.cooling_until, self.probe_ends)

    def cost(self) -> float:
        """Return the load with one more lease, by the power that carries it."""
        return (self.load + 1) / (self.weight * self.share)


@dataclass(slots=True, eq=False)
class _Grant(Generic[B]):
    """One lease of a backend."""

    state: _State[B]
    term: int


def two_choices(ready: Sequence[_State[B]], rand: Rand) -> _State[B]:
    """Choose the less loaded of two at random (Mitzenmacher, IEEE TPDS 12(10), 2001)."""
    if len(ready) == 1:
        return ready[0]
    first, second = int(rand() * len(ready)), int(rand() * (len(ready) - 1))
    return min(ready[first], ready[second + (second >= first)], key=_State.cost)


def least_loaded(ready: Sequence[_State[B]], rand: Rand) -> _State[B]:
    """Choose the least load ÷ weight; ties at random, lest the first run hot."""
    if len(ready) > SCANNED:
        return two_choices(ready, rand)
    costs = [state.cost() for state in ready]
    least = min(costs)
    ties = [state for state, cost in zip(ready, costs, strict=True) if cost == least]
    return ties[int(rand() * len(ties))]


def smooth_weighted(ready: Sequence[_State[B]], _: Rand) -> _State[B]:
    """Choose in turn by weight, evenly spread: the smooth weighted round-robin of nginx.

    Whoever is not ready neither earns nor spends, so that its turns fall to all others alike and
    not to a neighbour (npgsql/npgsql#4181).
    """
    for state in ready:
        state.credit += state.weight * state.share
    chosen = max(ready, key=lambda state: state.credit)
    chosen.credit -= sum(state.weight * state.share for state in ready)
    return chosen


STRATEGIES: Final[dict[Strategy, Callable[[Sequence[_State[Any]], Rand], _State[Any]]]] = {
    "least_loaded": least_loaded,
    "p2c": two_choices,
    "weighted": smooth_weighted,
    "round_robin": smooth_weighted,  # with equal weights
}


class _Lease(Generic[B]):
    def __init__(self, balancer: "Balancer[B]", timeout: float) -> None:
        self._balancer, self._timeout = balancer, timeout
        self._grant: _Grant[B] | None = None
        self._is_used = False

    def _use(self) -> None:
        if self._is_used:
            raise BalancerUsageError(f"{self!r} was used before: ask the balancer for one a block")
        self._is_used = True

    def _end(self, error: BaseException | None) -> None:
        grant, self._grant = self._grant, None
        if grant is not None:
            self._balancer._end(grant, error)  # noqa: SLF001

    def __repr__(self) -> str:
        held = "nothing" if self._grant is None else repr(self._grant.state.target)
        return f"<{type(self).__name__} of {held}>"


class Lease(_Lease[B]):
    """One lease, from `Balancer.lease`: `async with balancer.lease() as backend:`."""

    async def __aenter__(self) -> B:
        self._use()
        balancer = self._balancer
        grant = balancer._take() or await balancer._wait(self._timeout)  # noqa: SLF001
        self._grant = grant
        return grant.state.target

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end(error)


class LeaseNowait(_Lease[B]):
    """One lease, from `Balancer.lease_nowait`: `with balancer.lease_nowait() as backend:`."""

    def __enter__(self) -> B:
        self._use()
        grant = self._balancer._take()  # noqa: SLF001
        if grant is None:
            raise self._balancer._refusal("no backend is free")  # noqa: SLF001
        self._grant = grant
        return grant.state.target

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end(error)


class Balancer(Generic[B]):
    """Share calls among backends: `async with balancer.lease() as backend:`.

    An `Exception` that leaves the block is a failure of its backend; a cancellation is neither that
    nor a success.

    Args:
        backends: What leases give: addresses, clients, agents; hashable. A mapping tells the weight
            and the capacity of each: `{"big": Backend(weight=3), "small": Backend(capacity=10)}`.
        strategy: `least_loaded` by weight, which compares but two above 16 backends; `p2c`, which
            always does; `weighted`, smooth weighted round-robin; `round_robin`, without weights.
        all_unhealthy: What a caller gets while every backend is out of rotation and none due for a
            probe: `raise`, an `AllUnhealthyError`; `fail_open`, any backend below capacity; `wait`,
            the first that may be probed.
        max_failures: Failures in a row that take a backend out of rotation.
        cooldown: Seconds that it stays out before a call probes it, and after which another call
            does if that one has not ended.
        successes_needed: Probes in a row that bring it back.
        ramp_up: Seconds in which the share of a recovered or added backend grows from a tenth of
            its weight to all of it; 0: at once.
        lease_timeout: Seconds that a caller waits at most; None: for ever.
        max_waiting: Callers that may wait; one more gets `BalancerFullError`. None: any number.
        is_failure: Function of an `Exception` that tells whether it is a failure of the backend;
            the others count neither way. If it raises, the lease counts as failed.
        clock: Seconds; never goes back.
        rand: A random number in [0, 1).

    Raises:
        BalancerValueError: An argument is out of range, or a backend is given twice.
        BalancerTypeError: An argument has the wrong type.
    """

    def __init__(  # noqa: PLR0913
        self,
        backends: Iterable[B] | Mapping[B, Backend],
        strategy: Strategy = "least_loaded",
        *,
        all_unhealthy: Policy = "raise",
        max_failures: int = 3,
        cooldown: float = 30.0,
        successes_needed: int = 2,
        ramp_up: float = 10.0,
        lease_timeout: float | None = None,
        max_waiting: int | None = None,
        is_failure: Callable[[Exception], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rand: Rand = random.random,
    ) -> None:
        _one_of("strategy", strategy, STRATEGIES)
        _one_of("all_unhealthy", all_unhealthy, get_args(Policy))
        if is_failure is not None:
            _function("is_failure", is_failure)
        _function("clock", clock)
        _function("rand", rand)
        self._strategy, self._policy, self._is_failure = strategy, all_unhealthy, is_failure
        self._clock, self._rand = clock, rand
        self._max_failures = _count("max_failures", max_failures)
        self._cooldown = _number("cooldown", cooldown, is_positive=True)
        self._successes_needed = _count("successes_needed", successes_needed)
        self._ramp_up = _number("ramp_up", ramp_up)
        self._lease_timeout = self._max_waiting = math.inf
        if lease_timeout is not None:
            self._lease_timeout = _number("lease_timeout", lease_timeout)
        if max_waiting is not None:
            self._max_waiting = _count("max_waiting", max_waiting, 0)
        self._choose_ready = STRATEGIES[strategy]
        self._states: dict[B, _State[B]] = {}
        self._ready: list[_State[B]] = []  # in rotation and below capacity, in any order
        self._out: list[_State[B]] = []
        self._ramping: list[_State[B]] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # of those who wait
        self._forget_waiters()
        self._picks = self._failures = self._timeouts = self._cancelled = self._rejected = 0
        for target in backends:
            known = backends[target] if isinstance(backends, Mapping) else Backend()
            self._add(target, known)

    def lease(self, timeout: float | None = None) -> Lease[B]:
        """Return a lease to enter with `async with`, which waits while every backend is busy.

        Args:
            timeout: Seconds to wait at most; 0 does not wait, `math.inf` waits for ever, None takes
                the balancer's `lease_timeout`.

        Raises (when the lease is entered):
            BalancerTimeoutError: No backend became free in time.
            BalancerFullError: `max_waiting` callers wait already.
            AllUnhealthyError: Every backend is out of rotation, and the policy is to raise.
            BalancerUsageError: Callers of another event loop wait, or the lease was used before.
        """
        return Lease(self, self._lease_timeout if timeout is None else _number("timeout", timeout))

    def lease_nowait(self) -> LeaseNowait[B]:
        """Return a lease to enter with `with`, which never waits.

        Raises (when the lease is entered):
            BalancerFullError: No backend is free, or others wait.
            AllUnhealthyError: Every backend is out of rotation, and the policy is to raise.
            BalancerUsageError: The lease was used before.
        """
        return LeaseNowait(self, 0)

    def add(self, target: B, backend: Backend = Backend()) -> None:
        """Add *target*; its share grows like that of a recovered one, lest it be flooded.

        Raises:
            BalancerValueError: It is there already.
        """
        self._ramp_from_now(self._add(target, backend))
        self._pump()

    def remove(self, target: B) -> None:
        """Give no more leases of *target*; those under way end as they would.

        Raises:
            BalancerValueError: It is not there.
        """
        state = self._find(target)
        del self._states[target]
        state.is_gone = True
        self._drop(state)
        self._pump()

    def cool_down(self, target: B, seconds: float) -> None:
        """Take *target* out of rotation, as for a `Retry-After`; ends no cooldown sooner.

        Raises:
            BalancerValueError: It is not there, or *seconds* is below 0.
        """
        self._take_out(self._find(target), _number("seconds", seconds))
        self._pump()

    def stats(self) -> BalancerStats:
        """Return what the balancer holds now and has counted since it was made."""
        self._ramp()
        return BalancerStats(
            backends=tuple(self._stats_of(state) for state in self._states.values()),
            load=sum(state.load for state in self._states.values()),
            waiting=self._waiting,
            picks=self._picks,
            failures=self._failures,
            timeouts=self._timeouts,
            cancelled=self._cancelled,
            rejected=self._rejected,
        )

    def _stats_of(self, state: _State[B]) -> BackendStats:
        return BackendStats(
            backend=state.target,
            weight=state.backend.weight,
            share=state.share,
            capacity=state.backend.capacity,
            load=state.load,
            picks=state.picks,
            failures=state.failures,
            is_healthy=not state.is_out,
            cooling_until=state.cooling_until if state.is_out else None,
        )

    def __repr__(self) -> str:
        states = self._states.values()
        loads = ", ".join(
            f"{state.target!r} {state.load}/{state.capacity}{' out' * state.is_out}"
            for state in states
        )
        return (
            f"<Balancer {self._strategy}, {len(states) - len(self._out)}/{len(states)} healthy, "
            f"{self._waiting} waiting, {self._failures} of {self._picks} failed: {loads or 'none'}>"
        )

    # Backends

    def _add(self, target: B, backend: Backend) -> _State[B]:
        if not isinstance(backend, Backend):
            raise BalancerTypeError(f"{target!r}: expected a Backend, got {backend!r}")
        if self._get(target) is not None:
            raise BalancerValueError(f"backend {target!r} is there already; remove it first")
        weight = 1.0 if self._strategy == "round_robin" else backend.weight
        capacity = math.inf if backend.capacity is None else backend.capacity
        state = self._states[target] = _State(target, backend, weight, capacity)
        self._file(state)
        return state

    def _get(self, target: B) -> _State[B] | None:
        try:
            return self._states.get(target)
        except TypeError as error:
            raise BalancerTypeError(f"backend {target!r}: expected a hashable object") from error

    def _find(self, target: B) -> _State[B]:
        state = self._get(target)
        if state is None:
            names = ", ".join(map(repr, self._states)) or "none"
            raise BalancerValueError(f"backend {target!r} is not there; there are: {names}")
        return state

    def _file(self, state: _State[B]) -> None:
        """Put *state* among those ready for a lease, or take it from them; in constant time."""
        is_ready = not state.is_out and not state.is_gone and state.has_room()
        if is_ready and state.position < 0:
            state.position = len(self._ready)
            self._ready.append(state)
        elif not is_ready and state.position >= 0:
            last = self._ready.pop()
            if last is not state:
                self._ready[state.position], last.position = last, state.position
            state.position = -1

    def _drop(self, state: _State[B]) -> None:
        """Take *state* from every list that it does not belong to."""
        for states in (self._out, self._ramping):
            if state in states:
                states.remove(state)
        self._file(state)

    def _ramp_from_now(self, state: _State[B]) -> None:
        if self._ramp_up:
            state.ramp_began = self._clock()
            self._ramping.append(state)

    def _ramp(self) -> None:
        """Let the shares of young backends grow."""
        if not self._ramping:
            return
        now = self._clock()
        for state in self._ramping:
            state.share = min(1.0, max(RAMP_FLOOR, (now - state.ramp_began) / self._ramp_up))
        self._ramping = [state for state in self._ramping if state.share < 1]

    # Health

    def _judge(self, error: BaseException | None) -> bool | None:
        """Return whether what ended with *error* succeeded; None: it tells nothing."""
        if error is None:
            return True
        if not isinstance(error, Exception):
            return None
        try:
            is_failure = self._is_failure is None or self._is_failure(error)
        except Exception as failure:  # noqa: BLE001 - must not replace the caller's error
            error.add_note(f"is_failure raised {failure!r}")
            is_failure = True
        return False if is_failure else None

    def _succeed(self, state: _State[B]) -> None:
        if not state.is_out:
            state.streak = 0
        elif self._clock() >= state.cooling_until:  # not if it was let in by `fail_open`
            state.streak += 1
            if state.streak >= self._successes_needed:
                self._bring_in(state)

    def _fail(self, state: _State[B]) -> None:
        state.streak += 1
        if state.is_out or state.streak >= self._max_failures:
            self._take_out(state, self._cooldown)

    def _take_out(self, state: _State[B], seconds: float) -> None:
        """Take *state* out of rotation, or keep it out, for so long at least."""
        # The later end counts, or a short cooldown would cut a long one: BerriAI/litellm#40130.
        state.cooling_until = max(state.cooling_until, self._clock() + seconds)
        self._begin_term(state, is_out=True)
        self._out.append(state)

    def _bring_in(self, state: _State[B]) -> None:
        state.cooling_until = -math.inf
        self._begin_term(state, is_out=False)
        self._ramp_from_now(state)

    def _begin_term(self, state: _State[B], *, is_out: bool) -> None:
        """Move *state*; leases under way have no more say about it."""
        state.is_out = is_out
        state.term += 1
        state.streak = 0
        state.probe, state.probe_ends = None, -math.inf
        self._drop(state)

    # Leases: synchronous but for the wait itself

    def _take(self) -> _Grant[B] | None:
        """Return a lease if a backend is free and nobody waits."""
        state = None if self._first() else self._choose()
        return None if state is None else self._grant(state)

    def _choose(self) -> _State[B] | None:
        """Return the backend of the next lease; None: the caller must wait."""
        if self._out and (probe := self._due_for_probe()):
            return probe
        self._ramp()
        if self._ready:
            return self._choose_ready(self._ready, self._rand)
        if len(self._out) < len(self._states) or self._policy == "wait":
            return None
        if self._policy == "fail_open" and self._out:
            roomy = [state for state in self._out if state.has_room()]
            return self._choose_ready(roomy, self._rand) if roomy else None
        self._rejected += 1
        after = max(0.0, self._next_probe() - self._clock())
        raise AllUnhealthyError(f"no backend is healthy; {self!r}", after)

    def _due_for_probe(self) -> _State[B] | None:
        # Not a matter of the strategy, which might never choose the smallest share.
        now = self._clock()
        due = [state for state in self._out if state.due() <= now and state.has_room()]
        return min(due, key=_State.due, default=None)

    def _next_probe(self) -> float:
        return min((state.due() for state in self._out if state.has_room()), default=math.inf)

    def _grant(self, state: _State[B]) -> _Grant[B]:
        state.load += 1
        state.picks += 1
        self._picks += 1
        grant = _Grant(state, state.term)
        if state.is_out:
            state.probe, state.probe_ends = grant, self._clock() + self._cooldown
        self._file(state)
        return grant

    def _end(self, grant: _Grant[B], error: BaseException | None) -> None:
        """Take a lease back; what it leaves free goes to whoever has waited longest."""
        state = grant.state
        state.load -= 1
        if state.probe is grant:
            state.probe, state.probe_ends = None, -math.inf
        self._file(state)
        succeeded = self._judge(error)
        if succeeded is False:
            state.failures += 1
            self._failures += 1
        if succeeded is not None and grant.term == state.term and not state.is_gone:
            (self._succeed if succeeded else self._fail)(state)
        if self._waiters:
            self._pump()

    def _refusal(self, why: str) -> BalancerFullError:
        self._rejected += 1
        return BalancerFullError(f"{why}; {self!r}")

    # Waiting

    async def _wait(self, timeout: float) -> _Grant[B]:  # noqa: ASYNC109 - `_expire` counts it
        if timeout == 0:
            raise self._timed_out(timeout)
        if self._waiting >= self._max_waiting:
            raise self._refusal(f"max_waiting={self._max_waiting} callers wait")
        loop = self._bind()
        future: asyncio.Future[_Grant[B]] = loop.create_future()
        self._waiters.append(future)
        self._waiting += 1
        timer = None
        if timeout < math.inf:
            timer = loop.call_later(timeout, self._expire, future, timeout)
        self._pump()
        try:
            return await future
        except BaseException:
            self._abandon(future)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _bind(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, to which those who wait belong."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._first():
                raise BalancerUsageError(f"callers of another event loop wait for {self!r}")
            self._forget_waiters()
            self._loop = loop
        return loop

    def _forget_waiters(self) -> None:
        self._waiters: deque[asyncio.Future[_Grant[B]]] = deque()  # oldest first, some done
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None  # for the next cooldown's end

    def _first(self) -> asyncio.Future[_Grant[B]] | None:
        """Return who has waited longest."""
        if self._waiters and cast("asyncio.AbstractEventLoop", self._loop).is_closed():
            self._forget_waiters()
        while self._waiters and self._waiters[0].done():
            self._waiters.popleft()
        return self._waiters[0] if self._waiters else None

    def _pump(self) -> None:
        """Grant what is free to those who wait, and set the timer for what comes next."""
        while future := self._first():
            try:
                state = self._choose()
            except AllUnhealthyError as error:
                future.set_exception(error)
            else:
                if state is None:
                    break
                future.set_result(self._grant(state))
            self._waiting -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._next_probe()
        if self._waiters and due < math.inf:
            loop = cast("asyncio.AbstractEventLoop", self._loop)
            self._timer = loop.call_later(max(0.0, due - self._clock()), self._pump)

    def _timed_out(self, timeout: float) -> BalancerTimeoutError:
        self._timeouts += 1
        return BalancerTimeoutError(f"no backend became free in {timeout:g} s; {self!r}")

    def _expire(self, future: asyncio.Future[_Grant[B]], timeout: float) -> None:
        if not future.done():
            self._leave()
            future.set_exception(self._timed_out(timeout))

    def _abandon(self, future: asyncio.Future[_Grant[B]]) -> None:
        """Settle the account of a caller that stopped waiting."""
        if future.done() and not future.cancelled():
            if future.exception() is None:  # granted and cancelled in the same tick: pass it on
                self._cancelled += 1
                self._end(future.result(), asyncio.CancelledError())
        elif not future.get_loop().is_closed():  # whose waiters are forgotten
            future.cancel()
            self._cancelled += 1
            self._leave()

    def _leave(self) -> None:
        """Count one waiter less; forget settled ones when they are many: O(1) each, all in all."""
        self._waiting -= 1
        if len(self._waiters) > 2 * self._waiting + 16:
            self._waiters = deque(future for future in self._waiters if not future.done())
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None
