"""The watchdog: looks at an event loop every few milliseconds and tells what held it."""

import sys
from collections import deque
from typing import Final, Protocol

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.concurrency.loop.attribution import Cost, Reading, cause_of
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking, BlockLog
from pytest_agentperf.measure.concurrency.loop.handles import TimedStep
from pytest_agentperf.measure.concurrency.loop.loops import ObservedLoop
from pytest_agentperf.measure.concurrency.loop.steps import (
    IDLE,
    NEXT,
    Stack,
    Step,
    Steps,
    main_stack,
    overlapping,
)
from pytest_agentperf.measure.frames import culprit

__all__ = ["LAG_PERIOD", "TICK", "Counters", "StepTimer", "Watchdog"]

TICK: Final = 0.010
"""Seconds between two looks, half of it while a step is being watched."""
LAG_PERIOD: Final = 0.020
"""Seconds between two samples of the loop's lag."""

# To get the GIL takes one switch interval (5 ms); what takes two is worth a closer look.
_LATE: Final = 0.010
# How old the numbers of `/proc` may become while the loop rests, and while it works: to read them
# gives up the GIL, and a watchdog that has to win it back from a busy loop costs that loop most.
_STALE: Final = 0.020
_STALE_BUSY: Final = 0.050
_HISTORY: Final = 0.25
_READINGS: Final = 2000
_SEEN: Final = 64
# Turns of the watchdog between two readings that are its own doing.
_OWN_TURNS: Final = 20
_NEARLY: Final = 0.75
_SOME: Final = 0.1
# What can hold a loop that runs no step.
_FROM_OUTSIDE: Final = frozenset({"gil", "gc", "suspended"})


class Counters(Protocol):
    """What the watchdog asks of a `Meter`."""

    starved: float
    surely_starved: float

    @property
    def is_known(self) -> bool:
        """Whether the system counts all of it."""

    def refresh(self) -> tuple[float, int]:
        """Read anew; return the watchdog's own wait for a processor since last time, and turns."""

    def read(self) -> Reading:
        """Return the counters."""


class StepTimer(Protocol):
    """What the watchdog asks of a `HandleTimer`."""

    began: float
    slow: deque[TimedStep]


class Ping:
    """A callback that the loop runs as soon as it can.

    Attributes:
        sent: When it was posted.
        answered: When the loop ran it; None for not yet.
        ready: How much else was ready by then, if that was late.
        lost: How long that had waited, summed, in seconds.
    """

    __slots__ = ("_clock", "_long", "_loop", "answered", "lost", "ready", "sent")

    def __init__(self, sent: float, long: float, loop: ObservedLoop, clock: Clock) -> None:
        self.sent = sent
        self.answered: float | None = None
        self.ready, self.lost = 0, 0.0
        self._long = long
        self._loop = loop
        self._clock = clock

    @property
    def is_late(self) -> bool:
        """Whether the answer came so late that a block may be why."""
        return self.answered is not None and self.answered - self.sent >= self._long

    def ready_for(self, seconds: float) -> tuple[int, float]:
        """Return how much was ready, and how long it waited for a block of *seconds*."""
        if self.answered is None or not self.ready:
            return 0, 0.0
        return self.ready, self.lost * min(seconds / (self.answered - self.sent), 1.0)

    def __call__(self) -> None:
        at = self._clock()
        if at - self.sent >= self._long:
            self.ready, self.lost = self._loop.ready(at - self.sent)
        self.answered = at  # last, as the watchdog may look at any moment


