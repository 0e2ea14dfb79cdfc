"""A right cache, and wrong ones."""

import asyncio
import threading
import time
from collections import OrderedDict
from typing import Any, ClassVar

from tests.conformance.faulty import caught_by

FOREVER = float("inf")


class RightCache:
    """An LRU cache with everything that the suite can ask for, in tasks and in threads."""

    def __init__(self, max_size: int, ttl: float | None, clock: Any) -> None:
        self.max_size, self.ttl, self.clock = max_size, ttl, clock
        self.entries: OrderedDict[Any, tuple[Any, float]] = OrderedDict()
        self.lock: Any = threading.RLock()
        self.hits = self.misses = 0
        self.flights: dict[Any, Any] = {}
        self.thread_flights: dict[Any, threading.Lock] = {}

    def key_of(self, key: Any) -> Any:
        return (type(key), key) if not isinstance(key, str) else key

    def get(self, key: Any, default: Any = None) -> Any:
        key = self.key_of(key)
        with self.lock:
            if key in self.entries and self.is_live(key):
                self.hits += 1
                self.use(key)
                return self.entries[key][0]
            self.misses += 1
            self.entries.pop(key, None)
            return default

    def is_live(self, key: Any) -> bool:
        return bool(self.clock() < self.entries[key][1])

    def use(self, key: Any) -> None:
        self.entries.move_to_end(key)

    def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        key = self.key_of(key)
        with self.lock:
            self.flights.pop(key, None)
            self.make_room(key)
            self.entries[key] = value, self.expiry(key, self.ttl if ttl is None else ttl)
            self.entries.move_to_end(key)

    def expiry(self, key: Any, ttl: float | None) -> float:
        return FOREVER if ttl is None else self.clock() + ttl

    def make_room(self, key: Any) -> None:
        while key not in self.entries and len(self.entries) >= self.max_size:
            self.entries.popitem(last=False)

    def delete(self, key: Any) -> None:
        key = self.key_of(key)
        with self.lock:
            self.flights.pop(key, None)
            self.entries.pop(key, None)

    def __len__(self) -> int:
        return len(self.entries)

    def stats(self) -> Any:
        return self

    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        found = self.get(key, self)
        if found is not self:
            return found
        flight = self.flights.get(key)
        if flight is None or flight[0].get_loop().is_closed():
            flight = self.begin(key, function)
        flight[1] += 1
        try:
            return await asyncio.shield(flight[0])
        finally:
            flight[1] -= 1
            if not flight[1] and not flight[0].done():
                self.flights.pop(key, None)
                flight[0].cancel()

    def begin(self, key: Any, function: Any) -> list[Any]:
        flight: list[Any] = [asyncio.ensure_future(function()), 0]
        self.flights[key] = flight
        flight[0].add_done_callback(lambda task: self.land(key, flight, task))
        return flight

    def land(self, key: Any, flight: Any, task: Any) -> None:
        is_kept = self.flights.get(key) is flight
        if is_kept:
            del self.flights[key]
        if not task.cancelled() and task.exception() is None and is_kept:
            self.set(key, task.result())

    def get_or_compute(self, key: Any, function: Any) -> Any:
        with self.lock:
            lock = self.thread_flights.setdefault(key, threading.Lock())
        with lock:
            found = self.get(key, self)
            if found is self:
                found = function()
                self.set(key, found)
            return found


@caught_by("test_falsy_values_are_no_misses")
class TakesFalsyForMissing(RightCache):
    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key) or default


@caught_by("test_none_is_a_value_and_no_miss")
class TakesNoneForMissing(RightCache):
    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key)
        return default if found is None else found


@caught_by("test_missing_key_gives_the_default")
class IgnoresTheDefault(RightCache):
    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key, None if default in ("", 0) else default)


@caught_by("test_default_is_not_stored")
class StoresTheDefault(RightCache):
    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key, default)
        self.set(key, found)
        return found


@caught_by("test_set_replaces_the_value_of_a_key")
class KeepsTheFirstValue(RightCache):
    def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        if key not in self.entries:
            super().set(key, value, ttl)


@caught_by("test_never_more_than_max_size_entries_live")
class HoldsOneTooMany(RightCache):
    def make_room(self, key: Any) -> None:
        while key not in self.entries and len(self.entries) > self.max_size:
            self.entries.popitem(last=False)


@caught_by("test_nothing_is_evicted_before_the_cache_is_full")
class HoldsOneTooFew(RightCache):
    def make_room(self, key: Any) -> None:
        while key not in self.entries and len(self.entries) >= max(self.max_size - 1, 1):
            self.entries.popitem(last=False)


