"""`HttpResponse` → bytes, in one piece.

`ResponseHead` is told the time once a second and keeps what every response of that second begins
with. Nothing that a header says can end the header: a response with a line break in a header is
not sent.
"""

from email.utils import formatdate
from http import HTTPStatus

from stanchion.http.message import HttpResponse

CLOSE = "Connection: close\r\n"
KEEP_ALIVE = "Connection: keep-alive\r\n"
"""Only HTTP/1.0 has to be told; later versions keep a connection alive without saying so."""

_BODILESS = frozenset((204, 304))


class ResponseHead:
    """Renders responses. One per listener."""

    def __init__(self, wall_s: float) -> None:
        self.turn(wall_s)

    def turn(self, wall_s: float) -> None:
        """The time is now `wall_s` (seconds since the epoch)."""
        self._date = formatdate(wall_s, usegmt=True)
        self._starts: dict[int, str] = {}

    def render(self, response: HttpResponse, connection: str, *, bodiless: bool) -> bytes:
        """`connection` is a whole header line or empty; `bodiless` is true for HEAD.

        Raises ValueError when a header cannot be sent.
        """
        status = response.status
        start = self._starts.get(status) or self._start(status)
        lines = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
        # Counting is the cheapest way to see that no name or value brought a line break along.
        breaks = len(response.headers)
        if lines.count("\n") != breaks or lines.count("\r") != breaks:
            raise ValueError("a response header contains a line break")
        body = response.body
        if status in _BODILESS:
            return f"{start}{connection}{lines}\r\n".encode("latin-1")
        head = f"{start}{connection}{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
        return head if bodiless else head + body

    def _start(self, status: int) -> str:
        start = f"HTTP/1.1 {status} {_phrase(status)}\r\nDate: {self._date}\r\n"
        self._starts[status] = start
        return start


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
