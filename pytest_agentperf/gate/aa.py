"""The gate against itself: duets of the same code on both sides, in which every alarm is false."""

import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.gate.child import Command, run_on
from pytest_agentperf.gate.duet import Bounds, Duet, RunSide, Sides
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.judge.binomial import highest_share
from pytest_agentperf.judge.comparison import Comparison, Outcome

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
    command: Command,
    scratch: Path,
    duets: int,
    bounds: Bounds,
    say: Callable[[str], None],
    clock: Clock,
) -> Iterator[Comparison]:
    """Yield the verdicts of *duets* duets in which both sides are *command*.

    Args:
        command: How pytest is run.
        scratch: An existing folder for files.
        duets: How many.
        bounds: Of each of them.
        say: Tells the user something at once.
        clock: The clock.

    Raises:
        BrokenGateError: It could not measure, or no test is measured.
    """
    for number in range(duets):
        run = seeded(run_on(command, scratch, wants_cost=bounds.max_cost is not None), number)
        found = Duet(Sides(run, run), bounds, _numbered(say, number, duets), clock).run()
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
    return [
        f"{duets} duets of the same code with itself, {len(found)} verdicts:"
        f" {red.total()} regressed ({share:.1%}; at most {most:.1%} with 95 % confidence),"
        f" {others[Outcome.FASTER]} faster, {others[Outcome.UNDECIDED]} undecided",
        f"half of the verdicts could have shown a change of +{shown[len(shown) // 2]:.1%}",
        *(f"regressed {times} times: {name}" for name, times in red.most_common()),
    ]
