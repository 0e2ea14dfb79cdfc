"""Resources: threads, processes, sockets and files that were left behind."""

import asyncio
import builtins
import contextlib
import functools
import io
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from pytest_agentperf.measure.concurrency.leaks.leak import Kind, Leak, LeakSource, leak
from pytest_agentperf.measure.concurrency.origins import innermost, off_the_loop
from pytest_agentperf.measure.frames import Site, stack_of
from pytest_agentperf.measure.hooks import Hooks

__all__ = ["DescriptorLeaks", "Origin", "ProcessLeaks", "ThreadLeaks"]

Origin: TypeAlias = Callable[[], Site | None]
"""Returns the line of the user's that is behind the current call."""

_Identity: TypeAlias = tuple[int, int]
_Function: TypeAlias = Callable[..., Any]
_Loop: TypeAlias = asyncio.AbstractEventLoop

# Patterns are compiled where something is left. The workers of a loop's default executor, which
# ends with its loop.
_EXECUTOR: Final = r"(asyncio|uvloop)_\d+"
# Threads that serve whoever comes next, those that wait for a process, and our own.
_SERVANTS: Final = (
    r"anyio\._backends|trio\._core|asyncio\.unix_events|pytest_agentperf\.(?!reference)"
)
_LISTINGS: Final = ("/proc/self/fd", "/dev/fd")
# uvloop opens /dev/null with its first process, asyncio waits for one by a pidfd, and a recorder
# reads files of /proc.
_HARMLESS: Final = r"/dev/(null|pts/.*|tty|u?random)|/proc/\d+/.*|anon_inode:\[pidfd\]"
# uvloop makes these without any function of Python that could be noted.
_CONNECTING: Final = (
    "create_connection",
    "create_unix_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_server",
)
_SPAWNING: Final = ("subprocess_exec", "subprocess_shell")


class ThreadLeaks(LeakSource):
    """Threads that were started and still run."""

    def __init__(self, hooks: Hooks, origin: Origin, loop: _Loop | None) -> None:
        self._hooks = hooks
        self._origin = origin
        self._loop = loop
        self._before: frozenset[threading.Thread] = frozenset()
        self._sites: WeakKeyDictionary[threading.Thread, Site | None] = WeakKeyDictionary()

    def remember(self) -> None:
        """Note which threads there are."""
        self._before = frozenset(threading.enumerate())

    def start(self) -> None:
        """Note who starts threads."""
        self._hooks.place(threading.Thread, "start", self._noting)

    def leaks(self) -> Iterator[Leak]:
        """Return the threads that are left now."""
        executor = getattr(self._loop, "_default_executor", None)
        workers = getattr(executor, "_threads", ())
        for thread in threading.enumerate():
            if thread not in self._before and thread not in workers and not _is_servant(thread):
                frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001
                now, site = innermost(stack_of(frame)), self._sites.get(thread)
                what = f"thread {thread.name!r} is still running"
                yield leak("thread", thread.name, what, site=site, now=now)

    def _noting(self, start: _Function) -> _Function:
        def noted(thread: threading.Thread) -> None:
            if self._hooks.active:
                self._sites[thread] = self._origin()
            start(thread)

        return noted


