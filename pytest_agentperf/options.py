"""Options: what the command line and the ini file say, resolved once."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.reported import ReportSettings, add_report_options, read_report_settings

__all__ = ["GateSettings", "Settings", "add_options", "is_narrowed", "read_settings"]

_BUDGET = "File with budgets (TOML): pytest --perf-budget budgets.toml"
_ENV = "Environment of the budget file; 'ci' where $CI is set and the file has it"
_BASELINE = "Folder with earlier runs, which fail a test that became slower; need not exist"
_PROFILERS = ("cprofile", "pyinstrument", "memray")
_STRICT = "Fail where a budget could not be decided or a pattern of the file matches no test"


_GATE: Final = {
    "perf_pairs": (
        "N",
        None,
        "Pairs of --perf-against, judged once; by default it finds out",
    ),
    "perf_max_time": ("TIME", "10min", "Bound on the time that --perf-against takes: 10min"),
    "perf_max_cost": ("DOLLARS", None, "Bound on the dollars that --perf-against spends"),
    "perf_base_python": (
        "PYTHON",
        None,
        "Interpreter of the base, with its environment",
    ),
    "perf_regressions": ("MODE", "fail", "What a regression does: fail, warn or off"),
}
_MODES: Final = ("fail", "warn", "off")


class GateSettings(NamedTuple):
    """What holds for the regression gate.

    Attributes:
        against: The revision to compare with, or None.
        pairs: How many pairs of processes to run; None: as many as the verdicts need.
        max_time: Seconds that the comparison may take.
        max_cost: Dollars that it may spend, or None.
        base_python: The interpreter of the base, or None for this one.
        regressions: `fail`, `warn` or `off`.
        baseline: The folder of the baseline that tests are held against, or None.
        update_baseline: Whether a session without a failed test becomes part of it.
        require_baseline: Whether a test fails that it cannot be compared with.
    """

    against: str | None
    pairs: int | None
    max_time: float
    max_cost: float | None
    base_python: str | None
    regressions: str
    baseline: Path | None
    update_baseline: bool
    require_baseline: bool

    @property
    def is_asked(self) -> bool:
        """Whether tests are to be held against others, or kept for that."""
        asked = (self.against, self.baseline, self.update_baseline, self.require_baseline)
        return any(asked)


class Settings(NamedTuple):
    """What holds for one session.

    Attributes:
        budget: The budget file, or None.
        env: The environment that was asked for, or None.
        limits: Limits as `METRIC=LIMIT`, for every measured test.
        strict: Whether an undecided budget fails its test.
        quick: Whether each call is made once and times are not judged.
        junit: Whether numbers become properties of JUnit reports.
        leaks: Whether timed calls are searched for leaks.
        profiler: The profiler under which each timed function is called once more, or None.
        only_failed_profiles: Whether only the profiles of failed tests are kept.
        reports: Where the results go, besides the terminal.
        gate: The settings of the regression gate.
    """

    budget: Path | None
    env: str | None
    limits: tuple[str, ...]
    strict: bool
    quick: bool
    junit: bool
    leaks: bool
    profiler: str | None
    only_failed_profiles: bool
    reports: ReportSettings
    gate: GateSettings


def add_options(parser: pytest.Parser) -> None:
    """Add the command line options and the ini keys."""
    group = parser.getgroup("agentperf", "performance of agents")
    # The flags default to None, so that a value in the ini file is seen.
    group.addoption("--perf-budget", metavar="FILE", default=None, help=_BUDGET)
    group.addoption("--perf-env", metavar="NAME", default=None, help=_ENV)
    group.addoption(
        "--perf-set",
        metavar="METRIC=LIMIT",
        action="append",
        default=None,
        help="Limit for every measured test, over all others: --perf-set p95=1s",
    )
    group.addoption("--perf-strict", action="store_true", default=None, help=_STRICT)
    group.addoption(
        "--perf-quick",
        action="store_true",
        default=False,
        help="Call once and judge no times: a smoke test of the measured tests",
    )
    group.addoption(
        "--perf-leaks",
        action="store_true",
        default=False,
        help="Call what perf_timer times until it is known whether it leaks memory; fail if so",
    )
    group.addoption(
        "--perf-profiler",
        choices=_PROFILERS,
        default=None,
        help="Call what is timed once more, under a profiler, and keep what that writes",
    )
    group.addoption(
        "--perf-profiler-failed",
        action="store_true",
        default=False,
        help="Keep the profiles of failed tests only",
    )
    group.addoption(
        "--perf-against",
        metavar="REF",
        default=None,
        help="Compare the measured tests with those of a revision: --perf-against origin/main",
    )
    for name, (metavar, default, text) in _GATE.items():
        flag = f"--{name.replace('_', '-')}"
        group.addoption(flag, metavar=metavar, default=None, help=text)
        parser.addini(name, text, default=default)
    add_report_options(parser)
    group.addoption("--perf-baseline", metavar="PATH", default=None, help=_BASELINE)
    group.addoption(
        "--perf-update-baseline",
        action="store_true",
        default=False,
        help="Add the runs of this session to the baseline, if no test fails",
    )
    group.addoption(
        "--perf-require-baseline",
        action="store_true",
        default=False,
        help="Fail measured tests that the baseline does not know well enough to compare",
    )
    parser.addini("perf_budget", _BUDGET, default=None)
    parser.addini("perf_baseline", _BASELINE, default=None)
    parser.addini("perf_env", _ENV, default=None)
    parser.addini("perf_strict", _STRICT, type="bool", default=False)
    parser.addini(
        "perf_junit",
        "Write measured numbers as properties into JUnit reports",
        type="bool",
        default=True,
    )


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of the session: flag over ini file over default."""
    strict = config.getoption("perf_strict")
    return Settings(
        budget=_path(config, "perf_budget"),
        env=config.getoption("perf_env") or config.getini("perf_env") or None,
        limits=tuple(config.getoption("perf_set") or ()),
        strict=bool(config.getini("perf_strict") if strict is None else strict),
        quick=bool(config.getoption("perf_quick")),
        junit=bool(config.getini("perf_junit")),
        leaks=bool(config.getoption("perf_leaks")),
        profiler=config.getoption("perf_profiler"),
        only_failed_profiles=bool(config.getoption("perf_profiler_failed")),
        reports=read_report_settings(config),
        gate=_read_gate(config),
    )


