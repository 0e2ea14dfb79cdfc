"""Reading a budget file: TOML in, checked as a whole, every mistake listed with its place."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_agentperf.core.effort import Effort, parse_effort
from pytest_agentperf.core.errors import BudgetError, UnknownNameError
from pytest_agentperf.core.files import read_text
from pytest_agentperf.core.finding import CAUSES
from pytest_agentperf.core.metrics import QUANTITIES
from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.core.usage import Price
from pytest_agentperf.judge.acceptance import Acceptance
from pytest_agentperf.judge.budgetfile import BudgetFile, Tables
from pytest_agentperf.judge.limits import Layer, Limit, parse_limit
from pytest_agentperf.judge.node_ids import NodePattern

__all__ = ["parse_budget_file", "read_budget_file"]

_VERSION: Final = 1
_LARGEST_SCALE: Final = 1_000_000
_TABLES: Final = ("defaults", "markers", "tests", "prices", "regression", "accept")
_TOP: Final = ("version", *_TABLES, "environments")


def read_budget_file(path: Path, name: str | None = None) -> BudgetFile:
    """Return the budget file at *path*, checked.

    Args:
        path: Where it is.
        name: What messages call it; its own name where it is left out.

    Raises:
        OSError: It cannot be read.
        FileFormatError: It is no text.
        BudgetError: It says something that cannot be meant; all such places are listed.
    """
    return parse_budget_file(read_text(path), name or path.name)


def parse_budget_file(text: str, name: str) -> BudgetFile:
    """Return the budget file with content *text*, checked; see `read_budget_file`."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise BudgetError(f"{name}: no valid TOML: {error or 'nested too deeply'}") from error
    reader = _Reader(name)
    budget = reader.read(content)
    if reader.errors:
        raise BudgetError("\n".join(reader.errors))
    return budget


