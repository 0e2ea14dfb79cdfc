"""Budgets of a session: which tests are measured, and what holds for each."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from pytest_agentperf.body import has_examples
from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.judge.acceptance import Acceptances
from pytest_agentperf.judge.limits import Layer, Limit, ResolvedLimits, merge_layers
from pytest_agentperf.judge.overrides import choose_environment, parse_overrides
from pytest_agentperf.judge.verdict import needed_rounds
from pytest_agentperf.marks import marker_layers
from pytest_agentperf.metered import needs_rerun
from pytest_agentperf.options import Settings
from pytest_agentperf.watched import asks_watch, is_async_test

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_agentperf.core.usage import Price
    from pytest_agentperf.judge.budgetfile import BudgetFile
    from pytest_agentperf.judge.comparison import Rule

__all__ = ["FIXTURES", "Budgets", "is_body", "is_one_call", "open_budgets"]

TIMING_FIXTURES: Final = frozenset({"perf_load", "perf_timer"})
"""Fixtures that time calls themselves: the body of a test with one is not a call."""

FIXTURES: Final = TIMING_FIXTURES | {
    "perf_cache",
    "perf_concurrency",
    "perf_llm_server",
    "perf_memory",
    "perf_pool",
}


class Budgets(NamedTuple):
    """The budgets that the user stated for this session.

    Attributes:
        file: The budget file, or None.
        environment: The environment in force, or None.
        is_guessed: Whether it was taken because `$CI` is set.
        overrides: The limits of `--perf-set`.
    """

    file: "BudgetFile | None"
    environment: str | None
    is_guessed: bool
    overrides: Layer

    @property
    def prices(self) -> "dict[str, Price]":
        """The user's prices by model."""
        return self.file.prices(self.environment) if self.file else {}

    @property
    def acceptances(self) -> Acceptances:
        """The findings that the user accepts."""
        return Acceptances(self.file.accepted(self.environment) if self.file else ())

    @property
    def rule(self) -> "Rule":
        """What makes a change a regression."""
        from pytest_agentperf.judge.comparison import STANDARD

        stated = self.file.regression(self.environment) if self.file else {}
        return replace(STANDARD, **stated)

    def header(self) -> str | None:
        """Return the line that says which budgets hold, None without a file."""
        if self.file is None:
            return None
        why = " (because $CI is set)" if self.is_guessed else ""
        where = f", environment {self.environment}{why}" if self.environment else ""
        return f"agentperf: budgets {self.file.name}{where}"

    def is_measured(self, item: pytest.Item) -> bool:
        """Return whether *item* is measured: by a fixture, a marker or a pattern of the file."""
        if not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            return True
        if item.get_closest_marker("perf") or item.get_closest_marker("perf_budget"):
            return True
        if self.file is None:
            return False
        return any(pattern.matches(item.nodeid) for pattern in self.file.patterns(self.environment))

    def unmatched(self, items: Sequence[pytest.Item]) -> list[str]:
        """Return the patterns of the file that match none of *items*."""
        if self.file is None:
            return []
        nodeids = [item.nodeid for item in items]
        return [
            pattern.text
            for pattern in self.file.patterns(self.environment)
            if not any(map(pattern.matches, nodeids))
        ]

    def resolve(self, item: pytest.Item, errors: list[str]) -> ResolvedLimits:
        """Return what holds for *item*; what cannot be meant goes into *errors*."""
        markers = list(marker_layers(item, errors.append))
        layers: Iterable[Layer] = markers
        if self.file is not None:
            layers = self.file.layers(
                item.nodeid,
                lambda name: item.get_closest_marker(name) is not None,
                markers,
                self.environment,
            )
        resolved = merge_layers([*layers, self.overrides])
        stated = [limit for layer in markers for limit in layer.limits.values() if limit]
        if is_one_call(item, resolved):
            errors += [_explain_one_call(limit) for limit in stated if limit.metric.percentile]
        if not is_async_test(item) and "perf_concurrency" not in getattr(item, "fixturenames", ()):
            errors += [_explain_sync(limit) for limit in stated if asks_watch(limit)]
        if is_body(item) and (sentence := needs_rerun(item, resolved)):
            errors.append(sentence)
        return resolved


def is_one_call(item: pytest.Item, limits: ResolvedLimits) -> bool:
    """Return whether the one call of *item* is its body, so that it has no percentiles."""
    return is_body(item) and limits.effort.rounds in {None, 1} and not has_examples(item)


def is_body(item: pytest.Item) -> bool:
    """Return whether *item*, which is measured, times nothing but its own body."""
    return TIMING_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _explain_one_call(limit: Limit) -> str:
    name = limit.metric.name
    rounds = needed_rounds([limit])
    return (
        f"{limit.source}: {name} needs {rounds} calls and the body of this test is one; state"
        f" latency= for that one call, or add @pytest.mark.perf(rounds={rounds})"
    )


def _explain_sync(limit: Limit) -> str:
    return (
        f"{limit.source}: {limit.metric.name} is about an event loop and this test has none; state"
        " it for an `async def` test"
    )


def open_budgets(settings: Settings) -> Budgets:
    """Return the budgets that *settings* name.

    Raises:
        pytest.UsageError: The file cannot be read or is wrong, or the environment is unknown.
    """
    try:
        file = _read_file(settings.budget)
        environment, is_guessed = choose_environment(file, settings.env)
        overrides = parse_overrides(settings.limits, is_stated=False)
        return Budgets(file, environment, is_guessed, overrides)
    except OSError as error:
        raise pytest.UsageError(
            f"budget file {settings.budget}: cannot be read: {error.strerror or error}"
        ) from error
    except AgentPerfError as error:
        raise pytest.UsageError(str(error)) from error


def _read_file(path: "Path | None") -> "BudgetFile | None":
    if path is None:
        return None
    from pytest_agentperf.judge.budgetreader import read_budget_file

    return read_budget_file(path)