def _read_gate(config: pytest.Config) -> GateSettings:
    """Return the settings of the regression gate.

    Raises:
        pytest.UsageError: One of them cannot be meant.
    """
    stated = {name: config.getoption(name) or config.getini(name) or None for name in _GATE}
    pairs, mode, python = (
        stated[name] for name in ("perf_pairs", "perf_regressions", "perf_base_python")
    )
    if pairs is not None and not (pairs.isdecimal() and int(pairs) > 1):
        raise pytest.UsageError(f"perf_pairs: got {pairs!r}; expected a whole number of 2 or more")
    if mode not in _MODES:
        raise pytest.UsageError(f"perf_regressions: got {mode!r}; expected {', '.join(_MODES)}")
    try:
        time = parse_quantity(stated["perf_max_time"], Unit.SECONDS)
        cost = stated["perf_max_cost"]
        dollars = None if cost is None else parse_quantity(cost, Unit.DOLLARS)
    except ValueError as error:
        raise pytest.UsageError(f"a bound of --perf-against: {error}") from error
    return GateSettings(
        against=config.getoption("perf_against"),
        pairs=pairs and int(pairs),
        max_time=time,
        max_cost=dollars,
        base_python=python,
        regressions=mode,
        baseline=_path(config, "perf_baseline"),
        update_baseline=bool(config.getoption("perf_update_baseline")),
        require_baseline=bool(config.getoption("perf_require_baseline")),
    )


def _path(config: pytest.Config, name: str) -> Path | None:
    """Return the path that flag or ini key *name* gives, each relative to where it is written."""
    if flag := config.getoption(name):
        return config.invocation_params.dir / str(flag)
    written = config.getini(name)
    return (config.inipath or config.rootpath / "_").parent / written if written else None


_NARROWING = (
    "keyword",
    "markexpr",
    "lf",
    "deselect",
    "ignore",
    "ignore_glob",
    "stepwise",
    "stepwise_skip",
)


def is_narrowed(config: pytest.Config) -> bool:
    """Return whether the user asked for a part of the tests only."""
    told: Any = getattr(config, "workerinput", {}).get("agentperf_narrowed")
    if told is not None:  # a worker of xdist gets its controller's paths as arguments
        return bool(told)
    if config.args_source is pytest.Config.ArgsSource.ARGS and not _are_whole(config):
        return True
    return any(config.getoption(name, None) for name in _NARROWING)


def _are_whole(config: pytest.Config) -> bool:
    """Return whether the paths that were given are what pytest would collect without any."""
    given = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    usual = {(config.rootpath / path).resolve() for path in config.getini("testpaths")}
    return config.rootpath.resolve() in given or (bool(usual) and usual <= given)
