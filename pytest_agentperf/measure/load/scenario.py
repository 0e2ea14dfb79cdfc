"""Scenarios: what the users of a load call, with which arguments, and how often each."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pytest_agentperf.core.errors import LoadError, LoadTypeError
from pytest_agentperf.measure.timings import name_of

__all__ = ["Mix", "Scenario"]


class Scenario:
    """One of the things that a load calls.

    Attributes:
        name: What results and budgets call it.
        func: What is called.
        args: Its first arguments.
        weight: How often it is called, beside the weights of the others.
        data: One more argument for each call; a collection is gone through again and again, an
            iterator that ends ends the load.
    """

    __slots__ = ("args", "data", "func", "name", "weight")

    def __init__(
        self,
        func: Callable[..., Any],
        *args: Any,
        weight: float = 1,
        name: str | None = None,
        data: Iterable[Any] | None = None,
    ) -> None:
        if not callable(func):
            raise LoadTypeError(
                f"a load got a {type(func).__name__}; expected a callable and its arguments apart:"
                " perf_load(ask, 'q', users=5, duration='10s')"
            )
        if not isinstance(weight, int | float) or isinstance(weight, bool):
            raise LoadTypeError(f"weight={weight!r:.60}: expected a number above 0")
        if not 0 < weight < float("inf"):
            raise LoadError(f"weight={weight!r}: expected a number above 0")
        if data is not None and not isinstance(data, Iterable):
            raise LoadTypeError(f"data={data!r:.60}: expected something to iterate over")
        self.func, self.args, self.weight = func, args, weight
        self.name = name or name_of(func)
        self.data = data

    def __repr__(self) -> str:
        return f"<Scenario {self.name}>"


class Mix:
    """Says of one call after the other which scenario it is of and what its arguments are.

    Each scenario comes as evenly as its weight allows (the smooth weighted round robin of nginx).

    Args:
        scenarios: One at least, of different names.
        share: Which share of the data to take, from 0.
        shares: How many shares there are.
    """

    def __init__(self, scenarios: Sequence[Scenario], share: int = 0, shares: int = 1) -> None:
        self.scenarios = scenarios
        self._data = [_items(each, share, shares) for each in scenarios]
        self._total = sum(each.weight for each in scenarios)
        self._credit = [0.0] * len(scenarios)

    @property
    def is_constant(self) -> bool:
        """Whether all calls are the same."""
        return len(self.scenarios) == 1 and self.scenarios[0].data is None

    def take(self) -> tuple[int, tuple[Any, ...]]:
        """Return the number of the next call's scenario, and its arguments.

        Raises:
            StopIteration: Its data have ended.
        """
        number = self._pick() if len(self.scenarios) > 1 else 0
        args, data = self.scenarios[number].args, self._data[number]
        return number, (args if data is None else (*args, next(data)))

    def _pick(self) -> int:
        credit = self._credit
        for number, each in enumerate(self.scenarios):
            credit[number] += each.weight
        chosen = max(range(len(credit)), key=credit.__getitem__)
        credit[chosen] -= self._total
        return chosen


def _items(scenario: Scenario, share: int, shares: int) -> Iterator[Any] | None:
    """Return the data of *scenario*, every so many of them."""
    data = scenario.data
    if data is None:
        return None
    taken = _endless(data, scenario.name) if iter(data) is not data else data
    return itertools.islice(taken, share, None, shares)


def _endless(data: Iterable[Any], name: str) -> Iterator[Any]:
    """Return the items of *data* again and again."""
    while True:
        count = 0
        for item in data:
            count += 1
            yield item
        if not count:
            raise LoadError(f"data of {name}: there are none; expected one item at least")
