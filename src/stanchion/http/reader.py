"""Bytes → `HttpRequest`s, without a socket or a clock.

httptools (llhttp, at its strictest) finds the structure and refuses what has two readings: both
or repeated Content-Length and Transfer-Encoding, bare line feeds, folded headers, control
characters. This adds what HTTP leaves to the server: limits, Host, versions, absolute targets.
A reader that has refused must not be fed again. `connection.py` owns one per connection.
"""

from collections import deque
from typing import Never

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser
from msgspec import Struct

from stanchion.http.limits import FEED_BYTES, HttpLimits
from stanchion.http.message import HttpRequest
from stanchion.http.refusals import Refusal
from stanchion.http.response import CLOSE, KEEP_ALIVE

_USUAL_NAMES = """
Accept Accept-Encoding Amz-Sdk-Invocation-Id Amz-Sdk-Request Authorization Connection
Content-Length Content-Type Date Expect Host Traceparent Transfer-Encoding User-Agent
X-Amz-Content-Sha256 X-Amz-Date X-Amz-Security-Token X-Amz-Target X-Amz-User-Agent
X-Amzn-Query-Mode X-Amzn-Trace-Id X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto
""".strip()
_NAMES = {
    form.encode(): name.lower() for name in _USUAL_NAMES.split() for form in (name, name.lower())
}
_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "OPTIONS")}

_LENGTH_DIGITS_MAX = 20
"""No body needs more; Python would not read thousands."""

BETWEEN, HEAD, BODY = range(3)


class Received(Struct, gc=False):
    """A whole request, and how to answer it."""

    request: HttpRequest
    connection: str
    """The Connection header line of the response; empty when none is needed."""
    held_bytes: int
    """What the request has taken from the buffers, to be given back when it is answered."""


class Buffers:
    """How much of `buffered_bytes_max` the bodies of all connections take up."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used_bytes = 0

    def take(self, count: int) -> bool:
        """True, or false when there is not as much left; negative to give back."""
        if self.used_bytes + count > self.bytes_max:
            return False
        self.used_bytes += count
        return True


class _RefusedError(Exception):
    """Leaves the parser from within its callbacks; the reader's `refusal` says why."""


