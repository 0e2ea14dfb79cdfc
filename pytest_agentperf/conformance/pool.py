"""A suite for async pools: `class TestOurPool(PoolConformance)` with one method, `make_pool`."""

from pytest_agentperf.conformance.pool_basics import CancellationTests, ConnectTests, LeaseTests
from pytest_agentperf.conformance.pool_options import CloseTests, OptionTests

__all__ = ["PoolConformance"]


class PoolConformance(LeaseTests, CancellationTests, ConnectTests, CloseTests, OptionTests):
    """Tests of a pool whose `acquire()` is an async context manager of one connection.

    Or `await pool.acquire()` gives the connection and `pool.release(connection)` takes it back,
    sync or async; or override `lease`. Define `make_pool(self, *, connect, close, max_size,
    clock)`; make it async if that suits you. Nothing else is passed to it.

    A pool promises never to have more than `max_size` connections, to lease one to one caller at a
    time, to reuse what comes back, and to lose no slot whatever callers and connects do.

    Attributes:
        supports_close: `close()`, sync or async, closes all connections; or override `close_pool`.
        supports_timeout: `acquire(timeout=seconds)` raises when it waited so long.
        supports_fifo: Callers are served in the order in which they came.
        supports_discard_on_cancel: A connection whose block was cancelled is not leased again.
        supports_discard_on_error: Nor is one whose block raised an `OSError`.
        supports_idle_timeout: Connections idle for `idle_timeout` seconds are closed; let your
            factory pass `self.idle_timeout` on.
        supports_max_lifetime: So are those that are `max_lifetime` seconds old.
        supports_loop_change: It works on a second event loop once the first is closed.
    """

    def test_any_schedule_loses_no_slot(self) -> None:
        """Random schedules of callers, cancellations and failures; shrunk to a short program.

        Seen in agronholm/anyio#947 (0 borrowed, 14 waiting).
        """
        from pytest_agentperf.conformance.pool_machine import PoolMachine

        self.play_machine(lambda: PoolMachine(self), steps=25)
