"""What the suite finds in decorators of others that share computations: single-flight alone.

A known failure is expected, strictly, with the issue that it belongs to: once it is mended the test
fails and the entry goes.
"""

import subprocess
import sys
import threading
from typing import Any

import pytest

from pytest_agentperf.conformance.cache_flights import AsyncFlightTests, ThreadFlightTests
from tests.conformance.peers import known, peer

FIRST_CANCELLED = "test_cancelling_the_first_caller_leaves_the_others_theirs"
OTHER_CANCELLED = "test_cancelling_another_caller_leaves_the_first_its_own"


class Flights:
    """Functions of one key behind a decorator; what they compute is given with each call.

    Attributes:
        aget_or_compute: Among tasks, if there is a decorator of async functions.
        get_or_compute: Among threads, if there is one of functions.
    """

    def __init__(self, tasks: Any = None, threads: Any = None) -> None:
        self.functions: dict[str, Any] = {}
        if tasks is not None:
            self.aget_or_compute = self._of_tasks(tasks)
        if threads is not None:
            self.get_or_compute = self._of_threads(threads)

    def _of_tasks(self, decorate: Any) -> Any:
        async def compute(key: str) -> Any:
            return await self.functions[key]()

        cached = decorate(compute)

        async def get_or_compute(key: str, function: Any) -> Any:
            self.functions[key] = function
            return await cached(key)

        return get_or_compute

    def _of_threads(self, decorate: Any) -> Any:
        def compute(key: str) -> Any:
            return self.functions[key]()

        cached = decorate(compute)

        def get_or_compute(key: str, function: Any) -> Any:
            self.functions[key] = function
            return cached(key)

        return get_or_compute

    def get(self, key: str, default: Any = None) -> Any:
        raise NotImplementedError

    def set(self, key: str, value: Any) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        return 0


class _Flights(AsyncFlightTests, ThreadFlightTests):
    supports_single_flight = True
    deadline: float | None = 3.0

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        return self.make_flights(max_size)

    def make_flights(self, max_size: int) -> Flights:
        raise NotImplementedError


@peer("cachetools")
@known(
    "tkem/cachetools#92: of an async function it keeps the coroutine, which can be awaited once",
    "test_concurrent_tasks_share_one_computation",
    "test_slow_computation_is_still_shared",
    "test_result_is_kept_and_computed_no_more",
    "test_exception_reaches_every_task_and_is_not_kept",
    FIRST_CANCELLED,
    OTHER_CANCELLED,
    "test_key_works_again_after_all_its_callers_were_cancelled",
    "test_values_survive_their_event_loop",
)
class TestCachetoolsCached(_Flights):
    def make_flights(self, max_size: int) -> Flights:
        library = pytest.importorskip("cachetools")
        return Flights(
            library.cached(library.LRUCache(max_size)),
            library.cached(library.LRUCache(max_size), condition=threading.Condition()),
        )


@peer("cachebox")
@known(
    "cachebox 6.2.10 cancels the followers, as in aio-libs/async-lru#697",
    FIRST_CANCELLED,
    "test_key_works_again_after_all_its_callers_were_cancelled",
)
@known(
    "cachebox 6.2.10: a key whose loop was closed meanwhile waits for ever",
    "test_values_survive_their_event_loop",
)
class TestCacheboxCached(_Flights):
    def make_flights(self, max_size: int) -> Flights:
        library = pytest.importorskip("cachebox")
        return Flights(
            library.cached(library.LRUCache(max_size)), library.cached(library.LRUCache(max_size))
        )


@peer("moka-py")
@known(
    "moka-py 0.5.0 keeps the task of an exception, as in imnotjames/cachetools-async#14",
    "test_exception_reaches_every_task_and_is_not_kept",
)
@known(
    "moka-py 0.5.0 cancels all callers and keeps that, as in aio-libs/async-lru#697",
    FIRST_CANCELLED,
    OTHER_CANCELLED,
    "test_key_works_again_after_all_its_callers_were_cancelled",
)
@known(
    "moka-py 0.5.0 keeps the task of a loop that was closed",
    "test_values_survive_their_event_loop",
)
class TestMokaCached(_Flights):
    deadline = None  # not in a thread of its own: see TestMokaInThreads

    def make_flights(self, max_size: int) -> Flights:
        library = pytest.importorskip("moka_py")
        return Flights(
            library.cached(max_size, wait_concurrent=True),
            library.cached(max_size, wait_concurrent=True),
        )


@peer("moka-py")
class TestMokaInThreads:
    """Its caches are made in threads: in a process of its own, which may end."""

    @pytest.mark.xfail(
        reason="moka-py 0.5.0 ends the interpreter (segmentation fault) where threads make caches",
        strict=True,
    )
    def test_threads_leave_the_interpreter_alive(self) -> None:
        program = (
            "from tests.conformance.test_peer_flights import TestMokaCached\n"
            "TestMokaCached.deadline = 3\n"
            "TestMokaCached().test_concurrent_threads_share_one_computation()\n"
            "TestMokaCached().test_exception_releases_every_thread_and_is_not_kept()\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert ended.returncode >= 0, f"ended by signal {-ended.returncode}"


@peer("theine")
@known(
    "theine 2.0.0: after an exception every later call hangs, the sync twin of Yiling-J/theine#34",
    "test_exception_releases_every_thread_and_is_not_kept",
)
@known(
    "theine 2.0.0 cancels the followers, as in aio-libs/async-lru#697",
    FIRST_CANCELLED,
    OTHER_CANCELLED,
    "test_key_works_again_after_all_its_callers_were_cancelled",
)
@known(
    "theine 2.0.0 waits for a future of a loop that was closed",
    "test_values_survive_their_event_loop",
)
class TestTheineMemoize(_Flights):
    def make_flights(self, max_size: int) -> Flights:
        library = pytest.importorskip("theine")
        return Flights(library.Memoize(max_size, None), library.Memoize(max_size, None))


@peer("cashews")
@known(
    "cashews 7.6.0 cancels the other callers, as in aio-libs/async-lru#697",
    FIRST_CANCELLED,
    OTHER_CANCELLED,
)
@known(
    "cashews 7.6.0 waits for a future of a loop that was closed",
    "test_values_survive_their_event_loop",
)
class TestCashewsLocked(_Flights):
    def make_flights(self, max_size: int) -> Flights:
        library = pytest.importorskip("cashews")
        cache = library.Cache()
        cache.setup("mem://", size=max_size)
        return Flights(cache(ttl="1h", key="{key}", lock=True))


@peer("aiocache")
@known(
    "aio-libs/aiocache#527: whoever waits longer than the lease computes too",
    "test_slow_computation_is_still_shared",
)
@known("aio-libs/aiocache#1033: None is a miss", "test_result_is_kept_and_computed_no_more")
@known(
    "aiocache 0.12.3: after an exception its waiters compute one after the other",
    "test_exception_reaches_every_task_and_is_not_kept",
)
@known(
    "aiocache 0.12.3: when the first caller is cancelled each of the others computes",
    FIRST_CANCELLED,
)
class TestAiocacheStampede(_Flights):
    def make_flights(self, max_size: int) -> Flights:
        library = pytest.importorskip("aiocache")
        return Flights(
            library.cached_stampede(
                cache=library.SimpleMemoryCache,
                key_builder=lambda _, key: key,
                namespace=str(id(self.clock)),
            )
        )
