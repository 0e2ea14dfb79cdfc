"""A block of a test that is used once, `with` or `async with`, and what was noticed in it."""

from collections.abc import Iterable
from typing import Self

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.measure.pool.settings import PoolContext

__all__ = ["UseBlock"]


class UseBlock:
    """Sees what is used inside `with` or `async with`.

    Args:
        name: What messages call what is used.
        context: The test around the block.
        label: The user's name for it; None for the unnamed one.
    """

    def __init__(self, name: str, context: PoolContext, label: str | None) -> None:
        self._name = name
        self._context = context
        self._label = label
        self._state = "new"
        self._findings: tuple[Finding, ...] = ()

    def __enter__(self) -> Self:
        if self._state != "new":
            raise UsageError(
                f"this block is {self._state}; it is for one use, so call perf_pool() again"
            )
        self._start()
        self._state = "in use"
        return self

    def __exit__(self, *_: object) -> None:
        self._state = "over"
        found = self._stop()
        self._findings = tuple(each for each in found if not self._context.is_accepted(each))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)

    def _start(self) -> None:
        """Begin to look."""
        raise NotImplementedError

    def _stop(self) -> Iterable[Finding]:
        """End, and return what its author would want to know."""
        raise NotImplementedError

    def __repr__(self) -> str:
        label = f" {self._label!r}" if self._label else ""
        return f"<{type(self).__name__}{label} of {self._name}, {self._state}>"
