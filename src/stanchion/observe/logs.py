"""Log lines: one event, one line, on standard error, for people or as JSON.

Built on the standard library's logging, so that what asyncio has to say looks the same. A line
never holds a secret, a header, or a message; and nothing a client does can fill the disk, because
lines about failed requests are limited in number. Requests that succeed are counted, not logged.
Called by the gateway and the server; `configure` once, at start.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal, TextIO

from stanchion.store.contract import StoreError

LINES_PER_S = 10
LINES_BURST = 100

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR

_server = logging.getLogger("stanchion")
_requests = logging.getLogger("stanchion.requests")
_process: dict[str, object] = {}


def configure(
    level: str = "info",
    form: Literal["console", "json"] = "console",
    stream: TextIO | None = None,
    *,
    worker: int = 0,
) -> None:
    """Send lines of at least `level` to `stream`: standard error unless told otherwise.

    Every line names the `worker`, if this process is one.
    """
    global _process
    _process = {"worker": worker} if worker else {}
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLine() if form == "json" else _ConsoleLine())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    _requests.filters[:] = [RateLimit()]


def event(name: str, level: int = INFO, **fields: object) -> None:
    """One line about the server itself. `fields` say what changed, in values that print."""
    _server.log(level, name, extra={"fields": fields})


def caused(name: str, level: int = INFO, **fields: object) -> None:
    """As `event`, of what a client can cause as often as it likes."""
    _requests.log(level, name, extra={"fields": fields})


def failed(
    code: str,
    *,
    action: str,
    request_id: str,
    peer_ip: str,
    status: int,
    cause: Exception | None,
) -> None:
    """One line about a request that failed; `cause` is the failure inside, when it was ours.

    A store says what is wrong with it; anything else is a mistake, and where it was made matters.
    """
    fields = {
        "action": action,
        "code": code,
        "status": status,
        "peer_ip": peer_ip,
        "request_id": request_id,
    }
    if cause is None:
        _requests.info("request refused", extra={"fields": fields})
    elif isinstance(cause, StoreError):
        _requests.warning("request failed", extra={"fields": {**fields, "error": cause}})
    else:
        _requests.error("request failed", exc_info=cause, extra={"fields": fields})


class RateLimit(logging.Filter):
    """Lets some lines through at once and some per second; says how many it has swallowed."""

    def __init__(self, lines_per_s: float = LINES_PER_S, burst: int = LINES_BURST) -> None:
        super().__init__()
        self._lines_per_s = lines_per_s
        self._burst = burst
        self._allowance = float(burst)
        self._refilled_at_s = 0.0
        self._suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        passed_s = max(record.created - self._refilled_at_s, 0.0)
        self._refilled_at_s = record.created
        self._allowance = min(self._allowance + passed_s * self._lines_per_s, self._burst)
        if self._allowance < 1:
            self._suppressed += 1
            return False
        self._allowance -= 1
        if self._suppressed:
            fields = {**getattr(record, "fields", {}), "suppressed": self._suppressed}
            record.fields = fields
            self._suppressed = 0
        return True


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        return json.dumps(line, default=str)


class _ConsoleLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        pairs = "".join(f" {name}={_value(value)}" for name, value in _fields(record).items())
        message = json.dumps(record.getMessage(), ensure_ascii=False)[1:-1]
        return f"{_instant(record)} {record.levelname.lower():7} {message}{pairs}"


def _value(value: object) -> str:
    """Bare where that is readable, quoted where it would break the line or be ambiguous."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else json.dumps(text)


def _instant(record: logging.LogRecord) -> str:
    instant = datetime.fromtimestamp(record.created, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {**getattr(record, "fields", {}), **_process}
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields["error"] = f"{type(error).__name__}: {error}"
        fields["traceback"] = "".join(traceback.format_exception(error))
    return fields
