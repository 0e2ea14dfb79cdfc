"""Tests of the live view, on a real terminal and without one."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from pytest_agentperf import live
from pytest_agentperf.core.glance import Glance
from pytest_agentperf.live import Heartbeat, LiveLine, showing

SHOWN = "10/s, 2 in flight, no errors"
TEST = """\
import os, threading
from pytest_agentperf import live
from pytest_agentperf.core.glance import Glance

is_seen = threading.Event()
for view in (live.LiveLine, live.Heartbeat):
    def show(self, line, show=view.show):
        show(self, line)
        is_seen.set()
    view.interval, view.show = 0.001, show

def run(config):
    with live.live_view(config) as show:
        if show is not None:
            show(Glance(100, 0, 10.0, 2, {}))
            assert is_seen.wait(10)

def test_one(request):
    print("printed")
    run(request.config)

def test_two(request): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-pno:cacheprovider", *options]


def environment(**variables: str) -> dict[str, str]:
    """Return that of a run with few plugins, which begins the sooner."""
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    path = os.pathsep.join(filter(None, sys.path))
    return {**kept, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}


def run_on_terminal(folder: Path, *options: str, term: str = "xterm") -> bytes:
    """Return what pytest writes to a terminal of 30 lines with 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with subprocess.Popen(
        command(*options),
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM=term),
    ):
        os.close(theirs)
        written = b""
        while part := _read(ours):
            written += part
    os.close(ours)
    return written


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux says that nobody holds the other end any more
        return b""


def final_screen(written: bytes) -> list[str]:
    """Return the lines that a terminal shows after *written*."""
    pyte = pytest.importorskip("pyte")
    screen = pyte.Screen(100, 30)
    pyte.ByteStream(screen).feed(written)
    return [line.rstrip() for line in screen.display if line.strip()]


def without_times(lines: list[str]) -> list[str]:
    return [line for line in lines if " passed in " not in line]


@pytest.mark.parametrize("options", [(), ("-v",), ("-q", "--capture=sys"), ("-rA",)])
def test_terminal_shows_a_line_and_at_the_end_what_it_shows_without(
    folder: Path, options: tuple[str, ...]
) -> None:
    written = run_on_terminal(folder, *options)
    assert SHOWN.encode() in written
    (folder / "test_it.py").write_text(TEST.replace("    run(request", "    str(request"))
    plain = run_on_terminal(folder, *options)
    assert SHOWN.encode() not in plain
    assert without_times(final_screen(written)) == without_times(final_screen(plain))


def test_terminal_without_moves_of_the_cursor_gets_lines(folder: Path) -> None:
    written = run_on_terminal(folder, term="dumb")
    assert b"\x1b7" not in written
    assert f"agentperf: {SHOWN}" in final_screen(written)


def test_terminal_that_tests_write_to_gets_whole_lines(folder: Path) -> None:
    shown = final_screen(run_on_terminal(folder, "-s"))
    assert f"agentperf: {SHOWN}" in shown
    assert "test_it.py printed" in shown


@pytest.mark.parametrize(
    ("options", "outcome"),
    [((), ".."), (("-v",), "test_it.py::test_one PASSED"), (("-s",), ".")],
)
def test_a_pipe_gets_a_line_now_and_then(
    folder: Path, options: tuple[str, ...], outcome: str
) -> None:
    out = subprocess.run(
        command(*options), cwd=folder, capture_output=True, text=True, check=True, env=environment()
    ).stdout
    lines = out.splitlines()
    assert f"agentperf: {SHOWN}" in lines
    assert "\x1b" not in out
    assert all(line in {"", f"agentperf: {SHOWN}"} for line in lines if "agentperf:" in line)
    assert any(line.startswith(outcome) for line in lines)
    assert "2 passed" in out


@pytest.mark.parametrize("options", [("-pxdist", "-n2"), ("-pno:terminal",)])
def test_nothing_is_shown_where_nobody_would_see_it(folder: Path, options: tuple[str, ...]) -> None:
    assert b"in flight" not in run_on_terminal(folder, *options)


def test_load_of_a_test_is_shown_while_it_runs(folder: Path) -> None:
    (folder / "test_it.py").write_text(
        "import time\n"
        "def test_load(perf_load): perf_load(time.sleep, 0.01, users=2, duration='1200ms')\n"
    )
    written = run_on_terminal(folder, "-ppytest_agentperf.plugin")
    line = (
        rb"agentperf: \d+/s, \d in flight, p50 \S+ ms, p95 \S+ ms, p99 \S+ ms, no errors, 1 s left"
    )
    assert re.search(line, written)
    assert "in flight" not in "".join(final_screen(written))


def test_line_is_shown_by_another_thread_until_the_end() -> None:
    shown: list[str] = []
    is_seen = Event()

    class Kept:
        interval = 0.001

        def show(self, line: str) -> None:
            shown.append(line)
            is_seen.set()

        def close(self) -> None:
            shown.append("closed")

    with showing(Kept(), "load") as show:
        show(Glance(0, 0, 1.0, 0, {}))
        assert is_seen.wait(10)
    assert shown[0] == "load: 1/s, 0 in flight, no errors"
    assert shown.index("closed") == len(shown) - 1


def test_nothing_is_shown_before_the_first_interval_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    looks: list[Callable[[], float]] = []

    class Stepped:
        """A thread that looks when the test says so."""

        def begin(self, look: Callable[[], float], within: float) -> None:
            looks.append(look)

        def end(self, *, quiet: bool) -> None: ...

    class Kept:
        interval = 30.0

        def show(self, line: str) -> None:
            shown.append(line)

        def close(self) -> None: ...

    monkeypatch.setattr(live, "waiting_thread", Stepped)
    with showing(Kept(), "load") as show:
        show(Glance(0, 0, 1.0, 0, {}))
        assert looks[0]() == 30.0
        assert shown == []
        looks[0]()
        assert shown == ["load: 1/s, 0 in flight, no errors"]


def test_view_that_showed_nothing_writes_nothing() -> None:
    reading, writing = os.pipe()
    ended: list[bool] = []
    LiveLine(writing).close()
    Heartbeat(writing, on_shown=lambda: ended.append(True)).close()
    os.close(writing)
    assert os.read(reading, 100) == b""
    assert ended == []
    os.close(reading)


def test_reader_that_went_ends_no_load() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    LiveLine(writing).show("1/s")
    os.close(writing)
