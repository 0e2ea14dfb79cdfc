"""Errors of this package: one base, each also a builtin that a caller expects."""

from collections.abc import Iterable

__all__ = [
    "AgentPerfError",
    "BudgetError",
    "CheckError",
    "EmptySampleError",
    "FileFormatError",
    "LoadError",
    "LoadTypeError",
    "UnitError",
    "UnknownNameError",
    "UsageError",
]


class AgentPerfError(Exception):
    """Any error that this package raises on purpose."""


class UnitError(AgentPerfError, ValueError):
    """A text that is no quantity of the expected kind."""


class UnknownNameError(AgentPerfError, ValueError):
    """A name that is not among the known ones.

    Args:
        kind: What is named, as in ``"metric"``.
        name: What was got.
        known: The accepted names; the closest one is suggested.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        import difflib  # costly, and errors are rare

        names = sorted(known)
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
        if close:
            hint = f"did you mean {close[0]!r}?"
        else:
            hint = "expected one of " + ", ".join(names) if names else "none is defined"
        super().__init__(f"unknown {kind} {str(name)!r}; {hint}")


class EmptySampleError(AgentPerfError, ValueError):
    """A statistic of no values: there is no number that would be true."""


class BudgetError(AgentPerfError, ValueError):
    """A budget that cannot be judged as it is written."""


class CheckError(AgentPerfError, AssertionError):
    """An assertion on what was measured that does not hold."""


class FileFormatError(AgentPerfError, ValueError):
    """A file whose content is not what its format demands."""


class LoadError(AgentPerfError, ValueError):
    """A load that cannot be meant as it is stated."""


class LoadTypeError(AgentPerfError, TypeError):
    """A part of a load that is stated as a value of the wrong kind."""


class UsageError(AgentPerfError, RuntimeError):
    """A fixture used where or how it cannot work."""
