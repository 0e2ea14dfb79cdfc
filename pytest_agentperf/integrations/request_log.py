"""The log of the test server: when each request came, what it got and when it ended."""

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Any

from pytest_agentperf.core.clock import Clock

__all__ = ["Entry", "Request", "RequestLog"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the server saw it; times are seconds of `time.perf_counter`.

    Attributes:
        path: Without the query, as in ``"/v1/chat/completions"``.
        body: The JSON object that was sent, or None.
        received: When the request was read to its end.
        items: When each chunk of text or reasoning was handed to the socket.
        ended: When the response ended or the client left; None: it is still running.
        status: The status of the response; None: not yet known.
        in_flight: Requests that were running when it began, itself included.
    """

    path: str
    body: dict[str, Any] | None
    received: float
    items: tuple[float, ...]
    ended: float | None
    status: int | None
    in_flight: int

    @property
    def first_item(self) -> float | None:
        """When the first chunk of text or reasoning was handed to the socket, or None."""
        return self.items[0] if self.items else None

    @property
    def ttft(self) -> float | None:
        """Seconds from the request to its first item, or None."""
        return self.items[0] - self.received if self.items else None

    @property
    def itl(self) -> tuple[float, ...]:
        """Seconds between each item and the next."""
        return tuple(after - before for before, after in itertools.pairwise(self.items))


@dataclass(slots=True)
class Entry:
    """A request while it runs; only the server's thread changes it."""

    path: str
    body: dict[str, Any] | None
    received: float
    in_flight: int
    items: list[float]
    status: int | None = None
    ended: float | None = None

    def snapshot(self) -> Request:
        """Return what is known by now."""
        ended = self.ended  # first: what comes before the end is complete then
        return Request(
            self.path,
            self.body,
            self.received,
            tuple(self.items),
            ended,
            self.status,
            self.in_flight,
        )


class RequestLog:
    """Keeps the last requests and counts those that run.

    Written by the server's thread alone; any thread reads.

    Args:
        keep: How many requests are kept, at least 1.
        clock: The clock.

    Attributes:
        in_flight: Requests that were begun and have not ended.
        in_flight_max: The most that ran at one moment.
    """

    def __init__(self, keep: int, clock: Clock) -> None:
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._clock = clock
        self.in_flight = 0
        self.in_flight_max = 0

    def begin(self, path: str, body: dict[str, Any] | None, received: float) -> Entry:
        """Note that a request was read to its end at *received*."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        entry = Entry(path, body, received, self.in_flight, [])
        self._entries.append(entry)
        return entry

    def end(self, entry: Entry) -> None:
        """Note that *entry* ends now."""
        entry.ended = self._clock()
        self.in_flight -= 1

    def snapshot(self) -> tuple[Request, ...]:
        """Return the requests that are kept, in order of arrival."""
        # `copy` is one step of the interpreter; a loop would meet appends of the other thread.
        return tuple(entry.snapshot() for entry in self._entries.copy())
