"""`--perf-against`: the evidence of a duet, collected before the ordinary run of the tests.

PYTEST_DONT_REWRITE
"""

import functools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from pytest_agentperf.announce import announce
from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.gate.child import Command, move_text, paths_on_base, run_side
from pytest_agentperf.gate.duet import Bounds, Duet, RunSide, Sides
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.gate.verdicts import DuetVerdicts, make_verdicts
from pytest_agentperf.gate.worktree import Base, checked_out, find_base
from pytest_agentperf.session import PerfSession

__all__ = ["open_gate"]

_RUNLESS: Final = ("collectonly", "setuponly", "setupplan")
_SUBMODULES: Final = "the base has submodules, which were not checked out there"


def open_gate(config: pytest.Config, session: PerfSession) -> None:
    """Collect the evidence and give *session* the verdicts, where a revision is named.

    Raises:
        pytest.UsageError: The evidence could not be collected.
    """
    settings = session.settings
    ref = settings.gate.against
    if ref is None or session.gate.duet or settings.quick or settings.gate.regressions == "off":
        return
    if any(getattr(config.option, name, None) for name in _RUNLESS):
        return
    try:
        base = find_base(config.rootpath, ref)
        with checked_out(base) as scratch:
            session.gate.duet = _compare(config, session, base, scratch)
    except BrokenGateError as error:
        raise pytest.UsageError(str(error)) from error


def _compare(
    config: pytest.Config, session: PerfSession, base: Base, scratch: Path
) -> DuetVerdicts:
    """Return the verdicts of a duet with *base*, which is checked out in *scratch*."""
    settings = session.settings.gate
    commands = _Commands(config, session, base, scratch)
    sides = Sides(commands.base(), commands.head(), are_named=commands.are_named)
    bounds = Bounds(settings.pairs, settings.max_time, settings.max_cost)

    def say(sentence: str) -> None:
        announce(config, f"against {base.title}: {sentence}")

    notes = [_SUBMODULES] if (scratch / "base" / ".gitmodules").is_file() else []
    for note in notes:
        say(note)
    duet = Duet(sides, bounds, say, REAL_TIME.clock, session.budgets.rule)
    return make_verdicts(duet.run(), base.title, [*notes, *duet.notes])


class _Commands:
    """How both sides are run: like this run of pytest, but for what would be in the way.

    Args:
        config: Of this run.
        session: Tells the settings.
        base: The revision.
        scratch: The folder that it is checked out in, and where other files may go.
    """

    def __init__(
        self, config: pytest.Config, session: PerfSession, base: Base, scratch: Path
    ) -> None:
        self._config, self._settings = config, session.settings
        self._scratch, self._top, self._place = scratch, base.top, scratch / "base"
        self._title = base.title
        self._folder = config.invocation_params.dir.resolve()
        is_named = config.args_source is pytest.Config.ArgsSource.ARGS
        is_named = is_named and not config.option.pyargs  # the base finds packages by itself
        self._paths = tuple(config.args) if is_named else ()
        self.are_named = any("::" in path for path in self._paths)

    def head(self) -> RunSide:
        """Return what runs the head, in the tree as it lies there."""
        arguments = (*_python(sys.executable), *self._config.invocation_params.args)
        more = self._overrides("head", self._config.rootpath)
        environment = _environment(map(str, self._code_folders(sys.path)))
        command = Command("head", (*arguments, *more), self._folder, environment)
        return self._runner(command)

    def base(self) -> RunSide:
        """Return what runs the base, in its worktree."""
        root = self._moved(self._config.rootpath.resolve())
        arguments = paths_on_base(
            self._config.invocation_params.args, self._paths, self._folder, self._top, self._place
        )
        if arguments is None or not root.is_dir():
            return _nothing
        python = self._settings.gate.base_python
        folder = self._moved(self._folder)
        # A prepared environment knows itself where its code is, but for what is told to both.
        told = os.environ.get("PYTHONPATH", "").split(os.pathsep) if python else sys.path
        code = (str(self._moved(path)) for path in self._code_folders(told))
        command = Command(
            f"base {self._title}",
            (*_python(python or sys.executable), *arguments, *self._overrides("base", root)),
            folder if folder.is_dir() else root,
            _environment(code, without=self._top),
            "" if self._place.is_relative_to(self._top) else str(self._top),
        )
        return self._runner(command)

    def _runner(self, command: Command) -> RunSide:
        wants_cost = self._settings.gate.max_cost is not None
        return functools.partial(run_side, command, self._scratch, wants_cost=wants_cost)

    def _moved(self, path: Path) -> Path:
        return Path(move_text(str(path), self._top, self._place))

    def _code_folders(self, path: Iterable[str]) -> Iterator[Path]:
        """Yield the folders on *path* in which the project's code is, not what is installed."""
        for entry in map(Path, filter(None, path)):
            folder = entry.resolve()
            if folder.is_relative_to(self._top) and not _is_installed(folder):
                yield folder

    def _overrides(self, side: str, root: Path) -> Iterator[str]:
        """Yield the options that keep a side apart from this run and from the other side."""
        yield f"--rootdir={root}"
        if self._settings.budget is not None:  # the head's on both sides: it says how to measure
            yield f"--perf-budget={self._settings.budget}"
        if self._settings.env is not None:
            yield f"--perf-env={self._settings.env}"
        plugins = self._config.pluginmanager
        if plugins.hasplugin("cacheprovider"):
            yield f"-ocache_dir={self._scratch / f'cache-{side}'}"
        if plugins.hasplugin("tmpdir"):
            yield f"--basetemp={self._scratch / f'tmp-{side}'}"
        if plugins.hasplugin("xdist"):
            yield "-n0"
        if plugins.hasplugin("_cov") or plugins.hasplugin("pytest_cov"):
            yield "--no-cov"


def _nothing(seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:  # noqa: ARG001
    """Run a side that has none of the tests."""
    return SideReport({})


def _python(executable: str) -> tuple[str, ...]:
    return executable, "-m", "pytest"


def _is_installed(folder: Path) -> bool:
    return "site-packages" in folder.parts or folder.is_relative_to(sys.prefix)


def _environment(code: Iterable[str], without: Path | None = None) -> dict[str, str]:
    """Return this process's variables, with the folders *code* where modules come from first.

    Args:
        code: Folders.
        without: The top of a tree whose folders are left out otherwise.
    """
    told = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    others = (
        entry
        for entry in told
        if without is None
        or _is_installed(Path(entry))
        or not Path(entry).resolve().is_relative_to(without)
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys((*code, *others)))}
