"""`--perf-against`: the evidence of a duet, collected before the ordinary run of the tests.

Where tests are held against a history too, that says for which tests there is a duet, when they
have run; here it is only prepared then.

PYTEST_DONT_REWRITE
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
from pytest_agentperf.gate.worktree import Base, checked_out, find_base
from pytest_agentperf.options import Settings
from pytest_agentperf.session import PerfSession

__all__ = ["open_gate"]

_RUNLESS: Final = ("collectonly", "setuponly", "setupplan")
_SUBMODULES: Final = "the base has submodules, which were not checked out there"


def open_gate(config: pytest.Config, session: PerfSession, workers: int) -> None:
    """Collect the evidence and give *session* the verdicts, where a revision is named.

    Args:
        config: Of this run.
        session: Gets the verdicts or, where a history says what is suspicious, the means.
        workers: Processes of xdist that run tests side by side; 1 without it.

    Raises:
        pytest.UsageError: The evidence could not be collected.
    """
    settings, gate = session.settings, session.gate
    ref = settings.gate.against
    if ref is None or gate is None or gate.duet or gate.confirmation:
        return
    if settings.quick or settings.gate.regressions == "off":
        return
    if any(getattr(config.option, name, None) for name in _RUNLESS):
        return
    with ExitStack() as stack:
        try:
            base = find_base(config.rootpath, ref)
            scratch = stack.enter_context(checked_out(base))
            commands = Commands(config, settings, base, scratch)
            if _has_history(settings, workers):
                sides = OpenSides.of(commands, base.title, scratch)
                gate.confirmation = Confirmation(sides, config, settings, session.budgets.rule)
                config.add_cleanup(stack.pop_all().close)
            else:
                gate.duet = _compare(config, session, base, commands, scratch)
        except BrokenGateError as error:
            raise pytest.UsageError(str(error)) from error


def _has_history(settings: Settings, workers: int) -> bool:
    folder = settings.gate.baseline
    try:
        return folder is not None and is_known(folder, environment_key(workers))
    except (OSError, FileFormatError) as error:
        raise BrokenGateError(f"--perf-baseline: {error}") from error


def _compare(
    config: pytest.Config, session: PerfSession, base: Base, commands: Commands, scratch: Path
) -> DuetVerdicts:
    """Return the verdicts of a duet with *base*, which is checked out in *scratch*."""
    settings = session.settings.gate
    run = functools.partial(run_on, scratch=scratch, wants_cost=settings.max_cost is not None)
    sides = Sides(run(commands.base()), run(commands.head()), are_named=commands.are_named)
    bounds = Bounds(settings.pairs, settings.max_time, settings.max_cost)

    def say(sentence: str) -> None:
        announce(config, f"against {base.title}: {sentence}")

    notes = [_SUBMODULES] if (scratch / "base" / ".gitmodules").is_file() else []
    for note in notes:
        say(note)
    duet = Duet(sides, bounds, say, REAL_TIME.clock, session.budgets.rule)
    found = duet.run()
    latencies = duet.base_latencies() if session.settings.reports.wants_details else {}
    return make_verdicts(found, base.title, [*notes, *duet.notes], latencies)
