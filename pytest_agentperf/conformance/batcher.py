"""A suite for async batchers: `class TestOurs(BatcherConformance)` with one `make_batcher`."""

from pytest_agentperf.conformance.batcher_basics import BatchTests, CallerTests, FailureTests
from pytest_agentperf.conformance.batcher_options import OptionTests

__all__ = ["BatcherConformance"]


class BatcherConformance(BatchTests, CallerTests, FailureTests, OptionTests):
    """Tests of a batcher that is called as `await batcher(item)`; or override `submit`.

    Define `make_batcher(self, *, process, batch_size, max_wait, clock)`; make it async if that
    suits you. Nothing else is passed to it. Each item of a test differs from all others, so that a
    batcher may share or keep results of equal ones.

    A batcher promises each caller the result of its own item, batches of at most `batch_size`, a
    start within `max_wait` while nothing is at work, and an end to every wait, whatever `process`
    and other callers do.

    Attributes:
        supports_close: `close()`, sync or async, lets nobody wait for ever; or override
            `close_batcher`.
        supports_own_exceptions: Each caller of a failed batch gets an exception object of its own.
        supports_skipping_cancelled: An item whose caller has gone before its batch begins is not
            processed.
        supports_concurrent_batches: A slow batch does not hold up the next.
        supports_idling: Nothing runs while there is nothing to do.
        supports_loop_change: It works on a second event loop once the first is closed.
    """

    def test_any_schedule_answers_every_caller(self) -> None:
        """Random schedules of callers, cancellations and failures; shrunk to a short program.

        Seen in ray-project/ray#50046 (cancelled requests hung a batch).
        """
        from pytest_agentperf.conformance.batcher_machine import BatcherMachine

        self.play_machine(lambda: BatcherMachine(self), steps=25)
