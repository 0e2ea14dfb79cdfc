"""HTTP/1.1 as bytes: reading requests, framing responses (RFC 9112); no sockets here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from pytest_agentperf.core.errors import AgentPerfError

__all__ = ["CONTINUE", "HttpError", "HttpRequest", "RequestReader", "chunk", "response_head"]

MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 16 * 1024 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rf"({_NAME}) (\S+) HTTP/(\d)\.(\d)")
_HEADER: Final = re.compile(rf"({_NAME}):[ \t]*(.*?)[ \t]*")


class HttpError(AgentPerfError, ValueError):
    """A request that cannot be read; the connection is of no use after it.

    Args:
        status: What to answer.
        message: What is wrong.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that was read to its end.

    Attributes:
        method: In upper case, as sent.
        path: Without the query.
        body: Empty when there is none.
        keep_alive: Whether the client may send another request on the same connection.
    """

    method: str
    path: str
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    path: str
    headers: Mapping[str, str]
    length: int | None  # None: the body is chunked

    @property
    def keep_alive(self) -> bool:
        return "close" not in self.headers.get("connection", "").lower()


class RequestReader:
    """Takes bytes as they come and returns the requests in them.

    Attributes:
        pending: Bytes that were fed and belong to no finished request.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()
        self._continued = False

    @property
    def pending(self) -> int:
        """Bytes that no request has used yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add *data* to what is read."""
        self._buffer += data

    def next_request(self) -> HttpRequest | None:
        """Return the next request, or None when its end has not come.

        Raises:
            HttpError: What came is no request, or one too large.
        """
        if self._head is None:
            self._head = self._take_head()
        if self._head is None or not self._has_body(self._head):
            return None
        head, body = self._head, bytes(self._body)
        self._head, self._body, self._continued = None, bytearray(), False
        return HttpRequest(head.method, head.path, body, head.keep_alive)

    def asks_to_continue(self) -> bool:
        """Return, once for a request, whether its client waits for leave to send the body."""
        if self._head is None or self._continued or self._buffer:
            return False
        self._continued = self._head.headers.get("expect", "").lower() == "100-continue"
        return self._continued

    def _take_head(self) -> _Head | None:
        while self._buffer.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line before is ignored
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if max(end, len(self._buffer) if end < 0 else 0) > MAX_HEAD:
            raise HttpError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The head of the request is longer than {MAX_HEAD} bytes.",
            )
        if end < 0:
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        return _parse_head(lines)

    def _has_body(self, head: _Head) -> bool:
        """Move what came of the body out of the buffer and return whether that was the end."""
        if head.length is None:
            return self._take_chunks()
        if len(self._buffer) < head.length:
            return False
        self._body = self._buffer[: head.length]
        del self._buffer[: head.length]
        return True

    def _take_chunks(self) -> bool:
        """Take whole chunks; return whether the last one and its trailers came.

        chunk ::= hex-size [";" extension] CRLF data CRLF; the last one has size 0 and, instead of
        data, trailers (RFC 9112 7.1).
        """
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size = _parse_size(bytes(self._buffer[:end]))
            if len(self._body) + size > MAX_BODY:
                raise _too_large()
            if size == 0:
                return self._take_trailers(end)
            begin, stop = end + 2, end + 2 + size
            if len(self._buffer) < stop + 2:
                return False
            if self._buffer[stop : stop + 2] != b"\r\n":
                raise _bad("A chunk of the body is longer than its size says.")
            self._body += self._buffer[begin:stop]
            del self._buffer[: stop + 2]
        if len(self._buffer) > MAX_HEAD:
            raise _bad("A chunk of the body has no size.")
        return False

    def _take_trailers(self, end: int) -> bool:
        """Drop the trailers after the last chunk, whose line ends at *end*."""
        stop = self._buffer.find(b"\r\n\r\n", end)
        if stop >= 0:
            del self._buffer[: stop + 4]
        return stop >= 0


def _parse_head(lines: Sequence[str]) -> _Head:
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise _bad(f"{lines[0][:80]!r} is no request line.")
    method, target, *version = match.groups()
    if version != ["1", "1"]:
        raise HttpError(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
            f"HTTP/{'.'.join(version)} is not spoken here; send HTTP/1.1.",
        )
    fields = [_HEADER.fullmatch(line) for line in lines[1:]]
    headers = {field[1].lower(): field[2] for field in fields if field is not None}
    if None in fields:
        raise _bad("A header has no name, or a blank before its colon.")
    return _Head(method, target.partition("?")[0], headers, _body_length(headers))


def _body_length(headers: Mapping[str, str]) -> int | None:
    """Return the bytes of the body, None when it is chunked."""
    coding = headers.get("transfer-encoding", "").lower()
    if coding == "chunked":
        return None
    if coding:
        raise HttpError(
            HTTPStatus.NOT_IMPLEMENTED,
            f"The transfer coding {coding!r} is not known; send 'chunked' or a length.",
        )
    length = headers.get("content-length", "0")
    if re.fullmatch("[0-9]{1,18}", length) is None:
        raise _bad(f"The content-length {length[:80]!r} is no number of bytes.")
    if int(length) > MAX_BODY:
        raise _too_large()
    return int(length)


def _parse_size(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if re.fullmatch(b"[0-9A-Fa-f]{1,16}", size) is None:
        raise _bad(f"{size[:80]!r} is no size of a chunk.")
    return int(size, 16)


def _bad(message: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, message)


def _too_large() -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {MAX_BODY} bytes."
    )


def response_head(
    status: int, headers: Sequence[tuple[str, str]], length: int | None, *, keep_alive: bool
) -> bytes:
    """Return the head of a response.

    Args:
        status: The status; one that HTTP does not name is sent without its phrase.
        headers: More headers.
        length: Bytes of the body; None: it comes in chunks.
        keep_alive: Whether the connection stays open after it.
    """
    named = {known.value: known.phrase for known in HTTPStatus}
    framing = ("transfer-encoding", "chunked") if length is None else ("content-length", length)
    lines = [f"HTTP/1.1 {status} {named.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in (*headers, framing)]
    lines.append(f"connection: {'keep-alive' if keep_alive else 'close'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return *data* as one chunk of a body; no data end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
