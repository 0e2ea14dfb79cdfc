"""A recording: what the calls under one label have shown so far."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.usage import Price, Usage
from pytest_agentperf.measure.cost import explain_unknown_cost, price_usage
from pytest_agentperf.measure.stream import ItemClock
from pytest_agentperf.measure.usage import as_usage, has_no_usage, read_usage

__all__ = ["Recording", "UsageReading"]

_SUBJECTS = 3


@dataclass(frozen=True, slots=True)
class UsageReading:
    """How usage and cost are read from a response.

    Attributes:
        usage: The user's reader, instead of the one for known responses.
        cost: The user's price of a response, in dollars.
        prices: The user's prices by model.
        wants_cost: Whether anybody asks for costs, which takes looking prices up.
    """

    usage: Callable[[Any], object] | None = None
    cost: Callable[[Any], float | None] | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)
    wants_cost: bool = False


class Recording:
    """Collects the calls of one label; each ends with `add` or `fail`.

    Attributes:
        latency: Seconds of each call that did not raise.
        errors: Calls that raised, by the name of the exception's type.
        bound: What ended the calls before their verdict was closed, as in ``"max_time 5 s"``.
    """

    def __init__(self, label: str | None, *, is_body: bool = False) -> None:
        self.label = label
        self.latency = Sample()
        self.failed = Sample()
        self.errors: Counter[str] = Counter()
        self.bound = ""
        self.looks = 0
        self.planned_looks = 1
        self._is_body = is_body
        self._subjects: dict[str, None] = {}
        self._notes: dict[str, None] = {}
        self._ttft = Sample()
        self._itl = Sample()
        self._streams = 0
        self._items = 0
        self._stream_seconds = 0.0
        self._streamed_tokens = 0
        self._usage = {name: Sample(lowest=1) for name in _TOKENS}
        self._cost = Sample(lowest=1e-9)
        self._unknown: Counter[str] = Counter()
        self._unknown_reason: dict[str, str] = {}
        self._counts: dict[str, Sample] = {}

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

    @property
    def tokens(self) -> float:
        """Tokens of all calls, as far as they are known."""
        return self._usage["tokens_per_call"].sum

    @property
    def dollars(self) -> float:
        """Dollars of all calls, as far as they are known."""
        return self._cost.sum

    @property
    def largest_call(self) -> tuple[float, float]:
        """The most tokens and the most dollars that one call took."""
        tokens = self._usage["tokens_per_call"]
        return (tokens.max if tokens.count else 0.0, self._cost.max if self._cost.count else 0.0)

    def why_unknown(self, quantity: str) -> str | None:
        """Return why *quantity* is unknown, or None."""
        return self._unknown_reason.get(quantity)

    def add(self, seconds: float, items: ItemClock | None = None, counts: Mapping[str, int] | None = None) -> None:
        """Record a call that ended after *seconds*."""
        self.latency.add(seconds)
        if items is not None:
            self._add_stream(seconds, items)
        if counts is not None:
            for name, number in counts.items():
                self._counts.setdefault(name, Sample(lowest=1)).add(number)

    def _add_stream(self, seconds: float, items: ItemClock) -> None:
        self._streams += 1
        self._items += items.count
        self._stream_seconds += seconds
        if items.first is not None:
            self._ttft.add(items.first)
        for gap in items.gaps:
            self._itl.add(gap)

    def fail(self, seconds: float, error: BaseException) -> None:
        """Record a call that raised *error* after *seconds*."""
        self.failed.add(seconds)
        self.errors[type(error).__name__] += 1

    def read(self, response: object, subject: str, reading: UsageReading, *, streamed: Usage | None = None, is_stream: bool = False) -> None:
        """Record the usage and the cost that *response* reports.

        Args:
            response: What the call returned.
            subject: What was called, for messages.
            reading: How to read it.
            streamed: What the items of a stream reported.
            is_stream: Whether *response* came as a stream.
        """
        if reading.usage is not None:
            usage = as_usage(reading.usage(response), getattr(reading.usage, "__name__", "…"))
        else:
            usage = streamed or read_usage(response)
        if usage is None:
            self.miss_usage(type(response), subject)
        else:
            self._add_usage(usage, is_stream=is_stream)
        if reading.wants_cost or reading.cost is not None or (usage is not None and usage.cost is not None):
            self._add_cost(usage, reading, response)

    def _add_usage(self, usage: Usage, *, is_stream: bool) -> None:
        known = {
            "tokens_per_call": usage.total_tokens,
            "input_tokens_per_call": usage.input_tokens,
            "output_tokens_per_call": usage.output_tokens,
        }
        for name, number in known.items():
            if number is None:
                self._miss(name, "usage= returned only a total; return a pair (input, output)")
            else:
                self._usage[name].add(number)
        if is_stream and usage.output_tokens is not None:
            self._streamed_tokens += usage.output_tokens

    def _add_cost(self, usage: Usage | None, reading: UsageReading, response: object) -> None:
        if reading.cost is not None:
            dollars = reading.cost(response)
        else:
            dollars = price_usage(usage, reading.prices) if usage else None
        if dollars is None:
            reason = "cost= returned None" if reading.cost else explain_unknown_cost(usage)
            self._miss("cost", reason)
        else:
            self._cost.add(float(dollars))

    def miss_usage(self, kind: type, subject: str, calls: int = 1) -> None:
        """Record that *calls* calls returned a *kind* that reports no usage."""
        origin = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        returned = "None" if kind is type(None) else f"{origin}{kind.__qualname__}"
        reason = f"{subject} returned {returned}, which reports no usage; give perf_timer.configure(usage=…)"
        for name in _TOKENS:
            self._miss(name, reason, calls)

    def _miss(self, name: str, reason: str, calls: int = 1) -> None:
        self._unknown[name] += calls
        self._unknown_reason.setdefault(name, reason)

    def measurement(self) -> Measurement:
        """Return what was recorded so far; the samples are shared, not copied."""
        samples: dict[str, Sample] = {}
        values: dict[str, float] = {}
        unknown: dict[str, str] = {}
        if self.calls:
            samples["latency"] = self.latency
            if not self._is_body:
                values["error_rate"] = self.errors.total() / self.calls
        if self._streams:
            self._report_streams(samples, values, unknown)
        self._report_usage(samples, values, unknown)
        samples.update(self._counts)
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
        )

    def _report_streams(self, samples: dict[str, Sample], values: dict[str, float], unknown: dict[str, str]) -> None:
        samples["ttft"] = self._ttft
        samples["itl"] = self._itl
        if not self._ttft.count:
            unknown["ttft"] = "no item of the stream had content; give perf_timer.configure(stream=…)"
        if not self._itl.count:
            unknown["itl"] = "no stream had two items with content; give perf_timer.configure(stream=…)"
        if self._items and self._stream_seconds > 0:
            values["items_per_second"] = self._items / self._stream_seconds
        if self._streamed_tokens and self._stream_seconds > 0:
            values["output_tokens_per_second"] = self._streamed_tokens / self._stream_seconds
        elif "output_tokens_per_call" in self._unknown_reason:
            unknown["output_tokens_per_second"] = self._unknown_reason["output_tokens_per_call"]

    def _report_usage(self, samples: dict[str, Sample], values: dict[str, float], unknown: dict[str, str]) -> None:
        for name, sample in self._usage.items():
            if sample.count:
                samples[name] = sample
        if self._cost.count:
            samples["cost_per_call"] = self._cost
            values["cost_total"] = self._cost.sum
        for name, calls in self._unknown.items():
            reason = self._unknown_reason[name]
            if 0 < calls < self.calls:
                reason = f"{calls} of {self.calls} calls: {reason}"
            for metric in ("cost_per_call", "cost_total") if name == "cost" else (name,):
                unknown[metric] = reason

    def _all_notes(self) -> tuple[str, ...]:
        notes = list(self._notes)
        if len(self._subjects) > 1:
            names = ", ".join(self._subjects)
            notes.append(f'{names} share one measurement; tell them apart with perf_timer["label"]')
        if self.errors:
            counted = ", ".join(f"{number} × {name}" for name, number in self.errors.items())
            notes.append(f"{self.errors.total()} of {self.calls} calls raised ({counted})")
        return tuple(notes)


_TOKENS = ("tokens_per_call", "input_tokens_per_call", "output_tokens_per_call")
