"""The plugin's entry point: registers what is always there and wakes the rest when it is needed.

PYTEST_DONT_REWRITE
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

# Imported first, for it decides how the others are loaded.
from pytest_agentperf.importing import come_first, uncollected

# isort: split

# Imported now, so that the clock is bound before any test can replace it.
from pytest_agentperf.core import clock as _clock  # noqa: F401
from pytest_agentperf.fixtures import (
    SESSION,
    perf_cache,
    perf_concurrency,
    perf_llm_server,
    perf_load,
    perf_memory,
    perf_pool,
    perf_timer,
)
from pytest_agentperf.gate import SIDE_VARIABLE
from pytest_agentperf.options import add_options, is_narrowed

if TYPE_CHECKING:
    from pytest_agentperf.session import PerfSession

__all__ = [
    "perf_cache",
    "perf_concurrency",
    "perf_llm_server",
    "perf_load",
    "perf_memory",
    "perf_pool",
    "perf_timer",
]

_MARKERS: Final = (
    (
        "perf_budget(label=None, /, **limits): fail the test where a metric is beyond its limit,"
        ' as in perf_budget(p95="200ms", tokens_per_call=1000).'
    ),
    (
        "perf(rounds=, warmup=, max_time=, max_calls=, max_tokens=, max_cost=, rerun=): how to"
        " measure the test; rounds repeats the body of a test without perf_timer, rerun runs it"
        " once more to trace its memory."
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options and ini keys."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and become a side of a duet where a gate started this run."""
    come_first()  # the run has put its own loader in front
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    if SIDE_VARIABLE in os.environ:
        from pytest_agentperf.gate.side import become_side

        become_side(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Read the budgets that options name, so that a mistake ends the run before any test."""
    _wake_if_named(session.config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which budgets hold."""
    _wake_if_named(config)
    session = config.stash.get(SESSION, None)
    return session.budgets.header() if session else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the measured tests before `-m` deselects; wake up where there are any."""
    if SESSION not in config.stash and not any(map(_asks, items)):
        return
    session = _wake(config)
    has_measured = session.select(config, items)
    if has_measured:
        _register_runtime(config, session)
    has_news = has_measured or session.unmatched or session.settings.reports.files
    if has_news and not _is_worker(config):
        _register_reporter(config, session)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Resolve what holds for the selected tests, so that a mistake ends the run before any."""
    awake = session.config.stash.get(SESSION, None)
    errors = awake.prepare(session.items) if awake is not None else []
    if errors and _is_worker(session.config):
        _fail_collection(session, "\n".join(errors))
    elif errors:
        raise pytest.UsageError("\n".join(errors))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Collect the evidence of the regression gate before the first test runs."""
    awake = session.config.stash.get(SESSION, None)
    is_over = session.testsfailed and not session.config.option.continue_on_collection_errors
    if awake is None or is_over or _is_worker(session.config):
        return
    if any(awake.is_measured(item.nodeid) for item in getattr(session, "items", ())):
        _open_gate(session.config, awake, 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Do so before xdist starts its workers, which shall know the verdicts."""
    if config.getoption("perf_against"):
        _open_gate(config, _wake(config), len(specs))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Prepare the controller of xdist, which collects nothing itself, and tell the worker."""
    awake = _wake(node.config)
    _register_reporter(node.config, awake)
    node.workerinput["agentperf_narrowed"] = is_narrowed(node.config)
    if awake.gate is not None:
        node.workerinput["agentperf_gate"] = awake.gate.told()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker of xdist knows to its controller."""
    awake = session.config.stash.get(SESSION, None)
    if awake is not None and _is_worker(session.config):
        known = {"unmatched": awake.unmatched, "used": sorted(awake.acceptances.used)}
        session.config.workeroutput["agentperf"] = known  # type: ignore[attr-defined]


def _asks(item: pytest.Item) -> bool:
    """Return whether *item* itself asks to be measured."""
    if any(name.startswith("perf_") for name in getattr(item, "fixturenames", ())):
        return True
    return any(mark.name in {"perf", "perf_budget"} for mark in item.iter_markers())


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _fail_collection(session: pytest.Session, message: str) -> None:
    """End the run of a worker of xdist: its controller does not survive a usage error there."""
    report = pytest.CollectReport("agentperf", "failed", message, [])
    session.config.hook.pytest_collectreport(report=report)
    session.items.clear()


def _wake_if_named(config: pytest.Config) -> None:
    """Wake up where an option asks for it, whatever the tests are."""
    named = (
        "perf_budget",
        "perf_env",
        "perf_set",
        "perf_profiler",
        "perf_baseline",
        "perf_update_baseline",
        "perf_require_baseline",
        "perf_report",
    )
    written = map(config.getini, ("perf_budget", "perf_baseline", "perf_report"))
    if any(map(config.getoption, named)) or any(written):
        _wake(config)


def _open_gate(config: pytest.Config, session: "PerfSession", workers: int) -> None:
    gate = session.gate
    if session.settings.gate.against and gate is not None and not gate.has_evidence:
        from pytest_agentperf.gate.against import collect_evidence

        gate.take(collect_evidence(config, session.settings, session.budgets.rule, workers))


def _wake(config: pytest.Config) -> "PerfSession":
    """Return the state of this session, made at the first need of it."""
    awake = config.stash.get(SESSION, None)
    if awake is None:
        with uncollected():
            from pytest_agentperf.session import PerfSession

        config.stash[SESSION] = awake = PerfSession(config)
    return awake


def _register_runtime(config: pytest.Config, session: "PerfSession") -> None:
    from pytest_agentperf.runtime import Runtime

    config.pluginmanager.register(Runtime(session), "agentperf-runtime")


def _register_reporter(config: pytest.Config, session: "PerfSession") -> None:
    from pytest_agentperf.reporter import Reporter

    if not config.pluginmanager.has_plugin("agentperf-reporter"):
        config.pluginmanager.register(Reporter(session), "agentperf-reporter")
