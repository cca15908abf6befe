"""What the reader makes of bytes, without sockets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.http.limits import HttpLimits
from stanchion.http.message import HttpRequest
from stanchion.http.reader import BETWEEN, BODY, Buffers, RequestReader
from stanchion.http.refusals import Refusal
from tests.http.support import post


def reader_of(limits: HttpLimits | None = None, buffers: Buffers | None = None) -> RequestReader:
    buffers = buffers or Buffers(1 << 30)
    return RequestReader(limits or HttpLimits(), buffers, secure=False, peer_ip="192.0.2.1")


def feed(reader: RequestReader, data: bytes, piece_bytes: int | None = None) -> RequestReader:
    size = piece_bytes or reader.feed_bytes_max
    for at in range(0, len(data), size):
        if reader.refusal is None:
            reader.feed(data[at : at + size])
    return reader


def read(data: bytes, piece_bytes: int | None = None) -> HttpRequest:
    reader = feed(reader_of(), data, piece_bytes)
    assert reader.refusal is None
    (received,) = reader.requests
    assert reader.phase == BETWEEN
    return received.request


def refusal_of(data: bytes, limits: HttpLimits | None = None) -> Refusal | None:
    return feed(reader_of(limits), data).refusal


def test_a_request() -> None:
    request = read(
        b"POST /1/q%20r?a=%ff&b HTTP/1.1\r\nhost: q.test:9324\r\nX-Amz-Target:AmazonSQS.X \t\r\n"
        b"X-Odd: caf\xe9\r\nContent-Length: 3\r\n\r\nabc"
    )
    assert request == HttpRequest(
        "POST",
        "/1/q%20r",
        "a=%ff&b",
        {
            "host": "q.test:9324",
            "x-amz-target": "AmazonSQS.X",
            "x-odd": "café",
            "content-length": "3",
        },
        b"abc",
        False,
        "192.0.2.1",
    )


CHUNKED = (
    b"POST /x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;note=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nHost: evil\r\nX-Trailer: 1\r\n\r\n"
)


@pytest.mark.parametrize("data", [post(), CHUNKED, b"GET / HTTP/1.1\r\nHost: a\r\nA:b\r\n\r\n"])
def test_where_the_input_is_split_does_not_matter(data: bytes) -> None:
    whole = read(data)
    for at in range(1, len(data)):
        reader = feed(reader_of(), data[:at])
        assert not reader.requests
        reader.feed(data[at:])
        assert [received.request for received in reader.requests] == [whole]
    assert read(data, piece_bytes=1) == whole


def test_chunks_are_joined_and_trailers_do_not_become_headers() -> None:
    request = read(CHUNKED)
    assert request.body == b"abc0123456789"
    assert request.headers == {"host": "a", "transfer-encoding": "chunked"}


def test_repeated_headers_are_joined() -> None:
    request = read(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    assert request.headers == {"host": "a", "x-a": "1,2"}


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"/", "/", "", "a"),
        (b"/p?", "/p", "", "a"),
        (b"//p?q?r", "//p", "q?r", "a"),
        (b"http://q.test:1/p?x", "/p", "x", "q.test:1"),
        (b"HTTP://q.test", "/", "", "q.test"),
        (b"https://q.test?a=/b", "/", "a=/b", "q.test"),
        (b"*", "*", "", "a"),
    ],
)
def test_targets(target: bytes, path: str, query: str, host: str) -> None:
    request = read(b"OPTIONS %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    assert (request.path, request.query, request.headers["host"]) == (path, query, host)


@pytest.mark.parametrize(
    ("version", "header", "connection"),
    [
        (b"1.1", b"", ""),
        (b"1.1", b"Connection: keep-alive\r\n", ""),
        (b"1.1", b"Connection: close\r\n", "Connection: close\r\n"),
        (b"1.0", b"", "Connection: close\r\n"),
        (b"1.0", b"Connection: Keep-Alive\r\n", "Connection: keep-alive\r\n"),
    ],
)
def test_persistence(version: bytes, header: bytes, connection: str) -> None:
    reader = feed(reader_of(), b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, header))
    assert [received.connection for received in reader.requests] == [connection]


def test_an_offered_upgrade_is_declined_without_losing_the_body() -> None:
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")
    data = post(b"one", *offer) + post(b"two", *offer) + post(b"three")
    for piece_bytes in (1, 50, len(data)):
        reader = feed(reader_of(), data, piece_bytes)
        assert reader.refusal is None
        assert [received.request.body for received in reader.requests] == [b"one", b"two", b"three"]


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CONNECT = b"CONNECT b:1 HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: -1\r\n\r\nabc",
        POST + b"Content-Length:\r\n\r\nabc",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
        POST + b"Content-Length: %b3\r\n\r\nabc" % (b"0" * 5000),
        POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + b"Host: b\r\n\r\n",
        GET + b"host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        GET + b"X: a\r\n b\r\n\r\n",
        GET + b"X: a\0b\r\n\r\n",
        GET + b"X: a\x01b\r\n\r\n",
        GET + b"X: a\rb\r\n\r\n",
        GET + b"X\xe9: a\r\n\r\n",
        GET + b": a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///p HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        CONNECT + b"\r\n",
        CONNECT + b"Connection: keep-alive\r\n\r\n",
        CONNECT + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        CONNECT + b"Connection: x\r\nContent-Length: 3\r\n\r\nabc",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.7\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_not_http_or_has_two_readings_is_refused(data: bytes) -> None:
    for piece_bytes in (1, len(data)):
        reader = feed(reader_of(), data, piece_bytes)
        assert reader.refusal is Refusal.MALFORMED
        assert not reader.requests


@pytest.mark.parametrize("data", [b"GET / HTTP/2.0\r\n\r\n", b"GET /\r\n\r\n"])
def test_other_versions_are_refused(data: bytes) -> None:
    assert refusal_of(data) is Refusal.VERSION_NOT_SUPPORTED


def test_unknown_expectations_are_refused() -> None:
    assert refusal_of(post(b"x", b"Expect: a miracle")) is Refusal.EXPECTATION_FAILED


def test_header_count() -> None:
    limits = HttpLimits(header_count_max=5)
    assert refusal_of(GET + b"A: b\r\n" * 4 + b"\r\n", limits) is None
    assert refusal_of(GET + b"A: b\r\n" * 5 + b"\r\n", limits) is Refusal.HEADERS_TOO_LARGE
    assert refusal_of(GET + b"A: b\r\n" * 6, limits) is Refusal.HEADERS_TOO_LARGE


def test_header_bytes() -> None:
    limits = HttpLimits(header_bytes_max=1000)
    assert refusal_of(GET + b"A: %b\r\n\r\n" % (b"x" * 900), limits) is None
    assert refusal_of(GET + b"A: %b\r\n\r\n" % (b"x" * 1000), limits) is Refusal.HEADERS_TOO_LARGE
    endless = reader_of(limits)
    fed_bytes = 0
    endless.feed(GET + b"A: ")
    while endless.refusal is None:
        endless.feed(b"x")
        fed_bytes += 1
    assert endless.refusal is Refusal.HEADERS_TOO_LARGE
    assert fed_bytes <= 2 * limits.header_bytes_max


def test_the_end_of_a_large_request_does_not_count_against_the_next_head() -> None:
    limits = HttpLimits(header_bytes_max=1000)
    data = post(b"x" * 5000) + GET + b"A: %b\r\n\r\n" % (b"y" * 900)
    for size in range(1, 1001, 37):
        reader = feed(reader_of(limits), data, size)
        assert reader.refusal is None
        assert len(reader.requests) == 2


def test_target_bytes() -> None:
    limits = HttpLimits(target_bytes_max=50)
    line = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
    assert refusal_of(line % (b"x" * 49), limits) is None
    assert refusal_of(line % (b"x" * 50), limits) is Refusal.TARGET_TOO_LONG
    assert refusal_of(b"GET /" + b"x" * 50, limits) is Refusal.TARGET_TOO_LONG


def test_body_bytes_are_refused_when_announced_or_when_there() -> None:
    limits = HttpLimits(body_bytes_max=100)
    assert refusal_of(post(b"x" * 100), limits) is None
    assert refusal_of(POST + b"Content-Length: 101\r\n\r\n", limits) is Refusal.BODY_TOO_LARGE
    chunk = b"60\r\n" + b"x" * 0x60 + b"\r\n"
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert refusal_of(chunked + chunk, limits) is None
    assert refusal_of(chunked + chunk * 2, limits) is Refusal.BODY_TOO_LARGE


@pytest.mark.parametrize("flood", [b"X-T: 1\r\n", b"x"])
def test_endless_trailers_are_refused(flood: bytes) -> None:
    reader = feed(reader_of(), POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: ")
    fed_bytes = 0
    while reader.refusal is None:
        reader.feed(flood)
        fed_bytes += len(flood)
    assert reader.refusal is Refusal.HEADERS_TOO_LARGE
    assert fed_bytes < 100_000


def test_chunks_that_keep_coming_do_not_count_as_trailers() -> None:
    data = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    reader = feed(reader_of(HttpLimits(header_bytes_max=100)), data, piece_bytes=1)
    assert [len(received.request.body) for received in reader.requests] == [1000]


def test_bodies_that_arrive_in_parts_take_from_the_buffers_until_released() -> None:
    buffers = Buffers(250)
    first, second = reader_of(buffers=buffers), reader_of(buffers=buffers)
    announced = POST + b"Content-Length: 200\r\n\r\n"
    feed(first, announced + b"x" * 150)
    assert (first.phase, buffers.used_bytes) == (BODY, 150)
    feed(second, announced + b"x" * 150)
    assert second.refusal is Refusal.BUFFERS_FULL
    first.feed(b"x" * 50)
    assert [received.held_bytes for received in first.requests] == [150]
    second.release()
    first.release()
    assert buffers.used_bytes == 0


def test_a_large_body_in_small_chunks_takes_linear_time_and_space() -> None:
    data = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 50_000 + b"0\r\n\r\n"
    assert read(data).body == b"ab" * 50_000


REQUESTS = [
    post(),
    post(b""),
    CHUNKED,
    GET + b"\r\n",
    post(b"x", b"Upgrade: a", b"Connection: upgrade"),
]


@given(st.data())
def test_arbitrary_bytes_never_raise(data: st.DataObject) -> None:
    buffers = Buffers(10_000)
    limits = HttpLimits(header_bytes_max=300, body_bytes_max=300)
    reader = reader_of(limits, buffers)
    part = st.one_of(
        st.binary(max_size=40), st.sampled_from(REQUESTS), st.sampled_from(POST.split())
    )
    for piece in data.draw(st.lists(part, max_size=8)):
        feed(reader, piece, data.draw(st.integers(1, 300)))
    assert len(reader.body) <= 300
    reader.release()
    assert buffers.used_bytes == 0
