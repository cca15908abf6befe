"""Which of AWS's protocols a request speaks, and the codec that goes with it.

Both protocols are served on every path, so only headers tell them apart. The gateway calls `choose`
once per request and does everything else through what it gets; no codec ever raises anything but a
`ServiceError` for what a client sent.
"""

from collections.abc import Callable

from msgspec import Struct

from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.model.errors import ServiceError
from stanchion.model.shapes import Operation
from stanchion.wire import json, query


class Protocol(Struct, frozen=True):
    """One way of writing requests and replies."""

    name: str
    """For metrics: `json`, `query` or `query-json`."""
    decode: Callable[[HttpRequest], tuple[Operation, Struct]]
    """The operation and its input. Raises MalformedInput, UnknownOperation and MissingAction."""
    encode: Callable[[Operation, Struct | None, str], HttpResponse]
    """The reply to an operation that succeeded, from its output and the request id."""
    encode_error: Callable[[ServiceError, str], HttpResponse]
    """The reply to one that did not, from the error and the request id."""


JSON = Protocol("json", json.decode, json.encode, json.encode_error)
QUERY = Protocol("query", query.decode, query.encode, query.encode_error)
QUERY_JSON = Protocol("query-json", query.decode, query.encode_as_json, query.encode_error_as_json)


def choose(request: HttpRequest) -> Protocol:
    headers = request.headers
    if "x-amz-target" in headers:
        return JSON
    if headers.get("content-type", "").lower().startswith("application/x-amz-json"):
        return JSON
    # API Gateway's integrations send Query requests and read JSON replies.
    if "application/json" in headers.get("accept", ""):
        return QUERY_JSON
    return QUERY
