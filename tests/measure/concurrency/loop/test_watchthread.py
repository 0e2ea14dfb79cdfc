"""Tests of the threads that look: handed over, put to sleep, ended, and gone in a forked child."""

import _thread
import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from pytest_agentperf.measure.concurrency.loop import watchthread
from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch
from pytest_agentperf.measure.concurrency.loop.watchthread import WatchThread, waiting_thread

SOON = 0.001
PATIENCE = 10.0


class Looking:
    """What is handed to a thread: it says who looks, and that it has looked."""

    def __init__(self) -> None:
        self.idents: list[int] = []
        self.has_looked = threading.Event()

    def __call__(self) -> float:
        self.idents.append(_thread.get_ident())
        self.has_looked.set()
        return SOON

    def wait(self) -> int:
        """Wait for the next look, and return the thread that looks."""
        self.has_looked.clear()
        assert self.has_looked.wait(PATIENCE)
        return self.idents[-1]


@pytest.fixture(autouse=True)
def no_other_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[WatchThread]]:
    """Let no thread of another test wait for a watch."""
    waiting: list[WatchThread] = []
    monkeypatch.setattr(watchthread, "_WAITING", waiting)
    monkeypatch.setattr(watchthread, "_LINGER", 0.05)
    yield waiting
    wait_until(lambda: not waiting)


def wait_until(is_so: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(1000):
        if is_so():
            return
        tick.wait(PATIENCE / 1000)
    raise AssertionError("it never came to pass")


def test_thread_looks_for_one_watch_after_another() -> None:
    first, second = Looking(), Looking()
    thread = waiting_thread()
    thread.begin(first, SOON)
    ident = first.wait()
    thread.end(quiet=False)
    again = waiting_thread()
    again.begin(second, SOON)
    assert again is thread
    assert second.wait() == ident
    again.end(quiet=False)


def test_two_watches_at_once_have_a_thread_each() -> None:
    first, second = Looking(), Looking()
    threads = [waiting_thread(), waiting_thread()]
    for thread, looking in zip(threads, (first, second), strict=True):
        thread.begin(looking, SOON)
    assert first.wait() != second.wait()
    for thread in threads:
        thread.end(quiet=False)


def test_watch_that_has_ended_is_looked_at_no_more() -> None:
    looking, other = Looking(), Looking()
    thread = waiting_thread()
    thread.begin(looking, SOON)
    looking.wait()
    thread.end(quiet=True)
    looks = len(looking.idents)
    waiting_thread().begin(other, SOON)
    other.wait()
    thread.end(quiet=True)
    assert len(looking.idents) == looks


def test_thread_that_sleeps_is_woken_for_the_next_watch() -> None:
    looking = Looking()
    threads = set()
    for _ in range(3):
        thread = waiting_thread()
        threads.add(thread)
        thread.begin(looking, SOON)
        looking.wait()
        thread.end(quiet=True)  # now it sleeps, and longer than until the next look
    assert threads == {thread}


def test_thread_in_a_long_pause_is_woken_for_a_watch_that_looks_sooner() -> None:
    started, looking = threading.Event(), Looking()
    thread = waiting_thread()

    def look_rarely() -> float:
        started.set()
        return 10 * PATIENCE

    thread.begin(look_rarely, SOON)
    assert started.wait(PATIENCE)
    wait_until(lambda: thread._due > 0)
    thread.end(quiet=False)
    waiting_thread().begin(looking, SOON)
    assert looking.wait()
    thread.end(quiet=True)


def test_quiet_end_returns_when_the_thread_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchthread, "_DOZE", PATIENCE)
    looking = Looking()
    thread = waiting_thread()
    thread.begin(looking, SOON)
    looking.wait()
    assert thread._awake.locked()
    thread.end(quiet=True)
    assert not thread._awake.locked()


def test_thread_without_a_watch_ends(no_other_threads: list[WatchThread]) -> None:
    looking = Looking()
    thread = waiting_thread()
    thread.begin(looking, SOON)
    looking.wait()
    assert native_ids() >= {thread.native_id}
    thread.end(quiet=False)
    assert no_other_threads == [thread]
    wait_until(lambda: thread.native_id not in native_ids())
    assert no_other_threads == []


def native_ids() -> set[int]:
    if not os.path.isdir("/proc/self/task"):  # noqa: PTH112
        pytest.skip("this system does not list the threads of a process")
    return {int(name) for name in os.listdir("/proc/self/task")}  # noqa: PTH208


def test_thread_is_in_no_list_of_threads() -> None:
    before, looking = threading.enumerate(), Looking()
    thread = waiting_thread()
    thread.begin(looking, SOON)
    looking.wait()
    assert threading.enumerate() == before
    thread.end(quiet=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_thread_of_a_parent_is_not_taken_by_its_child() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["child:", "0", "1", "parent:", "1"]


FORKING = """
import asyncio, os, time
from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch

async def blocks():
    watch = LoopWatch()
    watch.start()
    await asyncio.sleep(0.02)
    time.sleep(0.1)
    await asyncio.sleep(0)
    watch.stop()
    return len([block for block in watch.blocks if block.is_by_user and block.place])

async def main():
    before = LoopWatch()
    before.start()
    before.stop()
    inherited = LoopWatch()
    inherited.start()
    if os.fork() == 0:
        inherited.stop()
        asyncio._set_running_loop(None)
        print("child:", len(inherited.blocks), asyncio.run(blocks()), flush=True)
        os._exit(0)
    os.wait()
    inherited.stop()
    print("parent:", await blocks())

asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_watch_keeps_nothing_of_a_loop_alive_when_it_has_ended() -> None:
    class Marked:
        pass

    def run() -> "weakref.ref[Marked]":
        async def main() -> "weakref.ref[Marked]":
            marked = Marked()
            asyncio.get_running_loop().marked = marked  # type: ignore[attr-defined]
            watch = LoopWatch()
            watch.start()
            await asyncio.sleep(0.03)
            watch.stop()
            return weakref.ref(marked)

        return asyncio.run(main())

    reference = await asyncio.to_thread(run)
    gc.collect()
    assert reference() is None


@pytest.mark.asyncio
async def test_watches_of_two_loops_on_two_threads_find_the_block_of_their_own() -> None:
    def run(seconds: float) -> list[float]:
        async def main() -> list[float]:
            watch = LoopWatch()
            watch.start()
            await asyncio.sleep(0.02)
            threading.Event().wait(seconds)
            await asyncio.sleep(0)
            watch.stop()
            return [block.wall for block in watch.blocks if block.is_by_user]

        return asyncio.run(main())

    found = await asyncio.gather(asyncio.to_thread(run, 0.1), asyncio.to_thread(run, 0.3))
    assert [len(walls) for walls in found] == [1, 1]
    assert 0.08 <= found[0][0] < 0.28 <= found[1][0]


@pytest.mark.asyncio
async def test_hundred_short_watches_take_one_thread(
    no_other_threads: list[WatchThread], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    start = _thread.start_new_thread

    def counting(function: Callable[..., object], args: tuple[object, ...]) -> int:
        started.append(function)
        return start(function, args)

    monkeypatch.setattr(_thread, "start_new_thread", counting)
    for _ in range(100):
        watch = LoopWatch()
        watch.start()
        await asyncio.sleep(0)
        watch.stop()
    assert len(started) == len(no_other_threads) == 1
