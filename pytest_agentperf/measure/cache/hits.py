"""The hits of one block: what a cache answered while it ran."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.units import Unit, format_beside, parse_quantity
from pytest_agentperf.measure.cache.counts import Counts
from pytest_agentperf.measure.cache.loads import Computations
from pytest_agentperf.measure.cache.probe import Probe, Probes, Reading
from pytest_agentperf.measure.cache.results import BlockResults

__all__ = ["CacheHits", "HitSettings"]


@dataclass(frozen=True, slots=True)
class HitSettings:
    """How one block is meant.

    Attributes:
        label: The user's name for the block; None for the unnamed one.
        warm: Whether the cache must hold entries when the block begins.
        computed: What the load behind the cache computes, where that is counted.
    """

    label: str | None = None
    warm: bool = False
    computed: Computations | None = None


class CacheHits:
    """Counts what a cache answers inside `with` or `async with`; it is read after the block.

    What others look up meanwhile counts as well: it is the cache that is read.

    Args:
        probe: Reads the cache.
        settings: How the block is meant.
        probes: The caches that are watched now.
    """

    __slots__ = ("_began", "_computed", "_probe", "_probes", "_results", "_settings")

    def __init__(self, probe: Probe, settings: HitSettings, probes: Probes) -> None:
        self._probe, self._settings, self._probes = probe, settings, probes
        self._began: Counts | None = None
        self._computed = 0
        self._results: BlockResults | None = None

    def __enter__(self) -> Self:
        with self._watching():
            self._begin(self._read_now())
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with self._ending():
            self._end(self._read_now())

    async def __aenter__(self) -> Self:
        with self._watching():
            self._begin(await _resolved(self._probe.read()))
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        with self._ending():
            self._end(await _resolved(self._probe.read()))

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Begin to watch; what goes wrong inside this context ends it."""
        if self._began is not None:
            raise UsageError("this block was used before; it counts once, so call perf_cache again")
        self._probe = self._probes.enter(self._probe)
        try:
            yield
        except BaseException:
            self._probes.leave(self._probe)
            raise

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """End to watch; a cache that fails in this context does not hide how the block ended."""
        try:
            yield
        except Exception as failure:  # noqa: BLE001 -- the cache is the user's code
            why = f"{self._probe.subject} could not be read when the block ended: {failure!r}"
            self._end(self._began or Counts(0, 0), why)
        finally:
            self._probes.leave(self._probe)

    def _read_now(self) -> Counts:
        reading = self._probe.read()
        if isinstance(reading, Counts):
            return reading
        if hasattr(reading, "close"):
            reading.close()  # nobody will await it
        raise UsageError(
            f"{self._probe.subject} is read with await; write `async with perf_cache(…) as hits`"
        )

    def _begin(self, counts: Counts) -> None:
        if self._settings.warm and not counts.size:
            found = "holds no entries" if counts.size == 0 else "does not tell how many it holds"
            raise UsageError(
                f"perf_cache(…, warm=True): {self._probe.subject} {found}; fill it before the"
                " block, or leave warm=True away"
            )
        self._began = counts
        self._computed = self._settings.computed.calls if self._settings.computed else 0

    def _end(self, counts: Counts, failure: str = "") -> None:
        assert self._began is not None  # noqa: S101 -- what ends has begun
        tally, computed = self._probe.tally, self._settings.computed
        self._results = BlockResults(
            self._probe.subject,
            self._began,
            counts,
            tally.strip(self._began) if tally else "",
            computed.calls - self._computed if computed else None,
            computed.mean if computed else None,
            failure,
        )

    # What was found

    @property
    def results(self) -> BlockResults:
        """All that was counted in the block.

        Raises:
            UsageError: The block has not ended.
        """
        if self._results is None:
            state = "new" if self._began is None else "in use"
            raise UsageError(f"this block is {state}; read what it counted after it")
        return self._results

    def _counts(self) -> Counts:
        __tracebackhide__ = True
        if self.results.reason:
            raise CheckError(self.results.reason)
        return self.results.counts

    def _number(self, name: str) -> float:
        __tracebackhide__ = True
        number = self.results.number(name)
        if number is None:
            raise CheckError(f"{name} is unknown: {self.results.why_unknown(name)}")
        return number

    @property
    def hits(self) -> int:
        """Lookups that the cache answered.

        Raises:
            CheckError: The counters ran backwards, or could not be read at the end.
        """
        return self._counts().hits

    @property
    def misses(self) -> int:
        """Lookups that it did not answer; raises what `hits` does."""
        return self._counts().misses

    @property
    def hit_rate(self) -> float:
        """Share of the lookups that it answered, 0 to 1.

        Raises:
            CheckError: There were none, which is neither 0 nor 1; and what `hits` raises.
        """
        return self._number("hit_rate")

    @property
    def evictions(self) -> int:
        """Entries removed for lack of room.

        Raises:
            CheckError: The cache does not count them; and what `hits` raises.
        """
        return int(self._number("evictions"))

    @property
    def time_saved(self) -> float:
        """Seconds that computing the hits would have taken.

        The cache knows them, or they are the hits times the mean of the counted load.

        Raises:
            CheckError: Neither is known; and what `hits` raises.
        """
        return self._number("time_saved")

    @property
    def computations(self) -> int:
        """Calls of the counted load in the block.

        Raises:
            CheckError: None was given, as `perf_cache(cache, load=…)`.
        """
        if self.results.computations is None:
            raise CheckError("no computations were counted; write perf_cache(cache, load=…)")
        return self.results.computations

    @property
    def size_before(self) -> int | None:
        """Entries held at the start; None where the cache does not tell."""
        return self.results.began.size

    @property
    def size_after(self) -> int | None:
        """Entries held at the end; None where the cache does not tell."""
        return self.results.ended.size

    @property
    def started(self) -> str:
        """Whether it held entries at the start: ``"cold"``, ``"warm"`` or ``"unknown"``."""
        return self.results.started

    @property
    def sequence(self) -> str:
        """A letter for each lookup in order, as in ``"MMHHH"``: the last 200, after an ellipsis.

        Empty where the cache counts itself, which tells no order.
        """
        return self.results.strip

    # Assertions

    def assert_hit_rate(self, at_least: float | str) -> None:
        """Fail unless the hit rate is *at_least* this share, as in 0.8 or ``"80 %"``.

        Raises:
            CheckError: It is lower, or unknown.
        """
        __tracebackhide__ = True
        share = parse_quantity(at_least, Unit.SHARE)
        if share > 1:
            raise UsageError(f"at_least={at_least!r}: expected a share of at most 1, as in 0.8")
        if self.hit_rate < share:
            was, wanted = format_beside(self.hit_rate, share, Unit.SHARE)
            raise CheckError(f"hit rate was {was}, expected at least {wanted}: {self.results}")

    def assert_all_hits(self) -> None:
        """Fail unless there were lookups and the cache answered each of them.

        Raises:
            CheckError: It did not, or there were none.
        """
        __tracebackhide__ = True
        if self.hit_rate < 1:
            lookups = self.results.counts.lookups
            raise CheckError(f"{self.misses} of {lookups} lookups missed: {self.results}")

    def assert_misses(self, exactly: int) -> None:
        """Fail unless so many lookups missed.

        Raises:
            CheckError: More or fewer did.
        """
        __tracebackhide__ = True
        if self.misses != exactly:
            word = "miss" if exactly == 1 else "misses"
            raise CheckError(f"expected exactly {exactly} {word}: {self.results}")

    @property
    def is_over(self) -> bool:
        """Whether the block has ended."""
        return self._results is not None

    @property
    def label(self) -> str | None:
        """The user's name for it, or None."""
        return self._settings.label

    def measurement(self) -> Measurement:
        """Return what budgets are held against."""
        return self.results.measurement(self._settings.label)

    def __str__(self) -> str:
        return str(self._results or repr(self))

    def __repr__(self) -> str:
        state = "over" if self._results else "in use" if self._began else "new"
        return f"<CacheHits of {self._probe.subject}, {state}>"


async def _resolved(reading: Reading) -> Counts:
    return reading if isinstance(reading, Counts) else await reading
