"""How responses look in bytes."""

import pytest

from stanchion.http.message import HttpResponse
from stanchion.http.refusals import Refusal, refused
from stanchion.http.response import CLOSE, ResponseHead
from tests.http.support import DATE, WALL_S

START = b"HTTP/1.1 200 OK\r\nDate: " + DATE.encode() + b"\r\n"


def rendered(response: HttpResponse, connection: str = "", *, bodiless: bool = False) -> bytes:
    return ResponseHead(WALL_S).render(response, connection, bodiless=bodiless)


def test_a_response_is_head_and_body() -> None:
    response = HttpResponse(200, (("A", "b"), ("C", "caf\xe9")), b"xyz")
    head = START + b"A: b\r\nC: caf\xe9\r\nContent-Length: 3\r\n\r\n"
    assert rendered(response) == head + b"xyz"
    assert rendered(response, bodiless=True) == head
    assert CLOSE.encode() in rendered(response, CLOSE)


def test_the_date_turns() -> None:
    head = ResponseHead(WALL_S)
    response = HttpResponse(200, ())
    assert b"03:04:05 GMT" in head.render(response, "", bodiless=False)
    head.turn(WALL_S + 1)
    assert b"03:04:06 GMT" in head.render(response, "", bodiless=False)


def test_statuses() -> None:
    assert rendered(HttpResponse(404, ())).startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert rendered(HttpResponse(599, ())).startswith(b"HTTP/1.1 599 \r\n")
    assert b"Content-Length" not in rendered(HttpResponse(204, ()))


@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "a\n", "a\r", "\r\n\r\n<html>", "snow \u2603"])
def test_a_header_cannot_end_itself(bad: str) -> None:
    for headers in ((("A", bad),), ((bad, "a"),)):
        with pytest.raises(ValueError, match=r"line break|latin-1"):
            rendered(HttpResponse(200, headers))


@pytest.mark.parametrize("refusal", list(Refusal))
def test_refusals_are_modelled_errors(refusal: Refusal) -> None:
    response = refused(refusal, "192.0.2.1")
    assert response.status == refusal.status
    assert refusal.error.encode() in response.body
