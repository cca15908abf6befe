"""One event, one line; and no client can make it many."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from stanchion.observe import logs
from stanchion.store.contract import StoreError


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("stanchion.requests").filters.clear()


def failed(cause: Exception | None = None) -> None:
    logs.failed(
        "InvalidParameterValue",
        action="SendMessage",
        request_id="id",
        peer_ip="::1",
        status=400,
        cause=cause,
    )


def test_console_lines() -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    logs.event("started on\nport", port=9324, path="/a b", empty="", odd='q"\n')
    _, level, rest = stream.getvalue().split(maxsplit=2)
    assert level == "info"
    assert rest == 'started on\\nport port=9324 path="/a b" empty="" odd="q\\"\\n"\n'


def test_json_lines() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logs.event("started", port=9324)
    line = json.loads(stream.getvalue())
    assert line["time"].endswith("Z")
    assert (line["level"], line["event"], line["port"]) == ("info", "started", 9324)


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_failure_inside_is_one_line_with_its_traceback(form: str) -> None:
    stream = io.StringIO()
    logs.configure("error", form, stream)  # type: ignore[arg-type]
    try:
        raise ValueError("what\nhappened")
    except ValueError as error:
        failed(error)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "test_a_failure_inside" in text
    assert "request failed" in text


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_failure_of_the_store_is_one_line_that_says_what_it_was(form: str) -> None:
    stream = io.StringIO()
    logs.configure("warning", form, stream)  # type: ignore[arg-type]
    try:
        raise StoreError("no connection\nto be had")
    except StoreError as error:
        failed(error)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "no connection" in text
    assert "Traceback" not in text


def test_levels() -> None:
    stream = io.StringIO()
    logs.configure("warning", "console", stream)
    logs.event("started")
    failed()
    assert stream.getvalue() == ""


def test_what_others_log_looks_the_same() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logging.getLogger("asyncio").error("Task %s", "x")
    assert json.loads(stream.getvalue())["event"] == "Task x"


def record(created_s: float) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "refused", "fields": {"code": "x"}})
    made.created = created_s
    return made


def test_a_flood_is_cut_down_and_counted() -> None:
    limit = logs.RateLimit(lines_per_s=2, burst=3)
    passed = [limit.filter(record(1000.0)) for _ in range(10)]
    assert passed == [True] * 3 + [False] * 7
    assert not limit.filter(record(1000.4))
    later = record(1000.5)
    assert limit.filter(later)
    assert later.__dict__["fields"] == {"code": "x", "suppressed": 8}
    after = record(2000.0)
    assert limit.filter(after)
    assert after.__dict__["fields"] == {"code": "x"}


def test_refused_requests_are_limited_but_the_server_itself_is_not() -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    for _ in range(logs.LINES_BURST + 50):
        failed()
    refused = stream.getvalue().count("\n")
    # Lines per second may have come in while the loop ran.
    assert logs.LINES_BURST <= refused < logs.LINES_BURST + 50
    for _ in range(logs.LINES_BURST * 2):
        logs.event("something")
    assert stream.getvalue().count("\n") == refused + logs.LINES_BURST * 2