@caught_by("test_overwriting_in_a_full_cache_evicts_nothing")
class EvictsWhenOverwriting(RightCache):
    def make_room(self, key: Any) -> None:
        while len(self.entries) >= self.max_size:
            self.entries.popitem(last=False)


@caught_by("test_similar_keys_are_not_mixed_up")
class IgnoresCase(RightCache):
    def key_of(self, key: Any) -> Any:
        return key.lower() if isinstance(key, str) else super().key_of(key)


@caught_by("test_keys_of_any_type_are_kept_apart")
class TakesTextForKeys(RightCache):
    def key_of(self, key: Any) -> Any:
        return str(key)


@caught_by("test_keys_with_equal_hashes_are_kept_apart")
class TakesHashesForKeys(RightCache):
    def key_of(self, key: Any) -> Any:
        return hash(key)


@caught_by("test_equal_keys_of_different_types_are_kept_apart")
class TakesEqualKeysForOne(RightCache):
    def key_of(self, key: Any) -> Any:
        return key


@caught_by("test_two_caches_share_nothing")
class SharesItsEntries(RightCache):
    shared: ClassVar[OrderedDict[Any, Any]] = OrderedDict()

    def __init__(self, max_size: int, ttl: float | None, clock: Any) -> None:
        super().__init__(max_size, ttl, clock)
        self.shared.clear()
        self.entries = self.shared


@caught_by("test_entry_is_a_hit_before_its_ttl")
class ExpiresTooEarly(RightCache):
    def expiry(self, key: Any, ttl: float | None) -> float:
        return super().expiry(key, ttl and ttl / 2)


@caught_by("test_entry_is_a_miss_after_its_ttl")
class NeverExpires(RightCache):
    def is_live(self, key: Any) -> bool:
        return True


@caught_by("test_time_is_read_from_the_given_clock")
class ReadsTheWallClock(RightCache):
    def __init__(self, max_size: int, ttl: float | None, clock: Any) -> None:
        super().__init__(max_size, ttl, time.time)


@caught_by("test_reading_does_not_extend_the_ttl")
class ExtendsTheTtlByReading(RightCache):
    def use(self, key: Any) -> None:
        super().use(key)
        self.entries[key] = self.entries[key][0], self.expiry(key, self.ttl)


@caught_by("test_overwriting_begins_a_new_ttl")
class KeepsTheFirstExpiry(RightCache):
    def expiry(self, key: Any, ttl: float | None) -> float:
        if key in self.entries and self.is_live(key):
            return self.entries[key][1]
        return super().expiry(key, ttl)


@caught_by("test_expired_key_can_be_set_again")
class KeepsTheExpiryOfTheDead(RightCache):
    def expiry(self, key: Any, ttl: float | None) -> float:
        return self.entries[key][1] if key in self.entries else super().expiry(key, ttl)


@caught_by("test_expired_entries_that_were_touched_make_room")
class KeepsTheDead(RightCache):
    def get(self, key: Any, default: Any = None) -> Any:
        entry = self.entries.get(key)
        return super().get(key, default) if entry is None or self.is_live(key) else default

    def make_room(self, key: Any) -> None:
        while key not in self.entries and len(self.entries) >= self.max_size:
            self.entries.popitem()


@caught_by("test_clock_may_start_anywhere")
class TakesTimeZeroForNever(RightCache):
    def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        super().set(key, value, ttl)
        if not self.clock():
            self.entries[key] = value, FOREVER


@caught_by("test_ttl_of_none_never_ends")
class HasADefaultTtl(RightCache):
    def expiry(self, key: Any, ttl: float | None) -> float:
        return super().expiry(key, 86_400 if ttl is None else ttl)


@caught_by("test_ttl_of_an_entry_overrules_that_of_the_cache")
class IgnoresTheTtlOfAnEntry(RightCache):
    def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        super().set(key, value, self.ttl or ttl)


@caught_by("test_reading_counts_as_use_as_the_order_says")
class EvictsTheOldest(RightCache):
    def use(self, key: Any) -> None:
        pass


@caught_by("test_deleting_an_absent_key_does_nothing")
class DeletesOnlyWhatIsThere(RightCache):
    def delete(self, key: Any) -> None:
        del self.entries[key]


@caught_by("test_lookup_of_an_expired_key_counts_as_a_miss")
class CountsTheDeadAsHits(RightCache):
    def get(self, key: Any, default: Any = None) -> Any:
        is_dead = key in self.entries and not self.is_live(key)
        found = super().get(key, default)
        self.hits, self.misses = self.hits + is_dead, self.misses - is_dead
        return found


