"""Profilers: one more call of what was timed, under a profiler, into a file."""

import re
from collections.abc import Awaitable, Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.monitors import Room

__all__ = ["PROFILERS", "ProfiledCall", "Profiler", "require_profiler"]

_SHOWN: Final = 3
_FRAMES: Final = 40
_INTERPRETER: Final = re.compile(
    r"_?Py|cfunction|method_vectorcall|_PyEval|vectorcall|slot_tp|type_call"
)


class Profiler(Protocol):
    """Watches one call and writes what it saw."""

    suffix: str
    """Of the files that it writes."""

    def start(self, path: Path) -> None:
        """Begin to watch, for a file at *path*; fails where another watches already."""

    def stop(self) -> tuple[str, ...]:
        """End, write the file, and return sentences on what stands in it."""


class CProfiler:
    """The profiler of the standard library, read by `python -m pstats` and snakeviz."""

    suffix = ".prof"

    def start(self, path: Path) -> None:
        """Begin."""
        import cProfile

        self._profile, self._path = cProfile.Profile(), path
        self._profile.enable()

    def stop(self) -> tuple[str, ...]:
        """End; what takes time is read in the file."""
        self._profile.disable()
        self._profile.dump_stats(self._path)
        return ()


class PyInstrument:
    """pyinstrument, which samples the stack each millisecond, with the awaits in it; a page."""

    suffix = ".html"

    def start(self, path: Path) -> None:
        """Begin."""
        from pyinstrument import Profiler as Sampler

        self._profile, self._path = Sampler(async_mode="enabled"), path
        self._profile.start()

    def stop(self) -> tuple[str, ...]:
        """End; what takes time is read in the file."""
        self._profile.stop()
        self._path.write_text(self._profile.output_html(), encoding="utf-8")
        return ()


class Memray:
    """memray, which sees every allocation, those of C code too; read by `memray flamegraph`."""

    suffix = ".bin"

    def start(self, path: Path) -> None:
        """Begin."""
        import memray

        self._path = path
        self._tracker = memray.Tracker(path, native_traces=True)
        self._tracker.__enter__()

    def stop(self) -> tuple[str, ...]:
        """End; return what took most at the highest point, with the function of C that took it."""
        import memray

        self._tracker.__exit__(None, None, None)
        with closing(memray.FileReader(self._path)) as reader:
            found = reader.get_high_watermark_allocation_records(merge_threads=True)
            most = sorted(found, key=lambda record: record.size, reverse=True)[:_SHOWN]
            return tuple(f"memray: {_allocation(record)}" for record in most)


PROFILERS: Final[dict[str, tuple[str, Callable[[], Profiler]]]] = {
    "cprofile": ("cProfile", CProfiler),
    "pyinstrument": ("pyinstrument", PyInstrument),
    "memray": ("memray", Memray),
}
"""By name: the module that is needed, and what makes one."""


def require_profiler(name: str) -> None:
    """Refuse one of `PROFILERS` that is not installed.

    Raises:
        UsageError: It is not.
    """
    if find_spec(PROFILERS[name][0]) is None:
        raise UsageError(
            f"--perf-profiler {name} needs {name}; pip install 'pytest-agentperf[profile]'"
        )


class ProfiledCall:
    """One call of a timed function that is made under a profiler, when its rounds are over.

    Args:
        profiler: The name of one of `PROFILERS`.
        path: Where the profile is written, without a suffix.
        label: Of the timed calls.
        subject: What messages call them.
        found: Gets what came of it.
    """

    def __init__(
        self,
        profiler: str,
        path: Path,
        label: str | None,
        subject: str,
        found: Callable[[Measurement], None],
    ) -> None:
        self._name, self._label, self._subject, self._found = profiler, label, subject, found
        self._profiler = PROFILERS[profiler][1]()
        self._path = path.with_name(path.name + self._profiler.suffix)

    def run(self, call: Callable[[], object], room: Room) -> None:  # noqa: ARG002
        """Make a call of a sync function."""
        if not self._start():
            return
        try:
            call()
        finally:
            self._stop()

    async def run_async(
        self,
        call: Callable[[], Awaitable[object]],
        room: Room,  # noqa: ARG002 -- one call has room, or it is missed
    ) -> None:
        """Make a call of an async function."""
        if not self._start():
            return
        try:
            await call()
        finally:
            self._stop()

    def miss(self, reason: str) -> None:
        """Take note that no call was profiled, and why."""
        self._tell(notes=(f"{self._name}: {reason}",))

    def _start(self) -> bool:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)  # memray refuses to replace it
            self._profiler.start(self._path)
        except (RuntimeError, ValueError, OSError) as error:  # such as another that is at work
            self.miss(f"{self._subject} was not profiled: {error}")
            return False
        return True

    def _stop(self) -> None:
        try:
            lines = self._profiler.stop()
        except (RuntimeError, ValueError, OSError) as error:
            self.miss(f"the profile of {self._subject} was lost: {error}")
        else:
            self._tell(notes=lines, profiles={self._name: str(self._path)})

    def _tell(self, **what: Any) -> None:
        self._found(Measurement(self._label, self._subject, 0, 0, {}, {}, **what))


def _allocation(record: Any) -> str:
    """Return one allocation record: how much, the function of C, the line of Python."""
    size = format_quantity(record.size, Unit.BYTES)
    frames = record.hybrid_stack_trace(max_stacks=_FRAMES)
    native = next((name for name, *_ in frames if not _INTERPRETER.match(name)), "")
    python = record.stack_trace(max_stacks=1)
    where = f" at {Path(python[0][1]).name}:{python[0][2]} in {python[0][0]}" if python else ""
    times = "once" if record.n_allocations == 1 else f"in {record.n_allocations:,} allocations"
    return f"{size} {times} by {native or 'Python'}{where}"
