"""Connections to the test server: each takes requests in turn and plays the responses."""

import asyncio
import socket
from typing import Final, NamedTuple

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.integrations.chat_api import Response, Step, failure
from pytest_agentperf.integrations.chat_service import ChatService, parse_json
from pytest_agentperf.integrations.http_protocol import (
    CONTINUE,
    MAX_BODY,
    MAX_HEAD,
    HttpError,
    HttpRequest,
    RequestReader,
    chunk,
    response_head,
)
from pytest_agentperf.integrations.request_log import Entry, RequestLog

__all__ = ["Connection", "Listener"]

_BACKLOG: Final = 1024
_LINGER: Final = 5.0  # seconds that a refused client has to read why


class Listener:
    """Accepts connections and knows those that are open; lives in the server's thread.

    Args:
        service: Decides what is answered.
        log: Where requests are noted.
    """

    def __init__(self, service: ChatService, log: RequestLog) -> None:
        self.service = service
        self.log = log
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._is_closed = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on *sock*, which belongs to the listener from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), sock=sock, backlog=_BACKLOG
        )

    def close(self) -> None:
        """Accept no more connections and drop those that are open."""
        self._is_closed = True
        if self._server is not None:
            loop = self._server.get_loop()
            for sock in self._server.sockets:
                loop.remove_reader(sock.fileno())
            # asyncio drops the socket of a connection that it has accepted and not yet set up when
            # the server is closed; that takes one turn of the loop.
            loop.call_soon(self._server.close)
        for connection in tuple(self._connections):
            connection.abort()

    async def wait_closed(self) -> None:
        """Wait until no connection is open."""
        await self._is_idle.wait()

    def add(self, connection: "Connection") -> None:
        """Note that *connection* is open."""
        self._connections.add(connection)
        self._is_idle.clear()
        if self._is_closed:  # accepted while the listener was being closed
            connection.abort()

    def discard(self, connection: "Connection") -> None:
        """Note that *connection* is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._is_idle.set()


class _Turn(NamedTuple):
    """A request with its response, while this is being sent."""

    request: HttpRequest
    response: Response
    entry: Entry


class Connection(asyncio.Protocol):
    """Answers the requests of one client in turn.

    There is no task: each step of a response sets the timer for the next one.

    Args:
        listener: What accepted it.
        loop: The event loop.
    """

    _transport: asyncio.Transport

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._loop = loop
        self._reader = RequestReader()
        self._turn: _Turn | None = None
        self._timer: asyncio.Handle | None = None
        self._is_begun = False
        self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes no other
        self._transport = transport
        # asyncio sets it for sockets whose protocol says TCP; that of socket.create_server says 0.
        # Without it the second chunk waits 40 ms for the client's acknowledgement of the first.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how does not matter
        """End what runs; the client may have left in the middle of it."""
        if self._timer is not None:
            self._timer.cancel()
        if self._turn is not None:
            self._end(self._turn)
        self._listener.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take *data* of a request."""
        if self._is_refused:
            return
        self._reader.feed(data)
        self._next()
        if self._reader.pending > MAX_HEAD + MAX_BODY:  # sends on and on without waiting
            self.abort()

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def _next(self) -> None:
        """Begin the next response, when none is running and a request has come."""
        if self._turn is not None or self._is_refused or self._transport.is_closing():
            return
        try:
            request = self._reader.next_request()
        except HttpError as error:
            self._refuse(error)
            return
        if request is not None:
            self._begin(request)
        elif self._reader.asks_to_continue():
            self._transport.write(CONTINUE)

    def _begin(self, request: HttpRequest) -> None:
        received = REAL_TIME.clock()
        body = parse_json(request.body)
        entry = self._listener.log.begin(request.path, body, received)
        response = self._listener.service.respond(request.method, request.path, body)
        entry.status = response.status
        self._turn = _Turn(request, response, entry)
        self._is_begun = False
        self._schedule(self._turn)

    def _schedule(self, turn: _Turn) -> None:
        """Send the next step when it is due.

        Due times count from the request, so that what one step is late does not add up. Steps
        that are due already take a turn of the loop too: no stream holds up the others.
        """
        step = next(turn.response.steps)
        self._timer = self._loop.call_at(turn.entry.received + step.due, self._send, turn, step)

    def _send(self, turn: _Turn, step: Step) -> None:
        # What a client has read must be in the log, so the log comes first.
        if step.is_item:
            turn.entry.items.append(REAL_TIME.clock())
        if step.is_last:
            self._finish(turn, step)
            return
        self._transport.write(self._frame(turn, step))
        self._schedule(turn)

    def _finish(self, turn: _Turn, step: Step) -> None:
        """Send the last step and get ready for another request."""
        self._end(turn)
        if not turn.response.hang_up:
            self._transport.write(self._frame(turn, step))
        if turn.response.hang_up or not turn.request.keep_alive:
            self._transport.close()
        elif self._reader.pending:
            self._loop.call_soon(self._next)

    def _end(self, turn: _Turn) -> None:
        self._listener.log.end(turn.entry)
        self._turn = None

    def _frame(self, turn: _Turn, step: Step) -> bytes:
        """Return what to write for *step*, after the head of the response when that is not sent."""
        request, response, _ = turn
        data = step.data
        length = None if response.is_stream else len(data)
        if response.is_stream:
            data = chunk(data) + (chunk(b"") if step.is_last else b"")
        elif request.method == "HEAD":
            data = b""
        if self._is_begun:
            return data
        self._is_begun = True
        head = response_head(
            response.status, response.headers, length, keep_alive=request.keep_alive
        )
        return head + data

    def _refuse(self, error: HttpError) -> None:
        """Answer *error* and drop what still comes, since closing now could destroy the answer."""
        self._is_refused = True
        response = failure(error.status, str(error))
        body = next(response.steps).data
        head = response_head(response.status, response.headers, len(body), keep_alive=False)
        self._transport.write(head + body)
        self._transport.write_eof()
        self._timer = self._loop.call_later(_LINGER, self.abort)
