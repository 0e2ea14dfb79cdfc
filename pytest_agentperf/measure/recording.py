"""A recording: what the calls under one label have shown so far."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample

if TYPE_CHECKING:
    from pytest_agentperf.core.usage import Usage
    from pytest_agentperf.measure.memory.levels import Levels
    from pytest_agentperf.measure.spending import Spending, UsageReading
    from pytest_agentperf.measure.stream import ItemClock

__all__ = ["Recording"]

_SUBJECTS = 3
_MOMENTS = 10_000


class Recording:
    """Collects the calls of one label; each ends with `add` or `fail`.

    Attributes:
        latency: Seconds of each call that did not raise.
        errors: Calls that raised, by the name of the exception's type.
        bound: What ended the calls before their verdict was closed, as in ``"max_time 5 s"``.
        is_body: Whether it is the body of a test that is recorded.
        monitors: The names of what watched the recorded calls.
        moments: When the first calls began and ended, by the clock; None where nobody asks.
        levels: Reads the memory of the process between calls; None where nobody asks for it.
    """

    def __init__(self, label: str | None, *, is_body: bool = False) -> None:
        self.label = label
        self.latency = Sample()
        self.failed = Sample()
        self.errors: Counter[str] = Counter()
        self.bound = ""
        self.looks = 0
        self.planned_looks = 1
        self.is_body = is_body
        self.monitors: dict[str, None] = {}
        self.moments: list[tuple[float, float]] | None = None
        self.levels: Levels | None = None
        self._subjects: dict[str, None] = {}
        self._notes: dict[str, None] = {}
        self._ttft = Sample()
        self._itl = Sample()
        self._streams = 0
        self._items = 0
        self._stream_seconds = 0.0
        self._last_stream_seconds = 0.0
        self._streamed_tokens = 0
        self._streamed_tokens_seconds = 0.0
        self._counts: dict[str, Sample] = {}
        self._spending: Spending | None = None

    @property
    def spending(self) -> "Spending":
        """What the calls used, made when it is first asked for: a body returns nothing to read."""
        if self._spending is None:
            from pytest_agentperf.measure.spending import Spending

            self._spending = Spending()
        return self._spending

    def name(self, subject: str) -> None:
        """Note that *subject* is called under this label."""
        if len(self._subjects) < _SUBJECTS:
            self._subjects[subject] = None

    def note(self, sentence: str) -> None:
        """Note what weakens the numbers."""
        self._notes[sentence] = None

    @property
    def calls(self) -> int:
        """Recorded calls that ended."""
        return self.latency.count + self.errors.total()

    def add(
        self,
        seconds: float,
        items: "ItemClock | None" = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Record a call that ended after *seconds*."""
        self.latency.add(seconds)
        if items is not None:
            self._add_stream(seconds, items)
        if counts is not None:
            for name, number in counts.items():
                self._counts.setdefault(name, Sample(lowest=1)).add(number)

    def _add_stream(self, seconds: float, items: "ItemClock") -> None:
        self._streams += 1
        self._items += items.count
        self._stream_seconds += seconds
        self._last_stream_seconds = seconds
        if items.first is not None:
            self._ttft.add(items.first)
        for gap in items.gaps:
            self._itl.add(gap)

    def note_moment(self, started: float, ended: float) -> None:
        """Note when a call began and ended, where somebody asks for that."""
        if self.moments is not None and len(self.moments) < _MOMENTS:
            self.moments.append((started, ended))

    def fail(self, seconds: float, error: BaseException) -> None:
        """Record a call that raised *error* after *seconds*."""
        self.failed.add(seconds)
        self.errors[type(error).__name__] += 1

    def read(
        self,
        response: object,
        subject: str,
        reading: "UsageReading",
        *,
        streamed: "Usage | None" = None,
        is_stream: bool = False,
    ) -> None:
        """Record the usage that *response* reports; see `Spending.read`."""
        usage = self.spending.read(response, subject, reading, streamed=streamed)
        if is_stream and usage is not None and usage.output_tokens is not None:
            self._streamed_tokens += usage.output_tokens
            self._streamed_tokens_seconds += self._last_stream_seconds

    def measurement(self) -> Measurement:
        """Return what was recorded so far; the samples are shared, not copied."""
        samples: dict[str, Sample] = {}
        values: dict[str, float] = {}
        unknown: dict[str, str] = {}
        if self.calls:
            samples["latency"] = self.latency
            if not self.is_body:
                values["error_rate"] = self.errors.total() / self.calls
        if self._streams:
            self._report_streams(samples, values, unknown)
        if self._spending is not None:
            samples.update(self._spending.samples())
            unknown.update(self._spending.unknown(self.calls))
        samples.update(self._counts)
        if "cost_per_call" in samples:
            values["cost_total"] = self.spending.dollars
        return Measurement(
            label=self.label,
            subject=" and ".join(self._subjects) or "the test",
            calls=self.calls,
            errors=self.errors.total(),
            samples=samples,
            values=values,
            unknown=unknown,
            looks=self.looks,
            planned_looks=self.planned_looks,
            bound=self.bound,
            notes=self._all_notes(),
            monitors=tuple(self.monitors),
            curves=self.levels.curves if self.levels else {},
        )

    def _report_streams(
        self, samples: dict[str, Sample], values: dict[str, float], unknown: dict[str, str]
    ) -> None:
        samples["ttft"] = self._ttft
        samples["itl"] = self._itl
        if not self._ttft.count:
            unknown["ttft"] = (
                "no item of the stream had content; give perf_timer.configure(stream=…)"
            )
        if not self._itl.count:
            unknown["itl"] = (
                "no stream had two items with content; give perf_timer.configure(stream=…)"
            )
        if self._items and self._stream_seconds > 0:
            values["items_per_second"] = self._items / self._stream_seconds
        if self._streamed_tokens and self._streamed_tokens_seconds > 0:
            rate = self._streamed_tokens / self._streamed_tokens_seconds
            values["output_tokens_per_second"] = rate
        if reason := self.spending.why_unknown("output_tokens_per_call"):
            unknown["output_tokens_per_second"] = reason

    def _all_notes(self) -> tuple[str, ...]:
        notes = list(self._notes)
        if len(self._subjects) > 1:
            names = ", ".join(self._subjects)
            notes.append(f'{names} share one measurement; tell them apart with perf_timer["label"]')
        if self.errors:
            counted = ", ".join(f"{number} × {name}" for name, number in self.errors.items())
            notes.append(f"{self.errors.total()} of {self.calls} calls raised ({counted})")
        return tuple(notes)