class ProcessLeaks(LeakSource):
    """Processes that were started and still run."""

    def __init__(self, hooks: Hooks, origin: Origin, loop: _Loop | None) -> None:
        self._hooks = hooks
        self._origin = origin
        self._loop = loop
        self._started: dict[int, tuple[str, Site | None]] = {}

    def start(self) -> None:
        """Note the processes that are started."""
        self._hooks.place(subprocess.Popen, "__init__", self._noting)
        multiprocessing = sys.modules.get("multiprocessing.process")
        if multiprocessing is not None:
            self._hooks.place(multiprocessing.BaseProcess, "start", self._noting_start)
        for name in _SPAWNING if _is_uvloop(self._loop) else ():
            self._hooks.place(self._loop, name, self._noting_async)

    def leaks(self) -> Iterator[Leak]:
        """Return the processes that run now."""
        for pid, (command, site) in self._started.items():
            if _runs(pid):
                what = f"process {pid} ({command!r}) is still running"
                yield leak("process", command, what, site=site)

    def _noting(self, init: _Function) -> _Function:
        def noted(process: Any, args: Any, *more: Any, **kwargs: Any) -> None:
            init(process, args, *more, **kwargs)
            if self._hooks.active:
                parts = args if isinstance(args, list | tuple) else [args]
                self._note(process.pid, parts, self._origin())

        return noted

    def _noting_start(self, start: _Function) -> _Function:
        def noted(process: Any) -> None:
            start(process)
            if self._hooks.active:
                self._note(process.pid, [process.name], self._origin())

        return noted

    def _noting_async(self, spawn: _Function) -> _Function:
        def noted(protocol_factory: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
            def note(made: Any, site: Site | None) -> None:
                self._note(made[0].get_pid(), args, site)

            spawned = spawn(protocol_factory, *args, **kwargs)
            return _noted(spawned, note, self._origin()) if self._hooks.active else spawned

        return noted

    def _note(self, pid: int, parts: Iterable[Any], site: Site | None) -> None:
        self._started[pid] = " ".join(str(part) for part in parts)[:80], site


class DescriptorLeaks(LeakSource):
    """Sockets, pipes and files that were opened and are still open, as the system lists them."""

    def __init__(self, hooks: Hooks, origin: Origin, loop: _Loop | None) -> None:
        self._hooks = hooks
        self._origin = origin
        self._loop = loop
        self._listing = _first_folder(_LISTINGS)
        self._before: dict[int, _Identity] = {}
        self._sites: dict[int, tuple[_Identity, Site | None]] = {}
        note = "open files and sockets are not seen: this system has no list of them"
        self.notes = () if self._listing else (note,)

    def remember(self) -> None:
        """Note what is open."""
        self._before = self._open_now()

    def start(self) -> None:
        """Note who opens more."""
        for owner, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "pipe")):
            self._hooks.place(owner, name, self._noting)
        self._hooks.place(socket.socket, "__init__", self._noting_socket)
        for name in _CONNECTING if _is_uvloop(self._loop) else ():
            self._hooks.place(self._loop, name, self._noting_async)

    def leaks(self) -> Iterator[Leak]:
        """Return what is open now."""
        for descriptor, identity in sorted(self._open_now().items() - self._before.items()):
            kind, name = _describe(descriptor)
            if not re.fullmatch(_HARMLESS, name):
                known, site = self._sites.get(descriptor, (None, None))
                made_by = site if known == identity else None
                what = f"{name} (file descriptor {descriptor}) is still open"
                yield leak(kind, name, what, made="opened", site=made_by)

    def _open_now(self) -> dict[int, _Identity]:
        """Return what is open, by number; a number alone is used again and again."""
        with off_the_loop():
            names = os.listdir(self._listing) if self._listing else ()  # noqa: PTH208
        found = {}
        for descriptor in map(int, names):
            try:
                found[descriptor] = _identity(descriptor)
            except OSError:
                continue  # that of the list itself
        return found

    def _noting(self, opening: _Function) -> _Function:
        def noted(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            opened = opening(*args, **kwargs)
            if self._hooks.active:
                self._note(opened, self._origin())
            return opened

        return noted

    def _noting_socket(self, init: _Function) -> _Function:
        def noted(opened: Any, *args: Any, **kwargs: Any) -> None:
            init(opened, *args, **kwargs)
            if self._hooks.active:
                self._note(opened, self._origin())

        return noted

    def _noting_async(self, connect: _Function) -> _Function:
        def noted(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            connecting = connect(*args, **kwargs)
            return _noted(connecting, self._note, self._origin())

        return noted

    def _note(self, opened: Any, site: Site | None) -> None:
        with contextlib.suppress(Exception):  # it may be closed again, or a stand-in of any kind
            for descriptor in _descriptors_of(opened):
                self._sites[descriptor] = _identity(descriptor), site


@functools.cache
def _first_folder(names: tuple[str, ...]) -> str | None:
    with off_the_loop():
        return next(filter(os.path.isdir, names), None)


def _is_uvloop(loop: _Loop | None) -> bool:
    return type(loop).__module__.partition(".")[0] == "uvloop"


async def _noted(making: Awaitable[Any], note: _Function, site: Site | None) -> Any:
    made = await making
    note(made, site)
    return made


def _is_servant(thread: threading.Thread) -> bool:
    """Return whether *thread* belongs to a loop or a library, which would keep it anyway."""
    target = getattr(thread, "_target", None)
    module = getattr(target, "__module__", "") if type(thread) is threading.Thread else ""
    return bool(
        isinstance(thread, threading._DummyThread)  # noqa: SLF001 -- begun by other means
        or re.fullmatch(_EXECUTOR, thread.name)
        or re.match(_SERVANTS, module or type(thread).__module__)
    )


def _runs(pid: int) -> bool:
    import psutil  # costly, and few tests start processes

    with off_the_loop(), contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def _identity(descriptor: int) -> _Identity:
    return os.fstat(descriptor)[1:3]  # inode and device: no attribute is as quick


def _descriptors_of(opened: Any) -> Iterable[Any]:
    """Return the numbers of a file, a socket, a pipe, a server or a connection of a loop."""
    if hasattr(opened, "sockets"):
        return [each.fileno() for each in opened.sockets]
    if isinstance(opened, tuple) and hasattr(opened[0], "get_extra_info"):
        opened = opened[0].get_extra_info("socket")
    if isinstance(opened, tuple):
        return opened
    return [opened.fileno() if hasattr(opened, "fileno") else opened]


def _describe(descriptor: int) -> tuple[Kind, str]:
    """Return the kind of a leak of *descriptor*, and what it is of."""
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            return "socket", _describe_socket(descriptor)
        if stat.S_ISFIFO(mode):
            return "fd", "pipe"
        with off_the_loop():
            return "fd", str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return "fd", "file"


def _describe_socket(descriptor: int) -> str:
    with socket.socket(fileno=os.dup(descriptor)) as twin:
        try:
            return f"socket to {_address(twin.getpeername())}"
        except OSError:
            return f"socket at {_address(twin.getsockname())}"


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    return str(address or "nowhere")
