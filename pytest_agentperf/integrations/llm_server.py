"""A test server that speaks OpenAI's chat completions API on the loopback interface.

    with LLMServer(ttft="50ms", itl="10ms") as server:
        client = OpenAI(base_url=server.url, api_key="none")
        ...
    assert server.in_flight_max == 1

All servers of a process share one daemon thread. It needs the interpreter's lock as the test does:
code that computes without pause delays the chunks, and `Request.items` shows when they went out.
"""

import socket
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.integrations.answer import Defaults
from pytest_agentperf.integrations.chat_service import ChatService, ReplySource
from pytest_agentperf.integrations.connection import Listener
from pytest_agentperf.integrations.loop_thread import LoopThread
from pytest_agentperf.integrations.reply import (
    Delay,
    Reply,
    parse_count,
    parse_delay,
    parse_text,
)
from pytest_agentperf.integrations.request_log import Request, RequestLog

__all__ = ["LLMServer", "Reply", "Request"]


class LLMServer:
    """A server of chat completions on 127.0.0.1; also a context manager.

    Args:
        reply: What answers a request when no reply is queued: a `Reply`, or a function that takes
            the JSON body of the request and returns one. The function runs in the server's thread
            and must return at once. What it raises is answered with status 500.
        ttft: Time from a request to the first chunk, in seconds or as text such as ``"50ms"``; 0 is
            none, and what is not 0 is at least 1 ms. An answer that is not streamed takes as long
            as the stream would.
        itl: Time between two chunks, likewise.
        text: The text of a reply that has none; None: a short sentence.
        tokens: Chunks of that text; None: one a word.
        prompt_tokens: Tokens of the prompt where the reply does not say.
        models: What ``GET /v1/models`` lists; a request may ask for any model.
        keep: How many requests are remembered.

    Raises:
        UsageError: An argument's value is none of these.
        UnitError: A delay is no time, or is above 0 and below 1 ms.
    """

    def __init__(
        self,
        *,
        reply: Reply | ReplySource | None = None,
        ttft: Delay = 0,
        itl: Delay = 0,
        text: str | None = None,
        tokens: int | None = None,
        prompt_tokens: int = 20,
        models: Sequence[str] = ("test-model",),
        keep: int = 10_000,
    ) -> None:
        defaults = Defaults(
            ttft=parse_delay("ttft", ttft),
            itl=parse_delay("itl", itl),
            text=None if text is None else parse_text("text", text),
            tokens=None if tokens is None else parse_count("tokens", tokens),
            prompt_tokens=parse_count("prompt_tokens", prompt_tokens),
        )
        self._log = RequestLog(parse_count("keep", keep, least=1), REAL_TIME.clock)
        self._service = ChatService(reply, defaults, _parse_models(models))
        self._url: str | None = None
        self._running: tuple[LoopThread, Listener] | None = None

    def start(self) -> Self:
        """Listen on a free port; does nothing when the server runs.

        Raises:
            UsageError: The server was closed before.
        """
        if self._running is not None:
            return self
        if self._url is not None:
            raise UsageError(f"the server at {self._url} was closed; make a new LLMServer")
        thread = LoopThread.shared()
        # The thread knows the listener and not this object, so that this can be collected.
        listener = Listener(self._service, self._log)
        sock = socket.create_server(("127.0.0.1", 0))
        try:
            thread.run(listener.listen(sock))
        except BaseException:
            sock.close()
            raise
        self._url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        self._running = (thread, listener)
        self._release = weakref.finalize(self, _release, thread, listener)
        return self

    def close(self) -> None:
        """Drop all connections and give the port back; does nothing the second time."""
        if self._running is None:
            return
        (thread, listener), self._running = self._running, None
        self._release()
        # A forked child has no such thread, and a reply script must not wait for its own.
        if thread.is_alive and not thread.is_current:
            thread.run(listener.wait_closed())

    def reply(self, *replies: Reply) -> None:
        """Answer the next chat requests with *replies*, in this order and before the default.

        Raises:
            UsageError: One of them is no reply, or does not go with the server's defaults.
        """
        self._service.enqueue(replies)

    @property
    def url(self) -> str:
        """The base URL for clients, as in ``"http://127.0.0.1:49152/v1"``.

        Raises:
            UsageError: The server was never started.
        """
        if self._url is None:
            raise UsageError("the server has no url before it runs; call start() or use `with`")
        return self._url

    @property
    def requests(self) -> tuple[Request, ...]:
        """The last requests that could be read, in order of arrival, as they are by now."""
        return self._log.snapshot()

    @property
    def in_flight(self) -> int:
        """Requests that were begun and have not ended."""
        return self._log.in_flight

    @property
    def in_flight_max(self) -> int:
        """The most requests that were running at one moment."""
        return self._log.in_flight_max

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self._running is not None else ", closed" if self._url else ", not started"
        return f"<LLMServer {self._url}, {self.in_flight} in flight{state}>"


def _release(thread: LoopThread, listener: Listener) -> None:
    """Close *listener* without waiting: this runs in any thread, the loop's own included."""
    if thread.is_alive:
        thread.loop.call_soon_threadsafe(listener.close)


def _parse_models(models: object) -> Sequence[str]:
    """Return the names *models* when there is at least one."""
    if isinstance(models, list | tuple) and models and all(isinstance(m, str) for m in models):
        return tuple(models)
    raise UsageError(f"models={models!r}: expected at least one name, such as ('gpt-4o',)")
