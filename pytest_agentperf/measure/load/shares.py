"""Shares: the same work in several workers at the same moment, as a worker sees it."""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_agentperf.measure.load.travel import told, unpack

__all__ = ["LATEST", "Came", "Hello", "Share", "do_share", "say_hello"]

LATEST: Final = 1.0
"""Seconds after the agreed moment from which it is too late to begin."""

_HOLD: Final = 0.05  # seconds for which a worker is kept, so that the next greeting finds another


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker says of itself before the work begins.

    Attributes:
        host: Its machine.
        pid: Its process.
        thread: Its thread.
        wall: Its wall clock just now, in seconds since 1970.
        problem: Why it cannot do the work; empty where it can.
    """

    host: str
    pid: int
    thread: int
    wall: float
    problem: str

    @property
    def name(self) -> tuple[str, int, int]:
        """What tells workers apart."""
        return self.host, self.pid, self.thread


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker is to do.

    Attributes:
        number: From 0.
        packed: A function of that number.
        start: When to begin, by the wall clock of the one who asks.
        ahead: Seconds by which the clocks of other machines are ahead of that, by host.
    """

    number: int
    packed: bytes
    start: float
    ahead: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a share.

    Attributes:
        number: Which one.
        late: Seconds after the agreed moment at which it began.
        result: What the function returned, never None; None where it was too late, or failed.
        problem: What it raised, in words: its type may not be known to who asks.
    """

    number: int
    late: float
    result: Any = None
    problem: str = ""


def say_hello(number: int, attempt: int, packed: bytes) -> Hello:
    """Say who works here, and whether what is to be done can be done.

    Args:
        number: Of the share.
        attempt: How often it was asked; a cluster that gets the same question twice asks nobody.
        packed: What is to be done.
    """
    del number, attempt
    problem = ""
    try:
        unpack(packed)
    except Exception as error:  # noqa: BLE001 -- whatever the import of the user's modules raises
        problem = told(error)
    time.sleep(_HOLD)
    return Hello(socket.gethostname(), os.getpid(), threading.get_ident(), time.time(), problem)


def do_share(
    share: Share,
    wall: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Came:
    """Do *share* at the agreed moment.

    Args:
        share: What to do.
        wall: Seconds since 1970.
        sleep: Waits for seconds.
    """
    work = unpack(share.packed)
    start = share.start + share.ahead.get(socket.gethostname(), 0.0)
    sleep(max(start - wall(), 0.0))
    late = wall() - start
    if late > LATEST:  # a cluster gives what a worker left behind to another, when that has time
        return Came(share.number, late)
    try:
        return Came(share.number, late, work(share.number))
    except Exception as error:  # noqa: BLE001 -- the user's code
        return Came(share.number, late, problem=told(error))
