"""Advice: how an object could hold the same in less memory, with numbers.

Every number is measured on objects that are made for it from a sample; the object itself is read
and never changed.
"""

import itertools
import sys
from abc import ABCMeta
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from keyword import iskeyword
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.sizes import (
    fields_of,
    has_fields,
    reachable,
    size,
    size_of_kind,
)

__all__ = ["Advice", "advise"]

_VISITED: Final = 200_000
_SAMPLE: Final = 1000
_FEW: Final = 100  # below it nothing is worth a word
_LEAST_SAVED: Final = 1000  # bytes
_LEAST_SHARE: Final = 0.2
_MOST_KEYS: Final = 32
_SHOWN: Final = 5

_ByKind: TypeAlias = Mapping[type, list[Any]]


@dataclass(frozen=True, slots=True)
class Advice:
    """One way to take less memory.

    Attributes:
        sentence: What to do, with numbers.
        now: Bytes that it takes now.
        then: Bytes that it would take.
    """

    sentence: str
    now: int
    then: int

    def __str__(self) -> str:
        return self.sentence


def advise(obj: object) -> tuple[Advice, ...]:
    """Return how *obj*, or what it holds, could take less memory; what saves most comes first.

    Only what saves a fifth and 1 kB is told. The first 200,000 objects are looked at.
    """
    by_kind: dict[type, list[Any]] = defaultdict(list)
    for each in itertools.chain.from_iterable(reachable(obj, _VISITED)):
        by_kind[type(each)].append(each)
    ways = (*_arrays(by_kind), *_slots(by_kind), *_records(by_kind), *_interning(by_kind[str]))
    is_cut = sum(map(len, by_kind.values())) >= _VISITED
    worth = sorted(filter(_Way.is_worth, ways), key=lambda way: way.then - way.now)
    return tuple(way.advice(is_cut=is_cut) for way in worth)


@dataclass(frozen=True, slots=True)
class _Way:
    """What would take *then* bytes instead of *now*, for what."""

    what: str
    whom: str
    now: int
    then: int

    def is_worth(self) -> bool:
        saved = self.now - self.then
        return saved >= max(_LEAST_SAVED, _LEAST_SHARE * self.now)

    def advice(self, *, is_cut: bool) -> Advice:
        now, then = (format_quantity(bytes_, Unit.BYTES) for bytes_ in (self.now, self.then))
        cut = f" among the first {_VISITED:,} objects" if is_cut else ""
        sentence = f"{self.what} would take {then} instead of {now}, for {self.whom}{cut}"
        return Advice(sentence, self.now, self.then)


def _arrays(by_kind: _ByKind) -> Iterator[_Way]:
    """Yield arrays, for lists and tuples of numbers of one type."""
    found: dict[tuple[str, str], list[Sequence[Any]]] = defaultdict(list)
    for each in (*by_kind[list], *by_kind[tuple]):
        code = _code_for(each) if len(each) >= _FEW else None
        if code:
            found[code, type(each[0]).__name__].append(each)
    for (code, element), each_of in found.items():
        count = sum(map(len, each_of))
        now = sum(map(_estimated_size, each_of))
        then = sum(sys.getsizeof(array(code)) + array(code).itemsize * len(it) for it in each_of)
        lists = "a sequence" if len(each_of) == 1 else f"{len(each_of):,} sequences"
        yield _Way(f"array({code!r})", f"{lists} of {count:,} {element}s", now, then)


def _code_for(numbers: Sequence[Any]) -> str | None:
    """Return the type code of an array that can hold *numbers*."""
    kinds = set(map(type, numbers))
    if kinds == {float}:
        return "d"
    if kinds != {int}:
        return None
    low, high = min(numbers), max(numbers)
    fits = (
        code for code, bits in (("i", 31), ("q", 63)) if -(1 << bits) <= low <= high < 1 << bits
    )
    return next(fits, None)


def _estimated_size(numbers: Sequence[Any]) -> int:
    """Return the bytes of *numbers* and its elements, by those of a sample."""
    sample = numbers[:: -(-len(numbers) // _SAMPLE)]
    elements = size(sample) - sys.getsizeof(sample)
    return sys.getsizeof(numbers) + elements * len(numbers) // len(sample)


def _slots(by_kind: _ByKind) -> Iterator[_Way]:
    """Yield slots, for classes with many instances that have none."""
    for kind, instances in by_kind.items():
        # A metaclass of its own may have plans with the attributes, as pydantic's has.
        if len(instances) < _FEW or not has_fields(kind) or type(kind) not in (type, ABCMeta):
            continue
        found = [fields_of(each) for each in instances]
        dicts = sum(sys.getsizeof(own) for _, own in found if own is not None)
        now = size_of_kind(kind, instances) + dicts
        then = _slotted_size(max(len(fields) for fields, _ in found)) * len(instances)
        what = "@dataclass(slots=True)" if is_dataclass(kind) else "__slots__"
        yield _Way(f"{what} in {kind.__qualname__}", f"{len(instances):,} instances", now, then)


def _records(by_kind: _ByKind) -> Iterator[_Way]:
    """Yield dataclasses, for many dicts with the same few keys."""
    owned = {
        id(fields_of(each)[1]) for kind in by_kind if has_fields(kind) for each in by_kind[kind]
    }
    found: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for each in by_kind[dict]:
        if 0 < len(each) <= _MOST_KEYS and id(each) not in owned and _are_names(each):
            found[tuple(each)].append(each)
    for keys, dicts in found.items():
        if len(dicts) >= _FEW:
            now = sum(map(sys.getsizeof, dicts))
            then = _slotted_size(len(keys)) * len(dicts)
            shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
            whom = f"{len(dicts):,} dicts with the keys {shown}"
            yield _Way("a dataclass with slots", whom, now, then)


def _are_names(keys: Iterable[Any]) -> bool:
    return all(type(key) is str and key.isidentifier() and not iskeyword(key) for key in keys)


def _slotted_size(fields: int) -> int:
    """Return the bytes of an instance whose class has *fields* slots."""
    kind = type("Slotted", (), {"__slots__": [f"field_{number}" for number in range(fields)]})
    return sys.getsizeof(kind())


def _interning(texts: list[str]) -> Iterator[_Way]:
    """Yield the interning of texts that are there more than once."""
    once = {text: sys.getsizeof(text) for text in texts}
    repeated = len(texts) - len(once)
    if repeated >= _FEW:
        whom = f"{len(texts):,} strings, {repeated:,} of which repeat another"
        yield _Way("sys.intern", whom, sum(map(sys.getsizeof, texts)), sum(once.values()))
