"""Virtual time beside servers that answer in real time."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress

import pytest

from pytest_agentperf.conformance import real_io, virtual
from pytest_agentperf.conformance.virtual import Runner, VirtualClock, turns


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(0.0)


@pytest.fixture
def line() -> Iterator[socket.socket]:
    """One end of a line; at the other a server answers each request a little later."""
    ours, other = socket.socketpair()
    ours.setblocking(False)

    def serve() -> None:
        with suppress(OSError):  # nobody waits for the last answer
            while request := other.recv(100):
                time.sleep(0.02)
                other.send(b"answer to " + request)

    server = threading.Thread(target=serve)
    server.start()
    yield ours
    ours.close()
    server.join()
    other.close()


@pytest.fixture
def run(
    clock: VirtualClock, line: socket.socket
) -> Iterator[Callable[[Coroutine[None, None, None]], None]]:
    # The line comes first: its server is no thread of a component, which would get real time.
    runner = Runner(clock, 10.0)
    yield runner.run
    runner.close()


async def ask(line: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(line, b"request")
    return await loop.sock_recv(line, 100)


def test_clock_stands_still_while_a_server_is_asked(
    clock: VirtualClock, run: Callable[..., None], line: socket.socket
) -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            with real_io():
                assert await ask(line) == b"answer to request"
        assert clock() == 0

    run(main())


def test_other_tasks_go_on_while_a_server_is_asked(
    run: Callable[..., None], line: socket.socket
) -> None:
    events: list[str] = []

    async def main() -> None:
        async def work() -> None:
            await asyncio.sleep(0)
            events.append("worked")

        task = asyncio.create_task(work())
        with real_io():
            await ask(line)
        events.append("answered")
        await task

    run(main())
    assert events == ["worked", "answered"]


def test_clock_goes_on_once_the_server_has_answered(
    clock: VirtualClock, run: Callable[..., None], line: socket.socket
) -> None:
    async def main() -> None:
        with real_io():
            await ask(line)
        await asyncio.sleep(1000)
        assert clock() == 1000

    began = time.monotonic()
    run(main())
    assert time.monotonic() - began < virtual.SERVER_TIME


def test_clock_goes_on_after_an_error_of_the_server(
    clock: VirtualClock, run: Callable[..., None]
) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionResetError), real_io():
            raise ConnectionResetError
        await asyncio.sleep(1000)

    began = time.monotonic()
    run(main())
    assert time.monotonic() - began < virtual.SERVER_TIME


def test_clock_does_not_wait_for_a_server_outside_of_real_io(
    run: Callable[..., None], line: socket.socket
) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(line), 5)

    run(main())


def test_silent_server_holds_the_clock_up_for_a_while_alone(
    clock: VirtualClock,
    run: Callable[..., None],
    line: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(virtual, "SERVER_TIME", 0.01)

    async def main() -> None:
        async def listen() -> None:
            with real_io():
                await asyncio.get_running_loop().sock_recv(line, 100)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listen(), 5)
        assert clock() == 5

    run(main())


def test_turns_go_round_until_the_server_has_answered(
    clock: VirtualClock, run: Callable[..., None], line: socket.socket
) -> None:
    async def main() -> None:
        async def work() -> bytes:
            with real_io():
                return await ask(line)

        task = asyncio.create_task(work())
        await turns(3)
        assert not task.done()
        await turns()
        assert task.done()
        assert clock() == 0

    run(main())


def test_real_io_changes_nothing_on_an_ordinary_loop(line: socket.socket) -> None:
    async def main() -> bytes:
        with real_io():
            return await ask(line)

    assert asyncio.run(main()) == b"answer to request"
