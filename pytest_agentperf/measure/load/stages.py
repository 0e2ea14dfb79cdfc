"""Stages: how many users, or which rate, at which time.

    stages ::= stage ("," stage)*         blanks around the parts are ignored
    stage  ::= number unit ":" target
    unit   ::= "ms" | "s" | "m" | "min" | "h"
    target ::= number ["k"] ["/s"]        of users, or with "/s" of calls a second

Elsewhere `m` is refused as a unit, since it could be milli; of a stage it is the minute that load
tools mean by it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from pytest_agentperf.core.errors import LoadError, LoadTypeError

__all__ = ["Stage", "parse_stages"]

_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SECONDS: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*")
_UNIT: Final = re.compile(r"([^\W\d]*)\s*")
_TARGET: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(k?)\s*(/s)?\s*")
_EXAMPLE: Final = "as in '5m:100,10m:500,5m:100' for users or '30s:50/s' for a rate"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of a load, over which it goes evenly from the target before it to its own.

    Attributes:
        seconds: How long it takes; 0 for a jump.
        target: Users, or calls a second.
    """

    seconds: float
    target: float


def parse_stages(text: object) -> tuple[tuple[Stage, ...], bool]:
    """Return the stages that *text* describes, and whether they are of a rate.

    Raises:
        LoadTypeError: It is no text.
        LoadError: It does not follow the grammar, mixes users with rates, or takes no time.
    """
    if not isinstance(text, str):
        raise LoadTypeError(f"stages={text!r:.60}: expected a text, {_EXAMPLE}")
    found = list(_Reader(text).stages())
    stages, rates = tuple(stage for stage, _ in found), {is_rate for _, is_rate in found}
    if len(rates) > 1:
        raise LoadError(f"stages={text!r}: expected users in all stages, or rates ('50/s') in all")
    if not any(stage.seconds for stage in stages):
        raise LoadError(f"stages={text!r}: they take no time; expected a stage above 0 s")
    if not any(stage.target for stage in stages):
        raise LoadError(f"stages={text!r}: nobody calls; expected a target above 0")
    return stages, rates.pop()


class _Reader:
    """Reads a text from its beginning to its end; an error shows how far it came."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def stages(self) -> Iterator[tuple[Stage, bool]]:
        """Return each stage, and whether it is of a rate."""
        while True:
            yield self._stage()
            if self._at == len(self._text):
                return
            self._mark(",")

    def _stage(self) -> tuple[Stage, bool]:
        seconds = float(self._take(_SECONDS, "a time with its unit")[1])
        start = self._at
        unit = self._take(_UNIT, "a unit")[1]
        if unit not in _UNITS:
            what = f"unknown unit {unit!r}" if unit else "no unit"
            self._fail(f"{what}; expected one of {', '.join(_UNITS)}", start)
        self._mark(":")
        target = self._take(_TARGET, "a number of users, or a rate such as 50/s")
        number = float(target[1]) * (1000 if target[2] else 1)
        if not math.isfinite(number) or not math.isfinite(seconds):
            self._fail("expected finite numbers", target.start())
        if not target[3] and not number.is_integer():
            self._fail(f"{number:g} users; expected a whole number", target.start(1))
        return Stage(seconds * _UNITS[unit], number), bool(target[3])

    def _take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            self._fail(f"expected {what}, {_EXAMPLE}", self._at)
        self._at = match.end()
        return match

    def _mark(self, mark: str) -> None:
        if not self._text.startswith(mark, self._at):
            self._fail(f"expected {mark!r}", self._at)
        self._at += 1

    def _fail(self, what: str, at: int) -> NoReturn:
        rest = self._text[at:]
        found = f"at {rest[:20]!r} (character {at + 1})" if rest else "at its end"
        raise LoadError(f"stages={self._text!r}: {found}: {what}")