class Watchdog:
    """Looks at a loop when told to, and keeps what held it.

    Args:
        loop: The loop.
        counters: Of the loop's thread.
        threshold: Seconds from which a step is a block.
        clock: Returns seconds.
        log: Gets the blocks.
        lag: Gets the seconds from when a callback was ready until it ran, without preemption.
        timer: Where steps are timed exactly; None to go by what is seen.

    Attributes:
        timer: As given, or None from when it was found to be without effect.
    """

    def __init__(
        self,
        loop: ObservedLoop,
        counters: Counters,
        threshold: float,
        clock: Clock,
        log: BlockLog,
        lag: Sample,
        timer: StepTimer | None = None,
    ) -> None:
        self.timer = timer
        self._log = log
        self._lag = lag
        self._loop = loop
        self._counters = counters
        self._threshold = threshold
        self._clock = clock
        self._tick = min(TICK, 0.4 * threshold)
        self._steps = Steps(ping_follows=not loop.shows_next)
        self._seen: deque[Step] = deque(maxlen=_SEEN)
        self._long: list[Step] = []  # ended, and how much was ready is known with the answer
        self._ping: Ping | None = None
        self._readings: deque[tuple[float, Reading]] = deque()
        self._lag_since: list[float] = []
        self._began = self._due = self._refreshed = self._next_lag = clock()

    def begin(self) -> None:
        """Look for the first time: inside the loop, in the step that starts the watch."""
        self._began = now = self._clock()
        key = self._loop.glance()
        self._readings.append((now, self._counters.read()))
        self._send(now, wake=False)
        self._steps.see(now, key, None)
        self._sample_lag(now, 0.0)
        self._due = now + self._tick

    def look(self) -> float:
        """Look once, and return the seconds until the next look.

        What the loop's thread does is taken first, before anything gives the GIL back to it; then
        the ping goes out; numbers are read last.
        """
        now = self._clock()
        late = max(now - self._due, 0.0)
        if not self._loop.is_running():
            return self._rest(now)
        key, answered = self._loop.glance(), self._take_answer()
        is_waiting = self._ping is not None
        stack, task = self._stack(key) if is_waiting or late >= _LATE else (None, "")
        if is_waiting and key == IDLE:
            self._loop.wake()  # it went to sleep just when the ping was posted
        elif not is_waiting and (key != IDLE or now >= self._next_lag):
            self._send(now, wake=key == IDLE)
        held = self._read(now, late, key, answered)
        if answered:
            self._settle(answered)
        if self._ping:
            self._end(self._steps.see(now, key, stack, task=task, since=now - held))
            self._sample_lag(now, held)
        return self._pause(self._tick / 2 if is_waiting and key != IDLE else self._tick)

    def end(self, at: float, key: int | None) -> None:
        """Take what held the loop until the watch ended.

        Args:
            at: When that was, in seconds.
            key: The step that ended it; None where no step of the loop did.
        """
        if key is not None:
            self._add_lags(at, 0.0)
        if at - self._began >= self._threshold:  # else no step can be a block
            self._finish(at, key)
        self._loop.withdraw()

    def _finish(self, at: float, key: int | None) -> None:
        """Take the step under way, and those that were timed."""
        self._counters.refresh()
        self._readings.append((at, self._counters.read()))
        ping = self._take_answer()
        step = self._steps.finish(at, key)
        if self.timer and key is not None:
            self._seen.extend([step] if step else [])
            self.timer.slow.append(TimedStep(self.timer.began, at))
        else:
            self._end(step)
        self._report_ended(ping, at)

    def answer(self) -> None:
        """Answer the ping in place of the loop, in a step of the loop that ends the watch."""
        ping = self._ping
        if ping and ping.answered is None:
            ping()

    def _stack(self, key: int) -> tuple[Stack, str]:
        return ((), "") if key == IDLE else (self._loop.stack(), self._loop.task())

    def _send(self, now: float, *, wake: bool) -> None:
        """Post a ping, unless the loop is closed."""
        self._ping = Ping(now, self._threshold / 2, self._loop, self._clock)
        try:
            self._loop.post(self._ping, wake=wake)
        except RuntimeError:
            self._ping = None

    def _take_answer(self) -> Ping | None:
        """Return the ping if the loop answered it; None if it did not, or there is none."""
        if self._ping is None or self._ping.answered is None:
            return None
        ping, self._ping = self._ping, None
        return ping

    def _read(self, now: float, late: float, key: int, answered: Ping | None) -> float:
        """Read the counters where that is due; return for how long the GIL was held until *now*."""
        since = now - self._refreshed
        was_slow = late >= _LATE or (answered is not None and answered.is_late)
        held = 0.0
        if was_slow or since >= (_STALE if key == IDLE else _STALE_BUSY):
            wait, turns = self._counters.refresh()
            self._refreshed = now
            # A thread that waits for the GIL wakes once per interval; if meanwhile the GIL is given
            # up and taken back, as a busy loop does to ask for events, it wakes each time.
            expected = late / sys.getswitchinterval()
            was_held = turns <= _OWN_TURNS + 2 * expected
            held = max(late - wait, 0.0) if was_held and late >= _LATE else 0.0
            # One that woke less often waited for something else, or its machine stood still.
            self._counters.surely_starved += held if turns >= expected / 2 else 0.0
        elif key == IDLE:
            return 0.0
        self._counters.starved += held
        self._readings.append((now, self._counters.read()))
        return held

    def _settle(self, ping: Ping) -> None:
        """Take what the answer to *ping* tells: a step ended, and how long the loop lagged."""
        answered = ping.answered or 0.0
        if self.timer and self.timer.began < ping.sent:
            self.timer = (
                None  # the ping itself was not timed: somebody replaced the handles' method
            )
        if self._lag_since:
            delay = self._cost(ping.sent, answered).run_delay if ping.is_late else 0.0
            self._add_lags(answered, delay)
        self._end(self._steps.answer(answered))
        self._report_ended(ping, answered)  # what ended since may be what this look saw
        while len(self._readings) > 1 and self._readings[1][0] < answered - _HISTORY:
            self._readings.popleft()

    def _sample_lag(self, now: float, held: float) -> None:
        """Every now and then, ask how long a callback would wait that is ready now."""
        if now >= self._next_lag:
            self._lag_since.append(now - held)
            self._next_lag = now + LAG_PERIOD

    def _add_lags(self, answered: float, delay: float) -> None:
        for since in self._lag_since:
            self._lag.add(max(answered - since - delay, 0.0))
        self._lag_since.clear()

    def _end(self, step: Step | None) -> None:
        """Take a step that ended, as far as it was seen."""
        if step is None:
            return
        if self.timer and step.began > self._began:
            self._seen.append(step)  # its time comes from the timer
        elif step.seconds >= self._threshold:
            self._long.append(step)

    def _report_ended(self, ping: Ping | None, until: float) -> None:
        """Report the steps that were seen to end, and those that were timed and did by *until*."""
        for long in self._long:
            is_exact = self.timer is not None  # the step that started the watch is in no handle
            self._report(long.began, long.ended, long, ping, is_exact=is_exact)
        self._long.clear()
        while self.timer and self.timer.slow and self.timer.slow[0].ended <= until:
            timed = self.timer.slow.popleft()
            if timed.ended - timed.began >= self._threshold:
                # That it rested when at last somebody could look tells nothing of a step.
                seen = (step for step in self._seen if step.key != IDLE)
                step = overlapping(seen, timed.began, timed.ended)
                if step is None or not step.seconds_at:
                    step = Step(NEXT, timed.began, timed.ended, task=timed.task)
                    step.seconds_at = {(timed.origin,): 0.0} if timed.origin else {}
                self._report(timed.began, timed.ended, step, ping, is_exact=True)

    def _report(
        self, began: float, ended: float, step: Step, ping: Ping | None, *, is_exact: bool
    ) -> None:
        """Record a block."""
        wall, cost = ended - began, self._cost(began, ended)
        # What was computed cannot have been preempted; some of it may be of the steps around.
        computed = min(cost.cpu - 1.5 * self._tick, wall)
        seconds = max(wall - cost.run_delay, computed, 0.0)
        cause = cause_of(seconds, cost, self._threshold)
        if cause == "gc" and not is_exact:
            # It began up to a look before it was seen, and what it computed by then counts as well.
            early = self._cost(began - 1.5 * self._tick, ended)
            if early.cpu - early.gc >= self._threshold:
                cause = "computing"
        stack = main_stack(step)
        if cause == "waiting" and cost.others > _SOME * seconds and not culprit(stack):
            # Nobody could see a line that waited, and others computed: they had the GIL, even if
            # a busy system let them run for a part of that time only.
            cause = "gil"
        # It ran nothing, and the system was late; unless somebody kept the GIL all the while, and
        # the step was over when at last the GIL came round to the watchdog.
        is_sure = cause in _FROM_OUTSIDE or cost.surely_starved >= _NEARLY * wall
        if step.key == IDLE and not is_sure:
            return
        ready, lost = ping.ready_for(wall) if ping else (0, 0.0)
        block = Blocking(
            seconds=seconds,
            wall=wall,
            cause=cause,
            cpu=cost.cpu,
            run_delay=cost.run_delay,
            other_threads=cost.others,
            gc=cost.gc,
            start=began,
            task=step.task,
            ready=ready,
            lost_task_seconds=lost,
            is_exact=is_exact,
        )
        self._log.add(block, stack)

    def _cost(self, began: float, ended: float) -> Cost:
        """Return what the counters say of the time, from the reading before to the one after."""
        before, after = self._readings[0][1], self._readings[-1][1]
        for at, reading in self._readings:
            if at <= began:
                before = reading
            if at >= ended:
                after = reading
                break
        cost = Cost.between(before, after, is_known=self._counters.is_known)
        return cost._replace(run_delay=min(cost.run_delay, max(ended - began - cost.slept, 0.0)))

    def _rest(self, now: float) -> float:
        """Take what was seen, and look no further while nobody runs the loop."""
        self._loop.withdraw()
        self._end(self._steps.finish(now, None))
        self._report_ended(self._take_answer(), now)
        self._ping = None
        self._lag_since.clear()
        return self._pause(self._tick)

    def _pause(self, seconds: float) -> float:
        """Return *seconds*, until the next look, which must not be late."""
        if len(self._readings) > _READINGS:  # one long block: every second one will do
            kept = [*self._readings]
            self._readings = deque([kept[0], *kept[1:-1:2], kept[-1]])
        self._due = self._clock() + seconds
        return seconds
