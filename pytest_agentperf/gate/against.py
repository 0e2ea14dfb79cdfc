"""`--perf-against`: the evidence of a duet, collected before the ordinary run of the tests.

Where tests are held against a history too, that says for which tests there is a duet, when they
have run; here it is only prepared then.
"""

import functools
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from pytest_agentperf.announce import announce
from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.gate.child import run_on
from pytest_agentperf.gate.commands import Commands
from pytest_agentperf.gate.confirmation import Confirmation, OpenSides
from pytest_agentperf.gate.duet import Bounds, Duet, Sides
from pytest_agentperf.gate.environment import environment_key
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.history import is_known
from pytest_agentperf.gate.verdicts import DuetVerdicts, make_verdicts
from pytest_agentperf.gate.worktree import checked_out, find_base
from pytest_agentperf.judge.comparison import Rule
from pytest_agentperf.options import Settings

__all__ = ["collect_evidence"]

_RUNLESS: Final = ("collectonly", "setuponly", "setupplan")
_SUBMODULES: Final = "the base has submodules, which were not checked out there"


def collect_evidence(
    config: pytest.Config, settings: Settings, rule: Rule, workers: int
) -> DuetVerdicts | Confirmation | None:
    """Return the verdicts of a duet or, where a history says what is suspicious, its means.

    Args:
        config: Of this run.
        settings: What the user asks for.
        rule: What makes a change a regression.
        workers: Processes of xdist that run tests side by side; 1 without it.

    Returns:
        None where no revision is named, or nothing is to be measured.

    Raises:
        pytest.UsageError: The evidence could not be collected.
    """
    ref = settings.gate.against
    if ref is None or settings.quick or settings.gate.regressions == "off":
        return None
    if any(getattr(config.option, name, None) for name in _RUNLESS):
        return None
    with ExitStack() as stack:
        try:
            base = find_base(config.rootpath, ref)
            scratch = stack.enter_context(checked_out(base))
            commands = Commands(config, settings, base, scratch)
            if _has_history(settings, workers):
                sides = OpenSides.of(commands, base.title, scratch)
                config.add_cleanup(stack.pop_all().close)
                return Confirmation(sides, config, settings, rule)
            return _compare(config, settings, rule, commands, scratch)
        except BrokenGateError as error:
            raise pytest.UsageError(str(error)) from error


def _has_history(settings: Settings, workers: int) -> bool:
    folder = settings.gate.baseline
    try:
        return folder is not None and is_known(folder, environment_key(workers))
    except (OSError, FileFormatError) as error:
        raise BrokenGateError(f"--perf-baseline: {error}") from error


def _compare(
    config: pytest.Config, settings: Settings, rule: Rule, commands: Commands, scratch: Path
) -> DuetVerdicts:
    """Return the verdicts of a duet with the base, which is checked out in *scratch*."""
    stated, title = settings.gate, commands.title
    run = functools.partial(run_on, scratch=scratch, wants_cost=stated.max_cost is not None)
    sides = Sides(run(commands.base()), run(commands.head()), are_named=commands.are_named)
    bounds = Bounds(stated.pairs, stated.max_time, stated.max_cost)

    def say(sentence: str) -> None:
        announce(config, f"against {title}: {sentence}")

    notes = [_SUBMODULES] if (scratch / "base" / ".gitmodules").is_file() else []
    for note in notes:
        say(note)
    duet = Duet(sides, bounds, say, REAL_TIME.clock, rule)
    found = duet.run()
    latencies = duet.base_latencies() if settings.reports.wants_details else {}
    return make_verdicts(found, title, [*notes, *duet.notes], latencies)
