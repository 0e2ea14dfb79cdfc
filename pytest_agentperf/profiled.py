"""Profiles of measured tests: where they are written, and which of them stay."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.profiling import ProfiledCall, require_profiler

__all__ = ["Profiles", "open_profiles"]

_ODD: Final = re.compile(r"[^\w.-]+")
_LENGTH: Final = 80
_BODY_ONCE: Final = (
    "{}: the body of the test runs once, to be timed, and was not profiled; add"
    " @pytest.mark.perf(rerun=True), which runs it once more for that"
)


def open_profiles(config: pytest.Config, profiler: str, *, only_failed: bool) -> "Profiles":
    """Return where the profiles of a session go.

    Raises:
        pytest.UsageError: The profiler is not installed, or there is no place for its files.
    """
    try:
        require_profiler(profiler)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    cache: pytest.Cache | None = getattr(config, "cache", None)
    if cache is None:
        raise pytest.UsageError(
            "--perf-profiler writes into pytest's cache directory; drop -p no:cacheprovider"
        )
    folder = cache.mkdir("agentperf") / "profiles"
    return Profiles(folder, profiler, only_failed=only_failed)


class Profiles:
    """The profiles of a session.

    Args:
        folder: Where they are written.
        profiler: Which writes them.
        only_failed: Whether those of tests that do not fail are removed.
    """

    def __init__(self, folder: Path, profiler: str, *, only_failed: bool) -> None:
        self._folder, self._profiler, self._only_failed = folder, profiler, only_failed

    def call(
        self, nodeid: str, label: str | None, subject: str, found: Callable[[Measurement], None]
    ) -> ProfiledCall:
        """Return a profiled call of *subject*, timed under *label* in the test *nodeid*."""
        name = nodeid if label is None else f"{nodeid}#{label}"
        path = self._folder / _file_name(name)
        return ProfiledCall(self._profiler, path, label, subject, found)

    def skipped(self, label: str | None, subject: str) -> Measurement:
        """Return what tells that *subject*, a body that runs once, was not profiled."""
        note = _BODY_ONCE.format(self._profiler)
        return Measurement(label, subject, 0, 0, {}, {}, notes=(note,))

    def settle(self, measurements: Iterable[Measurement], *, is_failed: bool) -> list[Measurement]:
        """Return *measurements* with the profiles that stay; remove the others."""
        if is_failed or not self._only_failed:
            return list(measurements)
        return [_without_profiles(measurement) for measurement in measurements]


def _without_profiles(measurement: Measurement) -> Measurement:
    for path in measurement.profiles.values():
        Path(path).unlink(missing_ok=True)
    return measurement._replace(profiles={})


def _file_name(name: str) -> str:
    """Return a name for a file that no other test has, and that people recognise."""
    short = _ODD.sub("_", name)[-_LENGTH:]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{short}-{digest}"
