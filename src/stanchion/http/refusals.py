"""The requests that the listener turns away itself, before there is anything to give the gateway.

A refusal names a reason; how it reads on the wire is the gateway's to say, through `Refuse`.
`refused` is the form it takes when nobody says otherwise.
"""

from collections.abc import Callable
from enum import Enum

from stanchion.http.message import HttpResponse


class Refusal(Enum):
    """Status, AWS's name for it among the errors common to all services, and the text."""

    MALFORMED = 400, "MalformedHttpRequestException", "The request is not valid HTTP."
    TIMEOUT = 408, "RequestTimeoutException", "Reading the request timed out."
    BODY_TOO_LARGE = 413, "RequestEntityTooLargeException", "The request body is too large."
    TARGET_TOO_LONG = 414, "RequestEntityTooLargeException", "The request target is too long."
    EXPECTATION_FAILED = 417, "MalformedHttpRequestException", "The expectation is not supported."
    HEADERS_TOO_LARGE = 431, "RequestEntityTooLargeException", "The request headers are too large."
    INTERNAL = 500, "InternalFailure", "The server failed to process the request."
    TOO_MANY_CONNECTIONS = 503, "ServiceUnavailableException", "There are too many connections."
    BUFFERS_FULL = 503, "ServiceUnavailableException", "Too much input is waiting to be processed."
    VERSION_NOT_SUPPORTED = (
        505,
        "MalformedHttpRequestException",
        "Only HTTP/1.0 and 1.1 are spoken.",
    )

    def __init__(self, status: int, error: str, text: str) -> None:
        self.status = status
        self.error = error
        self.text = text


Refuse = Callable[[Refusal, str], HttpResponse]
"""Given the reason and the address of the client, makes the response."""


def refused(refusal: Refusal, peer_ip: str) -> HttpResponse:
    """The refusal as a JSON protocol error."""
    body = f'{{"__type":"com.amazon.coral.service#{refusal.error}","message":"{refusal.text}"}}'
    headers = (("Content-Type", "application/x-amz-json-1.0"),)
    return HttpResponse(refusal.status, headers, body.encode())
