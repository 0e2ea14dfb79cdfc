"""A sample: all values of one metric of one measurement, in bounded memory.

Up to a million values are kept exactly, 8 bytes each. Then they move, one way, into buckets of
0.5 % relative error; smallest, largest, count and sum stay exact.
"""

import math
import operator
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.core.metrics import percentile_of

__all__ = ["EXACT_VALUES", "Sample"]

EXACT_VALUES: Final = 1_000_000
"""Values that are kept one by one; beyond, they are counted in buckets."""

_RELATIVE_ERROR: Final = 0.005
_GROWTH: Final = math.log((1 + _RELATIVE_ERROR) / (1 - _RELATIVE_ERROR))
_LOWEST: Final = 1e-6
# From a microsecond to an hour; counts and sizes use the same span above their own lowest value.
_BUCKETS: Final = math.ceil(math.log(3600 / _LOWEST) / _GROWTH)
_PENDING: Final = 65_536


class Sample:
    """Values of one kind, of which statistics can be read at any time.

    Args:
        values: The first values.
        lowest: The smallest value that buckets tell apart: 1e-6 for seconds, 1 for sizes.
        exact: How many values are kept one by one before all go into buckets; None for a million.
    """

    __slots__ = (
        "_buckets",
        "_count",
        "_exact",
        "_lowest",
        "_max",
        "_min",
        "_ordered",
        "_square",
        "_sum",
        "_values",
    )

    def __init__(
        self,
        values: Iterable[float] = (),
        *,
        lowest: float = _LOWEST,
        exact: int | None = None,
    ) -> None:
        self._values = array("d", values)
        self._exact = EXACT_VALUES if exact is None else exact
        self._ordered: array[float] | None = None
        self._lowest = lowest
        self._buckets: array[int] | None = None
        # Of the values in buckets; those of `_values` come on top.
        self._count = 0
        self._sum = 0.0
        self._square = 0.0
        self._min = math.inf
        self._max = -math.inf

    def add(self, value: float) -> None:
        """Record *value*."""
        self._values.append(value)
        if len(self._values) >= (self._exact if self._buckets is None else _PENDING):
            self.settle()

    @property
    def append(self) -> Callable[[float], None]:
        """The fastest way to record; call `settle` after at most some 10,000 values."""
        return self._values.append

    def settle(self) -> None:
        """Move values into buckets where there are too many of them to keep."""
        if self._buckets is not None or len(self._values) >= self._exact:
            self._collapse()

    def count_in_buckets(self, most: int) -> None:
        """Move the first *most* values, at most, into buckets, as `settle` does with all."""
        self._collapse(most)

    def merge(self, other: "Sample") -> None:
        """Record all values of *other*, as exactly as it has them."""
        counted = other.counted
        if counted is not None:
            self._collapse()
            self._add_buckets(*counted)
        # From array to array it is a copy of memory; from an iterator it would be a loop.
        self._values.extend(other._values)  # noqa: SLF001
        self.settle()

    @property
    def counted(self) -> "tuple[array[int], float, float, float, float] | None":
        """The values in buckets: counts, sum, sum of squares, smallest, largest; None for none."""
        if self._buckets is None:
            return None
        return self._buckets, self._sum, self._square, self._min, self._max

    def _add_buckets(
        self, buckets: "array[int]", total: float, square: float, smallest: float, largest: float
    ) -> None:
        mine = self._buckets or array("q", bytes(8 * _BUCKETS))
        self._buckets = array("q", map(operator.add, mine, buckets))
        self._count += sum(buckets)
        self._sum += total
        self._square += square
        self._min = min(self._min, smallest)
        self._max = max(self._max, largest)

    def _collapse(self, most: int | None = None) -> None:
        """Count all values in buckets, or the first *most* of them."""
        if self._buckets is None:
            self._buckets = array("q", bytes(8 * _BUCKETS))
        buckets, lowest, last = self._buckets, self._lowest, _BUCKETS - 1
        log, scale = math.log, 1 / _GROWTH
        values = self._values if most is None else self._values[:most]
        for value in values:
            index = int(log(value / lowest) * scale) if value > lowest else 0
            buckets[index if index < last else last] += 1  # noqa: FURB136 -- twice as fast
        if values:
            self._count += len(values)
            self._sum += math.fsum(values)
            self._square += math.fsum(value * value for value in values)
            self._min = min(self._min, min(values))  # noqa: PLW3301 -- a million arguments
            self._max = max(self._max, max(values))  # noqa: PLW3301
        # A new array would leave `append` bound to the old one, so this one is emptied.
        del self._values[: len(values)]
        self._ordered = None

    @property
    def kept(self) -> int:
        """How many values are kept one by one."""
        return len(self._values)

    def since(self, seen: int) -> "array[float]":
        """Return the values recorded after the first *seen*, those in buckets left out."""
        return self._values[max(seen - self._count, 0) :]

    @property
    def is_exact(self) -> bool:
        """Whether every value is still known."""
        return self._buckets is None

    def __len__(self) -> int:
        return self._count + len(self._values)

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self)

    def __iter__(self) -> Iterator[float]:
        """Return the values in order of recording, those in buckets left out."""
        return iter(self._values)

    @property
    def sum(self) -> float:
        """The sum of all values; 0 for none."""
        return self._sum + math.fsum(self._values)

    @property
    def min(self) -> float:
        """The smallest value."""
        self._demand("min")
        return min(self._min, min(self._values, default=math.inf))

    @property
    def max(self) -> float:
        """The largest value."""
        self._demand("max")
        return max(self._max, max(self._values, default=-math.inf))

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        self._demand("mean")
        return self.sum / len(self)

    @property
    def stddev(self) -> float:
        """The sample standard deviation (n - 1); 0 for a single value."""
        self._demand("stddev")
        count, mean = len(self), self.mean
        if count == 1:
            return 0.0
        if self._buckets is None:
            squares = math.fsum((value - mean) ** 2 for value in self._values)
        else:
            self.settle()
            squares = max(self._square - count * mean * mean, 0.0)
        return math.sqrt(squares / (count - 1))

    def percentile(self, p: float) -> float:
        """Return the *p*-th percentile by linear interpolation between the nearest two values.

        Args:
            p: In [0, 100]; 50 is the median.

        Raises:
            EmptySampleError: There are no values.
            ValueError: *p* is outside [0, 100].
        """
        if not 0 <= p <= 100:  # noqa: PLR2004 -- per cent
            raise ValueError(f"percentile {p!r}: expected a number from 0 to 100")
        last = len(self) - 1
        if last < 0:
            self._demand(f"p{p:g}")
        position = last * p / 100
        below = math.floor(position)
        low, high = self._at(below), self._at(min(below + 1, last))
        return low + (high - low) * (position - below)

    def count_above(self, limit: float) -> int:
        """Return how many values are greater than *limit*; buckets count by their middle."""
        above = sum(value > limit for value in self._values)
        if self._buckets is not None:
            above += sum(n for i, n in enumerate(self._buckets) if n and self._middle(i) > limit)
        return above

    def ordered(self, rank: int) -> float:
        """Return the value of *rank*, 1 for the smallest.

        Raises:
            EmptySampleError: There is no value of that rank.
        """
        if not 1 <= rank <= len(self):
            raise EmptySampleError(f"rank {rank}: expected 1 to {len(self)}, the number of values")
        return self._at(rank - 1)

    def _at(self, index: int) -> float:
        """Return the value at *index* in ascending order."""
        if self._buckets is None:
            if self._ordered is None or len(self._ordered) != len(self._values):
                self._ordered = array("d", sorted(self._values))
            return self._ordered[index]
        self.settle()
        if index == 0:
            return self._min
        if index == self._count - 1:
            return self._max
        seen = next(i for i, total in enumerate(accumulate(self._buckets)) if total > index)
        return min(max(self._middle(seen), self._min), self._max)

    def _middle(self, index: int) -> float:
        """Return the value that stands for all values of bucket *index*."""
        # Not the middle of the logarithms: from here both ends are off by exactly the error.
        return self._lowest * math.exp(index * _GROWTH) * (1 + _RELATIVE_ERROR)

    def _demand(self, statistic: str) -> None:
        """Refuse a statistic of nothing."""
        if not len(self):
            raise EmptySampleError(
                f"{statistic} of no values: nothing was recorded yet; make a measured call first"
            )

    def __getattr__(self, name: str) -> float:
        """Return a percentile: `p95`, `p99_9`."""
        p = percentile_of(name)
        if p is None:
            raise AttributeError(
                f"a sample has no {name!r}; try count, min, mean, max, stddev, p50, p95 or p99_9"
            )
        return self.percentile(float(p))

    def __repr__(self) -> str:
        if not len(self):
            return "<Sample of no values>"
        return (
            f"<Sample of {len(self)} values, median {self.percentile(50):.4g}, max {self.max:.4g}>"
        )
