"""Tests of the threads for sync functions."""

import asyncio
import threading

import pytest

from pytest_agentperf.measure.load.threads import Threads

pytestmark = pytest.mark.asyncio


def load_threads() -> int:
    return sum(thread.name == "agentperf load" for thread in threading.enumerate())


async def test_calls_at_once_have_a_thread_each() -> None:
    threads = Threads(asyncio.get_running_loop())
    barrier = threading.Barrier(5, timeout=5)
    found = await asyncio.gather(*(threads.run(barrier.wait) for _ in range(5)))
    assert sorted(found) == list(range(5))
    threads.close()


async def test_calls_in_turn_share_a_thread() -> None:
    threads = Threads(asyncio.get_running_loop())
    assert len({await threads.run(threading.get_ident) for _ in range(20)}) == 1
    threads.close()


async def test_threads_end_when_they_are_closed() -> None:
    threads = Threads(asyncio.get_running_loop())
    released = threading.Event()
    await threads.run(lambda: None)
    waiting = threads.run(released.wait)
    threads.close()
    assert threads.busy == 1
    released.set()
    await waiting
    assert threads.busy == 0
    for thread in threading.enumerate():
        if thread.name == "agentperf load":
            thread.join(5)
    assert load_threads() == 0


async def test_call_that_nobody_waits_for_any_more_frees_its_thread() -> None:
    threads = Threads(asyncio.get_running_loop())
    released = threading.Event()
    future = threads.run(released.wait)
    future.cancel()
    released.set()
    await threads.wait(5)
    assert threads.busy == 0
    threads.close()


async def test_threads_do_not_keep_the_interpreter_from_exiting() -> None:
    threads = Threads(asyncio.get_running_loop())
    is_daemon = await threads.run(lambda: threading.current_thread().daemon)
    assert is_daemon
    threads.close()
