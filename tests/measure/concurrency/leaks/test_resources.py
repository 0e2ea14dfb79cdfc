"""Tests of resources: threads, processes, sockets and files, as the system sees them."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import anyio.to_thread
import pytest

from pytest_agentperf.measure.concurrency.leaks import resources
from pytest_agentperf.measure.concurrency.leaks.leak import LeakSource
from pytest_agentperf.measure.concurrency.leaks.resources import (
    DescriptorLeaks,
    ProcessLeaks,
    ThreadLeaks,
)
from pytest_agentperf.measure.concurrency.origins import caller
from pytest_agentperf.measure.hooks import Hooks


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    hooks = Hooks()
    hooks.active = True
    yield hooks
    hooks.undo()


def begun(source: LeakSource) -> Any:
    source.remember()
    source.start()
    return source


@pytest.fixture
def threads(hooks: Hooks) -> Any:
    return begun(ThreadLeaks(hooks, caller, None))


@pytest.fixture
def processes(hooks: Hooks) -> Any:
    return begun(ProcessLeaks(hooks, caller, None))


@pytest.fixture
def descriptors(hooks: Hooks) -> Any:
    return begun(DescriptorLeaks(hooks, caller, None))


def test_thread_says_who_started_it_and_where_it_is(threads: Any) -> None:
    ready: queue.Queue[None] = queue.Queue()
    done = threading.Event()

    def work() -> None:
        ready.put(None)
        done.wait()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    ready.get()
    (leak,) = threads.leaks()
    assert (leak.kind, leak.name) == ("thread", "worker")
    assert leak.sentence == (
        f"thread 'worker' is still running; started at {leak.place}; now at {leak.now}"
    )
    assert leak.place.source == "thread.start()"
    assert leak.now.source == "done.wait()"
    done.set()
    thread.join()
    assert list(threads.leaks()) == []


def test_thread_of_an_executor_of_the_users_is_reported_until_its_shutdown(threads: Any) -> None:
    executor = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="mine")
    executor.submit(int).result()
    assert [leak.name for leak in threads.leaks()] == ["mine_0"]
    executor.shutdown()
    assert list(threads.leaks()) == []


def test_thread_that_wraps_one_of_no_threading_is_not_reported(threads: Any) -> None:
    lock, ready = threading.Lock(), queue.Queue[None]()
    lock.acquire()

    def work() -> None:
        threading.current_thread()
        ready.put(None)
        with lock:
            ready.put(None)

    import _thread

    _thread.start_new_thread(work, ())
    ready.get()
    assert list(threads.leaks()) == []
    lock.release()
    ready.get()


@pytest.mark.parametrize("kind", ["asyncio", "a default executor of the user's"])
def test_thread_of_the_loops_own_executor_is_not_reported(kind: str, hooks: Hooks) -> None:
    async def work() -> list[Any]:
        loop = asyncio.get_running_loop()
        if kind != "asyncio":
            loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        threads = begun(ThreadLeaks(hooks, caller, loop))
        await asyncio.to_thread(int)
        return list(threads.leaks())

    assert asyncio.run(work()) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_thread_that_anyio_keeps_is_not_reported(backend: str, threads: Any) -> None:
    async def work() -> list[Any]:
        await anyio.to_thread.run_sync(int)
        return list(threads.leaks())

    assert anyio.run(work, backend=backend) == []


def test_thread_of_our_own_is_not_reported(threads: Any) -> None:
    done = threading.Event()

    def work() -> None:
        done.wait()

    work.__module__ = "pytest_agentperf.measure.concurrency.loop.watchdog"
    threads_started = [threading.Thread(target=work)]
    work_of_the_user = threading.Thread(target=done.wait, name="user's")
    for thread in (*threads_started, work_of_the_user):
        thread.start()
    assert [leak.name for leak in threads.leaks()] == ["user's"]
    done.set()
    for thread in (*threads_started, work_of_the_user):
        thread.join()


def test_process_is_reported_while_it_runs(processes: Any) -> None:
    process = subprocess.Popen(["sleep", "60"])
    (leak,) = processes.leaks()
    assert leak.sentence == (
        f"process {process.pid} ('sleep 60') is still running; started at {leak.place}"
    )
    assert leak.place.source == 'process = subprocess.Popen(["sleep", "60"])'
    process.kill()
    process.wait()
    assert list(processes.leaks()) == []


def test_process_that_has_ended_and_was_not_waited_for_is_not_reported(processes: Any) -> None:
    with subprocess.Popen("exit 0", shell=True, stdout=subprocess.PIPE) as process:  # noqa: S602
        assert process.stdout
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert list(processes.leaks()) == []


def test_process_of_multiprocessing_is_reported_while_it_runs(processes: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    process.start()
    (leak,) = (leak for leak in processes.leaks() if leak.name == process.name)
    assert leak.place.source == "process.start()"
    process.kill()
    process.join()
    assert process.name not in {leak.name for leak in processes.leaks()}
    process.close()


def test_process_that_cannot_be_started_fails_as_ever(processes: Any) -> None:
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["no such program"])
    assert list(processes.leaks()) == []


@pytest.mark.parametrize("how", ["open", "Path.open", "os.open"])
def test_file_is_reported_with_its_path_and_line(
    how: str, descriptors: Any, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.touch()
    if how == "os.open":
        opened: Any = os.open(path, os.O_RDONLY)
    else:
        opened = path.open() if how == "Path.open" else open(path)  # noqa: PTH123, SIM115
    (leak,) = descriptors.leaks()
    assert (leak.kind, leak.name) == ("fd", str(path))
    number = opened if how == "os.open" else opened.fileno()
    assert leak.sentence == (
        f"{path} (file descriptor {number}) is still open; opened at {leak.place}"
    )
    assert leak.place.source.startswith("opened")
    os.close(opened) if how == "os.open" else opened.close()
    assert list(descriptors.leaks()) == []


def test_file_that_took_the_number_of_another_is_reported(hooks: Hooks, tmp_path: Path) -> None:
    first = (tmp_path / "first").open("w")
    descriptors = begun(DescriptorLeaks(hooks, caller, None))
    number = first.fileno()
    first.close()
    with (tmp_path / "second").open("w") as second:
        assert second.fileno() == number
        (leak,) = descriptors.leaks()
        assert leak.name == str(tmp_path / "second")


def test_file_is_not_laid_to_the_line_of_another_that_had_its_number(
    descriptors: Any, hooks: Hooks, tmp_path: Path
) -> None:
    with (tmp_path / "first").open("w") as first:
        number = first.fileno()
    hooks.undo()
    with (tmp_path / "second").open("w") as second:
        assert second.fileno() == number
        (leak,) = descriptors.leaks()
        assert leak.place is None


@pytest.mark.parametrize("path", [os.devnull, "/proc/self/stat", "/dev/urandom"])
def test_file_that_everybody_keeps_is_not_reported(path: str, descriptors: Any) -> None:
    with Path(path).open("rb"):
        assert list(descriptors.leaks()) == []


def test_file_that_cannot_be_opened_fails_as_ever(descriptors: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open(tmp_path / "absent")  # noqa: PTH123, SIM115
    assert list(descriptors.leaks()) == []


def test_stand_in_for_a_file_is_returned_as_ever(hooks: Hooks) -> None:
    with mock.patch("builtins.open", mock.mock_open(read_data="text")):
        descriptors = begun(DescriptorLeaks(hooks, caller, None))
        with open("any") as file:  # noqa: PTH123
            assert file.read() == "text"
        assert list(descriptors.leaks()) == []
        hooks.undo()


def test_both_ends_of_a_pipe_are_reported(descriptors: Any) -> None:
    ends = os.pipe()
    assert [(leak.kind, leak.name) for leak in descriptors.leaks()] == [("fd", "pipe")] * 2
    for end in ends:
        os.close(end)


def test_sockets_say_where_they_lead(descriptors: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            with accepted:
                leaks = list(descriptors.leaks())
                names = {leak.name for leak in leaks}
                client_port = client.getsockname()[1]
    assert names == {
        f"socket at 127.0.0.1:{port}",
        f"socket to 127.0.0.1:{port}",
        f"socket to 127.0.0.1:{client_port}",
    }
    assert {leak.place.function for leak in leaks} == {"test_sockets_say_where_they_lead"}
    assert list(descriptors.leaks()) == []


def test_socket_without_an_address_is_reported(descriptors: Any) -> None:
    for end in (pair := socket.socketpair()):
        assert end.family
    assert [leak.kind for leak in descriptors.leaks()] == ["socket", "socket"]
    for end in pair:
        end.close()


def test_what_is_open_is_no_matter_where_the_system_has_no_list(
    monkeypatch: pytest.MonkeyPatch, hooks: Hooks
) -> None:
    monkeypatch.setattr(resources, "_LISTINGS", ("/no/such/folder",))
    descriptors = begun(DescriptorLeaks(hooks, caller, None))
    with Path(__file__).open():
        assert list(descriptors.leaks()) == []
    assert descriptors.notes == (
        "open files and sockets are not seen: this system has no list of them",
    )


def test_server_of_uvloop_is_laid_to_the_line_that_opened_it(hooks: Hooks) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def serve() -> list[Any]:
        loop = asyncio.get_running_loop()
        descriptors = begun(DescriptorLeaks(hooks, caller, loop))
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        leaks = list(descriptors.leaks())
        hooks.undo()
        server.close()
        await server.wait_closed()
        return leaks

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        (leak,) = runner.run(serve())
    assert leak.kind == "socket"
    assert leak.place.function.endswith("serve")


@pytest.mark.skipif(sys.platform != "linux", reason="names come from /proc")
def test_list_of_what_is_open_does_not_hold_itself(descriptors: Any) -> None:
    assert descriptors._open_now() == descriptors._before
