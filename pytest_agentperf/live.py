"""The live view: shows how a load goes while it runs, past the capture of the running test."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from pytest_agentperf.core.glance import Glance
from pytest_agentperf.measure.concurrency.loop.watchthread import waiting_thread
from pytest_agentperf.report.live import draw, erase, glance_line

if TYPE_CHECKING:
    import pytest

__all__ = ["Heartbeat", "LiveLine", "Show", "View", "is_terminal", "live_view", "showing"]

Show: TypeAlias = Callable[[Glance], None]
"""Takes what is to be shown next."""

_WIDTH: Final = 80


class View(Protocol):
    """Shows lines in a file that is a descriptor of ours: nothing of it is captured."""

    interval: float
    """Seconds between two looks."""

    def show(self, line: str) -> None:
        """Show *line*, after those before it or in their place."""

    def close(self) -> None:
        """Show nothing any more."""


class LiveLine:
    """One line of a terminal that is drawn anew, below all others, and goes at the end.

    Args:
        descriptor: Of the terminal.
    """

    interval = 0.5

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._is_drawn = descriptor, False

    def show(self, line: str) -> None:
        """Draw *line*."""
        _write(self._descriptor, draw(line, _width(self._descriptor)))
        self._is_drawn = True

    def close(self) -> None:
        """Take the line away."""
        if self._is_drawn:
            _write(self._descriptor, erase())
        self._is_drawn = False


class Heartbeat:
    """A line now and then where lines cannot be taken back: in files, pipes and logs of CI.

    Args:
        descriptor: Of the file.
        on_shown: Called at the end where there were lines.
    """

    interval = 30.0

    def __init__(self, descriptor: int, on_shown: Callable[[], object] = lambda: None) -> None:
        self._descriptor, self._on_shown = descriptor, on_shown
        self._is_shown = False

    def show(self, line: str) -> None:
        """Write *line*, below what stands there."""
        _write(self._descriptor, f"{line}\n" if self._is_shown else f"\n{line}\n")
        self._is_shown = True

    def close(self) -> None:
        """Tell that there were lines."""
        if self._is_shown:
            self._on_shown()
        self._is_shown = False


@contextmanager
def showing(view: View, name: str) -> Iterator[Show]:
    """Show by a thread how a load goes inside.

    Args:
        view: Where.
        name: What each line begins with.

    Yields:
        A function that takes what is to be shown next, and returns at once.
    """
    latest: deque[Glance] = deque(maxlen=1)
    looks = 0

    def look() -> float:
        nonlocal looks
        looks += 1
        if latest and looks > 1:  # the first look is at the beginning
            view.show(f"{name}: {glance_line(latest[0])}")
        return view.interval

    thread = waiting_thread()
    thread.begin(look, view.interval)
    try:
        yield latest.append
    finally:
        thread.end(quiet=True)
        view.close()


@contextmanager
def live_view(config: "pytest.Config") -> "Iterator[Show | None]":
    """Show how a load of a test goes inside, where anybody would see it.

    Yields:
        A function that takes what is to be shown, None where nobody would see it.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    descriptor = None if reporter is None else _own_descriptor(config)
    if descriptor is None:  # a worker of xdist has no terminal
        yield None
        return
    try:
        with showing(open_view(config, descriptor, reporter), "agentperf") as show:
            yield show
    finally:
        os.close(descriptor)


def open_view(config: "pytest.Config", descriptor: int, reporter: Any) -> View:
    """Return what suits *descriptor*, the standard output of pytest.

    With `-s` the tests write there too, at any time and anywhere in a line: no line below theirs
    would stay whole, so that lines are added alone.
    """
    if config.getoption("capture", "fd") != "no" and is_terminal(descriptor):
        return LiveLine(descriptor)

    def begin_line() -> None:
        if config.get_verbosity() > 0:
            reporter.currentfspath = None  # pytest writes the test's name again before its outcome

    return Heartbeat(descriptor, on_shown=begin_line)


def is_terminal(descriptor: int) -> bool:
    """Return whether *descriptor* is a terminal that can move its cursor."""
    return os.isatty(descriptor) and os.environ.get("TERM") not in {None, "", "dumb"}


def _own_descriptor(config: "pytest.Config") -> int | None:
    """Return a copy of the descriptor that is standard output when nothing is captured."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        try:
            sys.stdout.flush()  # what was written before comes before
            return os.dup(sys.stdout.fileno())
        except (AttributeError, OSError, ValueError):  # no file: an editor's window, a test's
            return None


def _write(descriptor: int, text: str) -> None:
    with suppress(OSError):  # whoever read it went
        os.write(descriptor, text.encode())


def _width(descriptor: int) -> int:
    try:
        return os.get_terminal_size(descriptor).columns or _WIDTH
    except OSError:
        return _WIDTH
