import pytest

from pytest_agentperf.integrations.http_protocol import (
    MAX_BODY,
    MAX_HEAD,
    HttpError,
    HttpRequest,
    RequestReader,
    chunk,
    response_head,
)

CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(data: bytes) -> HttpRequest | None:
    reader = RequestReader()
    reader.feed(data)
    return reader.next_request()


def test_request_is_read_from_single_bytes() -> None:
    reader = RequestReader()
    data = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    for byte in data[:-1]:
        reader.feed(bytes((byte,)))
        assert reader.next_request() is None
    reader.feed(data[-1:])
    assert reader.next_request() == HttpRequest("POST", "/a", b"abc", keep_alive=True)
    assert reader.pending == 0


def test_chunked_body_is_read_from_single_bytes() -> None:
    reader = RequestReader()
    data = CHUNKED + b"3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    for byte in data[:-1]:
        reader.feed(bytes((byte,)))
        assert reader.next_request() is None
    reader.feed(data[-1:])
    assert reader.next_request() == HttpRequest("POST", "/", b"abc0123456789", keep_alive=True)


def test_requests_are_returned_one_by_one() -> None:
    reader = RequestReader()
    reader.feed(b"\r\nGET /1 HTTP/1.1\r\n\r\n" + CHUNKED + b"0\r\n\r\nGET /3 HTTP/1.1\r\n\r\n")
    requests = [reader.next_request() for _ in range(4)]
    assert [request and request.path for request in requests] == ["/1", "/", "/3", None]


@pytest.mark.parametrize(
    ("header", "keep_alive"), [("keep-alive", True), ("Close", False), ("close, TE", False)]
)
def test_connection_header_says_whether_to_keep_it(header: str, keep_alive: bool) -> None:
    request = read(f"GET / HTTP/1.1\r\nConnection: {header}\r\n\r\n".encode())
    assert request is not None
    assert request.keep_alive is keep_alive


def test_client_that_waits_is_noticed_once() -> None:
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n")
    assert not reader.asks_to_continue()
    assert reader.next_request() is None
    assert [reader.asks_to_continue() for _ in range(2)] == [True, False]
    reader.feed(b"x")
    assert reader.next_request() is not None
    assert not reader.asks_to_continue()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (CHUNKED + b"x\r\n", 400),
        (CHUNKED + b"\r\n", 400),
        (CHUNKED + b"1\r\nab\r\n", 400),
        (CHUNKED + b"1" * (MAX_HEAD + 1), 400),
        (CHUNKED + b"%x\r\n" % (MAX_BODY + 1), 413),
        (b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (b"GET /" + b"x" * MAX_HEAD, 431),
        (b"GET /" + b"x" * MAX_HEAD + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_bytes_that_are_no_request_are_refused(data: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        read(data)
    assert caught.value.status == status


def test_chunks_that_are_too_large_together_are_refused() -> None:
    half = chunk(b" " * (MAX_BODY // 2))
    assert read(CHUNKED + half + half + b"0\r\n\r\n") is not None
    with pytest.raises(HttpError, match="larger than 16777216 bytes"):
        read(CHUNKED + half + half + chunk(b" "))


def test_body_of_the_greatest_size_is_awaited() -> None:
    assert read(b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % MAX_BODY) is None


def test_response_head_says_how_the_body_comes() -> None:
    assert response_head(200, [("a", "b")], 5, keep_alive=True) == (
        b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n"
    )
    assert response_head(529, [], None, keep_alive=False) == (
        b"HTTP/1.1 529 \r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )


def test_chunk_of_no_data_ends_the_body() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert chunk(b"") == b"0\r\n\r\n"
