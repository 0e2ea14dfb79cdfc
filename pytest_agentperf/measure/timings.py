"""Timings: everything that one test has timed, by label, and how it is to be timed."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.counting import Counters
from pytest_agentperf.measure.monitors import ExtraPass, Monitors
from pytest_agentperf.measure.patching import Patches
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.timedcall import TimedCall

if TYPE_CHECKING:
    from pytest_agentperf.core.usage import Price
    from pytest_agentperf.measure.call import CallContext, RunningCall
    from pytest_agentperf.measure.rounds import Plan
    from pytest_agentperf.measure.settings import TimingSettings
    from pytest_agentperf.measure.trial import Trial

__all__ = ["Timings", "name_of"]


_BODY: Final = "the test"


class Timings:
    """What one test has timed so far.

    What times calls, reads their usage and decides on rounds is imported where a test asks for
    that: most have a body that runs once, and nothing else.

    Args:
        plan: Returns how often to call under a label, given what the test's code states.
        prices: The user's prices by model.
        clock: The clock.
        wants_cost: Whether a limit or a bound is on money.
        passes: Returns the further calls to make of a subject under a label when its rounds are
            over.
        keeps_moments: Whether it is noted when calls ran that were watched.
        wants_levels: Whether the memory of the process is read between timed calls.
    """

    def __init__(
        self,
        plan: Callable[[str | None, Effort], "Plan"],
        prices: "Mapping[str, Price]",
        clock: Clock,
        *,
        wants_cost: bool,
        passes: Callable[[str | None, str], Sequence[ExtraPass]] = lambda *_: (),
        keeps_moments: bool = False,
        wants_levels: bool = False,
    ) -> None:
        self._plan = plan
        self._passes = passes
        self._keeps_moments, self._wants_levels = keeps_moments, wants_levels
        self._clock = clock
        self._prices, self._wants_cost = prices, wants_cost or bool(prices)
        self._settings: dict[str | None, TimingSettings] = {}
        self._recordings: dict[str | None, Recording] = {}
        self._unfinished: dict[Trial, None] = {}
        self.counters = Counters()
        self.patches = Patches()
        self.monitors = Monitors()
        self.last_plain = ""
        self._is_recording = True
        self._is_body_apart = False

    def stop_recording(self) -> None:
        """Record no further calls; those that run by now still count."""
        self._is_recording = False

    def settings(self, label: str | None) -> "TimingSettings":
        """Return how calls under *label* are timed."""
        if None not in self._settings:
            from pytest_agentperf.measure.settings import TimingSettings
            from pytest_agentperf.measure.spending import UsageReading

            reading = UsageReading(prices=self._prices, wants_cost=self._wants_cost)
            self._settings[None] = TimingSettings(reading=reading)
        return self._settings.get(label, self._settings[None])

    def configure(
        self, label: str | None, changed: "Callable[[TimingSettings], TimingSettings]"
    ) -> None:
        """Replace the settings of *label*; those of the unnamed one serve labels without any."""
        self._settings[label] = changed(self.settings(label))

    def recording(self, label: str | None, subject: str, *, is_body: bool = False) -> Recording:
        """Return where calls of *subject* under *label* are recorded."""
        if not self._is_recording:
            return Recording(label)
        if label not in self._recordings:
            self._recordings[label] = self._new_recording(label, is_body=is_body)
        recording = self._recordings[label]
        recording.name(subject)
        if self._keeps_moments and self.monitors.active and recording.moments is None:
            recording.moments = []
        return recording

    def _new_recording(self, label: str | None, *, is_body: bool) -> Recording:
        recording = Recording(label, is_body=is_body)
        if self._wants_levels:
            from pytest_agentperf.measure.memory.levels import Levels

            recording.levels = Levels()
        return recording

    def context(self, label: str | None, subject: str) -> "CallContext":
        """Return how calls of *subject* under *label* are recorded."""
        from pytest_agentperf.measure.call import CallContext

        settings = self.settings(label)
        effort = settings.effort
        reading = settings.reading
        if effort.max_cost is not None:
            reading = reading._replace(wants_cost=True)
        return CallContext(subject, reading, self.counters, self._clock, settings.stream)

    def begin(self, label: str | None, subject: str) -> "RunningCall":
        """Begin a single recorded call."""
        from pytest_agentperf.measure.call import RunningCall

        recording = self.recording(label, subject)
        for monitor in self.monitors.active:
            recording.monitors.update(dict.fromkeys(monitor.names))
        return RunningCall(self.context(label, subject), recording)

    def run(
        self,
        label: str | None,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call *func* as often as its plan asks; return its last result, or a coroutine of it."""
        subject = name_of(func)
        call = functools.partial(func, *args, **kwargs) if args or kwargs else func
        trial = self._trial(label, subject, call)
        result = trial.run()
        self.last_plain = "" if trial.coroutine else subject
        return result

    def begin_body(self, *, is_round: bool = False) -> TimedCall:
        """Begin a run of the test's own body as a single recorded call.

        Args:
            is_round: Whether it is the one round of its plan, after which verdicts are looked at.
        """
        recording = self.recording(None, _BODY, is_body=True)
        recording.looks += is_round
        return TimedCall(recording, self.counters, self._clock)

    def run_body(self, body: Callable[[], Any]) -> Any:
        """Call the *body* of a test as often as its plan asks; its result is left alone."""
        return self._trial(None, _BODY, body, is_body=True).run()

    def _trial(
        self, label: str | None, subject: str, call: Callable[[], Any], *, is_body: bool = False
    ) -> "Trial":
        from pytest_agentperf.measure.rounds import Schedule
        from pytest_agentperf.measure.trial import Trial

        settings = self.settings(label)
        recording = self.recording(label, subject, is_body=is_body)
        plan = self._plan(label, settings.effort)
        schedule = Schedule(plan, recording, subject, self._clock())
        # A body that runs once is timed and watched in that one run.
        is_single = is_body and plan.rounds == 1
        self._is_body_apart |= is_body and not is_single
        return Trial(
            call,
            self.context(label, subject),
            schedule,
            settings.hooks,
            self._watch,
            Monitors() if is_single else self.monitors,
            passes=self._passes(label, subject),
            is_body=is_body,
        )

    def _watch(self, trial: "Trial") -> None:
        """Remember *trial* until it has ended: somebody must await it."""
        self._unfinished = {old: None for old in self._unfinished if not old.is_ended}
        self._unfinished[trial] = None

    def measurements(self) -> list[Measurement]:
        """Return what was recorded, in order of the first use of each label."""
        outside = self.counters.outside
        for recording in self._recordings.values():
            if recording.is_body and not self._is_body_apart:
                recording.monitors.update(self.monitors.seen)
        found = [recording.measurement() for recording in self._recordings.values()]
        if outside and found:
            note = f"{outside} counted calls belong to no timed call: they ran outside of any"
            found[0] = found[0]._replace(notes=(*found[0].notes, note))
        return found

    def moments(self) -> dict[str | None, list[tuple[float, float]]]:
        """Return when the calls ran that were watched, by label."""
        return {
            label: recording.moments
            for label, recording in self._recordings.items()
            if recording.moments
        }

    def close(self) -> list[str]:
        """Undo the patches; return a sentence for each call that nobody awaited to its end."""
        self.patches.undo()
        # They belong to who holds this, and such a circle would wait for the garbage collector.
        self._plan = self._passes = _refuse
        sentences = []
        for trial in self._unfinished:
            if not trial.is_awaited:
                sentences.append(
                    f"perf_timer({trial.subject}) was never awaited: nothing was timed; write"
                    f" `await perf_timer({trial.subject}, …)` in an async test"
                )
                trial.abandon()
            elif not trial.is_ended:
                sentences.append(
                    f"perf_timer({trial.subject}) had not ended when the test did: its rounds are"
                    " incomplete; await it inside the test"
                )
        self._unfinished = {}
        return sentences


def _refuse(*_: object) -> Any:
    raise UsageError("perf_timer was used after the end of its test; await it inside the test")


def name_of(func: object) -> str:
    """Return what messages call *func*: `agent.ask` for a method of an object is `Agent.ask`."""
    while isinstance(func, functools.partial):
        func = func.func
    name = getattr(func, "__qualname__", None)
    if not isinstance(name, str):
        return type(func).__qualname__
    return name.rpartition("<locals>.")[2]
