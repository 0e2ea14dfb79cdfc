"""How both sides of a duet are run: like this run of pytest, but for what would be in the way."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pytest_agentperf.gate.child import Command, move_text, paths_on_base, without_paths
from pytest_agentperf.gate.worktree import Base
from pytest_agentperf.options import Settings

__all__ = ["Commands"]


class Commands:
    """Tells the commands of both sides.

    Args:
        config: Of this run.
        settings: Of this session.
        base: The revision.
        scratch: The folder that it is checked out in, and where other files may go.

    Attributes:
        title: What messages call the revision.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, base: Base, scratch: Path
    ) -> None:
        self._config, self._settings = config, settings
        self._scratch, self._top, self._place = scratch, base.top, scratch / "base"
        self.title = base.title
        self._folder = config.invocation_params.dir.resolve()
        is_named = config.args_source is pytest.Config.ArgsSource.ARGS
        self._named = tuple(config.args) if is_named else ()
        # With --pyargs they are packages, which the base finds by itself.
        self._paths = () if config.option.pyargs else self._named

    @property
    def are_named(self) -> bool:
        """Whether the user named single tests."""
        return any("::" in path for path in self._paths)

    @property
    def head_root(self) -> Path:
        """The folder that node ids begin at on the head."""
        return self._config.rootpath

    @property
    def base_root(self) -> Path:
        """The folder that node ids begin at on the base; need not exist there."""
        return self._moved(self._config.rootpath.resolve())

    def head(self, *, is_open: bool = False) -> Command:
        """Return how the head is run, in the tree as it lies there.

        Args:
            is_open: Whether the paths of the tests are left to be added.
        """
        stated = self._config.invocation_params.args
        arguments = without_paths(stated, self._named) if is_open else stated
        environment = _environment(map(str, self._code_folders(sys.path)))
        return Command(
            "head",
            (*_python(sys.executable), *arguments, *self._overrides("head", self.head_root)),
            self._folder,
            environment,
        )

    def base(self, *, is_open: bool = False) -> Command | None:
        """Return how the base is run, in its worktree; None where it has none of the tests."""
        stated, root = self._config.invocation_params.args, self.base_root
        arguments = without_paths(stated, self._named) if is_open else stated
        known = () if is_open else self._paths
        moved = paths_on_base(arguments, known, self._folder, self._top, self._place)
        if moved is None or not root.is_dir():
            return None
        python = self._settings.gate.base_python
        folder = self._moved(self._folder)
        # A prepared environment knows itself where its code is, but for what is told to both.
        told = os.environ.get("PYTHONPATH", "").split(os.pathsep) if python else sys.path
        code = (str(self._moved(path)) for path in self._code_folders(told))
        return Command(
            f"base {self.title}",
            (*_python(python or sys.executable), *moved, *self._overrides("base", root)),
            folder if folder.is_dir() else root,
            _environment(code, without=self._top),
            "" if self._place.is_relative_to(self._top) else str(self._top),
        )

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
