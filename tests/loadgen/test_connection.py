"""Replies in every form and in every division of their bytes."""

import asyncio
from typing import cast

import pytest

from stanchion.loadgen.connection import Connection

_WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
_REPLIES = {
    "content-length": (_WHOLE, (200, b"hello")),
    "content-length last": (
        b"HTTP/1.1 403 Forbidden\r\nx: y\r\ncontent-length:2\r\n\r\n{}",
        (403, b"{}"),
    ),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx: y\r\n\r\n", (200, b"")),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        (200, b"hello"),
    ),
    "chunked and empty": (
        b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n0\r\nTrailer: t\r\n\r\n",
        (500, b""),
    ),
}


class _Transport:
    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def _connection() -> tuple[Connection, list[tuple[int, bytes]], _Transport]:
    replies: list[tuple[int, bytes]] = []
    connection = Connection(lambda *reply: replies.append(reply), lambda: None)
    transport = _Transport()
    connection.connection_made(cast(asyncio.Transport, transport))
    return connection, replies, transport


@pytest.mark.parametrize("name", _REPLIES)
def test_a_reply_is_the_same_however_its_bytes_are_divided(name: str) -> None:
    data, expected = _REPLIES[name]
    for cut in range(1, len(data)):
        connection, replies, _ = _connection()
        for _ in range(2):
            connection.data_received(data[:cut])
            connection.data_received(data[cut:])
        assert replies == [expected, expected]


@pytest.mark.parametrize("name", _REPLIES)
def test_nothing_is_told_before_the_reply_is_whole(name: str) -> None:
    data, expected = _REPLIES[name]
    connection, replies, _ = _connection()
    for byte in data[:-1]:
        connection.data_received(bytes([byte]))
        assert replies == []
    connection.data_received(data[-1:])
    assert replies == [expected]


def test_a_closing_connection_is_noticed() -> None:
    connection, _, _ = _connection()
    connection.data_received(_WHOLE)
    assert not connection.closing
    connection.data_received(_WHOLE.replace(b"Content-Type: text/plain", b"Connection: close"))
    assert connection.closing


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-server\r\n\r\n", _WHOLE.replace(b" 5", b" five"), _WHOLE.replace(b"200", b"abc")],
)
def test_what_is_not_http_ends_the_connection(data: bytes) -> None:
    connection, replies, transport = _connection()
    connection.data_received(data)
    assert transport.aborted
    assert replies == []
