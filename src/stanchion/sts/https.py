"""One GET over HTTPS of something small: what it takes to learn an issuer's public keys.

The certificate must be valid for the host. Never follows a redirect, goes through a proxy, sends
credentials, or takes more bytes or seconds than the limits here. Called by `issuers.py`.
"""

import asyncio
import ssl
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httptools

ANSWER_BYTES_MAX = 512 * 1024
DEADLINE_S = 10.0
"""From the first packet to the last."""

_READ_BYTES = 16 * 1024
_HTTPS_PORT = 443
_OK = 200


class FetchFailed(Exception):
    """There is no answer, or none that is of use. The message says why."""


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the CAs of the system and those in the file. Raises `OSError` if it is of no use."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


async def get(url: str, context: ssl.SSLContext, deadline_s: float = DEADLINE_S) -> bytes:
    """The body of a 200. Raises `FetchFailed`."""
    parts = _parts(url)
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _HTTPS_PORT, ssl=context
            )
            try:
                writer.write(_request(parts))
                return await _answer(reader)
            finally:
                writer.transport.abort()
    except (OSError, httptools.HttpParserError) as error:
        raise FetchFailed(f"{url}: {type(error).__name__} {error}".rstrip()) from error


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError as error:
        raise FetchFailed(f"{url!r}: {error}") from error
    # What stands in a request is checked before it is written there.
    is_plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    if not (is_good and is_plain):
        raise FetchFailed(f"{url!r} is not an HTTPS URL")
    return parts


def _request(parts: SplitResult) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return (
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
        "User-Agent: stanchion\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


async def _answer(reader: asyncio.StreamReader) -> bytes:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.is_whole:
        data = await reader.read(_READ_BYTES)
        if not data:
            break
        parser.feed_data(data)
        if answer.received_bytes > ANSWER_BYTES_MAX:
            raise FetchFailed(f"it is longer than {ANSWER_BYTES_MAX} bytes")
    status = parser.get_status_code()
    if status != _OK:
        raise FetchFailed(f"the answer has status {status}")
    # Without a length the end is where the connection ends; what is cut off is no JSON.
    return bytes(answer.body)


class _Answer:
    """What the parser has seen."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.received_bytes = 0
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.received_bytes += len(name) + len(value)

    def on_body(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self.body += data

    def on_message_complete(self) -> None:
        self.is_whole = True
