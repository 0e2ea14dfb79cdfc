"""The baseline: accepted runs of the tests, one JSON file for each environment in a folder.

Only here does the judge touch files. A file is replaced as a whole, under a lock of the folder, by
what was just read from it plus what is new: of two sessions that write at once both end up in it,
and one that is killed leaves it as it was.
"""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.errors import FileFormatError, UnknownNameError
from pytest_agentperf.core.files import write_text
from pytest_agentperf.core.jsonfile import read_json
from pytest_agentperf.core.lock import locked
from pytest_agentperf.judge.runs import Run, Suite
from pytest_agentperf.judge.storedrun import run_from_builtin, run_to_builtin, thinned

__all__ = ["KEPT_RUNS", "Baseline", "Entry", "Past", "baselines_in"]

KEPT_RUNS: Final = 20
"""Runs of a test that are kept, the newest."""

_VERSION: Final = 1
_KIND: Final = "baseline"
_NAMES: Final = "[0-9a-f]" * 16 + ".json"
_LOCK: Final = ".lock"


@dataclass(frozen=True, slots=True)
class Entry:
    """A run of a test and where it came from.

    Attributes:
        run: The run.
        time: When it ended: UTC, as ISO 8601 writes it.
        commit: What was checked out; empty where that is not known.
    """

    run: Run
    time: str
    commit: str


@dataclass(frozen=True, slots=True)
class Past:
    """What is kept of one test, oldest first.

    Attributes:
        runs: The accepted runs: its history.
        refused: Runs since then that regressed, which are no history unless accepted.
    """

    runs: tuple[Entry, ...] = ()
    refused: tuple[Entry, ...] = ()

    def joined(self, other: "Past") -> "Past":
        """Return this followed by *other*, shortened to the newest runs."""
        return Past(
            (*self.runs, *other.runs)[-KEPT_RUNS:], (*self.refused, *other.refused)[-KEPT_RUNS:]
        )


_Tests: TypeAlias = dict[str, Past]


class Baseline:
    """The history of one environment.

    Args:
        folder: Where baselines are kept; need not exist.
        environment: The key of the environment.
    """

    def __init__(self, folder: Path, environment: str) -> None:
        self.folder = folder
        self.environment = environment
        self.path = folder / _file_name(environment)

    def read(self) -> dict[str, Past]:
        """Return what is kept, by the name of the test; nothing where there is no file.

        Raises:
            OSError: The file cannot be read.
            FileFormatError: It is no baseline, or one of another environment.
        """
        try:
            return _read_file(self.path)[1]
        except FileNotFoundError:
            return {}

    def history(self) -> Suite:
        """Return the accepted runs of every test.

        Where this environment has none, those of the others, which say that they are: so a test
        from elsewhere is told from a new one.

        Raises:
            OSError: A file cannot be read.
            FileFormatError: A file is no baseline.
        """
        own = self.read()
        pasts = [own] if own else [other.read() for other in baselines_in(self.folder)]
        suite: dict[str, list[Run]] = {}
        for tests in pasts:
            for name, past in tests.items():
                suite.setdefault(name, []).extend(entry.run for entry in past.runs)
        return suite

    def append(self, accepted: Mapping[str, Entry], refused: Mapping[str, Entry]) -> None:
        """Add a run of each test, by its name.

        Args:
            accepted: Become history; what was refused before is forgotten.
            refused: Are put aside, for `accept`.

        Raises:
            OSError: The file cannot be written; the old one is still there.
            FileFormatError: The old one is no baseline; it is still there.
        """
        if not accepted and not refused:
            return
        with locked(self.folder / _LOCK):
            tests = self.read()
            for name, entry in accepted.items():
                known = replace(tests.get(name, Past()), refused=())
                tests[name] = known.joined(Past(runs=(_thin(entry),)))
            for name, entry in refused.items():
                tests[name] = tests.get(name, Past()).joined(Past(refused=(_thin(entry),)))
            self._write(tests)

    def accept(self, name: str) -> Past:
        """Let the history of *name* begin anew, with the runs that were refused, and return it.

        Raises:
            UnknownNameError: There is no such test.
            OSError: The file cannot be read or written.
            FileFormatError: It is no baseline.
        """
        with locked(self.folder / _LOCK):
            tests = self.read()
            if name not in tests:
                raise UnknownNameError("test", name, tests)
            tests[name] = Past(tests[name].refused)
            self._write(tests)
        return tests[name]

    def _write(self, tests: Mapping[str, Past]) -> None:
        for unfinished in self.folder.glob(f".{self.path.name}.*"):  # of a process that was killed
            with suppress(OSError):
                unfinished.unlink()
        write_text(self.path, "".join(_lines(self.environment, tests)))


