"""Callers that hold a lease, of a pool or a balancer, until they are told to end."""

import asyncio

__all__ = ["HoldingCaller"]


class HoldingCaller:
    """A task that takes a lease and holds it until it is told to end.

    Attributes:
        error: What taking or holding it ended with.
        task: The task.
    """

    def __init__(self, name: str) -> None:
        self.error: BaseException | None = None
        self._gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run(), name=name)

    async def _run(self) -> None:
        try:
            await self._hold()
        except asyncio.CancelledError as error:
            self.error = error
            raise
        except Exception as error:  # noqa: BLE001 - tests look at it
            self.error = error

    async def _hold(self) -> None:
        """Take the lease, await the gate, and give it back."""
        raise NotImplementedError

    def end(self, error: BaseException | None = None) -> None:
        """Let it give its lease back, by an error if one is given."""
        if self._gate.done():
            return
        if error is None:
            self._gate.set_result(None)
        else:
            self._gate.set_exception(error)

    def cancel(self) -> None:
        """Cancel it, wherever it is."""
        self.task.cancel()
