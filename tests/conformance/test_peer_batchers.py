"""What the suites find in batchers and breakers of others.

A known failure is expected, strictly, with the issue that it belongs to: once it is mended the test
fails and the entry goes.
"""

from datetime import timedelta
from typing import Any

import pytest

from pytest_agentperf.conformance import BatcherConformance, BreakerConformance
from pytest_agentperf.conformance import adapters as adapt
from tests.conformance.peers import known, peer

ONE_EXCEPTION = "one exception object for all callers, as in python/cpython#90873"
ONE_LOOP = "it stays on its first event loop, as in MagicStack/asyncpg#293"
POLLING = "it polls while nobody asks, as in langchain-ai/langgraph#3445"


@peer("aiodataloader")
@known(
    "aiodataloader 0.4.3: a cancelled batch leaves its callers waiting, as in "
    "syrusakbary/aiodataloader#55",
    "test_function_that_is_cancelled_leaves_nobody_waiting",
)
@known(
    "aiodataloader 0.4.3 keeps the cancelled future of an item, as in aio-libs/async-lru#697",
    "test_cancelled_caller_spares_another_of_the_same_item",
)
@known(f"aiodataloader 0.4.3: {ONE_EXCEPTION}", "test_each_caller_gets_an_exception_of_its_own")
@known(f"aiodataloader 0.4.3: {ONE_LOOP}", "test_batcher_works_on_a_second_event_loop")
class TestAiodataloader(BatcherConformance):
    supports_own_exceptions = True
    supports_concurrent_batches = True
    supports_idling = True
    supports_loop_change = True

    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        library = pytest.importorskip("aiodataloader")
        return adapt.DataLoaderBatcher(library.DataLoader(process, max_batch_size=batch_size))


@peer("async-batcher")
@known(
    "async-batcher 0.2.2: one cancelled caller leaves the others waiting, as in "
    "syrusakbary/aiodataloader#44",
    "test_cancelled_caller_leaves_the_others_their_results",
    "test_caller_cancelled_while_its_batch_runs_harms_nobody",
    "test_cancelled_caller_spares_another_of_the_same_item",
    "test_batcher_works_after_all_callers_of_a_batch_were_cancelled",
    "test_any_schedule_answers_every_caller",
)
@known(
    "async-batcher 0.2.2: a cancelled batch leaves its callers waiting, as in "
    "ray-project/ray#66140",
    "test_function_that_is_cancelled_leaves_nobody_waiting",
)
@known(
    "async-batcher 0.2.2 takes None for results of None",
    "test_result_of_none_is_an_error_for_every_caller",
)
@known("async-batcher 0.2.2 refuses a size of 1", "test_batches_are_never_larger_than_batch_size")
@known(
    "async-batcher 0.2.2 leaves callers waiting that come, or wait, when it is stopped by force",
    "test_close_leaves_nobody_waiting",
    "test_item_after_close_is_refused",
)
@known(f"async-batcher 0.2.2: {ONE_EXCEPTION}", "test_each_caller_gets_an_exception_of_its_own")
@known(f"async-batcher 0.2.2: {POLLING}", "test_idle_batcher_does_nothing")
@known(f"async-batcher 0.2.2: {ONE_LOOP}", "test_batcher_works_on_a_second_event_loop")
class TestAsyncBatcher(BatcherConformance):
    supports_close = True
    supports_own_exceptions = True
    supports_idling = True
    supports_loop_change = True

    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        library = pytest.importorskip("async_batcher.batcher")

        class Ours(library.AsyncBatcher):  # type: ignore[misc,name-defined]
            async def process_batch(self, batch: Any) -> Any:
                return await process(batch)

        return Ours(max_batch_size=max(batch_size, 2), max_queue_time=max_wait)

    def submit(self, batcher: Any, item: Any) -> Any:
        return batcher.process(item)

    def close_batcher(self, batcher: Any) -> Any:
        return batcher.stop(force=True)


@peer("batched")
@known(
    "batched 0.1.5: a cancelled batch ends its loop and leaves all callers waiting, as in "
    "ray-project/ray#66140",
    "test_function_that_is_cancelled_leaves_nobody_waiting",
)
@known(
    "batched 0.1.5: one batch at a time, as in graphql/dataloader#247",
    "test_slow_batch_does_not_hold_up_the_next",
)
@known(f"batched 0.1.5: {ONE_EXCEPTION}", "test_each_caller_gets_an_exception_of_its_own")
@known(f"batched 0.1.5: {POLLING}", "test_idle_batcher_does_nothing")
@known(f"batched 0.1.5: {ONE_LOOP}", "test_batcher_works_on_a_second_event_loop")
class TestBatched(BatcherConformance):
    supports_own_exceptions = True
    supports_skipping_cancelled = True
    supports_concurrent_batches = True
    supports_idling = True
    supports_loop_change = True

    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        library = pytest.importorskip("batched.aio")
        return library.AsyncBatchProcessor(
            process, batch_size=batch_size, timeout_ms=1000 * max_wait
        )


@peer("purgatory")
@known(
    "purgatory 3.0.1 lets all through, as in resilience4j/resilience4j#1432",
    "test_half_open_circuit_makes_one_call_at_a_time",
)
@known(
    "purgatory 3.0.1 counts cancellations, as in wshobson/maverick-mcp#272",
    "test_cancellation_is_no_failure",
)
@known(
    "purgatory 3.0.1 raises one object again and again, as in python/cpython#90873",
    "test_each_rejection_is_a_new_exception",
)
class TestPurgatory(BreakerConformance):
    supports_clock = False
    supports_ignored = True

    async def make_breaker(self, *, max_failures: int, reset_timeout: float, clock: Any) -> Any:
        library = pytest.importorskip("purgatory")
        factory = library.AsyncCircuitBreakerFactory(
            max_failures, reset_timeout, exclude=[self.ignored]
        )
        return adapt.GuardedBreaker(lambda: factory.get_breaker("ours"))


@peer("aiobreaker")
@known(
    "aiobreaker 1.2.0 lets all through, as in resilience4j/resilience4j#1432",
    "test_half_open_circuit_makes_one_call_at_a_time",
)
@known(
    "danielfm/pybreaker#60: the failure that opens the circuit is replaced",
    "test_results_and_errors_reach_the_caller_as_they_are",
)
@pytest.mark.filterwarnings("ignore:datetime.*utcnow:DeprecationWarning")  # its own, from 3.12 on
class TestAiobreaker(BreakerConformance):
    supports_clock = False
    supports_ignored = True

    def make_breaker(self, *, max_failures: int, reset_timeout: float, clock: Any) -> Any:
        library = pytest.importorskip("aiobreaker")
        return adapt.AiobreakerBreaker(
            library.CircuitBreaker(
                max_failures, timedelta(seconds=reset_timeout), exclude=[self.ignored]
            )
        )