def baselines_in(folder: Path) -> list[Baseline]:
    """Return the baselines in *folder*; other files are left alone.

    Raises:
        OSError: A file cannot be read.
        FileFormatError: A file with the name of a baseline is none.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a baseline is a folder", str(folder))
    return [Baseline(folder, _read_file(path)[0]) for path in sorted(folder.glob(_NAMES))]


def _thin(entry: Entry) -> Entry:
    return replace(entry, run=thinned(entry.run))


def _lines(environment: str, tests: Mapping[str, Past]) -> Iterator[str]:
    """Return the text of a file, with each run on a line of its own."""
    yield f'{{"version": {_VERSION}, "environment": {_dump(environment)}, "tests": {{'
    for number, (name, past) in enumerate(tests.items()):
        runs, refused = (_list(entries) for entries in (past.runs, past.refused))
        yield f'{"," * bool(number)}\n{_dump(name)}: {{"runs": {runs}, "refused": {refused}}}'
    yield "\n}}\n"


def _list(entries: Sequence[Entry]) -> str:
    return "[" + ",".join(f"\n {_dump(_to_builtin(entry))}" for entry in entries) + "]"


def _to_builtin(entry: Entry) -> dict[str, Any]:
    run = run_to_builtin(entry.run)
    del run["environment"]
    return {"time": entry.time, "commit": entry.commit, **run}


def _dump(content: object) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _read_file(path: Path) -> tuple[str, _Tests]:
    """Return the environment and the tests in the file at *path*, whose name must be its own."""
    environment, tests = read_json(path, _KIND, _VERSION, _read_content)
    if path.name != _file_name(environment):
        raise FileFormatError(
            f"{path}: no {_KIND} of this name: it is that of {environment!r:.200}; call it"
            f" {_file_name(environment)} again"
        )
    return environment, tests


def _file_name(environment: str) -> str:
    digest = hashlib.sha256(environment.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{digest[:16]}.json"


def _read_content(content: Mapping[str, Any]) -> tuple[str, _Tests]:
    environment, tests = content.get("environment"), content.get("tests")
    if not isinstance(environment, str) or not isinstance(tests, dict):
        raise FileFormatError("expected text under 'environment' and an object under 'tests'")
    return environment, {name: _read_past(name, past, environment) for name, past in tests.items()}


def _read_past(name: str, content: object, environment: str) -> Past:
    if not isinstance(content, dict):
        raise FileFormatError(f"tests.{name!r:.200}: got {content!r:.60}, expected an object")
    return Past(
        *(
            tuple(_read_entries(f"tests.{name!r:.200}.{key}", content.get(key), environment))
            for key in ("runs", "refused")
        )
    )


def _read_entries(place: str, content: object, environment: str) -> Iterator[Entry]:
    if not isinstance(content, list) or len(content) > KEPT_RUNS:
        raise FileFormatError(f"{place}: expected a list of up to {KEPT_RUNS} runs")
    for number, one in enumerate(content):
        try:
            yield _read_entry(one, environment)
        except FileFormatError as error:
            raise FileFormatError(f"{place}[{number}]: {error}") from error


def _read_entry(content: object, environment: str) -> Entry:
    if not isinstance(content, dict):
        raise FileFormatError(f"got {content!r:.60}, expected an object")
    time, commit = content.get("time"), content.get("commit")
    if not isinstance(time, str) or not isinstance(commit, str):
        raise FileFormatError("expected text under 'time' and 'commit'")
    return Entry(run_from_builtin(content | {"environment": environment}), time, commit)
