"""What the listener hands to the gateway, and what it gets back."""

from msgspec import Struct


class HttpRequest(Struct, gc=False):
    """One whole request. Header names are lower-case; repeated headers are joined with a comma."""

    method: str
    path: str
    """The path as sent, still percent-encoded, without the query string; `/` when empty."""
    query: str
    """The query string as sent, still percent-encoded; empty when there is none."""
    headers: dict[str, str]
    body: bytes
    secure: bool
    """True when this process terminated TLS for the connection, or a trusted proxy says that it did
    for the client (`proxies.py`)."""
    peer_ip: str
    """The address of the client's end of the connection, or what a trusted proxy says it is."""


class HttpResponse(Struct, gc=False):
    """One whole response. The listener adds Content-Length, Date, and Connection where needed."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
