"""What a history flags, a duet confirms: of that test alone, when its call phase ends.

A history cannot tell a slower test from a slower hour of the machine; base and head in turn can.
So a flag fails nothing by itself: the duet's verdict holds. Of several workers of xdist one at a
time makes a duet, with what is left of the time that all of them may take.
"""

import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from pytest_agentperf.announce import announce
from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.files import read_text, write_text
from pytest_agentperf.core.lock import locked
from pytest_agentperf.gate.child import Command, run_on
from pytest_agentperf.gate.commands import Commands
from pytest_agentperf.gate.duet import Bounds, Duet, RunSide, Sides
from pytest_agentperf.gate.errors import BeyondBoundsError
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.judge.comparison import Comparison, Outcome, Rule
from pytest_agentperf.judge.sentences import format_change
from pytest_agentperf.options import Settings
from pytest_agentperf.report.record import ComparisonRecord, record_comparison

__all__ = ["Confirmation", "OpenSides"]

_SIDES: Final = "sides.json"
_SPENT: Final = "spent.json"
_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class OpenSides:
    """How one test is run on either side: the path of its file is still to be added.

    Attributes:
        title: What messages call the base.
        scratch: The folder with the base, and for files of the duets.
        head: How the head is run.
        head_root: The folder that node ids begin at there.
        base: How the base is run, or None where it has nothing of the project.
        base_root: The folder that node ids begin at there.
    """

    title: str
    scratch: str
    head: Command
    head_root: str
    base: Command | None
    base_root: str

    @classmethod
    def of(cls, commands: Commands, title: str, scratch: Path) -> "OpenSides":
        """Return those of *commands*, and leave them in *scratch* for the workers of xdist."""
        head, base = commands.head(is_open=True), commands.base(is_open=True)
        roots = str(commands.head_root), str(commands.base_root)
        sides = cls(title, str(scratch), head, roots[0], base, roots[1])
        # Through a file: variables of an environment may be no valid text.
        write_text(scratch / _SIDES, json.dumps(asdict(sides), default=str))
        return sides

    @classmethod
    def left_in(cls, scratch: Path) -> "OpenSides":
        """Return those that `of` left in *scratch*."""
        content = json.loads(read_text(scratch / _SIDES))
        for side in ("head", "base"):
            if content[side] is not None:
                folder = Path(content[side]["folder"])
                content[side] = Command(**content[side] | {"folder": folder})
        return cls(**content)

    def running(self, nodeid: str, *, wants_cost: bool) -> Sides:
        """Return the sides that run the test *nodeid* and no other."""
        scratch = Path(self.scratch)

        def side(command: Command | None, root: str) -> RunSide:
            opened = _opened(command, root, nodeid)
            return _only(nodeid, run_on(opened, scratch, wants_cost=wants_cost))

        return Sides(
            side(self.base, self.base_root), side(self.head, self.head_root), are_named=True
        )


def _opened(command: Command | None, root: str, nodeid: str) -> Command | None:
    """Return *command* with the file of the test *nodeid*; None where there is no such file."""
    path = Path(root, nodeid.partition("::")[0])
    if command is None or not path.exists():
        return None
    return replace(command, arguments=(*command.arguments, str(path)))


def _only(nodeid: str, run: RunSide) -> RunSide:
    def run_one(seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:  # noqa: ARG001
        return run(seed, is_probe=is_probe, only=(nodeid,))

    return run_one


class Confirmation:
    """Makes the duets of the tests that the history flags.

    Args:
        sides: How a test is run.
        config: Of this process.
        settings: What the user allows.
        rule: What makes a change a regression.

    Attributes:
        sides: The same.
    """

    def __init__(
        self, sides: OpenSides, config: pytest.Config, settings: Settings, rule: Rule
    ) -> None:
        self.sides = sides
        self._scratch = Path(sides.scratch)
        self._config, self._stated, self._rule = config, settings.gate, rule

    def judge(
        self, nodeid: str, flagged: Sequence[Comparison], baseline: str, tests: int
    ) -> Iterator[ComparisonRecord]:
        """Yield the verdicts of a duet on what the history says of the test *nodeid*.

        Args:
            nodeid: The test.
            flagged: What the history says; what it does not flag stays as it is.
            baseline: What messages call the history.
            tests: How many verdicts there are altogether.

        Raises:
            BrokenGateError: A side could not measure.
        """
        suspicious = {one.name for one in flagged if one.is_suspicious(self._rule)}
        found, why = self._duet(nodeid, tests) if suspicious else ({}, "")
        for one in flagged:
            if one.name not in suspicious:
                yield record_comparison(one, baseline)
            elif one.name in found:
                confirmed = found[one.name]
                sentence = f"{confirmed.sentence}{_flag(one, baseline)}"
                yield record_comparison(
                    replace(confirmed, sentence=sentence), f"base {self.sides.title}"
                )
            else:
                yield record_comparison(_unconfirmed(one, why), baseline)

    def _duet(self, nodeid: str, tests: int) -> tuple[dict[str, Comparison], str]:
        """Return the verdicts of a duet of the test *nodeid* by name, and why others have none."""
        sides = self.sides.running(nodeid, wants_cost=self._stated.max_cost is not None)
        say = functools.partial(self._say, nodeid)
        with locked(self._scratch / _LOCK, patience=math.inf):
            seconds, dollars = self._spent()
            cost = self._stated.max_cost
            left = Bounds(
                self._stated.pairs,
                self._stated.max_time,
                None if cost is None else cost - dollars,
                used=seconds,
            )
            began = REAL_TIME.clock()
            duet = Duet(sides, left, say, REAL_TIME.clock, self._rule, tests)
            try:
                found = duet.run()
            except BeyondBoundsError as error:
                return {}, str(error)
            finally:
                spent = seconds + REAL_TIME.clock() - began, dollars + duet.dollars
                write_text(self._scratch / _SPENT, json.dumps(spent))
        weak = "".join(f"; {note}" for note in duet.notes)
        verdicts = {one.name: replace(one, sentence=one.sentence + weak) for one in found.tests}
        return verdicts, "the duet did not measure it"

    def _spent(self) -> tuple[float, float]:
        """Return seconds and dollars that the duets of all processes took so far."""
        try:
            seconds, dollars = json.loads(read_text(self._scratch / _SPENT))
        except FileNotFoundError:
            return 0.0, 0.0
        return seconds, dollars

    def _say(self, nodeid: str, sentence: str) -> None:
        announce(self._config, f"{nodeid} against {self.sides.title}: {sentence}")


def _unconfirmed(one: Comparison, why: str) -> Comparison:
    """Return what the history says of a test, which decides nothing without a duet."""
    outcome = Outcome.NEW if one.outcome is Outcome.NEW else Outcome.UNDECIDED
    return replace(one, outcome=outcome, sentence=f"{one.sentence}; not confirmed: {why}")


def _flag(one: Comparison, baseline: str) -> str:
    """Return why there was a duet."""
    if one.latency is None:
        return ""
    return f"; flagged by {baseline} ({format_change(one.latency.ratio)}, p = {one.latency.p:.1g})"
