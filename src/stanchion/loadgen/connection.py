"""One keep-alive HTTP/1.1 connection: bytes out, whole replies in, nothing it does not need.

It reads what SQS endpoints answer with, Content-Length and chunked bodies, by searching in the
bytes as they arrived. There is at most one request under way; a reply is handed to `on_reply`.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from stanchion.loadgen.plan import BenchError, Endpoint

OnReply = Callable[[int, bytes], None]
"""Given the reply's status and body."""


class Connection(asyncio.Protocol):
    """A protocol for one connection; `on_lost` is called once, when it has been closed."""

    __slots__ = ("_needed", "_received", "_transport", "closing", "on_lost", "on_reply")

    def __init__(self, on_reply: OnReply, on_lost: Callable[[], None]) -> None:
        self.on_reply = on_reply
        self.on_lost = on_lost
        self.closing = False
        """The server has said that it closes the connection after the reply."""
        self._transport: asyncio.Transport
        self._received = b""
        self._needed = 0

    def write(self, request: bytes) -> None:
        self._transport.write(request)

    def abort(self) -> None:
        self.on_lost = _ignore
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        try:
            reply = self._parse(data) if len(data) >= self._needed else None
        except ValueError:
            # Not HTTP. Whoever waits for the reply learns that the connection is gone.
            self._transport.abort()
            return
        if reply is None:
            self._received = data
            return
        self._received = b""
        self._needed = 0
        self.on_reply(*reply)

    def _parse(self, data: bytes) -> tuple[int, bytes] | None:
        """Status and body, or None while they are not whole. Raises ValueError."""
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head = data[:head_end].lower()
        body_at = head_end + 4
        length_at = head.find(b"\r\ncontent-length:")
        if length_at < 0:
            if b"\r\ntransfer-encoding: chunked" not in head:
                raise ValueError("a reply of unknown length")
            body = dechunked(data[body_at:])
            if body is None:
                return None
        else:
            length_end = head.find(b"\r\n", length_at + 17)
            length = int(head[length_at + 17 : length_end if length_end > 0 else head_end])
            self._needed = body_at + length
            if len(data) < self._needed:
                return None
            body = data[body_at:]
        if b"\r\nconnection: close" in head:
            self.closing = True
        return int(head[9:12]), body


def dechunked(data: bytes) -> bytes | None:
    """The content of a chunked body, or None while it is not whole. Trailers are dropped."""
    content = b""
    at = 0
    while (line_end := data.find(b"\r\n", at)) > 0:
        size = int(data[at:line_end].partition(b";")[0], 16)
        if size == 0:
            return content if data.endswith(b"\r\n\r\n") else None
        at = line_end + 2 + size + 2
        content += data[line_end + 2 : at - 2]
    return None


async def connect(
    endpoint: Endpoint, tls: ssl.SSLContext | None, on_reply: OnReply, on_lost: Callable[[], None]
) -> Connection:
    """An open connection. Raises OSError."""
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(on_reply, on_lost), endpoint.host, endpoint.port, ssl=tls
    )
    return connection


def tls_context(endpoint: Endpoint) -> ssl.SSLContext | None:
    """How the server's certificate is verified; None for plain HTTP. Raises `BenchError`."""
    if not endpoint.tls:
        return None
    try:
        return ssl.create_default_context(cafile=endpoint.ca_bundle)
    except OSError as error:
        raise BenchError(f"cannot read the CA bundle {endpoint.ca_bundle}: {error}") from None


def _ignore() -> None:
    pass
