"""A load that several processes make together: each a share of it, at the same time."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from pytest_agentperf.core.errors import LoadError
from pytest_agentperf.core.glance import Glance
from pytest_agentperf.core.series import Curve
from pytest_agentperf.measure.load.engine import EVERY, Engine, Job
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.spread import Spread, SpreadResult
from pytest_agentperf.measure.load.tally import LoadTally
from pytest_agentperf.measure.load.workers import Workers
from pytest_agentperf.measure.system import SystemWatch

__all__ = ["Together", "most_shares"]


_SHOWN_WORKERS: Final = 8
_SHOWN_CURVES: Final = ("cpu", "rss")  # a page has room for some


class ShareTally(NamedTuple):
    """What a share came to.

    Attributes:
        tally: What its calls came to.
        curves: What its process did meanwhile.
    """

    tally: LoadTally
    curves: Mapping[str, Curve]


@dataclass(frozen=True, slots=True)
class ShareWork:
    """Makes one of the shares of a load, in the process of a worker.

    Attributes:
        plan: The whole load.
        job: What it calls.
        shares: How many shares there are.
    """

    plan: LoadPlan
    job: Job
    shares: int

    def __call__(self, number: int) -> ShareTally:
        """Make share *number*."""
        engine = Engine(self.plan.split(self.shares)[number], self.job)
        watch = SystemWatch()
        try:
            with watch:
                asyncio.run(engine.run())
        except KeyboardInterrupt:  # of the terminal, whose processes all get it
            engine.tally.is_partial = True
        return ShareTally(engine.tally, watch.curves)


class Together:
    """Makes the calls of a load in several workers; to be used as `Engine` is.

    Args:
        plan: The load.
        job: What to call.
        workers: Who makes the shares.

    Attributes:
        tally: What the calls came to, when the shares have come back.
        curves: What the processes did meanwhile, by name and number.

    Raises:
        LoadError: The load cannot be made so.
    """

    def __init__(self, plan: LoadPlan, job: Job, workers: Workers) -> None:
        if plan.is_abortable:
            raise LoadError(
                "abort_on_fail=True watches the calls of one process; drop it, or executor= and"
                " workers="
            )
        self.tally = LoadTally()
        self.curves: dict[str, Curve] = {}
        self._count = workers.count
        work = ShareWork(plan, job, workers.count)
        self._spread = Spread(workers, work, _functions(job), plan.seconds, plan.grace)

    async def run(self, show: Callable[[Glance], None] | None = None) -> LoadTally:
        """Have the shares made; return what all came to.

        Args:
            show: Takes what the user is to be shown meanwhile; None for nothing.

        Raises:
            LoadError: The workers do not come, cannot make the calls, or none of them came back.
            CancelledError: It was cancelled; the tally has what came back all the same.
        """
        telling = asyncio.create_task(self._tell(show)) if show else None
        try:
            self._take(await self._spread.run())
        except asyncio.CancelledError:
            self._take(self._spread.result)
            self.tally.is_partial = True
            raise
        finally:
            if telling is not None:
                telling.cancel()
        return self.tally

    async def _tell(self, show: Callable[[Glance], None]) -> None:
        """Show now and then what is known before the shares come back: the time that is left."""
        while True:
            show(Glance(0, 0, 0.0, 0, {}, self._spread.seconds_left, workers=self._count))
            await asyncio.sleep(EVERY)

    def interrupt(self) -> None:
        """Note that the test ended before it: the shares end with their loop."""
        self.tally.is_partial = True

    def _take(self, result: SpreadResult) -> None:
        """Add up what came back."""
        for number, share in enumerate(result.results, 1):
            self.tally.merge(share.tally)
            if number <= _SHOWN_WORKERS:
                shown = {name: share.curves[name] for name in _SHOWN_CURVES if name in share.curves}
                self.curves |= {f"{name} (worker {number})": it for name, it in shown.items()}
        self.tally.lost, self.tally.notes = result.lost, result.notes


def most_shares(plan: LoadPlan) -> int:
    """Return into how many shares *plan* can be split, so that each has something to do."""
    whole = replace(plan, share=0, shares=1)
    return min(whole.most_in_flight, whole.calls or whole.most_in_flight)


def _functions(job: Job) -> tuple[Callable[..., Any], ...]:
    hooks = (job.on_start, job.on_stop)
    return tuple(each for each in (*(it.func for it in job.scenarios), *hooks) if each is not None)