@dataclass(slots=True)
class _Reader:
    """Reads a parsed file and gathers everything that is wrong with it."""

    name: str
    errors: list[str] = field(default_factory=list)

    def read(self, content: Mapping[str, Any]) -> BudgetFile:
        self._check_keys("", content, _TOP)
        version = content.get("version")
        if version != _VERSION or isinstance(version, bool):
            # The repr of an integer may be too long for Python itself.
            is_long = isinstance(version, int) and version.bit_length() > 64  # noqa: PLR2004
            found = "nothing" if version is None else "another" if is_long else repr(version)
            self._fail("version", BudgetError(f"got {found}, expected {_VERSION}"))
        environments = self._table("", content, "environments")
        return BudgetFile(
            name=self.name,
            tables=self._tables("", content),
            environments={
                key: self._environment(f"environments.{key}", table)
                for key, table in self._subtables("environments", environments)
            },
        )

    def _environment(self, path: str, content: Mapping[str, Any]) -> Tables:
        self._check_keys(path, content, ("scale", *_TABLES))
        return self._tables(f"{path}.", content)

    def _tables(self, prefix: str, content: Mapping[str, Any]) -> Tables:
        """Read the tables of the top level or of an environment."""
        parsed = [
            (NodePattern.parse(key), self._layer(f'{prefix}tests."{key}"', table, is_stated=True))
            for key, table in self._subtables(
                f"{prefix}tests", self._table(prefix, content, "tests")
            )
        ]
        tests = [
            (pattern, Layer(layer.limits, pattern.label, layer.effort)) for pattern, layer in parsed
        ]
        for pattern, _ in tests:
            if pattern.label == "":
                self._fail(
                    f'{prefix}tests."{pattern.text}"', BudgetError("the label behind # is empty")
                )
        tests.sort(key=lambda entry: entry[0].literal_characters)
        defaults = self._table(prefix, content, "defaults")
        markers = self._table(prefix, content, "markers")
        return Tables(
            defaults=self._layer(f"{prefix}defaults", defaults, is_stated=False),
            markers={
                key: self._layer(f"{prefix}markers.{key}", table, is_stated=False)
                for key, table in self._subtables(f"{prefix}markers", markers)
            },
            tests=tuple(tests),
            scale=self._scale(
                f"{prefix}scale", self._table(prefix, content, "scale") if prefix else {}
            ),
            prices=self._prices(f"{prefix}prices", self._table(prefix, content, "prices")),
            regression=self._regression(
                f"{prefix}regression", self._table(prefix, content, "regression")
            ),
            accept=tuple(self._accept(f"{prefix}accept", self._table(prefix, content, "accept"))),
        )

    def _layer(self, path: str, content: Mapping[str, Any], *, is_stated: bool) -> Layer:
        """Read limits and how to measure."""
        limits: dict[str, Limit | None] = {}
        effort = Effort()
        for key, value in content.items():
            if key == "measure":
                effort = self._effort(f"{path}.measure", value)
                continue
            source = f"{self.name}: {path}.{key}"
            try:
                name, limit = parse_limit(key, value, source, is_stated=is_stated)
            except ValueError as error:
                self._fail(f"{path}.{key}", error)
                continue
            if name in limits:
                self._fail(
                    f"{path}.{key}", BudgetError(f"{name} has a limit in this table already")
                )
            limits[name] = limit
        return Layer(limits, effort=effort)

    def _effort(self, path: str, content: object) -> Effort:
        if not isinstance(content, dict):
            self._fail(
                path, BudgetError(f"got {content!r}, expected a table such as {{ rounds = 40 }}")
            )
            return Effort()
        try:
            return parse_effort(content)
        except ValueError as error:
            self._fail(path, error)
            return Effort()

    def _scale(self, path: str, content: Mapping[str, Any]) -> dict[str, float]:
        scale = {}
        for key, value in content.items():
            try:
                if key not in QUANTITIES:
                    raise UnknownNameError("quantity", key, QUANTITIES)
                scale[key] = parse_quantity(value, Unit.FACTOR)
                if not 0 < scale[key] <= _LARGEST_SCALE:
                    raise BudgetError(f"{value!r}: expected a factor above 0 and up to 1,000,000")
            except ValueError as error:
                self._fail(f"{path}.{key}", error)
        return scale

    def _prices(self, prefix: str, content: Mapping[str, Any]) -> dict[str, Price]:
        prices = {}
        for model, table in self._subtables(prefix, content):
            path = f'{prefix}."{model}"'
            self._check_keys(path, table, ("input", "output", "cached_input"))
            try:
                dollars = {key: parse_quantity(value, Unit.DOLLARS) for key, value in table.items()}
                if not {"input", "output"} <= set(dollars):
                    raise BudgetError("expected input and output, in $ per million tokens")
                prices[model] = Price(
                    dollars["input"], dollars["output"], dollars.get("cached_input")
                )
            except ValueError as error:
                self._fail(path, error)
        return prices

    def _regression(self, path: str, content: Mapping[str, Any]) -> dict[str, float]:
        units = {"tolerance": Unit.SHARE, "noise_floor": Unit.SECONDS}
        self._check_keys(path, content, units)
        parsed = {}
        for key, unit in units.items():
            if key not in content:
                continue
            try:
                parsed[key] = parse_quantity(content[key], unit)
            except ValueError as error:
                self._fail(f"{path}.{key}", error)
        return parsed

    def _accept(self, prefix: str, content: Mapping[str, Any]) -> Iterator[Acceptance]:
        self._check_keys(prefix, content, CAUSES)
        for cause, table in self._subtables(prefix, content):
            for key, reason in table.items():
                source = f'{prefix}.{cause}."{key}"'
                if isinstance(reason, str) and reason.strip() and "::" in key:
                    pattern = NodePattern.parse(key)
                    yield Acceptance(cause, pattern, reason, f"{self.name}: {source}")
                    continue
                self._fail(
                    source,
                    BudgetError(
                        f"got {reason!r}; expected a file, a function and why, as in"
                        ' "src/agent.py::Agent.load" = "reads 2 kB, once"'
                    ),
                )

    def _table(self, prefix: str, content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """Return the table *key*, an empty one where it is missing or no table."""
        table = content.get(key, {})
        if isinstance(table, dict):
            return table
        self._fail(f"{prefix}{key}", BudgetError(f"got {table!r}, expected a table"))
        return {}

    def _subtables(self, path: str, content: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries of *content*, each of which must be a table."""
        found = []
        for key, table in content.items():
            if isinstance(table, dict):
                found.append((key, table))
            else:
                self._fail(f'{path}."{key}"', BudgetError(f"got {table!r}, expected a table"))
        return found

    def _check_keys(self, path: str, content: Mapping[str, Any], known: Iterable[str]) -> None:
        """Refuse keys that are not *known*."""
        for key in content:
            if key not in known:
                self._fail(f"{path}.{key}" if path else key, UnknownNameError("key", key, known))

    def _fail(self, path: str, error: Exception) -> None:
        self.errors.append(f"{self.name}: {path}: {error}")
