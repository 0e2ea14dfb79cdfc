"""The gate against itself: duets of the same code on both sides, in which every alarm is false."""

import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.gate.child import Command
from pytest_agentperf.gate.duet import Bounds, Duet, RunSide, Sides
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.judge.binomial import highest_share
from pytest_agentperf.judge.comparison import Comparison, Outcome
from pytest_agentperf.judge.sentences import format_change

__all__ = ["compare_with_itself", "describe", "pytest_command", "seeded"]

_APART: Final = 1000
"""How far the seeds of a duet lie from those of the next one."""

_OPTIONS: Final = {"xdist": "-n0", "pytest_cov": "--no-cov"}


def pytest_command(arguments: Sequence[str], folder: Path, scratch: Path) -> Command:
    """Return how pytest runs in *folder* with *arguments*, and what it writes goes to *scratch*."""
    is_loaded = "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ
    off = [text for name, text in _OPTIONS.items() if is_loaded and importlib.util.find_spec(name)]
    apart = (f"-ocache_dir={scratch / 'cache'}", f"--basetemp={scratch / 'tmp'}")
    command = (sys.executable, "-m", "pytest", *arguments, *apart, *off)
    return Command("head", command, folder, dict(os.environ))


def seeded(run: RunSide, duet: int) -> RunSide:
    """Return *run* with other seeds in each *duet*."""

    def run_seeded(seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:
        return run(duet * _APART + seed, is_probe=is_probe, only=only)

    return run_seeded


def compare_with_itself(
    run: RunSide, duets: int, bounds: Bounds, say: Callable[[str], None], clock: Clock
) -> Iterator[Comparison]:
    """Yield the verdicts of *duets* duets in which both sides are *run*.

    Args:
        run: Runs the tests in a fresh process.
        duets: How many.
        bounds: Of each of them.
        say: Tells the user something at once.
        clock: The clock.

    Raises:
        BrokenGateError: It could not measure, or no test is measured.
    """
    for number in range(duets):
        side = seeded(run, number)
        found = Duet(Sides(side, side), bounds, _numbered(say, number, duets), clock).run()
        judged = [one for one in found.tests if one.latency]
        if not judged:
            raise BrokenGateError(
                "no measured test ran on both sides; name tests that use perf_timer or have a"
                " budget, as in: agentperf aa tests/perf"
            )
        yield from judged


def _numbered(say: Callable[[str], None], number: int, duets: int) -> Callable[[str], None]:
    return lambda sentence: say(f"duet {number + 1} of {duets}: {sentence}")


def describe(found: Sequence[Comparison], duets: int) -> list[str]:
    """Return what *found*, the verdicts of *duets* duets, says about this machine, in lines."""
    red = Counter(one.name for one in found if one.outcome is Outcome.REGRESSED)
    others = Counter(one.outcome for one in found)
    share, most = red.total() / len(found), highest_share(red.total(), len(found))
    shown = sorted(one.latency.detectable for one in found if one.latency)
    totals = (
        f"{duets} duet{'s' * (duets != 1)} of the tests with themselves, {len(found)}"
        f" verdict{'s' * (len(found) != 1)}:"
        f" {red.total()} regressed ({_percent(share)}; at most {_percent(most)} with 95 %"
        f" confidence), {others[Outcome.FASTER]} faster, {others[Outcome.UNDECIDED]} undecided"
    )
    return [
        totals,
        f"half of the verdicts could have shown {format_change(1 + shown[len(shown) // 2])}",
        *(f"regressed in {times} of {duets}: {name}" for name, times in red.most_common()),
    ]


def _percent(share: float) -> str:
    return format_quantity(share, Unit.SHARE, 2)