class RequestReader:
    """Fed with input; collects whole requests in `requests` until a `refusal` ends it."""

    def __init__(self, limits: HttpLimits, buffers: Buffers, *, secure: bool, peer_ip: str) -> None:
        self.requests: deque[Received] = deque()
        self.refusal: Refusal | None = None
        self.feed_bytes_max = min(FEED_BYTES, limits.header_bytes_max)
        self._limits = limits
        self._buffers = buffers
        self._secure = secure
        self._peer_ip = peer_ip
        self._parser = HttpRequestParser(self)
        self.expects_continue = False
        self._headers: dict[str, str] = {}
        self._method = b""
        self._connection = ""
        self._upgrading = False
        self._between()

    def _between(self) -> None:
        self.phase = BETWEEN
        self.body: bytes | bytearray = b""
        self._held_bytes = 0
        self._unproductive_bytes = 0
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> None:
        """Parse up to `feed_bytes_max` more bytes."""
        fed_bytes = len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                data = self._without_upgrade(data[upgrade.args[0] :])
            except HttpParserCallbackError:
                if self.refusal is None:
                    raise
                break
            except HttpParserError:
                self.refusal = Refusal.MALFORMED
                break
        if self.phase != BETWEEN and self.refusal is None:
            self._measure(fed_bytes)

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The request again, as one that does not ask for another protocol (RFC 9110, 7.8).

        The parser takes what follows an upgrade for the other protocol, but clients that offer
        HTTP/2 this way go on with their body.
        """
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self._method, self._target, version)]
        lines += [b"%b: %b" % field for field in self._fields if field[0].lower() != b"upgrade"]
        self._between()
        return b"\r\n".join([*lines, b"", rest])

    def _measure(self, fed_bytes: int) -> None:
        """Bound what an unfinished request may hold: its head, its body, and its trailers."""
        grown_bytes = len(self.body) - self._held_bytes
        if grown_bytes:
            self._unproductive_bytes = 0
            if self._buffers.take(grown_bytes):
                self._held_bytes += grown_bytes
            else:
                self.refusal = Refusal.BUFFERS_FULL
        else:
            self._unproductive_bytes += fed_bytes
            self._measure_head()

    def _measure_head(self) -> None:
        limits = self._limits
        # The first piece may have begun with the end of another request, so one more is let
        # pass here; the count at the head's end is exact.
        if len(self._target) > limits.target_bytes_max:
            self.refusal = Refusal.TARGET_TOO_LONG
        elif (
            self._unproductive_bytes > limits.header_bytes_max + self.feed_bytes_max
            or len(self._fields) > limits.header_count_max
        ):
            self.refusal = Refusal.HEADERS_TOO_LARGE

    def release(self) -> None:
        """Give back what is held for requests that nobody will answer."""
        self._buffers.take(-self._held_bytes - sum(entry.held_bytes for entry in self.requests))
        self._held_bytes = 0
        self.requests.clear()

    # The parser's callbacks, in the order in which it calls them.

    def on_url(self, target: bytes) -> None:
        self.phase = HEAD
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        fields, limits = self._fields, self._limits
        self._method = self._parser.get_method()
        if self._method == b"CONNECT":
            # The parser takes it for an upgrade whatever its headers, and there is none to decline.
            self._refuse(Refusal.MALFORMED)
        if len(fields) > limits.header_count_max:
            self._refuse(Refusal.HEADERS_TOO_LARGE)
        if len(self._target) > limits.target_bytes_max:
            self._refuse(Refusal.TARGET_TOO_LONG)
        if self._unproductive_bytes and _size_bytes(self._target, fields) > limits.header_bytes_max:
            self._refuse(Refusal.HEADERS_TOO_LARGE)
        headers = {
            _NAMES.get(name) or _lower(name): value.decode("latin-1").rstrip(" \t")
            for name, value in fields
        }
        if len(headers) != len(fields):
            headers = self._joined()
        self._headers = headers
        # Without a Connection header, only HTTP/1.1 persists.
        if self._parser.should_keep_alive() and "connection" not in headers and "host" in headers:
            self._connection = ""
        else:
            self._check_connection(headers)
        if "content-length" in headers:
            length = headers["content-length"]
            if len(length) > _LENGTH_DIGITS_MAX:
                self._refuse(Refusal.MALFORMED)
            if int(length) > limits.body_bytes_max:
                self._refuse(Refusal.BODY_TOO_LARGE)
        elif headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._refuse(Refusal.MALFORMED)
        self.expects_continue = "expect" in headers
        if self.expects_continue and headers["expect"].lower() != "100-continue":
            self._refuse(Refusal.EXPECTATION_FAILED)
        self.phase = BODY

    def _refuse(self, refusal: Refusal) -> Never:
        self.refusal = refusal
        raise _RefusedError

    def _joined(self) -> dict[str, str]:
        """The headers when some are repeated. Two Hosts have two readings."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._fields:
            name = raw_name.decode("latin-1").lower()
            value = raw_value.decode("latin-1").rstrip(" \t")
            if name in headers:
                if name == "host":
                    self._refuse(Refusal.MALFORMED)
                value = f"{headers[name]},{value}"
            headers[name] = value
        return headers

    def _check_connection(self, headers: dict[str, str]) -> None:
        persists = self._parser.should_keep_alive()
        version = self._parser.get_http_version()
        self._upgrading = self._parser.should_upgrade()
        self._connection = "" if persists else CLOSE
        if version == "1.1":
            if "host" not in headers:
                self._refuse(Refusal.MALFORMED)
        elif version != "1.0":
            self._refuse(Refusal.VERSION_NOT_SUPPORTED)
        elif "transfer-encoding" in headers:
            self._refuse(Refusal.MALFORMED)
        elif persists:
            self._connection = KEEP_ALIVE

    def on_body(self, data: bytes) -> None:
        if not self.body:
            self.body = data
        elif isinstance(self.body, bytearray):
            self.body += data
        else:
            self.body = bytearray(self.body)
            self.body += data
        if len(self.body) > self._limits.body_bytes_max:
            self._refuse(Refusal.BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        target = self._target.decode("latin-1")
        if target[0] != "/" or "#" in target:
            target = self._unusual_target(target)
        path, _, query = target.partition("?")
        request = HttpRequest(
            _METHODS.get(self._method) or self._method.decode("latin-1"),
            path,
            query,
            self._headers,
            self.body if isinstance(self.body, bytes) else bytes(self.body),
            self._secure,
            self._peer_ip,
        )
        self.requests.append(Received(request, self._connection, self._held_bytes))
        self._between()

    def _unusual_target(self, target: str) -> str:
        """The path and query of an absolute target, whose authority goes before Host's (RFC 9112,
        3.2.2); `*` as it is.
        """
        scheme, separator, rest = target.partition("://")
        if target == "*":
            return target
        if "#" in target or not separator or scheme.lower() not in ("http", "https"):
            self._refuse(Refusal.MALFORMED)
        end = min(at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0)
        authority, origin_form = rest[:end], rest[end:]
        if not authority or "@" in authority:
            self._refuse(Refusal.MALFORMED)
        self._headers["host"] = authority
        return origin_form if origin_form.startswith("/") else f"/{origin_form}"


def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


def _size_bytes(target: bytes, fields: list[tuple[bytes, bytes]]) -> int:
    """The head as sent, apart from the method: names, values, and four bytes between them."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in fields)