@caught_by("test_get_survives_an_eviction_in_the_middle")
class LooksWithoutALock(RightCache):
    def get(self, key: Any, default: Any = None) -> Any:
        if key in self.entries and self.is_live(key):
            return self.entries[key][0]
        return default


@caught_by("test_set_survives_an_eviction_in_the_middle")
class StoresWithoutALock(RightCache):
    def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        self.make_room(key)
        self.entries[key] = value, self.expiry(key, self.ttl if ttl is None else ttl)
        self.entries.move_to_end(key)


@caught_by("test_concurrent_tasks_share_one_computation")
class ComputesForEachTask(RightCache):
    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        found = self.get(key, self)
        if found is self:
            found = await function()
            self.set(key, found)
        return found


@caught_by("test_slow_computation_is_still_shared")
class SharesForASecond(RightCache):
    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        task = asyncio.ensure_future(super().aget_or_compute(key, function))
        asyncio.get_running_loop().call_later(1, self.flights.pop, key, None)
        return await task


@caught_by("test_different_keys_are_computed_at_the_same_time")
class ComputesOneAtATime(RightCache):
    def __init__(self, max_size: int, ttl: float | None, clock: Any) -> None:
        super().__init__(max_size, ttl, clock)
        self.turn = asyncio.Lock()

    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        async with self.turn:
            return await super().aget_or_compute(key, function)


@caught_by("test_exception_reaches_every_task_and_is_not_kept")
class KeepsExceptions(RightCache):
    def land(self, key: Any, flight: Any, task: Any) -> None:
        if task.cancelled() or task.exception() is None:
            super().land(key, flight, task)


@caught_by("test_no_exception_is_reported_as_never_retrieved")
class ForgetsExceptions(RightCache):
    def land(self, key: Any, flight: Any, task: Any) -> None:
        super().land(key, flight, task)
        if not task.cancelled() and (error := task.exception()):
            asyncio.get_running_loop().create_future().set_exception(error)


@caught_by("test_cancelling_the_first_caller_leaves_the_others_theirs")
class CancelsTheFollowers(RightCache):
    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        if key not in self.flights and self.get(key, self) is self:
            return await self.begin(key, function)[0]
        return await super().aget_or_compute(key, function)


@caught_by("test_cancelling_another_caller_leaves_the_first_its_own")
class IsCancelledByFollowers(RightCache):
    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        if key in self.flights:
            return await self.flights[key][0]
        return await super().aget_or_compute(key, function)


@caught_by("test_key_works_again_after_all_its_callers_were_cancelled")
class KeepsCancelledTasks(RightCache):
    def land(self, key: Any, flight: Any, task: Any) -> None:
        if task.cancelled():
            self.flights[key] = flight
        else:
            super().land(key, flight, task)


@caught_by("test_value_deleted_while_it_is_computed_is_not_kept")
class StoresWhatWasDeleted(RightCache):
    def delete(self, key: Any) -> None:
        self.entries.pop(key, None)


@caught_by("test_values_survive_their_event_loop")
class JoinsTheDead(RightCache):
    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        if key in self.flights:
            return await self.flights[key][0]
        return await super().aget_or_compute(key, function)


@caught_by("test_result_is_kept_and_computed_no_more")
class ComputesNoneAgain(RightCache):
    async def aget_or_compute(self, key: Any, function: Any) -> Any:
        found = await super().aget_or_compute(key, function)
        if found is None:
            self.delete(key)
        return found


@caught_by("test_concurrent_threads_share_one_computation")
class ComputesForEachThread(RightCache):
    def get_or_compute(self, key: Any, function: Any) -> Any:
        found = self.get(key, self)
        if found is self:
            found = function()
            self.set(key, found)
        return found


@caught_by("test_exception_releases_every_thread_and_is_not_kept")
class HangsAfterAnException(RightCache):
    def get_or_compute(self, key: Any, function: Any) -> Any:
        with self.lock:
            lock = self.thread_flights.setdefault(key, threading.Lock())
        lock.acquire()
        found = self.get(key, self)
        if found is self:
            found = function()
            self.set(key, found)
        lock.release()
        return found


@caught_by("test_different_keys_are_computed_by_threads_at_the_same_time")
class LocksAllKeys(RightCache):
    def get_or_compute(self, key: Any, function: Any) -> Any:
        with self.lock:
            return super().get_or_compute(key, function)


@caught_by("test_computation_may_call_the_cache_for_another_key")
class DeadlocksOnItself(RightCache):
    def __init__(self, max_size: int, ttl: float | None, clock: Any) -> None:
        super().__init__(max_size, ttl, clock)
        self.computing = threading.Lock()

    def get_or_compute(self, key: Any, function: Any) -> Any:
        with self.computing:
            return super().get_or_compute(key, function)
