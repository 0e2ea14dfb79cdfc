"""Spending: the tokens and the dollars of all calls under one label, as far as they are known."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.usage import Price, Usage
from pytest_agentperf.measure.cost import explain_unknown_cost, price_usage
from pytest_agentperf.measure.usage import as_usage, read_usage

__all__ = ["Spending", "UsageReading"]

_TOKENS: Final = ("tokens_per_call", "input_tokens_per_call", "output_tokens_per_call")
_COST: Final = ("cost_per_call", "cost_total")
_LOWEST: Final = {**dict.fromkeys(_TOKENS, 1.0), "cost_per_call": 1e-9}


class UsageReading(NamedTuple):
    """How usage and cost are read from a response.

    Attributes:
        usage: The user's reader, instead of the one for known responses.
        cost: The user's price of a response, in dollars.
        prices: The user's prices by model.
        wants_cost: Whether anybody asks for costs, which takes looking prices up.
    """

    usage: Callable[[Any], object] | None = None
    cost: Callable[[Any], float | None] | None = None
    prices: Mapping[str, Price] = {}
    wants_cost: bool = False

    def usage_of(self, response: object) -> Usage | None:
        """Return the usage that *response* reports, or None."""
        if isinstance(response, Usage):
            return response
        if self.usage is None:
            return read_usage(response)
        return as_usage(self.usage(response), getattr(self.usage, "__name__", "…"))


class Spending:
    """Adds up what calls used; every call is read once, or missed."""

    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}  # each made when its first value comes
        self._missed: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    @property
    def tokens(self) -> float:
        """Tokens of all calls, as far as they are known."""
        return self._sum("tokens_per_call")

    @property
    def dollars(self) -> float:
        """Dollars of all calls, as far as they are known."""
        return self._sum("cost_per_call")

    @property
    def most_tokens(self) -> float:
        """The most tokens that one call took; 0 before any."""
        return self._max("tokens_per_call")

    @property
    def most_dollars(self) -> float:
        """The most dollars that one call took; 0 before any."""
        return self._max("cost_per_call")

    def _sum(self, name: str) -> float:
        return self._samples[name].sum if name in self._samples else 0.0

    def _max(self, name: str) -> float:
        return self._samples[name].max if name in self._samples else 0.0

    def why_unknown(self, name: str) -> str:
        """Return why the metric *name* of some call is unknown, empty where it is known."""
        return self._reasons.get(name, "")

    def read(
        self,
        response: object,
        subject: str,
        reading: UsageReading,
        *,
        streamed: Usage | None = None,
    ) -> Usage | None:
        """Record the usage and the cost that *response* reports, and return the usage.

        Args:
            response: What the call returned.
            subject: What was called, for messages.
            reading: How to read it.
            streamed: What the items of a stream reported.
        """
        usage = streamed if streamed and reading.usage is None else reading.usage_of(response)
        if usage is None:
            self.miss(type(response), subject)
        else:
            self._add(usage)
        states_cost = reading.cost is not None or (usage is not None and usage.cost is not None)
        if reading.wants_cost or states_cost:
            self._add_cost(usage, reading, response)
        return usage

    def _add(self, usage: Usage) -> None:
        known = (usage.total_tokens, usage.input_tokens, usage.output_tokens)
        for name, number in zip(_TOKENS, known, strict=True):
            if number is None:
                self._miss(name, "usage= returned only a total; return a pair (input, output)")
            else:
                self._record(name, number)

    def _add_cost(self, usage: Usage | None, reading: UsageReading, response: object) -> None:
        if reading.cost is not None and not isinstance(response, Usage):
            dollars, reason = reading.cost(response), "cost= returned None"
        else:
            dollars = price_usage(usage, reading.prices) if usage else None
            reason = "" if dollars is not None else explain_unknown_cost(usage)
        if dollars is not None:
            self._record("cost_per_call", float(dollars))
            return
        for name in _COST:
            self._miss(name, reason)

    def _record(self, name: str, value: float) -> None:
        if name not in self._samples:
            self._samples[name] = Sample(lowest=_LOWEST[name])
        self._samples[name].add(value)

    def miss(self, kind: type, subject: str, calls: int = 1, *, wants_cost: bool = False) -> None:
        """Record that *calls* calls returned a *kind* that reports no usage."""
        origin = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        returned = "None" if kind is type(None) else f"{origin}{kind.__qualname__}"
        reason = (
            f"{subject} returned {returned}, which reports no usage;"
            " give perf_timer.configure(usage=…)"
        )
        for name in _TOKENS:
            self._miss(name, reason, calls)
        if wants_cost:
            for name in _COST:
                self._miss(name, explain_unknown_cost(None), calls)

    def _miss(self, name: str, reason: str, calls: int = 1) -> None:
        self._missed[name] += calls
        self._reasons.setdefault(name, reason)

    def samples(self) -> dict[str, Sample]:
        """Return what is known of each call, by metric."""
        return {name: self._samples[name] for name in _LOWEST if name in self._samples}

    def unknown(self, calls: int) -> dict[str, str]:
        """Return why metrics are unknown for some of *calls* calls, by metric."""
        return {
            name: f"{missed} of {calls} calls: {self._reasons[name]}"
            if missed < calls
            else self._reasons[name]
            for name, missed in self._missed.items()
        }
