"""The canonical request of Signature Version 4: what a client and a server both put under a hash.

Pure text in, text out; it must never read a clock or a key, and two requests that mean different
things must never come out equal. Called by `sigv4.py` for every signed request, so the usual case
(a POST to `/` without a query) does no work that it does not need.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes

_UNRESERVED = "-_.~"
_BLANKS = re.compile("[ \t]+")


class SignedRequest(Protocol):
    """What of a request is signed. Header names are lower-case; path and query are as sent."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def secure(self) -> bool: ...
    @property
    def peer_ip(self) -> str: ...


Pairs = Sequence[tuple[bytes, bytes]]
"""The decoded names and values of a query string, in the order sent."""


def canonical_hash(
    request: SignedRequest, query: str, host: str, signed_headers: Sequence[str]
) -> str:
    """The hash of the canonical request, in hexadecimal.

    `query` is canonical already; `host` stands for the Host header, whose port a client may or may
    not have signed. The body is hashed from its bytes, whatever a header says about it.
    """
    path = request.path
    text = (
        f"{request.method}\n{'/' if path == '/' else canonical_path(path)}\n{query}\n"
        f"{_canonical_headers(request.headers, host, signed_headers)}\n"
        f"{';'.join(signed_headers)}\n{sha256(request.body).hexdigest()}"
    )
    # Header values come decoded as Latin-1, so this is the bytes that were sent.
    return sha256(text.encode("latin-1", "replace")).hexdigest()


def _canonical_headers(headers: Mapping[str, str], host: str, names: Sequence[str]) -> str:
    block = ""
    for name in names:
        value = host if name == "host" else headers.get(name, "")
        block += f"{name}:{value}\n"
    if "  " in block or ": " in block or " \n" in block or "\t" in block:
        return _collapsed(block)
    return block


def _collapsed(block: str) -> str:
    """Runs of white space become one space, and values lose those at their ends."""
    lines = (line.partition(":") for line in block.split("\n")[:-1])
    return "".join(f"{name}:{_BLANKS.sub(' ', value).strip(' ')}\n" for name, _, value in lines)


def canonical_path(path: str) -> str:
    """The path without empty and dot segments, percent-encoded once more than it was sent."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment and segment != ".":
            kept.append(segment)
    if not kept:
        return "/"
    normal = "/".join(kept)
    trailing = "/" if path.endswith("/") else ""
    return quote(f"/{normal}{trailing}", safe="/" + _UNRESERVED)


def query_pairs(query: str) -> Pairs:
    """Names and values as bytes. A plus sign is a space here, as it is to the Query protocol."""
    pairs = (item.partition("=") for item in query.split("&") if item)
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


def canonical_query(pairs: Pairs) -> str:
    """Encoded in the one way there is, then sorted by name and by value."""
    encoded = sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _encoded(text: bytes) -> str:
    return quote(text, safe=_UNRESERVED)
